"""Idempotent producers: each batch once and in order, by producer id, epoch and sequence.

A sequence counts records, wraps from 2^31 - 1 to 0, and starts at 0 with each epoch. The last five batches of
a producer are remembered: a repeat of one of them is answered with the offset it got. A producer that is not
known (expired, or never seen) may begin anywhere. A state is an immutable tuple, so taking back an append
that never reached the disk is putting the former state back.

One batch that is refused, for want of room or of replicas, and the next that is not, because the trouble has passed
between the two, must not change places. A known producer's sequence sees to it; of one that is not known it is
remembered where it stands, in memory only, for as long as the connection that keeps the order may last.
Source: KIP-98; Kafka's `ProducerStateManager`, which lets the second batch in.
"""

from collections import deque

from rafka.core.errors import ErrorCode
from rafka.core.record.batch import Header
from rafka.core.shape import value

BATCHES_KEPT = 5
SEQUENCES = 1 << 31

Seen = tuple[int, int, int]
"""Of one batch: first sequence, last sequence, first offset."""
State = tuple[int, tuple[Seen, ...], int]
"""Producer epoch, the last batches (oldest first), wall-clock ms of the last append."""


@value
class Duplicate:
    """The batch is in the log already, at `base_offset`."""

    base_offset: int


class Producers:
    """The producers of one partition."""

    __slots__ = ("_awaited", "_states", "_undo", "is_changed")

    def __init__(self) -> None:
        self.is_changed = False
        """Whether there is more to know than the newest snapshot says."""
        self._states: dict[int, State] = {}
        self._undo: deque[tuple[int, int, State | None]] = deque()
        self._awaited: dict[int, tuple[int, int, int]] = {}
        """Who is not known and was refused: epoch, sequence of the first batch refused, and when (wall-clock ms)."""

    def check(self, header: Header) -> ErrorCode | Duplicate | None:
        """Say whether a batch may be appended (None), and if not, why; changes nothing."""
        state = self._states.get(header.producer_id)
        if header.attributes & 0x20:  # markers have no sequence
            return None
        if state is None:
            awaited = self._awaited.get(header.producer_id)
            if awaited is None or awaited[0] != header.producer_epoch or awaited[1] == header.base_sequence:
                return None
            return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        epoch, batches, _ = state
        first = header.base_sequence
        if header.producer_epoch < epoch:
            return ErrorCode.INVALID_PRODUCER_EPOCH
        if header.producer_epoch > epoch:
            return None if first == 0 else ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        last = (first + header.last_offset_delta) % SEQUENCES
        for seen in batches:
            if seen[0] == first and seen[1] == last:
                return Duplicate(seen[2])
        if not batches or first == (batches[-1][1] + 1) % SEQUENCES:
            return None
        return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER

    def refused(self, header: Header, wall_ms: int) -> None:
        """Note that a batch was not even looked at: of one that is not known, none after it may come in before it."""
        producer = header.producer_id
        if producer < 0 or producer in self._states or header.attributes & 0x20:
            return
        awaited = self._awaited.get(producer)
        if awaited is None or awaited[0] < header.producer_epoch:
            self._awaited[producer] = (header.producer_epoch, header.base_sequence, wall_ms)

    def is_last(self, header: Header, durable_offset: int) -> bool:
        """Say whether a batch is the newest durable one of its producer: after a crash only it tells the sequence."""
        state = self._states.get(header.producer_id)
        if state is None:
            return False
        for _, _, base_offset in reversed(state[1]):
            if base_offset < durable_offset:
                return base_offset == header.base_offset
        return True  # newer ones may yet be lost, and the durable ones are not remembered

    def update(self, header: Header, base_offset: int, wall_ms: int) -> None:
        """Note a batch that passed `check` and now has its offset."""
        producer = header.producer_id
        if producer < 0:
            return
        state = self._states.get(producer)
        self._undo.append((base_offset, producer, state))
        same_epoch = state is not None and state[0] == header.producer_epoch
        batches = state[1] if state is not None and same_epoch else ()
        if not header.attributes & 0x20:
            first = header.base_sequence
            seen = (first, (first + header.last_offset_delta) % SEQUENCES, base_offset)
            batches = (*batches[1 - BATCHES_KEPT :], seen)
        self._states[producer] = (header.producer_epoch, batches, wall_ms)
        self.is_changed = True
        if self._awaited:
            self._awaited.pop(producer, None)

    def keep(self, offset: int) -> None:
        """Everything below `offset` is in the file: it will not be taken back."""
        undo = self._undo
        while undo and undo[0][0] < offset:
            undo.popleft()

    def take_back(self, offset: int) -> None:
        """Forget the batches at `offset` and after; none of them was given to `keep`."""
        undo = self._undo
        while undo and undo[-1][0] >= offset:
            _, producer, former = undo.pop()
            if former is None:
                epoch, batches, wall_ms = self._states.pop(producer)
                if batches:
                    self._awaited[producer] = (epoch, batches[0][0], wall_ms)
            else:
                self._states[producer] = former

    def become(self, states: dict[int, State]) -> None:
        """Be what a snapshot says."""
        self._states = states
        self._undo.clear()
        self._awaited.clear()
        self.is_changed = False

    def below(self, offset: int) -> dict[int, State]:
        """Return the producers whose last batch is below `offset`."""
        return {k: state for k, state in self._states.items() if state[1] and state[1][-1][2] < offset}

    def durable(self, offset: int) -> dict[int, State]:
        """Return what is known from batches below `offset` only."""
        found = {}
        for producer, (epoch, batches, wall_ms) in self._states.items():
            kept = tuple(seen for seen in batches if seen[2] < offset)
            if kept or not batches:
                found[producer] = (epoch, kept, wall_ms)
        return found

    def states(self) -> dict[int, State]:
        """Return a copy of what there is to know."""
        return dict(self._states)

    def active(self) -> list[tuple[int, int, int, int]]:
        """List every producer: id, epoch, last sequence (-1: none), wall-clock ms of its last append."""
        return [
            (producer, epoch, batches[-1][1] if batches else -1, wall_ms)
            for producer, (epoch, batches, wall_ms) in self._states.items()
        ]

    def expire(self, before_ms: int) -> None:
        """Forget who last appended before `before_ms` (producer.id.expiration.ms); none while it may be undone."""
        if self._awaited:
            self._awaited = {k: awaited for k, awaited in self._awaited.items() if awaited[2] >= before_ms}
        if not self._undo:
            kept = {k: state for k, state in self._states.items() if state[2] >= before_ms}
            if len(kept) < len(self._states):
                self._states = kept
                self.is_changed = True
