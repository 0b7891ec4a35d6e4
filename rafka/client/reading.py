"""One partition as a consumer reads it, and the fetches that fill it."""

from collections import deque

import attrs

from rafka.client.cluster import Cluster
from rafka.client.offsets import TopicPartition
from rafka.core.record.builder import Record
from rafka.core.shape import value
from rafka.core.types import MonoNs, Now


@value
class ConsumerRecord:
    """A record that was read. timestamp: ms; key, value: None where they are null."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@attrs.define(eq=False)
class Reading:
    """Where a consumer is in one partition.

    position: of the next record that the user gets, None until it is known; safe: what may be committed: the user
    has asked for more since. next_fetch: what is asked of the broker next. version: counts jumps, so that what was
    asked before one is not taken for what comes after. reset: the time (EARLIEST, LATEST) to look the position up
    by, None for what is committed or, failing that, the setting's.
    """

    place: TopicPartition
    position: int | None = None
    safe: int | None = None
    next_fetch: int | None = None
    records: deque[Record] = attrs.field(factory=deque)
    version: int = 0
    reset: int | None = None
    ignores_committed: bool = False
    """Whether the position is not to be what was committed: the broker does not have it any more."""
    is_paused: bool = False
    retry_at: MonoNs = MonoNs(0)
    failures: int = 0
    high_watermark: int = -1
    """The first offset that is not committed to the log, as last heard; -1 before."""

    def jump(self, offset: int) -> None:
        """Read on from an offset."""
        self.version += 1
        self.records.clear()
        self.position = self.safe = self.next_fetch = offset
        self.reset = None

    def lose_place(self, reset: int | None, *, ignores_committed: bool) -> None:
        """Have no position, until one is looked up."""
        self.version += 1
        self.records.clear()
        self.position = self.safe = self.next_fetch = None
        self.reset = reset
        self.ignores_committed = ignores_committed

    def failed(self, cluster: Cluster, now: Now) -> None:
        """Wait before anything is asked for it again, longer each time."""
        self.failures += 1
        self.retry_at = MonoNs(now.mono + cluster.backoff_ns(self.failures))

    def took(self, records: list[Record], asked: int, after: int) -> None:
        """Take what a fetch from `asked` brought; the next goes on at `after`."""
        assert self.next_fetch == asked
        self.records += records
        self.next_fetch = after
        self.failures = 0
        if not self.records:
            self.position = after  # nothing in between is for users

    def give(self, count: int) -> list[ConsumerRecord]:
        """Give out up to so many records."""
        topic, partition = self.place
        given: list[ConsumerRecord] = []
        records = self.records
        while records and len(given) < count:
            record = records.popleft()
            # Every record that was read has a timestamp.
            time = record.timestamp or 0
            given.append(
                ConsumerRecord(
                    topic, partition, record.offset, time, record.key, record.value, record.headers
                )
            )
        if given:
            self.position = given[-1].offset + 1 if records else self.next_fetch
        return given
