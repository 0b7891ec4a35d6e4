"""The HTTP session: what it hands on, what it refuses, and that no bytes whatever bring it down."""

from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rafka.net.http import BODY_BYTES_MAX, HEAD_BYTES_MAX, HttpAnswer, HttpRequest, HttpSession

GET = b"GET /metrics?x=1 HTTP/1.1\r\nHost: here\r\nAccept: text/plain\r\n\r\n"


def parse(data: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """Read an answer as a client does: status, headers, body."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "here")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    answer = client.next_event()
    while isinstance(answer, h11.InformationalResponse):
        answer = client.next_event()
    assert isinstance(answer, h11.Response), answer
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    return answer.status_code, dict(answer.headers), body


def test_a_request_is_handed_on_and_its_answer_said_and_then_another() -> None:
    session = HttpSession()
    for _ in range(2):
        session.receive(GET)
        assert session.next_request() == HttpRequest("GET", "/metrics", "text/plain")
        session.answer(HttpAnswer(200, b"numbers\n"))
        status, headers, body = parse(session.drain())
        assert (status, body, headers[b"cache-control"]) == (200, b"numbers\n", b"no-store")
        assert session.next_request() is None
        assert session.is_idle
        assert not session.has_ended


def test_head_has_the_length_and_no_body() -> None:
    session = HttpSession()
    session.receive(GET.replace(b"GET", b"HEAD"))
    assert session.next_request() is not None
    session.answer(HttpAnswer(200, b"numbers\n"))
    status, headers, body = parse(session.drain(), "HEAD")
    assert (status, headers[b"content-length"], body) == (200, b"8", b"")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS"])
def test_what_would_change_something_is_refused_and_the_connection_goes_on(method: bytes) -> None:
    session = HttpSession()
    session.receive(method + b" / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc")
    assert session.next_request() is None
    status, headers, _ = parse(session.drain())
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    session.receive(GET)
    assert session.next_request() is not None


def test_who_does_not_wait_for_an_answer_gets_that_one_and_the_end() -> None:
    session = HttpSession()
    session.receive(GET * 1000)
    assert session.next_request() is not None
    session.answer(HttpAnswer(200, b"once"))
    status, headers, body = parse(session.drain())
    assert (status, headers[b"connection"], body) == (200, b"close", b"once")
    assert session.has_ended
    assert session.next_request() is None


def test_http_1_0_is_answered_and_closed() -> None:
    session = HttpSession()
    session.receive(b"GET / HTTP/1.0\r\n\r\n")
    assert session.next_request() is not None
    session.answer(HttpAnswer(200, b"x"))
    assert parse(session.drain())[2] == b"x"
    assert session.has_ended


def test_an_endless_head_is_refused_within_its_bound() -> None:
    session = HttpSession()
    sent = 0
    session.receive(b"GET / HTTP/1.1\r\nX: ")
    while not session.has_ended:
        session.receive(b"x" * 1024)
        assert session.next_request() is None
        sent += 1024
        assert sent <= HEAD_BYTES_MAX + 1024
    assert parse(session.drain())[0] == 431


@pytest.mark.parametrize("head", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
def test_an_endless_body_is_refused_within_its_bound(head: bytes) -> None:
    session = HttpSession()
    session.receive(b"GET / HTTP/1.1\r\nHost: here\r\n" + head + b"\r\n\r\n")
    sent = 0
    while not session.has_ended:
        session.receive(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert session.next_request() is None
        sent += 1024
        assert sent <= BODY_BYTES_MAX + 2048
    assert parse(session.drain())[0] == 413


def test_who_waits_to_be_told_to_go_on_is_told() -> None:
    session = HttpSession()
    session.receive(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert session.next_request() is None
    assert session.drain().startswith(b"HTTP/1.1 100 ")
    session.receive(b"ok")
    assert session.next_request() is not None


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a TLS client
        b"\x00\x00\x00\x10\x00\x12\x00\x03\x00\x00\x00\x01\xff\xff\x00\x00\r\n\r\n",  # a Kafka client
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_garbage_is_refused_and_ends_the_connection(garbage: bytes) -> None:
    session = HttpSession()
    session.receive(garbage)
    assert session.next_request() is None
    assert session.has_ended
    assert 400 <= parse(session.drain())[0] < 600
    session.receive(GET)  # what was on its way
    assert session.next_request() is None
    assert session.drain() == b""


PARTS = st.sampled_from(
    [
        GET,
        b"GET /",
        b" HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"\r\n",
        b"Content-Length: 5\r\n",
        b"hello",
        b"0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"POST / ",
    ]
)


@given(st.lists(PARTS | st.binary(max_size=40), max_size=12), st.lists(st.integers(0, 600), max_size=6))
@example([b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"], [])
@example([b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"abc"], [])
def test_no_bytes_bring_it_down_and_it_says_the_same_however_they_are_cut(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    session = HttpSession()
    asked = 0
    for start, end in pairwise(edges):
        session.receive(data[start:end])
        while (request := session.next_request()) is not None:
            assert request.method in ("GET", "HEAD")
            asked += 1
            session.answer(HttpAnswer(200, b"x"))
    out = session.drain()
    assert out.count(b"HTTP/1.1 200 ") == asked
    assert session.has_ended or session.next_request() is None


def test_the_end_of_the_peer_is_the_end() -> None:
    session = HttpSession()
    session.receive(GET[:20])
    session.receive(b"")
    assert session.next_request() is None
    assert session.has_ended
