"""Produce through the whole broker: who is acknowledged when, what is refused and how, each batch once."""

import errno

import pytest

from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.describe_producers_request import DescribeProducersRequest, TopicRequest
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.effects import Sync
from rafka.core.errors import ErrorCode
from rafka.core.record.builder import Record, build_batch
from rafka.core.types import Uuid
from rafka.net.compression import Compression
from tests.core.node.world import WALL_MS, World

DAY_MS = 86_400_000
PLAIN, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def batch(*values, timestamp=WALL_MS, **fields):
    return bytes(build_batch([Record(b"k", v) for v in values], timestamp=timestamp, **fields))


def producing(topic_id, records, acks=-1, index=0, timeout_ms=1000, **more):
    """A request of version 13; topic_id: or, as text, the name that older versions say."""
    data = [PartitionProduceData(index=index, records=records)]
    named = {"name": topic_id} if isinstance(topic_id, str) else {"topic_id": topic_id}
    topics = [TopicProduceData(partition_data=data, **named)]
    return ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=topics, **more)


def only(response):
    (topic,) = response.responses
    (result,) = topic.partition_responses
    return result


def send(client, topic_id, records, version=None, **more):
    return only(client.ask(producing(topic_id, records, **more), version))


# ---- acknowledged ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3, 14))
@pytest.mark.parametrize("acks", [1, -1])
def test_offsets_are_given_in_order(version, acks):
    world = World()
    topic = world.create("t") if version >= 13 else world.create("t") and "t"
    client = world.connect()
    first = send(client, topic, batch(b"a", b"b"), version, acks=acks)
    second = send(client, topic, batch(b"c"), version, acks=acks)
    assert [(r.error_code, r.base_offset, r.log_append_time_ms) for r in (first, second)] == [
        (0, 0, -1),
        (0, 2, -1),
    ]


@pytest.mark.parametrize(
    ("acks", "flush", "waits"), [(-1, "fsync", True), (1, "fsync", True), (-1, "os", False)]
)
def test_nothing_is_acknowledged_before_it_is_where_the_topic_wants_it(acks, flush, waits):
    world = World()
    topic = world.create("t", flush=flush)
    client = world.connect()
    held = []
    perform = world.disk.perform
    world.perform_sync = perform

    def hold(effect):
        if isinstance(effect, Sync) and effect.file.startswith("t-0/") and effect.file.endswith(".log"):
            held.append(effect)
            return
        World.perform(world, effect)

    world.perform = hold
    client.send(producing(topic, batch(b"a"), acks=acks, timeout_ms=60_000))
    world.run()
    assert bool(client.answers()) is not waits
    del world.perform
    for effect in held:
        world.perform(effect)
    world.run()
    assert [only(a).error_code for a in client.answers().values()] == ([0] if waits else [])


def test_acks_0_is_not_answered_and_later_requests_are():
    world = World()
    topic = world.create("t")
    client = world.connect()
    client.send(producing(topic, batch(b"a"), acks=0))
    assert send(client, topic, batch(b"b")).base_offset == 1


def test_acks_0_of_what_is_refused_ends_the_connection():
    world = World()
    client = world.connect()
    client.send(producing(Uuid(b"no topic of ours"), batch(b"a"), acks=0))
    world.run()
    assert "UNKNOWN_TOPIC_ID" in client.closed


def test_answers_keep_the_order_of_requests_though_the_first_waits_longest():
    world = World()
    topic = world.create("t")
    client = world.connect()
    asked = [client.send(producing(topic, batch(b"%d" % n))) for n in range(5)]
    asked.insert(0, client.send(FindCoordinatorRequest(coordinator_keys=["g"])))
    world.run()
    assert list(client.answers()) == sorted(asked)


# ---- refused -----------------------------------------------------------------------------------


def test_partitions_that_are_not():
    world = World()
    topic = world.create("t")
    client = world.connect()
    assert send(client, topic, batch(b"a"), index=1).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    strange = Uuid(b"no topic of ours")
    assert send(client, strange, batch(b"a")).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert send(client, "no", batch(b"a"), 12).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_one_partitions_fault_is_not_the_others():
    world = World()
    topic = world.create("t", partitions=2)
    data = [
        PartitionProduceData(index=0, records=batch(b"a")[:-1] + b"!"),
        PartitionProduceData(index=1, records=batch(b"b")),
    ]
    request = ProduceRequest(
        acks=-1, timeout_ms=1000, topic_data=[TopicProduceData(topic_id=topic, partition_data=data)]
    )
    (answer,) = world.connect().ask(request).responses
    assert [(r.index, r.error_code, r.base_offset) for r in answer.partition_responses] == [
        (0, ErrorCode.CORRUPT_MESSAGE, -1),
        (1, 0, 0),
    ]


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (b"", ErrorCode.INVALID_RECORD),
        (b"\0" * 60, ErrorCode.INVALID_RECORD),
        (batch(b"a")[:-1], ErrorCode.CORRUPT_MESSAGE),
        (batch(b"a") + batch(b"b"), ErrorCode.INVALID_RECORD),
        (batch(b"a", control=True), ErrorCode.INVALID_RECORD),
        (batch(b"a", base_offset=5), ErrorCode.INVALID_RECORD),
        (batch(b"a", transactional=True, producer_id=1, producer_epoch=0, base_sequence=0),
         ErrorCode.INVALID_TXN_STATE),
        (batch(b"x" * 2_000_000), ErrorCode.MESSAGE_TOO_LARGE),
        (batch(b"a", timestamp=WALL_MS + 2 * DAY_MS), ErrorCode.INVALID_TIMESTAMP),
    ],
)  # fmt: skip
def test_batches_that_no_log_takes(records, code):
    world = World()
    topic = world.create("t")
    client = world.connect()
    result = send(client, topic, records)
    assert (result.error_code, result.base_offset, result.log_append_time_ms) == (code, -1, -1)
    assert send(client, topic, batch(b"next")).base_offset == 0


@pytest.mark.parametrize("acks", [2, -2, 127])
def test_acks_that_mean_nothing(acks):
    world = World()
    topic = world.create("t")
    result = send(world.connect(), topic, batch(b"a"), acks=acks)
    assert result.error_code == ErrorCode.INVALID_REQUIRED_ACKS


def test_the_internal_topic_is_written_by_administrators_alone():
    world = World()
    client = world.connect()
    client.ask(FindCoordinatorRequest(coordinator_keys=["g"]))
    refused = send(client, "__consumer_offsets", batch(b"a"), 12)
    assert refused.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_a_record_without_a_key_is_named_by_its_index():  # KIP-467
    world = World()
    topic = world.create("t", cleanup_policy="compact")
    records = [Record(b"k", b"v"), Record(None, b"v"), Record(b"k", None), Record(None, None)]
    result = send(world.connect(), topic, bytes(build_batch(records, timestamp=WALL_MS)))
    assert result.error_code == ErrorCode.INVALID_RECORD
    assert [e.batch_index for e in result.record_errors] == [1, 3]
    assert result.error_message


def test_too_few_in_sync_replicas():
    world = World()
    topic = world.create("t", min_insync_replicas="2")
    client = world.connect()
    assert send(client, topic, batch(b"a")).error_code == ErrorCode.NOT_ENOUGH_REPLICAS
    assert send(client, topic, batch(b"a"), acks=1).error_code == 0


def test_zstd_is_for_versions_that_know_it():  # KIP-110
    world = World()
    world.create("t")
    client = world.connect()
    packed = batch(b"a" * 100, codec=ZSTD, codecs=Compression())
    assert send(client, "t", packed, 6).error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert send(client, "t", packed, 7).error_code == 0


# ---- what a topic makes of a batch -------------------------------------------------------------


def test_a_topic_on_log_append_time_says_which():  # KIP-32
    world = World()
    topic = world.create("t", message_timestamp_type="LogAppendTime")
    result = send(world.connect(), topic, batch(b"a", timestamp=5))
    assert (result.error_code, result.log_append_time_ms) == (0, WALL_MS)


@pytest.mark.parametrize(
    ("setting", "shift_ms", "code"),
    [
        ("message_timestamp_after_max_ms", 999, 0),
        ("message_timestamp_after_max_ms", 1001, ErrorCode.INVALID_TIMESTAMP),
        ("message_timestamp_before_max_ms", -999, 0),
        ("message_timestamp_before_max_ms", -1001, ErrorCode.INVALID_TIMESTAMP),
    ],
)
def test_timestamps_have_limits(setting, shift_ms, code):  # KIP-937
    world = World()
    topic = world.create("t", **{setting: "1000"})
    assert send(world.connect(), topic, batch(b"a", timestamp=WALL_MS + shift_ms)).error_code == code


def test_a_smaller_limit_holds_from_the_next_batch_on():
    world = World()
    topic = world.create("t")
    client = world.connect()
    assert send(client, topic, batch(b"x" * 500)).error_code == 0
    partition = world.node.partitions.find("t", 0)
    alter(client, "max.message.bytes", "200")
    assert partition.log.config.max_message_bytes == 200
    assert send(client, topic, batch(b"x" * 500)).error_code == ErrorCode.MESSAGE_TOO_LARGE


def alter(client, key, value):
    from rafka.core.api.incremental_alter_configs_request import (
        AlterableConfig,
        AlterConfigsResource,
        IncrementalAlterConfigsRequest,
    )

    steps = [AlterableConfig(name=key, config_operation=0, value=value)]
    resource = AlterConfigsResource(resource_type=2, resource_name="t", configs=steps)
    assert client.ask(IncrementalAlterConfigsRequest(resources=[resource])).responses[0].error_code == 0


# ---- each batch once (KIP-98) ------------------------------------------------------------------


class Producer:
    """An idempotent producer of one partition."""

    def __init__(self, world, topic):
        self.client = world.connect()
        self.topic = topic
        given = self.client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=-1))
        assert given.error_code == 0
        self.id, self.epoch = given.producer_id, given.producer_epoch

    def send(self, sequence, *values, epoch=None):
        records = batch(
            *values,
            producer_id=self.id,
            producer_epoch=self.epoch if epoch is None else epoch,
            base_sequence=sequence,
        )
        result = send(self.client, self.topic, records)
        return result.error_code, result.base_offset


@pytest.fixture
def producer():
    world = World()
    producer = Producer(world, world.create("t"))
    producer.world = world
    return producer


def test_a_repeat_is_answered_with_the_first_offset(producer):
    assert producer.send(0, b"a", b"b") == (0, 0)
    assert producer.send(2, b"c") == (0, 2)
    assert producer.send(0, b"a", b"b") == (0, 0)
    assert producer.send(2, b"c") == (0, 2)
    assert producer.send(3, b"d") == (0, 3)


def test_the_last_five_batches_are_known_again_and_older_ones_are_out_of_order(producer):
    for n in range(7):
        assert producer.send(n, b"v") == (0, n)
    assert [producer.send(n, b"v") for n in range(2, 7)] == [(0, n) for n in range(2, 7)]
    assert producer.send(1, b"v") == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)


def test_a_gap_is_refused(producer):
    assert producer.send(0, b"a") == (0, 0)
    assert producer.send(2, b"c") == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    assert producer.send(1, b"b") == (0, 1)


def test_an_older_epoch_is_fenced_and_a_newer_one_begins_at_0(producer):
    assert producer.send(0, b"a", epoch=1) == (0, 0)
    assert producer.send(1, b"b", epoch=0) == (ErrorCode.INVALID_PRODUCER_EPOCH, -1)
    assert producer.send(5, b"b", epoch=2) == (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
    assert producer.send(0, b"b", epoch=2) == (0, 1)


def test_sequences_wrap(producer):
    last = (1 << 31) - 1
    assert producer.send(last - 1, b"a", b"b") == (0, 0)
    assert producer.send(0, b"c") == (0, 2)
    assert producer.send(last - 1, b"a", b"b") == (0, 0)


@pytest.mark.parametrize("crash", [None, 1, 2, 3])
def test_a_restart_still_knows_what_was_acknowledged(producer, crash):
    from random import Random

    world = producer.world
    assert producer.send(0, b"a") == (0, 0)
    assert producer.send(1, b"b") == (0, 1)
    world.restart(None if crash is None else Random(crash))
    producer.client = world.connect()
    assert producer.send(1, b"b") == (0, 1)
    assert producer.send(2, b"c") == (0, 2)


def test_producers_are_described(producer):  # KIP-664
    producer.send(0, b"a", b"b")
    request = DescribeProducersRequest(topics=[TopicRequest(name="t", partition_indexes=[0, 4])])
    found, absent = producer.client.ask(request).topics[0].partitions
    (active,) = found.active_producers
    assert (active.producer_id, active.producer_epoch, active.last_sequence) == (producer.id, 0, 1)
    assert (active.coordinator_epoch, active.current_txn_start_offset) == (-1, -1)
    assert absent.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_every_producer_gets_an_id_of_its_own_over_restarts():
    world = World()
    topic = world.create("t")
    ids = [Producer(world, topic).id for _ in range(3)]
    world.restart()
    ids += [Producer(world, topic).id for _ in range(3)]
    assert len(set(ids)) == 6


# ---- the disk fails ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "error"), [("write", errno.EIO), ("sync", errno.EIO), ("write", errno.ENOSPC)]
)
def test_a_failing_disk_acknowledges_nothing_and_harms_no_other_partition(op, error):
    world = World()
    topic = world.create("t", partitions=2)
    client = world.connect()
    assert send(client, topic, batch(b"a")).error_code == 0
    assert send(client, topic, batch(b"a"), index=1).error_code == 0
    world.disk.fail(op, error)
    assert send(client, topic, batch(b"b")).error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert send(client, topic, batch(b"b"), index=1).error_code == 0
    request = CreateTopicsRequest(topics=[CreatableTopic(name="u", num_partitions=1, replication_factor=1)])
    assert client.ask(request).topics[0].error_code == 0


@pytest.mark.parametrize("at_once", [False, True])
def test_of_batches_in_flight_none_overtakes_one_that_a_full_disk_refused(producer, at_once) -> None:
    world = producer.world
    full, out_of_order = ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    world.disk.fail("write", errno.ENOSPC)
    if at_once:
        assert producer.send(0, b"a") == (full, -1)  # taken back
    else:
        assert send(world.connect(), producer.topic, batch(b"x")).error_code == full
        assert producer.send(0, b"a") == (full, -1)  # refused before it was looked at
    assert producer.send(1, b"b") == (full, -1)
    world.wait(1000)
    assert producer.send(2, b"c") == (out_of_order, -1), "the disk has room again, and it would be the first"
    assert [producer.send(n, b"abc"[n : n + 1]) for n in range(3)] == [(0, 0), (0, 1), (0, 2)]
