"""A session: requests out of bytes, answers in the order of requests, violations without a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.core.api.api_versions_response import ApiVersion, ApiVersionsResponse
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListGroupsResponse
from rafka.core.errors import ErrorCode, RemoteProtocolError
from rafka.core.events import Requested
from rafka.core.message import decode
from rafka.core.types import ConnId, File, FileSlice
from rafka.net.frame import SIZE
from rafka.net.kafka.session import Protocol, Session, request_bytes

CONN = ConnId(7)
LIST_GROUPS, VERSIONS = 16, 18
SERVED = {LIST_GROUPS: (0, 5), VERSIONS: (0, 4)}


def session(**hooks: object) -> Session:
    return Session(CONN, Protocol(SERVED, **hooks), frame_bytes_max=1 << 20)


def asked(version: int = 5, correlation_id: int = 1, client_id: str | None = "me") -> bytes:
    return request_bytes(
        ListGroupsRequest(),
        api_key=LIST_GROUPS,
        version=version,
        correlation_id=correlation_id,
        client_id=client_id,
    )


def view(data: bytes) -> memoryview:
    return memoryview(bytearray(data))


def correlation_ids(stream: bytes) -> list[int]:
    ids = []
    while stream:
        size = SIZE.unpack_from(stream)[0]
        ids.append(int.from_bytes(stream[4:8], "big"))
        stream = stream[4 + size :]
    return ids


def sent(s: Session) -> bytes:
    return b"".join(bytes(piece) for piece in s.drain())


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize("client_id", [None, "", "käfka"])
def test_a_request_is_cut_from_its_frame_in_every_header_version(version: int, client_id: str | None) -> None:
    (request,) = session().receive(view(asked(version, client_id=client_id)))
    assert request == Requested(CONN, 1, LIST_GROUPS, version, client_id, ListGroupsRequest())


@pytest.mark.parametrize("version", range(6))
def test_an_answer_carries_the_clients_correlation_id_and_the_versions_header(version: int) -> None:
    s = session()
    s.receive(view(asked(version, correlation_id=99)))
    s.answer(1, ListGroupsResponse(error_code=15))
    data = sent(s)
    assert SIZE.unpack_from(data)[0] == len(data) - 4
    assert data[4:8] == (99).to_bytes(4, "big")
    body = data[9:] if version >= 3 else data[8:]
    assert decode(ListGroupsResponse, version, body) == ListGroupsResponse(error_code=15)


def test_api_versions_is_answered_with_the_oldest_header_in_every_version() -> None:
    s = session()
    request = ApiVersionsRequest(client_software_name="c", client_software_version="1")
    s.receive(view(request_bytes(request, api_key=VERSIONS, version=4, correlation_id=3, client_id="c")))
    s.answer(1, ApiVersionsResponse())
    assert decode(ApiVersionsResponse, 4, sent(s)[8:]) == ApiVersionsResponse()


@given(st.permutations(range(1, 8)), st.sets(st.integers(1, 7)))
def test_answers_leave_in_the_order_of_requests_whatever_order_they_come_in(
    order: list[int], mute: set[int]
) -> None:
    s = session()
    s.receive(view(b"".join(asked(correlation_id=100 + n) for n in range(1, 8))))
    stream, answered = b"", set()
    for correlation in order:
        s.answer(correlation, None if correlation in mute else ListGroupsResponse())
        answered.add(correlation)
        stream += sent(s)
        ready = next((n for n in range(1, 9) if n not in answered), 8)
        assert correlation_ids(stream) == [100 + n for n in range(1, ready) if n not in mute]
        assert s.unanswered == 8 - ready
    assert s.unanswered == 0


def test_one_correlation_id_used_twice_is_answered_twice() -> None:
    s = session()
    first, second = s.receive(view(asked(correlation_id=5) * 2))
    s.answer(second.correlation, ListGroupsResponse())
    s.answer(first.correlation, ListGroupsResponse())
    assert correlation_ids(sent(s)) == [5, 5]


def test_an_unknown_version_of_api_versions_is_answered_in_version_0_with_its_own_versions_alone() -> None:
    s = session()
    strange = b"\0\x12\x7f\xff\0\0\0\x2a\0\x02me" + b"\xff" * 9  # a body that no version here can read
    assert s.receive(view(SIZE.pack(len(strange)) + strange)) == []
    data = sent(s)
    assert data[4:8] == (42).to_bytes(4, "big")
    assert decode(ApiVersionsResponse, 0, data[8:]) == ApiVersionsResponse(
        error_code=ErrorCode.UNSUPPORTED_VERSION,
        api_keys=[ApiVersion(api_key=VERSIONS, min_version=0, max_version=4)],
    )


def test_the_refusal_of_a_version_keeps_its_place_among_the_answers() -> None:
    s = session()
    strange = b"\0\x12\x7f\xff\0\0\0\x2a\0\x02me"
    s.receive(view(asked(correlation_id=1) + SIZE.pack(len(strange)) + strange))
    assert sent(s) == b""
    s.answer(1, ListGroupsResponse())
    assert correlation_ids(sent(s)) == [1, 42]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\x10\0",
        asked()[4:][:-1],
        b"\0\x10\0\x06\0\0\0\1\xff\xff",  # a version that is not served
        b"\0\x11\0\0\0\0\0\1\xff\xff",  # an API that is not served
        b"\x7f\xff\0\0\0\0\0\1\xff\xff",  # no API at all
        b"\0\x10\0\0\0\0\0\1\x7f\xff",  # a client id past the end
        b"\0\x10\0\0\0\0\0\1\0\1\xff",  # a client id that is not UTF-8
        b"\0\x10\0\5\0\0\0\1\xff\xff",  # a flexible header without tags
    ],
)
def test_what_is_no_request_is_a_protocol_error(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        session().receive(view(SIZE.pack(len(frame)) + frame))


def test_bytes_after_a_request_are_ignored() -> None:
    frame = asked()[4:] + b"\0\0\0"  # as librdkafka ends its Metadata requests of version 13
    (request,) = session().receive(view(SIZE.pack(len(frame)) + frame))
    assert request.body == ListGroupsRequest()


@given(st.sampled_from([asked(), asked(0), asked(3)]), st.data())
def test_a_damaged_request_is_a_request_or_a_protocol_error(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    s = session()
    try:
        requests = s.receive(view(damaged))
    except RemoteProtocolError:
        return
    assert len(requests) == 1 or s.unanswered == 1


def test_hand_written_codecs_get_the_body_in_place_and_may_answer_with_slices_of_files() -> None:
    bodies: list[memoryview] = []

    def decoder(version: int, body: memoryview) -> ListGroupsRequest:
        assert version == 5
        bodies.append(body)
        return ListGroupsRequest()

    log = FileSlice(File("orders-0/00000000000000000000.log"), position=61, length=1000)
    s = session(
        decoders={LIST_GROUPS: decoder}, encoders={LIST_GROUPS: lambda _version, _body: [b"abc", log]}
    )
    received = view(asked())
    s.receive(received)
    assert bodies[0].obj is received.obj
    s.answer(1, ListGroupsResponse())
    first, second = s.drain()
    assert second == log
    assert isinstance(first, bytes)
    assert first.endswith(b"abc")
    assert SIZE.unpack_from(first)[0] == len(first) - 4 + 1000
