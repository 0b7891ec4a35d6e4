"""One partition as its leader serves it: a log, the high watermark, and who waits for either to move.

The high watermark is the least offset that every in-sync replica has durably, this one included: what lies below it
is committed, acknowledged and given to consumers. With one replica it is the log's durable offset, and nothing
else decides it. Sources: KIP-101, KIP-320; Kafka's `Partition`.
"""

from collections.abc import Sequence

from rafka.core.errors import ErrorCode
from rafka.core.log.log import Log
from rafka.core.machine import OffsetWaiters
from rafka.core.record.batch import Batch
from rafka.core.types import Now, Ticket, Uuid


class Partition:
    """A partition that this node leads.

    acks: who waits for the high watermark to pass what they appended; readers: tickets of fetches that wait for
    more to read. The node owns both kinds; here they only stand in line.
    """

    __slots__ = (
        "acks",
        "index",
        "is_dirty",
        "leader_epoch",
        "log",
        "readers",
        "replicas",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: Uuid, index: int, log: Log) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.log = log
        self.leader_epoch = 0
        self.replicas = 1
        """How many are in sync."""
        self.acks: OffsetWaiters[object] = OffsetWaiters()
        self.readers: dict[Ticket, None] = {}
        self.is_dirty = False
        """Whether something was appended since the last flush."""

    @property
    def high_watermark(self) -> int:
        """The exclusive end of what is committed."""
        return self.log.durable_offset

    @property
    def last_stable_offset(self) -> int:
        """The exclusive end of what a read_committed consumer may see: no transaction is ever open."""
        return self.log.durable_offset

    def epoch_refusal(self, epoch: int) -> ErrorCode | None:
        """Hold the leader epoch that a client believes in against ours; -1: it does not say. Source: KIP-320."""
        if epoch in (-1, self.leader_epoch):
            return None
        return ErrorCode.FENCED_LEADER_EPOCH if epoch < self.leader_epoch else ErrorCode.UNKNOWN_LEADER_EPOCH

    def append_refusal(self, *, acks: int, now: Now) -> ErrorCode | None:
        """Say why nothing may be appended now; None: it may."""
        refusal = self.log.refuses(now)
        if refusal is None and acks == -1 and self.replicas < self.log.config.min_insync_replicas:
            return ErrorCode.NOT_ENOUGH_REPLICAS
        return refusal

    def append(self, batches: Sequence[Batch], now: Now) -> int:
        """Append checked batches in this leader's epoch; return the offset of the first record."""
        return self.log.append(batches, self.leader_epoch, now)

    def advance(self) -> list[object]:
        """Return who waited for what the high watermark has passed."""
        return self.acks.reach(self.high_watermark)

    def give_up(self) -> list[object]:
        """Return who waits for what the log has lost: all of them once it is offline."""
        log = self.log
        return self.acks.abandon(log.durable_offset if log.is_offline else log.log_end_offset)
