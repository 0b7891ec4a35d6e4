"""The hand-written Produce codec says what the compiled one says, and copies no records."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import (
    LeaderIdAndEpoch,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from rafka.core.errors import LocalProtocolError, RemoteProtocolError
from rafka.core.message import decode, decode_prefix, encode
from rafka.core.types import Uuid
from rafka.net.kafka import produce
from tests.core.message import fill

VERSIONS = st.sampled_from(ProduceRequest.VERSIONS)
SEEDS = st.integers(0, 2**32)
TOPIC_ID = Uuid(bytes(range(16)))


def one_request(version: int, records: bytes | None, name: str = "orders") -> ProduceRequest:
    """A request for one partition, as most are."""
    partition = PartitionProduceData(index=3, records=records)
    topic = TopicProduceData(partition_data=[partition])
    if version >= 13:
        topic.topic_id = TOPIC_ID
    else:
        topic.name = name
    return ProduceRequest(acks=-1, timeout_ms=1500, topic_data=[topic])


def one_response(version: int) -> ProduceResponse:
    partition = PartitionProduceResponse(index=3, base_offset=2**40, log_append_time_ms=5)
    topic = TopicProduceResponse(partition_responses=[partition])
    if version >= 5:
        partition.log_start_offset = 7
    if version >= 13:
        topic.topic_id = TOPIC_ID
    else:
        topic.name = "orders"
    return ProduceResponse(responses=[topic], throttle_time_ms=9)


def test_version_13_for_one_partition_is_these_bytes() -> None:
    body = bytes.fromhex(
        "00 ffff 000005dc 02 000102030405060708090a0b0c0d0e0f 02 00000003 06 6261746368 00 00 00"
    )
    assert produce.decode_request(13, memoryview(body)) == one_request(13, b"batch")


@pytest.mark.parametrize("version", ProduceRequest.VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 20_000])
@pytest.mark.parametrize("name", ["", "orders", "x" * 125, "x" * 126, "x" * 127, "x" * 249])
def test_a_request_for_one_partition_is_read_in_every_version(version: int, size: int, name: str) -> None:
    request = one_request(version, bytes(size), name)
    assert produce.decode_request(version, memoryview(encode(request, version))) == request


@pytest.mark.parametrize("version", ProduceRequest.VERSIONS)
def test_records_are_a_view_of_the_request(version: int) -> None:
    body = bytearray(encode(one_request(version, b"batch"), version))
    records = produce.decode_request(version, memoryview(body)).topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    body[body.index(b"batch")] = ord("B")
    assert records == b"Batch"


@settings(max_examples=300, deadline=None)
@given(VERSIONS, SEEDS)
def test_any_request_is_read_as_the_compiled_codec_reads_it(version: int, seed: int) -> None:
    body = encode(fill.message(ProduceRequest, version, Random(seed)), version)
    assert produce.decode_request(version, memoryview(body)) == decode(ProduceRequest, version, body)


@settings(max_examples=500, deadline=None)
@given(VERSIONS, SEEDS)
def test_a_damaged_request_is_read_or_refused_as_the_compiled_codec_does(version: int, seed: int) -> None:
    random = Random(seed)
    body = fill.damaged(
        encode(one_request(version, random.randbytes(random.choice((0, 5, 130)))), version), random
    )
    try:
        expected = decode_prefix(ProduceRequest, version, body)
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError):
            produce.decode_request(version, memoryview(body))
    else:
        assert produce.decode_request(version, memoryview(body)) == expected


@pytest.mark.parametrize("version", [-1, 0, 2, 14, 99])
def test_a_version_that_is_not_served_is_refused(version: int) -> None:
    with pytest.raises(RemoteProtocolError):
        produce.decode_request(version, memoryview(encode(one_request(13, b"batch"), 13)))
    with pytest.raises(LocalProtocolError):
        produce.encode_response(version, one_response(13))


@pytest.mark.parametrize("version", ProduceRequest.VERSIONS)
def test_an_answer_for_one_partition_is_the_compiled_codecs_bytes(version: int) -> None:
    response = one_response(version)
    assert produce.encode_response(version, response) == [encode(response, version)]


@settings(max_examples=300, deadline=None)
@given(VERSIONS, SEEDS)
def test_any_answer_is_the_compiled_codecs_bytes(version: int, seed: int) -> None:
    response = fill.message(ProduceResponse, version, Random(seed))
    assert isinstance(response, ProduceResponse)
    assert produce.encode_response(version, response) == [encode(response, version)]


def test_what_a_version_cannot_say_is_refused() -> None:
    response = one_response(9)
    response.responses[0].partition_responses[0].current_leader = LeaderIdAndEpoch(leader_id=1)
    with pytest.raises(LocalProtocolError, match="current_leader"):
        produce.encode_response(9, response)


@pytest.mark.parametrize("version", [7, 9, 13])
def test_a_number_that_does_not_fit_is_refused(version: int) -> None:
    response = one_response(version)
    response.responses[0].partition_responses[0].error_code = 40_000
    with pytest.raises(LocalProtocolError):
        produce.encode_response(version, response)
