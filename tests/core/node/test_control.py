"""The cluster's metadata through the whole broker: one record at a time, on the disk before it is true, kept over restarts."""

import errno
from random import Random

import pytest

from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.core.api.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.api.describe_topic_partitions_request import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.effects import Sync
from rafka.core.errors import ErrorCode
from rafka.core.types import Uuid
from rafka.net.frame import SIZE
from tests.core.node.test_fetch import Topic, rows, values
from tests.core.node.test_produce import batch, producing
from tests.core.node.world import PORT, World

TOPIC, BROKER = 2, 4


def creating(*names, partitions=1):
    topics = [CreatableTopic(name=name, num_partitions=partitions, replication_factor=1) for name in names]
    return CreateTopicsRequest(topics=topics)


def alter(client, key, value, kind=TOPIC, name="t"):
    steps = [AlterableConfig(name=key, config_operation=0 if value is not None else 1, value=value)]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=steps)
    (result,) = client.ask(IncrementalAlterConfigsRequest(resources=[resource])).responses
    return result.error_code


def known(world, *names, version=13, create=False):
    """What Metadata says of topics: name to error code and number of partitions."""
    topics = [MetadataRequestTopic(name=name) for name in names] or None
    request = MetadataRequest(topics=topics, allow_auto_topic_creation=create)
    response = world.connect().ask(request, version)
    assert [(b.node_id, b.host, b.port) for b in response.brokers] == [(1, "127.0.0.1", PORT)]
    return {t.name: (t.error_code, len(t.partitions)) for t in response.topics}


# ---- one at a time, on the disk first ----------------------------------------------------------


def test_a_topic_is_there_once_its_records_are_on_the_disk():
    world = World()
    perform, held = world.perform, []
    world.perform = lambda effect: held.append(effect) if _is_metadata_sync(effect) else perform(effect)
    creator = world.connect()
    creator.send(creating("t"))
    world.run()
    assert creator.answers() == {}
    assert known(world, "t") == {"t": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)}
    del world.perform
    for effect in held:
        world.perform(effect)
    world.run()
    (answer,) = creator.answers().values()
    assert answer.topics[0].error_code == 0
    assert known(world, "t") == {"t": (0, 1)}


def _is_metadata_sync(effect):
    return isinstance(effect, Sync) and effect.file.startswith("__cluster_metadata")


def test_requests_that_come_together_are_decided_one_after_the_other():
    world = World()
    clients = [world.connect() for _ in range(3)]
    for client in clients:
        client.send(creating("t"))
    clients[0].send(DeleteTopicsRequest(topic_names=["t"]), 5)
    clients[1].send(creating("t"))
    world.run()
    codes = [
        [(a.topics if hasattr(a, "topics") else a.responses)[0].error_code for a in client.answers().values()]
        for client in clients
    ]
    exists = ErrorCode.TOPIC_ALREADY_EXISTS
    # Its own connection sees a request's outcome; the others see it once it is committed.
    assert codes == [[0, 0], [exists, exists], [exists]]
    assert known(world, "t") == {"t": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)}


def test_metadata_that_the_disk_does_not_take_is_refused():
    world = World()
    world.disk.fail("write", errno.EIO)
    (result,) = world.connect().ask(creating("t")).topics
    assert result.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert result.error_message == "The disk of the metadata log is full or fails; nothing was changed."
    assert known(world, "t") == {"t": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)}


@pytest.mark.parametrize("crash", [None, *range(8)])
def test_a_restart_knows_all_that_was_answered(crash):
    world = World()
    topic = world.create("t", partitions=2, retention_ms="60000")
    world.create("gone")
    client = world.connect()
    client.ask(DeleteTopicsRequest(topic_names=["gone"]), 5)
    client.ask(CreatePartitionsRequest(topics=[CreatePartitionsTopic(name="t", count=5, assignments=None)]))
    assert alter(client, "flush", "os") == 0
    assert alter(client, "log.segment.bytes", "2097152", BROKER, "") == 0
    world.restart(None if crash is None else Random(crash))
    assert known(world) == {"t": (0, 5)}
    assert world.node.image.topic("t").topic_id == topic
    assert world.node.image.own_config("t") == {"retention.ms": "60000", "flush": "os"}
    config = world.node.partitions.find("t", 4).log.config
    assert (config.retention_ms, config.flush_fsync, config.segment_bytes) == (60_000, False, 2097152)


# ---- topics ------------------------------------------------------------------------------------


def test_a_topic_that_is_made_again_is_empty_and_another():
    topic = Topic()
    topic.write(b"old")
    for version in (5, 6):
        old = topic.id
        state = DeleteTopicState(topic_id=old) if version == 6 else DeleteTopicState(name="t")
        request = (
            DeleteTopicsRequest(topics=[state]) if version == 6 else DeleteTopicsRequest(topic_names=["t"])
        )
        assert topic.writer.ask(request, version).responses[0].error_code == 0
        topic.id = topic.world.create("t")
        assert topic.id != old
        assert rows(topic.fetch((0, 0)))[0].high_watermark == 0
        topic.write(b"new")
        assert values(rows(topic.fetch((0, 0)))[0]) == [b"new"]
    topic.world.restart()
    topic.reader = topic.world.connect()
    assert values(rows(topic.fetch((0, 0)))[0]) == [b"new"]


def test_a_topic_and_its_maker_may_come_in_one_breath():
    world = World()
    client = world.connect()
    client.send(creating("t"))
    client.send(producing("t", batch(b"a")), 12)
    world.run()
    made, produced = client.answers().values()
    assert made.topics[0].error_code == 0
    assert produced.responses[0].partition_responses[0].error_code == 0


def test_naming_a_topic_makes_it_with_num_partitions():
    world = World(num_partitions="3")
    assert known(world, "t") == {"t": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)}
    assert known(world, "t", create=True) == {"t": (0, 3)}
    assert known(world, "a b", create=True) == {"a b": (ErrorCode.INVALID_TOPIC_EXCEPTION, 0)}
    off = World(auto_create_topics_enable="false")
    assert known(off, "t", create=True) == {"t": (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)}


def test_topics_are_known_by_id():  # KIP-516
    world = World()
    topic = world.create("t")
    wanted = [MetadataRequestTopic(name=None, topic_id=i) for i in (topic, Uuid(b"no topic of ours"))]
    found, missing = world.connect().ask(MetadataRequest(topics=wanted)).topics
    assert (found.name, found.topic_id) == ("t", topic)
    assert (missing.error_code, missing.name) == (ErrorCode.UNKNOWN_TOPIC_ID, None)


def test_partitions_are_described_page_by_page():  # KIP-966
    world = World(max_request_partition_size_limit="3")
    world.create("a", partitions=2)
    world.create("b", partitions=4)
    client, cursor, seen = world.connect(), None, []
    for _ in range(3):
        names = [TopicRequest(name=n) for n in "ba"]
        request = DescribeTopicPartitionsRequest(topics=names, cursor=cursor)
        answer = client.ask(request)
        seen += [(t.name, p.partition_index) for t in answer.topics for p in t.partitions]
        if answer.next_cursor is None:
            break
        cursor = Cursor(
            topic_name=answer.next_cursor.topic_name, partition_index=answer.next_cursor.partition_index
        )
    assert seen == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("b", 3)]


# ---- settings that live logs obey --------------------------------------------------------------


def test_a_brokers_setting_reaches_every_log_that_does_not_say_otherwise():  # KIP-226
    world = World()
    world.create("plain")
    world.create("own", max_message_bytes="5000")
    client = world.connect()

    def limits():
        return [world.node.partitions.find(n, 0).log.config.max_message_bytes for n in ("plain", "own")]

    assert alter(client, "message.max.bytes", "2000", BROKER, "1") == 0
    assert limits() == [2000, 5000]
    assert alter(client, "message.max.bytes", None, BROKER, "1") == 0
    assert limits() == [1_048_588, 5000]


def test_flush_is_changed_between_two_batches():
    topic = Topic()
    log = topic.world.node.partitions.find("t", 0).log
    assert log.config.flush_fsync
    assert alter(topic.writer, "flush", "os") == 0
    assert not log.config.flush_fsync
    topic.write(b"a")
    assert alter(topic.writer, "flush", "fsync") == 0
    topic.write(b"b")
    assert values(rows(topic.fetch((0, 0)))[0]) == [b"a", b"b"]


# ---- versions, and bad neighbours --------------------------------------------------------------


def test_only_what_is_served_is_advertised_and_unknown_versions_are_told_so():  # KIP-511
    world = World()
    client = world.connect()
    request = ApiVersionsRequest(client_software_name="c", client_software_version="1")
    answer = client.ask(request)
    advertised = {k.api_key: (k.min_version, k.max_version) for k in answer.api_keys}
    assert advertised == world.node.served | {0: (0, world.node.served[0][1])}
    client.asked[77] = (18, 0)
    frame = b"\0\x12\0\x63\0\0\0\x4d\xff\xff"  # version 99
    client.raw(SIZE.pack(len(frame)) + frame)
    world.run()
    told = client.answers()[77]
    assert told.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert [(k.api_key, k.min_version, k.max_version) for k in told.api_keys] == [(18, 0, 5)]


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 32,
        b"\xff\xff\xff\xff",
        b"\0\0\0\4\0\0\0\0",
        b"\0\0\0\x0a\0\x63\0\0\0\0\0\1\xff\xff",
    ],
)
def test_one_clients_noise_ends_its_connection_and_no_other(noise):
    topic = Topic()
    loud = topic.world.connect()
    waiting = topic.reader.send(topic.want((0, 0), max_wait_ms=60_000))
    loud.raw(noise)
    topic.world.run()
    assert loud.closed
    topic.write(b"a")
    assert list(topic.reader.answers()) == [waiting]
