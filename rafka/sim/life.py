"""One life of a broker's process: turns of its machine, from boot to crash or Stop, over virtual disk and network.

A turn takes time; what happens meanwhile is handled together in the next. Deadlines are met late, never early.
The clock's zero means nothing, so every life has another; the wall clock may jump between two lives.
"""

from collections.abc import Callable
from typing import Protocol

from rafka.core.effects import (
    Close,
    DiskEffect,
    Effect,
    Fill,
    Listen,
    Note,
    Pause,
    Reply,
    Resume,
    Send,
    Stop,
)
from rafka.core.events import Connected, Disconnected, Event, Listening, Terminated
from rafka.core.machine import Entropy, Machine
from rafka.core.shape import value
from rafka.core.types import ConnId, MonoNs, Now, WallMs
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk
from rafka.sim.network import Network, Peer, Wire
from rafka.sim.storage import Clock, Storage
from rafka.sim.trace import Trace

MS = 1_000_000
STOP_GRACE_NS = 1_000 * MS
WALL_MS = 1_700_000_000_000


class Checked(Machine, Protocol):
    """A machine that knows its invariants."""

    def check(self) -> None:
        """Assert every invariant; called after each turn."""


Boot = Callable[[Entropy, Now], Checked]
"""Makes the machine of a new process. It may have effects waiting at once."""


@value
class Weather:
    """How slow and how uneven the world is: mean durations in ns."""

    disk_ns: int
    net_ns: int
    turn_ns: int


class Life:
    """A process. It ends by `kill`, or by itself after the machine asked to Stop: then `exit_code` is set."""

    def __init__(
        self, boot: Boot, clock: Clock, disk: Disk, chance: Chance, weather: Weather, trace: Trace
    ) -> None:
        self.is_alive = True
        self.port = 0
        """What it listens on; 0: it does not."""
        self.exit_code: int | None = None
        self.turns = 0
        self._clock = clock
        self._trace = trace
        self._chance = chance.fork("turns")
        self._weather = weather
        self._mono_at_0 = self._chance.below(1 << 60)
        self._wall_at_0 = WALL_MS + self._chance.below(4000)
        self.storage = Storage(disk, self, chance.fork("disk"), weather.disk_ns, self._report)
        self.network = Network(disk, self, chance.fork("net"), weather.net_ns, self._report, self._ended)
        self._inbox: list[Event] = []
        self._turn_at: int | None = None
        self._busy_until = 0
        self._stop: Stop | None = None
        self._machine = boot(chance.fork("entropy"), self.now)
        self._turn_by(self.time_ns)

    # ---- a clock that dies with it -------------------------------------------------------------------

    @property
    def time_ns(self) -> int:
        """Virtual time."""
        return self._clock.time_ns

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Run `action` then, if still alive."""
        self._clock.at(time_ns, lambda: action() if self.is_alive else None)

    @property
    def now(self) -> Now:
        """What the machine is told of the time."""
        time_ns = self.time_ns
        return Now(MonoNs(self._mono_at_0 + time_ns), WallMs(self._wall_at_0 + time_ns // MS))

    # ---- what happens to it --------------------------------------------------------------------------

    def accept(self, conn: ConnId, peer: Peer) -> Wire:
        """Let a client connect."""
        assert self.port
        wire = self.network.wires[conn] = Wire(conn, peer, self.network)
        self._report(Connected(conn, f"127.0.0.1:{50_000 + conn}", "127.0.0.1", self.port))
        return wire

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._report(Terminated("SIGTERM"))

    def kill(self) -> None:
        """End it here and now (SIGKILL, or the power is gone)."""
        self.is_alive = False
        for wire in list(self.network.wires.values()):
            wire.end("the broker is gone")

    def _report(self, event: Event) -> None:
        self._inbox.append(event)
        self._turn_by(self.time_ns)

    def _ended(self, wire: Wire, reason: str) -> None:
        del self.network.wires[wire.conn]
        if self.is_alive:
            self._report(Disconnected(wire.conn, reason))

    # ---- turns ---------------------------------------------------------------------------------------

    def _turn_by(self, time_ns: int) -> None:
        """Take a turn at this time, or as soon as the one under way is over."""
        at = max(time_ns, self._busy_until, self.time_ns)
        if self._turn_at is None or at < self._turn_at:
            self._turn_at = at
            self.at(at, lambda: self._turn() if self._turn_at == at else None)

    def _turn(self) -> None:
        self._turn_at = None
        if self._stop is not None:
            return
        self.turns += 1
        machine, now = self._machine, self.now
        events, self._inbox = self._inbox, []
        for event in events:
            self._trace.note(self.time_ns, event)
            machine.handle(event, now)
        machine.tick(now)
        self._busy_until = self.time_ns + 1 + self._chance.around(self._weather.turn_ns)
        for effect in machine.drain():
            self._trace.note(self.time_ns, effect)
            self._perform(effect)
        machine.check()
        for wire in list(self.network.wires.values()):
            wire.turned()
        due = machine.deadline()
        if self._inbox:
            self._turn_by(self._busy_until)
        elif due is not None:
            self._turn_by(due - self._mono_at_0 + self._chance.around(self._weather.turn_ns))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send() | Fill() | Pause() | Resume() | Close():
                wire = self.network.wires.get(effect.conn)
                if wire is not None:
                    _perform_on(wire, effect)
            case Listen():
                self.port = effect.port or 9092
                self._report(Listening(effect.token, effect.host, self.port))
            case Stop():
                self._stop = effect
                self.port = 0
                self._leave(self.time_ns + STOP_GRACE_NS)
            case Note():
                pass  # it is in the trace
            case Reply():
                raise AssertionError("a Reply is the session's to take")
            case _:
                disk_effect: DiskEffect = effect
                self.storage.submit(disk_effect)

    def _leave(self, grace_until: int) -> None:
        """Exit once the disk is done and the connections are flushed, or the grace is over."""
        assert self._stop is not None
        for wire in list(self.network.wires.values()):
            wire.close("the broker stops")
        if self.storage.pending or (self.network.wires and self.time_ns < grace_until):
            self.at(self.time_ns + MS, lambda: self._leave(grace_until))
            return
        self.exit_code = self._stop.code
        self.kill()


def _perform_on(wire: Wire, effect: Send | Fill | Pause | Resume | Close) -> None:
    match effect:
        case Send():
            wire.push(effect.pieces)
        case Fill():
            wire.fill(effect.buffer)
        case Pause():
            wire.is_paused = True
        case Resume():
            wire.resume()
        case Close():
            wire.close(effect.reason)
