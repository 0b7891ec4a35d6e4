import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** The Java consumer without a group: places, times, seeks, limits. */
final class Consuming {
    static final long BASE = 1_600_000_000_000L;
    private final Driver driver;
    private String topic;
    private TopicPartition partition;

    Consuming(Driver driver) {
        this.driver = driver;
    }

    void all() throws Exception {
        topic = driver.topic("consuming", 3);
        partition = new TopicPartition(topic, 0);
        try (KafkaProducer<byte[], byte[]> producer = driver.producer()) {
            for (int step = 0; step < 100; step++) {
                producer.send(new ProducerRecord<>(topic, 0, BASE + 1000L * step, null, Driver.bytes("" + step)));
            }
        }
        driver.check("places", this::places);
        driver.check("times", this::times);
        driver.check("seeks", this::seeks);
        driver.check("out of range", this::outOfRange);
        driver.check("isolation", this::isolation);
        driver.check("unknown", this::unknown);
        driver.check("many partitions", this::manyPartitions);
    }

    private void places(Map<String, Object> facts) {
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer()) {
            facts.put("beginning", consumer.beginningOffsets(List.of(partition)).get(partition));
            facts.put("end", consumer.endOffsets(List.of(partition)).get(partition));
            facts.put("partitions", consumer.partitionsFor(topic).size());
            facts.put("leader", consumer.partitionsFor(topic).get(0).leader().id());
            facts.put("listed", consumer.listTopics().containsKey(topic));
            consumer.assign(List.of(partition));
            facts.put("position", consumer.position(partition));
            Driver.take(consumer, 100);
            facts.put("lag", consumer.currentLag(partition).orElse(-1));
        }
    }

    private void times(Map<String, Object> facts) {
        Map<String, Long> asked = new TreeMap<>(Map.of("before", BASE - 1, "exact", BASE + 5000, "between", BASE + 5001,
            "last", BASE + 99_000, "after", BASE + 99_001));
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer()) {
            asked.forEach((name, time) -> {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, time)).get(partition);
                facts.put(name, found == null ? null : List.of(found.offset(), found.timestamp() - BASE));
            });
        }
    }

    private void seeks(Map<String, Object> facts) {
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("max.poll.records", 1)) {
            consumer.assign(List.of(partition));
            for (int place : new int[] {50, 3, 99, 0}) {
                consumer.seek(partition, place);
                facts.put("at " + place, Driver.text(Driver.take(consumer, 1).get(0).value()));
            }
            consumer.seekToEnd(List.of(partition));
            facts.put("end", consumer.position(partition));
            facts.put("nothing", consumer.poll(Duration.ofMillis(150)).count());
            consumer.pause(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            facts.put("paused", consumer.poll(Duration.ofMillis(150)).count());
            consumer.resume(List.of(partition));
            facts.put("resumed", Driver.text(Driver.take(consumer, 1).get(0).value()));
        }
    }

    private void outOfRange(Map<String, Object> facts) {
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("auto.offset.reset", "none")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 5000);
            facts.put("error", Driver.thrown(() -> Driver.take(consumer, 1)));
        }
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 5000);
            facts.put("reset", Driver.take(consumer, 1).get(0).offset());
        }
    }

    private void isolation(Map<String, Object> facts) {
        facts.put("committed", driver.read(topic, 100, "isolation.level", "read_committed").size());
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("isolation.level", "read_committed")) {
            facts.put("end", consumer.endOffsets(List.of(partition)).get(partition));
        }
    }

    private void unknown(Map<String, Object> facts) {
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("allow.auto.create.topics", false)) {
            facts.put("partitions", Driver.thrown(() -> consumer.partitionsFor(driver.prefix + "nowhere")));
            facts.put("listed", consumer.listTopics().containsKey(driver.prefix + "nowhere"));
        }
    }

    /** One fetch session over many partitions, some added and some taken away between polls. */
    private void manyPartitions(Map<String, Object> facts) throws Exception {
        int count = 60;
        String wide = driver.topic("wide", count);
        List<TopicPartition> all = new java.util.ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = driver.producer();
             KafkaConsumer<byte[], byte[]> consumer = driver.consumer()) {
            for (int i = 0; i < count; i++) {
                all.add(new TopicPartition(wide, i));
            }
            int seen = 0;
            for (int round = 1; round <= 3; round++) {
                for (TopicPartition one : all) {
                    producer.send(new ProducerRecord<>(wide, one.partition(), null, Driver.bytes("" + round)));
                }
                producer.flush();
                consumer.assign(all.subList(0, count * round / 3));
                // What was assigned before has one new record; what is new has all since the beginning.
                int before = count * (round - 1) / 3;
                seen += Driver.take(consumer, before + (count * round / 3 - before) * round).size();
            }
            facts.put("seen", seen);
        }
    }
}
