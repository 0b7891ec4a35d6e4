"""Clients of rafka.client in the world: the machine of a producer, consumer or admin, its driver, and its user.

    def user():
        delivery = machine.send("t0", b"hello", client.now)
        yield delivery                       # until it is done
        yield Wait(50)
        yield Within(machine.readable(client.now), 200)    # until it is done, or for so long

    world.join(Driven("producer-0.1", machine, user, world, chance))

The driver does what those of `rafka/client` do (see `driving.py` there), over virtual connections, one a link. To the
nemesis it is what a Talker is: it can be killed, put to sleep, cut off and hung up.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias

from rafka.client.machine import ClientMachine
from rafka.client.outputs import Dial, HangUp, Pending, Settled, Transmit
from rafka.core.shape import value
from rafka.core.types import MonoNs, Now, WallMs
from rafka.sim.chance import Chance
from rafka.sim.network import Wire
from rafka.sim.storage import Clock
from rafka.sim.talk import MS, Wait

DIAL_NS = 200_000
WALL_MS = 1_700_000_000_000
ADDRESS = "127.0.0.1:9092"


@value
class Within:
    """Wait until a result is there, but no longer than so long."""

    pending: Pending[Any]
    ms: float


UserStep: TypeAlias = Wait | Within | Pending[Any]
User: TypeAlias = Generator[UserStep, None, None]


class Exchange(Clock, Protocol):
    """Where clients find the broker."""

    def dial(self, talker: "Driven") -> Wire | None:
        """Connect; None if nobody listens."""


class Driven:
    """One client. It is done when its user's generator has returned, or it was killed."""

    def __init__(
        self, name: str, machine: ClientMachine, user: Callable[[], User], exchange: Exchange, chance: Chance
    ) -> None:
        self.name = name
        self.entity = name
        """What its faults are counted under: the same for all incarnations of a client."""
        self.machine = machine
        self.on_turn: Callable[[], None] = lambda: None
        """Told after each turn of the machine, before anything else can happen."""
        self.is_done = False
        self.sleeps_until = 0
        """Nothing is done before this time: the client's process is paused."""
        self._user = user
        self._running: User | None = None
        self._awaited: Pending[Any] | None = None
        self._exchange = exchange
        self._around = chance.fork("dial").around
        self._mono_at_0 = chance.fork("clock").below(1 << 40)
        self._links: dict[int, Wire] = {}
        self._dialling: set[int] = set()
        """Links that are being made, and wanted still."""
        self._is_armed_for = 0
        """The next turn, if nothing happens; 0: none is to come."""

    @property
    def now(self) -> Now:
        """What the client is told of the time; its clock is right, and its zero its own."""
        time_ns = self._exchange.time_ns
        return Now(MonoNs(self._mono_at_0 + time_ns), WallMs(WALL_MS + time_ns // MS))

    @property
    def wires(self) -> list[Wire]:
        """Its connections."""
        return list(self._links.values())

    def start(self) -> None:
        """Let the user begin."""
        self._running = self._user()
        self._step()

    # ---- what happens to it --------------------------------------------------------------------------

    def received(self, wire: Wire, data: bytes) -> None:
        """Take bytes from the broker."""
        if self._is_asleep(self._received_late, (wire, data)):
            return
        self._receive(wire, data)

    def _receive(self, wire: Wire, data: bytes) -> None:
        link = self._link_of(wire)
        if link:
            self.machine.received(link, memoryview(data), self.now)
            self._turn()

    def lost(self, wire: Wire) -> None:
        """Learn that a connection has ended."""
        if self._is_asleep(self.lost, wire):
            return
        link = self._link_of(wire)
        if link:
            del self._links[link]
            self.machine.lost(link, self.now)
            self._exchange.at(self._exchange.time_ns, self._look, None)  # it may be in the midst of a turn

    def kill(self) -> None:
        """End the client without a word: neither its user nor the broker learns of it."""
        self.is_done = True
        for wire in self._links.values():
            if wire.is_open:
                wire.vanish()
        self._links = {}

    def hang_up(self) -> None:
        """Let every connection break at the client's end."""
        links, self._links = self._links, {}
        for link, wire in links.items():
            wire.hang_up()
            self.machine.lost(link, self.now)
        if links:
            self._exchange.at(self._exchange.time_ns, self._look, None)

    def sleep(self, duration_ns: int) -> None:
        """Pause the client's process; what comes meanwhile is handled afterwards."""
        self.sleeps_until = max(self.sleeps_until, self._exchange.time_ns + duration_ns)

    def _is_asleep(self, action: Callable[[Any], None], subject: object) -> bool:
        """Say whether the process sleeps or is dead; if it sleeps, do this once it is awake."""
        if self.is_done:
            return True
        if self.sleeps_until <= self._exchange.time_ns:
            return False
        self._exchange.at(self.sleeps_until, action, subject)
        return True

    def _received_late(self, what: tuple[Wire, bytes]) -> None:
        wire, data = what
        if not self._is_asleep(self._received_late, what) and wire.is_open:
            self._receive(wire, data)  # else it was reset, and takes with it what nobody has read

    def _link_of(self, wire: Wire) -> int:
        return next((link for link, known in self._links.items() if known is wire), 0)

    # ---- the driver ----------------------------------------------------------------------------------

    def _look(self, _: object) -> None:
        """Take a turn, if it was not done already."""
        if not self._is_asleep(self._look, None):
            self._turn()

    def _alarm(self, at: int) -> None:
        if self._is_armed_for == at:
            self._is_armed_for = 0
            self._look(None)

    def _turn(self) -> None:
        machine = self.machine
        machine.tick(self.now)
        for output in machine.drain():
            match output:
                case Transmit(link, data):
                    if link in self._links:
                        self._links[link].send(bytes(data))
                case Settled(pending):
                    self._exchange.at(self._exchange.time_ns, self._settled, pending)
                case Dial(link):
                    self._dialling.add(link)
                    delay_ns = 1 + self._around(DIAL_NS)
                    self._exchange.at(self._exchange.time_ns + delay_ns, self._dial, link)
                case HangUp(link):
                    self._dialling.discard(link)
                    wire = self._links.pop(link, None)
                    if wire is not None:
                        wire.hang_up()
        self.on_turn()
        due = machine.deadline()
        if due is not None:
            at = max(due - self._mono_at_0, self._exchange.time_ns + 1)
            if not self._is_armed_for or at < self._is_armed_for:
                self._is_armed_for = at
                self._exchange.at(at, self._alarm, at)

    def _dial(self, link: int) -> None:
        if link not in self._dialling or self._is_asleep(self._dial, link):
            return
        self._dialling.remove(link)
        wire = self._exchange.dial(self)
        if wire is None:
            self.machine.lost(link, self.now, "nobody listens")
        else:
            self._links[link] = wire
            self.machine.connected(link, self.now)
        self._turn()

    # ---- the user ------------------------------------------------------------------------------------

    def _settled(self, pending: Pending[Any]) -> None:
        if self._awaited is pending and not self._is_asleep(self._settled, pending):
            self._step()

    def _given_up(self, pending: Pending[Any]) -> None:
        if self._awaited is pending and not self._is_asleep(self._given_up, pending):
            pending.waiter = None
            self._step()

    def _rested(self, _: None) -> None:
        if not self._is_asleep(self._rested, None):
            self._step()

    def _step(self) -> None:
        """Let the user go on until there is something to wait for; and let the machine do what was asked."""
        assert self._running is not None
        self._awaited = None
        while True:
            try:
                step = next(self._running)
            except StopIteration:
                self._turn()
                self.is_done = True
                return
            if isinstance(step, Wait):
                self._exchange.at(self._exchange.time_ns + int(step.ms * MS), self._rested, None)
                break
            pending = step.pending if isinstance(step, Within) else step
            if pending.is_done:
                continue
            pending.waiter = self
            self._awaited = pending
            if isinstance(step, Within):
                self._exchange.at(self._exchange.time_ns + int(step.ms * MS), self._given_up, pending)
            break
        self._turn()
