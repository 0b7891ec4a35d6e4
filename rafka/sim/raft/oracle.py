"""What must hold of a quorum, looked at after every event, as little as the event can have changed: RA1 to RA13.

    RA1   one leader an epoch, ever                      RA2   offset and epoch name one chained content, in every log
    RA3   a new leader has all that is committed         RA4   what is applied at an offset is the same everywhere
    RA5   a leader only appends; nothing committed is cut, by anybody
    RA6   epoch, high watermark, progress, and what is on disk of epoch and vote never fall
    RA7   a leader counts of a replica no more than that has acknowledged in this epoch
    RA8   a high watermark is durable at a majority of the newest voters, the leader's own disk included if it is one
    RA9   nothing is said whose promise is not durable    RA10  nothing is committed before the leader's first record
    RA11  one change of voters at a time; sets that follow one another overlap; only voters lead
    RA12  where a log does not begin at 0 a snapshot ends there; no snapshot beyond what is committed; leaders load none
    RA13  roles change as `transitions` says; nobody who has led an epoch leads it again after a restart
    J     a read sees every write that was acknowledged before it began; an acknowledged write is in the history
    LV    once faults stop, somebody leads and commits

The oracle knows everything and tells nobody. Source: SIMULATION 2; Kafka's RaftEventSimulationTest; SandTable.
"""

from collections import Counter

from rafka.core.raft.batch import DATA, LEADER_CHANGE, VOTERS, Batch
from rafka.core.raft.effects import AppendLog, Became, Election, Snapshot
from rafka.core.raft.messages import FetchRequest, FetchResponse, Message, VoteRequest, VoteResponse
from rafka.core.raft.raft import Raft
from rafka.core.raft.roles import Leader
from rafka.core.raft.transitions import START, is_legal
from rafka.core.raft.voters import NO_OFFSET, ReplicaKey, VoterSet
from rafka.sim.raft.member import Member, decode, step


class Broken(Exception):
    """A promise was broken. invariant: which; text: how."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


class Oracle:
    """Everything that was ever true in one run."""

    def __init__(self) -> None:
        self.leaders: dict[int, tuple[int, int]] = {}
        """Epoch → who led it, in which of its lives."""
        self.names: dict[tuple[int, int], int] = {}
        """End offset and epoch → chain."""
        self.history: dict[int, int] = {0: 0}
        """End offset → chain, of what is committed."""
        self.epochs: dict[int, int] = {0: 0}
        """End offset → epoch of the last record before it, of what is committed."""
        self.writes: dict[object, int] = {}
        """Content of what clients wrote → its end offset, once it is committed."""
        self.committed = 0
        self.starts: dict[int, int] = {}
        """Epoch → where its leader change stands."""
        self.acked: dict[tuple[ReplicaKey, int], int] = {}
        """Replica and epoch → up to where it has acknowledged."""
        self.acks: dict[tuple[ReplicaKey, int, int], int] = {}
        """Replica, epoch and offset that it has acknowledged → the chain of its log there."""
        self.sets: list[tuple[int, VoterSet]] = []
        """End offset → voter set, of what is committed."""
        self.progress: dict[tuple[int, ReplicaKey], int] = {}
        """Epoch and replica → what its leader counts."""
        self.acknowledged = 0
        """The end of the newest write that a client knows to be done."""
        self.checked: Counter[str] = Counter()

    # ---- roles -----------------------------------------------------------------------------------

    def became(self, member: Member, effect: Became) -> None:
        """Look at a change of role: RA1, RA3, RA6, RA11, RA13."""
        raft = member.raft
        assert raft is not None
        old, role, epoch = member.role, effect.role, effect.epoch
        if not is_legal(old, role, old_epoch=member.epoch if old != START else epoch, new_epoch=epoch):
            raise Broken("RA13", f"{member.id} was {old} in {member.epoch}, is {role} in {epoch}")
        if epoch < member.promised:
            raise Broken("RA6", f"{member.id} has spoken of epoch {member.promised}, and is in {epoch}")
        if role in ("prospective", "candidate", "leader") and not raft.is_voter:
            raise Broken("RA11", f"{member.id} is {role} in {epoch}, and no voter of {raft.voters}")
        member.role, member.epoch = role, epoch
        self.checked["RA13"] += 1
        if role == "leader":
            self._leads(member, epoch)

    def _leads(self, member: Member, epoch: int) -> None:
        known = self.leaders.setdefault(epoch, (member.id, member.life))
        if known[0] != member.id:
            raise Broken("RA1", f"{known[0]} and {member.id} lead epoch {epoch}")
        if known[1] != member.life:
            raise Broken("RA13", f"{member.id} leads epoch {epoch} again after a restart")
        committed = self.committed
        role = member.raft.role if member.raft is not None else None
        has_it = isinstance(role, Leader) and role.start_offset >= committed
        if not has_it or member.chains.get(committed) != self.history[committed]:
            raise Broken(
                "RA3", f"{member.id} leads epoch {epoch} without what is committed below {committed}"
            )
        self.checked["RA1"] += 1
        self.checked["RA3"] += 1

    # ---- logs ------------------------------------------------------------------------------------

    def appends(self, member: Member, effect: AppendLog) -> None:
        """Look at what is written: RA2, RA11."""
        names, chains = self.names, member.chains
        for batch in effect.batches:
            chain = chains[batch.end_offset] = step(chains[batch.base_offset], batch)
            if names.setdefault((batch.end_offset, batch.epoch), chain) != chain:
                raise Broken(
                    "RA2", f"{member.id} has another batch at {batch.base_offset} of epoch {batch.epoch}"
                )
            if batch.kind >= LEADER_CHANGE:
                self._control(member, batch)
        self.checked["RA2"] += len(effect.batches)

    def _control(self, member: Member, batch: Batch) -> None:
        raft = member.raft
        assert raft is not None
        role = raft.role
        if not isinstance(role, Leader) or batch.epoch != raft.epoch:
            return
        if batch.kind == LEADER_CHANGE:
            self.starts[batch.epoch] = batch.base_offset
            voters = raft.log.voters_at(batch.base_offset)
            granting = [voter_id for voter_id in batch.content.granting if voter_id in voters.voters]
            if len(granting) < voters.majority:
                raise Broken("RA11", f"{member.id} was elected by {batch.content.granting} of {voters}")
        elif batch.kind == VOTERS:
            former = raft.log.voters_at(batch.base_offset)
            at = max(
                (offset for offset, _ in raft.log.voters.entries if offset < batch.base_offset),
                default=NO_OFFSET,
            )
            is_first = batch.base_offset == role.start_offset + 1 and at == NO_OFFSET
            if not is_first and (at >= self.committed or role.high_watermark <= role.start_offset):
                raise Broken(
                    "RA11", f"{member.id} changes voters at {batch.base_offset}; {at} is not committed"
                )
            if not former.overlaps(batch.content):
                raise Broken("RA11", f"majorities of {former} and {batch.content} need not meet")
            self.checked["RA11"] += 1

    def cuts(self, member: Member, end_offset: int) -> None:
        """Look at a cut at the end: RA5."""
        raft = member.raft
        assert raft is not None
        if isinstance(raft.role, Leader):
            raise Broken("RA5", f"{member.id} cuts its log while it leads")
        if end_offset < max(member.high_watermark, member.applied_offset):
            raise Broken(
                "RA5", f"{member.id} cuts its log at {end_offset}, committed is {member.high_watermark}"
            )
        if end_offset < self.progress.get((raft.epoch, member.key), -1):
            raise Broken("RA7", f"{member.id} cuts its log at {end_offset}, and its leader counts more")
        self.checked["RA5"] += 1

    def begins(self, member: Member, start_offset: int) -> None:
        """Look at a cut at the beginning: RA12."""
        raft = member.raft
        assert raft is not None
        snapshot = raft.log.snapshot
        if snapshot is None or snapshot.id.end_offset != start_offset:
            raise Broken("RA12", f"{member.id} begins its log at {start_offset}, its snapshot is {snapshot}")
        kept = member.disk.snapshot
        if kept is None or kept.id.end_offset < start_offset:
            raise Broken(
                "RA12", f"{member.id} begins its log at {start_offset} before its snapshot is durable"
            )
        self.checked["RA12"] += 1

    # ---- snapshots ---------------------------------------------------------------------------------

    def saves(self, member: Member, snapshot: Snapshot) -> None:
        """Look at a snapshot that is written: RA12."""
        end_offset = snapshot.id.end_offset
        if self.epochs.get(end_offset) != snapshot.id.epoch:
            raise Broken(
                "RA12", f"{member.id} has a snapshot {end_offset}/{snapshot.id.epoch}, not committed so"
            )
        if decode(snapshot.data) != (end_offset, self.history[end_offset]):
            raise Broken("RA12", f"{member.id}'s snapshot of {end_offset} holds something else")
        voters = [voters for at, voters in self.sets if at <= end_offset]
        if voters and voters[-1] != snapshot.voters:
            raise Broken(
                "RA11", f"{member.id}'s snapshot of {end_offset} names {snapshot.voters}: {voters[-1]}"
            )
        self.checked["RA12"] += 1

    def restores(self, member: Member, snapshot: Snapshot) -> None:
        """Look at a snapshot that is loaded: RA4, RA6, RA12."""
        raft = member.raft
        assert raft is not None
        end_offset, chain = decode(snapshot.data)
        if isinstance(raft.role, Leader):
            raise Broken("RA12", f"{member.id} loads a snapshot while it leads")
        if end_offset < member.applied_offset:
            raise Broken("RA6", f"{member.id} goes back from {member.applied_offset} to {end_offset}")
        if end_offset != snapshot.id.end_offset or self.history.get(end_offset) != chain:
            raise Broken("RA4", f"{member.id} loads {snapshot.id}, whose state is not what was committed")
        member.chains[end_offset] = member.applied_chain = chain
        member.applied_offset = member.snapshot_offset = end_offset

    # ---- committing ----------------------------------------------------------------------------------

    def applies(self, member: Member, batch: Batch) -> None:
        """Look at what the state machine is given: RA4."""
        if batch.base_offset != member.applied_offset:
            raise Broken("RA4", f"{member.id} applies {batch.base_offset} after {member.applied_offset}")
        end_offset = batch.end_offset
        chain = member.applied_chain = step(member.applied_chain, batch)
        member.applied_offset = end_offset
        if batch.base_offset == self.committed:
            self.committed = end_offset
            self.history[end_offset] = chain
            self.epochs[end_offset] = batch.epoch
            if batch.kind == DATA:
                self.writes[batch.content] = end_offset
            elif batch.kind == VOTERS:
                self.sets.append((end_offset, batch.content))
        elif self.history.get(end_offset) != chain:
            raise Broken("RA4", f"{member.id} applies at {batch.base_offset} what was not committed there")
        self.checked["RA4"] += 1

    def turned(self, member: Member, raft: Raft) -> None:
        """Look at a replica after each of its turns: RA6, RA8, RA10, RA12."""
        if raft.high_watermark != member.high_watermark:
            if raft.high_watermark < member.high_watermark:
                raise Broken("RA6", f"{member.id}'s high watermark falls to {raft.high_watermark}")
            member.high_watermark = raft.high_watermark
            if isinstance(raft.role, Leader):
                self._committed_by(member, raft)
            if raft.high_watermark > raft.log.end_offset:
                raise Broken("RA6", f"{member.id}'s high watermark is beyond its log")

    def _committed_by(self, member: Member, raft: Raft) -> None:
        """A leader has raised the high watermark: RA8, RA10."""
        reached = raft.high_watermark
        if reached <= self.starts.get(raft.epoch, 1 << 62):
            raise Broken(
                "RA10", f"{member.id} commits {reached} before its first record of epoch {raft.epoch}"
            )
        have = 0
        for key in raft.voters.keys:
            if key == member.key:
                have += member.disk.end_offset >= reached
            else:
                have += self.acked.get((key, raft.epoch), -1) >= reached
        if have < raft.voters.majority:
            raise Broken("RA8", f"{member.id} commits {reached}, which {have} of {raft.voters} have durably")
        self.checked["RA8"] += 1

    def leads_on(self, member: Member, raft: Raft, local: int) -> None:
        """Look at a leader from time to time: it resigns if no majority fetches (LV); new voters have their time."""
        role = raft.role
        if not isinstance(role, Leader):
            return
        since = local - raft.settings.fetch_timeout_ns * 5  # a window, half of one, new voters
        needed = raft.voters.majority - role.is_voter
        if member.led_since >= since or needed <= 0:
            return
        heard = sum(one.fetched_at >= since for one in role.voters.values())
        if heard < needed:
            raise Broken("LV", f"{member.id} leads epoch {raft.epoch} on, though no majority fetches")

    # ---- messages --------------------------------------------------------------------------------------

    def sends(self, member: Member, message: Message) -> None:
        """Look at what leaves a replica: RA9, RA10."""
        election: Election = member.disk.election
        epoch = message.epoch
        if epoch > election.epoch:
            raise Broken("RA9", f"{member.id} speaks of epoch {epoch}, its disk knows {election.epoch}")
        member.promised = max(member.promised, epoch)
        kind = type(message)
        if kind is FetchRequest:
            self._acknowledges(member, message)  # type: ignore[arg-type]
        elif kind is FetchResponse:
            watermark: int = message.high_watermark  # type: ignore[union-attr]
            if watermark >= 0 and watermark <= self.starts.get(epoch, 1 << 62):
                raise Broken(
                    "RA10", f"{member.id} shows high watermark {watermark} too early in epoch {epoch}"
                )
        elif kind is VoteResponse or kind is VoteRequest:
            self._votes(member, message, election)  # type: ignore[arg-type]

    def _acknowledges(self, member: Member, message: FetchRequest) -> None:
        if message.fetch_offset > member.disk.end_offset:
            raise Broken(
                "RA9",
                f"{member.id} acknowledges {message.fetch_offset}, its disk has {member.disk.end_offset}",
            )
        key = (member.key, message.epoch)
        offset = message.fetch_offset
        if offset > self.acked.get(key, -1):
            self.acked[key] = offset
        chain = member.chains.get(offset)
        if chain is not None:
            self.acks[member.key, message.epoch, offset] = chain

    def _votes(self, member: Member, message: VoteRequest | VoteResponse, election: Election) -> None:
        if message.pre_vote or message.epoch < election.epoch:
            return
        if isinstance(message, VoteRequest):
            if election.voted != member.key:
                raise Broken("RA9", f"{member.id} stands in {message.epoch} before its own vote is durable")
        elif message.granted and (election.voted is None or election.voted.id != message.to):
            raise Broken(
                "RA9", f"{member.id} votes for {message.to} in {message.epoch}, its disk does not say so"
            )
        self.checked["RA9"] += 1

    def counted(self, member: Member, raft: Raft, message: FetchRequest) -> None:
        """Look at what a leader makes of a fetch: RA6, RA7."""
        role = raft.role
        if not isinstance(role, Leader):
            return
        progress = role.voters.get(message.sender)
        if progress is None or progress.key != message.replica:
            return
        name, end_offset = (raft.epoch, progress.key), progress.end_offset
        if end_offset < self.progress.get(name, -1):
            raise Broken(
                "RA6", f"{member.id} counts {end_offset} of {message.sender} after {self.progress[name]}"
            )
        self.progress[name] = end_offset
        if end_offset > self.acked.get((progress.key, raft.epoch), -1):
            raise Broken("RA7", f"{member.id} counts {end_offset} of {message.sender}, which never said so")
        chain, own = self.acks.get((progress.key, raft.epoch, end_offset)), member.chains.get(end_offset)
        if chain is not None and own is not None and chain != own:
            raise Broken("RA7", f"{member.id} counts {end_offset} of {message.sender}, whose log is another")
        self.checked["RA7"] += 1

    # ---- disks -----------------------------------------------------------------------------------------

    def election_written(self, member: Member, former: Election) -> None:
        """Look at an election file that has become durable: RA6."""
        election = member.disk.election
        if election.epoch < former.epoch:
            raise Broken("RA6", f"{member.id}'s disk goes back from epoch {former.epoch} to {election.epoch}")
        if election.epoch == former.epoch and former.voted not in (None, election.voted):
            raise Broken("RA6", f"{member.id}'s disk has another vote in epoch {election.epoch}")
        self.checked["RA6"] += 1

    # ---- clients ---------------------------------------------------------------------------------------

    def write_done(self, content: object) -> None:
        """A client is told that its write is committed."""
        end_offset = self.writes.get(content)
        if end_offset is None:
            raise Broken("J", f"write {content} is acknowledged, and not committed")
        self.acknowledged = max(self.acknowledged, end_offset)
        self.checked["J"] += 1

    def read_done(self, offset: int, before: int) -> None:
        """A client is answered a read; before: what was acknowledged when it asked."""
        if offset < before:
            raise Broken("J", f"a read sees {offset}, and {before} was acknowledged before it began")
        self.checked["J"] += 1
