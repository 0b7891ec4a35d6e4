"""The hand-written Fetch codec says what the compiled one says, and leaves records in pieces."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.fetch_response import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchResponse,
    NodeEndpoint,
    PartitionData,
)
from rafka.core.errors import LocalProtocolError, RemoteProtocolError
from rafka.core.message import decode, decode_prefix, encode
from rafka.core.types import File, FileSlice, Piece, Uuid
from rafka.net.kafka import fetch
from tests.core.message import fill

VERSIONS = st.sampled_from(FetchRequest.VERSIONS)
SEEDS = st.integers(0, 2**32)
TOPIC_ID = Uuid(bytes(range(16)))


def one_request(version: int, rack_id: str = "") -> FetchRequest:
    """A request for one partition, as most are."""
    partition = FetchPartition(partition=2, fetch_offset=2**33, partition_max_bytes=1 << 20)
    topic = FetchTopic(partitions=[partition])
    if version >= 13:
        topic.topic_id = TOPIC_ID
    else:
        topic.topic = "orders"
    request = FetchRequest(max_wait_ms=500, min_bytes=1, max_bytes=1 << 25, topics=[topic])
    if version >= 5:
        partition.log_start_offset = 4
    if version >= 7:
        request.session_id, request.session_epoch = 77, 6
    if version >= 9:
        partition.current_leader_epoch = 8
    if version >= 11:
        request.rack_id = rack_id
    if version >= 12:
        partition.last_fetched_epoch = 3
    if version < 15:
        request.replica_id = 5
    return request


def flat(pieces: list[Piece], content: dict[File, bytes]) -> bytes:
    """What goes out on the connection."""
    parts = []
    for piece in pieces:
        if isinstance(piece, FileSlice):
            parts.append(content[piece.file][piece.position : piece.position + piece.length])
        else:
            parts.append(bytes(piece))
    return b"".join(parts)


@pytest.mark.parametrize("version", FetchRequest.VERSIONS)
@pytest.mark.parametrize("rack_id", ["", "eu-1a", "x" * 126, "x" * 127, "x" * 300])
def test_a_request_for_one_partition_is_read_in_every_version(version: int, rack_id: str) -> None:
    request = one_request(version, rack_id)
    assert fetch.decode_request(version, memoryview(encode(request, version))) == request


@settings(max_examples=300, deadline=None)
@given(VERSIONS, SEEDS)
def test_any_request_is_read_as_the_compiled_codec_reads_it(version: int, seed: int) -> None:
    body = encode(fill.message(FetchRequest, version, Random(seed)), version)
    assert fetch.decode_request(version, memoryview(body)) == decode(FetchRequest, version, body)


@settings(max_examples=500, deadline=None)
@given(VERSIONS, SEEDS)
def test_a_damaged_request_is_read_or_refused_as_the_compiled_codec_does(version: int, seed: int) -> None:
    random = Random(seed)
    body = fill.damaged(encode(one_request(version, random.choice(("", "eu-1a"))), version), random)
    try:
        expected = decode_prefix(FetchRequest, version, body)
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError):
            fetch.decode_request(version, memoryview(body))
    else:
        assert fetch.decode_request(version, memoryview(body)) == expected


@settings(max_examples=500, deadline=None)
@given(VERSIONS, SEEDS)
def test_any_response_is_the_compiled_codecs_bytes(version: int, seed: int) -> None:
    response = fill.message(FetchResponse, version, Random(seed))
    assert isinstance(response, FetchResponse)
    assert flat(fetch.encode_response(version, response), {}) == encode(response, version)


@settings(max_examples=300, deadline=None)
@given(VERSIONS, SEEDS)
def test_records_in_pieces_are_the_bytes_of_the_records_in_one(version: int, seed: int) -> None:
    random = Random(seed)
    response = fill.message(FetchResponse, version, random)
    assert isinstance(response, FetchResponse)
    expected = encode(response, version)
    content: dict[File, bytes] = {}
    for topic in response.responses:
        for partition in topic.partitions:
            partition.records = cut(partition.records, content, random)
    assert flat(fetch.encode_response(version, response), content) == expected


def cut(records: object, content: dict[File, bytes], random: Random) -> list[Piece] | None:
    """The records in up to three pieces, of which some are in files."""
    if records is None:
        return None
    assert isinstance(records, bytes)
    cuts = sorted({0, len(records), *(random.randrange(len(records) + 1) for _ in range(2))})
    pieces: list[Piece] = []
    for start, end in itertools.pairwise(cuts):
        if random.random() < 0.5:
            file = File(f"log-{len(content)}")
            content[file] = b"before" + records[start:end] + b"after"
            pieces.append(FileSlice(file, 6, end - start))
        else:
            pieces.append(memoryview(records)[start:end])
    return pieces


def test_pieces_of_records_stand_untouched_between_their_frames() -> None:
    piece, on_disk = memoryview(b"batch"), FileSlice(File("orders-0/0.log"), 100, 200)
    partition = PartitionData(partition_index=1, high_watermark=9, records=[piece, on_disk])
    topic = FetchableTopicResponse(topic_id=TOPIC_ID, partitions=[partition])
    before, first, second, after = fetch.encode_response(16, FetchResponse(responses=[topic]))
    assert first is piece
    assert second is on_disk
    assert bytes(before[-2:]).hex() == "ce01"  # 206 = 205 bytes + 1, as a varint
    assert bytes(after).hex() == "000000"


@pytest.mark.parametrize("version", FetchResponse.VERSIONS)
def test_a_response_without_topics_is_one_piece(version: int) -> None:
    assert fetch.encode_response(version, FetchResponse()) == [encode(FetchResponse(), version)]


@pytest.mark.parametrize(
    ("version", "response"),
    [
        (3, FetchResponse()),
        (19, FetchResponse()),
        (6, FetchResponse(session_id=1)),
        (15, FetchResponse(node_endpoints=[NodeEndpoint()])),
        (11, FetchResponse(node_endpoints=[NodeEndpoint()])),
    ],
)
def test_what_a_version_cannot_say_is_refused(version: int, response: FetchResponse) -> None:
    with pytest.raises(LocalProtocolError):
        encode(response, version)
    with pytest.raises(LocalProtocolError):
        fetch.encode_response(version, response)


@pytest.mark.parametrize(
    ("version", "partition"),
    [
        (10, PartitionData(preferred_read_replica=1)),
        (11, PartitionData(diverging_epoch=EpochEndOffset(epoch=1))),
        (16, PartitionData(error_code=40_000)),
        (11, PartitionData(aborted_transactions=[AbortedTransaction(producer_id=2**63)])),
    ],
)
def test_what_a_version_cannot_say_of_a_partition_is_refused(version: int, partition: PartitionData) -> None:
    response = FetchResponse(responses=[FetchableTopicResponse(partitions=[partition])])
    with pytest.raises(LocalProtocolError):
        encode(response, version)
    with pytest.raises(LocalProtocolError):
        fetch.encode_response(version, response)
