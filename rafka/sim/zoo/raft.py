"""Bugs of the Raft machine: SIMULATION 3.1, as far as a pull-based quorum with single-voter changes can have them.

They are planted in `rafka.core.raft` and hunted in the packet world (`raft_hunt.py`), apart from those of the broker.
Where the source's bug belongs to pushed appends or to joint configurations, what corresponds to it is planted.
"""

from typing import Any

import attrs

from rafka.core.errors import ErrorCode
from rafka.core.raft import election, leader, membership, snapshot
from rafka.core.raft.batch import VOTERS
from rafka.core.raft.effects import Became, DeleteBefore
from rafka.core.raft.log import RaftLog
from rafka.core.raft.messages import UNKNOWN_OFFSET, VoteRequest, VoteResponse
from rafka.core.raft.raft import Raft
from rafka.core.raft.roles import NEVER, Candidate, Follower, Leader, Progress, Prospective, Resigned
from rafka.core.raft.state import Replica
from rafka.core.raft.voters import VoterSet
from rafka.sim.zoo.registry import Plant, family

BUGS, bug = family("raft")

ABSENT = {
    "R27 (joint)": "joint configurations are not KRaft's: planted is a leader that proposes its voters again.",
    "R34": "a follower fetches only when its log is durable, so nothing is cut while it is written; the log itself "
    "would stand it, which `test_what_a_log_calls_durable_its_disk_has` sees.",
    "R39": "a timer that every higher epoch resets delays elections, by less than the liveness bound; the paper test "
    "`test_a_higher_epoch_alone_is_no_reason_to_wait_longer` sees it.",
}
OPEN = {
    "R23": "an acknowledgement must be on its way while another is elected and commits, and old leaders soon resign. "
    "Tried: 200 seeds, old leaders asked often, slow clocks, late packets. R24, which is worse, is found.",
    "R30": "who installs a snapshot lacks what a majority has, so nobody elects it. Tried: snapshots of ten records.",
}
"""Bugs that are not found: why."""
CHURNING = ("churn",)
STALE = {"propose_ns": 1_000_000, "clock_spread": 0.3}
"""Knobs under which old leaders are asked often, and believe in themselves for long."""


# ---- votes -------------------------------------------------------------------------------------------


@bug("R01", "Xraft#33 class", "a vote is granted whoever had it before", "RA9", "RA1", "RA6")
def _votes_twice(plant: Plant) -> None:
    def grants(original: Any, raft: Any, message: Any) -> bool:
        granted = bool(original(raft, message))
        if (
            not granted
            and raft.election.voted not in (None, raft.key)
            and election.is_up_to_date(raft, message)
        ):
            plant.hit()
            return True
        return granted

    plant.patch(election, "grants_vote", grants)


@bug("R02", "KAFKA-10533", "what speaks of epoch and vote does not wait for the disk", "RA9")
def _speaks_early(plant: Plant) -> None:
    def send(original: Any, raft: Any, message: Any) -> None:
        del original
        if raft.needed_token > raft.synced_token:
            plant.hit()
        raft.out.append(message)

    plant.patch(Replica, "send", send)


@bug("R06", "textbook", "a vote is granted to a log that lacks records", "RA3", "RA4", "RA5")
def _votes_for_short_log(plant: Plant) -> None:
    def is_up_to_date(original: Any, raft: Any, message: Any) -> bool:
        if not original(raft, message):
            plant.hit()
        return True

    plant.patch(election, "is_up_to_date", is_up_to_date)


@bug("R10", "WRaft", "a new epoch is not written down", "RA9", "RA6")
def _forgets_epoch(plant: Plant) -> None:
    def save(original: Any, raft: Any, new: Any) -> None:
        if new.epoch > raft.election.epoch and new.voted is None:
            plant.hit()
            raft.election = new
            return
        original(raft, new)

    plant.patch(Replica, "save", save)


@bug(
    "R13",
    "DRT list #1",
    "answers to an earlier request for votes are counted",
    "RA11",
    "RA1",
    "assertion",
    "RA3",
)
def _counts_old_votes(plant: Plant) -> None:
    def receive(original: Any, raft: Any, message: Any, now: int) -> None:
        role = raft.role
        if (
            isinstance(message, VoteResponse)
            and message.granted
            and isinstance(role, Prospective | Candidate)
            and message.epoch <= raft.epoch
            and message.sender in role.waiting
            and role.waiting[message.sender] != message.correlation
        ):
            plant.hit()
            del role.waiting[message.sender]
            role.granted[message.sender] = True
            election.decide(raft, role, now)
            return
        original(raft, message, now)

    plant.patch(Raft, "receive", receive)


@bug("R15", "KAFKA-10527", "a leader that starts again stands in the same epoch", "RA13", "RA1", "RA2")
def _stands_again(plant: Plant) -> None:
    def load(original: Any, raft: Any, stored: Any, now: int) -> None:
        original(raft, stored, now)
        if isinstance(raft.role, Resigned) and raft.is_voter:
            plant.hit()
            raft.out[:] = [one for one in raft.out if not isinstance(one, Became)]
            raft.role = Candidate(raft.voters, now + raft.election_timeout())
            raft.out.append(Became("candidate", raft.epoch, -1))
            raft.role.granted[raft.key.id] = True
            election.ask(raft, raft.role, now, is_pre_vote=False)

    plant.patch(Raft, "open", load)


@bug("R19", "DaosRaft PR70", "a leader grants a vote in its own epoch", "RA9", "RA1")
def _leader_votes(plant: Plant) -> None:
    def grants(original: Any, raft: Any, message: Any) -> bool:
        if isinstance(raft.role, Leader) and message.epoch == raft.epoch:
            plant.hit()
            return True
        return bool(original(raft, message))

    plant.patch(election, "grants_vote", grants)


# ---- reads ---------------------------------------------------------------------------------------------


@bug("R22", "etcd raft 3189a66", "a new leader answers reads before it has committed in its epoch", "J")
def _reads_early(plant: Plant) -> None:
    def read(original: Any, raft: Any, ticket: int) -> None:
        role = raft.role
        if isinstance(role, Leader) and role.high_watermark == UNKNOWN_OFFSET:
            plant.hit()
            raft.answer(ticket, ErrorCode.NONE, raft.high_watermark)
            return
        original(raft, ticket)

    plant.patch(leader, "read", read)


@bug(
    "R23",
    "etcd raft PR397",
    "a read is confirmed by acknowledgements of what was asked before it",
    "J",
    faults=("isolate", "slow"),
    **STALE,
)
def _read_shares_context(plant: Plant) -> None:
    def read(original: Any, raft: Any, ticket: int) -> None:
        role = raft.role
        if isinstance(role, Leader) and role.start_offset < role.high_watermark < raft.log.end_offset:
            plant.hit()
            role.waiters.wait(raft.log.end_offset, ticket)
            return
        original(raft, ticket)

    plant.patch(leader, "read", read)


@bug(
    "R24",
    "etcd#20418",
    "a leader answers reads as long as it believes that it leads",
    "J",
    faults=("isolate", "pause"),
    **STALE,
)
def _lease(plant: Plant) -> None:
    def read(original: Any, raft: Any, ticket: int) -> None:
        role = raft.role
        if isinstance(role, Leader) and role.high_watermark != UNKNOWN_OFFSET:
            plant.hit()
            raft.answer(ticket, ErrorCode.NONE, raft.high_watermark)
            return
        original(raft, ticket)

    plant.patch(leader, "read", read)


# ---- voters ----------------------------------------------------------------------------------------------


@bug("R25", "etcd db54973", "an observer takes itself for a voter", "RA11", "RA1")
def _observer_stands(plant: Plant) -> None:
    def is_voter(original: Any, raft: Any) -> bool:
        if not original(raft):
            plant.hit()
        return True

    plant.patch_property(Replica, "is_voter", is_voter)


@bug("R25b", "KAFKA-17067", "observers are counted like voters", "RA8", observers=2)
def _observers_count(plant: Plant) -> None:
    def advance(original: Any, raft: Any, role: Any, now: int) -> None:
        voters = role.voters
        extra = {key.id: one for key, one in role.observers.items() if key.id not in voters}
        if extra:
            plant.hit()
        role.voters = {**voters, **extra}
        try:
            original(raft, role, now)
        finally:
            role.voters = voters

    def acknowledge(original: Any, raft: Any, role: Any, progress: Progress, offset: int, now: int) -> None:
        original(raft, role, progress, offset, now)
        if raft.role is role:
            leader.advance(raft, role, now)

    plant.patch(leader, "advance", advance)
    plant.patch(leader, "acknowledge", acknowledge)


@bug(
    "R26",
    "etcd e515a67",
    "a snapshot holds the voters of the log's beginning",
    "RA11",
    faults=CHURNING,
    snapshot_every=10,
)
def _old_voters(plant: Plant) -> None:
    def voters_at(original: Any, log: Any, end_offset: int) -> VoterSet:
        first = next((voters for _, voters in log.voters.entries if len(voters)), log.voters.entries[0][1])
        if first != original(log, end_offset):
            plant.hit()
        assert isinstance(first, VoterSet)
        return first

    plant.patch(RaftLog, "voters_at", voters_at)


@bug("R27", "etcd bd3c759", "every new leader proposes the first voters again", "RA11", "assertion")
def _proposes_again(plant: Plant) -> None:
    def start(original: Any, raft: Any, granting: Any, now: int) -> None:
        original(raft, granting, now)
        history = raft.log.voters
        if history.latest_offset < raft.role.start_offset:
            plant.hit()
            leader.append(raft, raft.role, VOTERS, history.latest)

    plant.patch(leader, "start", start)


@bug(
    "R28",
    "Ongaro 2015",
    "voters are changed before the leader has committed in its epoch",
    "RA11",
    faults=CHURNING,
)
def _changes_early(plant: Plant) -> None:
    def not_now(original: Any, raft: Any) -> ErrorCode:
        code: ErrorCode = original(raft)
        role = raft.role
        if code is not ErrorCode.NONE and isinstance(role, Leader) and role.change is None:
            plant.hit()
            return ErrorCode.NONE
        return code

    plant.patch(membership, "not_now", not_now)


@bug(
    "R29",
    "TB#2996",
    "a node with a new disk votes, and counts, as its former self",
    "RA7",
    "RA1",
    "RA3",
    "RA9",
    "RA11",
    faults=("disk_loss",),
)
def _same_id(plant: Plant) -> None:
    def has(original: Any, voters: Any, key: Any) -> bool:
        if key.id in voters.voters and not original(voters, key):
            plant.hit()
        return key.id in voters.voters

    def progress_of(original: Any, role: Any, key: Any) -> Any:
        return role.voters.get(key.id) or original(role, key)

    def receive(original: Any, raft: Any, message: Any, now: int) -> None:
        if isinstance(message, VoteRequest) and message.voter != raft.key:
            plant.hit()
            message = attrs.evolve(message, voter=raft.key)  # type: ignore[misc]  # a value is an attrs class
        original(raft, message, now)

    plant.patch(VoterSet, "has", has)
    plant.patch(leader, "progress_of", progress_of)
    plant.patch(Raft, "receive", receive)


# ---- snapshots -------------------------------------------------------------------------------------------


@bug(
    "R30",
    "etcd f1f74e0",
    "a replica stands while it installs a snapshot",
    "assertion",
    "RA12",
    "RA5",
    snapshot_every=10,
)
def _stands_installing(plant: Plant) -> None:
    def tick(original: Any, raft: Any, now: int) -> None:
        role = raft.role
        if raft.is_installing and isinstance(role, Follower) and raft.is_voter:
            plant.hit()
            raft.is_installing = False
            election.stand(raft, now)
            raft.is_installing = True
            return
        original(raft, now)

    plant.patch(Raft, "tick", tick)


@bug(
    "R31",
    "openraft eed681d5",
    "what is applied is not moved by a snapshot that is installed",
    "RA4",
    "assertion",
    "RA6",
    snapshot_every=10,
)
def _applied_stays(plant: Plant) -> None:
    def install(original: Any, raft: Any, kept: Any) -> None:
        before = raft.applied_offset
        original(raft, kept)
        if before < raft.applied_offset:
            plant.hit()
            raft.applied_offset = before

    plant.patch(snapshot, "install", install)


@bug(
    "R32", "KAFKA-14618", "a snapshot is named after its last record, not its end", "RA12", snapshot_every=10
)
def _inclusive(plant: Plant) -> None:
    def name(original: Any, end_offset: int, epoch: int) -> Any:
        plant.hit()
        return original(end_offset - 1, epoch)

    plant.patch(snapshot, "SnapshotId", name)


@bug("R33", "KAFKA-14238", "the log is let go of beyond its snapshot", "RA12", "assertion", snapshot_every=10)
def _goes_too_far(plant: Plant) -> None:
    def begin_after(original: Any, log: Any, kept: Any) -> None:
        original(log, kept)
        if log.batches:
            plant.hit()
            first = log.batches.pop(0)
            log.bases.pop(0)
            log.start_offset = first.end_offset
            log.out.append(DeleteBefore(first.end_offset))

    plant.patch(RaftLog, "begin_after", begin_after)


# ---- liveness --------------------------------------------------------------------------------------------


@bug("R38", "KAFKA-15489", "a leader leads on though nobody fetches", "LV", faults=("isolate",))
def _no_check(plant: Plant) -> None:
    def quorum_deadline(original: Any, raft: Any, role: Any) -> int:
        del original, raft, role
        plant.hit()
        return NEVER

    plant.patch(leader, "quorum_deadline", quorum_deadline)


@bug("R40", "KAFKA-16144", "the only voter resigns because nobody fetches", "LV", voters=1, observers=0)
def _alone(plant: Plant) -> None:
    def quorum_deadline(original: Any, raft: Any, role: Any) -> int:
        if original(raft, role) == NEVER:
            plant.hit()
        return int(role.deadline)

    plant.patch(leader, "quorum_deadline", quorum_deadline)
