import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;

/** The Java admin client on topics: create, describe, configure, grow, delete, each with its refusals. */
final class Topics {
    private final Driver driver;
    private final Admin admin;

    Topics(Driver driver) {
        this.driver = driver;
        this.admin = driver.admin;
    }

    void all() throws Exception {
        driver.check("create", this::create);
        driver.check("refused", this::refused);
        driver.check("describe", this::describe);
        driver.check("grow", this::grow);
        driver.check("configure", this::configure);
        driver.check("broker configs", this::brokerConfigs);
        driver.check("delete", this::delete);
    }

    private NewTopic plain(String name, int partitions) {
        return new NewTopic(driver.prefix + name, partitions, (short) 1);
    }

    private void create(Map<String, Object> facts) throws Exception {
        NewTopic topic = plain("made", 3).configs(Map.of("retention.ms", "1234567", "cleanup.policy", "compact,delete"));
        CreateTopicsResult trial = admin.createTopics(List.of(topic), new CreateTopicsOptions().validateOnly(true));
        facts.put("trial", Driver.error(trial.all()));
        facts.put("only a trial", !admin.listTopics().names().get().contains(topic.name()));
        CreateTopicsResult result = admin.createTopics(List.of(topic));
        facts.put("partitions", result.numPartitions(topic.name()).get());
        facts.put("replicas", result.replicationFactor(topic.name()).get());
        facts.put("retention", result.config(topic.name()).get().get("retention.ms").value());
        facts.put("source", result.config(topic.name()).get().get("retention.ms").source().name());
        facts.put("has id", !result.topicId(topic.name()).get().equals(Uuid.ZERO_UUID));
        facts.put("listed", admin.listTopics().names().get().contains(topic.name()));
        facts.put("defaults", Driver.error(admin.createTopics(
            List.of(new NewTopic(driver.prefix + "defaults", java.util.Optional.empty(), java.util.Optional.empty()))).all()));
        facts.put("assigned", Driver.error(admin.createTopics(
            List.of(new NewTopic(driver.prefix + "assigned", Map.of(0, List.of(here()), 1, List.of(here()))))).all()));
    }

    private int here() throws Exception {
        return admin.describeCluster().nodes().get().iterator().next().id();
    }

    private void refused(Map<String, Object> facts) throws Exception {
        facts.put("exists", refusal(plain("made", 3)));
        facts.put("no partitions", refusal(plain("none", 0)));
        facts.put("three replicas", refusal(new NewTopic(driver.prefix + "three", 1, (short) 3)));
        facts.put("no replicas", refusal(new NewTopic(driver.prefix + "zero", 1, (short) 0)));
        facts.put("bad name", refusal(new NewTopic("what a name!", 1, (short) 1)));
        facts.put("dot", refusal(new NewTopic("..", 1, (short) 1)));
        facts.put("unknown setting", refusal(plain("odd", 1).configs(Map.of("no.such.setting", "1"))));
        facts.put("bad value", refusal(plain("odd", 1).configs(Map.of("retention.ms", "soon"))));
        facts.put("unknown broker", refusal(new NewTopic(driver.prefix + "far", Map.of(0, List.of(here() + 77)))));
        facts.put("gap", refusal(new NewTopic(driver.prefix + "gap", Map.of(1, List.of(here())))));
        CreateTopicsResult both = admin.createTopics(List.of(plain("made", 1), plain("fresh", 1)));
        facts.put("one of two", List.of(Driver.error(both.values().get(driver.prefix + "made")),
            Driver.error(both.values().get(driver.prefix + "fresh"))));
    }

    private String refusal(NewTopic topic) throws Exception {
        return Driver.error(admin.createTopics(List.of(topic)).all());
    }

    private void describe(Map<String, Object> facts) throws Exception {
        String name = driver.topic("described", 2);
        TopicDescription described = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        facts.put("partitions", described.partitions().size());
        facts.put("internal", described.isInternal());
        facts.put("leader", described.partitions().get(0).leader().id() == here());
        facts.put("isr", described.partitions().get(1).isr().size());
        facts.put("operations", described.authorizedOperations() == null);
        Map<Uuid, TopicDescription> byId =
            admin.describeTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds().get();
        facts.put("by id", byId.get(described.topicId()).name().equals(name));
        facts.put("unknown id", Driver.error(admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds()));
        facts.put("unknown name", Driver.error(admin.describeTopics(List.of(driver.prefix + "nowhere")).allTopicNames()));
        facts.put("bad name", Driver.error(admin.describeTopics(List.of("no such name!")).allTopicNames()));
        facts.put("ids agree", admin.listTopics().namesToListings().get().get(name).topicId().equals(described.topicId()));
    }

    private void grow(Map<String, Object> facts) throws Exception {
        String name = driver.topic("grown", 2);
        facts.put("trial", Driver.error(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5)),
            new CreatePartitionsOptions().validateOnly(true)).all()));
        facts.put("after trial", count(name));
        facts.put("grown", Driver.error(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all()));
        facts.put("now", count(name));
        facts.put("fewer", Driver.error(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all()));
        facts.put("same", Driver.error(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all()));
        facts.put("unknown", Driver.error(admin.createPartitions(Map.of(driver.prefix + "nowhere", NewPartitions.increaseTo(5))).all()));
        facts.put("assigned", Driver.error(admin.createPartitions(
            Map.of(name, NewPartitions.increaseTo(6, List.of(List.of(here()))))).all()));
        facts.put("badly assigned", Driver.error(admin.createPartitions(
            Map.of(name, NewPartitions.increaseTo(7, List.of(List.of(here() + 77))))).all()));
    }

    private int count(String name) throws Exception {
        return admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size();
    }

    private void configure(Map<String, Object> facts) throws Exception {
        String name = driver.topic("configured", 1);
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
        facts.put("set", alter(topic, new AlterConfigOp(new ConfigEntry("retention.ms", "1000000"), OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), OpType.APPEND)));
        Config config = config(topic);
        facts.put("retention", config.get("retention.ms").value());
        facts.put("policy", new java.util.TreeSet<>(List.of(config.get("cleanup.policy").value().split(","))));
        facts.put("source", config.get("retention.ms").source().name());
        facts.put("synonyms", config.get("retention.ms").synonyms().stream().map(s -> s.name() + "=" + s.value()).toList());
        facts.put("type", config.get("retention.ms").type().name());
        facts.put("documented", config.get("retention.ms").documentation() != null);
        facts.put("default", config.get("segment.bytes").isDefault());
        facts.put("count", config.entries().size());
        facts.put("removed", alter(topic, new AlterConfigOp(new ConfigEntry("retention.ms", null), OpType.DELETE),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "delete"), OpType.SUBTRACT)));
        config = config(topic);
        facts.put("after", Map.of("retention.ms", config.get("retention.ms").isDefault(), "cleanup.policy", config.get("cleanup.policy").value()));
        facts.put("bad value", alter(topic, new AlterConfigOp(new ConfigEntry("retention.ms", "x"), OpType.SET)));
        facts.put("unknown setting", alter(topic, new AlterConfigOp(new ConfigEntry("no.such", "x"), OpType.SET)));
        facts.put("append to a number", alter(topic, new AlterConfigOp(new ConfigEntry("retention.ms", "1"), OpType.APPEND)));
        ConfigResource nowhere = new ConfigResource(ConfigResource.Type.TOPIC, driver.prefix + "nowhere");
        facts.put("unknown topic", alter(nowhere, new AlterConfigOp(new ConfigEntry("retention.ms", "1"), OpType.SET)));
        facts.put("unknown topic described", Driver.error(admin.describeConfigs(List.of(nowhere)).all()));
    }

    private String alter(ConfigResource resource, AlterConfigOp... operations) throws Exception {
        Map<ConfigResource, Collection<AlterConfigOp>> all = Map.of(resource, List.of(operations));
        return Driver.error(admin.incrementalAlterConfigs(all).all());
    }

    private Config config(ConfigResource resource) throws Exception {
        DescribeConfigsOptions options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return admin.describeConfigs(List.of(resource), options).all().get().get(resource);
    }

    private void brokerConfigs(Map<String, Object> facts) throws Exception {
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "" + here());
        Config config = config(broker);
        Map<String, String> some = new TreeMap<>();
        for (String name : Set.of("message.max.bytes", "node.id", "log.dirs", "num.partitions")) {
            some.put(name, config.get(name) == null ? null : config.get(name).value());
        }
        facts.put("some", some);
        facts.put("read only", config.get("node.id").isReadOnly());
        facts.put("elsewhere", Driver.error(admin.describeConfigs(
            List.of(new ConfigResource(ConfigResource.Type.BROKER, "4711")), new DescribeConfigsOptions().timeoutMs(3000)).all()));
        facts.put("alter", alter(broker, new AlterConfigOp(new ConfigEntry("num.partitions", "3"), OpType.SET)));
    }

    private void delete(Map<String, Object> facts) throws Exception {
        String byName = driver.topic("deleted", 2);
        Uuid first = admin.describeTopics(List.of(byName)).allTopicNames().get().get(byName).topicId();
        facts.put("by name", Driver.error(admin.deleteTopics(List.of(byName)).all()));
        facts.put("again", Driver.error(admin.deleteTopics(List.of(byName)).all()));
        facts.put("listed", admin.listTopics().names().get().contains(byName));
        driver.topic("deleted", 1);
        Uuid second = admin.describeTopics(List.of(byName)).allTopicNames().get().get(byName).topicId();
        facts.put("another id", !first.equals(second));
        facts.put("old id", Driver.error(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(first))).all()));
        facts.put("by id", Driver.error(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(second))).all()));
        facts.put("gone", Driver.error(admin.describeTopics(List.of(byName)).allTopicNames()));
    }
}
