"""What goes wrong in the Raft world beyond single packets: crashes, pauses, clocks, lost disks, partitions, churn.

Times are drawn when a run begins and as it goes on; some strike at a moment of the protocol's own (`state`: somebody
has just become candidate or leader). It stays inside what Raft promises: of every voter set that any log goes by, a
majority keeps its disks, so nothing that is committed can be lost.
"""

from typing import Any

from rafka.core.raft.batch import VOTERS
from rafka.core.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotResponse,
    VoteRequest,
    VoteResponse,
)
from rafka.core.raft.voters import NOBODY, ReplicaKey, Voter, VoterSet
from rafka.sim.raft.disk import Disk
from rafka.sim.raft.member import Member
from rafka.sim.raft.world import START, STRIKE, TIMER, World

SITE_KINDS = (
    VoteRequest,
    VoteResponse,
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotResponse,
)
SITE_ROLES = ("unattached", "voted", "prospective", "candidate", "leader", "follower", "resigned")
TIMED = (
    "crash",
    "power",
    "pause",
    "jump",
    "disk_loss",
    "split",
    "isolate",
    "one_way",
    "bridge",
    "churn",
    "transfer",
)
SECOND = 1_000_000_000


class Nemesis:
    """What strikes in one run."""

    def __init__(self, world: World) -> None:
        self.world = world
        chance = world.chance.fork("nemesis")
        self.draw = chance.draw
        world.strike = self.strike
        if "site" in world.faults:
            sites = world.chance.fork("active")
            for message in SITE_KINDS:
                for role in SITE_ROLES:
                    if sites.draw() < 0.25:
                        world.sites[message, role] = [0]
        for kind in TIMED:
            if kind in world.faults:
                self.again(kind)
        self.is_over = False

    def again(self, kind: str) -> None:
        """Let a kind of fault strike after a while; the shorter the timeouts, the sooner."""
        rate = self.world.faults[kind] * 100_000_000 / self.world.knobs.settings.election_timeout_ns
        self.world.at(int(2 * self.draw() * SECOND / rate) + 1, STRIKE, 0, (kind, 0))

    def strike(self, what: tuple[str, int]) -> None:
        """Strike now."""
        kind, thing = what
        if kind == "heal":
            self.world.blocked = dict.fromkeys(self.world.blocked, 0)
            return
        if self.is_over:
            return
        if kind == "state":
            self.at_state(thing)
            return
        self.again(kind)
        getattr(self, kind)()

    def one(self) -> Member | None:
        """Draw somebody who lives: half of the time the leader."""
        world = self.world
        leader = world.leader()
        if leader is not None and self.draw() < 0.5:
            return leader
        alive = [member for member in world.members.values() if member.raft is not None]
        return alive[int(self.draw() * len(alive))] if alive else None

    def span(self) -> int:
        """Draw how long something lasts: from a moment to a few elections."""
        return int(self.world.knobs.settings.election_timeout_ns * 6 * self.draw() ** 2)

    # ---- nodes ---------------------------------------------------------------------------------------

    def at_state(self, member_id: int) -> None:
        """Strike at somebody who has just become candidate or leader: crash, isolate or pause."""
        member = self.world.members[member_id]
        self.world.hit("state")
        what = self.draw()
        if what < 0.4:
            self.world.crash(member)
        elif what < 0.7:
            self.cut_off(member.id, self.span())
        else:
            member.paused_until = self.world.now + self.span()

    def crash(self) -> None:
        """Crash one."""
        member = self.one()
        if member is not None:
            self.world.hit("crash")
            self.world.crash(member)

    def power(self) -> None:
        """Crash all at once."""
        self.world.hit("power")
        for member in self.world.members.values():
            self.world.crash(member)

    def pause(self) -> None:
        """Let one do nothing for a while: what comes to it waits."""
        member = self.one()
        if member is not None:
            self.world.hit("pause")
            member.paused_until = self.world.now + self.span()

    def jump(self) -> None:
        """Let a clock go forward at once."""
        member = self.one()
        if member is not None:
            self.world.hit("jump")
            member.offset_ns += self.span()
            self.wake(member)

    def wake(self, member: Member) -> None:
        """Let a node look at its clock now: its timers were armed for another time."""
        member.timer_at = self.world.now
        self.world.at(0, TIMER, member.id, member.life)

    def disk_loss(self) -> None:
        """Give one a new, empty disk, if of every voter set enough keep theirs."""
        member = self.one()
        if member is None:
            return
        for voters in self.sets():
            intact = [key for key in voters.keys if self.is_intact(key) and key != member.key]
            if len(intact) < voters.majority:
                return
        self.world.hit("disk_loss")
        self.world.crash(member)
        member.replace_disk(Disk(NOBODY))

    def is_intact(self, key: ReplicaKey) -> bool:
        """Whether a voter still has the disk that it votes from."""
        member = self.world.members.get(key.id)
        return member is not None and member.key == key

    def sets(self) -> list[VoterSet]:
        """Return every voter set that somebody goes by, or would after a start."""
        found = []
        for member in self.world.members.values():
            if member.raft is not None:
                found += [voters for _, voters in member.raft.log.voters.entries]
            else:
                disk = member.disk
                found += [batch.content for batch in disk.batches if batch.kind == VOTERS]
                found.append(disk.voters if disk.snapshot is None else disk.snapshot.voters)
        return [voters for voters in found if len(voters)]

    # ---- the network -----------------------------------------------------------------------------------

    def split(self) -> None:
        """Part the nodes in two."""
        self.world.hit("split")
        side = {member_id: self.draw() < 0.5 for member_id in self.world.members}
        self.block(
            [(a, b) for a in side for b in side if side[a] is not side[b]],
        )

    def isolate(self) -> None:
        """Cut one off."""
        member = self.one()
        if member is not None:
            self.world.hit("isolate")
            self.cut_off(member.id, self.span())

    def cut_off(self, member_id: int, span_ns: int) -> None:
        """Cut a node off, for a while."""
        others = [other for other in self.world.members if other != member_id]
        self.block([(member_id, o) for o in others] + [(o, member_id) for o in others], span_ns)

    def one_way(self) -> None:
        """Let one hear nothing, or nobody hear it."""
        member = self.one()
        if member is None:
            return
        self.world.hit("one_way")
        others = [other for other in self.world.members if other != member.id]
        if self.draw() < 0.5:
            self.block([(member.id, other) for other in others])
        else:
            self.block([(other, member.id) for other in others])

    def bridge(self) -> None:
        """Part the nodes in two, but for one that sees all."""
        self.world.hit("bridge")
        ids = list(self.world.members)
        middle = ids[int(self.draw() * len(ids))]
        side = {member_id: self.draw() < 0.5 for member_id in ids if member_id != middle}
        self.block([(a, b) for a in side for b in side if side[a] is not side[b]])

    def block(self, pairs: list[tuple[int, int]], span_ns: int | None = None) -> None:
        """Let no packet pass from one to the other, for a while; what was blocked before is open again."""
        blocked = dict.fromkeys(self.world.blocked, 0)
        for sender, to in pairs:
            blocked[sender] |= 1 << to
        self.world.blocked = blocked
        self.world.at(self.span() if span_ns is None else span_ns, STRIKE, 0, ("heal", 0))

    # ---- the quorum --------------------------------------------------------------------------------------

    def transfer(self) -> None:
        """Let the leader hand over."""
        leader = self.world.leader()
        if leader is None or leader.raft is None or leader.paused_until > self.world.now:
            return
        self.world.hit("transfer")
        keys = [*leader.raft.voters.keys, None]
        local = leader.local(self.world.now)
        leader.raft.resign(local, keys[int(self.draw() * len(keys))])
        self.world.turn(leader, leader.raft, local)

    def churn(self) -> None:
        """Let the leader change the voters: add somebody, or remove one whose disk is lost, or anybody."""
        leader = self.world.leader()
        if leader is None or leader.raft is None or leader.paused_until > self.world.now:
            return
        raft = leader.raft
        voters = raft.voters
        self.world.ticket += 1
        ticket, local = self.world.ticket, leader.local(self.world.now)
        lost = [key for key in voters.keys if not self.is_intact(key)]
        ready = [one for one in self.world.members.values() if one.id not in voters.voters]
        if lost and self.draw() < 0.7:
            raft.remove_voter(lost[0], ticket, local)
        elif ready and (len(voters) < 3 or self.draw() < 0.5):
            one = ready[int(self.draw() * len(ready))]
            raft.add_voter(Voter(one.key), ticket, local)
        elif len(voters) > 1 and not lost:
            raft.remove_voter(voters.keys[int(self.draw() * len(voters))], ticket, local)
        else:
            return
        self.world.hit("churn")
        self.world.turn(leader, raft, local)

    # ---- the end -----------------------------------------------------------------------------------------

    def heal(self) -> list[Any]:
        """End all faults for the liveness phase: a core that can decide lives, the others may be gone for good.

        Returns the members of the core.
        """
        world = self.world
        self.is_over = True
        world.faults.clear()
        world.sites.clear()
        world.blocked = dict.fromkeys(world.blocked, 0)
        gone: set[int] = set()
        if self.draw() < 0.5:
            for member_id in sorted(world.members, key=lambda _: self.draw()):
                if self.can_spare(gone | {member_id}):
                    gone.add(member_id)
        for member in world.members.values():
            member.paused_until = 0
            self.wake(member)
            if member.id in gone:
                world.crash(member, reboot_ns=-1)
            elif member.raft is None:
                world.at(1, START, member.id)
        world.queue[:] = [entry for entry in world.queue if not (entry[2] == START and entry[3] in gone)]
        world.queue.sort()
        return [member for member in world.members.values() if member.id not in gone]

    def can_spare(self, gone: set[int]) -> bool:
        """Whether every voter set keeps a majority of intact voters without these."""
        return all(
            sum(key.id not in gone and self.is_intact(key) for key in voters.keys) >= voters.majority
            for voters in self.sets()
        )
