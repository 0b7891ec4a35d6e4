"""The server around a node: what it passes on, what it holds back, whom it closes."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.init_producer_id_response import InitProducerIdResponse
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListGroupsResponse
from rafka.core.effects import Close, Effect, Fill, Note, Pause, Reply, Resume, Send, Sync
from rafka.core.events import Connected, Disconnected, Event, Filled, Received, Requested, Synced
from rafka.core.types import ConnId, File, MonoNs, Now, Token, WallMs
from rafka.net.frame import SIZE, Frames
from rafka.net.kafka.session import Protocol, request_bytes
from rafka.net.server import MS, Limits, Server

ONE, TWO = ConnId(1), ConnId(2)
PROTOCOL = Protocol({16: (0, 5), 18: (0, 4), 22: (0, 4)})


@attrs.define(eq=False)
class Node:
    """Answers when told to."""

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

    @property
    def requests(self) -> list[Requested]:
        return [event for event in self.events if isinstance(event, Requested)]


def at(ms: int) -> Now:
    return Now(MonoNs(ms * MS), WallMs(ms))


def turn(server: Server, *events: Event, ms: int = 0) -> list[Effect]:
    for event in events:
        server.handle(event, at(ms))
    server.tick(at(ms))
    effects = server.drain()
    server.check()
    return effects


def connect(conn: ConnId) -> Connected:
    return Connected(conn, "127.0.0.1:5", "127.0.0.1", 9092)


def ask(conn: ConnId, count: int = 1) -> Received:
    one = request_bytes(ListGroupsRequest(), api_key=16, version=0, correlation_id=9, client_id=None)
    return Received(conn, memoryview(bytearray(one * count)))


def server(**limits: int) -> tuple[Server, Node]:
    node = Node()
    return Server(node, PROTOCOL, Limits(**limits)), node


def answer(node: Node, conn: ConnId, correlation: int) -> None:
    node.effects.append(Reply(conn, correlation, ListGroupsResponse()))


def test_bytes_become_a_request_and_its_reply_becomes_bytes() -> None:
    s, node = server()
    assert turn(s, connect(ONE), ask(ONE)) == []
    assert [(r.conn, r.correlation) for r in node.requests] == [(ONE, 1)]
    answer(node, ONE, 1)
    (send,) = turn(s)
    assert isinstance(send, Send)
    assert b"".join(send.pieces)[4:8] == (9).to_bytes(4, "big")


def test_all_answers_of_a_turn_leave_in_one_send() -> None:
    s, node = server()
    turn(s, connect(ONE), ask(ONE, 3))
    for correlation in (2, 1, 3):
        answer(node, ONE, correlation)
    (send,) = turn(s)
    assert isinstance(send, Send)
    (joined,) = send.pieces  # small answers leave as one buffer, in the requests' order
    assert isinstance(joined, bytes)
    frames = Frames(1 << 20).receive(memoryview(joined))
    assert [int.from_bytes(frame[:4]) for frame in frames] == [9, 9, 9]


def test_what_is_not_about_connections_passes_through_both_ways() -> None:
    s, node = server()
    node.effects.append(Sync(File("a"), Token(4)))
    assert turn(s, Synced(File("a"), Token(4))) == [Sync(File("a"), Token(4))]
    assert node.events == [Synced(File("a"), Token(4))]


def test_a_violation_closes_its_own_connection_and_no_other() -> None:
    s, node = server()
    effects = turn(
        s, connect(ONE), connect(TWO), Received(ONE, memoryview(bytearray(b"GET / HTTP/1.1\r\n"))), ask(TWO)
    )
    assert [type(effect) for effect in effects] == [Note, Close]
    assert isinstance(effects[1], Close)
    assert effects[1].conn == ONE
    assert [r.conn for r in node.requests] == [TWO]
    assert turn(s, ask(ONE)) == []
    assert [r.conn for r in node.requests] == [TWO], "what came after the violation is not read"


def test_the_answer_to_a_connection_that_went_away_is_dropped() -> None:
    s, node = server()
    turn(s, connect(ONE), ask(ONE), Disconnected(ONE, "reset"))
    answer(node, ONE, 1)
    assert turn(s) == []
    assert node.events[-1] == Disconnected(ONE, "reset")


def test_a_client_that_does_not_wait_for_answers_is_not_read_until_half_of_them_are_out() -> None:
    s, node = server(unanswered_max=4)
    assert turn(s, connect(ONE), ask(ONE, 3)) == []
    assert turn(s, ask(ONE)) == [Pause(ONE)]
    answer(node, ONE, 1)
    assert [type(e) for e in turn(s)] == [Send]
    answer(node, ONE, 2)
    assert [type(e) for e in turn(s)] == [Send, Resume]


def test_what_was_held_back_goes_before_what_came_later() -> None:
    introduce = request_bytes(
        InitProducerIdRequest(), api_key=22, version=4, correlation_id=9, client_id=None
    )
    s, node = server()
    turn(s, connect(ONE), Received(ONE, memoryview(bytearray(introduce * 2))))
    assert [r.correlation for r in node.requests] == [1], "behind a write everything is held"
    node.effects.append(Reply(ONE, 1, InitProducerIdResponse()))
    turn(s)
    turn(s, ask(ONE))
    assert [r.correlation for r in node.requests] == [1, 2], "and what comes now is held behind that"
    node.effects.append(Reply(ONE, 2, InitProducerIdResponse()))
    turn(s)
    turn(s, ask(ONE))
    assert [r.correlation for r in node.requests] == [1, 2, 3, 4]


def test_one_connection_over_the_limit_is_closed_and_said() -> None:
    s, node = server(connections_max=1)
    assert [type(e) for e in turn(s, connect(ONE), connect(TWO))] == [Close, Note]
    turn(s, ask(TWO))
    assert node.requests == []
    turn(s, Disconnected(TWO, "closed"), Disconnected(ONE, "closed"))
    assert node.events == [connect(ONE), Disconnected(ONE, "closed")], "the node never heard of the other"
    assert turn(s, connect(ConnId(3))) == []


def test_one_address_has_only_so_many_connections() -> None:  # max.connections.per.ip
    def from_ip(number: int, ip: str) -> Connected:
        return Connected(ConnId(number), f"{ip}:{50_000 + number}", "127.0.0.1", 9092)

    s, node = server(connections_per_ip_max=2)
    assert turn(s, from_ip(1, "10.0.0.1"), from_ip(2, "10.0.0.1"), from_ip(3, "[::1]")) == []
    close, note = turn(s, from_ip(4, "10.0.0.1"))
    assert close == Close(ConnId(4), "max.connections.per.ip is reached")
    assert isinstance(note, Note)
    turn(s, Disconnected(ConnId(4), "closed"), Disconnected(ConnId(1), "closed"))
    assert turn(s, from_ip(5, "10.0.0.1")) == []
    assert [e.conn for e in node.events if isinstance(e, Connected)] == [1, 2, 3, 5]


def test_an_idle_connection_is_closed_once_and_a_busy_one_is_not() -> None:
    s, _ = server(idle_ms_max=1000)
    turn(s, connect(ONE), connect(TWO))
    assert s.deadline() == 100 * MS
    turn(s, ask(TWO), ms=900)
    assert turn(s, ms=1000) == [Close(ONE, "idle for connections.max.idle.ms")]
    assert turn(s, ms=1100) == []


def test_a_long_poll_is_not_idle() -> None:
    s, _ = server(idle_ms_max=1000)
    turn(s, connect(ONE), ask(ONE))
    assert turn(s, ms=5000) == []


def test_a_frame_that_drips_in_byte_by_byte_is_idle_all_the_same() -> None:
    s, _ = server(idle_ms_max=1000)
    turn(s, connect(ONE), Received(ONE, memoryview(bytearray(SIZE.pack(500)))))
    closed: list[Effect] = []
    for ms in range(100, 1200, 100):
        closed += turn(s, Received(ONE, memoryview(bytearray(1))), ms=ms)
    assert closed == [Close(ONE, "idle for connections.max.idle.ms")]


def test_the_rest_of_a_large_request_is_received_in_place() -> None:
    s, node = server()
    whole = request_bytes(
        ListGroupsRequest(states_filter=["x" * 50_000]),
        api_key=16,
        version=4,
        correlation_id=1,
        client_id="c",
    )
    (fill,) = turn(s, connect(ONE), Received(ONE, memoryview(bytearray(whole[:1000]))))
    assert isinstance(fill, Fill)
    fill.buffer[:] = whole[1000:]
    turn(s, Filled(ONE))
    (request,) = node.requests
    assert request.body == ListGroupsRequest(states_filter=["x" * 50_000])


def test_the_deadline_is_the_earlier_of_the_nodes_and_the_sweeps() -> None:
    s, node = server(idle_ms_max=1000)
    assert s.deadline() is None
    node.due = MonoNs(7)
    assert s.deadline() == 7
    turn(s, connect(ONE))
    assert s.deadline() == 7
    node.due = MonoNs(10**12)
    assert s.deadline() == 100 * MS


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.binary(max_size=30)), max_size=12))
def test_no_bytes_make_it_raise(pieces: list[tuple[ConnId, bytes]]) -> None:
    s, node = server()
    turn(s, connect(ONE), connect(TWO))
    filling: dict[ConnId, memoryview] = {}
    for conn, data in pieces:  # as a driver does: a lent buffer is filled before anything else is received
        if conn in filling and data:
            filling.pop(conn)[:1] = data[:1]
            effects = turn(s, Filled(conn))
        elif conn not in filling:
            effects = turn(s, Received(conn, memoryview(bytearray(data))))
        else:
            continue
        filling.update({e.conn: e.buffer for e in effects if isinstance(e, Fill)})
    assert all(request.conn in (ONE, TWO) for request in node.requests)
