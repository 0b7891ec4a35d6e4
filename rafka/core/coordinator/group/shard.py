"""All groups of one partition of __consumer_offsets: dispatch, time, and the fold of its records.

`handle` and `tick` decide: they may change membership, which is volatile, but offsets change only in `apply`, which
the node calls for each record, in order, once it is committed and when it loads the partition. While loading, a
group's record builds the group; once a request has touched a group, its records only repeat what it already is,
except that a tombstone removes it if nobody has come since. Replies wait until the records of their decision are
committed.
"""

from collections.abc import Hashable
from typing import Final

import attrs

from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.heartbeat_response import HeartbeatResponse
from rafka.core.api.join_group_request import JoinGroupRequest
from rafka.core.api.leave_group_request import LeaveGroupRequest
from rafka.core.api.leave_group_response import LeaveGroupResponse
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.offset_commit_request import OffsetCommitRequest
from rafka.core.api.offset_delete_request import OffsetDeleteRequest
from rafka.core.api.offset_fetch_request import OffsetFetchRequest
from rafka.core.api.sync_group_request import SyncGroupRequest
from rafka.core.coordinator.group.classic import Group, State, Waiter, restored
from rafka.core.coordinator.group.describe import delete_groups, describe_groups, list_groups
from rafka.core.coordinator.group.fetch import fetch
from rafka.core.coordinator.group.join import Join, on_join
from rafka.core.coordinator.group.offsets import (
    Offsets,
    commit,
    delete,
    expired,
    refusal_of_commit,
)
from rafka.core.coordinator.group.rebalance import Rounds, Turn, join_refused, sync_refused
from rafka.core.coordinator.group.records import (
    Row,
    group_row,
    group_value,
    key_of,
    offset_row,
    offset_value,
)
from rafka.core.coordinator.group.refusal import refused, told
from rafka.core.coordinator.group.settings import GroupSettings, Topics
from rafka.core.coordinator.group.sync import on_heartbeat, on_leave, on_sync
from rafka.core.effects import Reply
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested
from rafka.core.machine import Decision, Entropy
from rafka.core.stored.group_metadata_key import GroupMetadataKey
from rafka.core.stored.group_metadata_value import GroupMetadataValue
from rafka.core.types import MonoNs, Now, Offset

EXPIRY: Final = ("expiry",)


@attrs.define(eq=False)
class GroupShard:
    """The group coordinator of one partition. Construct it, apply the partition's records, then handle."""

    settings: GroupSettings
    topics: Topics
    entropy: Entropy
    groups: dict[str, Group] = attrs.field(factory=dict)
    offsets: Offsets = attrs.field(factory=Offsets)
    rounds: Rounds = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rounds = Rounds(self.settings)

    # ---- decide --------------------------------------------------------------------------------

    def handle(self, event: Requested, now: Now, client_host: str = "") -> Decision[Row]:
        """Decide one request. A parked one has no reply yet.

        client_host: the peer's address as DescribeGroups shows it, "/127.0.0.1" as in Kafka.
        """
        turn = Turn(now)
        waiter = Waiter(event.conn, event.correlation, event.api_version)
        match event.body:
            case JoinGroupRequest():
                self._on_join(event, event.body, client_host, turn)
            case SyncGroupRequest():
                if event.body.group_id == "":
                    turn.replies.append(waiter.reply(sync_refused(ErrorCode.INVALID_GROUP_ID)))
                else:
                    on_sync(self.rounds, self.groups.get(event.body.group_id), event.body, waiter, turn)
            case _:
                turn.replies.append(waiter.reply(self._answer(event, turn)))
        return Decision(turn.rows, turn.replies)

    def _answer(self, event: Requested, turn: Turn) -> object:
        version = event.api_version
        match event.body:
            case HeartbeatRequest() as body:
                code = ErrorCode.INVALID_GROUP_ID
                if body.group_id != "":
                    code = on_heartbeat(self.rounds, self.groups.get(body.group_id), body, turn)
                return HeartbeatResponse(error_code=code)
            case LeaveGroupRequest() as body:
                if body.group_id == "":
                    return LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID)
                return on_leave(self.rounds, self.groups.get(body.group_id), body, version, turn)
            case OffsetCommitRequest() as body:
                return self._on_commit(body, version, turn)
            case OffsetFetchRequest() as body:
                return fetch(body, version, self.offsets, self.topics)
            case OffsetDeleteRequest() as body:
                return delete(body, self.groups.get(body.group_id), self.offsets, self.topics, turn)
            case ListGroupsRequest() as body:
                return list_groups(body, self.groups)
            case DescribeGroupsRequest() as body:
                return describe_groups(body, version, self.groups)
            case DeleteGroupsRequest() as body:
                return delete_groups(body, self.groups, self.offsets, turn)
            case _:
                raise AssertionError(f"not a request of groups: {event.body!r}")

    def _on_join(self, event: Requested, request: JoinGroupRequest, client_host: str, turn: Turn) -> None:
        waiter = Waiter(event.conn, event.correlation, event.api_version)
        code = self._refusal_of_join(request)
        if code is not ErrorCode.NONE:
            turn.replies.append(waiter.reply(join_refused(code, request.member_id)))
            return
        group = self.groups.setdefault(request.group_id, Group(request.group_id))
        prefix = request.group_instance_id or event.client_id or ""
        on_join(
            self.rounds, Join(group, request, event, client_host, f"{prefix}-{self._chance_uuid()}"), turn
        )

    def _refusal_of_join(self, request: JoinGroupRequest) -> ErrorCode:
        low, high = (
            self.settings.group_min_session_timeout_ms,
            self.settings.group_max_session_timeout_ms,
        )
        if request.group_id == "":
            return ErrorCode.INVALID_GROUP_ID
        if not low <= request.session_timeout_ms <= high:
            return ErrorCode.INVALID_SESSION_TIMEOUT
        if request.member_id != "" and request.group_id not in self.groups:
            return ErrorCode.UNKNOWN_MEMBER_ID
        return ErrorCode.NONE

    def _chance_uuid(self) -> str:
        digits = self.entropy.bytes(16).hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _on_commit(self, request: OffsetCommitRequest, version: int, turn: Turn) -> object:
        group = self.groups.get(request.group_id)
        refusal = refusal_of_commit(group, request, version)
        if refusal is ErrorCode.NONE and group is not None and request.member_id in group.members:
            member = group.members[request.member_id]
            if member.joining is None:  # a commit is as good as a heartbeat
                self.rounds.start_session(group, member, turn)
        return commit(request, version, refusal, self.topics, self.settings, turn)

    # ---- time ----------------------------------------------------------------------------------

    def deadline(self) -> MonoNs | None:
        """Say when `tick` has something to do; None: not before the next request."""
        return self.rounds.alarms.next()

    def tick(self, now: Now) -> Decision[Row]:
        """Take every alarm that is due."""
        turn = Turn(now)
        for key in self.rounds.alarms.pop_due(now.mono):
            self._on_alarm(key, turn)
        return Decision(turn.rows, turn.replies)

    def _on_alarm(self, key: Hashable, turn: Turn) -> None:
        assert isinstance(key, tuple)
        if key == EXPIRY:
            self._forget_expired(turn)
            return
        kind, group_id = key[0], key[1]
        group = self.groups.get(group_id)
        if group is None:
            return
        if group.members or group.pending:
            group.is_restored = False
        if kind == "session":
            self.rounds.session_over(group, key[2], turn)
        elif kind == "pending":
            self.rounds.forget_pending(group, key[2], turn)
        elif kind == "rebalance":
            self.rounds.join_phase_over(group, turn)
        else:
            assert kind == "sync"
            self.rounds.sync_phase_over(group, turn)

    def _forget_expired(self, turn: Turn) -> None:
        for group in list(self.groups.values()):
            due = expired(group, self.offsets, self.settings, turn.now.wall)
            turn.rows += [offset_row(group.group_id, topic, index, None) for topic, index in due]
            remaining = len(self.offsets.of.get(group.group_id, {})) - len(due)
            if group.state is State.EMPTY and remaining == 0 and not group.pending:
                turn.rows.append(group_row(group.group_id, None))
        self._expect_expiry(turn.now)

    def _expect_expiry(self, now: Now) -> None:
        interval_ns = self.settings.offsets_retention_check_interval_ms * 1_000_000
        self.rounds.alarms.set(EXPIRY, MonoNs(now.mono + interval_ns))

    def started(self, now: Now) -> None:
        """Begin to serve, after the last record was loaded: from now on offsets expire."""
        self._expect_expiry(now)

    def topics_deleted(self, names: list[str]) -> Decision[Row]:
        """Decide to forget the offsets of topics that are gone."""
        rows = [
            offset_row(group_id, topic, index, None)
            for group_id, places in self.offsets.of.items()
            for topic, index in places
            if topic in names
        ]
        return Decision(rows, [])

    def ended(self) -> list[Reply]:
        """Stop to serve: answer everybody whose join or sync is parked, so that they look for their coordinator."""
        code = ErrorCode.NOT_COORDINATOR
        members = [member for group in self.groups.values() for member in group.members.values()]
        joins = [m.joining.reply(join_refused(code, m.member_id)) for m in members if m.joining is not None]
        syncs = [m.syncing.reply(sync_refused(code)) for m in members if m.syncing is not None]
        return joins + syncs

    # ---- the fold ------------------------------------------------------------------------------

    def apply(self, key: bytes, value: bytes | None, offset: Offset, now: Now) -> None:
        """Fold one record; total: what is malformed, or of another kind of group, is skipped."""
        del offset
        named = key_of(key)
        if named is None:
            return
        if isinstance(named, GroupMetadataKey):
            stored = None if value is None else group_value(value)
            if stored is not None:
                self._fold_group(named.group, stored, now)
            elif value is None:
                self._fold_group_tombstone(named.group)
            return
        committed = None if value is None else offset_value(value)
        if committed is None and value is not None:
            return
        self.offsets.fold(named.group, (named.topic, named.partition), committed)
        if committed is not None and named.group not in self.groups:
            self.groups[named.group] = Group(named.group)

    def _fold_group(self, group_id: str, stored: GroupMetadataValue, now: Now) -> None:
        known = self.groups.get(group_id)
        if known is not None and not known.is_restored:
            return
        for member_id in [] if known is None else list(known.members):
            self.rounds.alarms.clear(("session", group_id, member_id))
        group = self.groups[group_id] = restored(group_id, stored)
        for member in group.members.values():
            self.rounds.start_session(group, member, Turn(now))

    def _fold_group_tombstone(self, group_id: str) -> None:
        known = self.groups.get(group_id)
        if known is not None and not known.is_restored and (known.members or known.pending):
            return  # somebody came after this was decided: what they do will be stored in its turn
        group = self.groups.pop(group_id, None)
        for member_id in [] if group is None else [*group.members, *group.pending]:
            self.rounds.alarms.clear(("session", group_id, member_id))
            self.rounds.alarms.clear(("pending", group_id, member_id))
        if group_id in self.offsets.of:
            self.groups[group_id] = Group(group_id)

    # ---- what went wrong -------------------------------------------------------------------------

    def failed(self, decision: Decision[Row], code: ErrorCode, now: Now) -> Decision[Row]:
        """Undo a decision whose records could not be written: tell who waits, and rebalance its groups."""
        turn = Turn(now)
        shown = told(code)
        for reply in decision.replies:
            turn.replies.append(Reply(reply.conn, reply.correlation, refused(reply.body, shown)))
        for key, _ in decision.records:
            named = key_of(key)
            group = self.groups.get(named.group) if isinstance(named, GroupMetadataKey) else None
            if group is not None and group.state is State.STABLE:
                self.rounds.begin(group, turn)
        return Decision(turn.rows, turn.replies)

    def check(self) -> None:
        """Assert all invariants."""
        for group in self.groups.values():
            group.check()
        assert all(group_id in self.groups for group_id in self.offsets.of)
