"""SyncGroup, Heartbeat and LeaveGroup: what a member of a generation says. Source: Kafka's GroupMetadataManager."""

from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.leave_group_request import LeaveGroupRequest, MemberIdentity
from rafka.core.api.leave_group_response import LeaveGroupResponse, MemberResponse
from rafka.core.api.sync_group_request import SyncGroupRequest
from rafka.core.coordinator.group.classic import Group, State, Waiter
from rafka.core.coordinator.group.rebalance import Rounds, Turn, sync_refused, synced
from rafka.core.errors import ErrorCode


def on_sync(
    rounds: Rounds, group: Group | None, request: SyncGroupRequest, waiter: Waiter, turn: Turn
) -> None:
    """Park a follower until the leader has assigned; take the leader's assignment; or say it again."""
    code = _refusal_of_sync(group, request)
    if group is None or code is not ErrorCode.NONE:
        turn.replies.append(waiter.reply(sync_refused(code)))
        return
    group.is_restored = False
    member = group.members[request.member_id]
    member.has_synced = True
    if group.state is State.STABLE:
        turn.replies.append(waiter.reply(synced(group, member)))
        rounds.start_session(group, member, turn)
        rounds.note_synced(group)
        return
    if member.syncing is not None:
        turn.replies.append(member.syncing.reply(sync_refused(ErrorCode.UNKNOWN_MEMBER_ID)))
    member.syncing = waiter
    rounds.alarms.clear(("session", group.group_id, member.member_id))
    if member.member_id == group.leader:
        given = {assigned.member_id: bytes(assigned.assignment) for assigned in request.assignments}
        rounds.assign(group, given, turn)


def _refusal_of_sync(group: Group | None, request: SyncGroupRequest) -> ErrorCode:
    if group is None:
        return ErrorCode.UNKNOWN_MEMBER_ID
    code = group.validate(request.member_id, request.group_instance_id)
    if code is not ErrorCode.NONE:
        return code
    if request.generation_id != group.generation:
        return ErrorCode.ILLEGAL_GENERATION
    if request.protocol_type not in (None, group.protocol_type):
        return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    if request.protocol_name not in (None, group.protocol):
        return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    return ErrorCode.REBALANCE_IN_PROGRESS if group.state is State.PREPARING else ErrorCode.NONE


def on_heartbeat(rounds: Rounds, group: Group | None, request: HeartbeatRequest, turn: Turn) -> ErrorCode:
    """Keep a session alive; REBALANCE_IN_PROGRESS calls the member to join again."""
    if group is None:
        return ErrorCode.UNKNOWN_MEMBER_ID
    code = group.validate(request.member_id, request.group_instance_id)
    if code is not ErrorCode.NONE:
        return code
    if request.generation_id != group.generation:
        return ErrorCode.ILLEGAL_GENERATION
    rounds.start_session(group, group.members[request.member_id], turn)
    return ErrorCode.REBALANCE_IN_PROGRESS if group.state is State.PREPARING else ErrorCode.NONE


def on_leave(
    rounds: Rounds, group: Group | None, request: LeaveGroupRequest, version: int, turn: Turn
) -> LeaveGroupResponse:
    """Remove members; up to version 2 there is one, and its error is the whole answer's."""
    if group is None and version < 3:
        return LeaveGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    if group is not None:
        group.is_restored = False
    if group is not None and version < 3:
        return LeaveGroupResponse(
            error_code=_leave(rounds, group, MemberIdentity(member_id=request.member_id), turn)
        )
    return LeaveGroupResponse(
        members=[
            MemberResponse(
                member_id=identity.member_id,
                group_instance_id=identity.group_instance_id,
                error_code=_leave(rounds, group, identity, turn),
            )
            for identity in request.members
        ]
    )


def _leave(rounds: Rounds, group: Group | None, identity: MemberIdentity, turn: Turn) -> ErrorCode:
    if group is None:
        return ErrorCode.UNKNOWN_MEMBER_ID
    member_id, instance_id = identity.member_id, identity.group_instance_id
    if member_id == "" and instance_id is not None:
        # An administrator removes a static member by its instance id alone.
        member_id = group.instances.get(instance_id, "")
    elif member_id in group.pending:
        if instance_id is not None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        rounds.forget_pending(group, member_id, turn)
        return ErrorCode.NONE
    code = group.validate(member_id, instance_id)
    if code is ErrorCode.NONE:
        rounds.leave(group, member_id, turn)
    return code
