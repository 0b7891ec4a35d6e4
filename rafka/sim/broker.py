"""The real broker, as a world boots it: settings, node, sessions; whatever `rafka run` runs, but for the driver."""

from collections.abc import Mapping
from copy import copy

from rafka.core.config.settings import Settings
from rafka.core.coordinator.group.routing import OFFSETS_TOPIC
from rafka.core.effects import Effect, Write
from rafka.core.events import Connected, Disconnected, Done, Event, Failed, Synced, Written
from rafka.core.log.log import Log
from rafka.core.machine import Entropy
from rafka.core.node.node import Identity, Node
from rafka.core.node.startup import Stage
from rafka.core.replication.partition import Partition
from rafka.core.types import Now, Uuid
from rafka.net.compression import Compression
from rafka.net.kafka.session import Protocol
from rafka.net.server import Limits, Server
from rafka.net.serving import protocol_of
from rafka.sim.audit import check_groups, check_readers
from rafka.sim.life import Boot

IDENTITY = Identity(1, "c2ltdWxhdGVkLWNsdXN0ZXI", Uuid(b"simulated-disk-1"), "/sim")
LOG_EVENTS = frozenset((Written, Synced, Done, Failed))
METADATA = "__cluster_metadata-0"
ALL_EVERY = 64
"""Every so many turns what no turn should have touched is looked at too."""


class Broker(Server):
    """A server that asserts, after each turn, the invariants of all that the turn has touched."""

    def __init__(self, node: Node, protocol: Protocol, limits: Limits) -> None:
        super().__init__(node, protocol, limits)
        self.core = node
        self._touched: dict[str, None] = {}
        self._must_count = False
        """Whether connections have come or gone since they were last counted."""
        self._turns = 0
        self._ends: dict[Log, tuple[int, int]] = {}
        """Log start and durable offset of each log when it was last looked at: neither goes back in one life."""

    def handle(self, event: Event, now: Now) -> None:
        """Take one event."""
        kind = type(event)
        if kind in LOG_EVENTS:
            self._touched[event.file] = None  # type: ignore[union-attr]  # those of LOG_EVENTS have one
        elif kind in (Connected, Disconnected):
            self._must_count = True
        super().handle(event, now)

    def drain(self) -> list[Effect]:
        """Give up the turn's effects."""
        effects = super().drain()
        for effect in effects:
            if type(effect) is Write:
                self._touched[effect.file] = None
        return effects

    def check(self) -> None:
        """Assert every invariant of the sessions, and of the logs that the turn has touched."""
        self._turns += 1
        if self._must_count or self._effects or self._sendable or not self._turns % ALL_EVERY:
            self._must_count = False
            super().check()
        if not self._touched:
            return
        directories = dict.fromkeys(file.partition("/")[0] for file in self._touched)
        self._touched = {}
        if self.core.startup.stage in (Stage.OPENING, Stage.RECOVERING):
            return  # logs that are being opened are not yet what they say
        for directory in directories:
            partition = self._partition_in(directory)
            if partition is not None:
                self._check(partition.log)
                check_readers(self.core, partition)
        if any(directory.startswith(OFFSETS_TOPIC) for directory in directories):
            check_groups(self.core)

    def _partition_in(self, directory: str) -> Partition | None:
        if directory == METADATA:
            return self.core.control.partition
        topic, _, index = directory.rpartition("-")
        return self.core.partitions.find(topic, int(index)) if index.isdecimal() else None

    def _check(self, log: Log) -> None:
        if log.is_offline:
            return  # it may have failed while it was opened, half way
        log.check()
        start, durable = self._ends.get(log, (0, 0))
        assert log.log_start_offset >= start, "the log start does not go back"
        assert log.durable_offset >= durable, "what is durable stays so"
        self._ends[log] = (log.log_start_offset, log.durable_offset)


def broker(
    pairs: Mapping[str, str], beyond: Mapping[str, str] | None = None, requests_max: int = 128
) -> Boot:
    """Return what a world boots: a broker with these settings, Kafka's names and their text.

    beyond: settings outside the bounds that operators are held to, such as segments of a few batches;
    requests_max: of one connection that wait for answers.
    """
    settings = copy(Settings.from_pairs(pairs))
    object.__setattr__(settings, "given", {**settings.given, **(beyond or {})})

    def boot(entropy: Entropy, now: Now) -> Broker:
        del now
        node = Node(settings, IDENTITY, entropy, Compression())
        limits = Limits(
            connections_max=settings.max_connections,
            unanswered_max=requests_max,
            frame_bytes_max=settings.socket_request_max_bytes,
            idle_ms_max=settings.connections_max_idle_ms,
        )
        return Broker(node, protocol_of(node.served), limits)

    return boot
