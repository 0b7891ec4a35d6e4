"""One replica: its election, its log, its role, and what it holds back until the disk has it.

What leaves a replica speaks of its epoch and its vote, so nothing leaves before they are durable: messages wait in
`_held` for the election file's token (KIP-595; KAFKA-10533). What it acknowledges of the log, it acknowledges by
fetching from where its log is durable, and a leader counts itself up to there and no further.

Time is an argument (monotonic nanoseconds); chance is `entropy`. Only this file changes the role.
"""

from collections import deque

import attrs

from rafka.core.errors import ErrorCode
from rafka.core.machine import Entropy
from rafka.core.raft.effects import Answer, Apply, Became, Effect, Election, Noted, SaveElection, Snapshot
from rafka.core.raft.log import RaftLog
from rafka.core.raft.messages import NO_LEADER, Message
from rafka.core.raft.roles import (
    NEVER,
    Candidate,
    Follower,
    Leader,
    Prospective,
    Resigned,
    Role,
    Unattached,
    Voted,
)
from rafka.core.raft.settings import Settings
from rafka.core.raft.transitions import is_legal
from rafka.core.raft.voters import ReplicaKey, VoterSet


@attrs.define(eq=False)
class Replica:
    """The state of one replica, and the steps that all its roles share.

    key: its node id and the id of its directory; bootstrap: ids of nodes that an observer may ask who leads.
    """

    key: ReplicaKey
    settings: Settings
    entropy: Entropy
    bootstrap: tuple[int, ...] = ()
    out: list[Effect] = attrs.field(factory=list)
    election: Election = attrs.field(factory=Election)
    role: Role = attrs.field(factory=lambda: Unattached(NEVER))
    high_watermark: int = 0
    """What is known to be committed: it never falls in one life."""
    applied_offset: int = 0
    """What the state machine was given."""
    log: RaftLog = attrs.field(init=False)
    correlation: int = 0
    """The last one given out."""
    election_token: int = 0
    """The last token of the election file."""
    synced_token: int = 0
    """The last one that was answered."""
    needed_token: int = 0
    """The one that makes epoch and vote durable: nothing is said before it is answered."""
    saving: Snapshot | None = None
    """A snapshot on its way to the disk: its own, or one that was fetched."""
    saving_token: int = 0
    is_installing: bool = False
    """It was fetched: the log will begin anew after it. Nothing is fetched, and nobody stood for, meanwhile."""
    _held: deque[tuple[int, Message]] = attrs.field(factory=deque)

    def __attrs_post_init__(self) -> None:
        self.log = RaftLog(self.out)

    # ---- what it is ------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Return the epoch it is in."""
        return self.election.epoch

    @property
    def leader_id(self) -> int:
        """Return who leads the epoch, NO_LEADER if it does not know."""
        return self.election.leader_id

    @property
    def voters(self) -> VoterSet:
        """Return the voters, by the newest set of its log."""
        return self.log.voters.latest

    @property
    def is_voter(self) -> bool:
        """Whether it is one of them."""
        return self.log.voters.latest.has(self.key)

    # ---- saying ----------------------------------------------------------------------------------

    def next_correlation(self) -> int:
        """Give a number for a request."""
        self.correlation += 1
        return self.correlation

    def send(self, message: Message) -> None:
        """Say something, as soon as what it speaks of is durable."""
        if self.needed_token <= self.synced_token:
            self.out.append(message)
        else:
            self._held.append((self.needed_token, message))

    def release(self, token: int) -> None:
        """Let go of what waited for the election file."""
        assert self.synced_token < token <= self.election_token
        self.synced_token = token
        held = self._held
        while held and held[0][0] <= token:
            self.out.append(held.popleft()[1])

    def answer(self, ticket: int, error: ErrorCode, offset: int = -1) -> None:
        """Decide what a caller waits for."""
        self.out.append(Answer(ticket, error, offset))

    def note(self, text: str, offset: int = -1) -> None:
        """Say that something was worth a line."""
        self.out.append(Noted(text, offset))

    # ---- committing ------------------------------------------------------------------------------

    def commit(self, high_watermark: int) -> None:
        """Know more to be committed, and give it to the state machine."""
        if high_watermark <= self.high_watermark:
            return
        self.high_watermark = high_watermark
        log = self.log
        while self.applied_offset < high_watermark:
            batches = log.read(self.applied_offset, 64, high_watermark)
            if not batches:
                break
            for batch in batches:
                self.out.append(Apply(batch))
            self.applied_offset = batches[-1].end_offset

    # ---- becoming --------------------------------------------------------------------------------

    def save(self, election: Election) -> None:
        """Write the election file; wait for it, before anything is said, if the epoch or the vote is new."""
        former, self.election = self.election, election
        self.election_token += 1
        if former.epoch != election.epoch or former.voted != election.voted:
            self.needed_token = self.election_token
        self.out.append(SaveElection(election, self.election_token))

    def become(self, role: Role, election: Election) -> None:
        """Take another role, in this epoch or a higher one."""
        old = self.role
        assert is_legal(old.NAME, role.NAME, old_epoch=self.election.epoch, new_epoch=election.epoch), (
            f"{old.NAME} in {self.election.epoch} becomes {role.NAME} in {election.epoch}"
        )
        if isinstance(old, Leader):
            self._stop_leading(old)
        if election != self.election:
            self.save(election)
        self.role = role
        self.out.append(Became(role.NAME, election.epoch, election.leader_id))

    def _stop_leading(self, leader: Leader) -> None:
        """Tell everybody who waits that this replica will not know what becomes of it."""
        for ticket in leader.waiters.abandon():
            self.answer(ticket, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if leader.change is not None and leader.change.request is None:
            self.answer(leader.change.ticket, ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def become_unattached(self, epoch: int, now: int) -> None:
        """Take note of a higher epoch, whose leader is not known.

        Who was about to stand stands when it would have: a higher epoch alone is no reason to wait again.
        """
        deadline = now + self.election_timeout()
        role = self.role
        if isinstance(role, Unattached | Voted | Prospective | Candidate):
            deadline = min(deadline, role.deadline)
        self.become(Unattached(deadline), Election(epoch))

    def become_follower(self, epoch: int, leader_id: int, now: int) -> None:
        """Follow whoever leads `epoch`; fetch at once."""
        assert leader_id != self.key.id
        voted = self.election.voted if epoch == self.election.epoch else None
        role = Follower(leader_id, now + self.settings.fetch_timeout_ns, retry_at=now)
        self.become(role, Election(epoch, voted, leader_id))

    def become_resigned(self, now: int, preferred: tuple[ReplicaKey, ...]) -> None:
        """Lead no longer; tell the others, who should stand first."""
        others = {key.id: 0 for key in self.voters.keys if key.id != self.key.id}
        role = Resigned(now + self.election_timeout(), preferred, others, now)
        self.become(role, Election(self.epoch, self.election.voted, self.key.id))

    def election_timeout(self) -> int:
        """Draw how long to wait before standing: between once and twice the setting."""
        timeout_ns = self.settings.election_timeout_ns
        return timeout_ns + self.entropy.below(timeout_ns)

    # ---- what every message brings ----------------------------------------------------------------

    def learn(self, epoch: int, leader_id: int, now: int) -> None:
        """Take note of an epoch, and of its leader, that a message names; lower ones are nothing new."""
        election = self.election
        if epoch < election.epoch or (epoch == election.epoch and election.leader_id != NO_LEADER):
            return
        if leader_id == self.key.id:
            leader_id = NO_LEADER  # whether it leads, it knows best
        if epoch > election.epoch and leader_id == NO_LEADER:
            self.become_unattached(epoch, now)
        elif leader_id != NO_LEADER:
            self.become_follower(epoch, leader_id, now)
