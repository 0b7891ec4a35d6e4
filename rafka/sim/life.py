"""One life of a broker's process: turns of its machine, from boot to crash or Stop, over virtual disk and network.

A turn takes time; what happens meanwhile is handled together in the next. Deadlines are met late, never early.
The clock's zero means nothing, so every life has another; the wall clock may jump between two lives, drift and step.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rafka.core.effects import Close, DiskEffect, Effect, Fill, Listen, Note, Pause, Reply, Resume, Send, Stop
from rafka.core.events import Connected, Disconnected, Event, Listening, Terminated
from rafka.core.machine import Entropy, Machine
from rafka.core.shape import value
from rafka.core.types import ConnId, MonoNs, Now
from rafka.sim.chance import Chance
from rafka.sim.disk import OPS, Disk
from rafka.sim.network import Lines, Network, Peer, Wire
from rafka.sim.storage import Clock, DiskFaults, Storage
from rafka.sim.trace import ANSWERED, CONNECTED, ENDED, NOTED, PERFORMED, TURN, Trace

MS = 1_000_000
STOP_GRACE_NS = 1_000 * MS
WALL_MS = 1_700_000_000_000
DRIFT = 0.1
DAY_MS = 86_400_000


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


class Host(Clock, Protocol):
    """The world that a process lives in."""

    disk: Disk
    trace: Trace
    weather: Weather
    lines: Lines
    disk_faults: DiskFaults
    watch: "Watch"
    handed: int
    """Events given to the machine, in all lives."""


class Watch:
    """What looks at each effect before it is performed; this one does nothing."""

    def before(self, effect: Effect) -> bool:
        """Say whether the process dies here."""
        del effect
        return False


class Life:
    """A process. It ends by `kill`, or by itself after the machine asked to Stop: then `exit_code` is set."""

    def __init__(
        self, boot: Boot, host: Host, chance: Chance, *, wall_offset_ms: int = 0, wall_rate: float = 1.0
    ) -> None:
        self.is_alive = True
        self.port = 0
        """What it listens on; 0: it does not."""
        self.exit_code: int | None = None
        self.turns = 0
        self.notes: list[Note] = []
        """Warnings and errors."""
        self.stalled_until = 0
        """No turn before this time: the process is paused."""
        self.turn_factor = 1
        """How many times longer turns take."""
        self.wall_rate = wall_rate
        self.started_ns = host.time_ns
        self._host = host
        self._trace = host.trace
        turns = chance.fork("turns")
        self._around = turns.around
        self._mono_at_0 = turns.below(1 << 60)
        self._wall_at_start = WALL_MS + host.time_ns // MS + turns.below(4000) + wall_offset_ms
        weather = host.weather
        self.storage = Storage(
            host.disk, host, chance.fork("disk"), weather.disk_ns, self._answered, host.disk_faults
        )
        self.network = Network(
            host.disk,
            host,
            chance.fork("net"),
            weather.net_ns,
            self._report,
            self._ended,
            host.trace,
            host.lines,
        )
        self._inbox: list[Event] = []
        self._turn_at: int | None = None
        self._alarms: list[int] = []
        """When the clock will call, latest first; never later than the next turn."""
        self._busy_until = 0
        self._stop: Stop | None = None
        self._performers = self._table()
        self.machine = boot(chance.fork("entropy"), self.now)
        self._turn_by(host.time_ns)

    @property
    def now(self) -> Now:
        """What the machine is told of the time."""
        time_ns = self._host.time_ns
        wall = self._wall_at_start + int((time_ns - self.started_ns) * self.wall_rate) // MS
        mono: MonoNs = self._mono_at_0 + time_ns  # type: ignore[assignment]  # a call a turn, for the checker alone
        return Now(mono, wall)  # type: ignore[arg-type]

    # ---- what happens to it --------------------------------------------------------------------------

    def accept(self, conn: ConnId, peer: Peer) -> Wire | None:
        """Let a client connect; None: it is refused."""
        assert self.port
        wire = self.network.accept(conn, peer)
        if wire is not None:
            self._trace.note(self._host.time_ns, CONNECTED, conn)
            self._report(Connected(conn, f"127.0.0.1:{50_000 + conn}", "127.0.0.1", self.port))
        return wire

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._report(Terminated("SIGTERM"))

    def kill(self) -> None:
        """End it here and now (SIGKILL, or the power is gone)."""
        self.is_alive = False
        self.port = 0
        self.storage.kill()
        for wire in list(self.network.wires.values()):
            wire.end("the broker is gone")

    def resume(self, now: Now, port: int, events: Sequence[Event]) -> None:
        """Be in the middle of a life instead of at its start: at this time, listening there, with these to be told."""
        time_ns = self._host.time_ns
        self._mono_at_0 = now.mono - time_ns
        self._wall_at_start = now.wall
        self.port = port
        self._inbox += events

    def perform(self, effect: Effect) -> None:
        """Perform an effect that the machine has asked for before it came here."""
        self._performers[type(effect)](effect)

    def stall(self, duration_ns: int) -> None:
        """Pause the process."""
        self.stalled_until = max(self.stalled_until, self._host.time_ns + duration_ns)

    def step_wall(self, step_ms: int) -> None:
        """Set the wall clock forwards or back."""
        self._wall_at_start += step_ms

    def _report(self, event: Event) -> None:
        self._inbox.append(event)
        if self._turn_at is None or self._turn_at > self._host.time_ns:
            self._turn_by(self._host.time_ns)

    def _answered(self, event: Any) -> None:
        self._trace.note(self._host.time_ns, ANSWERED, event.token)
        self._report(event)

    def _ended(self, wire: Wire, reason: str) -> None:
        del self.network.wires[wire.conn]
        self._trace.note(self._host.time_ns, ENDED, wire.conn)
        if self.is_alive:
            self._report(Disconnected(wire.conn, reason))

    # ---- turns ---------------------------------------------------------------------------------------

    def _turn_by(self, time_ns: int) -> None:
        """Take a turn at this time, or as soon as the one under way is over."""
        at = max(time_ns, self._busy_until, self.stalled_until, self._host.time_ns)
        if self._turn_at is None or at < self._turn_at:
            self._turn_at = at
            self._call_by(at)

    def _call_by(self, at: int) -> None:
        """Let the clock call by this time; a call that comes too early is cheaper than one for each new deadline."""
        alarms = self._alarms
        if not alarms or at < alarms[-1]:
            alarms.append(at)
            self._host.at(at, self._turn, at)

    def _turn(self, at: int) -> None:
        host = self._host
        self._alarms.pop()
        if not self.is_alive or self._stop is not None or self._turn_at is None:
            return
        if self._turn_at > at:
            self._call_by(self._turn_at)
            return
        self._turn_at = None
        if at < self.stalled_until:
            self._turn_by(at)
            return
        self.turns += 1
        machine, now = self.machine, self.now
        events, self._inbox = self._inbox, []
        host.handed += len(events)
        self._trace.note(at, TURN, len(events))
        handle = machine.handle
        for event in events:
            handle(event, now)
        machine.tick(now)
        self._busy_until = at + 1 + self._around(host.weather.turn_ns) * self.turn_factor
        before, performers = host.watch.before, self._performers
        for effect in machine.drain():
            if before(effect):
                return  # it died between two effects
            performers[type(effect)](effect)
        machine.check()
        turned = self.network.turned
        if turned:
            self.network.turned = {}
            for wire in turned.values():
                wire.turned()
        due = machine.deadline()
        if self._inbox:
            self._turn_by(self._busy_until)
        elif due is not None:
            self._turn_by(due - self._mono_at_0 + self._around(host.weather.turn_ns))

    # ---- effects -------------------------------------------------------------------------------------

    def _table(self) -> dict[type, Callable[[Any], None]]:
        return {
            **dict.fromkeys(OPS, self._on_disk),
            Send: self._send,
            Fill: self._fill,
            Pause: self._pause,
            Resume: self._resume,
            Close: self._close,
            Listen: self._listen,
            Stop: self._begin_stop,
            Note: self._note,
            Reply: _refuse,
        }

    def _on_disk(self, effect: DiskEffect) -> None:
        self._trace.note(self._host.time_ns, PERFORMED, effect.token)
        if self._trace.keeps:
            self._trace.tell("disk", f"{type(effect).__name__} {effect.file}")
        self.storage.submit(effect)

    def _send(self, effect: Send) -> None:
        wire = self.network.wires.get(effect.conn)
        if wire is not None:
            wire.push(effect.pieces)

    def _fill(self, effect: Fill) -> None:
        wire = self.network.wires.get(effect.conn)
        if wire is not None:
            wire.fill(effect.buffer)
            self.network.turned[effect.conn] = wire

    def _pause(self, effect: Pause) -> None:
        wire = self.network.wires.get(effect.conn)
        if wire is not None:
            wire.is_paused = True

    def _resume(self, effect: Resume) -> None:
        wire = self.network.wires.get(effect.conn)
        if wire is not None:
            wire.resume()

    def _close(self, effect: Close) -> None:
        wire = self.network.wires.get(effect.conn)
        if wire is not None:
            wire.close(effect.reason)

    def _listen(self, effect: Listen) -> None:
        self.port = effect.port or 9092
        self._report(Listening(effect.token, effect.host, self.port))

    def _note(self, effect: Note) -> None:
        if effect.level != "debug":
            self._trace.note(self._host.time_ns, NOTED, len(effect.name))
            if self._trace.keeps:
                self._trace.tell("broker", f"{effect.level}: {effect.name} {effect.fields}")
        if effect.level in ("warning", "error"):
            self.notes.append(effect)

    def _begin_stop(self, effect: Stop) -> None:
        self._stop = effect
        self.port = 0
        self._leave(self._host.time_ns + STOP_GRACE_NS)

    def _leave(self, grace_until: int) -> None:
        """Exit once the disk is done and the connections are flushed, or the grace is over."""
        if not self.is_alive:
            return
        assert self._stop is not None
        for wire in list(self.network.wires.values()):
            wire.close("the broker stops")
        if self.storage.pending or (self.network.wires and self._host.time_ns < grace_until):
            self._host.at(self._host.time_ns + MS, self._leave, grace_until)
            return
        self.exit_code = self._stop.code
        self.kill()


def _refuse(effect: Reply) -> None:
    raise AssertionError(f"a Reply is the session's to take: {effect!r}")
