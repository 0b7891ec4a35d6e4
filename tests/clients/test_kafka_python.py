"""kafka-python 3 against the broker."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    GroupIdNotFoundError,
    InvalidConfigurationError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import OffsetAndMetadata

from tests.clients.support import PATIENCE, create, until

Record = Any


@pytest.fixture
def admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as client:
        yield client


@pytest.fixture
def producer(bootstrap: str) -> Iterator[KafkaProducer]:
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as client:
        yield client


def consumer_of(bootstrap: str, *topics: str, **settings: Any) -> KafkaConsumer:
    defaults = {
        "bootstrap_servers": bootstrap,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 300,
        "metadata_max_age_ms": 500,
    }
    consumer = KafkaConsumer(*topics, **(defaults | settings))
    # A member that joins before it knows the topic joins again when it does, and kafka-python 3.0.12 loses the assignment
    # if a poll ends during that second join (against Apache Kafka with group.initial.rebalance.delay.ms=0 as well).
    until(lambda: all(consumer.partitions_for_topic(topic) for topic in topics), "the topics are known")
    return consumer


def take(consumer: KafkaConsumer, count: int) -> list[Record]:
    taken: list[Record] = []

    def enough() -> bool:
        for records in consumer.poll(timeout_ms=2000, max_records=count - len(taken)).values():
            taken.extend(records)
        return len(taken) == count

    until(enough, f"{count} records")
    return taken


def send(producer: KafkaProducer, topic: str, values: list[bytes | None], **more: Any) -> list[int]:
    futures = [producer.send(topic, value, **more) for value in values]
    return [future.get(PATIENCE).offset for future in futures]


def test_records_come_back_with_key_headers_timestamp_and_tombstone(
    bootstrap: str, name: str, producer: KafkaProducer
) -> None:
    create(bootstrap, name)
    headers = [("h", b"\x01"), ("h", b"")]
    assert send(producer, name, [b"v"], key=b"k", headers=headers, timestamp_ms=1_600_000_000_000) == [0]
    assert send(producer, name, [None], key=b"gone") == [1]
    with closing(consumer_of(bootstrap, name)) as consumer:
        first, tombstone = take(consumer, 2)
    assert (first.key, first.value, list(first.headers)) == (b"k", b"v", headers)
    assert (first.timestamp, first.timestamp_type) == (1_600_000_000_000, 0)
    assert (tombstone.key, tombstone.value) == (b"gone", None)


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_level_of_acks_delivers(bootstrap: str, name: str, acks: int | str) -> None:
    create(bootstrap, name)
    settings = {"acks": acks, "enable_idempotence": False}
    with closing(KafkaProducer(bootstrap_servers=bootstrap, **settings)) as producer:
        offsets = send(producer, name, [b"a", b"b"])
    assert acks == 0 or offsets == [0, 1]  # with acks=0 the client makes its own answer up
    with closing(consumer_of(bootstrap, name)) as consumer:
        assert [record.value for record in take(consumer, 2)] == [b"a", b"b"]


def test_thousands_of_idempotent_records_arrive_once_and_in_order(
    bootstrap: str, name: str, producer: KafkaProducer
) -> None:
    create(bootstrap, name)
    values: list[bytes | None] = [b"%d" % number for number in range(3000)]
    assert send(producer, name, values) == list(range(3000))
    with closing(consumer_of(bootstrap, name)) as consumer:
        assert [record.value for record in take(consumer, 3000)] == values


def test_a_record_beyond_the_topics_limit_is_refused(bootstrap: str, name: str) -> None:
    create(bootstrap, name, max_message_bytes=10_000)
    with closing(KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=False)) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            send(producer, name, [b"x" * 20_000])
        assert send(producer, name, [b"x" * 9_000]) == [0]


def test_offsets_by_time_ends_and_seek(bootstrap: str, name: str, producer: KafkaProducer) -> None:
    create(bootstrap, name)
    for step in range(4):
        send(producer, name, [b"%d" % step], timestamp_ms=1_600_000_000_000 + step * 1000)
    partition = TopicPartition(name, 0)
    with closing(consumer_of(bootstrap)) as consumer:
        assert consumer.beginning_offsets([partition]) == {partition: 0}
        assert consumer.end_offsets([partition]) == {partition: 4}
        found = consumer.offsets_for_times({partition: 1_600_000_001_500})[partition]
        assert (found.offset, found.timestamp) == (2, 1_600_000_002_000)
        assert consumer.offsets_for_times({partition: 1_700_000_000_000}) == {partition: None}
        consumer.assign([partition])
        consumer.seek(partition, 3)
        assert take(consumer, 1)[0].value == b"3"
        consumer.seek_to_beginning(partition)
        assert take(consumer, 1)[0].value == b"0"


class Member(threading.Thread):
    """A member of a group that polls in a thread of its own, for poll() waits while its group rebalances."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.consumer = consumer_of(bootstrap, topic, group_id=topic)
        self.owned: set[int] = set()
        self.records: list[Record] = []
        self._leaving = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._leaving.is_set():
            for records in self.consumer.poll(timeout_ms=100).values():
                self.records.extend(records)
            self.owned = {partition.partition for partition in self.consumer.assignment()}
        self.consumer.close()

    def leave(self) -> None:
        self._leaving.set()
        self.join(PATIENCE)


def test_two_members_share_and_one_takes_over(bootstrap: str, name: str, producer: KafkaProducer) -> None:
    create(bootstrap, name, partitions=2)
    first, second = Member(bootstrap, name), Member(bootstrap, name)
    try:
        until(lambda: [len(first.owned), len(second.owned)] == [1, 1], "one partition each")
        second.leave()
        until(lambda: first.owned == {0, 1}, "both partitions")
        for partition in (0, 1):
            send(producer, name, [b"x"], partition=partition)
        until(lambda: sorted(record.partition for record in first.records) == [0, 1], "both records")
    finally:
        first.leave()
        second.leave()


def test_a_committed_position_is_where_the_group_resumes(
    bootstrap: str, name: str, producer: KafkaProducer
) -> None:
    create(bootstrap, name)
    send(producer, name, [b"0", b"1", b"2", b"3"])
    partition = TopicPartition(name, 0)
    with closing(consumer_of(bootstrap, name, group_id=name)) as consumer:
        take(consumer, 2)
        consumer.commit({partition: OffsetAndMetadata(2, "note", -1)})
        assert consumer.committed(partition) == 2
    with closing(consumer_of(bootstrap, name, group_id=name)) as consumer:
        assert [record.value for record in take(consumer, 2)] == [b"2", b"3"]


def test_a_pattern_finds_its_topics(bootstrap: str, name: str, producer: KafkaProducer) -> None:
    for suffix in ("a", "b"):
        create(bootstrap, f"{name}-{suffix}")
        send(producer, f"{name}-{suffix}", [suffix.encode()])
    with closing(consumer_of(bootstrap, group_id=name)) as consumer:
        consumer.subscribe(pattern=f"^{name}-.*")
        assert sorted(record.value for record in take(consumer, 2)) == [b"a", b"b"]


def test_producing_to_an_unknown_topic_makes_it(bootstrap: str, name: str, producer: KafkaProducer) -> None:
    assert send(producer, name, [b"first"]) == [0]


def test_topics_are_made_described_widened_and_deleted(name: str, admin: KafkaAdminClient) -> None:
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True)
    assert name in admin.list_topics()
    admin.create_partitions({name: 4})
    until(lambda: len(admin.describe_topics([name])[0]["partitions"]) == 4, "four partitions")
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
    with pytest.raises(InvalidTopicError):
        admin.create_topics({"not a name": {"num_partitions": 1, "replication_factor": 1}})
    admin.delete_topics([name])
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([name])


def test_a_described_topic_partition_names_its_leader(
    bootstrap: str, name: str, admin: KafkaAdminClient
) -> None:
    create(bootstrap, name, partitions=3)
    described = admin.describe_topic_partitions([name])
    (topic,) = described["topics"] if isinstance(described, dict) else described
    leaders = {partition["leader_id"] for partition in topic["partitions"]}
    assert leaders == {admin.describe_cluster()["controller_id"]}


def test_settings_are_altered_and_reset(bootstrap: str, name: str, admin: KafkaAdminClient) -> None:
    create(bootstrap, name)

    def value() -> str | None:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
        return found["topic"][name]["retention.ms"]["value"]

    default = value()
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "1234567"})])
    until(lambda: value() == "1234567", "the altered value")
    admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": None})])
    until(lambda: value() == default, "the default again")


def test_a_bad_setting_at_creation_is_refused(name: str, admin: KafkaAdminClient) -> None:
    topic = {"num_partitions": 1, "replication_factor": 1, "configs": {"segment.bytes": "small"}}
    with pytest.raises(InvalidConfigurationError):
        admin.create_topics({name: topic})


def test_records_are_deleted_up_to_an_offset(
    bootstrap: str, name: str, admin: KafkaAdminClient, producer: KafkaProducer
) -> None:
    create(bootstrap, name)
    send(producer, name, [b"%d" % number for number in range(5)])
    partition = TopicPartition(name, 0)
    assert admin.delete_records({partition: 3})[partition]["low_watermark"] == 3
    with closing(consumer_of(bootstrap, name)) as consumer:
        assert [record.offset for record in take(consumer, 2)] == [3, 4]


def test_groups_are_listed_described_altered_and_deleted(
    bootstrap: str, name: str, admin: KafkaAdminClient
) -> None:
    create(bootstrap, name, partitions=2)
    partitions = [TopicPartition(name, number) for number in (0, 1)]
    admin.alter_group_offsets(name, {one: OffsetAndMetadata(9, "", -1) for one in partitions})
    listed = {group["group_id"]: group for group in admin.list_groups()}
    assert listed[name]["group_state"] == "Empty"
    assert [found.offset for found in admin.list_group_offsets(name)[name].values()] == [9, 9]
    admin.delete_group_offsets(name, partitions[:1])
    assert list(admin.list_group_offsets(name)[name]) == partitions[1:]
    described = admin.describe_groups([name])[name]
    assert described["group_state"] == "Empty"
    assert admin.delete_groups([name]) == {name: "OK"}
    assert admin.delete_groups([name]) == {name: GroupIdNotFoundError.__name__}


def test_log_dirs_producers_and_features_are_described(
    bootstrap: str, name: str, admin: KafkaAdminClient, producer: KafkaProducer
) -> None:
    create(bootstrap, name)
    send(producer, name, [b"x" * 1000])
    assert name in str(admin.describe_log_dirs())
    assert admin.describe_producers([TopicPartition(name, 0)])
    assert admin.describe_features()
