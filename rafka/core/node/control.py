"""The metadata log of a node and the controller over it: nothing else holds metadata.

With one voter a record is committed when it is synced. The controller decides from committed metadata only, and one
decision with records is under way at a time: what would need a second waits in line and is decided anew once the
first is applied. Decisions without records are answered at once, from what is committed.
"""

from collections import deque

import attrs

from rafka.core.config import LogConfig
from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.events import Requested
from rafka.core.log.log import Log
from rafka.core.machine import Decision, Outbox
from rafka.core.message import Message
from rafka.core.metadata.controller import Controller
from rafka.core.metadata.image import Image
from rafka.core.metadata.records import decode, encode
from rafka.core.node.replay import replay
from rafka.core.record.batch import Header
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import Codecs
from rafka.core.replication.partition import Partition
from rafka.core.script import Script
from rafka.core.types import File, Now, Uuid

METADATA_TOPIC = "__cluster_metadata"
METADATA_TOPIC_ID = Uuid(bytes(15) + b"\1")
"""The id that Kafka reserves for it."""
DIRECTORY = File(f"{METADATA_TOPIC}-0")

Endpoint = tuple[str, int]


class Ordered:
    """A decision of the controller whose records are appended and not yet committed."""

    __slots__ = ("decision",)

    def __init__(self, decision: Decision[Message]) -> None:
        self.decision = decision


@attrs.define(eq=False)
class Control:
    """Runs the controller over `__cluster_metadata-0`."""

    out: Outbox
    controller: Controller
    image: Image
    codecs: Codecs
    partition: Partition = attrs.field(init=False)
    _pending: Ordered | None = None
    _line: deque[tuple[Requested, Endpoint]] = attrs.field(factory=deque)

    def __attrs_post_init__(self) -> None:
        log = Log(DIRECTORY, self.out, LogConfig(), (METADATA_TOPIC_ID, 0))
        self.partition = Partition(METADATA_TOPIC, METADATA_TOPIC_ID, 0, log)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way or in line."""
        return self._pending is None and not self._line

    def load(self) -> Script[str | None]:
        """Open the metadata log and fold it into the image; returns why that cannot be done."""
        yield from self.partition.log.recover()
        if self.partition.log.is_offline:
            return f"{DIRECTORY} cannot be opened"

        def take(record: Record) -> None:
            message = None if record.value is None else decode(record.value)
            if message is not None:
                self.image.apply(message)

        broken = yield from replay(self.partition.log, self.codecs, take)
        return f"{DIRECTORY}: {broken}" if isinstance(broken, StorageError | CorruptRecord) else None

    def boot(self, now: Now) -> None:
        """Append what a start has to say: a fresh cluster's first records, or what changed since the last."""
        self._decide(self.controller.boot(now), now)

    def handle(self, event: Requested, now: Now, endpoint: Endpoint) -> None:
        """Decide a request; endpoint: where its client reaches this node."""
        decision = self.controller.handle(event, now, endpoint)
        if decision.records and self._pending is not None:
            self._line.append((event, endpoint))
        else:
            self._decide(decision, now)

    def committed(self, ordered: Ordered, now: Now) -> None:
        """Apply a decision's records and let its replies go; then decide what waited for that."""
        for record in ordered.decision.records:
            self.image.apply(record)
        self.out.effects += ordered.decision.replies
        self._go_on(now)

    def lost(self, ordered: Ordered, code: ErrorCode, now: Now) -> None:
        """Answer a decision whose records did not reach the disk with the error."""
        self.out.effects += self.controller.refused(ordered.decision, code)
        self._go_on(now)

    def _go_on(self, now: Now) -> None:
        self._pending = None
        line, self._line = self._line, deque()
        for event, endpoint in line:
            self.handle(event, now, endpoint)

    def _decide(self, decision: Decision[Message], now: Now) -> None:
        if not decision.records:
            self.out.effects += decision.replies
            return
        refusal = self.partition.append_refusal(acks=-1, now=now)
        if refusal is not None:
            self.out.effects += self.controller.refused(decision, refusal)
            return
        records = [Record(None, encode(record)) for record in decision.records]
        batch = memoryview(build_batch(records, timestamp=now.wall))
        self.partition.append([(batch, Header(batch))], now)
        self.partition.log.flush(now)
        self._pending = Ordered(decision)
        self.partition.acks.wait(self.partition.log.log_end_offset, self._pending)
