"""What is counted of requests: how long each took, which errors it was answered with."""

from rafka.core.api import APIS
from rafka.core.api.fetch_response import FetchResponse
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListGroupsResponse
from rafka.core.api.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.types import ConnId, MonoNs
from rafka.net.kafka.codes import errors_in
from rafka.net.kafka.session import Protocol, Session, request_bytes

LIST_GROUPS = 16


def ask(api_key: int, request: Message, version: int = 0) -> memoryview:
    data = request_bytes(request, api_key=api_key, version=version, correlation_id=1, client_id=None)
    return memoryview(bytearray(data))


def session() -> tuple[Session, Protocol]:
    protocol = Protocol({LIST_GROUPS: (0, 5), 18: (0, 4)})
    return Session(ConnId(1), protocol, 1 << 20), protocol


def test_a_request_takes_from_the_turn_it_came_in_to_the_end_that_is_told() -> None:
    s, protocol = session()
    s.now = MonoNs(1_000)
    first, second = s.receive(memoryview(bytearray(bytes(ask(LIST_GROUPS, ListGroupsRequest())) * 2)))
    s.now = MonoNs(5_000)
    (third,) = s.receive(ask(LIST_GROUPS, ListGroupsRequest()))
    for request in (first, third):
        s.answer(request.correlation, ListGroupsResponse())
    s.drain()
    assert len(protocol.left) == 1  # the third waits behind the second
    protocol.settle(MonoNs(9_000))
    s.answer(second.correlation, ListGroupsResponse())
    s.drain()
    protocol.settle(MonoNs(13_000))
    durations = protocol.meters[LIST_GROUPS].durations
    assert durations.total == 8_000 + 12_000 + 8_000
    assert durations.counts == {13: 2, 14: 1}
    assert protocol.left == []


def test_error_codes_are_counted_wherever_they_are_in_an_answer() -> None:
    rows = [
        OffsetCommitResponsePartition(partition_index=i, error_code=code) for i, code in enumerate((0, 3, 3))
    ]
    answer = OffsetCommitResponse(topics=[OffsetCommitResponseTopic(name="t", partitions=rows)])
    assert errors_in(answer) == [3, 3]
    s, protocol = session()
    (request,) = s.receive(ask(LIST_GROUPS, ListGroupsRequest()))
    s.answer(request.correlation, ListGroupsResponse(error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE))
    assert protocol.meters[LIST_GROUPS].errors == {15: 1}


def test_an_unknown_version_of_api_versions_counts_as_its_error() -> None:
    s, protocol = session()
    head = bytes.fromhex("0012 7fff 00000001 ffff")  # ApiVersions, version 32767, correlation 1, no client id
    assert s.receive(memoryview(bytearray(len(head).to_bytes(4, "big") + head))) == []
    assert protocol.meters[18].errors == {ErrorCode.UNSUPPORTED_VERSION: 1}


def fill(message: Message) -> int:
    """Put a code wherever one can be, and one element into every array; how many codes that were."""
    codes = 0
    for name, kind, struct, *_ in message.SCHEMA:
        if name == "error_code":
            setattr(message, name, 7)
            codes += 1
        elif struct is not None:
            inner = struct()
            codes += fill(inner)
            setattr(message, name, [inner] if kind.startswith("[]") else inner)
    return codes


def test_every_place_of_a_code_in_every_answer_of_kafka_is_found() -> None:
    places = 0
    for api in APIS.values():
        answer = api.response()
        assert errors_in(answer) == [], api.name
        codes = fill(answer)
        assert errors_in(answer) == [7] * codes, api.name
        places += codes
    assert places > len(APIS)


def test_what_may_be_null_is_no_error() -> None:
    answer = FetchResponse(error_code=70)
    answer.responses = None  # type: ignore[assignment]
    assert errors_in(answer) == [70]
