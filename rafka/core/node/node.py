"""One broker without sockets and without sessions: the root of the core.

A turn (`handle` for each event, `tick`, `drain`) goes so:

    handle   requests go to their family by API key, answers of the disk to whoever asked
    tick     what moved is settled: commits are acknowledged, scripts go on, waiting fetches are marked
             what is due is done: timeouts, alarms
             marked fetches are looked at, once; logs that were appended to are flushed, each with one write
    drain    gives up the effects

It parks what must wait and owns nothing that survives it: a restart reads all from the logs.
"""

from collections.abc import Callable, Hashable, Mapping

from rafka.core.api import APIS
from rafka.core.config.settings import Settings
from rafka.core.coordinator.group.routing import OFFSETS_TOPIC, partition_for
from rafka.core.coordinator.group.settings import GroupSettings
from rafka.core.effects import Effect
from rafka.core.errors import ErrorCode
from rafka.core.events import (
    Connected,
    Disconnected,
    Done,
    Event,
    Failed,
    Listed,
    Listening,
    Loaded,
    Measured,
    Requested,
    Synced,
    Terminated,
    Written,
)
from rafka.core.log.log import Log
from rafka.core.machine import Entropy, Outbox
from rafka.core.metadata.controller import APIS as CONTROLLER_APIS
from rafka.core.metadata.controller import Controller
from rafka.core.metadata.image import Image
from rafka.core.node.control import Control, Endpoint, Ordered
from rafka.core.node.fetch import Fetch, Fetches, Lookup
from rafka.core.node.groups import ALARM as GROUPS_ALARM
from rafka.core.node.groups import KEYS as GROUP_KEYS
from rafka.core.node.groups import Decided, Groups, host_of
from rafka.core.node.housekeeping import ALARM as HOUSE_ALARM
from rafka.core.node.housekeeping import Housekeeping
from rafka.core.node.listing import Deletion, Listings, Measuring, Query
from rafka.core.node.parking import Parking
from rafka.core.node.partitions import Partitions
from rafka.core.node.produce import Cohort, Pending, Produced, Produces
from rafka.core.node.shutdown import ALARM as SHUTDOWN_ALARM
from rafka.core.node.shutdown import Shutdown
from rafka.core.node.startup import Stage, Startup
from rafka.core.plain import PlainProduce
from rafka.core.record.compression import Codecs
from rafka.core.replication.fetch_session import FetchSessions
from rafka.core.replication.partition import Partition
from rafka.core.script import Running, run
from rafka.core.shape import value
from rafka.core.types import ConnId, MonoNs, NodeId, Now, Uuid

PRODUCE = 0
FETCH = 1
REMOVED = "removed"
"""Purpose of a script that takes away a deleted topic's log."""

Handler = Callable[[Requested, Now], None]


@value
class Identity:
    """Who a node is, from its data directory. data_dir: its path, as DescribeLogDirs shows it."""

    node_id: int
    cluster_id: str
    directory_id: Uuid
    data_dir: str


@value
class _Client:
    """A connection: who is there, and where it reaches this node."""

    peer: str
    endpoint: Endpoint


class _Names:
    """Topic names and ids as the image has them, for the groups."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def name_of(self, topic_id: Uuid) -> str | None:
        """Return the name of a topic; None if there is none of that id."""
        topic = self._image.topic_by_id(topic_id)
        return None if topic is None else topic.name

    def id_of(self, name: str) -> Uuid | None:
        """Return the id of a topic; None if there is none of that name."""
        topic = self._image.topic(name)
        return None if topic is None else topic.topic_id


class Node:
    """A broker's core. It begins to start with its first turn; `served` is what ApiVersions says."""

    def __init__(self, settings: Settings, identity: Identity, entropy: Entropy, codecs: Codecs) -> None:
        self.settings = settings
        self.identity = identity
        self.out = out = Outbox()
        self.parking = Parking()
        self.partitions = partitions = Partitions(out)
        self.image = Image(NodeId(identity.node_id), settings.given, identity.data_dir)
        self.produces = Produces(out, partitions, self.parking, codecs)
        sessions = FetchSessions(entropy, settings.max_incremental_fetch_session_cache_slots)
        self.fetches = Fetches(out, partitions, self.parking, sessions, settings.fetch_max_bytes)
        self.groups = Groups(out, partitions, group_settings(settings), _Names(self.image), entropy, codecs)
        self._clients: dict[ConnId, _Client] = {}
        self._routes: dict[int, Handler] = {PRODUCE: self.produces.handle, FETCH: self.fetches.handle}
        self._routes |= dict.fromkeys(GROUP_KEYS, self._of_groups)
        self.listings = Listings(out, partitions, codecs, self.image)
        self._routes |= self.listings.routes()
        self.served: dict[int, tuple[int, int]] = {}
        controller = Controller(
            self.image,
            settings,
            entropy,
            NodeId(identity.node_id),
            identity.cluster_id,
            self.served,
            partition_for,
            identity.directory_id,
        )
        self._routes |= dict.fromkeys(CONTROLLER_APIS, self._of_control)
        self.served.update(served_versions(self._routes, CONTROLLER_APIS))
        self.control = Control(out, controller, self.image, codecs)
        listeners = [(listener.host, listener.port) for listener in settings.listeners]
        self.startup = Startup(out, self.control, partitions, self.groups, listeners)
        self.housekeeping = Housekeeping(
            out,
            partitions,
            codecs,
            settings.log_retention_check_interval_ms,
            settings.log_cleaner_backoff_ms,
            settings.log_cleaner_dedupe_buffer_size,
            settings.producer_id_expiration_ms,
        )
        self.shutdown = Shutdown(out, partitions, self.control, self.fetches)

    # ---- the turn ----------------------------------------------------------------------------------

    def handle(self, event: Event, now: Now) -> None:
        """Take one event."""
        if isinstance(event, PlainProduce):  # most events are
            if not self.shutdown.has_begun:
                self.produces.plain(event, now)
            return
        match event:
            case Requested():
                if not self.shutdown.has_begun:
                    self._routes[event.api_key](event, now)
            case Written() | Synced() | Loaded() | Done() | Listed() | Measured() | Failed():
                if not self.out.route(event, now):
                    self._unasked(event)
            case Connected():
                self._clients[event.conn] = _Client(event.peer, self._endpoint(event))
            case Disconnected():
                self._clients.pop(event.conn, None)
                self.fetches.disconnected(event.conn)
            case Listening():
                self.out.owners.pop(event.token, None)
                self.startup.listening(event)
            case Terminated():
                self.housekeeping.end()
                self.shutdown.begin(event.signal, now)
            case _:
                raise AssertionError(f"not an event of a node: {event!r}")

    def tick(self, now: Now) -> None:
        """Settle what moved, do what is due, flush."""
        self._settle(now)
        for parked in self.parking.due(now):
            if isinstance(parked, Fetch):
                self.fetches.timed_out(parked, now)
            elif isinstance(parked, Cohort):
                self.produces.refuse_together(parked, ErrorCode.REQUEST_TIMED_OUT)
            else:
                assert isinstance(parked, Produced)
                self.produces.timed_out(parked)
        for key in self.out.alarms.pop_due(now.mono):
            self._on_alarm(key, now)
        self.startup.advance(now)
        if self.startup.stage is Stage.SERVING:
            self.housekeeping.begin(now)
        if self.shutdown.has_begun:
            self.shutdown.advance(now)
        self._settle(now)
        if self.shutdown.has_begun:
            self.shutdown.advance(now)  # logs with nothing to write are closed by now, and no event will tell
        self.fetches.look_again(now)
        self.partitions.flush(now)
        self.produces.end_turn()

    def drain(self) -> list[Effect]:
        """Give up the turn's effects."""
        return self.out.drain()

    def deadline(self) -> MonoNs | None:
        """Say when the next turn is due."""
        if self.out.moved:
            return MonoNs(0)  # a script ended without asking for anything
        times = [at for at in (self.parking.deadline(), self.out.alarms.next()) if at is not None]
        return min(times) if times else None

    # ---- requests ----------------------------------------------------------------------------------

    def _of_groups(self, event: Requested, now: Now) -> None:
        self.groups.handle(event, now, host_of(self._clients[event.conn].peer))

    def _of_control(self, event: Requested, now: Now) -> None:
        self.control.handle(event, now, self._clients[event.conn].endpoint)

    def _endpoint(self, event: Connected) -> Endpoint:
        """Where a client reaches this node: the advertised address of its listener, or what it dialled."""
        advertised = {listener.name: listener for listener in self.settings.advertised_listeners}
        for listener, port in zip(self.settings.listeners, self.startup.ports, strict=False):
            if port == event.local_port and listener.name in advertised:
                told = advertised[listener.name]
                return told.host, told.port or port
        return event.local_host, event.local_port

    # ---- what moved --------------------------------------------------------------------------------

    def _settle(self, now: Now) -> None:
        """Take note of every commit, failure and finished script, until nothing moves any more."""
        out = self.out
        while out.moved:
            moved, out.moved = out.moved, []
            for one in dict.fromkeys(moved):
                if isinstance(one, Log):
                    self._log_moved(one, now)
                else:
                    assert isinstance(one, Running)
                    self._finished(one, now)
        if any((self.image.changes.created, self.image.changes.deleted, self.image.changes.configured)):
            self._follow_image(now)

    def _log_moved(self, log: Log, now: Now) -> None:
        partition = self.partitions.of_log(log)
        if partition is None and log is self.control.partition.log:
            partition = self.control.partition
        if partition is None:
            return
        for waiter in partition.advance():
            match waiter:
                case Cohort():
                    self.produces.committed_together(waiter)
                case Pending():
                    self.produces.committed(waiter)
                case Decided():
                    self.groups.committed(waiter, now)
                case _:
                    assert isinstance(waiter, Ordered)
                    self.control.committed(waiter, now)
        if log.failed is not None:
            self._give_up(partition, log.failed, now)
        if partition.readers:
            self.fetches.moved(partition)

    def _give_up(self, partition: Partition, code: ErrorCode, now: Now) -> None:
        for waiter in partition.give_up():
            match waiter:
                case Cohort():
                    self.produces.lost_together(waiter, code)
                case Pending():
                    self.produces.lost(waiter, code)
                case Decided():
                    self.groups.lost(waiter, code, now)
                case _:
                    assert isinstance(waiter, Ordered)
                    self.control.lost(waiter, code, now)
                    self.startup.lost(code)

    def _finished(self, running: Running[object], now: Now) -> None:
        if isinstance(running.purpose, Lookup):
            self.fetches.found(running, running.purpose, now)
        elif isinstance(running.purpose, Query):
            self.listings.found(running, running.purpose)
        elif isinstance(running.purpose, Deletion):
            self.listings.deleted(running, running.purpose)
        elif isinstance(running.purpose, Measuring):
            self.listings.measured(running, running.purpose)
        elif running.purpose is REMOVED or self.housekeeping.finished(running, now):
            pass
        elif not self.startup.finished(running, now):
            assert self.shutdown.finished(running), f"nobody waits for {running.purpose!r}"

    def _follow_image(self, now: Now) -> None:
        """Let the partitions be what the committed metadata says."""
        if self.startup.stage not in (Stage.LISTENING, Stage.SERVING):
            return  # the start makes them all, once it has the whole image
        changes = self.image.changes
        for gone in changes.deleted:
            self._delete(gone.name, now)
        for topic, index in changes.created:
            if self.image.topic_by_id(topic.topic_id) is topic:
                self._create(topic.name, topic.topic_id, index, now)
        names = (
            list(self.image.topics) if "" in changes.configured else list(dict.fromkeys(changes.configured))
        )
        for name in names:
            self.partitions.configure(name, self.image.log_config(name))
        changes.clear()

    def _create(self, topic: str, topic_id: Uuid, index: int, now: Now) -> None:
        partition = self.partitions.create(topic, topic_id, index, self.image.log_config(topic))
        self.partitions.open(partition)
        if topic == OFFSETS_TOPIC:
            self.groups.serve_empty(index, now)

    def _delete(self, topic: str, now: Now) -> None:
        for partition in self.partitions.close(topic):
            run(partition.log.destroy(), self.out, REMOVED)
            self._give_up(partition, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, now)
            self.fetches.moved(partition)
        if topic == OFFSETS_TOPIC:
            self.groups.end()
        self.groups.topics_deleted([topic], now)

    # ---- time and trouble --------------------------------------------------------------------------

    def _on_alarm(self, key: Hashable, now: Now) -> None:
        if isinstance(key, Log):
            key.maintain(now)
            return
        assert isinstance(key, tuple)
        if key[0] == HOUSE_ALARM:
            self.housekeeping.on_alarm(key, now)
        elif key[0] != SHUTDOWN_ALARM[0]:
            assert key[0] == GROUPS_ALARM, f"nobody set {key!r}"
            self.groups.on_alarm(key[1], now)

    def _unasked(self, event: Event) -> None:
        if isinstance(event, Failed):
            self.out.note("error", "operation failed", op=event.op, file=event.file, text=event.text)


def group_settings(settings: Settings) -> GroupSettings:
    """Return what the groups obey of a node's settings."""
    return GroupSettings(
        group_initial_rebalance_delay_ms=settings.group_initial_rebalance_delay_ms,
        group_min_session_timeout_ms=settings.group_min_session_timeout_ms,
        group_max_session_timeout_ms=settings.group_max_session_timeout_ms,
        group_max_size=settings.group_max_size,
        offset_metadata_max_bytes=settings.offset_metadata_max_bytes,
        offsets_retention_minutes=settings.offsets_retention_minutes,
        offsets_retention_check_interval_ms=settings.offsets_retention_check_interval_ms,
    )


def served_versions(
    routes: Mapping[int, Handler], special: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """Return the versions of every API that has a handler: all that Kafka serves, but where `special` says less."""
    return {
        key: special.get(key, (APIS[key].first_version, APIS[key].last_stable_version))
        for key in sorted(routes)
    }
