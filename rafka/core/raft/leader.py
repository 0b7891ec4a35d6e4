"""Leading: append, answer fetches, count who has what, and notice when nobody follows any more.

Only this file raises the high watermark of a leader. It is the largest offset that a majority of the newest voters has
durably, the leader counting itself, if it is a voter, up to where its own log is synced; and it is not known before a
record of the leader's own epoch is committed (Raft §5.4.2; KIP-595; KAFKA-12619).
Source: Kafka's `LeaderState`, `KafkaRaftClient.handleFetchRequest`; KAFKA-15489 (check-quorum); KIP-1166.
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft.batch import DATA, LEADER_CHANGE, NO_OP, VOTERS, Batch, Content, LeaderChange
from rafka.core.raft.effects import Election
from rafka.core.raft.log import RaftLog
from rafka.core.raft.messages import (
    UNKNOWN_OFFSET,
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    SnapshotId,
    UpdateVoterResponse,
)
from rafka.core.raft.roles import NEVER, Leader, Progress, Resigned
from rafka.core.raft.state import Replica
from rafka.core.raft.voters import NO_OFFSET, ReplicaKey, majority_offset

NONE = ErrorCode.NONE
OBSERVERS_MAX = 10_000
"""How many replicas that do not vote a leader remembers; more are served, and not known to it."""


# ---- beginning and ending ------------------------------------------------------------------------


def start(raft: Replica, granting: tuple[int, ...], now: int) -> None:
    """Lead: the epoch begins with a record of its own, and voters that only the format knows become a record."""
    voters = raft.voters
    others = {key.id: Progress(key) for key in voters.keys if key != raft.key}
    role = Leader(raft.log.end_offset, others, is_voter=voters.has(raft.key), begin_at=now)
    role.deadline = now + check_quorum_ns(raft)
    raft.become(role, Election(raft.epoch, raft.election.voted, raft.key.id))
    change = LeaderChange(raft.key.id, tuple(voters.voters), granting)
    append(raft, role, LEADER_CHANGE, change)
    if raft.log.voters.latest_offset == NO_OFFSET and raft.log.snapshot is None:
        append(raft, role, VOTERS, voters)


def append(raft: Replica, role: Leader, kind: int, content: Content, count: int = 1) -> Batch:
    """Append a batch of this epoch; parked fetches will have it."""
    base = raft.log.end_offset
    batch = Batch(base, base + count, raft.election.epoch, kind, content)
    raft.log.append(batch)
    role.has_news = True
    return batch


def propose(raft: Replica, content: Content, count: int, ticket: int) -> None:
    """Append records of the state machine; the ticket is answered when they are committed, or cannot be known to be."""
    role = raft.role
    if not isinstance(role, Leader):
        raft.answer(ticket, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    elif len(role.waiters) >= raft.settings.waiting_max:
        raft.answer(ticket, ErrorCode.REQUEST_TIMED_OUT)
    else:
        batch = append(raft, role, DATA, content, count)
        role.waiters.wait(batch.end_offset, ticket)


def read(raft: Replica, ticket: int) -> None:
    """Answer when everything that was committed before now is applied, and this replica still led after the question.

    A record of its own proves both (Raft dissertation §6.4; a pull-based leader cannot date its followers' fetches).
    Reads of one turn share it.
    """
    role = raft.role
    if not isinstance(role, Leader):
        raft.answer(ticket, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return
    if len(role.waiters) >= raft.settings.waiting_max:
        raft.answer(ticket, ErrorCode.REQUEST_TIMED_OUT)
        return
    if raft.log.handed_offset == raft.log.end_offset:  # otherwise a record of this turn serves
        append(raft, role, NO_OP, None)
    role.waiters.wait(raft.log.end_offset, ticket)


def resign(raft: Replica, now: int, successor: ReplicaKey | None = None) -> None:
    """Lead no longer; who has most of the log should stand first, or whom the caller prefers."""
    role = raft.role
    if not isinstance(role, Leader):
        return
    others = sorted(role.voters.values(), key=lambda one: (one.key != successor, -one.end_offset, one.key))
    raft.become_resigned(now, tuple(one.key for one in others))


# ---- counting ------------------------------------------------------------------------------------


def advance(raft: Replica, role: Leader, now: int) -> None:
    """Raise the high watermark to what a majority has, and tell whoever waited for it."""
    offsets = [one.end_offset for one in role.voters.values()]
    if role.is_voter:
        offsets.append(raft.log.durable_offset)
    reached = majority_offset(offsets)
    if reached <= role.start_offset or reached <= role.high_watermark or reached < raft.high_watermark:
        return
    role.high_watermark = reached
    role.has_news = True
    raft.commit(reached)
    for ticket in role.waiters.reach(reached):
        raft.answer(ticket, NONE, reached)
    if role.change is not None and role.change.end_offset <= reached:
        finish_change(raft, role, now)


def finish_change(raft: Replica, role: Leader, now: int) -> None:
    """A new voter set is committed: say so; one that is not in it has done its last duty (KIP-853)."""
    change, role.change = role.change, None
    assert change is not None
    if change.request is None:
        raft.answer(change.ticket, NONE, change.end_offset)
    else:
        sender, correlation = change.request
        raft.send(UpdateVoterResponse(raft.key.id, sender, correlation, raft.epoch, raft.key.id, NONE))
    if not role.is_voter:
        resign(raft, now)


def follow_voters(raft: Replica, role: Leader, now: int) -> None:
    """Let progress be that of the newest voters, who have time to fetch now; who is none any more is an observer."""
    voters = raft.voters
    known = {**{one.key: one for one in role.voters.values()}, **role.observers}
    role.voters = {key.id: known.get(key) or Progress(key) for key in voters.keys if key != raft.key}
    role.observers = {key: one for key, one in known.items() if not voters.has(key)}
    role.fetched.clear()
    role.deadline = now + check_quorum_ns(raft)
    role.is_voter = voters.has(raft.key)


def check_quorum_ns(raft: Replica) -> int:
    """Return how long it leads without fetches of a majority: one and a half fetch timeouts."""
    return raft.settings.fetch_timeout_ns * 3 // 2


def heard_from(raft: Replica, role: Leader, progress: Progress, now: int) -> None:
    """Take note that a replica fetches; a majority of the voters keeps the leader in office."""
    progress.fetched_at = now
    progress.has_acknowledged = True
    voter_id = progress.key.id
    if role.voters.get(voter_id) is not progress:
        return
    role.fetched[voter_id] = True
    if len(role.fetched) >= raft.voters.majority - role.is_voter:
        role.fetched.clear()
        role.deadline = now + check_quorum_ns(raft)


def progress_of(role: Leader, key: ReplicaKey) -> Progress:
    """Return what is known of a replica. A voter's id with another directory is somebody else."""
    progress = role.voters.get(key.id)
    if progress is not None and progress.key == key:
        return progress
    progress = role.observers.get(key)
    if progress is None:
        progress = Progress(key)
        if len(role.observers) < OBSERVERS_MAX:
            role.observers[key] = progress
    return progress


# ---- answering fetches ----------------------------------------------------------------------------


def on_fetch_request(raft: Replica, message: FetchRequest, now: int) -> None:
    """Answer a fetch, or park it until there is something to say. Its offset counts as acknowledged, if it fits."""
    role = raft.role
    error = refusal(raft, message.epoch)
    if error is not NONE:
        refuse_fetch(raft, message, error)
        return
    assert isinstance(role, Leader)
    log = raft.log
    progress = progress_of(role, message.replica)
    heard_from(raft, role, progress, now)
    found = place_of(log, message.fetch_offset, message.last_epoch)
    if isinstance(found, ErrorCode):
        refuse_fetch(raft, message, found)
    elif found is not None:
        answer_fetch(raft, role, message, *found)
    else:
        acknowledge(raft, role, progress, message.fetch_offset, now)
        if raft.role is role and not try_answer(raft, role, message):
            progress.parked = message
            progress.parked_until = now + message.max_wait_ns


def refusal(raft: Replica, epoch: int) -> ErrorCode:
    """Say why a request to the leader of `epoch` is not for this replica; NONE if it is."""
    if epoch < raft.election.epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    if epoch > raft.election.epoch:
        return ErrorCode.UNKNOWN_LEADER_EPOCH
    return NONE if isinstance(raft.role, Leader) else ErrorCode.NOT_LEADER_OR_FOLLOWER


def place_of(
    log: RaftLog, offset: int, epoch: int
) -> ErrorCode | tuple[tuple[int, int] | None, SnapshotId | None] | None:
    """Say whether a log that ends at `offset`, with a record of `epoch`, is the beginning of this one: None.

    Otherwise where the two may part, or which snapshot to fetch, because what follows is gone (KIP-595, KIP-630).
    """
    if log.start_offset > 0:
        snapshot = log.snapshot
        assert snapshot is not None
        if offset < log.start_offset or epoch < snapshot.id.epoch:
            return None, snapshot.id
    own_epoch, own_end = log.end_of_epoch(epoch)
    if own_epoch != epoch or own_end < offset:
        return (own_epoch, own_end), None
    return None if log.is_batch_end(offset) else ErrorCode.INVALID_REQUEST


def acknowledge(raft: Replica, role: Leader, progress: Progress, offset: int, now: int) -> None:
    """Count what a replica has. An older fetch that comes late takes nothing back."""
    end_offset = raft.log.end_offset
    if offset >= end_offset:
        progress.caught_up_at = now
    elif progress.end_when_fetched and offset >= progress.end_when_fetched:
        progress.caught_up_at = max(progress.caught_up_at, progress.fetched_at)
    progress.end_when_fetched = end_offset
    if offset > progress.end_offset:
        progress.end_offset = offset
        if role.voters.get(progress.key.id) is progress:
            advance(raft, role, now)


def try_answer(raft: Replica, role: Leader, message: FetchRequest) -> bool:
    """Answer a fetch if there is something: records, or a high watermark that its sender does not know."""
    log = raft.log
    if message.fetch_offset >= log.end_offset and (
        role.high_watermark <= message.high_watermark and message.max_wait_ns > 0
    ):
        return False
    if message.fetch_offset < log.start_offset:  # a snapshot has taken its place meanwhile
        assert log.snapshot is not None
        answer_fetch(raft, role, message, None, log.snapshot.id)
    else:
        answer_fetch(raft, role, message, None, None)
    return True


def answer_fetch(
    raft: Replica,
    role: Leader,
    message: FetchRequest,
    diverging: tuple[int, int] | None,
    snapshot: SnapshotId | None,
) -> None:
    """Send what follows on the fetch offset, or why nothing can."""
    batches: tuple[Batch, ...] = ()
    if diverging is None and snapshot is None:
        batches = raft.log.read(message.fetch_offset, raft.settings.fetch_batches_max)
    raft.send(
        FetchResponse(
            raft.key.id,
            message.sender,
            message.correlation,
            raft.election.epoch,
            raft.key.id,
            message.fetch_offset,
            batches,
            role.high_watermark,
            diverging,
            snapshot,
        )
    )


def refuse_fetch(raft: Replica, message: FetchRequest, error: ErrorCode) -> None:
    """Say who leads instead, as far as is known."""
    raft.send(
        FetchResponse(
            raft.key.id,
            message.sender,
            message.correlation,
            raft.election.epoch,
            raft.leader_id,
            message.fetch_offset,
            (),
            UNKNOWN_OFFSET,
            error=error,
        )
    )


def settle(raft: Replica, role: Leader, now: int) -> None:
    """Look at parked fetches: all of them once there is news, else those that have waited long enough."""
    for one in (*role.voters.values(), *role.observers.values()):
        message = one.parked
        if message is None:
            continue
        if now >= one.parked_until:
            one.parked = None
            answer_fetch(raft, role, message, None, None)
        elif role.has_news and try_answer(raft, role, message):
            one.parked = None
    role.has_news = False


# ---- keeping in office -----------------------------------------------------------------------------


def tick(raft: Replica, role: Leader, now: int) -> None:
    """Resign if no majority has fetched; tell voters that do not fetch who leads; forget observers that went."""
    if now >= quorum_deadline(raft, role):
        raft.note("no majority fetches: resigning", raft.epoch)
        resign(raft, now)
        return
    if now >= role.begin_at:
        role.begin_at = now + raft.settings.fetch_timeout_ns // 2
        for one in role.voters.values():
            if not one.has_acknowledged or now - one.fetched_at >= raft.settings.fetch_timeout_ns:
                one.begin_correlation = raft.next_correlation()
                raft.send(
                    BeginQuorumEpochRequest(
                        raft.key.id, one.key.id, one.begin_correlation, raft.epoch, one.key
                    )
                )
        session_ns = raft.settings.observer_session_ns
        role.observers = {
            key: one for key, one in role.observers.items() if now - one.fetched_at < session_ns
        }


def quorum_deadline(raft: Replica, role: Leader) -> int:
    """Say when it resigns; a leader that is a majority by itself never does (KAFKA-16144)."""
    return role.deadline if raft.voters.majority - role.is_voter > 0 else NEVER


def deadline(raft: Replica, role: Leader) -> int:
    """Say when the leader has something to do."""
    if role.has_news:
        return 0
    first = min(role.begin_at, quorum_deadline(raft, role))
    for one in role.voters.values():
        if one.parked is not None and one.parked_until < first:
            first = one.parked_until
    for one in role.observers.values():
        if one.parked is not None and one.parked_until < first:
            first = one.parked_until
    return first


def on_begin_response(raft: Replica, message: BeginQuorumEpochResponse, now: int) -> None:
    """A voter knows that this replica leads; it will fetch."""
    raft.learn(message.epoch, message.leader_id, now)
    role = raft.role
    if isinstance(role, Leader) and message.epoch == raft.epoch and message.error is NONE:
        progress = role.voters.get(message.sender)
        if progress is not None and progress.begin_correlation == message.correlation:
            progress.has_acknowledged = True


# ---- having resigned ---------------------------------------------------------------------------------


def tick_resigned(raft: Replica, role: Resigned, now: int) -> None:
    """Tell the voters again; after the election timeout leave the epoch, in which nothing is left to do."""
    if now >= role.deadline:
        raft.become_unattached(raft.epoch + 1, now)
        return
    if now >= role.resend_at and role.waiting:
        role.resend_at = now + raft.settings.request_timeout_ns
        for voter_id in role.waiting:
            role.waiting[voter_id] = raft.next_correlation()
            raft.send(
                EndQuorumEpochRequest(
                    raft.key.id, voter_id, role.waiting[voter_id], raft.epoch, role.preferred
                )
            )


def on_end_response(raft: Replica, message: EndQuorumEpochResponse, now: int) -> None:
    """A voter knows that this replica leads no more."""
    raft.learn(message.epoch, message.leader_id, now)
    role = raft.role
    if isinstance(role, Resigned) and role.waiting.get(message.sender) == message.correlation:
        del role.waiting[message.sender]
