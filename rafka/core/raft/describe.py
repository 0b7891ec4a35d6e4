"""What an operator sees of the quorum: DescribeQuorum (KIP-595, KIP-836, KIP-853)."""

from rafka.core.raft.messages import UNKNOWN_OFFSET
from rafka.core.raft.roles import Leader, Progress
from rafka.core.raft.state import Replica
from rafka.core.raft.voters import ReplicaKey, Voter
from rafka.core.shape import value


@value
class ReplicaState:
    """One replica, as the leader knows it. Ages in nanoseconds; -1: never."""

    key: ReplicaKey
    log_end_offset: int
    fetch_age_ns: int
    caught_up_age_ns: int


@value
class Quorum:
    """The quorum. high_watermark: -1 until the leader has committed in its epoch."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    voters: tuple[ReplicaState, ...]
    observers: tuple[ReplicaState, ...]
    nodes: tuple[Voter, ...]


def describe(raft: Replica, now: int) -> Quorum | None:
    """Return what the leader knows of everybody; None if this replica does not lead."""
    role = raft.role
    if not isinstance(role, Leader):
        return None
    own = ReplicaState(raft.key, raft.log.end_offset, 0, 0)
    voters = [state_of(one, now) for one in role.voters.values()]
    observers = [state_of(one, now) for one in role.observers.values()]
    (voters if role.is_voter else observers).append(own)
    return Quorum(
        raft.key.id,
        raft.epoch,
        role.high_watermark,
        tuple(sorted(voters, key=_key)),
        tuple(sorted(observers, key=_key)),
        tuple(raft.voters.voters.values()),
    )


def state_of(progress: Progress, now: int) -> ReplicaState:
    """Return what is known of one replica."""
    if progress.end_offset == UNKNOWN_OFFSET:
        return ReplicaState(progress.key, UNKNOWN_OFFSET, _age(progress.fetched_at, now), -1)
    return ReplicaState(
        progress.key,
        progress.end_offset,
        _age(progress.fetched_at, now),
        _age(progress.caught_up_at, now),
    )


def _age(at: int, now: int) -> int:
    return now - at if at else -1


def _key(state: ReplicaState) -> ReplicaKey:
    return state.key
