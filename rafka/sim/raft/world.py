"""The Raft world: replicas, their disks and clocks, and a network of packets, in virtual time, from one seed.

Packets are lost, late, doubled and overtaken, which connections never do, so more goes wrong in less time than over the
real protocol; what replicas say to one another is the same. The order of events is the order of (time, number). A
crash may come between any two effects of a turn. After each event the oracle looks at what it has changed.

Only this file moves time. What strikes, and when, is in `nemesis.py`.
"""

from heapq import heappop, heappush
from typing import Any

from rafka.core.errors import ErrorCode
from rafka.core.raft.batch import VOTERS
from rafka.core.raft.effects import (
    Answer,
    AppendLog,
    Apply,
    Became,
    DeleteBefore,
    Noted,
    ResetLog,
    Restore,
    SaveElection,
    SaveSnapshot,
    TruncateLog,
)
from rafka.core.raft.messages import FetchRequest, Message
from rafka.core.raft.raft import Raft
from rafka.core.raft.roles import NEVER, Leader
from rafka.core.raft.voters import NOBODY, Voter, VoterSet
from rafka.sim.chance import Chance
from rafka.sim.raft.disk import Disk
from rafka.sim.raft.knobs import Knobs
from rafka.sim.raft.member import MASK, Member, encode, step
from rafka.sim.raft.oracle import Broken, Oracle

MESSAGE, TIMER, VOTED, WRITTEN, CLIENT, START, RESUME, STRIKE = range(8)
KINDS = ("message", "timer", "vote synced", "log synced", "client", "start", "resume", "strike")
RESIGNS = "no majority fetches: resigning"
CHECK_EVERY = 64
"""After how many events the replicas check all their own invariants."""


class World:
    """One run. now: virtual nanoseconds; fired: how often each kind of fault has struck."""

    def __init__(self, seed: int, knobs: Knobs) -> None:
        self.seed = seed
        self.knobs = knobs
        chance = Chance(seed)
        self.draw = chance.fork("net").draw
        self.disk_draw = chance.fork("disk").draw
        self.client_draw = chance.fork("clients").draw
        self.chance = chance
        self.now = 0
        self.queue: list[tuple[int, int, int, int, Any]] = []
        self.number = 0
        self.events = 0
        self.trace = seed & MASK
        self.oracle = Oracle()
        self.fired: dict[str, int] = {}
        self.blocked: dict[int, int] = {}
        """Sender → bits of those that its packets do not reach."""
        self.faults = dict(knobs.faults)
        self.sites: dict[tuple[type, str], list[int]] = {}
        """Kind of message and role of its sender → how often it was struck; only where something strikes."""
        self.site_draw = chance.fork("sites").draw
        self.waiting: dict[int, tuple[str, int]] = {}
        """Ticket → what a client waits for: a write and its content, or a read and what was acknowledged before."""
        self.ticket = 0
        self.committed_writes = 0
        self.members: dict[int, Member] = {}
        self.strike: Any = None
        """What happens at a STRIKE; the nemesis sets it."""
        self.said: list[str] | None = None
        """Everything that happens, if somebody wants to read it."""
        self._build(chance.fork("build"))

    def _build(self, chance: Chance) -> None:
        knobs = self.knobs
        ids = range(1, knobs.voters + knobs.observers + 1)
        for member_id in ids:
            rate = 1.0 + (2 * chance.draw() - 1) * knobs.clock_spread
            self.members[member_id] = Member(member_id, Disk(NOBODY), rate)
            self.blocked[member_id] = 0
        first = VoterSet(Voter(self.members[one].key) for one in ids[: knobs.voters])
        for member_id in ids[: knobs.voters]:
            self.members[member_id].disk = Disk(first)
        for member_id in ids:
            self.at(0, START, member_id)
        self.at(knobs.propose_ns, CLIENT, 0)

    # ---- the loop --------------------------------------------------------------------------------

    def at(self, delay_ns: int, kind: int, member_id: int, thing: Any = None) -> None:
        """Let something happen later."""
        self.number += 1
        heappush(self.queue, (self.now + delay_ns, self.number, kind, member_id, thing))

    def run(self, until_ns: int, events_max: int = 1 << 60) -> None:
        """Let events happen until a time, or so many of them."""
        queue, members = self.queue, self.members
        left = events_max
        while queue and queue[0][0] <= until_ns and left > 0:
            when, number, kind, member_id, thing = heappop(queue)
            self.now = when
            left -= 1
            self.events += 1
            self.trace = (self.trace * 1_000_003 ^ when ^ kind << 8 ^ member_id) & MASK
            if kind == MESSAGE:
                member = members[member_id]
                if member.raft is not None:
                    if member.paused_until > when:
                        heappush(queue, (member.paused_until, number, kind, member_id, thing))
                    else:
                        self.deliver(member, thing)
            elif kind == CLIENT:
                self.client()
            elif kind == STRIKE:
                self.strike(thing)
            else:
                self.local_event(members[member_id], kind, thing, number)
        if left <= 0:
            raise Broken(
                "LV", f"{events_max} events came before virtual time {until_ns / 1e9:.3f} s: it spins"
            )
        self.now = max(self.now, until_ns)

    def deliver(self, member: Member, message: Message) -> None:
        """Give a packet to a replica that lives."""
        raft = member.raft
        assert raft is not None
        if self.said is not None:
            self.tell(f"{message.sender} → {member.id} {message}")
        local = int(self.now * member.rate) + member.offset_ns
        raft.receive(message, local)
        if type(message) is FetchRequest:
            self.oracle.counted(member, raft, message)
        self.turn(member, raft, local)

    def local_event(self, member: Member, kind: int, thing: Any, number: int) -> None:
        """Let something happen at one node: a deadline, an answer of its disk, a start."""
        if kind == START:
            if member.raft is None:
                self.start(member)
            return
        raft = member.raft
        if raft is None or thing != member.life:
            return
        if member.paused_until > self.now:
            heappush(self.queue, (member.paused_until, number, kind, member.id, thing))
            return
        local = int(self.now * member.rate) + member.offset_ns
        if kind == TIMER:
            if member.timer_at > self.now:
                return  # it was moved
            member.timer_at = NEVER
        elif kind == VOTED:
            former = member.disk.election
            token = member.disk.election_done()
            self.oracle.election_written(member, former)
            raft.election_synced(token, local)
        elif kind == WRITTEN:
            token = member.disk.log_done()
            if token:
                raft.log_synced(token, local)
        self.turn(member, raft, local)

    def turn(self, member: Member, raft: Raft, local: int) -> None:
        """End a replica's turn: tick, perform what it asks, and see when to wake it."""
        raft.tick(local)
        raft.log.flush()
        out = raft.out
        while out:
            effects = out[:]
            out.clear()
            for effect in effects:
                PERFORM[type(effect)](self, member, effect)
                if member.raft is not raft:
                    return  # it has crashed in between
            raft.log.flush()
        self.oracle.turned(member, raft)
        if self.events % CHECK_EVERY == 0:
            raft.check()
        disk = member.disk
        if disk.logs and not disk.log_flight:
            disk.log_flight = len(disk.logs)
            self.at(self.disk_delay(), WRITTEN, member.id, member.life)
        if disk.elections and not disk.election_flight:
            disk.election_flight = len(disk.elections)
            self.at(self.disk_delay(), VOTED, member.id, member.life)
        deadline = raft.deadline()
        if deadline < NEVER:
            when = int((deadline - member.offset_ns) / member.rate) + 1
            if when < member.timer_at:
                member.timer_at = max(when, self.now)
                self.number += 1
                heappush(self.queue, (member.timer_at, self.number, TIMER, member.id, member.life))

    # ---- the network and the disks -----------------------------------------------------------------

    def transmit(self, member: Member, message: Any) -> None:
        """Send a packet: it may be lost, late, doubled or overtaken; sites strike at some kinds of some roles."""
        self.oracle.sends(member, message)
        faults, draw = self.faults, self.draw
        chance = draw()
        if self.blocked[member.id] >> message.to & 1:
            return
        delay = int(self.knobs.delay_ns * (0.5 + chance))
        if faults:
            if chance < faults.get("drop", 0.0):
                self.hit("drop")
                return
            if self.sites and self.site(member, message):
                return
            if draw() < faults.get("slow", 0.0):
                self.hit("slow")
                delay += int(draw() * self.knobs.settings.election_timeout_ns * 2)
            elif draw() < faults.get("reorder", 0.0):
                delay += int(draw() * 4 * self.knobs.delay_ns)
            if draw() < faults.get("duplicate", 0.0):
                self.hit("duplicate")
                self.at(delay + int(draw() * 8 * self.knobs.delay_ns), MESSAGE, message.to, message)
        self.number += 1
        heappush(self.queue, (self.now + delay, self.number, MESSAGE, message.to, message))
        boundary = faults.get("boundary", 0.0)
        if boundary and draw() < boundary:
            self.hit("boundary")
            self.crash(member)

    def site(self, member: Member, message: Message) -> bool:
        """Strike at an active site, less and less often: lose the packet, delay it long, or crash its sender."""
        hits = self.sites.get((type(message), member.role))
        if hits is None or self.site_draw() * (1 + hits[0] / 50) >= self.faults.get("site", 0.0):
            return False
        hits[0] += 1
        self.hit("site")
        what = self.site_draw()
        if what < 0.4:
            return True
        delay = int(self.site_draw() * 3 * self.knobs.settings.election_timeout_ns)
        self.at(delay, MESSAGE, message.to, message)
        if what > 0.7:
            self.crash(member)
        return True

    def disk_delay(self) -> int:
        """Draw how long a sync takes."""
        delay = int(self.knobs.disk_ns * (0.5 + self.disk_draw()))
        rate = self.faults.get("slow_disk", 0.0)
        if rate and self.disk_draw() < rate:
            self.hit("slow_disk")
            delay += int(self.disk_draw() * 2 * self.knobs.settings.election_timeout_ns)
        return delay

    def hit(self, kind: str) -> None:
        """Count a fault."""
        self.fired[kind] = self.fired.get(kind, 0) + 1

    def tell(self, text: str) -> None:
        """Keep a line for a reader."""
        if self.said is not None:
            self.said.append(f"{self.now / 1e6:12.3f} {text}")

    # ---- lives ---------------------------------------------------------------------------------------

    def start(self, member: Member) -> None:
        """Let a node begin a life."""
        member.life += 1
        chance = self.chance.fork(f"node{member.id}/{member.life}")
        bootstrap = tuple(range(1, self.knobs.voters + 1))
        raft = Raft(member.key, self.knobs.settings, chance, bootstrap)
        member.raft = raft
        member.role, member.epoch = "(start)", 0
        member.timer_at = NEVER
        member.applied_offset = member.applied_chain = member.snapshot_offset = member.high_watermark = 0
        stored = member.disk.stored()
        chain = self.oracle.history[stored.snapshot.id.end_offset] if stored.snapshot else 0
        member.chains = {stored.snapshot.id.end_offset if stored.snapshot else 0: chain}
        local = member.local(self.now)
        raft.open(stored, local)
        for batch in raft.log.batches:
            chain = member.chains[batch.end_offset] = step(chain, batch)
        member.disk.end_offset = raft.log.end_offset
        self.tell(f"{member.id} starts, life {member.life}")
        self.turn(member, raft, local)

    def crash(self, member: Member, reboot_ns: int | None = None) -> None:
        """End a node's life at once; it starts again after a while, by default a drawn one."""
        if member.raft is None:
            return
        member.raft = None
        member.timer_at = NEVER
        member.paused_until = 0
        member.disk.crash(self.disk_draw, self.faults.get("torn", 0.0))
        self.tell(f"{member.id} crashes")
        if reboot_ns is None:
            reboot_ns = int(self.knobs.reboot_ns * (0.2 + 2 * self.draw()))
        if reboot_ns >= 0:
            self.at(reboot_ns, START, member.id)

    def leader(self) -> Member | None:
        """Return who leads the highest epoch, if anybody that lives does."""
        found = None
        for member in self.members.values():
            if (
                member.raft is not None
                and isinstance(member.raft.role, Leader)
                and (found is None or member.epoch > found.epoch)
            ):
                found = member
        return found

    # ---- clients ---------------------------------------------------------------------------------------

    def client(self) -> None:
        """Let a client write or read, at whoever leads, or at anybody; and come again."""
        draw = self.client_draw
        self.at(int(self.knobs.propose_ns * 2 * draw()) + 1, CLIENT, 0)
        pick, what = draw(), draw()
        members = self.members
        for member in members.values():
            if member.role == "leader" and member.raft is not None and member.paused_until < self.now:
                self.oracle.leads_on(member, member.raft, member.local(self.now))
        target = members[int(pick * 1000) % len(members) + 1] if pick < 0.2 else self.leader()
        if what < 0.15 and pick > 0.4:  # half of the readers believe in the oldest leader that there is
            leaders = [member for member in members.values() if member.role == "leader" and member.raft]
            target = min(leaders, key=lambda member: member.epoch) if leaders else None
        if target is None or target.raft is None or target.paused_until > self.now:
            return
        self.ask(target, is_read=what < 0.15)

    def ask(self, member: Member, *, is_read: bool) -> int:
        """Let a client ask one node; return the ticket."""
        raft = member.raft
        assert raft is not None
        self.ticket += 1
        ticket = self.ticket
        if is_read:
            self.waiting[ticket] = ("read", self.oracle.acknowledged)
            raft.read(ticket)
        else:
            self.waiting[ticket] = ("write", ticket)
            raft.propose(ticket, 1 + ticket % self.knobs.batch_max, ticket)
        self.turn(member, raft, member.local(self.now))
        return ticket

    def answered(self, effect: Answer) -> None:
        """Tell whoever waits."""
        what, thing = self.waiting.pop(effect.ticket, ("", 0))
        if effect.error is not ErrorCode.NONE:
            return
        if what == "write":
            self.committed_writes += 1
            self.oracle.write_done(thing)
        elif what == "read":
            self.oracle.read_done(effect.offset, thing)


# ---- performing ------------------------------------------------------------------------------------------


def _append(world: World, member: Member, effect: AppendLog) -> None:
    world.oracle.appends(member, effect)
    if member.role == "leader" and any(batch.kind == VOTERS for batch in effect.batches):
        member.led_since = member.local(world.now)  # other voters have to fetch from now on
    member.disk.logs.append(effect)
    _boundary(world, member)


def _truncate(world: World, member: Member, effect: TruncateLog) -> None:
    world.oracle.cuts(member, effect.end_offset)
    member.disk.logs.append(effect)


def _reset(world: World, member: Member, effect: ResetLog) -> None:
    world.oracle.cuts(member, effect.start_offset)
    world.oracle.begins(member, effect.start_offset)
    member.disk.logs.append(effect)


def _delete(world: World, member: Member, effect: DeleteBefore) -> None:
    world.oracle.begins(member, effect.start_offset)
    member.disk.logs.append(effect)


def _snapshot(world: World, member: Member, effect: SaveSnapshot) -> None:
    world.oracle.saves(member, effect.snapshot)
    member.disk.logs.append(effect)
    _boundary(world, member)


def _election(world: World, member: Member, effect: SaveElection) -> None:
    member.disk.elections.append(effect)
    _boundary(world, member)


def _boundary(world: World, member: Member) -> None:
    rate = world.faults.get("boundary", 0.0)
    if rate and world.draw() < rate * 4:
        world.hit("boundary")
        world.crash(member)


def _apply(world: World, member: Member, effect: Apply) -> None:
    world.oracle.applies(member, effect.batch)
    if member.applied_offset - member.snapshot_offset >= world.knobs.snapshot_every:
        raft = member.raft
        assert raft is not None
        if raft.applied_offset == member.applied_offset:
            state = encode(member.applied_offset, member.applied_chain, world.knobs.snapshot_bytes)
            if raft.save_snapshot(member.applied_offset, state):
                member.snapshot_offset = member.applied_offset
                world.hit("snapshot")


def _restore(world: World, member: Member, effect: Restore) -> None:
    world.oracle.restores(member, effect.snapshot)


def _became(world: World, member: Member, effect: Became) -> None:
    world.oracle.became(member, effect)
    if effect.role == "leader":
        member.led_since = member.local(world.now)
    if world.said is not None:
        world.tell(f"{member.id} is {effect.role} in epoch {effect.epoch}, led by {effect.leader_id}")
    state = world.faults.get("state", 0.0)
    if state and effect.role in ("leader", "candidate") and world.draw() < state:
        world.strike(("state", member.id))


def _answer(world: World, member: Member, effect: Answer) -> None:
    del member
    world.answered(effect)


def _noted(world: World, member: Member, effect: Noted) -> None:
    raft = member.raft
    if effect.text == RESIGNS and raft is not None and raft.is_voter and len(raft.voters) == 1:
        raise Broken("LV", f"{member.id} is all the voters there are, and resigns")
    if world.said is not None:
        world.tell(f"{member.id} notes: {effect.text} ({effect.offset})")


class _Perform(dict[type, Any]):
    def __missing__(self, kind: type) -> Any:
        return World.transmit


PERFORM: Any = _Perform(
    {
        AppendLog: _append,
        TruncateLog: _truncate,
        ResetLog: _reset,
        DeleteBefore: _delete,
        SaveSnapshot: _snapshot,
        SaveElection: _election,
        Apply: _apply,
        Restore: _restore,
        Became: _became,
        Answer: _answer,
        Noted: _noted,
    }
)
"""What is done for each kind of effect; all others are messages."""
