"""Any history of a log, against a list: appends, rolls, ends, crashes, cuts at either end, faults, rot beside it."""

import errno
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rafka.core.errors import ErrorCode
from rafka.core.log import keeping, segment
from rafka.core.log.chain import chained, seed
from rafka.core.log.producers import Duplicate
from rafka.core.record.batch import Header, split
from rafka.core.record.builder import Record, build_batch
from rafka.core.types import Uuid
from tests.core.log.test_log import World, small

SAVE_BYTES, LINK_BYTES_APART = keeping.SAVE_BYTES, segment.LINK_BYTES_APART
PRODUCERS = 3


class History(RuleBasedStateMachine):
    """LO1 to LO5 and LO7, on a disk that loses, tears and reorders what was not synced."""

    @initialize(fsync=st.booleans(), save=st.sampled_from([1, 250, SAVE_BYTES]))
    def begin(self, fsync, save):
        keeping.SAVE_BYTES, segment.LINK_BYTES_APART = save, 120
        self.world = World(small(flush_fsync=fsync, file_delete_delay_ms=0))
        self.fsync = fsync
        self.values = {}  # offset -> value
        self.batches = []  # (base offset, end offset, producer, epoch, sequence)
        self.epoch = 0
        self.promised = 0
        self.start = 0
        self.is_rotten = False  # something beside the batches was changed since the log was opened

    def teardown(self):
        keeping.SAVE_BYTES, segment.LINK_BYTES_APART = SAVE_BYTES, LINK_BYTES_APART

    @property
    def log(self):
        return self.world.log

    @property
    def end(self):
        return max(self.floor, self.batches[-1][1] if self.batches else 0)

    floor = 0
    """Where the log ended when it was last cut."""

    def forget(self, end):
        """What is at `end` and after is gone, batch by batch."""
        if end < self.end:
            self.floor = end
        self.batches = [batch for batch in self.batches if batch[1] <= end]
        self.values = {offset: value for offset, value in self.values.items() if offset < end}

    @rule(
        sizes=st.lists(st.integers(1, 90), min_size=1, max_size=3),
        producer=st.integers(-1, PRODUCERS - 1),
        newer=st.booleans(),
    )
    def append(self, sizes, producer, newer):
        if self.log.refuses(self.world.now) is not None:
            return
        self.epoch += newer
        base = self.log.log_end_offset
        records = [b"%d." % (base + i) + bytes(n) for i, n in enumerate(sizes)]
        ours = [batch for batch in self.batches if batch[2] == producer]
        sequence = ours[-1][4] + ours[-1][1] - ours[-1][0] if ours and producer >= 0 else 0
        ids = (
            {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence} if producer >= 0 else {}
        )
        assert self.world.append(*records, epoch=self.epoch, **ids) == base == self.end  # LO2
        self.values |= {base + i: value for i, value in enumerate(records)}
        self.batches.append((base, base + len(records), producer, self.epoch, sequence))

    @rule(steps=st.integers(0, 9))
    def flush(self, steps):
        self.log.flush(self.world.now)
        for _ in range(steps):
            self.world.step()
        self.observe()

    @rule()
    def settle(self):
        self.world.settle()
        self.observe()

    @rule(
        op=st.sampled_from(["write", "sync", "makedir", "syncdir", "rename", "unlink"]),
        full=st.booleans(),
        after=st.integers(0, 6),
    )
    def break_later(self, op, full, after):
        self.world.disk.fail(op, errno.ENOSPC if full else errno.EIO, after)

    @rule(seconds=st.sampled_from([1, 11]))
    def wait(self, seconds):
        self.world.mono += seconds * 1_000_000_000

    @rule(power=st.none() | st.integers(0, 1 << 30))
    def crash(self, power):
        """Kill the process; `power`: lose power too."""
        self.world.disk.failures.clear()
        if power is not None:
            self.world.disk.crash(Random(power))
        self.world.reopen()
        self.reopened(must_have=self.promised if self.fsync or power is None else 0)

    @rule()
    def end_cleanly(self):
        """After a clean end nothing is read but what is beside the batches, and nothing is synced."""
        self.world.disk.failures.clear()
        self.world.settle()
        if self.log.is_offline:
            return
        self.observe()
        self.world.mono += 2_000_000_000
        self.world.script(self.log.close())
        assert self.log.refuses(self.world.now) == ErrorCode.KAFKA_STORAGE_ERROR
        self.world.reopen()
        reads = [effect.file for effect in self.world.performed if type(effect).__name__ == "Read"]
        if not self.is_rotten:
            assert not any(file.endswith(".log") for file in reads)
            assert self.world.synced == []
        self.reopened(must_have=self.end)

    @precondition(lambda self: not self.log.is_offline)
    @rule(data=st.data())
    def truncate(self, data):
        self.world.disk.failures.clear()
        self.world.mono += 2_000_000_000
        self.world.settle()
        if self.log.is_offline or self.log.refuses(self.world.now) is not None:
            return
        self.observe()
        offset = data.draw(st.integers(self.start, self.end), label="offset")
        assert self.world.script(self.log.truncate_to(offset)) is None
        end = max((b[0] for b in self.batches if b[0] <= offset < b[1]), default=offset)
        end = max(end, self.start)
        self.forget(end)
        assert self.log.log_end_offset == end
        self.epoch = max(self.epoch, self.log.latest_epoch)
        self.promised = min(self.promised, end)
        self.agrees()

    @precondition(lambda self: not self.log.is_offline)
    @rule(data=st.data())
    def delete_before(self, data):
        self.world.disk.failures.clear()
        self.world.settle()
        self.observe()
        offset = data.draw(st.integers(self.start, max(self.start, self.log.durable_offset)), label="offset")
        if self.world.script(self.log.delete_before(offset, self.world.now)) is None:
            self.start = max(self.start, offset)
            assert self.log.log_start_offset == self.start
        self.log.maintain(self.world.now)

    @rule(
        data=st.data(), suffix=st.sampled_from([".index", ".timeindex", ".snapshot", ".chain", "-checkpoint"])
    )
    def rot_beside(self, data, suffix):
        """A bit of what is beside the batches turns, or the file goes; what is served stays right."""
        self.is_rotten = True
        files = [
            name
            for name, inode in sorted(self.world.disk.files.items())
            if inode is not None and name.endswith(suffix) and "log-start" not in name and inode.data
        ]
        if not files:
            return
        name = data.draw(st.sampled_from(files))
        if data.draw(st.booleans(), label="goes"):
            self.world.disk.files.pop(name)
        else:
            content = self.world.disk.files[name].data
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    @precondition(lambda self: not self.world.effects and not self.log.is_offline)
    @rule(offset=st.integers(0, 200))
    def read_cold(self, offset):
        self.world.disk.failures.clear()
        if self.start <= offset < self.log.written_offset:
            place = self.world.script(self.log.lookup(offset))
            base = max(batch[0] for batch in self.batches if batch[0] <= offset)
            assert place.base_offset == base, place

    def reopened(self, must_have):
        assert not self.log.is_offline, self.world.notes
        end = self.log.log_end_offset
        assert end >= min(must_have, self.end)  # LO1
        assert end in {self.floor, self.start, *(batch[1] for batch in self.batches)}
        self.forget(end)
        self.promised = end
        self.agrees()
        self.is_rotten = False

    def agrees(self):
        """All is there, and what is known beside it is a function of it: LO5."""
        log = self.log
        assert log.log_start_offset == self.start <= log.log_end_offset
        expected = [self.values[o] for o in range(self.start, log.log_end_offset)]
        assert self.world.values(self.start) == expected
        for producer in range(PRODUCERS):
            ours = [batch for batch in self.batches if batch[2] == producer and batch[1] > self.start]
            if ours:
                base, end, _, _, sequence = ours[-1]
                assert log.producers.check(of(producer, sequence, end - base)) == Duplicate(base)
                assert log.producers.check(of(producer, sequence + end - base, 1)) is None
        starts = {}
        for base, end, _, epoch, _ in self.batches:
            if end > self.start:
                starts.setdefault(epoch, max(base, self.start))
        entries = [entry for entry in log.epochs.entries if entry[1] < log.log_end_offset]
        assert entries == sorted(starts.items())

    @invariant()
    def holds(self):
        if hasattr(self, "world"):
            self.log.check()
            self.observe()

    def observe(self):
        log = self.log
        assert log.durable_offset >= min(self.promised, log.durable_offset)
        assert log.durable_offset >= self.promised
        self.promised = log.durable_offset
        self.forget(log.log_end_offset)


def of(producer, sequence, count):
    batch = build_batch(
        [Record(None, b"")] * count,
        timestamp=0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=sequence,
    )
    return Header(batch)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("clean", [True, False])
def test_the_chain_of_a_log_is_a_function_of_its_batches(clean) -> None:
    world = World(small())
    chain = seed(Uuid(bytes(16)), 0)
    for n in range(9):
        world.append(bytes([n]) * 40)
    world.settle()
    if clean:
        world.script(world.log.close())
        world.reopen()
    assert len(world.log.segments) > 3
    for one in world.log.segments:
        for view, _ in split(memoryview(bytes(world.disk.files[one.file].data))):
            chain = chained(chain, view)
    assert world.log.segments[-1].chain == chain
