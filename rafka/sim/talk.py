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
"""

from collections.abc import Callable, Generator
from typing import Protocol, TypeAlias

from rafka.client.connection import Connection
from rafka.core.message import Message
from rafka.core.shape import value
from rafka.sim.network import Wire
from rafka.sim.storage import Clock

MS = 1_000_000
REDIAL_MS = 20


class Lost(Exception):
    """The connection ended before all answers were there; what was asked may or may not have been done."""


@value
class Wait:
    """Do nothing for so long."""

    ms: int


@value
class HangUp:
    """Close the connection; the next request opens another."""


Step: TypeAlias = list[Message] | Wait | HangUp
Script: TypeAlias = Generator[Step, list[Message], None]


class Exchange(Clock, Protocol):
    """Where clients find the broker."""

    def dial(self, talker: "Talker") -> Wire | None:
        """Connect; None if nobody listens."""


class Talker:
    """Runs one script. It is done when the script has returned."""

    def __init__(self, name: str, script: Script, exchange: Exchange) -> None:
        self.name = name
        self.is_done = False
        self._script = script
        self._exchange = exchange
        self._wire: Wire | None = None
        self._connection = Connection(name)
        self._asked: list[Message] = []
        self._awaited = 0
        """How many answers the script waits for; 0: it waits for none."""
        self._answers: list[Message] = []

    def start(self) -> None:
        """Take the first step."""
        self._step(self._next)

    def received(self, wire: Wire, data: bytes) -> None:
        """Take bytes from the broker."""
        if wire is not self._wire:
            return  # it has hung up
        was_ready = self._connection.is_ready
        answers = self._connection.receive(memoryview(data))
        if not was_ready and self._connection.is_ready:
            answers = answers[1:]  # the greeting's
            self._ask()
        self._answers += answers
        if self._awaited and len(self._answers) == self._awaited:
            self._awaited = 0
            answers, self._answers = self._answers, []
            self._step(lambda: self._script.send(answers))

    def lost(self, wire: Wire) -> None:
        """Learn that the connection has ended, and tell the script if it waits for answers."""
        if wire is not self._wire:
            return
        self._wire = None
        if self._awaited:
            self._awaited = 0
            self._answers = []
            self._step(lambda: self._script.throw(Lost()))

    def _step(self, resume: Callable[[], Step]) -> None:
        try:
            step = resume()
        except StopIteration:
            self.is_done = True
            self._hang_up()
            return
        match step:
            case Wait():
                self._later(step.ms)
            case HangUp():
                self._hang_up()
                self._later(0)
            case _:
                self._asked, self._awaited = step, len(step)
                self._ask()

    def _next(self) -> Step:
        return next(self._script)

    def _later(self, ms: int) -> None:
        self._exchange.at(self._exchange.time_ns + ms * MS, lambda: self._step(self._next))

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.hang_up()
            self._wire = None

    def _ask(self) -> None:
        if self._wire is None:
            self._dial()
        elif self._connection.is_ready:
            self._wire.send(b"".join(self._connection.send(request) for request in self._asked))

    def _dial(self) -> None:
        self._wire = self._exchange.dial(self)
        if self._wire is None:
            self._exchange.at(self._exchange.time_ns + REDIAL_MS * MS, self._dial)
            return
        self._connection = Connection(self.name)
        self._wire.send(self._connection.greet())
