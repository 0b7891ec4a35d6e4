"""Records on their way to one partition: batches that fill, wait, travel and come back, always in order."""

from collections import deque
from collections.abc import Sequence

import attrs

from rafka.client.outputs import Pending
from rafka.core.record.builder import Record
from rafka.core.types import MonoNs, Now

SEQUENCES = 1 << 31
"""Sequence numbers are 0 to this, and begin again."""
RECORD_OVERHEAD = 21
"""What a record takes besides its contents, at most, for keys and values of less than 2 MiB."""
HEADER_OVERHEAD = 10
RETRY_NOW = MonoNs(0)


class Delivery(Pending[None]):
    """What became of one record. partition: -1 until it is chosen; offset: -1 until acknowledged, or if unknown.

    timestamp: ms, the record's own, or the broker's where the topic says so. `result` raises ClientError when the
    record was not acknowledged; it may still have been written if that is a TimedOut.
    """

    __slots__ = ("offset", "partition", "timestamp", "topic")

    def __init__(self, topic: str, timestamp: int) -> None:
        super().__init__()
        self.topic = topic
        self.partition = -1
        self.offset = -1
        self.timestamp = timestamp

    def __repr__(self) -> str:
        state = (
            "on its way" if not self.is_done else f"at {self.offset}" if self.error is None else self.error
        )
        return f"<Delivery to {self.topic}-{self.partition}: {state}>"


def size_of(record: Record) -> int:
    """Return how many bytes a record takes, at most."""
    headers = sum(len(name) * 4 + len(content or b"") + HEADER_OVERHEAD for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_OVERHEAD


def record_of(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]], timestamp: int
) -> Record:
    """Make a record. Raises TypeError here and now for what could not be written later."""
    for name, content in (("key", key), ("value", value), *headers):
        if not isinstance(name, str) or not isinstance(content, bytes | None):  # type: ignore[redundant-expr]
            raise TypeError(f"{name}: bytes or None, not {type(content).__name__}")
    return Record(key, value, tuple(headers), timestamp)


@attrs.define(eq=False)
class Batch:
    """Records of one partition that travel together.

    number: its place in the queue; the halves of a split batch have (…, 0) and (…, 1). sequence: of the first
    record, -1 while it has none. size_bytes: at most what they take uncompressed. due: when it is given up.
    """

    number: tuple[int, ...]
    created: MonoNs
    due: MonoNs
    records: list[Record] = attrs.field(factory=list)
    deliveries: list[Delivery] = attrs.field(factory=list)
    size_bytes: int = 0
    sequence: int = -1
    is_sealed: bool = False
    is_over: bool = False
    """Its deliveries are settled; it may still be in flight."""
    sent_to: int = -1
    """The node, while it is in flight."""
    data: bytearray | None = None
    """As it was last sent; None when it must be built again."""
    last_error: str = ""

    def add(self, record: Record, delivery: Delivery, size_bytes: int) -> None:
        """Take one more record."""
        assert not self.is_sealed
        self.records.append(record)
        self.deliveries.append(delivery)
        self.size_bytes += size_bytes

    def halves(self) -> "tuple[Batch, Batch]":
        """Split it in two, each with its part of the sequence numbers."""
        middle = len(self.records) // 2
        assert middle, "one record is not split"
        parts = []
        for index, part in enumerate((slice(None, middle), slice(middle, None))):
            half = Batch((*self.number, index), self.created, self.due, is_sealed=True)
            half.records, half.deliveries = self.records[part], self.deliveries[part]
            half.size_bytes = sum(map(size_of, half.records))
            if self.sequence >= 0:
                half.sequence = (self.sequence + index * middle) % SEQUENCES
            parts.append(half)
        return parts[0], parts[1]


@attrs.define(eq=False)
class Queue:
    """What is on its way to one partition. batches: not in flight, oldest first; in_flight: oldest first.

    A batch that must be sent again goes back to its place, and nothing is sent until all others that are in flight
    have come back: so none overtakes it.
    """

    topic: str
    partition: int
    batches: deque[Batch] = attrs.field(factory=deque)
    in_flight: list[Batch] = attrs.field(factory=list)
    next_sequence: int = 0
    acknowledged: tuple[int, ...] = ()
    """The number of the latest batch that was acknowledged under the present producer id."""
    count: int = 0
    """Batches so far."""
    failures: int = 0
    """Attempts in a row that failed."""
    retry_at: MonoNs = RETRY_NOW
    is_recovering: bool = False
    is_broken: bool = False
    """The broker found a gap in the sequence: what bears a later number is not in the log, and needs a new one."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do for it."""
        return not self.batches and not self.in_flight

    def tail(self, size_bytes: int, limit: int, now: Now, timeout_ns: int) -> Batch:
        """Return the batch that the next record goes into: the last, if it has room."""
        if self.batches:
            last = self.batches[-1]
            if not last.is_sealed and last.size_bytes + size_bytes <= limit:
                return last
            last.is_sealed = True
        self.count += 1
        batch = Batch((self.count,), now.mono, MonoNs(now.mono + timeout_ns))
        self.batches.append(batch)
        return batch

    def put_back(self, batch: Batch) -> None:
        """Put a batch where it belongs among those that wait."""
        batch.sent_to = -1
        index = 0
        while index < len(self.batches) and self.batches[index].number < batch.number:
            index += 1
        self.batches.insert(index, batch)

    def has_earlier(self, batch: Batch) -> bool:
        """Whether a batch with sequences before this one's has no answer yet."""
        return any(
            other.number < batch.number and other.sequence >= 0 and other is not batch
            for others in (self.in_flight, self.batches)
            for other in others
        )

    def sequence(self, batch: Batch) -> None:
        """Give a batch its sequence numbers."""
        batch.sequence = self.next_sequence
        self.next_sequence = (self.next_sequence + len(batch.records)) % SEQUENCES

    def is_last_sequenced(self, batch: Batch) -> bool:
        """Whether no batch after this one has sequence numbers."""
        return (batch.sequence + len(batch.records)) % SEQUENCES == self.next_sequence
