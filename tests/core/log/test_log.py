"""A log over the simulated disk: what it promises, through rolls, full disks, failed syncs and crashes."""

import errno
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rafka.core.config import LogConfig
from rafka.core.effects import Note, Read, Sync, Write
from rafka.core.errors import ErrorCode
from rafka.core.log.epochs import Epochs
from rafka.core.log.log import Log
from rafka.core.log.producers import Duplicate, Producers
from rafka.core.log.segment import Place, base_offset_of
from rafka.core.machine import Outbox
from rafka.core.record.batch import Header, split
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.script import run
from rafka.core.types import File, MonoNs, Now, Uuid, WallMs
from rafka.sim.disk import Disk


class World:
    """A disk, a log on it, and a loop that performs effects in order; `held` ones wait."""

    def __init__(self, config=None):
        self.disk = Disk()
        self.config = config or LogConfig()
        self.mono = 0
        self.effects = []
        self.notes = []
        self.reopen()

    @property
    def now(self):
        return Now(MonoNs(self.mono), WallMs(1_000))

    def reopen(self):
        self.effects = []
        self.synced = []
        self.performed = []
        self.out = Outbox()
        self.log = Log(File("orders-0"), self.out, self.config, (Uuid(bytes(16)), 0))
        self.script(self.log.recover())

    def script(self, script):
        running = run(script, self.out, None)
        self.settle()
        assert running.finished
        return running.result

    def append(self, *values, epoch=0, **kwargs):
        batch = build_batch([Record(None, v) for v in values], timestamp=5, **kwargs)
        return self.log.append(split(memoryview(batch)), epoch, self.now)

    def step(self):
        self.collect()
        if self.effects:
            effect = self.effects.pop(0)
            self.performed.append(effect)
            if isinstance(effect, Sync):
                self.synced.append(effect.file)
            self.out.route(self.disk.perform(effect), self.now)
            self.collect()

    def collect(self):
        for effect in self.out.drain():
            (self.notes if isinstance(effect, Note) else self.effects).append(effect)

    def settle(self):
        self.log.flush(self.now)
        self.collect()
        while self.effects:
            self.step()

    def values(self, start=0):
        """Read the log as a consumer does, by slices."""
        found, offset = [], start
        while offset < self.log.durable_offset:
            place = self.log.find(offset) or self.script(self.log.lookup(offset))
            assert isinstance(place, Place)
            (piece,) = self.log.slices(place, 1, self.log.durable_offset, at_least_one=True)
            data = self.disk.files[piece.file].data[piece.position : piece.position + piece.length]
            ((view, header),) = split(memoryview(bytes(data)))
            found += [r.value for r in records_of(view) if r.offset >= offset]
            offset = header.last_offset + 1
        return found


def small(**kwargs):
    return LogConfig(segment_bytes=300, index_interval_bytes=100, **kwargs)


def test_a_record_is_durable_only_after_the_sync_and_the_names() -> None:
    world = World()
    world.append(b"a")
    world.log.flush(world.now)
    seen = []
    while world.log.durable_offset == 0:
        world.collect()
        seen.append(type(world.effects[0]).__name__)
        world.step()
    identity = ["MakeDir", "Write", "Sync", "SyncDir"]
    assert seen == [*identity, "Write", "Sync", "SyncDir"]
    world.disk.crash(Random(1))
    world.reopen()
    assert world.values() == [b"a"]


def test_one_sync_is_in_flight_and_what_arrives_meanwhile_joins_the_next() -> None:
    world = World()
    world.append(b"a")
    world.settle()
    for value in (b"b", b"c", b"d"):
        world.append(value)
        world.log.flush(world.now)
    world.collect()
    assert [type(e) for e in world.effects] == [Write, Sync, Write, Write]
    for _ in range(2):
        world.step()
    assert (world.log.durable_offset, world.log.log_end_offset) == (2, 4)
    assert [type(e) for e in world.effects] == [Write, Write, Sync]
    world.settle()
    assert world.log.durable_offset == 4


def test_a_sync_that_overtakes_a_write_says_nothing_of_it() -> None:
    world = World(small())
    world.append(b"a" * 100)
    world.settle()
    world.append(b"b" * 20)
    world.log.flush(world.now)
    world.append(b"c" * 100)  # of the next segment
    world.log.flush(world.now)
    world.collect()
    assert [type(e) for e in world.effects] == [Write, Sync]
    world.disk.fail("write", errno.EIO)
    failing, syncing = world.effects
    failed = world.disk.perform(failing)
    world.effects[:] = [syncing]
    world.settle()  # the answer to the Sync, and all that the log does about it
    assert len(world.log.segments) == 2
    assert {name.rpartition("/")[2] for name in world.disk.files if name.startswith("orders-0/")} <= {
        "00000000000000000000.log",
        "partition.metadata",
    }, "no next segment, and no link that vouches for the bytes"
    world.out.route(failed, world.now)
    assert world.log.is_offline
    world.reopen()
    assert (world.log.is_offline, world.values()) == (False, [b"a" * 100])


def test_flush_os_promises_what_is_written() -> None:
    world = World(LogConfig(flush_fsync=False))
    world.append(b"a", b"b")
    world.settle()
    assert world.log.durable_offset == 2
    assert world.synced == ["orders-0/partition.metadata"]


def test_a_segment_begins_only_when_the_one_before_is_synced() -> None:
    for fsync in (True, False):
        world = World(small(flush_fsync=fsync))
        for n in range(12):
            world.append(bytes([n]) * 40)
        world.settle()
        assert len(world.log.segments) == 6
        assert world.values() == [bytes([n]) * 40 for n in range(12)]
        assert all(not world.disk.files[s.file].unsynced for s in world.log.segments[:-1])


def test_lookup_finds_every_offset_that_the_tail_has_forgotten() -> None:
    world = World(small())
    for n in range(40):
        world.append(bytes([n]) * 20, b"x")
    world.settle()
    world.log.tail.cut(0)
    for offset in range(80):
        place = world.script(world.log.lookup(offset))
        assert place.base_offset == offset // 2 * 2
    assert world.script(world.log.lookup(80)) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert len(world.values()) == 80


def test_slices_stop_at_the_end_offset_and_hold_one_whole_batch() -> None:
    world = World()
    sizes = []
    for n in (10, 500, 20):
        before = world.log.size_bytes
        world.append(bytes(n))
        sizes.append(world.log.size_bytes - before)
    world.settle()
    place = world.log.find(1)
    cut = [world.log.slices(place, n, end, at_least_one=one) for n, end, one in
           ((1, 3, True), (1, 3, False), (9999, 2, False), (9999, 3, False), (9999, 1, True))]  # fmt: skip
    assert [[s.length for s in c] for c in cut] == [[sizes[1]], [1], [sizes[1]], [sizes[1] + sizes[2]], []]


def test_a_full_disk_takes_back_what_was_not_written_and_later_goes_on() -> None:
    world = World()
    world.append(b"a", producer_id=7, producer_epoch=0, base_sequence=0)
    world.settle()
    world.disk.fail("write", errno.ENOSPC)
    world.append(b"lost", epoch=1, producer_id=7, producer_epoch=0, base_sequence=1)
    world.settle()
    log = world.log
    assert (log.log_end_offset, log.failed, log.is_offline) == (1, ErrorCode.KAFKA_STORAGE_ERROR, False)
    assert log.refuses(world.now) == ErrorCode.KAFKA_STORAGE_ERROR
    assert (world.values(), log.latest_epoch) == ([b"a"], 0)
    world.mono += 1_000_000_000
    assert log.refuses(world.now) is None
    again = build_batch([Record(None, b"b")], timestamp=5, producer_id=7, producer_epoch=0, base_sequence=1)
    assert log.producers.check(Header(again)) is None
    assert log.append(split(memoryview(again)), 1, world.now) == 1
    world.settle()
    assert (log.failed, world.values()) == (None, [b"a", b"b"])
    world.reopen()
    assert world.values() == [b"a", b"b"]


@pytest.mark.parametrize("seed", range(12))
def test_what_a_full_disk_left_is_gone_for_good_before_a_segment_follows_it(seed) -> None:
    """Simulation seed 1080: a cut that a power loss undid, in a segment that was no longer the last."""
    world = World(small())
    world.append(b"a")
    world.settle()
    world.disk.fail("write", errno.ENOSPC)
    world.append(b"lost" * 20)
    world.settle()
    world.mono += 1_000_000_000
    world.append(b"b" * 250)
    world.settle()
    assert len(world.log.segments) == 2
    assert world.log.durable_offset == 2
    world.disk.crash(Random(seed))
    world.reopen()
    assert not world.log.is_offline, world.notes
    assert world.values() == [b"a", b"b" * 250]


def test_a_disk_too_full_to_make_a_segments_file_is_no_failed_sync() -> None:
    world = World(small())
    world.append(b"a")
    world.settle()
    world.disk.fail("write", errno.ENOSPC)  # of a file that is then not there, but is to be synced and cut
    world.append(b"lost" * 70)
    world.settle()
    assert (world.log.log_end_offset, world.log.is_offline) == (1, False)
    assert world.log.failed == ErrorCode.KAFKA_STORAGE_ERROR
    world.mono += 1_000_000_000
    assert world.log.refuses(world.now) is None
    world.append(b"b" * 250)
    world.settle()
    assert (world.log.failed, world.log.durable_offset) == (None, 2)
    world.disk.crash(Random(1))
    world.reopen()
    assert world.values() == [b"a", b"b" * 250]


def test_after_a_failed_sync_nothing_more_is_promised_until_reopened() -> None:  # fsyncgate
    world = World()
    world.append(b"a")
    world.settle()
    world.disk.fail("sync", errno.EIO)
    world.append(b"b")
    world.settle()
    assert (world.log.durable_offset, world.log.is_offline) == (1, True)
    assert world.log in world.out.moved
    assert world.log.refuses(world.now) == ErrorCode.KAFKA_STORAGE_ERROR
    assert world.values() == [b"a"]


def twelve():
    """A log of six segments, two records in each."""
    world = World(small())
    for n in range(12):
        world.append(bytes([n]) * 40)
    world.settle()
    return world


def content(disk):
    return {name: bytes(inode.data) for name, inode in disk.files.items() if inode}


def test_damage_below_the_last_segment_is_told_to_whoever_reads_it() -> None:  # LO3
    world = twelve()
    world.disk.files[world.log.segments[1].file].data[70] ^= 1
    world.reopen()
    assert not world.log.is_offline
    assert world.script(world.log.lookup(1)).base_offset == 1
    assert world.script(world.log.lookup(2)) == ErrorCode.CORRUPT_MESSAGE
    assert world.script(world.log.lookup(3)) == ErrorCode.CORRUPT_MESSAGE
    assert world.script(world.log.lookup(4)).base_offset == 4
    assert [n.name for n in world.notes] == ["corrupt batches"] * 2


def test_damage_in_a_segment_that_is_read_whole_takes_the_log_offline() -> None:
    world = twelve()
    segment = world.log.segments[1].file
    world.disk.files[segment].data[70] ^= 1
    del world.disk.files[segment.replace(".log", ".chain")]
    before = content(world.disk)
    world.reopen()
    assert world.log.is_offline
    assert [n.name for n in world.notes] == ["log offline"]
    after = content(world.disk)
    assert {n: after[n] for n in before if n.endswith(".log")} == {
        n: before[n] for n in before if n.endswith(".log")
    }


def test_a_missing_segment_takes_the_log_offline() -> None:
    world = World(small())
    for n in range(12):
        world.append(bytes([n]) * 40)
    world.settle()
    del world.disk.files[world.log.segments[1].file]
    world.reopen()
    assert world.log.is_offline


def test_a_failed_read_takes_the_log_offline() -> None:
    world = World()
    world.append(b"a")
    world.settle()
    world.disk.fail("read", errno.EIO)
    world.reopen()
    assert world.log.is_offline


def test_a_batch_larger_than_a_read_is_recovered() -> None:
    world = World()
    world.append(bytes(3 << 20))
    world.append(b"b")
    world.settle()
    world.reopen()
    assert world.log.durable_offset == 2


def test_lookup_says_when_it_cannot_read() -> None:
    world = World()
    world.append(b"a")
    world.settle()
    world.disk.fail("read", errno.EIO)
    assert world.script(world.log.lookup(0)) == ErrorCode.KAFKA_STORAGE_ERROR
    assert not any(isinstance(e, Read) for e in world.effects)


def test_epochs_answer_where_each_ended() -> None:  # KIP-101
    epochs = Epochs()
    for epoch, offset in ((1, 0), (1, 5), (4, 10), (6, 20)):
        epochs.begin(epoch, offset)
    answers = [epochs.end(epoch, 30) for epoch in (0, 1, 3, 4, 5, 6, 7, -1)]
    assert answers == [(0, 0), (1, 10), (1, 10), (4, 20), (4, 20), (6, 30), (-1, -1), (-1, -1)]
    epochs.cut(10)
    assert epochs.entries == [(1, 0)]


def produced(epoch, sequence, count=1):
    batch = build_batch(
        [Record(None, b"")] * count, timestamp=0, producer_id=7, producer_epoch=epoch, base_sequence=sequence
    )
    return Header(batch)


def test_producers_repeat_skip_and_start_over_by_the_rules() -> None:  # KIP-98
    producers = Producers()
    assert producers.check(produced(0, 5)) is None  # unknown: expired or never seen
    for n in range(6):
        producers.update(produced(2, n), 10 + n, 0)
    assert producers.check(produced(2, 6)) is None
    assert producers.check(produced(2, 1)) == Duplicate(11)
    assert producers.check(produced(2, 0)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER  # the sixth last
    assert producers.check(produced(2, 7)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producers.check(produced(1, 6)) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert producers.check(produced(3, 6)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producers.check(produced(3, 0)) is None


def test_sequences_wrap_and_old_producers_are_forgotten() -> None:
    producers = Producers()
    producers.update(produced(0, (1 << 31) - 2, count=3), 0, 50)
    assert producers.check(produced(0, 1)) is None
    producers.keep(3)
    producers.expire(51)
    assert producers.check(produced(0, 77)) is None


def test_who_was_refused_goes_on_where_that_was() -> None:
    producers = Producers()
    producers.refused(produced(1, 4), 50)
    producers.refused(produced(1, 5), 50)
    producers.refused(produced(0, 0), 50)
    assert producers.check(produced(1, 5)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producers.check(produced(1, 4)) is None
    assert producers.check(produced(2, 0)) is None  # it has begun anew
    producers.update(produced(1, 4), 10, 60)
    assert producers.check(produced(1, 5)) is None
    producers.take_back(10)
    assert producers.check(produced(1, 5)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    producers.expire(61)
    assert producers.check(produced(1, 5)) is None


def test_file_names_give_base_offsets_or_nothing() -> None:
    names = ["00000000000000000042.log", "00000000000000000042.index", "42.log", "x" * 20 + ".log", "0" * 20]
    assert [base_offset_of(n) for n in names] == [42, None, None, None, None]


class LogMachine(RuleBasedStateMachine):
    """LO1, LO2 and LO4: what was promised survives, and what survives is a prefix of what was appended."""

    @initialize(fsync=st.booleans())
    def begin(self, fsync):
        self.world = World(small(flush_fsync=fsync))
        self.fsync = fsync
        self.appended = []
        self.promised = 0
        self.epoch = 0

    @rule(sizes=st.lists(st.integers(1, 90), min_size=1, max_size=3), newer=st.booleans())
    def append(self, sizes, newer):
        if self.world.log.refuses(self.world.now) is not None:
            return
        self.epoch += newer
        values = [b"%d." % (len(self.appended) + i) + bytes(n) for i, n in enumerate(sizes)]
        assert self.world.append(*values, epoch=self.epoch) == len(self.appended)  # LO2
        self.appended += values

    @rule(steps=st.integers(0, 6))
    def flush(self, steps):
        self.world.log.flush(self.world.now)
        for _ in range(steps):
            self.world.step()
        self.observe()

    @rule()
    def settle(self):
        self.world.settle()
        self.observe()
        if not self.world.log.is_offline:
            assert self.world.log.durable_offset == len(self.appended)

    @rule(op=st.sampled_from(["write", "sync", "makedir", "syncdir"]), full=st.booleans())
    def break_next(self, op, full):
        self.world.disk.fail(op, errno.ENOSPC if full else errno.EIO)

    @rule()
    def wait(self):
        self.world.mono += 1_000_000_000

    @rule(seed=st.integers(0, 1 << 30))
    def crash(self, seed):
        self.world.disk.failures.clear()
        self.world.disk.crash(Random(seed))
        self.world.reopen()
        log = self.world.log
        assert not log.is_offline
        assert log.log_end_offset <= len(self.appended)
        if self.fsync:
            assert log.log_end_offset >= self.promised  # LO1
        assert self.world.values() == self.appended[: log.log_end_offset]
        del self.appended[log.log_end_offset :]
        self.promised = log.log_end_offset

    @precondition(lambda self: not self.world.effects)
    @rule()
    def read(self):
        self.world.disk.failures.clear()
        assert self.world.values() == self.appended[: self.world.log.durable_offset]

    @invariant()
    def holds(self):
        if hasattr(self, "world"):
            self.world.log.check()
            self.observe()

    def observe(self):
        log = self.world.log
        assert log.durable_offset >= self.promised
        self.promised = log.durable_offset
        assert log.log_end_offset >= self.promised
        del self.appended[log.log_end_offset :]  # taken back, never promised


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
