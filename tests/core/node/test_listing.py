"""What tools and seeking consumers ask of partitions: offsets by time, ends of epochs, deletion, directories."""

import errno

import pytest

from rafka.core.api.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from rafka.core.api.describe_log_dirs_request import DescribableLogDirTopic, DescribeLogDirsRequest
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from rafka.core.api.offset_for_leader_epoch_request import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from rafka.core.errors import ErrorCode
from rafka.core.record.builder import Record, build_batch
from rafka.sim.disk import VOLUME_BYTES
from tests.core.node.test_fetch import Topic, rows
from tests.core.node.test_produce import producing

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, PENDING_UPLOAD = range(-1, -7, -1)


def listed(topic, timestamp, version=11, index=0, epoch=-1, name="t"):
    partition = ListOffsetsPartition(partition_index=index, timestamp=timestamp)
    if version >= 4:
        partition.current_leader_epoch = epoch
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=name, partitions=[partition])])
    (result,) = topic.reader.ask(request, version).topics[0].partitions
    return result


def place(result):
    assert result.error_code == 0
    return result.offset, result.timestamp


@pytest.fixture
def timed():
    """Four records in three batches; the second batch has the latest."""
    topic = Topic()
    for times in ([1000, 2000], [9000], [4000]):
        records = [Record(None, b"v", timestamp=t) for t in times]
        topic.writer.ask(producing(topic.id, bytes(build_batch(records, timestamp=times[0]))))
    return topic


# ---- ListOffsets -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 12))
def test_the_ends_of_a_log(timed, version):
    assert place(listed(timed, EARLIEST, version)) == (0, -1)
    assert place(listed(timed, LATEST, version)) == (4, -1)


@pytest.mark.parametrize("timestamp", [LATEST, EARLIEST, 1000])
def test_where_a_log_ends_that_has_failed_nobody_says(timed, timestamp):
    timed.world.disk.fail("sync", errno.EIO)
    records = bytes(build_batch([Record(None, b"lost")], timestamp=5000))
    (refused,) = timed.writer.ask(producing(timed.id, records)).responses[0].partition_responses
    assert refused.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert listed(timed, timestamp).error_code == ErrorCode.KAFKA_STORAGE_ERROR


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0, (0, 1000)),
        (1000, (0, 1000)),
        (1001, (1, 2000)),
        (2001, (2, 9000)),
        (9000, (2, 9000)),
        (9001, (-1, -1)),
    ],
)
def test_the_first_record_since_a_time(timed, timestamp, expected):
    assert place(listed(timed, timestamp)) == expected
    timed.world.restart()
    timed.reader = timed.world.connect()
    assert place(listed(timed, timestamp)) == expected


def test_the_record_with_the_largest_timestamp(timed):  # KIP-734
    assert place(listed(timed, MAX_TIMESTAMP)) == (2, 9000)


def test_there_is_no_tiered_storage(timed):  # KIP-405, KIP-1005, KIP-1023
    assert place(listed(timed, EARLIEST_LOCAL)) == (0, -1)
    assert place(listed(timed, LATEST_TIERED)) == (-1, -1)
    assert place(listed(timed, PENDING_UPLOAD)) == (-1, -1)


@pytest.mark.parametrize(
    ("timestamp", "first"),
    [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (PENDING_UPLOAD, 11)],
)
def test_special_timestamps_are_for_versions_that_know_them(timed, timestamp, first):
    assert listed(timed, timestamp, first - 1).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert listed(timed, timestamp, first).error_code == 0
    assert listed(timed, -7).error_code == ErrorCode.UNSUPPORTED_VERSION


def test_an_empty_log_has_no_record_of_any_time():
    topic = Topic()
    for timestamp in (0, MAX_TIMESTAMP):
        assert place(listed(topic, timestamp)) == (-1, -1)
    assert place(listed(topic, LATEST)) == (0, -1)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"index": 1}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"name": "no"}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"epoch": 1}, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ],
)
def test_offsets_that_cannot_be_listed(timed, fields, code):
    result = listed(timed, LATEST, **fields)
    assert (result.error_code, result.offset, result.timestamp) == (code, -1, -1)


def test_a_partition_that_is_named_twice_is_refused(timed):
    partition = ListOffsetsPartition(partition_index=0, timestamp=LATEST)
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name="t", partitions=[partition, partition])])
    results = timed.reader.ask(request).topics[0].partitions
    assert [r.error_code for r in results] == [ErrorCode.INVALID_REQUEST] * 2


# ---- OffsetForLeaderEpoch (KIP-320) ------------------------------------------------------------


def ended(topic, epoch, index=0, current=-1, version=4):
    partition = OffsetForLeaderPartition(partition=index, current_leader_epoch=current, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(topic="t", partitions=[partition])])
    if version >= 3:
        request.replica_id = -1
    (result,) = topic.reader.ask(request, version).topics[0].partitions
    return result.error_code, result.leader_epoch, result.end_offset


@pytest.mark.parametrize("version", [2, 3, 4])
def test_where_epochs_ended(version):
    topic = Topic()
    topic.write(b"a", b"b")
    topic.world.node.partitions.find("t", 0).leader_epoch = 5
    topic.write(b"c")
    assert ended(topic, 0, version=version) == (0, 0, 2)
    assert ended(topic, 3, version=version) == (0, 0, 2)
    assert ended(topic, 5, version=version) == (0, 5, 3)
    assert ended(topic, 6, version=version) == (0, -1, -1)
    assert ended(topic, 0, current=4, version=version)[0] == ErrorCode.FENCED_LEADER_EPOCH
    assert ended(topic, 0, current=6, version=version)[0] == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert ended(topic, 0, index=3, version=version)[0] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


# ---- DeleteRecords (KIP-107) -------------------------------------------------------------------


def delete(topic, offset, index=0, name="t", version=2):
    partition = DeleteRecordsPartition(partition_index=index, offset=offset)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsTopic(name=name, partitions=[partition])], timeout_ms=1000
    )
    (result,) = topic.reader.ask(request, version).topics[0].partitions
    return result.error_code, result.low_watermark


@pytest.mark.parametrize("version", range(3))
def test_the_log_start_moves_and_stays_moved(version):
    topic = Topic()
    topic.write(b"a", b"b", b"c", b"d")
    assert delete(topic, 2, version=version) == (0, 2)
    assert delete(topic, 1, version=version) == (0, 2)  # it never moves back
    assert place(listed(topic, EARLIEST)) == (2, -1)
    assert rows(topic.fetch((0, 1)))[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    topic.world.restart()
    topic.reader = topic.world.connect()
    assert place(listed(topic, EARLIEST)) == (2, -1)
    assert delete(topic, -1) == (0, 4)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"offset": 5}, ErrorCode.OFFSET_OUT_OF_RANGE),
        ({"offset": -2}, ErrorCode.OFFSET_OUT_OF_RANGE),
        ({"offset": 0, "index": 4}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"offset": 0, "name": "no"}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"offset": 0, "name": "__consumer_offsets"}, ErrorCode.INVALID_TOPIC_EXCEPTION),
    ],
)
def test_records_that_cannot_be_deleted(fields, code):
    topic = Topic()
    topic.write(b"a")
    topic.reader.ask(FindCoordinatorRequest(coordinator_keys=["g"]))
    assert delete(topic, **fields) == (code, -1)


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("compact", (ErrorCode.POLICY_VIOLATION, -1)),
        ("compact,delete", (0, 1)),
        ("", (0, 1)),  # kept for ever, unless somebody says otherwise
    ],
)
def test_only_a_topic_that_is_compacted_alone_keeps_its_records(policy, outcome):
    topic = Topic(cleanup_policy=policy)
    topic.write(b"a")
    assert delete(topic, 1) == outcome


# ---- DescribeLogDirs ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 6))
def test_the_one_directory_its_partitions_and_its_volume(version):  # KIP-113, KIP-827
    topic = Topic(partitions=2)
    topic.write(b"a" * 1000)
    response = topic.reader.ask(DescribeLogDirsRequest(topics=None), version)
    (result,) = response.results
    assert (result.error_code, result.log_dir) == (0, "/data")
    (found,) = result.topics
    sizes = {p.partition_index: p.partition_size for p in found.partitions}
    assert sizes[0] > 1000
    assert sizes[1] == 0
    assert all((p.offset_lag, p.is_future_key) == (0, False) for p in found.partitions)
    assert result.total_bytes == (VOLUME_BYTES if version >= 4 else -1)
    assert (0 < result.usable_bytes < VOLUME_BYTES) is (version >= 4)


def test_a_directory_that_is_cordoned_says_so_from_version_5_on():  # KIP-1066
    topic = Topic()
    shown = DescribeLogDirsRequest(topics=None)
    assert not topic.reader.ask(shown, 5).results[0].is_cordoned
    cordon = AlterableConfig(name="cordoned.log.dirs", config_operation=0, value="/data")
    broker = AlterConfigsResource(resource_type=4, resource_name="1", configs=[cordon])
    assert topic.reader.ask(IncrementalAlterConfigsRequest(resources=[broker])).responses[0].error_code == 0
    assert topic.reader.ask(shown, 5).results[0].is_cordoned
    assert not topic.reader.ask(shown, 4).results[0].is_cordoned, "it cannot say so"
    topic.write(b"what is there goes on")
    assert place(listed(topic, LATEST)) == (1, -1)


def test_only_the_partitions_that_are_asked_for():
    topic = Topic(partitions=2)
    asked = [
        DescribableLogDirTopic(topic="t", partitions=[1, 9]),
        DescribableLogDirTopic(topic="no", partitions=[0]),
    ]
    (result,) = topic.reader.ask(DescribeLogDirsRequest(topics=asked)).results
    assert [(t.name, [p.partition_index for p in t.partitions]) for t in result.topics] == [("t", [1])]


def test_a_volume_that_cannot_be_measured_is_unknown():
    topic = Topic()
    topic.world.disk.fail("measure", 5)
    (result,) = topic.reader.ask(DescribeLogDirsRequest(topics=None)).results
    assert (result.error_code, result.total_bytes, result.usable_bytes) == (0, -1, -1)
