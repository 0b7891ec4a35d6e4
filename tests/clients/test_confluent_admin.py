"""confluent-kafka's admin calls: topics, partitions, settings, records, groups' offsets, and the errors they end with."""

from typing import Any

import pytest
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from tests.clients.support import (
    PATIENCE,
    admin_of,
    consumer_of,
    create,
    only,
    producer_of,
    read,
    send,
    until,
    visible,
)


def code_of(futures: dict[Any, Any]) -> int:
    with pytest.raises(KafkaException) as raised:
        only(futures)
    return raised.value.args[0].code()


def setting(bootstrap: str, topic: str, key: str) -> ConfigEntry:
    admin = admin_of(bootstrap)
    return only(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))[key]


def alter(bootstrap: str, topic: str, operation: AlterConfigOpType, key: str, value: str | None) -> None:
    entry = ConfigEntry(key, value, incremental_operation=operation)
    admin = admin_of(bootstrap)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    only(admin.incremental_alter_configs([resource]))


def test_a_topic_is_created_described_and_deleted(bootstrap: str, name: str) -> None:
    admin = admin_of(bootstrap)
    create(bootstrap, name, partitions=3)
    topic = admin.list_topics(name, timeout=PATIENCE).topics[name]
    assert sorted(topic.partitions) == [0, 1, 2]
    assert [(len(one.replicas), len(one.isrs)) for one in topic.partitions.values()] == [(1, 1)] * 3
    only(admin.delete_topics([name]))
    until(lambda: name not in admin.list_topics(timeout=PATIENCE).topics, "the topic is gone")
    assert code_of(admin.delete_topics([name])) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_topic_made_again_is_empty(bootstrap: str, name: str) -> None:
    admin = admin_of(bootstrap)
    create(bootstrap, name)
    send(producer_of(bootstrap), name, [b"old"])
    only(admin.delete_topics([name]))
    until(lambda: name not in admin.list_topics(timeout=PATIENCE).topics, "the topic is gone")
    create(bootstrap, name)
    consumer = consumer_of(bootstrap, name)
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (0, 0)
    consumer.close()
    send(producer_of(bootstrap), name, [b"new"])
    assert [message.value() for message in read(bootstrap, name, 1)] == [b"new"]


def test_describing_topics_gives_their_ids(bootstrap: str, name: str) -> None:
    from confluent_kafka import TopicCollection

    create(bootstrap, name, partitions=2)
    admin = admin_of(bootstrap)
    described = only(admin.describe_topics(TopicCollection([name])))
    assert (described.name, len(described.partitions), described.is_internal) == (name, 2, False)
    assert str(described.topic_id) != "AAAAAAAAAAAAAAAAAAAAAA"


def test_the_cluster_describes_itself(bootstrap: str) -> None:
    admin = admin_of(bootstrap)
    cluster = admin.describe_cluster().result(PATIENCE)
    assert cluster.cluster_id
    host, port = bootstrap.rsplit(":", 1)
    assert [(node.host, node.port) for node in cluster.nodes] == [(host, int(port))]
    assert cluster.controller.id == cluster.nodes[0].id


@pytest.mark.parametrize(
    ("partitions", "replicas", "config", "error"),
    [
        (0, 1, {}, KafkaError.INVALID_PARTITIONS),
        (1, 3, {}, KafkaError.INVALID_REPLICATION_FACTOR),
        (1, 1, {"no.such.setting": "1"}, KafkaError.INVALID_CONFIG),
        (1, 1, {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG),
        (1, 1, {"cleanup.policy": "burn"}, KafkaError.INVALID_CONFIG),
    ],
)
def test_a_topic_that_cannot_be_is_refused(
    bootstrap: str, name: str, partitions: int, replicas: int, config: dict[str, str], error: int
) -> None:
    admin = admin_of(bootstrap)
    assert code_of(admin.create_topics([NewTopic(name, partitions, replicas, config=config)])) == error


@pytest.mark.parametrize("bad", ["with space", "a/b", "x" * 250, ".", ".."])
def test_an_impossible_name_is_refused(bootstrap: str, bad: str) -> None:
    assert code_of(admin_of(bootstrap).create_topics([NewTopic(bad, 1, 1)])) == KafkaError.TOPIC_EXCEPTION


def test_a_topic_is_made_once(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    admin = admin_of(bootstrap)
    assert code_of(admin.create_topics([NewTopic(name, 1, 1)])) == KafkaError.TOPIC_ALREADY_EXISTS


def test_validating_makes_nothing(bootstrap: str, name: str) -> None:
    admin = admin_of(bootstrap)
    only(admin.create_topics([NewTopic(name, 1, 1)], validate_only=True))
    assert name not in admin.list_topics(timeout=PATIENCE).topics


def test_partitions_are_added_and_never_taken_away(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    admin = admin_of(bootstrap)
    only(admin.create_partitions([NewPartitions(name, 3)]))
    visible(bootstrap, name, 3)
    assert code_of(admin.create_partitions([NewPartitions(name, 2)])) == KafkaError.INVALID_PARTITIONS
    send(producer_of(bootstrap), name, [b"third"], partition=2)
    assert read(bootstrap, name, 1, partition=2)[0].value() == b"third"


def test_a_setting_is_set_described_appended_to_and_deleted(bootstrap: str, name: str) -> None:
    create(bootstrap, name, retention_ms=3_600_000)
    assert setting(bootstrap, name, "retention.ms").value == "3600000"
    assert setting(bootstrap, name, "retention.ms").is_default is False
    alter(bootstrap, name, AlterConfigOpType.SET, "retention.ms", "7200000")
    until(lambda: setting(bootstrap, name, "retention.ms").value == "7200000", "the new value")
    alter(bootstrap, name, AlterConfigOpType.APPEND, "cleanup.policy", "compact")
    until(
        lambda: set(setting(bootstrap, name, "cleanup.policy").value.split(",")) == {"delete", "compact"},
        "both",
    )
    alter(bootstrap, name, AlterConfigOpType.SUBTRACT, "cleanup.policy", "delete")
    until(lambda: setting(bootstrap, name, "cleanup.policy").value == "compact", "one")
    alter(bootstrap, name, AlterConfigOpType.DELETE, "retention.ms", None)
    until(lambda: setting(bootstrap, name, "retention.ms").value == "604800000", "the default again")


def test_a_setting_that_is_not_is_refused(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    for key, value in [("no.such.setting", "1"), ("segment.bytes", "-7"), ("retention.ms", "x")]:
        with pytest.raises(KafkaException) as refused:
            alter(bootstrap, name, AlterConfigOpType.SET, key, value)
        assert refused.value.args[0].code() == KafkaError.INVALID_CONFIG


def test_a_changed_limit_holds_for_the_next_batch(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    alter(bootstrap, name, AlterConfigOpType.SET, "max.message.bytes", "1000")

    def refused() -> bool:
        (report,) = send(producer_of(bootstrap), name, [b"x" * 5000])
        return report.error() is not None and report.error().code() == KafkaError.MSG_SIZE_TOO_LARGE

    until(refused, "the smaller limit")


def test_the_brokers_settings_are_described(bootstrap: str) -> None:
    admin = admin_of(bootstrap)
    node = admin.describe_cluster().result(PATIENCE).nodes[0].id
    entries = only(admin.describe_configs([ConfigResource(ResourceType.BROKER, str(node))]))
    for key in ("log.retention.ms", "num.partitions", "message.max.bytes", "auto.create.topics.enable"):
        assert key in entries


def test_a_brokers_setting_is_altered_while_it_runs_and_topics_inherit_it(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    admin = admin_of(bootstrap)
    node = str(admin.describe_cluster().result(PATIENCE).nodes[0].id)

    def set_lag(operation: AlterConfigOpType, value: str | None) -> None:
        entry = ConfigEntry("log.cleaner.min.compaction.lag.ms", value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.BROKER, node, incremental_configs=[entry])
        only(admin.incremental_alter_configs([resource]))

    set_lag(AlterConfigOpType.SET, "123456")
    try:
        until(
            lambda: setting(bootstrap, name, "min.compaction.lag.ms").value == "123456", "the topic inherits"
        )
        described = only(admin.describe_configs([ConfigResource(ResourceType.BROKER, node)]))
        entry = described["log.cleaner.min.compaction.lag.ms"]
        assert (entry.value, entry.is_read_only, entry.is_default) == ("123456", False, False)
        assert described["num.partitions"].is_read_only
    finally:
        set_lag(AlterConfigOpType.DELETE, None)
    until(lambda: setting(bootstrap, name, "min.compaction.lag.ms").value == "0", "the default again")


def test_a_brokers_fixed_setting_is_not_altered(bootstrap: str) -> None:
    admin = admin_of(bootstrap)
    node = str(admin.describe_cluster().result(PATIENCE).nodes[0].id)
    entry = ConfigEntry("num.partitions", "7", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.BROKER, node, incremental_configs=[entry])
    assert code_of(admin.incremental_alter_configs([resource])) == KafkaError.INVALID_REQUEST


def test_a_led_partition_needs_no_election(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    admin = admin_of(bootstrap)
    wanted = [TopicPartition(name, 0), TopicPartition("no-such-topic", 0)]
    outcome = admin.elect_leaders(ElectionType.PREFERRED, wanted).result(PATIENCE)
    assert {partition.topic: error.code() for partition, error in outcome.items()} == {
        name: KafkaError.ELECTION_NOT_NEEDED,
        "no-such-topic": KafkaError.UNKNOWN_TOPIC_OR_PART,
    }


def test_records_before_an_offset_are_deleted(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    send(producer_of(bootstrap), name, [b"%d" % n for n in range(10)])
    admin = admin_of(bootstrap)
    assert only(admin.delete_records([TopicPartition(name, 0, 6)])).low_watermark == 6
    assert read(bootstrap, name, 4)[0].offset() == 6
    assert code_of(admin.delete_records([TopicPartition(name, 0, 11)])) == KafkaError.OFFSET_OUT_OF_RANGE
    assert (
        only(admin.delete_records([TopicPartition(name, 0, -1)])).low_watermark == 10
    )  # to the high watermark


def test_list_offsets_knows_every_special_time(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    producer = producer_of(bootstrap)
    for timestamp in (1_600_000_000_000, 1_600_000_009_000, 1_600_000_004_000):
        send(producer, name, [b"v"], timestamp=timestamp)
    admin = admin_of(bootstrap)
    partition = TopicPartition(name, 0)

    def offset(spec: OffsetSpec) -> tuple[int, int]:
        level = IsolationLevel.READ_UNCOMMITTED
        found = only(admin.list_offsets({partition: spec}, isolation_level=level))
        return found.offset, found.timestamp

    assert offset(OffsetSpec.earliest()) == (0, -1)
    assert offset(OffsetSpec.latest()) == (3, -1)
    assert offset(OffsetSpec.max_timestamp()) == (1, 1_600_000_009_000)
    assert offset(OffsetSpec.for_timestamp(1_600_000_000_001)) == (1, 1_600_000_009_000)


def test_a_groups_offsets_are_listed_altered_and_the_group_deleted(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=2)
    admin = admin_of(bootstrap)
    wanted = [TopicPartition(name, 0, 5), TopicPartition(name, 1, 7)]
    only(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, wanted)]))
    listed = only(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]))
    assert sorted((one.partition, one.offset) for one in listed.topic_partitions) == [(0, 5), (1, 7)]
    consumer = consumer_of(bootstrap, name)
    assert [one.offset for one in consumer.committed(wanted, timeout=10)] == [5, 7]
    consumer.close()
    only(admin.delete_consumer_groups([name]))
    listed = only(
        admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name, [TopicPartition(name, 0)])])
    )
    assert [one.offset for one in listed.topic_partitions] == [-1001]


def test_a_log_is_compacted_to_the_last_value_of_each_key(bootstrap: str, name: str) -> None:
    """Only what a client can see at once: a compacted topic takes keyed records and refuses those without a key."""
    create(bootstrap, name, cleanup_policy="compact")
    producer = producer_of(bootstrap)
    assert send(producer, name, [b"v"], key=b"k")[0].error() is None
    assert send(producer, name, [b"v"])[0].error().code() == KafkaError.INVALID_RECORD
