"""The rounds of a group: begin a rebalance, complete the join, hand out assignments; and every timer of a member.

A round begins when membership changes. Everybody must join again within the longest rebalance timeout; who does not
is removed, unless static (KIP-345). Then each joiner is answered with the new generation and has a rebalance timeout
to sync; who does not is removed, and the next round begins. A session runs only while the member owes us a
heartbeat: not while its join or sync is parked. The alarms:

    ("session", group, member)   heartbeat overdue, or the first join of a new member parked for five minutes
    ("pending", group, member)   an id given out by MEMBER_ID_REQUIRED never came back (KIP-394)
    ("rebalance", group)         the join phase is over
    ("sync", group)              the sync phase is over

Sources: KIP-62, KIP-134 (initial delay), KIP-345, KIP-394; Kafka's GroupMetadataManager.
"""

from typing import Final

import attrs

from rafka.core.api.join_group_response import JoinGroupResponse, JoinGroupResponseMember
from rafka.core.api.sync_group_response import SyncGroupResponse
from rafka.core.coordinator.group.classic import Group, Member, State
from rafka.core.coordinator.group.records import Row, group_row
from rafka.core.coordinator.group.settings import GroupSettings
from rafka.core.effects import Reply
from rafka.core.errors import ErrorCode
from rafka.core.machine import Alarms
from rafka.core.types import MonoNs, Now

NEW_MEMBER_JOIN_TIMEOUT_MS: Final = 300_000


@attrs.define(eq=False)
class Turn:
    """What one request, or one alarm, decides: records and answers, gathered."""

    now: Now
    rows: list[Row] = attrs.field(factory=list)
    replies: list[Reply] = attrs.field(factory=list)

    def after(self, timeout_ms: int) -> MonoNs:
        """Return when `timeout_ms` from now is."""
        return MonoNs(self.now.mono + timeout_ms * 1_000_000)


@attrs.define(eq=False)
class Rounds:
    """Drives the rounds of all groups of one shard."""

    settings: GroupSettings
    alarms: Alarms = attrs.field(factory=Alarms)

    # ---- the join phase ----------------------------------------------------------------------

    def begin(self, group: Group, turn: Turn) -> None:
        """Begin a round: who syncs is sent back to join, and everybody must join."""
        for member in list(group.members.values()):
            if member.syncing is not None:
                self.answer_sync(group, member, ErrorCode.REBALANCE_IN_PROGRESS, turn)
        self.alarms.clear(("sync", group.group_id))
        delay_ms = self.settings.group_initial_rebalance_delay_ms
        timeout_ms = group.rebalance_timeout_ms()
        if group.state is State.EMPTY and delay_ms > 0:
            group.initial_until = turn.after(max(timeout_ms, delay_ms))
            group.has_newcomer = False
            timeout_ms = delay_ms
        group.move(State.PREPARING, turn.now.wall)
        self.alarms.set(("rebalance", group.group_id), turn.after(timeout_ms))
        self.complete_if_joined(group, turn)

    def complete_if_joined(self, group: Group, turn: Turn) -> None:
        """Complete the join phase if nobody is missing and no initial delay runs."""
        if group.state is State.PREPARING and group.initial_until is None and group.has_all_joined():
            self._complete_join(group, turn)

    def join_phase_over(self, group: Group, turn: Turn) -> None:
        """Take the alarm: extend the initial delay while members keep coming, or go on with who is here."""
        if group.state is not State.PREPARING:
            return
        until, group.initial_until = group.initial_until, None
        if until is not None and group.has_newcomer and turn.now.mono < until:
            group.initial_until = until
            group.has_newcomer = False
            next_ms = self.settings.group_initial_rebalance_delay_ms
            self.alarms.set(("rebalance", group.group_id), min(until, turn.after(next_ms)))
            return
        self._complete_join(group, turn)

    def _complete_join(self, group: Group, turn: Turn) -> None:
        for member in list(group.members.values()):
            if member.joining is None and member.instance_id is None:
                self.forget(group, member.member_id)
        if group.members and not _elect_joined_leader(group):
            self.alarms.set(("rebalance", group.group_id), turn.after(group.rebalance_timeout_ms()))
            return  # only static members are left and none is here: they keep their places
        self.alarms.clear(("rebalance", group.group_id))
        group.initial_until = None
        group.generation += 1
        if not group.members:
            group.protocol = None
            group.move(State.EMPTY, turn.now.wall)
            turn.rows.append(group_row(group.group_id, group.stored()))
            return
        group.protocol = group.selected_protocol()
        group.move(State.COMPLETING, turn.now.wall)
        for member in group.members.values():
            member.has_synced = False
            self._answer_new_generation(group, member, turn)
        self.alarms.set(("sync", group.group_id), turn.after(group.rebalance_timeout_ms()))

    def _answer_new_generation(self, group: Group, member: Member, turn: Turn) -> None:
        if member.joining is None:
            return
        is_leader = member.member_id == group.leader
        waiter, member.joining, member.is_new = member.joining, None, False
        turn.replies.append(waiter.reply(joined(group, member.member_id, with_members=is_leader)))
        self.start_session(group, member, turn)

    # ---- the sync phase ----------------------------------------------------------------------

    def assign(self, group: Group, assignments: dict[str, bytes], turn: Turn) -> None:
        """Take the leader's assignment: record it, answer everybody who waits, be stable."""
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        group.move(State.STABLE, turn.now.wall)
        turn.rows.append(group_row(group.group_id, group.stored()))
        for member in group.members.values():
            if member.syncing is not None:
                self.answer_sync(group, member, ErrorCode.NONE, turn)
        self.note_synced(group)

    def note_synced(self, group: Group) -> None:
        """Stop waiting for syncs once everybody of the generation has synced."""
        if all(member.has_synced for member in group.members.values()):
            self.alarms.clear(("sync", group.group_id))

    def sync_phase_over(self, group: Group, turn: Turn) -> None:
        """Take the alarm: remove who has not synced, and begin a round without them."""
        late = [member.member_id for member in group.members.values() if not member.has_synced]
        if group.state not in (State.COMPLETING, State.STABLE) or not late:
            return
        for member_id in late:
            self.forget(group, member_id)
        self.begin(group, turn)

    def answer_sync(self, group: Group, member: Member, code: ErrorCode, turn: Turn) -> None:
        """Answer the parked SyncGroup of a member with its assignment or an error."""
        assert member.syncing is not None
        waiter, member.syncing = member.syncing, None
        turn.replies.append(waiter.reply(synced(group, member) if code == 0 else sync_refused(code)))
        self.start_session(group, member, turn)

    # ---- members and their timers --------------------------------------------------------------

    def start_session(self, group: Group, member: Member, turn: Turn) -> None:
        """Expect the next heartbeat within the session timeout."""
        self.alarms.set(("session", group.group_id, member.member_id), turn.after(member.session_timeout_ms))

    def forget(self, group: Group, member_id: str) -> Member:
        """Take a member and its session out of the group."""
        self.alarms.clear(("session", group.group_id, member_id))
        return group.remove(member_id)

    def leave(self, group: Group, member_id: str, turn: Turn) -> None:
        """Remove a member that left or timed out, answer what it has parked, and rebalance the rest."""
        member = self.forget(group, member_id)
        if member.joining is not None:
            turn.replies.append(member.joining.reply(join_refused(ErrorCode.UNKNOWN_MEMBER_ID, member_id)))
        if member.syncing is not None:
            turn.replies.append(member.syncing.reply(sync_refused(ErrorCode.UNKNOWN_MEMBER_ID)))
        if group.state in (State.STABLE, State.COMPLETING):
            self.begin(group, turn)
        else:
            self.complete_if_joined(group, turn)

    def session_over(self, group: Group, member_id: str, turn: Turn) -> None:
        """Take the alarm: the member is gone, unless its join or sync is parked here."""
        member = group.members.get(member_id)
        if member is None:
            return
        is_parked = member.joining is not None or member.syncing is not None
        if member.is_new or not is_parked:
            self.leave(group, member_id, turn)

    def forget_pending(self, group: Group, member_id: str, turn: Turn) -> None:
        """Wait no longer for an id that was given out (KIP-394)."""
        self.alarms.clear(("pending", group.group_id, member_id))
        group.pending.pop(member_id, None)
        self.complete_if_joined(group, turn)


def _elect_joined_leader(group: Group) -> bool:
    """Make a member that has joined the leader, if the leader has not; False if nobody has joined."""
    assert group.leader is not None
    if group.members[group.leader].joining is None:
        joined_ids = [member.member_id for member in group.members.values() if member.joining is not None]
        if not joined_ids:
            return False
        group.leader = joined_ids[0]
    return True


def joined(
    group: Group, member_id: str, *, with_members: bool, skip_assignment: bool = False
) -> JoinGroupResponse:
    """Return the answer to a join of the current generation; with_members: who leads assigns to them."""
    return JoinGroupResponse(
        generation_id=group.generation,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol,
        leader=group.leader or "",
        skip_assignment=skip_assignment,
        member_id=member_id,
        members=[_joined_member(member, group.protocol) for member in group.members.values()]
        if with_members
        else [],
    )


def _joined_member(member: Member, protocol: str | None) -> JoinGroupResponseMember:
    return JoinGroupResponseMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        metadata=member.metadata(protocol),
    )


def join_refused(code: ErrorCode, member_id: str) -> JoinGroupResponse:
    """Return the refusal of a join; "" as protocol name is what every version can say."""
    return JoinGroupResponse(error_code=code, member_id=member_id)


def synced(group: Group, member: Member) -> SyncGroupResponse:
    """Return the assignment of a member."""
    return SyncGroupResponse(
        protocol_type=group.protocol_type, protocol_name=group.protocol, assignment=member.assignment
    )


def sync_refused(code: ErrorCode) -> SyncGroupResponse:
    """Return the refusal of a sync."""
    return SyncGroupResponse(error_code=code)
