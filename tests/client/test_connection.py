import pytest

from rafka.client.connection import Connection
from rafka.core.api.api_versions_response import ApiVersion, ApiVersionsResponse
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.metadata_request import MetadataRequest
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.errors import LocalProtocolError, RemoteProtocolError
from rafka.core.message import encode
from rafka.net.frame import frame_of


def answer(correlation_id, body, *, flexible=False):
    return frame_of(correlation_id.to_bytes(4) + b"\0" * flexible + body)


def greeting(correlation_id=0, error_code=0, *served):
    keys = [ApiVersion(api_key=key, min_version=low, max_version=high) for key, low, high in served]
    return answer(correlation_id, encode(ApiVersionsResponse(error_code=error_code, api_keys=keys), 0))


def connected(*served):
    connection = Connection("me")
    connection.greet()
    connection.receive(memoryview(greeting(0, 0, *served)))
    return connection


def test_the_greeting_is_api_versions_0_which_every_broker_understands():
    assert Connection("me").greet() == bytes.fromhex("0000000c 0012 0000 00000000 0002 6d65")


def test_a_request_is_sent_in_the_newest_version_that_both_speak():
    flexible = connected((3, 0, 9)).send(MetadataRequest(topics=[]))
    assert flexible[4:12] == bytes.fromhex("0003 0009 00000001")
    assert flexible[12:17] == b"\0\x02me\0"
    assert connected((3, 0, 8)).send(MetadataRequest(topics=[]))[4:8] == bytes.fromhex("0003 0008")
    assert connected((3, 0, 99)).send(MetadataRequest(topics=[]))[4:8] == bytes.fromhex("0003 000d")


@pytest.mark.parametrize("served", [[], [(3, 90, 99)], [(10, 0, 6)]])
def test_a_request_that_the_broker_does_not_serve_is_refused_here(served):
    with pytest.raises(LocalProtocolError, match="serves no version of Metadata"):
        connected(*served).send(MetadataRequest(topics=[]))


def test_nothing_is_sent_before_the_greeting_is_answered():
    connection = Connection("me")
    connection.greet()
    assert not connection.is_ready
    with pytest.raises(LocalProtocolError, match="not said yet"):
        connection.send(MetadataRequest(topics=[]))


def test_a_response_is_no_request():
    with pytest.raises(LocalProtocolError, match="is not a request"):
        connected((3, 0, 9)).send(MetadataResponse())


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_responses_come_in_order_however_the_bytes_are_cut(step):
    connection = connected((3, 0, 9), (10, 0, 2))
    connection.send(MetadataRequest(topics=[]))
    connection.send(FindCoordinatorRequest(key="g"))
    connection.send(MetadataRequest(topics=[]))
    stream = memoryview(
        answer(1, encode(MetadataResponse(cluster_id="a"), 9), flexible=True)
        + answer(2, bytes.fromhex("00000000 0000 ffff 00000007 0001 68 00002384"))
        + answer(3, encode(MetadataResponse(cluster_id="b"), 9), flexible=True)
    )
    came = [r for at in range(0, len(stream), step) for r in connection.receive(stream[at : at + step])]
    assert [getattr(r, "cluster_id", None) for r in came] == ["a", None, "b"]
    assert (came[1].node_id, came[1].host, came[1].port) == (7, "h", 9092)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (answer(7, b"", flexible=True), "answered request 7, but 1 was next"),
        (answer(1, b"", flexible=True), "MetadataResponse"),
        (answer(1, encode(MetadataResponse(), 9) + b"x", flexible=True), "after the end"),
        (b"\xff\xff\xff\xff", "frame of -1"),
        (b"HTTP/1.1 400 Bad Request\r\n", "frame of"),
        (answer(1, encode(MetadataResponse(), 9), flexible=True) + answer(2, b""), "nothing was asked"),
    ],
)
def test_an_answer_that_cannot_be_is_the_brokers_error(data, why):
    connection = connected((3, 0, 9))
    connection.send(MetadataRequest(topics=[]))
    with pytest.raises(RemoteProtocolError, match=why):
        connection.receive(memoryview(data))


def test_a_refused_greeting_is_an_error():
    connection = Connection("me")
    connection.greet()
    with pytest.raises(RemoteProtocolError, match="refused the greeting with error 35"):
        connection.receive(memoryview(greeting(0, 35)))
