"""The group coordinator of a node: one shard for each partition of __consumer_offsets, and their records' way.

What a shard decides is appended to its partition in one batch. Once that is committed the records are applied, in
the order of the log, and the replies leave; so whatever a shard answers from is committed, and a batch that the
disk does not take needs no undoing. A decision without records is answered at once, unless it tells of a generation
while records are under way: they may be that generation's, and a crash could give its number to another. An OffsetFetch
with require_stable is decided only when the records under way are committed or lost: it sees those commits (KIP-447).

A request that names groups of several shards is cut into parts, each with a correlation of its own below zero;
the answers to the parts are gathered. Sources: Kafka's `GroupCoordinatorService` and `CoordinatorRuntime`.
"""

from collections.abc import Sequence

import attrs

from rafka.core.api.join_group_response import JoinGroupResponse
from rafka.core.api.offset_fetch_request import OffsetFetchRequest
from rafka.core.api.sync_group_response import SyncGroupResponse
from rafka.core.coordinator.group.records import Row
from rafka.core.coordinator.group.routing import OFFSETS_TOPIC, partition_for
from rafka.core.coordinator.group.settings import GroupSettings, Topics
from rafka.core.coordinator.group.shard import GroupShard
from rafka.core.coordinator.group.spread import cut, groups_of, merged, unavailable
from rafka.core.effects import Reply
from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.events import Requested
from rafka.core.machine import Decision, Entropy, Outbox
from rafka.core.node.partitions import Partitions
from rafka.core.node.replay import replay
from rafka.core.record.batch import Header
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import Codecs
from rafka.core.replication.partition import Partition
from rafka.core.script import Script
from rafka.core.types import Now, Offset

KEYS = (8, 9, 11, 12, 13, 14, 15, 16, 42, 47)
"""OffsetCommit, OffsetFetch, JoinGroup, Heartbeat, LeaveGroup, SyncGroup, DescribeGroups, ListGroups,
DeleteGroups, OffsetDelete."""
ALARM = "groups"


class Decided:
    """A decision whose records are appended and not yet committed. base_offset: of the first of them."""

    __slots__ = ("base_offset", "decision", "index", "shard")

    def __init__(self, index: int, shard: GroupShard, decision: Decision[Row], base_offset: int) -> None:
        self.index = index
        self.shard = shard
        self.decision = decision
        self.base_offset = base_offset


class Postponed(Decided):
    """An OffsetFetch that wants stable offsets, until what was under way when it came is committed or lost."""

    __slots__ = ("client_host", "event")

    def __init__(
        self, index: int, shard: GroupShard, event: Requested, client_host: str, end_offset: int
    ) -> None:
        super().__init__(index, shard, Decision([], []), end_offset)
        self.event = event
        self.client_host = client_host


class Gathering:
    """A request that was cut into parts, and the answers so far."""

    __slots__ = ("answers", "event", "missing")

    def __init__(self, event: Requested, missing: int) -> None:
        self.event = event
        self.missing = missing
        self.answers: list[object] = []


@attrs.define(eq=False)
class Groups:
    """Serves the requests of groups. A shard that is not in the table does not serve (yet)."""

    out: Outbox
    partitions: Partitions
    settings: GroupSettings
    topics: Topics
    entropy: Entropy
    codecs: Codecs
    shards: dict[int, GroupShard] = attrs.field(factory=dict)
    _gathering: dict[int, Gathering] = attrs.field(factory=dict)
    _last_part: int = 0

    # ---- serving a shard ---------------------------------------------------------------------------

    def load(self, partition: Partition, now: Now) -> Script[GroupShard | None]:
        """Fold the partition's records into a new shard; None, and a note, when they cannot be read."""
        shard = GroupShard(self.settings, self.topics, self.entropy)

        def take(record: Record) -> None:
            if record.key is not None:
                shard.apply(record.key, record.value, Offset(record.offset), now)

        broken = yield from replay(partition.log, self.codecs, take)
        if isinstance(broken, StorageError | CorruptRecord):
            self.out.note("error", "groups not loaded", partition=partition.index, reason=str(broken))
            return None
        return shard

    def serve(self, index: int, shard: GroupShard, now: Now) -> None:
        """Begin to answer for the groups of one partition."""
        self.shards[index] = shard
        shard.started(now)
        self._arm(index, shard)

    def serve_empty(self, index: int, now: Now) -> None:
        """Begin to answer for a partition that has no records yet."""
        self.serve(index, GroupShard(self.settings, self.topics, self.entropy), now)

    def end(self) -> None:
        """Stop to answer for any group: the topic that kept them is gone."""
        for index, shard in self.shards.items():
            self._reply(shard.ended())
            self.out.alarms.clear((ALARM, index))
        self.shards.clear()

    def topics_deleted(self, names: list[str], now: Now) -> None:
        """Forget the committed offsets of topics that are gone."""
        for index, shard in self.shards.items():
            self._decide(index, shard, shard.topics_deleted(names), now)

    # ---- requests ----------------------------------------------------------------------------------

    def handle(self, event: Requested, now: Now, client_host: str) -> None:
        """Decide one request; its answer may come now or much later."""
        names = groups_of(event.body, event.api_version)
        if names is None:
            indexes = list(self.shards)
            self._gather(event, [(index, event.body) for index in indexes], now, client_host)
            return
        count = len(self.partitions.by_name(OFFSETS_TOPIC) or ())
        if count == 0:
            self._refuse(event, ErrorCode.COORDINATOR_NOT_AVAILABLE)
            return
        by_index: dict[int, list[str]] = {}
        for name in names:
            by_index.setdefault(partition_for(name, count), []).append(name)
        if len(by_index) == 1:
            (index,) = by_index
            self._ask(index, event, now, client_host)
            return
        parts = [(index, cut(event.body, some)) for index, some in by_index.items()]
        self._gather(event, parts, now, client_host)

    def on_alarm(self, index: int, now: Now) -> None:
        """Let a shard do what has fallen due."""
        shard = self.shards.get(index)
        if shard is not None:
            self._decide(index, shard, shard.tick(now), now)

    def committed(self, decided: Decided, now: Now) -> None:
        """Apply a decision's records and let its replies go."""
        if isinstance(decided, Postponed):
            self._take_up(decided, now)
            return
        for delta, (key, value) in enumerate(decided.decision.records):
            decided.shard.apply(key, value, Offset(decided.base_offset + delta), now)
        self._reply(decided.decision.replies)
        self._arm(decided.index, decided.shard)

    def lost(self, decided: Decided, code: ErrorCode, now: Now) -> None:
        """Tell a shard that its records did not reach the disk."""
        if isinstance(decided, Postponed):
            self._take_up(decided, now)
            return
        self._lose(decided.index, decided.shard, decided.decision, code, now)

    # ---- inside ------------------------------------------------------------------------------------

    def _ask(self, index: int, event: Requested, now: Now, client_host: str) -> None:
        shard = self.shards.get(index)
        if shard is None:
            partition = self.partitions.find(OFFSETS_TOPIC, index)
            is_offline = partition is None or partition.log.is_offline
            code = ErrorCode.NOT_COORDINATOR if is_offline else ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            self._refuse(event, code)
            return
        if isinstance(event.body, OffsetFetchRequest) and event.body.require_stable:
            partition = self.partitions.find(OFFSETS_TOPIC, index)
            if partition is not None and len(partition.acks):
                end_offset = partition.log.log_end_offset
                postponed = Postponed(index, shard, event, client_host, end_offset)
                partition.acks.wait_with_the_last(end_offset, postponed)
                return
        self._decide(index, shard, shard.handle(event, now, client_host), now)

    def _take_up(self, postponed: Postponed, now: Now) -> None:
        """Decide what had to wait, whatever is under way by now: it came later."""
        index, shard, event = postponed.index, postponed.shard, postponed.event
        if self.shards.get(index) is shard and self.partitions.find(OFFSETS_TOPIC, index) is not None:
            self._decide(index, shard, shard.handle(event, now, postponed.client_host), now)
        else:
            self._refuse(event, ErrorCode.NOT_COORDINATOR)

    def _decide(self, index: int, shard: GroupShard, decision: Decision[Row], now: Now) -> None:
        partition = self.partitions.find(OFFSETS_TOPIC, index)
        if not decision.records:
            if partition is not None and _tells_generation(partition, decision):
                waiter = Decided(index, shard, decision, partition.log.log_end_offset)
                partition.acks.wait_with_the_last(partition.log.log_end_offset, waiter)
            else:
                self._reply(decision.replies)
        else:
            refusal = ErrorCode.NOT_COORDINATOR
            if partition is not None:
                refusal = partition.append_refusal(acks=-1, now=now) or ErrorCode.NONE
            if partition is None or refusal is not ErrorCode.NONE:
                self._lose(index, shard, decision, refusal, now)
                return
            self._append(index, shard, partition, decision, now)
        self._arm(index, shard)

    def _append(
        self, index: int, shard: GroupShard, partition: Partition, decision: Decision[Row], now: Now
    ) -> None:
        records = [Record(key, value) for key, value in decision.records]
        batch = memoryview(build_batch(records, timestamp=now.wall))
        base_offset = self.partitions.append(partition, [(batch, Header(batch))], now)
        waiter = Decided(index, shard, decision, base_offset)
        partition.acks.wait(partition.log.log_end_offset, waiter)

    def _lose(
        self, index: int, shard: GroupShard, decision: Decision[Row], code: ErrorCode, now: Now
    ) -> None:
        """Answer what was decided with the error. What the shard decides on that needs no record: it fails too."""
        after = shard.failed(decision, code, now)
        self._reply(after.replies)
        self._arm(index, shard)

    def _arm(self, index: int, shard: GroupShard) -> None:
        at = shard.deadline()
        if at is None:
            self.out.alarms.clear((ALARM, index))
        else:
            self.out.alarms.set((ALARM, index), at)

    def _refuse(self, event: Requested, code: ErrorCode) -> None:
        body = unavailable(event.body, event.api_version, code)
        self._reply([Reply(event.conn, event.correlation, body)])

    def _gather(
        self, event: Requested, parts: Sequence[tuple[int, object]], now: Now, client_host: str
    ) -> None:
        if not parts:
            self._reply([Reply(event.conn, event.correlation, merged(event.body, []))])
            return
        gathering = Gathering(event, len(parts))
        for index, body in parts:
            self._last_part -= 1
            self._gathering[self._last_part] = gathering
            part = _part(event, self._last_part, body)
            self._ask(index, part, now, client_host)

    def _reply(self, replies: list[Reply]) -> None:
        for reply in replies:
            if reply.correlation >= 0:
                self.out.effects.append(reply)
                continue
            gathering = self._gathering.pop(reply.correlation)
            gathering.answers.append(reply.body)
            gathering.missing -= 1
            if gathering.missing == 0:
                event = gathering.event
                body = merged(event.body, gathering.answers)
                self.out.effects.append(Reply(event.conn, event.correlation, body))


def _tells_generation(partition: Partition, decision: Decision[Row]) -> bool:
    """Say whether a decision without records tells of what is not committed yet. Source: Kafka's CoordinatorRuntime."""
    if not len(partition.acks):
        return False
    return any(isinstance(reply.body, JoinGroupResponse | SyncGroupResponse) for reply in decision.replies)


def _part(event: Requested, correlation: int, body: object) -> Requested:
    return Requested(event.conn, correlation, event.api_key, event.api_version, event.client_id, body)


def host_of(peer: str) -> str:
    """Return a peer's address as DescribeGroups shows it: "/127.0.0.1" for "127.0.0.1:50123"."""
    return "/" + peer.rpartition(":")[0].strip("[]")
