"""JoinGroup: who may join, as whom, and what that does to the group.

The order of the checks is Kafka's, because clients act on the first error they see. Versions: 0 has no rebalance
timeout (the session's counts); 4 and up must join with an id that the coordinator gave out (KIP-394); 5 and up may
be static (KIP-345); 9 can be told to skip the assignment (KIP-814). A static member that comes back into a stable
group takes its old place without a rebalance if that changes no protocol. Source: Kafka's GroupMetadataManager.
"""

from rafka.core.api.join_group_request import JoinGroupRequest
from rafka.core.coordinator.group.classic import Group, Member, State, Waiter
from rafka.core.coordinator.group.rebalance import (
    NEW_MEMBER_JOIN_TIMEOUT_MS,
    Rounds,
    Turn,
    join_refused,
    joined,
    sync_refused,
)
from rafka.core.coordinator.group.records import group_row
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested
from rafka.core.shape import value


@value
class Join:
    """One JoinGroup under way. fresh_id: the id to give if it needs one."""

    group: Group
    request: JoinGroupRequest
    event: Requested
    client_host: str
    fresh_id: str

    def waiter(self) -> Waiter:
        """Return where its answer goes."""
        return Waiter(self.event.conn, self.event.correlation, self.event.api_version)

    def protocols(self) -> list[tuple[str, bytes]]:
        """Return what the member can speak, best first; copied, because the request's bytes are a view."""
        return [(protocol.name, bytes(protocol.metadata)) for protocol in self.request.protocols]

    def rebalance_timeout_ms(self) -> int:
        """Return how long it may take to join again."""
        given = self.request.rebalance_timeout_ms
        return self.request.session_timeout_ms if given == -1 else given


def on_join(rounds: Rounds, join: Join, turn: Turn) -> None:
    """Park a join, answer it, or refuse it. The group exists, and group id and session timeout are valid."""
    group, request = join.group, join.request
    group.is_restored = False
    names = [protocol.name for protocol in request.protocols]
    if not _has_room(group, request.member_id, rounds.settings.group_max_size):
        _refuse(join, ErrorCode.GROUP_MAX_SIZE_REACHED, turn, member_id="")
    elif not group.supports(request.protocol_type, names, _own_id(group, request)):
        _refuse(join, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, turn)
    elif request.member_id == "":
        _join_unknown(rounds, join, turn)
    elif request.member_id in group.pending and request.group_instance_id is None:
        rounds.alarms.clear(("pending", group.group_id, request.member_id))
        _add(rounds, join, request.member_id, turn)
    else:
        code = group.validate(request.member_id, request.group_instance_id)
        if code is not ErrorCode.NONE:
            _refuse(join, code, turn)
        else:
            _join_again(rounds, join, turn)


def _own_id(group: Group, request: JoinGroupRequest) -> str:
    if request.member_id == "" and request.group_instance_id is not None:
        return group.instances.get(request.group_instance_id, "")
    return request.member_id


def _has_room(group: Group, member_id: str, size_max: int) -> bool:
    if group.state is State.EMPTY:
        return size_max > 0
    if group.state is State.PREPARING:
        waiting = [member for member in group.members.values() if member.joining is not None]
        return any(member.member_id == member_id for member in waiting) or len(waiting) < size_max
    return member_id in group.members or len(group.members) < size_max


def _join_unknown(rounds: Rounds, join: Join, turn: Turn) -> None:
    group, instance_id = join.group, join.request.group_instance_id
    if instance_id is not None and instance_id in group.instances:
        _replace_static(rounds, join, group.instances[instance_id], turn)
    elif instance_id is None and join.event.api_version >= 4:
        group.pending[join.fresh_id] = None
        timeout_ms = join.request.session_timeout_ms
        rounds.alarms.set(("pending", group.group_id, join.fresh_id), turn.after(timeout_ms))
        _refuse(join, ErrorCode.MEMBER_ID_REQUIRED, turn, member_id=join.fresh_id)
    else:
        _add(rounds, join, join.fresh_id, turn)


def _add(rounds: Rounds, join: Join, member_id: str, turn: Turn) -> None:
    group, request = join.group, join.request
    if not group.members:
        group.protocol_type = request.protocol_type
    member = Member(
        member_id=member_id,
        instance_id=request.group_instance_id,
        client_id=join.event.client_id or "",
        client_host=join.client_host,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=join.rebalance_timeout_ms(),
        protocols=join.protocols(),
        joining=join.waiter(),
    )
    group.add(member)
    group.has_newcomer = True
    rounds.alarms.set(("session", group.group_id, member_id), turn.after(NEW_MEMBER_JOIN_TIMEOUT_MS))
    _rebalance(rounds, group, turn)


def _join_again(rounds: Rounds, join: Join, turn: Turn) -> None:
    group, member = join.group, join.group.members[join.request.member_id]
    is_same = member.protocols == join.protocols()
    is_leader = group.leader == member.member_id
    if group.state is State.COMPLETING and is_same:
        # It missed the answer: the same one again.
        turn.replies.append(join.waiter().reply(joined(group, member.member_id, with_members=is_leader)))
    elif group.state is State.STABLE and is_same and not is_leader:
        turn.replies.append(join.waiter().reply(joined(group, member.member_id, with_members=False)))
    else:
        _update(rounds, join, member, turn)
        _rebalance(rounds, group, turn)


def _update(rounds: Rounds, join: Join, member: Member, turn: Turn) -> None:
    if member.joining is not None:
        # The client asked again, on this or a new connection: one of its joins is enough.
        turn.replies.append(member.joining.reply(join_refused(ErrorCode.UNKNOWN_MEMBER_ID, member.member_id)))
    member.joining = join.waiter()
    _renew(join, member)
    if not member.is_new:
        rounds.alarms.clear(("session", join.group.group_id, member.member_id))


def _renew(join: Join, member: Member) -> None:
    member.protocols = join.protocols()
    member.session_timeout_ms = join.request.session_timeout_ms
    member.rebalance_timeout_ms = join.rebalance_timeout_ms()
    member.client_id = join.event.client_id or ""
    member.client_host = join.client_host


def _rebalance(rounds: Rounds, group: Group, turn: Turn) -> None:
    if group.state is State.PREPARING:
        rounds.complete_if_joined(group, turn)
    else:
        rounds.begin(group, turn)


def _replace_static(rounds: Rounds, join: Join, old_id: str, turn: Turn) -> None:
    """Let a static member that restarted take its old place; its old self is fenced (KIP-345)."""
    group = join.group
    old_leader = group.leader or ""
    rounds.alarms.clear(("session", group.group_id, old_id))
    member = group.rename(old_id, join.fresh_id)
    if member.joining is not None:
        turn.replies.append(member.joining.reply(join_refused(ErrorCode.FENCED_INSTANCE_ID, old_id)))
        member.joining = None
    if member.syncing is not None:
        turn.replies.append(member.syncing.reply(sync_refused(ErrorCode.FENCED_INSTANCE_ID)))
        member.syncing = None
    _renew(join, member)
    if group.state is State.STABLE and group.selected_protocol() == group.protocol:
        _keep_place(rounds, join, member, old_leader, turn)
        return
    member.joining = join.waiter()
    member.is_new = False
    _rebalance(rounds, group, turn)


def _keep_place(rounds: Rounds, join: Join, member: Member, old_leader: str, turn: Turn) -> None:
    group = join.group
    turn.rows.append(group_row(group.group_id, group.stored()))
    rounds.start_session(group, member, turn)
    is_leader = group.leader == member.member_id
    can_skip = join.event.api_version >= 9
    body = joined(
        group, member.member_id, with_members=is_leader and can_skip, skip_assignment=is_leader and can_skip
    )
    if not can_skip:
        # A client that cannot skip the assignment must not take itself for the leader (KIP-814).
        body.leader = old_leader
    turn.replies.append(join.waiter().reply(body))


def _refuse(join: Join, code: ErrorCode, turn: Turn, *, member_id: str | None = None) -> None:
    shown = join.request.member_id if member_id is None else member_id
    turn.replies.append(join.waiter().reply(join_refused(code, shown)))
