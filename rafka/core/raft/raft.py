"""The Raft machine of the metadata quorum: KRaft's protocol, pull-based (KIP-595), with everything that belongs to it.

One object is one replica. `receive` takes a message, `election_synced` and `log_synced` the answers of the disk, the
methods below them what the node asks for; `tick` once after them, `drain` once after that, and again at `deadline`.
What it asks of the world is in `effects.py`; the theory, file by file:

    transitions   which role may follow which            voters, membership   who votes, and changing that
    state         promises that wait for the disk        log                  offsets, epochs, durability
    election      pre-vote, vote, begin and end          follower, leader     fetch, truncate; high watermark
    snapshot      making, sending, installing            describe             what an operator sees

Source: KIP-595, 630, 853, 996, 1166; Ongaro and Ousterhout, "In search of an understandable consensus algorithm".
"""

from collections.abc import Callable, Sequence
from typing import Any

from rafka.core.raft import election, follower, leader, membership, snapshot
from rafka.core.raft.batch import Batch, Content
from rafka.core.raft.effects import Became, DeleteBefore, Effect, Election, ResetLog, Restore, Snapshot
from rafka.core.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    Message,
    UpdateVoterRequest,
    UpdateVoterResponse,
    VoteRequest,
    VoteResponse,
)
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
from rafka.core.raft.state import Replica
from rafka.core.raft.transitions import START, is_legal
from rafka.core.raft.voters import ReplicaKey, Voter, VoterSet
from rafka.core.shape import value


@value
class Stored:
    """What a replica finds on its disk. voters: what the directory was formatted with, nobody for an observer."""

    election: Election
    snapshot: Snapshot | None
    batches: Sequence[Batch]
    voters: VoterSet


class Raft(Replica):
    """A replica of the metadata log. Open it first."""

    __slots__ = ()

    # ---- the world spoke ----------------------------------------------------------------------------

    def open(self, stored: Stored, now: int) -> None:
        """Begin a life with what the disk has kept."""
        self._load(stored)
        found = stored.election
        if found.epoch < self.log.last_epoch:
            found = Election(self.log.last_epoch)
        self.election = found
        timeout = now + self.election_timeout()
        role: Role
        if found.leader_id == self.key.id:
            others = {key.id: 0 for key in self.voters.keys if key != self.key}
            role = Resigned(timeout, (), others, now)
        elif found.leader_id >= 0:
            role = Follower(found.leader_id, now + self.settings.fetch_timeout_ns, retry_at=now)
        elif found.voted is not None:
            role = Voted(timeout)
        else:
            role = Unattached(timeout)
        if isinstance(role, Unattached | Voted) and (not self.is_voter or len(self.voters) == 1):
            role.deadline = now  # nobody else can be waited for
        assert is_legal(START, role.NAME, old_epoch=found.epoch, new_epoch=found.epoch)
        self.role = role
        self.out.append(Became(role.NAME, found.epoch, found.leader_id))

    def _load(self, stored: Stored) -> None:
        log = self.log
        log.voters.restart(stored.voters)
        kept = stored.snapshot
        batches = list(stored.batches)
        if kept is not None:
            end_offset = kept.id.end_offset
            # What a crash has left below or beside the snapshot is not needed: it stands for it.
            is_covered = any(b.end_offset == end_offset and b.epoch == kept.id.epoch for b in batches)
            follows = bool(batches) and batches[0].base_offset == end_offset
            batches = [b for b in batches if b.base_offset >= end_offset] if is_covered or follows else []
            if is_covered:
                self.out.append(DeleteBefore(end_offset))
            log.snapshot = kept
            log.voters.restart(kept.voters)
            log.start_offset = log.end_offset = end_offset
            log.last_epoch = kept.id.epoch
            self.high_watermark = self.applied_offset = end_offset
            self.out.append(Restore(kept))
            if stored.batches and not is_covered and not follows:
                log.handed_offset = log.durable_offset = end_offset
                self.out.append(ResetLog(end_offset, log.next_token(end_offset)))
        for batch in batches:
            log.append(batch)
        log.durable_offset = log.handed_offset = log.end_offset

    def receive(self, message: Message, now: int) -> None:
        """Take a message of another replica."""
        HANDLERS[type(message)](self, message, now)

    def election_synced(self, token: int, now: int) -> None:
        """Every election file up to this token is durable."""
        self.release(token)
        if self.synced_token >= self.needed_token:
            election.own_vote_synced(self, now)

    def log_synced(self, token: int, now: int) -> None:
        """Everything that the log was asked for up to this token is durable."""
        self.log.synced(token)
        if self.saving is not None and token >= self.saving_token:
            snapshot.saved(self)
        role = self.role
        if isinstance(role, Leader):
            leader.advance(self, role, now)

    def tick(self, now: int) -> None:
        """Do what has fallen due."""
        role = self.role
        if isinstance(role, Follower):
            if now >= role.deadline and not self.is_installing:
                self._leader_lost(role, now)
            else:
                follower.fetch(self, role, now)
        elif isinstance(role, Leader):
            leader.tick(self, role, now)
        elif isinstance(role, Prospective | Candidate):
            election.tick(self, role, now)
        elif isinstance(role, Resigned):
            leader.tick_resigned(self, role, now)
        elif now >= role.deadline and not self.is_installing:
            if self.is_voter:
                election.stand(self, now)
            else:
                role.deadline = now + self.settings.request_timeout_ns
                self._ask_around()
        role = self.role
        if isinstance(role, Leader):
            leader.settle(self, role, now)

    def _leader_lost(self, role: Follower, now: int) -> None:
        """The leader does not answer: a voter stands, an observer asks others who leads, and the leader too."""
        if self.is_voter:
            election.stand(self, now)
            return
        role.deadline = now + self.settings.fetch_timeout_ns
        role.retry_at = now
        self._ask_around()
        follower.fetch(self, role, now)

    def _ask_around(self) -> None:
        """Fetch from anybody: who does not lead says who does."""
        others = [*self.voters.voters, *(one for one in self.bootstrap if one not in self.voters.voters)]
        others = [one for one in others if one != self.key.id]
        if others:
            to = others[self.entropy.below(len(others))]
            self.send(follower.fetch_request(self, to, self.next_correlation()))

    def drain(self) -> list[Effect]:
        """Give up the turn's effects; what was appended in it is one write."""
        self.log.flush()
        effects = self.out[:]
        self.out.clear()
        return effects

    def deadline(self) -> int:
        """Say when to tick if nothing happens, in the time that `tick` is given."""
        role = self.role
        if isinstance(role, Follower):
            return follower.deadline(self, role)
        if isinstance(role, Leader):
            return leader.deadline(self, role)
        if isinstance(role, Prospective | Candidate):
            return min(role.deadline, role.resend_at)
        if isinstance(role, Resigned) and role.waiting:
            return min(role.deadline, role.resend_at)
        return NEVER if self.is_installing else role.deadline

    # ---- the node spoke -----------------------------------------------------------------------------

    def propose(self, content: Content, count: int, ticket: int) -> None:
        """Append `count` records; Answer(ticket) says when they are committed, or that nobody here can say."""
        leader.propose(self, content, count, ticket)

    def read(self, ticket: int) -> None:
        """Answer(ticket) when everything committed before this call is applied here: a linearizable read."""
        leader.read(self, ticket)

    def save_snapshot(self, end_offset: int, data: bytes) -> bool:
        """Let `data` stand for all that is applied below end_offset; False: not now."""
        return snapshot.save(self, end_offset, data)

    def add_voter(self, voter: Voter, ticket: int, now: int) -> None:
        """AddRaftVoter: Answer(ticket) once it is committed by the new set, or with the refusal."""
        membership.add(self, voter, ticket, now)

    def remove_voter(self, key: ReplicaKey, ticket: int, now: int) -> None:
        """RemoveRaftVoter, likewise."""
        membership.remove(self, key, ticket, now)

    def resign(self, now: int, successor: ReplicaKey | None = None) -> None:
        """Hand the leadership over: a controlled shutdown, or a wish of the operator's."""
        leader.resign(self, now, successor)

    def check(self) -> None:
        """Assert every invariant that one replica can know; the simulator calls it."""
        self.log.check()
        role = self.role
        assert self.log.start_offset <= self.high_watermark <= self.log.end_offset
        assert self.applied_offset == self.high_watermark
        assert self.synced_token <= self.election_token
        if isinstance(role, Leader):
            assert self.election.leader_id == self.key.id
            assert self.log.epoch_at(role.start_offset + 1) == self.epoch
        if isinstance(role, Candidate):
            assert self.election.voted == self.key
        if isinstance(role, Follower):
            assert self.election.leader_id == role.leader_id != self.key.id


HANDLERS: dict[type, Callable[[Replica, Any, int], None]] = {
    FetchRequest: leader.on_fetch_request,
    FetchResponse: follower.on_fetch_response,
    VoteRequest: election.on_vote_request,
    VoteResponse: election.on_vote_response,
    BeginQuorumEpochRequest: election.on_begin_request,
    BeginQuorumEpochResponse: leader.on_begin_response,
    EndQuorumEpochRequest: election.on_end_request,
    EndQuorumEpochResponse: leader.on_end_response,
    FetchSnapshotRequest: snapshot.on_request,
    FetchSnapshotResponse: snapshot.on_response,
    UpdateVoterRequest: membership.on_update_request,
    UpdateVoterResponse: membership.on_update_response,
}
"""Who takes which message."""
