"""A Produce of the usual shape: one object from its session to the log and back, in place of a dozen.

Nearly every Produce carries one batch for one partition, outside a transaction, and says the same as the one before
it but for that batch. What it repeats is read once, as a `PlainHead` that all such requests share. The request itself
is a `PlainProduce`: the session makes it as its place in the order of answers, the node takes it as an event, fills in
where the batch went, and gives it back in `Acknowledge`. Whatever is not as usual, in the request or at its partition,
is served as a `Requested` with a ProduceRequest, with the same result (tests/core/node/test_plain.py holds both ways
against each other).
"""

from collections.abc import Sequence
from typing import ClassVar

from rafka.core.shape import value
from rafka.core.types import ConnId, Uuid

PRODUCE = 0
PLAIN_FROM = 7
"""The first version of Produce that may be plain: in earlier ones zstd is refused."""


@value
class PlainHead:
    """What of a Produce is not its batch. acks: 1 or -1; topic: "" since version 13, topic_id: zeros before."""

    api_version: int
    client_id: str | None
    acks: int
    timeout_ms: int
    topic: str
    topic_id: Uuid
    index: int


class PlainProduce:
    """One request of the session of `conn`, and where its batch went. records: writable, ours.

    As an event it is what `Requested` is for all others. base_offset, log_start_offset: the node's to fill in.
    """

    __slots__ = ("base_offset", "conn", "correlation", "head", "log_start_offset", "records")
    __match_args__ = ("conn", "correlation", "head", "records")

    api_key: ClassVar[int] = PRODUCE

    conn: ConnId
    correlation: int
    head: PlainHead
    records: memoryview
    base_offset: int
    log_start_offset: int


@value
class Acknowledge:
    """The batches of `produces`, in the order in which they came, are committed: tell each session."""

    produces: Sequence[PlainProduce]
