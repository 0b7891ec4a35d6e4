import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.utils.Utils;

/**
 * Reads messages with Kafka's own classes and writes them again. Usage: java Messages FILE, whose lines are
 * "message NAME VERSION HEX" or "key HEX"; prints {"checked", "wrong", "unknown", "hashes"} as JSON.
 */
public final class Messages {
    static final String[] PACKAGES = {"org.apache.kafka.common.message", "org.apache.kafka.common.metadata",
        "org.apache.kafka.coordinator.group.generated", "org.apache.kafka.coordinator.transaction.generated",
        "org.apache.kafka.coordinator.share.generated", "org.apache.kafka.raft.generated"};

    public static void main(String[] args) throws Exception {
        int checked = 0;
        List<String> wrong = new ArrayList<>();
        TreeSet<String> unknown = new TreeSet<>();
        List<Integer> hashes = new ArrayList<>();
        Map<String, Class<?>> classes = new LinkedHashMap<>();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] words = line.split(" ", -1);
            if (words[0].equals("key")) {
                hashes.add(Utils.murmur2(HexFormat.of().parseHex(words[1])));
                continue;
            }
            Class<?> found = classes.computeIfAbsent(words[1], Messages::find);
            if (found == null) {
                unknown.add(words[1]);
                continue;
            }
            checked++;
            String problem = again(found, Short.parseShort(words[2]), HexFormat.of().parseHex(words[3]));
            if (problem != null) {
                wrong.add(words[1] + " version " + words[2] + ": " + problem);
            }
        }
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("checked", checked);
        facts.put("wrong", wrong);
        facts.put("unknown", unknown);
        facts.put("hashes", hashes);
        System.out.println(new ObjectMapper().writeValueAsString(facts));
    }

    private static Class<?> find(String name) {
        for (String home : PACKAGES) {
            for (String ending : new String[] {"Data", ""}) {
                try {
                    return Class.forName(home + "." + name + ending);
                } catch (ClassNotFoundException elsewhere) {
                    // the next place
                }
            }
        }
        return null;
    }

    /** Reads and writes a message; null if the same bytes come out, else what was different. */
    private static String again(Class<?> found, short version, byte[] bytes) throws Exception {
        Message message = (Message) found.getConstructor().newInstance();
        ByteBuffer given = ByteBuffer.wrap(bytes);
        try {
            message.read(new ByteBufferAccessor(given), version);
            if (given.hasRemaining()) {
                return given.remaining() + " bytes were left";
            }
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer taken = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(taken), cache, version);
            return java.util.Arrays.equals(bytes, taken.array()) ? null : "other bytes: " + message;
        } catch (RuntimeException error) {
            return error.toString();
        }
    }
}
