"""A store that believes in a kind world, so that every kind of fault has somebody to break.

It keeps what it is sent in one file, eight bytes a value, and acknowledges each. It believes that: a message comes
in one piece and a client stays; answers are quick; what was written can be read; a failed operation is as good as any;
a name needs no sync; what it knows, it knows for ever; turns come on time; the wall clock is right.
"""

from errno import ENOENT

from rafka.core.effects import Listen, Read, Send, Stop, Sync, Write
from rafka.core.events import (
    Connected,
    Disconnected,
    Failed,
    Listening,
    Loaded,
    Received,
    Synced,
    Terminated,
    Written,
)
from rafka.core.types import File, MonoNs, Token
from rafka.sim.chance import Chance
from rafka.sim.faults import HEAVY
from rafka.sim.life import MS, WALL_MS, Weather
from rafka.sim.nemesis import Nemesis
from rafka.sim.world import World

LOG = File("log")
TICK_NS = 10 * MS
KIND = Weather(disk_ns=10_000, net_ns=10_000, turn_ns=100_000)


class Belief:
    """What the store, in all its lives, and its clients have come to doubt."""

    def __init__(self):
        self.broken = []
        self.acked = []
        self.lives = 0
        self.serving = True

    def doubt(self, what):
        self.broken.append(what)


class NaiveStore:
    def __init__(self, world, belief, now, *, syncs):
        self.world, self.belief, self.syncs = world, belief, syncs
        self.effects = [Read(LOG, 0, 1 << 20, Token(1))]
        self.token = 2
        self.waiting = {}
        self.clients = {}
        self.heard = {}
        self.bytes = {}
        self.reading = {}
        self.count = 0
        self.is_open = False
        self.next = now.mono + TICK_NS
        self.wall, self.begun = now.wall, now.mono
        belief.lives += 1
        if belief.lives > 1:
            belief.doubt("what it knew is gone")
            if not belief.serving:
                belief.doubt("the life before never served")
        belief.serving = False
        if abs(now.wall - (WALL_MS + world.time_ns // MS)) > 5000:
            belief.doubt("the clock is wrong")

    def handle(self, event, now):
        match event:
            case Listening():
                self.belief.serving = True
            case Connected():
                self.heard[event.conn] = now.mono
            case Received():
                self.received(event.conn, bytes(event.data), now)
            case Disconnected():
                self.belief.doubt("a client has gone")
                self.heard.pop(event.conn, None)
                self.clients = {name: conn for name, conn in self.clients.items() if conn != event.conn}
            case Written() if self.syncs:
                self.ask(Sync, self.waiting.pop(event.token))
            case Written() | Synced():
                self.acknowledge(event.token)
            case Failed() if event.errno == ENOENT:
                self.loaded(b"")
            case Failed():
                self.belief.doubt(f"{event.op} failed")
                if event.op in ("write", "sync"):
                    self.acknowledge(event.token)
                elif not self.is_open:
                    self.loaded(b"")
            case Loaded():
                self.loaded(event.data, self.reading.get(event.token))
            case Terminated():
                self.effects.append(Stop(0))

    def received(self, conn, data, now):
        self.heard[conn] = now.mono
        data = self.bytes.get(conn, b"") + data
        self.bytes[conn] = data[8:]
        if len(data) < 8:
            self.bytes[conn] = data
            return
        data = data[:8]
        if self.clients.setdefault(data[:2], conn) != conn:
            self.belief.doubt("one client, two connections")
        self.token += 1
        self.waiting[self.token] = (conn, data)
        self.effects.append(Write(LOG, 8 * self.count, [data], Token(self.token)))
        self.count += 1

    def ask(self, kind, what):
        self.token += 1
        self.waiting[self.token] = what
        self.effects.append(kind(LOG, Token(self.token)))

    def acknowledge(self, token):
        conn, data = self.waiting.pop(token, (None, None))
        if conn is None:
            return
        self.belief.acked.append(data)
        self.effects.append(Send(conn, [data]))
        if len(self.belief.acked) % 3 == 0:
            self.token += 1
            self.reading[self.token] = len(self.belief.acked)
            self.effects.append(Read(LOG, 0, 8 * self.count, Token(self.token)))

    def loaded(self, data, expected=None):
        found = [data[at : at + 8] for at in range(0, len(data), 8)]
        if any(value not in found for value in self.belief.acked[:expected]):
            self.belief.doubt("what was acknowledged is not there")
        if not self.is_open:
            self.is_open = True
            self.count = len(data) // 8
            self.effects.append(Listen("127.0.0.1", 9092, Token(2)))

    def tick(self, now):
        if now.mono < self.next:
            return
        if now.mono - self.next > 10 * MS:
            self.belief.doubt("a turn comes late")
        if abs(now.wall - self.wall - (now.mono - self.begun) // MS) > 5:
            self.belief.doubt("the clock jumps")
        self.next = MonoNs(now.mono - (now.mono - self.next) % TICK_NS + TICK_NS)
        if any(now.mono - heard > 600 * MS for heard in self.heard.values()):
            self.belief.doubt("a client is silent")

    def drain(self):
        effects, self.effects = self.effects, []
        return effects

    def deadline(self):
        return self.next

    def check(self):
        pass


class NaiveClient:
    """Sends a value, waits for it to come back, sends the next."""

    def __init__(self, name, world, belief):
        self.name = self.entity = name
        self.world, self.belief = world, belief
        self.wire = None
        self.number = self.crumbs = 0
        self.got = b""
        self.sent_at = self.sleeps_until = 0
        self.down_since = world.time_ns
        self.is_done = False
        self.dial(None)

    @property
    def wires(self):
        return [] if self.wire is None else [self.wire]

    def dial(self, _):
        if self.is_done or self.wire is not None:
            return
        is_up = self.world.life is not None and self.world.life.port
        self.wire = self.world.dial(self)
        if self.wire is None:
            if is_up:
                self.belief.doubt("connecting failed")
            if self.world.time_ns - self.down_since > 1000 * MS:
                self.belief.doubt("it is down for long")
            self.world.at(self.world.time_ns + 5 * MS, self.dial, None)
            return
        self.got = b""
        self.send(None)

    def send(self, _):
        if self.sleeps_until > self.world.time_ns:
            self.world.at(self.sleeps_until, self.send, None)
        elif self.wire is not None and not self.is_done:
            self.number += 1
            self.sent_at = self.world.time_ns
            self.wire.send(self.name[-2:].encode() + b"%06d" % self.number)
            self.world.at(self.sent_at + 300 * MS, self.look, self.number)

    def look(self, number):
        if number == self.number and self.wire is not None and self.sleeps_until <= self.world.time_ns:
            self.belief.doubt("no answer comes")

    def received(self, wire, data):
        self.got += data
        self.crumbs = self.crumbs + 1 if len(data) == 1 else 0
        if self.crumbs > 20:
            self.belief.doubt("answers come in crumbs")
        if len(self.got) < 8:
            return
        self.got = b""
        if self.world.time_ns - self.sent_at > 15 * MS:
            self.belief.doubt("an answer comes late")
        self.number += 1
        self.world.at(self.world.time_ns + 20 * MS, self.send, None)

    def lost(self, wire):
        if wire is self.wire:
            self.belief.doubt("a connection breaks")
            self.wire = None
            self.down_since = self.world.time_ns
            self.world.at(self.world.time_ns + 5 * MS, self.dial, None)

    # What a nemesis does to clients.

    def kill(self):
        self.is_done = True
        if self.wire is not None:
            self.wire.vanish()

    def sleep(self, duration_ns):
        self.sleeps_until = self.world.time_ns + duration_ns

    def hang_up(self):
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.hang_up()
            self.dial(None)


def believed(seed, *kinds, time_ms=2000, syncs=True):
    """Let a naive store live with some kinds of faults; give what it came to doubt, and what struck."""
    belief = Belief()
    holder = []

    def boot(_entropy, now):
        return NaiveStore(holder[0], belief, now, syncs=syncs)

    class Held(World):
        def start(self, _=None):
            if not holder:
                holder.append(self)
            super().start()

    world = Held(seed, boot, levels=dict.fromkeys(kinds, HEAVY), weather=KIND)
    nemesis = Nemesis(world, Chance(seed, "nemesis"))
    world.pass_time(20)
    world.book.quiet = False
    for number in range(3):
        name = f"client-c{number}"
        nemesis.clients[name] = NaiveClient(name, world, belief)
    nemesis.begin()
    world.pass_time(time_ms)
    return belief, world
