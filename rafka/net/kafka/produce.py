"""Produce (key 0), in place: the request most often read and the response most often written.

Nearly every Produce request is for one partition of one topic, outside a transaction and without tagged fields.
Then all fields but the topic's name and the records have fixed places, and two struct calls read them:

    v9-13   transactional id 00 | acks i16 | timeout i32 | topics 02 | name (compact) or id 16 bytes (v13)
            | partitions 02 | index i32 | records (compact) | 00 00 00 tagged sections
    v3-8    transactional id ffff | acks i16 | timeout i32 | topics i32 1 | name (i16 length)
            | partitions i32 1 | index i32 | records (i32 length)

Everything else, and everything malformed, is left to the compiled codec, which gives the same results.
Records are never copied: they are views of the request. Source: Kafka's ProduceRequest.json, ProduceResponse.json.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception by its usual spelling

from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.message import decode_prefix, encode
from rafka.core.message.wire import read_uvarint
from rafka.core.types import ZERO_UUID, Buffer, Piece, Uuid

_ERRORS_FROM = 8
FLEXIBLE_FROM = 9
IDS_FROM = 13
"""The first version with a producer's errors by record; with compact lengths and tags; with topic ids."""

_FIXED_HEAD = Struct(">hhiih")
_FIXED_PARTITION = Struct(">iii")
_NAME_HEAD = Struct(">BhiBB")
_NAME_PARTITION = Struct(">BiB")
_ID_HEAD = Struct(">BhiB16sBiB")

_FIXED_NAME = Struct(">ih")
_FIXED_ANSWER = Struct(">iihqqqi")
_FIXED_ANSWER_8 = Struct(">iihqqqihi")
_NAME_ANSWER = Struct(">BihqqqHHiB")
_ID_ANSWER = Struct(">B16sBihqqqHHiB")
_NOTHING_WRONG = 0x0100
"""No record errors (an empty compact array) and no error message (a null compact string)."""


def decode_request(version: int, body: memoryview) -> ProduceRequest:
    """Return the request that body begins with; its records are views of body.

    Raises: RemoteProtocolError if it is malformed or of an unknown version.
    """
    try:
        if version >= IDS_FROM:
            request = _one_by_id(body)
        elif version >= FLEXIBLE_FROM:
            request = _one_by_name(body)
        else:
            request = _one_fixed(body)
    except (StructError, IndexError, UnicodeDecodeError):
        request = None
    if request is None or version not in ProduceRequest.VERSIONS:
        return decode_prefix(ProduceRequest, version, body)
    return request


def encode_response(version: int, response: ProduceResponse) -> list[Piece]:
    """Return the response as one piece.

    Raises: LocalProtocolError if the version cannot say it.
    """
    encoded = _encode_one(version, response)
    return [encode(response, version) if encoded is None else encoded]


def _one_by_id(body: memoryview) -> ProduceRequest | None:
    """Read a request of version 13 for one partition; None if it is any other."""
    head = _ID_HEAD.unpack_from(body)
    transactional, acks, timeout_ms, topics, topic_id, partitions, index, length = head
    if transactional or topics != 2 or partitions != 2:
        return None
    records = records_before_tags(body, _ID_HEAD.size, length)
    if records is None:
        return None
    return _request(acks, timeout_ms, "", topic_id, index, records)


def _one_by_name(body: memoryview) -> ProduceRequest | None:
    """Read a request of versions 9 to 12 for one partition; None if it is any other."""
    transactional, acks, timeout_ms, topics, name_length = _NAME_HEAD.unpack_from(body)
    if transactional or topics != 2 or not 0 < name_length < 0x80:
        return None
    end = _NAME_HEAD.size + name_length - 1
    partitions, index, length = _NAME_PARTITION.unpack_from(body, end)
    if partitions != 2:
        return None
    records = records_before_tags(body, end + _NAME_PARTITION.size, length)
    if records is None:
        return None
    return _request(acks, timeout_ms, str(body[_NAME_HEAD.size : end], "utf-8"), ZERO_UUID, index, records)


def _one_fixed(body: memoryview) -> ProduceRequest | None:
    """Read a request of versions 3 to 8 for one partition; None if it is any other."""
    transactional, acks, timeout_ms, topics, name_length = _FIXED_HEAD.unpack_from(body)
    if transactional != -1 or topics != 1 or name_length < 0:
        return None
    end = _FIXED_HEAD.size + name_length
    partitions, index, length = _FIXED_PARTITION.unpack_from(body, end)
    start = end + _FIXED_PARTITION.size
    if partitions != 1 or length < 0 or start + length != len(body):
        return None
    name = str(body[_FIXED_HEAD.size : end], "utf-8")
    return _request(acks, timeout_ms, name, ZERO_UUID, index, body[start:])


def records_before_tags(body: memoryview, start: int, length: int) -> memoryview | None:
    """Return the records at start if three empty tagged sections, and nothing else, follow them.

    length: the first byte of their compact length, which stands right before.
    """
    if length > 0x7F:
        length, start = read_uvarint(body, start - 1)
    end = start + length - 1
    if not length or end + 3 != len(body) or body[end] or body[end + 1] or body[end + 2]:
        return None
    return body[start:end]


def _request(
    acks: int, timeout_ms: int, name: str, topic_id: Uuid, index: int, records: Buffer
) -> ProduceRequest:
    """Build a request for one partition; slot by slot, which costs half of what the constructors do."""
    partition = object.__new__(PartitionProduceData)
    partition.index = index
    partition.records = records
    topic = object.__new__(TopicProduceData)
    topic.name = name
    topic.topic_id = topic_id
    topic.partition_data = [partition]
    request = object.__new__(ProduceRequest)
    request.transactional_id = None
    request.acks = acks
    request.timeout_ms = timeout_ms
    request.topic_data = [topic]
    return request


def _encode_one(version: int, response: ProduceResponse) -> bytes | None:
    """Encode the answer for one partition that has nothing to say beyond numbers; None for any other."""
    if len(response.responses) != 1 or response.node_endpoints:
        return None
    topic = response.responses[0]
    if len(topic.partition_responses) != 1:
        return None
    partition = topic.partition_responses[0]
    leader = partition.current_leader
    if partition.record_errors or partition.error_message is not None:
        return None
    if leader.leader_id != -1 or leader.leader_epoch != -1:
        return None
    numbers = (
        partition.index,
        partition.error_code,
        partition.base_offset,
        partition.log_append_time_ms,
        partition.log_start_offset,
    )
    throttle_ms = response.throttle_time_ms
    try:
        if version == IDS_FROM and len(topic.topic_id) == 16:
            return _ID_ANSWER.pack(2, topic.topic_id, 2, *numbers, _NOTHING_WRONG, 0, throttle_ms, 0)
        name = topic.name.encode()
        if FLEXIBLE_FROM <= version < IDS_FROM and len(name) < 0x7F:
            answer = _NAME_ANSWER.pack(2, *numbers, _NOTHING_WRONG, 0, throttle_ms, 0)
            return b"\x02%c%b%b" % (len(name) + 1, name, answer)
        if version == _ERRORS_FROM:  # no record errors, and a null message
            return (
                _FIXED_NAME.pack(1, len(name)) + name + _FIXED_ANSWER_8.pack(1, *numbers, 0, -1, throttle_ms)
            )
        if 5 <= version < _ERRORS_FROM:
            return _FIXED_NAME.pack(1, len(name)) + name + _FIXED_ANSWER.pack(1, *numbers, throttle_ms)
    except (StructError, UnicodeEncodeError):
        return None
    return None
