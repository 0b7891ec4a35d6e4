"""Hostile bytes at the listener of the pages: the broker hears nothing, honest guests are served.

A case: an honest guest and a few attackers, their streams cut anywhere, in turns: true requests, damaged ones, parts of
them, noise, heads and bodies that never end, requests sent ahead by the hundred.

Held after every turn: the honest guest has its answer in the turn in which it asks; nothing reaches the broker. Held at
the end: whoever stopped in the middle of a request is closed once its time is over; memory is in proportion to bytes.
"""

from random import Random

from fuzz.memory import bounded
from rafka.core.effects import Close, Effect, Listen, Note, Send
from rafka.core.events import Connected, Disconnected, Event, Listening, Received
from rafka.core.types import ConnId, MonoNs, Now, WallMs
from rafka.io.observed import IDLE_NS, OURS, REQUEST_NS, Observed
from rafka.net.http import HttpAnswer, HttpRequest
from rafka.net.kafka.session import Protocol

FIXED_BYTES = 4 << 20
AMPLIFICATION = 64
HONEST = ConnId(1)
GET = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
PARTS = (
    GET, b"GET ", b"POST ", b"/ ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r\n\r\n", b"Host: a\r\n", b"0\r\n\r\n",
    b"Content-Length: 7\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"ffff\r\n",
    b"\x16\x03\x01", b"\x00\x00\x00\x10\x00\x12", b"a" * 3000, b": ", b"\n", b"\x00", b"\xff",
)  # fmt: skip


class Silence:
    """A broker that must not hear anything."""

    def handle(self, event: Event, now: Now) -> None:
        raise AssertionError(f"{event!r} reached the broker at {now}")

    def tick(self, now: Now) -> None:
        pass

    def drain(self) -> list[Effect]:
        return []

    def deadline(self) -> MonoNs | None:
        return None


class Answers:
    """Pages that say yes to everything."""

    def answer(self, request: HttpRequest, now: Now, process: object) -> HttpAnswer:
        del now, process
        assert request.method in ("GET", "HEAD")
        return HttpAnswer(200, b"yes")


class Case:
    def __init__(self) -> None:
        self.mono = 0
        self.machine = Observed(
            Silence(), Protocol({18: (0, 4)}), Answers(), ("h", 1), clock=lambda: self.mono
        )
        assert self.turn() == [Listen("h", 1, OURS)]
        self.turn(Listening(OURS, "h", 1))

    def turn(self, *events: Event) -> list[Effect]:
        now = Now(MonoNs(self.mono), WallMs(0))
        for event in events:
            self.machine.handle(event, now)
        self.machine.tick(now)
        return self.machine.drain()


def a_stream(rng: Random) -> bytes:
    """What one attacker sends."""
    if rng.random() < 0.2:
        return GET * rng.randrange(1, 300)
    parts = [rng.choice(PARTS) for _ in range(rng.randrange(1, 40))]
    stream = bytearray(b"".join(parts))
    for _ in range(rng.choice((0, 0, 1, 5))):
        stream[rng.randrange(len(stream))] = rng.randrange(256)
    return bytes(stream)


def attack(seed: int) -> None:
    """Run one case; raises if something does not hold."""
    rng = Random(seed)
    streams = {ConnId(2 + n): a_stream(rng) for n in range(rng.randrange(1, 6))}
    size = sum(map(len, streams.values()))
    with bounded(FIXED_BYTES + AMPLIFICATION * size, f"seed {seed}"):
        _run(rng, streams)


def _run(rng: Random, streams: dict[ConnId, bytes]) -> None:
    case = Case()
    case.turn(*(Connected(conn, "p:1", "h", 1) for conn in (HONEST, *streams)))
    gone: set[ConnId] = set()
    while any(streams.values()):
        events: list[Event] = []
        for conn, stream in streams.items():
            cut = rng.randrange(1, 2000)
            if stream:
                events.append(Received(conn, memoryview(bytearray(stream[:cut]))))
                streams[conn] = stream[cut:]
        events.insert(rng.randrange(len(events) + 1), Received(HONEST, memoryview(bytearray(GET))))
        effects = case.turn(*events)
        assert all(isinstance(effect, Send | Close) for effect in effects), effects
        answers = [effect for effect in effects if isinstance(effect, Send) and effect.conn == HONEST]
        assert len(answers) == 1
        assert bytes(answers[0].pieces[0]).startswith(b"HTTP/1.1 200 OK\r\n")
        closed = {effect.conn for effect in effects if isinstance(effect, Close)}
        assert HONEST not in closed
        assert not closed & gone, "a connection is closed once"
        gone |= closed
    case.mono = max(IDLE_NS, REQUEST_NS)
    late = {effect.conn for effect in case.turn() if isinstance(effect, Close)}
    assert late | gone == {HONEST, *streams}
    assert case.machine.deadline() is None
    ended = [Disconnected(conn, "closed") for conn in (HONEST, *streams)]
    assert not [effect for effect in case.turn(*ended) if not isinstance(effect, Note)]
