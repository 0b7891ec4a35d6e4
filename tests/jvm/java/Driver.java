import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Runs one suite of checks with Kafka's own Java clients and prints what it saw, one JSON object a line:
 * {"check": name, "facts": {...}} or {"check": name, "raised": "..."}. What the facts ought to be is said by the caller.
 *
 * Usage: java Driver BOOTSTRAP SUITE PREFIX; PREFIX begins the name of every topic and group.
 */
public final class Driver {
    static final long PATIENCE_MS = 30_000;

    interface Check {
        void run(Map<String, Object> facts) throws Exception;
    }

    final String bootstrap;
    final String prefix;
    final Admin admin;
    private final ObjectMapper json = new ObjectMapper();

    Driver(String bootstrap, String prefix) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.admin = Admin.create(settings("default.api.timeout.ms", "20000", "request.timeout.ms", "10000"));
    }

    public static void main(String[] args) throws Exception {
        Driver driver = new Driver(args[0], args[2]);
        switch (args[1]) {
            case "producing" -> new Producing(driver).all();
            case "consuming" -> new Consuming(driver).all();
            case "groups" -> new Groups(driver).all();
            case "topics" -> new Topics(driver).all();
            case "surviving" -> new Surviving(driver).all();
            case "administering" -> new Administering(driver).all();
            default -> throw new IllegalArgumentException(args[1]);
        }
        driver.admin.close();
    }

    void check(String name, Check check) throws Exception {
        Map<String, Object> facts = new LinkedHashMap<>();
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("check", name);
        line.put("facts", facts);
        try {
            check.run(facts);
        } catch (Exception | AssertionError error) {
            line.put("raised", error.toString() + at(error));
        }
        System.out.println(json.writeValueAsString(line));
    }

    private static String at(Throwable error) {
        StringBuilder where = new StringBuilder();
        for (StackTraceElement frame : error.getStackTrace()) {
            if (!frame.getClassName().contains(".")) {
                where.append(" at ").append(frame);
            }
        }
        return where.toString();
    }

    // ---- clients

    Map<String, Object> settings(Object... pairs) {
        Map<String, Object> all = new HashMap<>();
        all.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            all.put((String) pairs[i], pairs[i + 1]);
        }
        return all;
    }

    KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        Map<String, Object> all = settings("delivery.timeout.ms", "20000", "request.timeout.ms", "10000", "max.block.ms", "10000");
        all.putAll(settings(pairs));
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Object... pairs) {
        Map<String, Object> all = settings("auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "default.api.timeout.ms", "20000", "fetch.max.wait.ms", "100");
        all.putAll(settings(pairs));
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    String topic(String name, int partitions, String... configs) throws Exception {
        String full = prefix + name;
        Map<String, String> wanted = new HashMap<>();
        for (int i = 0; i < configs.length; i += 2) {
            wanted.put(configs[i], configs[i + 1]);
        }
        admin.createTopics(List.of(new NewTopic(full, partitions, (short) 1).configs(wanted))).all().get();
        return full;
    }

    /** Sends the values to partition 0, waits for all; the offsets. */
    static List<Long> send(KafkaProducer<byte[], byte[]> producer, String topic, List<byte[]> values) throws Exception {
        List<Future<RecordMetadata>> futures = new ArrayList<>();
        for (byte[] value : values) {
            futures.add(producer.send(new ProducerRecord<>(topic, 0, null, value)));
        }
        producer.flush();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> future : futures) {
            offsets.add(future.get().offset());
        }
        return offsets;
    }

    /** Reads so many records of a partition from its beginning. */
    List<ConsumerRecord<byte[], byte[]>> read(String topic, int count, Object... pairs) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(pairs)) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            return take(consumer, count);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>();
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (taken.size() < count) {
            if (System.currentTimeMillis() > deadline) {
                throw new AssertionError(taken.size() + " of " + count + " records");
            }
            consumer.poll(Duration.ofMillis(100)).forEach(taken::add);
        }
        return taken;
    }

    // ---- facts

    /** The simple name of what an asynchronous call failed with; "none" if it did not. */
    static String error(Future<?> future) throws InterruptedException {
        try {
            future.get();
            return "none";
        } catch (ExecutionException | CompletionException failure) {
            return failure.getCause().getClass().getSimpleName();
        }
    }

    static String thrown(Callable<?> call) {
        try {
            call.call();
            return "none";
        } catch (ExecutionException failure) {
            return failure.getCause().getClass().getSimpleName();
        } catch (Exception failure) {
            return failure.getClass().getSimpleName();
        }
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!condition.call()) {
            if (System.currentTimeMillis() > deadline) {
                throw new AssertionError("not within " + PATIENCE_MS + " ms: " + what);
            }
        }
    }

    /** The values that the suites write where their content does not matter; the caller knows them too. */
    static List<byte[]> values() {
        List<byte[]> all = new ArrayList<>();
        for (int number = 0; number < 120; number++) {
            byte[] value = new byte[number * 37 % 2000];
            java.util.Arrays.fill(value, (byte) number);
            all.add(value);
        }
        return all;
    }

    static boolean same(List<byte[]> wanted, List<ConsumerRecord<byte[], byte[]>> found) {
        if (wanted.size() != found.size()) {
            return false;
        }
        for (int i = 0; i < wanted.size(); i++) {
            if (!java.util.Arrays.equals(wanted.get(i), found.get(i).value())) {
                return false;
            }
        }
        return true;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return data == null ? null : new String(data, StandardCharsets.UTF_8);
    }
}
