"""The machine around the broker's: what it keeps, what it passes on, whom it closes and when."""

import attrs

from rafka.core.effects import Close, Effect, Listen, Note, Send
from rafka.core.events import Connected, Disconnected, Event, Failed, Listening, Received, Synced
from rafka.core.types import ConnId, File, MonoNs, Now, Token, WallMs
from rafka.io.observed import GUESTS_MAX, IDLE_NS, OURS, REQUEST_NS, Observed
from rafka.net.http import HttpAnswer, HttpRequest
from rafka.net.kafka.session import Protocol

GET = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
PAGES_AT, CLIENTS_AT = 9644, 9092


@attrs.define(eq=False)
class Broker:
    """What is observed."""

    events: list[Event] = attrs.field(factory=list)
    effects: list[Effect] = attrs.field(factory=list)
    due: MonoNs | None = None

    def handle(self, event: Event, now: Now) -> None:
        self.events.append(event)

    def tick(self, now: Now) -> None:
        pass

    def drain(self) -> list[Effect]:
        effects, self.effects = self.effects, []
        return effects

    def deadline(self) -> MonoNs | None:
        return self.due


class Pages:
    def __init__(self) -> None:
        self.is_broken = False

    def answer(self, request: HttpRequest, now: Now, process: object) -> HttpAnswer:
        if self.is_broken:
            raise KeyError("what is not there")
        return HttpAnswer(200, request.path.encode())


class World:
    def __init__(self) -> None:
        self.broker, self.pages, self.mono = Broker(), Pages(), 0
        protocol = Protocol({18: (0, 4)})
        self.machine = Observed(
            self.broker,
            protocol,
            self.pages,
            ("127.0.0.1", PAGES_AT),
            clock=lambda: self.mono,  # type: ignore[arg-type]
        )

    def turn(self, *events: Event) -> list[Effect]:
        now = Now(MonoNs(self.mono), WallMs(0))
        for event in events:
            self.machine.handle(event, now)
        self.machine.tick(now)
        return self.machine.drain()

    def listen(self) -> None:
        assert self.turn() == [Listen("127.0.0.1", PAGES_AT, OURS)]
        (note,) = self.turn(Listening(OURS, "127.0.0.1", PAGES_AT))
        assert isinstance(note, Note)
        assert (note.name, note.fields["port"]) == ("pages served", PAGES_AT)


def listening() -> World:
    world = World()
    world.listen()
    return world


def guest(number: int, port: int = PAGES_AT) -> Connected:
    return Connected(ConnId(number), "127.0.0.1:5", "127.0.0.1", port)


def data(number: int, text: bytes) -> Received:
    return Received(ConnId(number), memoryview(bytearray(text)))


def sent(effects: list[Effect]) -> bytes:
    return b"".join(bytes(piece) for e in effects if isinstance(e, Send) for piece in e.pieces)  # type: ignore[arg-type]


def test_guests_are_answered_and_the_broker_hears_nothing_of_them() -> None:
    world = listening()
    assert world.turn(guest(1)) == []
    for _ in range(2):
        assert sent(world.turn(data(1, GET))).startswith(b"HTTP/1.1 200 OK\r\n")
    world.turn(Disconnected(ConnId(1), "gone"))
    assert world.broker.events == []
    assert world.machine.deadline() is None


def test_all_else_is_the_brokers_and_its_effects_come_first() -> None:
    world = listening()
    events = [guest(2, CLIENTS_AT), data(2, GET), Synced(File("a"), Token(1)), Disconnected(ConnId(2), "x")]
    events += [Listening(Token(3), "h", 1), Failed(File("b"), Token(4), "sync", 5, "EIO")]
    world.broker.effects = [Close(ConnId(2), "because")]
    assert world.turn(*events) == [Close(ConnId(2), "because")]
    assert world.broker.events == events
    world.broker.due = MonoNs(77)
    assert world.machine.deadline() == 77


def test_a_request_that_drips_has_its_time_and_no_more() -> None:
    world = listening()
    world.mono = 5
    world.turn(guest(1), data(1, GET[:4]))
    due = 5 + REQUEST_NS
    for number in range(4, 14):
        world.mono += REQUEST_NS // 20
        assert world.turn(data(1, GET[number : number + 1])) == []
        assert world.machine.deadline() == due
    world.mono = due - 1
    assert world.turn() == []
    world.mono = due
    assert world.turn() == [Close(ConnId(1), "no request in time")]
    assert world.machine.deadline() is None
    assert world.turn(data(1, GET[14:])) == []  # what was on its way


def test_a_guest_without_a_request_is_closed_later() -> None:
    world = listening()
    world.turn(guest(1))
    world.mono = 3
    assert sent(world.turn(data(1, GET)))
    assert world.machine.deadline() == 3 + IDLE_NS
    world.mono = 3 + IDLE_NS
    assert [type(effect) for effect in world.turn()] == [Close]


def test_one_guest_too_many_is_closed_at_once_and_there_is_room_when_one_leaves() -> None:
    world = listening()
    assert world.turn(*(guest(n) for n in range(1, GUESTS_MAX + 1))) == []
    assert world.turn(guest(99)) == [Close(ConnId(99), "too many are looking")]
    assert world.turn(data(99, GET)) == []
    world.turn(Disconnected(ConnId(99), "closed"), Disconnected(ConnId(1), "gone"))
    assert world.turn(guest(100)) == []
    assert sent(world.turn(data(100, GET)))
    assert world.broker.events == []


def test_garbage_gets_its_answer_and_the_end() -> None:
    world = listening()
    send, close = world.turn(guest(1), data(1, b"\x00\x01garbage\r\n\r\n"))
    assert sent([send]).startswith(b"HTTP/1.1 400 ")
    assert close == Close(ConnId(1), "the end of HTTP")


def test_without_its_listener_the_broker_goes_on() -> None:
    world = World()
    world.turn()
    (note,) = world.turn(Failed(File("127.0.0.1:9644"), OURS, "listen", 98, "Address already in use"))
    assert isinstance(note, Note)
    assert (note.level, note.name) == ("error", "pages not served")
    world.turn(guest(1, CLIENTS_AT))
    assert len(world.broker.events) == 1


def test_a_mistake_in_a_page_costs_the_page_alone() -> None:
    world = listening()
    world.pages.is_broken = True
    effects = world.turn(guest(1), data(1, GET))
    assert sent(effects).startswith(b"HTTP/1.1 500 ")
    assert any(isinstance(e, Note) and e.name == "page not made" for e in effects)
    world.pages.is_broken = False
    assert sent(world.turn(data(1, GET))).startswith(b"HTTP/1.1 200 ")
