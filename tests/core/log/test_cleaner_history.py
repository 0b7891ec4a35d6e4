"""Any history of a compacted log: appends, cleanings cut short, deletions, reads in between, and crashes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rafka.core.errors import ErrorCode
from rafka.core.record.batch import Header
from rafka.core.record.builder import Record, build_batch
from tests.core.log.keyed import CODECS, Keyed, holds, small

HOUR = 3_600_000
KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b""])
PAIRS = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=60)), min_size=1, max_size=4)
BATCHES = st.lists(
    st.tuples(PAIRS, st.sampled_from([-1, 7, 8]), st.sampled_from([0, 0, 4])), min_size=3, max_size=8
)


class History(RuleBasedStateMachine):
    """The log under test, and what must hold of it. lasts: producer -> next sequence, end of its last batch."""

    def __init__(self):
        super().__init__()
        self.world = Keyed(
            small(delete_retention_ms=HOUR, file_delete_delay_ms=1000, min_compaction_lag_ms=0)
        )
        self.cleaning = None
        self.lasts = {}
        self.has_elapsed = False

    @initialize(batches=BATCHES)
    def fill(self, batches):
        for pairs, producer, codec in batches * 3:
            self.append(pairs, producer, codec)
        self.world.settle()

    @rule(batches=BATCHES)
    def append_some(self, batches):
        for pairs, producer, codec in batches:
            self.append(pairs, producer, codec)

    def append(self, pairs, producer, codec):
        assert self.world.log.refuses(self.world.now) is None
        fields = {"codec": codec}
        sequence = self.lasts.get(producer, (0, 0))[0]
        if producer >= 0:
            fields |= {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence}
        self.world.append(*pairs, **fields)
        if producer >= 0:
            self.lasts[producer] = (sequence + len(pairs), self.world.log.log_end_offset)

    @rule(count=st.integers(1, 40))
    def step(self, count):
        for _ in range(count):
            self.world.step()

    @rule()
    def settle(self):
        self.world.settle()

    @precondition(lambda self: self.cleaning is None or self.cleaning.finished)
    @rule(room=st.sampled_from([400, 1 << 20]), steps=st.integers(0, 60))
    def clean_some(self, room, steps):
        self.clean(room, steps)

    def clean(self, room, steps):
        if self.world.survey().dirty_bytes:
            self.cleaning = self.world.start(self.world.cleaning(room))
            self.step(steps)

    @precondition(lambda self: self.cleaning is None or self.cleaning.finished)
    @rule(batches=BATCHES, steps=st.integers(0, 80))
    def overwrite_and_clean(self, batches, steps):
        self.append_some(batches * 2)
        self.world.settle()
        self.clean(1 << 20, steps)
        self.append_some(batches[:1])
        self.read()

    @rule()
    def elapse(self):
        self.world.elapse(2 * HOUR)
        self.has_elapsed = True

    @rule(share=st.floats(0, 1))
    def delete_before(self, share):
        log = self.world.log
        offset = log.log_start_offset + int(share * (log.durable_offset - log.log_start_offset))
        assert self.world.beside(log.delete_before(offset, self.world.now)) is None
        assert log.log_start_offset >= offset

    @rule()
    def read(self):
        before = self.world.log.log_start_offset
        read = self.world.read()
        holds(
            read, self.world.sent, start=before, end=self.world.log.durable_offset, expired=self.has_elapsed
        )

    @rule(seed=st.none() | st.integers(0, 1000))
    def crash(self, seed):
        durable, start = self.world.log.durable_offset, self.world.log.log_start_offset
        self.world.crash(seed)
        log = self.world.log
        assert not log.is_offline, self.world.notes
        assert log.log_end_offset >= durable
        assert log.log_start_offset >= start
        self.world.sent = [record for record in self.world.sent if record[0] < log.log_end_offset]
        self.cleaning = None
        self.read()
        self.know_producers()

    def know_producers(self):
        """Hold what the log has learnt of its producers against what was written."""
        log = self.world.log
        for producer, (sequence, end) in list(self.lasts.items()):
            if end > log.log_end_offset or end <= log.log_start_offset:
                del self.lasts[producer]  # its last batch is lost, or deleted: a new one takes its place
                continue
            assert log.producers.check(self.header(producer, sequence)) is None
            refused = log.producers.check(self.header(producer, sequence + 1))
            assert refused is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        for producer in [producer for producer in (7, 8) if producer not in self.lasts]:
            states = {state[0]: state[2] for state in log.producers.active()}
            if producer in states:
                self.lasts[producer] = (states[producer] + 1, log.log_end_offset)

    def header(self, producer, sequence):
        fields = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence}
        return Header(build_batch([Record(b"k", b"v")], timestamp=0, codecs=CODECS, **fields))

    @invariant()
    def check(self):
        self.world.log.check()

    def teardown(self):
        self.world.settle()
        self.crash(seed=3)


History.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestHistory = History.TestCase
