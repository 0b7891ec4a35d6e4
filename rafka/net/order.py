"""The order in which one connection's requests are worked at.

Kafka works at one request of a connection at a time, so whoever sends a write and a read behind it, without waiting
for the answer to the write, reads what was written. Here requests are handed on as they come, so that writes to a
log share a sync and a long poll holds up nobody; and those that must see what an unanswered one before them does are
held back until that is answered. Nobody waits longer for it: an answer may not leave before the one ahead of it anyway.

    behind a Produce        another Produce goes on at once (a log keeps their order), all else is held
    behind another write    everything is held
    behind a read           everything goes on, and so it does behind a JoinGroup or SyncGroup, which wait for others

Source: the Kafka protocol guide, "Network".
"""

from collections import deque
from collections.abc import Sequence

from rafka.core.events import Requested
from rafka.core.plain import PRODUCE, PlainProduce

WRITES = frozenset((3, 8, 10, 19, 20, 21, 22, 33, 37, 42, 43, 44, 47))
"""API keys of what changes something that a later request can see, but for Produce: Metadata and FindCoordinator,
which may make topics; OffsetCommit; CreateTopics, DeleteTopics, DeleteRecords; InitProducerId; AlterConfigs,
CreatePartitions, DeleteGroups, ElectLeaders, IncrementalAlterConfigs, OffsetDelete."""


class Order:
    """One connection's. produces, writes: how many are being worked at; held: who waits for them, in order."""

    __slots__ = ("held", "produces", "writes")

    def __init__(self) -> None:
        self.produces = 0
        self.writes = 0
        self.held: deque[Requested | PlainProduce] = deque()

    def admits(self, request: Requested | PlainProduce) -> bool:
        """Say whether a request that has just come may be worked at now; if not it is held."""
        if request.api_key == PRODUCE and not self.writes and not self.held:
            self.produces += 1
            return True  # nearly always, for those who produce
        if not self.held and self._starts(request.api_key):
            return True
        self.held.append(request)
        return False

    def answered(self, api_key: int) -> Sequence[Requested | PlainProduce]:
        """Take note that a request is answered; return those that may be worked at now."""
        if api_key == PRODUCE:
            self.produces -= 1
        elif api_key in WRITES:
            self.writes -= 1
        return self.released() if self.held else ()

    def released(self) -> list[Requested | PlainProduce]:
        """Return those that were held and may be worked at now."""
        released: list[Requested | PlainProduce] = []
        while self.held and self._starts(self.held[0].api_key):
            released.append(self.held.popleft())
        return released

    def _starts(self, api_key: int) -> bool:
        if self.writes:
            return False
        if api_key == PRODUCE:
            self.produces += 1
            return True
        if self.produces:
            return False
        if api_key in WRITES:
            self.writes += 1
        return True
