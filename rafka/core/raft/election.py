"""Elections: pre-vote, vote, and what a leader says when it begins and when it ends its epoch.

A vote is for one candidate in one epoch, and only for one whose log holds everything this log does (Raft §5.2, §5.4.1).
A replica votes whether or not its own log names it a voter: the candidate may know a newer set (KIP-853); but who
counts the votes counts only those of the voters of its own newest set. A pre-vote promises nothing, and is refused by
those whose leader answers, so a replica that was cut off does not depose anybody when it returns (KIP-996).
Source: KIP-595, KIP-853, KIP-996; Kafka's `KafkaRaftClient.handleVoteRequest`, `EpochElection`.
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft import leader
from rafka.core.raft.effects import Election
from rafka.core.raft.messages import (
    NO_LEADER,
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    VoteRequest,
    VoteResponse,
)
from rafka.core.raft.roles import (
    NEVER,
    Candidate,
    Follower,
    Leader,
    Nominee,
    Prospective,
    Unattached,
    Voted,
)
from rafka.core.raft.state import Replica

NONE = ErrorCode.NONE


# ---- voting --------------------------------------------------------------------------------------


def on_vote_request(raft: Replica, message: VoteRequest, now: int) -> None:
    """Vote, or say why not."""
    error = NONE
    if message.epoch < raft.epoch:
        error = ErrorCode.FENCED_LEADER_EPOCH
    elif message.voter != raft.key:
        error = ErrorCode.INVALID_VOTER_KEY  # meant for the directory that this one has replaced
    elif message.end_offset < 0 or not 0 <= message.last_epoch <= message.epoch:
        error = ErrorCode.INVALID_REQUEST
    granted = False
    if error is NONE:
        if message.epoch > raft.epoch:
            raft.become_unattached(message.epoch, now)
        granted = grants_pre_vote(raft, message) if message.pre_vote else grants_vote(raft, message)
        if granted and not message.pre_vote and raft.election.voted is None:
            vote(raft, message, now)
    raft.send(
        VoteResponse(
            raft.key.id,
            message.sender,
            message.correlation,
            raft.epoch,
            raft.leader_id,
            granted,
            message.pre_vote,
            error,
        )
    )


def vote(raft: Replica, message: VoteRequest, now: int) -> None:
    """Give the one vote of this epoch. The candidate has as good a chance as this replica, so it waits anew."""
    voted = Election(raft.epoch, message.candidate, NO_LEADER)
    raft.become(Voted(now + raft.election_timeout()), voted)


def is_up_to_date(raft: Replica, message: VoteRequest) -> bool:
    """Whether the candidate's log holds all that this log does (Raft §5.4.1)."""
    return (message.last_epoch, message.end_offset) >= (raft.log.last_epoch, raft.log.end_offset)


def grants_vote(raft: Replica, message: VoteRequest) -> bool:
    """Whether the candidate gets the vote of this epoch."""
    role = raft.role
    if isinstance(role, Unattached | Voted | Prospective):
        voted = raft.election.voted
        if voted is not None:
            return voted == message.candidate
        return raft.leader_id == NO_LEADER and is_up_to_date(raft, message)
    return False  # it has voted for itself, or there is a leader


def grants_pre_vote(raft: Replica, message: VoteRequest) -> bool:
    """Whether the vote would be granted: not while a leader answers this replica, or it leads itself."""
    role = raft.role
    if isinstance(role, Leader):
        return False
    if isinstance(role, Follower) and role.has_fetched and not role.is_leader_gone:
        return False
    return is_up_to_date(raft, message)


# ---- standing -------------------------------------------------------------------------------------


def stand(raft: Replica, now: int) -> None:
    """Ask whether this replica would be elected."""
    assert raft.is_voter
    role = Prospective(raft.voters, now + raft.election_timeout())
    raft.become(role, raft.election)
    role.granted[raft.key.id] = True
    ask(raft, role, now, is_pre_vote=True)
    decide(raft, role, now)


def become_candidate(raft: Replica, now: int) -> None:
    """Begin an epoch with a vote for itself; it counts, and the others are asked, once it is durable."""
    role = Candidate(raft.voters, now + raft.election_timeout())
    raft.become(role, Election(raft.epoch + 1, raft.key, NO_LEADER))
    ask(raft, role, now, is_pre_vote=False)


def ask(raft: Replica, role: Nominee, now: int, *, is_pre_vote: bool) -> None:
    """Ask every voter that has not answered."""
    role.resend_at = now + raft.settings.request_timeout_ns
    log = raft.log
    for key in role.electorate.keys:
        if key == raft.key or key.id in role.granted:
            continue
        correlation = role.waiting[key.id] = raft.next_correlation()
        raft.send(
            VoteRequest(
                raft.key.id,
                key.id,
                correlation,
                raft.epoch,
                raft.key,
                key,
                log.last_epoch,
                log.end_offset,
                is_pre_vote,
            )
        )


def on_vote_response(raft: Replica, message: VoteResponse, now: int) -> None:
    """Count an answer, if it is to what was last asked, in this epoch."""
    raft.learn(message.epoch, message.leader_id, now)
    role = raft.role
    if not isinstance(role, Prospective | Candidate) or message.epoch != raft.epoch:
        return
    if role.waiting.get(message.sender) != message.correlation:
        return
    if message.pre_vote is not isinstance(role, Prospective):
        return
    del role.waiting[message.sender]
    role.granted[message.sender] = message.granted
    decide(raft, role, now)


def own_vote_synced(raft: Replica, now: int) -> None:
    """The election file is durable: a candidate's own vote counts from now on."""
    role = raft.role
    if isinstance(role, Candidate) and raft.key.id not in role.granted:
        role.granted[raft.key.id] = True
        decide(raft, role, now)


def decide(raft: Replica, role: Prospective | Candidate, now: int) -> None:
    """See whether it is elected, or cannot be any more."""
    if isinstance(role, Prospective):
        if role.has_won:
            become_candidate(raft, now)
        elif role.has_lost:
            withdraw(raft, now)
    elif role.has_won:
        granting = tuple(voter_id for voter_id, granted in role.granted.items() if granted)
        leader.start(raft, granting, now)
    elif role.has_lost and not role.is_backing_off:
        role.is_backing_off = True
        role.resend_at = NEVER
        role.deadline = now + raft.entropy.below(raft.settings.election_backoff_max_ns)


def withdraw(raft: Replica, now: int) -> None:
    """Stand no longer: back to the leader that is known, or wait for one."""
    if raft.leader_id not in (NO_LEADER, raft.key.id):
        raft.become_follower(raft.epoch, raft.leader_id, now)
        return
    timeout = now + raft.election_timeout()
    raft.become(Unattached(timeout) if raft.election.voted is None else Voted(timeout), raft.election)


def tick(raft: Replica, role: Prospective | Candidate, now: int) -> None:
    """Ask again those who did not answer; give up at the deadline."""
    if now >= role.deadline:
        if isinstance(role, Prospective):
            withdraw(raft, now)
        elif raft.is_voter:
            stand(raft, now)
    elif now >= role.resend_at:
        ask(raft, role, now, is_pre_vote=isinstance(role, Prospective))


# ---- leaders that come and go ------------------------------------------------------------------------


def on_begin_request(raft: Replica, message: BeginQuorumEpochRequest, now: int) -> None:
    """Follow who was elected."""
    error = NONE
    if message.epoch < raft.epoch:
        error = ErrorCode.FENCED_LEADER_EPOCH
    elif message.voter != raft.key:
        error = ErrorCode.INVALID_VOTER_KEY
    else:
        raft.learn(message.epoch, message.sender, now)
        if isinstance(raft.role, Prospective) and raft.leader_id == message.sender:
            raft.become_follower(raft.epoch, message.sender, now)
    raft.send(
        BeginQuorumEpochResponse(
            raft.key.id, message.sender, message.correlation, raft.epoch, raft.leader_id, error
        )
    )


def on_end_request(raft: Replica, message: EndQuorumEpochRequest, now: int) -> None:
    """The leader goes: stand at once if it prefers this replica, else give the others their turn first (KIP-595)."""
    error = NONE
    if message.epoch < raft.epoch:
        error = ErrorCode.FENCED_LEADER_EPOCH
    else:
        raft.learn(message.epoch, message.sender, now)
        role = raft.role
        if isinstance(role, Follower) and role.leader_id == message.sender:
            role.is_leader_gone = True
            role.deadline = min(role.deadline, now + turn_of(raft, message))
    raft.send(
        EndQuorumEpochResponse(
            raft.key.id, message.sender, message.correlation, raft.epoch, raft.leader_id, error
        )
    )


def turn_of(raft: Replica, message: EndQuorumEpochRequest) -> int:
    """Return how long to wait before standing: nothing for the first, then twice as long for each that follows."""
    preferred = message.preferred_candidates
    if raft.key not in preferred:
        return raft.election_timeout()
    place = preferred.index(raft.key)
    longest = raft.settings.election_backoff_max_ns
    return 0 if place == 0 else min(longest, (longest >> (len(preferred) - 1)) << (place - 1))
