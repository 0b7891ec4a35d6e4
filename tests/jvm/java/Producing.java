import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;

/** The Java producer: idempotence, codecs, headers, tombstones, timestamps, sizes, refusals. */
final class Producing {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    private final Driver driver;

    Producing(Driver driver) {
        this.driver = driver;
    }

    void all() throws Exception {
        driver.check("idempotent", this::idempotent);
        for (String acks : new String[] {"0", "1"}) {
            driver.check("acks-" + acks, facts -> acks(facts, acks));
        }
        for (String codec : CODECS) {
            driver.check("codec-" + codec, facts -> codec(facts, codec));
            driver.check("recompressed-" + codec, facts -> recompressed(facts, codec));
            driver.check("from-python-" + codec, facts -> fromPython(facts, codec));
        }
        driver.check("content", this::content);
        driver.check("append-time", this::appendTime);
        driver.check("large", this::large);
        driver.check("refusals", this::refusals);
    }

    private void idempotent(Map<String, Object> facts) throws Exception {
        String topic = driver.topic("idempotent", 2);
        List<List<Long>> offsets = List.of(new ArrayList<>(), new ArrayList<>());
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("batch.size", 200)) {
            List<Future<RecordMetadata>> futures = new ArrayList<>();
            for (int i = 0; i < 1000; i++) {
                futures.add(producer.send(new ProducerRecord<>(topic, i % 2, null, Driver.bytes("" + i))));
            }
            for (Future<RecordMetadata> future : futures) {
                offsets.get(future.get().partition()).add(future.get().offset());
            }
        }
        facts.put("offsets", offsets);
        facts.put("values", driver.read(topic, 500).stream().map(r -> Integer.parseInt(Driver.text(r.value()))).toList());
    }

    private void acks(Map<String, Object> facts, String acks) throws Exception {
        String topic = driver.topic("acks" + acks, 1);
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("acks", acks, "enable.idempotence", false)) {
            Driver.send(producer, topic, Driver.values());
        }
        facts.put("same", Driver.same(Driver.values(), driver.read(topic, Driver.values().size())));
    }

    private void codec(Map<String, Object> facts, String codec) throws Exception {
        String topic = driver.topic("codec-" + codec, 1);
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("compression.type", codec, "linger.ms", 20)) {
            Driver.send(producer, topic, Driver.values());
        }
        facts.put("topic", topic);
        facts.put("same", Driver.same(Driver.values(), driver.read(topic, Driver.values().size())));
    }

    /** A topic that names a codec, given every other codec: the broker decompresses and compresses again. */
    private void recompressed(Map<String, Object> facts, String codec) throws Exception {
        String own = codec.equals("none") ? "uncompressed" : codec;
        String topic = driver.topic("recompressed-" + codec, 1, "compression.type", own);
        List<byte[]> sent = new ArrayList<>();
        for (String given : CODECS) {
            try (KafkaProducer<byte[], byte[]> producer = driver.producer("compression.type", given, "linger.ms", 20)) {
                Driver.send(producer, topic, Driver.values());
            }
            sent.addAll(Driver.values());
        }
        facts.put("topic", topic);
        facts.put("same", Driver.same(sent, driver.read(topic, sent.size())));
    }

    /** Reads with check.crcs what another client wrote with this codec, and what the broker made of it. */
    private void fromPython(Map<String, Object> facts, String codec) {
        for (String kind : new String[] {"python-", "remade-"}) {
            List<ConsumerRecord<byte[], byte[]>> found =
                driver.read(driver.prefix + kind + codec, Driver.values().size(), "check.crcs", true);
            facts.put(kind + "same", Driver.same(Driver.values(), found));
        }
    }

    private void content(Map<String, Object> facts) throws Exception {
        String topic = driver.topic("content", 1);
        try (KafkaProducer<byte[], byte[]> producer = driver.producer()) {
            ProducerRecord<byte[], byte[]> first =
                new ProducerRecord<>(topic, 0, 1_600_000_000_123L, Driver.bytes("k"), Driver.bytes("v"));
            first.headers().add("trace", new byte[] {0, -1}).add("none", null).add("empty", new byte[0]).add("trace", Driver.bytes("again"));
            producer.send(first).get();
            producer.send(new ProducerRecord<>(topic, 0, Driver.bytes("gone"), null)).get();
            producer.send(new ProducerRecord<>(topic, 0, new byte[0], new byte[0])).get();
        }
        List<Object> records = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> record : driver.read(topic, 3)) {
            List<Object> headers = new ArrayList<>();
            for (Header header : record.headers()) {
                headers.add(java.util.Arrays.asList(header.key(), header.value() == null ? null : java.util.HexFormat.of().formatHex(header.value())));
            }
            records.add(java.util.Arrays.asList(Driver.text(record.key()), Driver.text(record.value()), headers, record.timestampType().name));
        }
        facts.put("records", records);
        facts.put("timestamp", driver.read(topic, 1).get(0).timestamp());
        facts.put("leader_epoch", driver.read(topic, 1).get(0).leaderEpoch().orElse(-1));
    }

    private void appendTime(Map<String, Object> facts) throws Exception {
        String topic = driver.topic("append-time", 1, "message.timestamp.type", "LogAppendTime");
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("compression.type", "lz4")) {
            RecordMetadata metadata = producer.send(new ProducerRecord<>(topic, 0, 1L, null, Driver.bytes("v"))).get();
            ConsumerRecord<byte[], byte[]> record = driver.read(topic, 1).get(0);
            facts.put("type", record.timestampType().name);
            facts.put("same", record.timestamp() == metadata.timestamp());
            facts.put("now", record.timestamp() > 1_600_000_000_000L);
        }
    }

    private void large(Map<String, Object> facts) throws Exception {
        String topic = driver.topic("large", 1, "max.message.bytes", "4000000");
        byte[] value = new byte[3_000_000];
        new java.util.Random(1).nextBytes(value);
        try (KafkaProducer<byte[], byte[]> producer =
                driver.producer("max.request.size", 5_000_000, "compression.type", "zstd")) {
            facts.put("offsets", Driver.send(producer, topic, List.of(value, value)));
        }
        facts.put("same", Driver.same(List.of(value, value), driver.read(topic, 2)));
        facts.put("same_with_small_limits", Driver.same(List.of(value, value),
            driver.read(topic, 2, "max.partition.fetch.bytes", 1000, "fetch.max.bytes", 1000)));
    }

    private void refusals(Map<String, Object> facts) throws Exception {
        String small = driver.topic("small", 1, "max.message.bytes", "10000");
        String strict = driver.topic("strict", 1, "message.timestamp.after.max.ms", "1000");
        String compacted = driver.topic("compacted", 1, "cleanup.policy", "compact");
        String lonely = driver.topic("lonely", 1, "min.insync.replicas", "2");
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("enable.idempotence", false, "retries", 0)) {
            facts.put("too large", refused(producer, new ProducerRecord<>(small, new byte[20_000])));
            facts.put("in the future", refused(producer, new ProducerRecord<>(strict, 0, System.currentTimeMillis() + 3_600_000, null, new byte[1])));
            facts.put("no key", refused(producer, new ProducerRecord<>(compacted, new byte[1])));
            facts.put("with key", refused(producer, new ProducerRecord<>(compacted, new byte[1], new byte[1])));
            facts.put("too few in sync", refused(producer, new ProducerRecord<>(lonely, new byte[1])));
            facts.put("bad name", refused(producer, new ProducerRecord<>("a topic!", new byte[1])));
            facts.put("made by itself", refused(producer, new ProducerRecord<>(driver.prefix + "automatic", new byte[1])));
        }
        try (KafkaProducer<byte[], byte[]> producer = driver.producer()) {
            // The client splits a batch that is too large for the topic, and sends the parts.
            String split = driver.topic("split", 1, "max.message.bytes", "3000");
            List<byte[]> values = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                values.add(new byte[1000]);
            }
            facts.put("split", Driver.send(producer, split, values));
        }
    }

    private static String refused(KafkaProducer<byte[], byte[]> producer, ProducerRecord<byte[], byte[]> record) {
        return Driver.thrown(() -> producer.send(record).get());
    }
}
