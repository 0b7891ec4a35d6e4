"""Fetch through the whole broker: how much, how long, from where, and what changed since the last time."""

import pytest

from rafka.core.api.delete_topics_request import DeleteTopicsRequest
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.errors import ErrorCode
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.types import Uuid
from rafka.net.compression import Compression
from tests.core.node.test_produce import producing
from tests.core.node.world import WALL_MS, World

MISSING_ID = Uuid(b"no topic of ours")


class Topic:
    """A world with one topic, a client that writes to it and one that reads."""

    def __init__(self, partitions=1, **configs):
        self.world = World()
        self.id = self.world.create("t", partitions, **configs)
        self.writer = self.world.connect()
        self.reader = self.world.connect()

    def write(self, *values, index=0, size=None):
        """Write one batch a value."""
        for value in values:
            padded = value if size is None else value.ljust(size, b".")
            records = bytes(build_batch([Record(b"k", padded)], timestamp=WALL_MS))
            answer = self.writer.ask(producing(self.id, records, index=index))
            assert answer.responses[0].partition_responses[0].error_code == 0

    def want(self, *places, max_bytes=1 << 20, **more):
        """A fetch of version 13 and up. places: (partition, offset)."""
        partitions = [
            FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=max_bytes)
            for index, offset in places
        ]
        topics = [FetchTopic(topic_id=self.id, partitions=partitions)] if partitions else []
        fields = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 30, "session_epoch": -1} | more
        return FetchRequest(topics=topics, **fields)

    def fetch(self, *places, version=None, wait_ms=0, **more):
        return self.reader.ask(self.want(*places, **more), version, wait_ms)


def rows(response):
    assert response.error_code == 0
    return [p for topic in response.responses for p in topic.partitions]


def values(row):
    """The values in what a partition was answered, batch by batch."""
    assert row.error_code == 0
    found, data = [], memoryview(bytes(row.records or b""))
    while len(data) >= 12:
        size = 12 + int.from_bytes(data[8:12], "big")
        if size > len(data):
            break  # cut off by a limit
        found += [bytes(record.value) for record in records_of(data[:size], Compression())]
        data = data[size:]
    return found


# ---- how much ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(13, 19))
def test_records_are_read_from_any_offset_to_the_high_watermark(version):
    topic = Topic()
    topic.write(b"a", b"b", b"c")
    for offset, expected in enumerate([[b"a", b"b", b"c"], [b"b", b"c"], [b"c"], []]):
        (row,) = rows(topic.fetch((0, offset), version=version))
        assert values(row) == expected
        assert (row.high_watermark, row.last_stable_offset, row.log_start_offset) == (3, 3, 0)


@pytest.mark.parametrize("version", range(4, 13))
def test_topics_are_named_in_older_versions(version):
    topic = Topic()
    topic.write(b"a")
    want = topic.want((0, 0))
    want.topics[0].topic, want.topics[0].topic_id = "t", bytes(16)
    (row,) = rows(topic.reader.ask(want, version))
    assert values(row) == [b"a"]


def test_an_offset_inside_a_batch_gives_the_whole_batch():
    topic = Topic()
    records = bytes(build_batch([Record(None, b"%d" % n) for n in range(10)], timestamp=WALL_MS))
    topic.writer.ask(producing(topic.id, records))
    (row,) = rows(topic.fetch((0, 7)))
    assert values(row) == [b"%d" % n for n in range(10)]


def test_a_first_batch_that_is_too_large_is_given_all_the_same():  # KIP-74
    topic = Topic(partitions=2)
    topic.write(b"a", b"b", size=5000)
    topic.write(b"c", size=5000, index=1)
    first, second = rows(topic.fetch((0, 0), (1, 0), max_bytes=100))
    assert [value[:1] for value in values(first)] == [b"a"]
    assert values(second) == []
    first, second = rows(topic.fetch((0, 0), (1, 0), max_bytes=1 << 20))
    assert (len(values(first)), len(values(second))) == (2, 1)


def test_max_bytes_of_the_request_goes_before_each_partitions():
    topic = Topic(partitions=2)
    topic.write(b"a", b"b", b"c", size=1000)
    topic.write(b"d", size=1000, index=1)
    request = topic.want((0, 0), (1, 0), max_bytes=2200)
    request.max_bytes = 2500
    first, second = rows(topic.reader.ask(request))
    assert (len(values(first)), values(second)) == (2, [])


def test_fetch_max_bytes_is_the_brokers_word():
    topic = Topic()
    topic.world.node.fetches.bytes_max = 2500
    topic.write(b"a", b"b", b"c", size=1000)
    (row,) = rows(topic.fetch((0, 0)))
    assert len(values(row)) == 2


def test_read_committed_names_no_aborted_transactions():
    topic = Topic()
    topic.write(b"a")
    (row,) = rows(topic.fetch((0, 0), isolation_level=1))
    assert (values(row), row.aborted_transactions) == ([b"a"], [])
    (row,) = rows(topic.fetch((0, 0)))
    assert row.aborted_transactions is None


# ---- how long ----------------------------------------------------------------------------------


def test_an_empty_fetch_waits_for_its_time_and_no_longer():
    topic = Topic()
    topic.reader.send(topic.want((0, 0), max_wait_ms=500))
    topic.world.wait(499)
    assert topic.reader.answers() == {}
    topic.world.wait(1)
    (answer,) = topic.reader.answers().values()
    assert values(rows(answer)[0]) == []


def test_what_is_written_ends_the_wait():
    topic = Topic(partitions=2)
    topic.reader.send(topic.want((0, 0), (1, 0), max_wait_ms=60_000))
    topic.world.run()
    topic.write(b"a", index=1)
    (answer,) = topic.reader.answers().values()
    assert [values(row) for row in rows(answer)] == [[], [b"a"]]


def test_less_than_min_bytes_is_waited_with():
    topic = Topic()
    topic.reader.send(topic.want((0, 0), max_wait_ms=60_000, min_bytes=2000))
    topic.write(b"a", size=800)
    assert topic.reader.answers() == {}
    topic.write(b"b", b"c", size=800)
    (answer,) = topic.reader.answers().values()
    assert len(values(rows(answer)[0])) == 3


def test_a_fetch_of_nothing_is_answered_at_once():
    topic = Topic()
    assert rows(topic.fetch(max_wait_ms=60_000)) == []


def test_a_waiting_fetch_holds_up_the_answers_behind_it_on_its_connection_alone():
    topic = Topic()
    waiting = topic.reader.send(topic.want((0, 0), max_wait_ms=1_000))
    behind = topic.reader.send(ListGroupsRequest())
    assert topic.writer.ask(ListGroupsRequest()).error_code == 0
    assert topic.reader.answers() == {}
    topic.world.wait(1_000)
    assert list(topic.reader.answers()) == [waiting, behind]


def test_who_hangs_up_while_waiting_is_forgotten():
    topic = Topic()
    topic.reader.send(topic.want((0, 0), max_wait_ms=60_000))
    topic.world.run()
    topic.reader.close()
    assert len(topic.world.node.parking) == 0
    assert topic.world.node.partitions.find("t", 0).readers == {}
    topic.write(b"a")


# ---- from where --------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-1, 2, 1 << 40])
def test_offsets_out_of_range_are_said_at_once(offset):
    topic = Topic()
    topic.write(b"a")
    (row,) = rows(topic.fetch((0, offset), max_wait_ms=60_000))
    assert (row.error_code, row.high_watermark) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)


def test_partitions_that_are_not_are_said_at_once_if_there_are_no_others():
    topic = Topic()
    (row,) = rows(topic.fetch((7, 0), max_wait_ms=60_000))
    assert row.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    topic.id = MISSING_ID
    (row,) = rows(topic.fetch((0, 0), max_wait_ms=60_000))
    assert row.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_missing_partition_does_not_end_the_wait_of_the_others():
    topic = Topic()
    topic.reader.send(topic.want((0, 0), (7, 0), max_wait_ms=500))
    topic.world.wait(400)
    assert topic.reader.answers() == {}
    topic.world.wait(100)
    (answer,) = topic.reader.answers().values()
    assert [r.error_code for r in rows(answer)] == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_a_topic_that_is_deleted_ends_the_wait():
    topic = Topic()
    topic.reader.send(topic.want((0, 0), max_wait_ms=60_000))
    topic.world.run()
    topic.writer.ask(DeleteTopicsRequest(topic_names=["t"]), 5)
    (answer,) = topic.reader.answers().values()
    assert rows(answer)[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


@pytest.mark.parametrize(
    ("epoch", "code"),
    [(-1, 0), (0, 0), (1, ErrorCode.UNKNOWN_LEADER_EPOCH), (-5, ErrorCode.FENCED_LEADER_EPOCH)],
)
def test_a_client_with_another_leader_epoch_is_told(epoch, code):  # KIP-320
    topic = Topic()
    topic.write(b"a")
    want = topic.want((0, 0))
    want.topics[0].partitions[0].current_leader_epoch = epoch
    assert rows(topic.reader.ask(want))[0].error_code == code


def test_a_reader_whose_log_parts_from_ours_is_told_where():  # KIP-595
    topic = Topic()
    topic.write(b"a", b"b")
    log = topic.world.node.partitions.find("t", 0).log
    topic.world.node.partitions.find("t", 0).leader_epoch = 5
    topic.write(b"c")
    assert log.epochs.entries == [(0, 0), (5, 2)]

    def asked(offset, epoch):
        want = topic.want((0, offset))
        want.topics[0].partitions[0].last_fetched_epoch = epoch
        return rows(topic.reader.ask(want))[0]

    assert (asked(2, 0).diverging_epoch.epoch, values(asked(2, 0))) == (-1, [b"c"])
    assert (asked(3, 0).diverging_epoch.epoch, asked(3, 0).diverging_epoch.end_offset) == (0, 2)
    assert (asked(2, 3).diverging_epoch.epoch, asked(2, 3).diverging_epoch.end_offset) == (0, 2)
    assert asked(2, 6).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_everything_is_still_there_after_a_restart():
    topic = Topic(segment_bytes=str(1 << 20))
    for n in range(30):
        topic.write(b"%d" % n, size=100_000)
    topic.world.restart()
    topic.reader = topic.world.connect()
    seen, offset = [], 0
    while offset < 30:
        (row,) = rows(topic.fetch((0, offset)))
        seen += values(row)
        offset = len(seen)
    assert [value.rstrip(b".") for value in seen] == [b"%d" % n for n in range(30)]


# ---- sessions (KIP-227) ------------------------------------------------------------------------


def test_a_session_is_answered_with_what_changed():
    topic = Topic(partitions=3)
    opened = topic.fetch((0, 0), (1, 0), (2, 0), session_epoch=0)
    assert opened.session_id > 0
    assert [row.partition_index for row in rows(opened)] == [0, 1, 2]
    topic.write(b"a", index=1)
    again = topic.fetch(session_id=opened.session_id, session_epoch=1)
    assert [(r.partition_index, values(r)) for r in rows(again)] == [(1, [b"a"])]
    moved = topic.fetch((1, 1), session_id=opened.session_id, session_epoch=2)
    assert rows(moved) == []


def test_partitions_are_forgotten_and_a_session_ends():
    topic = Topic(partitions=2)
    opened = topic.fetch((0, 0), (1, 0), session_epoch=0)
    topic.write(b"a")
    topic.write(b"b", index=1)
    forgotten = [ForgottenTopic(topic_id=topic.id, partitions=[0])]
    left = topic.fetch(session_id=opened.session_id, session_epoch=1, forgotten_topics_data=forgotten)
    assert [r.partition_index for r in rows(left)] == [1]
    topic.fetch(session_id=opened.session_id, session_epoch=-1)
    gone = topic.fetch(session_id=opened.session_id, session_epoch=2)
    assert gone.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_out_of_step_is_refused_and_goes_on():
    topic = Topic()
    opened = topic.fetch((0, 0), session_epoch=0)
    wrong = topic.fetch(session_id=opened.session_id, session_epoch=5)
    assert wrong.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert topic.fetch(session_id=opened.session_id, session_epoch=1).error_code == 0
