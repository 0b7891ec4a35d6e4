"""Hostile bytes at a Server: whatever they are, it goes on, stays small, and serves its other clients.

A case: an honest client and a few attackers on their connections, their streams cut anywhere, in turns. An
attack is one of `STREAMS`: requests of every API and version with bodies that are true, damaged or noise;
sizes that lie; counts that lie; other protocols; frames that never end.

Held after every turn: the machine's invariants; the honest client is answered in the turn in which it asks;
nothing but RemoteProtocolError ends a connection, and only its own. Held at the end: whoever stopped in the
middle of a frame is closed once its time is over; all memory that a case took is in proportion to its bytes.
"""

from random import Random
from struct import pack

from fuzz.memory import bounded
from rafka.core.api import APIS, request_header_version
from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.core.effects import Close, Effect, Fill, Note, Pause, Reply, Resume, Send
from rafka.core.events import Connected, Disconnected, Event, Filled, Received, Requested
from rafka.core.message import Message, encode
from rafka.core.message.wire import put_uvarint
from rafka.core.types import ConnId, MonoNs, Now, WallMs
from rafka.net.frame import SIZE, frame_of
from rafka.net.kafka import fetch, produce
from rafka.net.kafka.session import Protocol, request_bytes
from rafka.net.server import MS, Limits, Server
from tests.core.message.fill import damaged, message, within

SERVED = {key: (api.first_version, api.last_version) for key, api in APIS.items()}
PROTOCOL = Protocol(
    SERVED,
    {0: produce.decode_request, 1: fetch.decode_request},
    {0: produce.encode_response, 1: fetch.encode_response},
)
LIMITS = Limits(connections_max=64, unanswered_max=8, frame_bytes_max=1 << 20, idle_ms_max=1000)
FIXED_BYTES = 4 << 20
"""Codecs compiled at first use, and the harness itself."""
AMPLIFICATION = 128
"""Bytes of memory for one byte received: an object for the least that can stand for one on the wire."""
HONEST = ConnId(1)
SMALLEST = request_bytes(ApiVersionsRequest(), api_key=18, version=0, correlation_id=7, client_id="honest")


class AnsweringNode:
    """Answers every request at once with the least that its response can be."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []

    def handle(self, event: Event, now: Now) -> None:
        del now
        if isinstance(event, Requested):
            wants_none = event.api_key == 0 and event.body.acks == 0
            body = None if wants_none else APIS[event.api_key].response()
            self.effects.append(Reply(event.conn, event.correlation, body))

    def tick(self, now: Now) -> None:
        pass

    def drain(self) -> list[Effect]:
        effects, self.effects = self.effects, []
        return effects

    def deadline(self) -> MonoNs | None:
        return None


# ---- what attackers send -----------------------------------------------------------------------------


def a_request(rng: Random) -> bytes:
    """A true request of any API and version."""
    key, version = a_kind(rng)
    body = message(APIS[key].request, version, rng)
    return request_bytes(
        body, api_key=key, version=version, correlation_id=rng.getrandbits(31), client_id="f"
    )


def a_damaged_request(rng: Random) -> bytes:
    """One whose size is right and whose inside is not."""
    return frame_of(damaged(a_request(rng)[SIZE.size :], rng))


def a_noisy_body(rng: Random) -> bytes:
    """A true header before noise."""
    return frame_of(a_header(rng, *a_kind(rng)) + rng.randbytes(rng.choice((0, 1, 7, 60, 3000))))


def a_lying_count(rng: Random) -> bytes:
    """A body of counts: each may stand for an array's length, a string's, a tag's."""
    key, version = a_kind(rng)
    body = bytearray(
        damaged(encode(message(APIS[key].request, version, rng), version), rng)[: rng.randrange(40)]
    )
    for _ in range(rng.randrange(1, 6)):
        count = rng.choice((-1, -2, 0, 1, 127, 999_999, 1_000_001, 2**31 - 1, -(2**31)))
        if rng.random() < 0.5:
            body += pack(">i", count)
        else:
            put_uvarint(body, count & 0xFFFF_FFFF)
    return frame_of(a_header(rng, key, version) + bytes(body))


def a_huge_array(rng: Random) -> bytes:
    """A true request, one of whose arrays has as many elements as can be, each as small as can be."""
    key, version = a_kind(rng)
    body = a_wide(APIS[key].request, version, rng, rng.choice((1000, 20_000)))
    return request_bytes(body, api_key=key, version=version, correlation_id=1, client_id=None)


def a_wide(cls: type[Message], version: int, rng: Random, width: int) -> Message:
    """A message of defaults, but for one array: of `width` elements, or of a few that are wide themselves."""
    arrays = [
        (name, struct)
        for name, kind, struct, versions, *_ in cls.SCHEMA
        if kind.startswith("[]") and struct is not None and within(version, versions)
    ]
    if not arrays:
        return cls()
    name, struct = rng.choice(arrays)
    if rng.random() < 0.5:
        return cls(**{name: [struct()] * width})
    return cls(**{name: [a_wide(struct, version, rng, width // 10)] * 10})


def a_lying_size(rng: Random) -> bytes:
    """A frame whose size promises another length, and a little of it."""
    size = rng.choice((-1, -(2**31), 0, 1, 4, 2**31 - 1, LIMITS.frame_bytes_max, LIMITS.frame_bytes_max + 1))
    return SIZE.pack(size) + rng.randbytes(rng.choice((0, 1, 3, 100)))


def a_burst(rng: Random) -> bytes:
    """More requests at once than may wait for answers."""
    return SMALLEST * rng.randrange(LIMITS.unanswered_max, 100)


def another_protocol(rng: Random) -> bytes:
    """TLS, HTTP, SSH, a shell."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(508)
    http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    return rng.choice(
        (hello, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", http2, b"SSH-2.0-x\r\n", b"\n" * 9, rng.randbytes(99))
    )


def a_kind(rng: Random) -> tuple[int, int]:
    """An API and a version; now and then one that does not exist."""
    key = rng.choice(list(SERVED))
    first, last = SERVED[key]
    return key, rng.randrange(first, last + 1)


def a_header(rng: Random, key: int, version: int) -> bytes:
    """A request header, mostly a true one."""
    if rng.random() < 0.1:
        key, version = rng.randrange(-2, 120), rng.randrange(-2, 40)
    name = rng.choice((b"\xff\xff", b"\x00\x00", b"\x00\x02ok", b"\x7f\xffx", b"\x00\x01\xff"))
    tags = b""
    if key in APIS and request_header_version(key, version) >= 2:
        tags = rng.choice(
            (b"\x00", b"\x00", b"\x01\x00\x01x", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80")
        )
    return pack(">hhi", key, version, rng.getrandbits(31)) + name + tags


STREAMS = (
    a_request,
    a_request,
    a_damaged_request,
    a_noisy_body,
    a_lying_count,
    a_huge_array,
    a_lying_size,
    a_burst,
    another_protocol,
)


def a_stream(rng: Random) -> bytes:
    """What one attacker sends: a few of them, perhaps cut off in the middle."""
    stream = b"".join(rng.choice(STREAMS)(rng) for _ in range(rng.randrange(1, 6)))
    return stream[: rng.randrange(len(stream) + 1)] if rng.random() < 0.3 else stream


# ---- the harness -------------------------------------------------------------------------------------


class Attacker:
    """One connection: what it has still to send, and what the server makes of it."""

    def __init__(self, conn: ConnId, stream: bytes) -> None:
        self.conn = conn
        self.rest = memoryview(bytearray(stream))
        self.fill: memoryview | None = None
        self.is_paused = self.is_closed = False

    @property
    def may_send(self) -> bool:
        return bool(self.rest) and not self.is_paused and not self.is_closed

    def next_event(self, rng: Random) -> Event | None:
        """Send some bytes."""
        count = rng.choice((1, 3, 50, 4096, len(self.rest), len(self.rest)))
        if self.fill is None:
            part, self.rest = self.rest[:count], self.rest[count:]
            return Received(self.conn, part)
        count = min(count, len(self.fill), len(self.rest))
        self.fill[:count] = self.rest[:count]
        self.fill, self.rest = self.fill[count:], self.rest[count:]
        if self.fill:
            return None
        self.fill = None
        return Filled(self.conn)

    def take(self, effect: Effect) -> None:
        match effect:
            case Fill():
                assert self.fill is None
                self.fill = effect.buffer
            case Pause():
                self.is_paused = True
            case Resume():
                self.is_paused = False
            case Close():
                self.is_closed = True
            case Send():
                assert not self.is_closed, "nothing is sent after a Close"


class Harness:
    """A server, its honest client and its attackers."""

    def __init__(self) -> None:
        self.server = Server(AnsweringNode(), PROTOCOL, LIMITS)
        self.attackers: dict[ConnId, Attacker] = {}
        self.ms = 0
        self.turn(Connected(HONEST, "h", "h", 1))

    def turn(self, *events: Event) -> list[Effect]:
        now = Now(MonoNs(self.ms * MS), WallMs(self.ms))
        for event in events:
            self.server.handle(event, now)
        self.server.tick(now)
        effects = self.server.drain()
        self.server.check()
        for effect in effects:
            if not isinstance(effect, Note) and effect.conn in self.attackers:
                self.attackers[effect.conn].take(effect)
        return effects

    def serves(self, *others: Event) -> None:
        """The honest client is answered in the turn in which it asks, whatever else comes in it."""
        effects = self.turn(*others, Received(HONEST, memoryview(bytearray(SMALLEST))))
        (answer,) = [e for e in effects if isinstance(e, Send | Close) and e.conn == HONEST]
        assert isinstance(answer, Send)
        assert b"".join(answer.pieces)[4:8] == pack(">i", 7)

    def attack(self, rng: Random) -> None:
        while any(attacker.may_send for attacker in self.attackers.values()):
            events = [
                a.next_event(rng) for a in list(self.attackers.values()) if a.may_send and rng.random() < 0.8
            ]
            self.serves(*(event for event in events if event is not None))
            self.bury()

    def bury(self) -> None:
        for attacker in [a for a in self.attackers.values() if a.is_closed]:
            del self.attackers[attacker.conn]
            self.turn(Disconnected(attacker.conn, "closed"))

    def outlast(self) -> None:
        """Let time pass: the silent are closed, also those in the middle of a frame."""
        for _ in range(3):
            self.ms += LIMITS.idle_ms_max // 2
            self.serves()
            self.bury()
        assert not self.attackers, "a half frame is not waited for for ever"


def attack(seed: int) -> None:
    """One case."""
    rng = Random(seed)
    streams = [a_stream(rng) for _ in range(rng.randrange(1, 5))]
    total = sum(map(len, streams))
    with bounded(FIXED_BYTES + AMPLIFICATION * total, f"{total:,} hostile bytes"):
        harness = Harness()
        for number, stream in enumerate(streams):
            conn = ConnId(number + 2)
            harness.attackers[conn] = Attacker(conn, stream)
            harness.serves(Connected(conn, "a", "h", 1))
        harness.attack(rng)
        harness.outlast()
