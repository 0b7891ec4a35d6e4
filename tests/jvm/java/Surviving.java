import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RetriableCommitFailedException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;

/** An idempotent producer and a group member that go on, until standard input ends, while their broker dies and returns. */
final class Surviving {
    static final int PARTITIONS = 3;
    private final Driver driver;
    private final Map<Integer, List<Future<RecordMetadata>>> sent = new TreeMap<>();
    /** By partition: the number that comes next, and what the last acknowledged commit said. */
    private final int[] next = new int[PARTITIONS];
    private final int[] committed = new int[PARTITIONS];
    private int gaps;
    private int before;
    private int repeated;
    private volatile boolean ended;

    Surviving(Driver driver) {
        this.driver = driver;
    }

    void all() throws Exception {
        String topic = driver.topic("survived", PARTITIONS);
        for (int partition = 0; partition < PARTITIONS; partition++) {
            sent.put(partition, new ArrayList<>());
        }
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException error) {
                // as good as its end
            }
            ended = true;
        });
        watcher.setDaemon(true);
        watcher.start();
        driver.check("survived", facts -> survive(facts, topic));
    }

    private void survive(Map<String, Object> facts, String topic) throws Exception {
        Throwable[] raised = new Throwable[1];
        Thread reader = new Thread(() -> {
            try {
                consume(topic);
            } catch (Throwable error) {
                raised[0] = error;
            }
        });
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("delivery.timeout.ms", "120000",
                "reconnect.backoff.ms", 20, "reconnect.backoff.max.ms", 100, "retry.backoff.ms", 20, "retry.backoff.max.ms", 100,
                "max.block.ms", "60000")) {
            reader.start();
            producer.partitionsFor(topic);
            System.out.println("{\"check\": \"sending\"}");
            while (!ended) {
                for (Map.Entry<Integer, List<Future<RecordMetadata>>> one : sent.entrySet()) {
                    byte[] value = Driver.bytes("" + one.getValue().size());
                    one.getValue().add(producer.send(new ProducerRecord<>(topic, one.getKey(), null, value)));
                }
                Thread.sleep(1);
            }
            producer.flush();
        }
        List<Boolean> inOrder = new ArrayList<>();
        for (List<Future<RecordMetadata>> futures : sent.values()) {
            boolean contiguous = true;
            for (int number = 0; number < futures.size(); number++) {
                contiguous &= futures.get(number).get().offset() == number;
            }
            inOrder.add(contiguous);
        }
        reader.join(Driver.PATIENCE_MS);
        facts.put("raised", "" + raised[0]);
        facts.put("acknowledged in order", inOrder);
        facts.put("reader is done", !reader.isAlive());
        facts.put("gaps", gaps);
        facts.put("before a commit", before);
        facts.put("repeated", repeated);
        facts.put("read to the end", isAllRead());
        facts.put("sent", sent.get(0).size());
    }

    /** Reads and commits to the end of all that was sent. */
    private void consume(String topic) {
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("group.id", driver.prefix + "survivor", "group.instance.id", "s",
                "reconnect.backoff.ms", 20, "reconnect.backoff.max.ms", 100, "retry.backoff.ms", 20, "heartbeat.interval.ms", 200)) {
            consumer.subscribe(List.of(topic));
            while (!ended || !isAllRead()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                    take(record.partition(), Integer.parseInt(Driver.text(record.value())));
                }
                try {
                    Map<TopicPartition, OffsetAndMetadata> reached = new HashMap<>();
                    for (TopicPartition one : consumer.assignment()) {
                        reached.put(one, new OffsetAndMetadata(consumer.position(one, Duration.ofMillis(2000))));
                    }
                    consumer.commitSync(reached, Duration.ofMillis(2000));
                    reached.forEach((one, place) -> committed[one.partition()] = (int) place.offset());
                } catch (TimeoutException | RetriableCommitFailedException error) {
                    // nobody is there: the next commit says more
                }
            }
        }
    }

    /** A rebalance may repeat what was not committed yet; nothing may be left out, and nothing committed comes back. */
    private void take(int partition, int number) {
        gaps += number > next[partition] ? 1 : 0;
        repeated += number < next[partition] ? 1 : 0;
        before += number < committed[partition] ? 1 : 0;
        next[partition] = Math.max(next[partition], number + 1);
    }

    private boolean isAllRead() {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            if (next[partition] < sent.get(partition).size()) {
                return false;
            }
        }
        return true;
    }
}
