"""Changing who votes, one voter at a time, while the quorum works (KIP-853).

A change is a record with the new voter set. It counts from the moment it is appended; the next one must wait until it
is committed, and none may begin before the leader has committed in its own epoch: otherwise two leaders could each
change the set of the other, and their majorities need not meet (Ongaro's note of 2015 on the dissertation's §4.1).
Source: KIP-853; Kafka's `AddVoterHandler`, `RemoveVoterHandler`, `UpdateVoterHandler`.
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft import leader
from rafka.core.raft.batch import VOTERS
from rafka.core.raft.messages import UNKNOWN_OFFSET, UpdateVoterRequest, UpdateVoterResponse
from rafka.core.raft.roles import Change, Leader
from rafka.core.raft.state import Replica
from rafka.core.raft.voters import ReplicaKey, Voter, VoterSet

NONE = ErrorCode.NONE


def add(raft: Replica, voter: Voter, ticket: int, now: int) -> None:
    """Let a replica vote. It must have been at the log's end lately, so that the majority does not wait for it.

    Refused: NOT_LEADER_OR_FOLLOWER; REQUEST_TIMED_OUT (try again: a change is under way, the leader is new, or the
    replica lags); DUPLICATE_VOTER (the id votes already, from this or another directory).
    """
    error = not_now(raft)
    if error is NONE and voter.key.id in raft.voters.voters:
        error = ErrorCode.DUPLICATE_VOTER
    if error is NONE and not is_caught_up(raft, voter.key, now):
        error = ErrorCode.REQUEST_TIMED_OUT
    if error is not NONE:
        raft.answer(ticket, error)
        return
    change(raft, raft.voters.adding(voter), now, ticket)


def remove(raft: Replica, key: ReplicaKey, ticket: int, now: int) -> None:
    """Let a replica vote no longer. A leader that removes itself leads until that is committed.

    Refused: as `add`; VOTER_NOT_FOUND; INVALID_REQUEST for the last one.
    """
    error = not_now(raft)
    if error is NONE and not raft.voters.has(key):
        error = ErrorCode.VOTER_NOT_FOUND
    if error is NONE and len(raft.voters) == 1:
        error = ErrorCode.INVALID_REQUEST
    if error is not NONE:
        raft.answer(ticket, error)
        return
    change(raft, raft.voters.removing(key), now, ticket)
    role = raft.role
    assert isinstance(role, Leader)
    leader.advance(raft, role, now)  # with fewer voters, what there is may be enough


def on_update_request(raft: Replica, message: UpdateVoterRequest, now: int) -> None:
    """A voter listens elsewhere, or knows other levels of kraft.version: the set says so from now on."""
    error = leader.refusal(raft, message.epoch)
    if error is NONE:
        error = not_now(raft)
    if error is NONE and not raft.voters.has(message.voter.key):
        error = ErrorCode.VOTER_NOT_FOUND
    if error is NONE and not message.voter.endpoints:
        error = ErrorCode.INVALID_REQUEST
    if error is NONE and raft.voters.voters[message.voter.key.id] != message.voter:
        change(raft, raft.voters.updating(message.voter), now, 0, (message.sender, message.correlation))
        role = raft.role
        assert isinstance(role, Leader)
        leader.advance(raft, role, now)
        return
    raft.send(
        UpdateVoterResponse(
            raft.key.id, message.sender, message.correlation, raft.epoch, raft.leader_id, error
        )
    )


def on_update_response(raft: Replica, message: UpdateVoterResponse, now: int) -> None:
    """Take the epoch that it names; whether to ask again is the caller's to see, by the voter set."""
    raft.learn(message.epoch, message.leader_id, now)


def not_now(raft: Replica) -> ErrorCode:
    """Say why the voters cannot be changed now; NONE if they can."""
    role = raft.role
    if not isinstance(role, Leader):
        return ErrorCode.NOT_LEADER_OR_FOLLOWER
    if role.high_watermark == UNKNOWN_OFFSET or raft.log.voters.latest_offset >= role.high_watermark:
        return ErrorCode.REQUEST_TIMED_OUT
    assert role.change is None, "its record would not be committed"
    return NONE


def is_caught_up(raft: Replica, key: ReplicaKey, now: int) -> bool:
    """Whether a replica has been at the log's end lately, and still fetches."""
    role = raft.role
    assert isinstance(role, Leader)
    progress = role.observers.get(key)
    if progress is None or progress.caught_up_at == 0:
        return False
    return now - progress.fetched_at < raft.settings.caught_up_ns


def change(
    raft: Replica, voters: VoterSet, now: int, ticket: int, request: tuple[int, int] | None = None
) -> None:
    """Append the new set and go by it."""
    role = raft.role
    assert isinstance(role, Leader)
    assert raft.voters.overlaps(voters), "majorities of sets that follow one another meet"
    batch = leader.append(raft, role, VOTERS, voters)
    role.change = Change(ticket, batch.end_offset, request)
    leader.follow_voters(raft, role, now)
