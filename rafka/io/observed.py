"""The machine around a broker's machine that serves its pages: a second listener, spoken to in HTTP.

It stands outermost, outside a flight recording too: what comes on its listener never reaches the broker, and all else
passes through, so a broker that is looked at behaves, and is recorded, like one that is not. Since it has the clock, it
is also who says when a turn ended, and so how long the requests took that were answered in it.

Limits, and what happens at them:

- `GUESTS_MAX` connections: one more is closed at once.
- `REQUEST_NS` for a request to come whole, however slowly it drips, and `IDLE_NS` between two: then it is closed.
- Sizes are `rafka.net.http`'s. A guest that does not read its answer is not read from (law 7), and has no second one.

A listener that cannot be made costs the pages, not the broker: a note says so.
"""

import time
from collections.abc import Callable

import attrs

from rafka.core.effects import Close, Effect, Listen, Note, Send
from rafka.core.events import Connected, Disconnected, Event, Failed, Listening, Received
from rafka.core.machine import Machine
from rafka.core.types import ConnId, MonoNs, Now, Token
from rafka.io.process import process
from rafka.net.http import HttpAnswer, HttpRequest, HttpSession
from rafka.net.kafka.session import Protocol
from rafka.observe.pages import Pages

GUESTS_MAX = 32
REQUEST_NS = 10_000_000_000
IDLE_NS = 120_000_000_000
OURS = Token(-1)
"""Of our Listen; those of a node are above 0."""
_SELDOM = (Connected, Disconnected, Listening, Failed)


@attrs.define(eq=False)
class _Guest:
    """A connection. since: when it came, its last answer left, or the request under way began."""

    session: HttpSession
    since: MonoNs
    is_closing: bool = False

    @property
    def due(self) -> int:
        """When it is closed unless something happens."""
        return self.since + (IDLE_NS if self.session.is_idle else REQUEST_NS)


class Observed:
    """A broker's machine, and its pages at `host` and `port`. clock: monotonic ns."""

    def __init__(
        self,
        machine: Machine,
        protocol: Protocol,
        pages: Pages,
        address: tuple[str, int],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._machine = machine
        self._handle = machine.handle
        self._protocol = protocol
        self._pages = pages
        self._address = address
        self._clock = clock
        self._port = -1
        """Where we are listened at; -1 before."""
        self._guests: dict[ConnId, _Guest] = {}
        self._effects: list[Effect] = [Listen(*address, OURS)]

    def handle(self, event: Event, now: Now) -> None:
        """Keep what is a guest's, pass on all else."""
        if isinstance(event, Received):
            if event.conn in self._guests:
                self._received(event, now)
                return
        elif event.__class__ in _SELDOM and self._takes(event, now):
            return
        self._handle(event, now)

    def tick(self, now: Now) -> None:
        """Let the machine do what is due, and close guests whose time is up."""
        self._machine.tick(now)
        for conn, guest in self._guests.items():
            if guest.due <= now.mono:
                self._close(conn, guest, "no request in time")

    def drain(self) -> list[Effect]:
        """End the turn: give up the effects, and say when that was."""
        effects = self._machine.drain()
        if self._protocol.left:
            self._protocol.settle(MonoNs(self._clock()))
        if self._effects:
            effects = effects + self._effects
            self._effects = []
        return effects

    def deadline(self) -> MonoNs | None:
        """Say when the machine is due, or a guest."""
        due = self._machine.deadline()
        if self._effects:
            return MonoNs(0)
        for guest in self._guests.values():
            if not guest.is_closing and (due is None or guest.due < due):
                due = MonoNs(guest.due)
        return due

    # ---- guests ------------------------------------------------------------------------------------

    def _takes(self, event: Event, now: Now) -> bool:
        """Take an event if it is ours."""
        if isinstance(event, Connected):
            if event.local_port != self._port:
                return False
            if len(self._guests) >= GUESTS_MAX:
                self._effects.append(Close(event.conn, "too many are looking"))
            self._guests[event.conn] = _Guest(HttpSession(), now.mono, len(self._guests) >= GUESTS_MAX)
            return True
        if isinstance(event, Disconnected):
            return self._guests.pop(event.conn, None) is not None
        if isinstance(event, Listening) and event.token == OURS:
            self._port = event.port
            self._note("info", "pages served", host=event.host, port=event.port)
            return True
        if isinstance(event, Failed) and event.token == OURS:
            self._note("error", "pages not served", address=event.file, reason=event.text)
            return True
        return False

    def _received(self, event: Received, now: Now) -> None:
        guest = self._guests[event.conn]
        if guest.is_closing:
            return
        session = guest.session
        if session.is_idle:
            guest.since = now.mono
        session.receive(event.data)
        request = session.next_request()
        if request is not None:
            session.answer(self._answer(request, now))
            guest.since = now.mono
        answer = session.drain()
        if answer:
            self._effects.append(Send(event.conn, [answer]))
        if session.has_ended:
            self._close(event.conn, guest, "the end of HTTP")

    def _answer(self, request: HttpRequest, now: Now) -> HttpAnswer:
        """Make a page. It only reads, so a mistake in it may cost the page and not the broker."""
        try:
            return self._pages.answer(request, now, process())
        except Exception as error:  # noqa: BLE001 – and the journal says what it was
            self._note("error", "page not made", path=request.path, reason=repr(error))
            return HttpAnswer(500, b"this page could not be made; the journal says why\n")

    def _close(self, conn: ConnId, guest: _Guest, reason: str) -> None:
        if not guest.is_closing:
            guest.is_closing = True
            self._effects.append(Close(conn, reason))

    def _note(self, level: str, name: str, **fields: object) -> None:
        self._effects.append(Note(level, name, fields))
