"""Scripted clients: generators that yield requests and are sent the answers, over connections that may break.

    def script():
        while True:
            try:
                (made,) = yield [CreateTopicsRequest(...)]    # requests of one list are pipelined
            except Lost:                                      # whether they arrived is not known
                yield Wait(50)
                continue
            ...

A client connects when it first has something to ask, greets, and speaks the newest version that both sides know.
A script may read `talker.connection` to learn of its latest state; a client that is killed never comes back.
"""

from collections.abc import Callable, Generator
from typing import Protocol, TypeAlias

from rafka.client.connection import Connection
from rafka.core.message import Message
from rafka.core.shape import value
from rafka.sim.network import Peer, Wire
from rafka.sim.storage import Clock

MS = 1_000_000
REDIAL_MS = 20


class Lost(Exception):
    """The connection ended before all answers were there; what was asked may or may not have been done."""


@value
class Wait:
    """Do nothing for so long."""

    ms: float


@value
class HangUp:
    """Close the connection; the next request opens another."""


Step: TypeAlias = list[Message] | Wait | HangUp
Script: TypeAlias = Generator[Step, list[Message], None]


class Exchange(Clock, Protocol):
    """Where clients find the broker."""

    def dial(self, talker: "Talker") -> Wire | None:
        """Connect; None if nobody listens."""


class Client(Peer, Protocol):
    """What a world and its nemesis know of a client, whatever it is made of."""

    name: str
    is_done: bool
    sleeps_until: int
    """Nothing is done before this time: the client's process is paused."""

    @property
    def wires(self) -> list[Wire]:
        """Its connections."""

    def start(self) -> None:
        """Begin."""

    def kill(self) -> None:
        """End without a word."""

    def hang_up(self) -> None:
        """Close the connections, and go on with others."""

    def sleep(self, duration_ns: int) -> None:
        """Pause the client's process."""


class Talker:
    """Runs one script. It is done when the script has returned, or the client was killed."""

    def __init__(self, name: str, script: Script, exchange: Exchange, *, timeout_ms: int = 0) -> None:
        self.name = name
        self.entity = name
        """What its faults are counted under: the same for all incarnations of a client."""
        self.is_done = False
        self.sleeps_until = 0
        """Nothing is done before this time: the client's process is paused."""
        self.wire: Wire | None = None
        self._script = script
        self._exchange = exchange
        self._connection = Connection(name)
        self._asked: list[Message] = []
        self._awaited = 0
        """How many answers the script waits for; 0: it waits for none."""
        self._answers: list[Message] = []
        self._timeout_ns = timeout_ms * MS
        self._due = 0
        """When the answers are given up, while any are awaited."""
        self._is_timed = False

    @property
    def wires(self) -> list[Wire]:
        """Its connection, if there is one."""
        return [] if self.wire is None else [self.wire]

    def start(self) -> None:
        """Take the first step."""
        self._step(self._next)

    def received(self, wire: Wire, data: bytes) -> None:
        """Take bytes from the broker."""
        if wire is not self.wire:
            return  # it has hung up
        if self.sleeps_until > self._exchange.time_ns:
            self._exchange.at(self.sleeps_until, self._received_late, (wire, data))
            return
        connection = self._connection
        was_ready = connection.is_ready
        answers = connection.receive(memoryview(data))
        if not was_ready and connection.is_ready:
            answers = answers[1:]  # the greeting's
            self._ask()
        if answers:
            self._answers += answers
            if self._awaited and len(self._answers) == self._awaited:
                self._awaited = 0
                answers, self._answers = self._answers, []
                self._step(self._script.send, answers)

    def lost(self, wire: Wire) -> None:
        """Learn that the connection has ended, and tell the script if it waits for answers."""
        if wire is not self.wire:
            return
        self.wire = None
        if self._awaited:
            self._exchange.at(max(self._exchange.time_ns, self.sleeps_until), self._give_up, self._asked)

    def kill(self) -> None:
        """End the client without a word: neither the script nor the broker learns of it."""
        self.is_done = True
        self._awaited = 0
        if self.wire is not None and self.wire.is_open:
            self.wire.vanish()
        self.wire = None

    def hang_up(self) -> None:
        """Close the connection as a client does that has lost patience."""
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.hang_up()
            if self._awaited:
                self._exchange.at(self._exchange.time_ns, self._give_up, self._asked)

    def sleep(self, duration_ns: int) -> None:
        """Pause the client's process; what comes meanwhile is handled afterwards."""
        self.sleeps_until = max(self.sleeps_until, self._exchange.time_ns + duration_ns)

    # ---- steps ---------------------------------------------------------------------------------------

    def _step(self, resume: Callable[..., Step], *sent: object) -> None:
        if self.is_done:
            return
        try:
            step = resume(*sent)
        except StopIteration:
            self.is_done = True
            self.hang_up()
            return
        if type(step) is Wait:
            self._exchange.at(self._exchange.time_ns + int(step.ms * MS), self._go_on, None)
        elif type(step) is HangUp:
            self.hang_up()
            self._exchange.at(self._exchange.time_ns, self._go_on, None)
        else:
            assert isinstance(step, list)
            self._asked, self._awaited = step, len(step)
            if self._timeout_ns:
                self._due = self._exchange.time_ns + self._timeout_ns
                if not self._is_timed:
                    self._is_timed = True
                    self._exchange.at(self._due, self._look_at_the_clock, None)
            self._ask()

    def _next(self) -> Step:
        return next(self._script)

    def _go_on(self, _: None) -> None:
        if self.sleeps_until > self._exchange.time_ns:
            self._exchange.at(self.sleeps_until, self._go_on, None)
        else:
            self._step(self._next)

    def _received_late(self, what: tuple[Wire, bytes]) -> None:
        self.received(*what)

    def _give_up(self, asked: list[Message]) -> None:
        """Tell the script that its answers will not come, if it still waits for them."""
        if self._awaited and self._asked is asked and not self.is_done:
            self._awaited = 0
            self._answers = []
            self._step(self._script.throw, Lost())

    def _look_at_the_clock(self, _: None) -> None:
        self._is_timed = False
        if not self._awaited or self.is_done:
            return
        now = self._exchange.time_ns
        if now < self._due:
            self._is_timed = True
            self._exchange.at(self._due, self._look_at_the_clock, None)
            return
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.hang_up()
        self._give_up(self._asked)

    def _ask(self) -> None:
        if self.wire is None:
            self._dial(None)
        elif self._connection.is_ready:
            send = self._connection.send
            self.wire.send(b"".join([send(request) for request in self._asked]))

    def _dial(self, _: None) -> None:
        if self.wire is not None or not self._awaited or self.is_done:
            return  # it has given up meanwhile
        self.wire = self._exchange.dial(self)
        if self.wire is None:
            self._exchange.at(self._exchange.time_ns + REDIAL_MS * MS, self._dial, None)
            return
        self._connection = Connection(self.name)
        self.wire.send(self._connection.greet())
