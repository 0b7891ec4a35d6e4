"""A classic group: its members, its state, and the questions that handlers ask of both.

    Empty ──join──> PreparingRebalance ──all joined, or time is up──> CompletingRebalance ──sync──> Stable
      ^                 │      ^                                           │                          │
      └──nobody left────┘      └─── a member joins, leaves, times out, or does not sync ──────────────┘

Membership is volatile: it changes when a request is decided. What a restart needs of it (generation, leader,
members and assignments) is one record per generation, from which `restored` builds a stable or an empty group.
Sources: KIP-62 (sessions), KIP-345 (static members), KIP-394 (member ids first); Kafka's ClassicGroup.
"""

from enum import Enum
from typing import Final

import attrs

from rafka.core.effects import Reply
from rafka.core.errors import ErrorCode, RemoteProtocolError
from rafka.core.message import codec
from rafka.core.stored.consumer_protocol_subscription import ConsumerProtocolSubscription
from rafka.core.stored.group_metadata_value import GroupMetadataValue, MemberMetadata
from rafka.core.types import ConnId, MonoNs

CONSUMER_PROTOCOL: Final = "consumer"


class State(Enum):
    """The states of a classic group, by the names that DescribeGroups shows."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


TRANSITIONS: Final = {
    State.EMPTY: (State.PREPARING, State.DEAD),
    State.PREPARING: (State.COMPLETING, State.EMPTY, State.DEAD),
    State.COMPLETING: (State.STABLE, State.PREPARING, State.DEAD),
    State.STABLE: (State.PREPARING, State.DEAD),
    State.DEAD: (),
}


@attrs.define(eq=False)
class Waiter:
    """Where the answer to a parked JoinGroup or SyncGroup goes."""

    conn: ConnId
    correlation: int
    version: int

    def reply(self, body: object) -> Reply:
        """Return the answer."""
        return Reply(self.conn, self.correlation, body)


@attrs.define(eq=False)
class Member:
    """One member. protocols: (name, metadata) in the order it prefers them; timeouts in ms."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: list[tuple[str, bytes]]
    assignment: bytes = b""
    joining: Waiter | None = None
    syncing: Waiter | None = None
    has_synced: bool = False
    is_new: bool = True
    """It has not been in a generation yet: it does not heartbeat while its first join is parked."""

    def metadata(self, protocol: str | None) -> bytes:
        """Return what it said with `protocol`; empty if it does not know it."""
        return next((data for name, data in self.protocols if name == protocol), b"")


@attrs.define(eq=False)
class Group:
    """One classic group of one shard. Only its shard's handlers change it."""

    group_id: str
    state: State = State.EMPTY
    protocol_type: str | None = None
    protocol: str | None = None
    generation: int = 0
    leader: str | None = None
    state_timestamp: int = -1
    """When it became what it is, wall-clock ms; -1 is unknown (an old record, or a simple group)."""
    members: dict[str, Member] = attrs.field(factory=dict)
    pending: dict[str, None] = attrs.field(factory=dict)
    """Ids given out by MEMBER_ID_REQUIRED that have not come back yet (KIP-394)."""
    instances: dict[str, str] = attrs.field(factory=dict)
    """Static members: instance id to member id (KIP-345)."""
    initial_until: MonoNs | None = None
    """While the first rebalance of an empty group waits for more members: when it ends at the latest."""
    has_newcomer: bool = False
    """A member came since the initial delay was last extended."""
    is_restored: bool = True
    """It is what its records say: no request has touched its membership."""

    def move(self, state: State, wall_ms: int) -> None:
        """Go to another state."""
        assert state in TRANSITIONS[self.state], (self.state, state)
        self.state = state
        self.state_timestamp = wall_ms

    def validate(self, member_id: str, instance_id: str | None) -> ErrorCode:
        """Say whether a request may speak for a member: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID or NONE."""
        if instance_id is not None:
            known = self.instances.get(instance_id)
            if known is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            if known != member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        return ErrorCode.NONE if member_id in self.members else ErrorCode.UNKNOWN_MEMBER_ID

    def add(self, member: Member) -> None:
        """Take a member in; the first is the leader until the rebalance is over."""
        assert member.member_id not in self.members
        self.members[member.member_id] = member
        self.pending.pop(member.member_id, None)
        if member.instance_id is not None:
            self.instances[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id

    def remove(self, member_id: str) -> Member:
        """Take a member out; if it led, the next one in order of joining leads."""
        member = self.members.pop(member_id)
        if member.instance_id is not None and self.instances.get(member.instance_id) == member_id:
            del self.instances[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        return member

    def rename(self, old_id: str, new_id: str) -> Member:
        """Give a static member that came back its new id, in its old place."""
        member = self.members[old_id]
        assert member.instance_id is not None
        self.members = {(new_id if known == old_id else known): kept for known, kept in self.members.items()}
        member.member_id = new_id
        self.instances[member.instance_id] = new_id
        if self.leader == old_id:
            self.leader = new_id
        return member

    def common_protocols(self) -> list[str]:
        """Return the protocols that every member knows, in the order of the first member."""
        members = list(self.members.values())
        if not members:
            return []
        known = [{name for name, _ in member.protocols} for member in members]
        return [name for name, _ in members[0].protocols if all(name in names for names in known)]

    def selected_protocol(self) -> str:
        """Return the common protocol with most votes; each member votes for its first."""
        common = self.common_protocols()
        assert common, "a member without a common protocol is not let in"
        votes = dict.fromkeys(common, 0)
        for member in self.members.values():
            votes[next(name for name, _ in member.protocols if name in votes)] += 1
        return max(common, key=votes.__getitem__)

    def supports(self, protocol_type: str, names: list[str], except_for: str) -> bool:
        """Whether a member with these protocols could be in the group; except_for: its own id."""
        others = [member for known, member in self.members.items() if known != except_for]
        if not others or self.state is State.EMPTY:
            return protocol_type != "" and names != []
        if protocol_type != self.protocol_type:
            return False
        return any(all(any(n == name for n, _ in m.protocols) for m in others) for name in names)

    def rebalance_timeout_ms(self) -> int:
        """Return how long the slowest member may take to join again."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def has_all_joined(self) -> bool:
        """Whether nobody is missing from the join under way."""
        return not self.pending and all(member.joining is not None for member in self.members.values())

    def subscribed_topics(self) -> list[str] | None:
        """Return the topics its members consume; None if that cannot be known."""
        if self.protocol_type != CONSUMER_PROTOCOL:
            return None
        topics: dict[str, None] = {}
        for member in self.members.values():
            subscription = member.metadata(self.protocol)
            try:
                parsed, _ = codec(ConsumerProtocolSubscription, 0).decode(subscription, 2)
            except RemoteProtocolError:
                return None
            topics.update(dict.fromkeys(parsed.topics))
        return list(topics)

    def stored(self) -> GroupMetadataValue:
        """Return what a restart needs to know of this generation."""
        return GroupMetadataValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            current_state_timestamp=self.state_timestamp,
            members=[_stored_member(member, self.protocol) for member in self.members.values()],
        )

    def check(self) -> None:
        """Assert all invariants."""
        assert self.leader is None or self.leader in self.members
        assert (self.leader is None) == (not self.members)
        for instance_id, member_id in self.instances.items():
            assert self.members[member_id].instance_id == instance_id
        if self.state in (State.EMPTY, State.DEAD):
            assert not self.members
        if self.state is not State.PREPARING:
            assert all(member.joining is None for member in self.members.values())
        if self.state is not State.COMPLETING:
            assert all(member.syncing is None for member in self.members.values())


def restored(group_id: str, stored: GroupMetadataValue) -> Group:
    """Build a group from its record: stable with the members that it names, or empty."""
    group = Group(
        group_id=group_id,
        state=State.STABLE if stored.members else State.EMPTY,
        protocol_type=stored.protocol_type or None,
        protocol=stored.protocol if stored.members else None,
        generation=stored.generation,
        state_timestamp=stored.current_state_timestamp,
    )
    for row in stored.members:
        group.add(_restored_member(row, stored.protocol or ""))
    if stored.leader in group.members:
        group.leader = stored.leader
    return group


def _stored_member(member: Member, protocol: str | None) -> MemberMetadata:
    return MemberMetadata(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout=member.rebalance_timeout_ms,
        session_timeout=member.session_timeout_ms,
        subscription=member.metadata(protocol),
        assignment=member.assignment,
    )


def _restored_member(row: MemberMetadata, protocol: str) -> Member:
    # Version 0 of the record has no rebalance timeout: the session's was used then.
    rebalance = row.session_timeout if row.rebalance_timeout == -1 else row.rebalance_timeout
    return Member(
        member_id=row.member_id,
        instance_id=row.group_instance_id,
        client_id=row.client_id,
        client_host=row.client_host,
        session_timeout_ms=row.session_timeout,
        rebalance_timeout_ms=rebalance,
        protocols=[(protocol, row.subscription)],
        assignment=row.assignment,
        has_synced=True,
        is_new=False,
    )
