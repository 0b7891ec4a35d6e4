import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;

/** The Java admin client on the cluster, on records and offsets, and on groups. */
final class Administering {
    static final long BASE = 1_600_000_000_000L;
    private final Driver driver;
    private final Admin admin;
    private String topic;
    private TopicPartition partition;

    Administering(Driver driver) {
        this.driver = driver;
        this.admin = driver.admin;
    }

    void all() throws Exception {
        topic = driver.topic("administered", 2);
        partition = new TopicPartition(topic, 0);
        try (KafkaProducer<byte[], byte[]> producer = driver.producer()) {
            for (long number : new long[] {3, 9, 4, 1}) {
                producer.send(new ProducerRecord<>(topic, 0, BASE + number, null, new byte[100])).get();
            }
        }
        driver.check("cluster", this::cluster);
        driver.check("features", this::features);
        driver.check("list offsets", this::listOffsets);
        driver.check("producers", this::producers);
        driver.check("log dirs", this::logDirs);
        driver.check("elect", this::elect);
        driver.check("groups", this::groups);
        driver.check("group offsets", this::groupOffsets);
        driver.check("remove members", this::removeMembers);
        driver.check("delete records", this::deleteRecords);
        driver.check("not served", this::notServed);
    }

    private void cluster(Map<String, Object> facts) throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        facts.put("nodes", cluster.nodes().get().size());
        facts.put("address", cluster.nodes().get().iterator().next().host() + ":" + cluster.nodes().get().iterator().next().port());
        facts.put("controller", cluster.controller().get().id() == cluster.nodes().get().iterator().next().id());
        facts.put("cluster id", cluster.clusterId().get().length());
    }

    private void features(Map<String, Object> facts) throws Exception {
        var metadata = admin.describeFeatures().featureMetadata().get();
        facts.put("finalized", new TreeSet<>(metadata.finalizedFeatures().keySet()));
        facts.put("supported", new TreeSet<>(metadata.supportedFeatures().keySet()));
    }

    private void listOffsets(Map<String, Object> facts) throws Exception {
        Map<String, OffsetSpec> specs = new java.util.LinkedHashMap<>();
        specs.put("earliest", OffsetSpec.earliest());
        specs.put("latest", OffsetSpec.latest());
        specs.put("largest time", OffsetSpec.maxTimestamp());
        specs.put("time", OffsetSpec.forTimestamp(BASE + 4));
        specs.put("too late", OffsetSpec.forTimestamp(BASE + 10));
        specs.put("local", OffsetSpec.earliestLocal());
        specs.put("tiered", OffsetSpec.latestTiered());
        specs.put("pending", OffsetSpec.earliestPendingUpload());
        for (var one : specs.entrySet()) {
            var future = admin.listOffsets(Map.of(partition, one.getValue())).partitionResult(partition);
            String error = Driver.error(future);
            if (error.equals("none")) {
                ListOffsetsResultInfo found = future.get();
                facts.put(one.getKey(), List.of(found.offset(), found.timestamp() < 0 ? -1 : found.timestamp() - BASE));
            } else {
                facts.put(one.getKey(), error);
            }
        }
        facts.put("unknown", Driver.error(admin.listOffsets(
            Map.of(new TopicPartition(topic, 99), OffsetSpec.latest()),
            new org.apache.kafka.clients.admin.ListOffsetsOptions().timeoutMs(1500)).all()));
    }

    private void producers(Map<String, Object> facts) throws Exception {
        List<ProducerState> active = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        facts.put("count", active.size());
        facts.put("epoch", active.get(0).producerEpoch());
        facts.put("last sequence", active.get(0).lastSequence());
        facts.put("time", active.get(0).lastTimestamp() > BASE);
        facts.put("transaction", active.get(0).currentTransactionStartOffset().isPresent());
        facts.put("unknown", Driver.error(admin.describeProducers(List.of(new TopicPartition(topic, 99)),
            new org.apache.kafka.clients.admin.DescribeProducersOptions().timeoutMs(1500)).all()));
    }

    private void logDirs(Map<String, Object> facts) throws Exception {
        int here = admin.describeCluster().nodes().get().iterator().next().id();
        Map<String, LogDirDescription> dirs = admin.describeLogDirs(List.of(here)).allDescriptions().get().get(here);
        LogDirDescription dir = dirs.values().iterator().next();
        facts.put("dirs", dirs.size());
        facts.put("size", dir.replicaInfos().get(partition).size() > 400);
        facts.put("lag", dir.replicaInfos().get(partition).offsetLag());
        facts.put("total", dir.totalBytes().isPresent() && dir.totalBytes().getAsLong() > dir.usableBytes().getAsLong());
        facts.put("error", dir.error() == null);
    }

    private void elect(Map<String, Object> facts) throws Exception {
        facts.put("preferred", outcome(ElectionType.PREFERRED, partition));
        facts.put("unclean", outcome(ElectionType.UNCLEAN, partition));
        facts.put("unknown", outcome(ElectionType.PREFERRED, new TopicPartition(driver.prefix + "nowhere", 0)));
        facts.put("all", Driver.error(admin.electLeaders(ElectionType.PREFERRED, null).all()));
    }

    private String outcome(ElectionType type, TopicPartition one) throws Exception {
        Optional<Throwable> error = admin.electLeaders(type, Set.of(one)).partitions().get().get(one);
        return error.map(e -> e.getClass().getSimpleName()).orElse("none");
    }

    private void groups(Map<String, Object> facts) throws Exception {
        String group = driver.prefix + "managed";
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("group.id", group, "client.id", "me", "group.instance.id", "me")) {
            consumer.subscribe(List.of(topic));
            Driver.take(consumer, 4);
            consumer.commitSync();
            ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            facts.put("state", described.groupState().toString());
            facts.put("type", described.type().toString());
            facts.put("assignor", described.partitionAssignor());
            var member = described.members().iterator().next();
            facts.put("member", List.of(member.clientId(), member.groupInstanceId().orElse(""), member.assignment().topicPartitions().size()));
            facts.put("host", member.host());
            facts.put("coordinator", described.coordinator().port() > 0);
            facts.put("classic", admin.describeClassicGroups(List.of(group)).all().get().get(group).state().toString());
            facts.put("listed", listed(new ListGroupsOptions(), group));
            facts.put("stable", listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE)), group));
            facts.put("empty", listed(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY)), group));
            facts.put("of type consumer", listed(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER)), group));
            facts.put("delete", Driver.error(admin.deleteConsumerGroups(List.of(group)).all()));
            facts.put("delete offsets", Driver.error(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).partitionResult(partition)));
            facts.put("alter offsets", Driver.error(admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(1))).all()));
        }
        facts.put("unknown", Driver.error(admin.describeConsumerGroups(List.of(driver.prefix + "nobody")).all()));
        facts.put("delete unknown", Driver.error(admin.deleteConsumerGroups(List.of(driver.prefix + "nobody")).all()));
    }

    private boolean listed(ListGroupsOptions options, String group) throws Exception {
        Collection<GroupListing> all = admin.listGroups(options).all().get();
        return all.stream().anyMatch(one -> one.groupId().equals(group));
    }

    private void groupOffsets(Map<String, Object> facts) throws Exception {
        String group = driver.prefix + "offsets";
        facts.put("alter", Driver.error(admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(2, "note"))).all()));
        OffsetAndMetadata found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(partition);
        facts.put("found", List.of(found.offset(), found.metadata()));
        facts.put("elsewhere", Driver.error(admin.alterConsumerGroupOffsets(group,
            Map.of(new TopicPartition(driver.prefix + "nowhere", 0), new OffsetAndMetadata(2)),
            new org.apache.kafka.clients.admin.AlterConsumerGroupOffsetsOptions().timeoutMs(3000)).all()));
        facts.put("several", admin.listConsumerGroupOffsets(Map.of(
            group, new org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec(),
            driver.prefix + "managed", new org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec())).all().get().size());
        facts.put("delete offsets", Driver.error(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all()));
        facts.put("after", admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size());
        admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(3))).all().get();
        facts.put("delete", Driver.error(admin.deleteConsumerGroups(List.of(group)).all()));
        facts.put("gone", listed(new ListGroupsOptions(), group));
    }

    private void removeMembers(Map<String, Object> facts) throws Exception {
        String group = driver.prefix + "removed";
        KafkaConsumer<byte[], byte[]> one = driver.consumer("group.id", group, "group.instance.id", "one");
        one.subscribe(List.of(topic));
        Driver.take(one, 4);
        facts.put("unknown", Driver.error(admin.removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("two")))).all()));
        facts.put("known", Driver.error(admin.removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all()));
        facts.put("members", admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size());
        one.close();
    }

    private void deleteRecords(Map<String, Object> facts) throws Exception {
        facts.put("low", admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(2))).lowWatermarks().get(partition).get().lowWatermark());
        facts.put("earliest", admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset());
        facts.put("first", driver.read(topic, 2).get(0).offset());
        facts.put("past the end", Driver.error(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(99))).all()));
        facts.put("all", admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(partition).get().lowWatermark());
        String compacted = driver.topic("kept", 1, "cleanup.policy", "compact");
        facts.put("compacted", Driver.error(admin.deleteRecords(Map.of(new TopicPartition(compacted, 0), RecordsToDelete.beforeOffset(0))).all()));
    }

    /** What this broker does not do must say so by name at once: no client may hang on it. */
    private void notServed(Map<String, Object> facts) throws Exception {
        facts.put("transactions", Driver.error(admin.listTransactions().all()));
        facts.put("acls", Driver.error(admin.describeAcls(org.apache.kafka.common.acl.AclBindingFilter.ANY).values()));
        facts.put("tokens", Driver.error(admin.describeDelegationToken().delegationTokens()));
        facts.put("scram", Driver.error(admin.describeUserScramCredentials().all()));
        facts.put("reassignments", Driver.error(admin.listPartitionReassignments().reassignments()));
        facts.put("quorum", Driver.error(admin.describeMetadataQuorum().quorumInfo()));
        try (KafkaProducer<byte[], byte[]> producer = driver.producer("transactional.id", driver.prefix + "t", "max.block.ms", 3000)) {
            facts.put("transactional producer", Driver.thrown(() -> {
                producer.initTransactions();
                return null;
            }));
        }
    }
}
