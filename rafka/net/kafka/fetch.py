"""Fetch (key 1), in place: records leave as the pieces they are, between the bytes that frame them.

A consumer's or follower's request for one partition is read with two or three struct calls; any other, and anything
malformed, is left to the compiled codec, which gives the same result. In versions 15 to 18 such a request is

    max wait i32 | min bytes i32 | max bytes i32 | isolation i8 | session id i32 | session epoch i32 | topics 02
    | topic id 16 bytes | partitions 02 | partition i32 | leader epoch i32 | offset i64 | last fetched epoch i32
    | log start i64 | max bytes i32 | 00 00 tagged sections | forgotten 01 | rack (compact) | 00 tagged section

and versions 9 to 11 start with the replica id and say the topic by name, with lengths in full.

A response is always written by hand, the plain one for one partition with a single struct call. `records` of a
partition may be one buffer or a sequence of buffers and FileSlices; the result is a list in which they stand
untouched. Sources: Kafka's FetchRequest.json, FetchResponse.json; KIP-74, KIP-227, KIP-516, KIP-903.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception by its usual spelling

from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic, ReplicaState
from rafka.core.api.fetch_response import FetchableTopicResponse, FetchResponse, NodeEndpoint, PartitionData
from rafka.core.errors import LocalProtocolError
from rafka.core.message import codec, decode_prefix
from rafka.core.message.base import Records
from rafka.core.message.wire import put_uvarint
from rafka.core.types import ZERO_UUID, FileSlice, Piece

_SESSIONS_FROM = 7
_READ_REPLICA_FROM = 11
_FLEXIBLE_FROM = 12
_IDS_FROM = 13
_REPLICA_STATE_FROM = 15
_ENDPOINTS_FROM = 16
_HIGH_WATERMARK_UNSUPPORTED = 0x7FFF_FFFF_FFFF_FFFF

_ID_REQUEST = Struct(">iiibiiB16sBiiqiqiHBB")
_FIXED_HEAD = Struct(">iiiibiiih")
_FIXED_PARTITION = Struct(">iiiqqii")
_INT16 = Struct(">h")

_INT32 = Struct(">i")
_HEAD = Struct(">ihi")
_PARTITION = Struct(">ihqqq")
_PARTITION_V4 = Struct(">ihqq")
_PLAIN_PARTITION = Struct(">ihqqqBi")
"""A flexible partition without aborted transactions, up to its records."""
_ID_RESPONSE = Struct(">ihiB16sBihqqqBi")
"""The same with all that stands before it in a response for one partition of a topic by id."""
_ABORTED = Struct(">qq")
_ABORTED_TAGGED = Struct(">qqB")
_DIVERGING = Struct(">BBiqB")
_LEADER = Struct(">BBiiB")
_SNAPSHOT = Struct(">BBqiB")


def decode_request(version: int, body: memoryview) -> FetchRequest:
    """Return the request that body begins with.

    Raises: RemoteProtocolError if it is malformed or of an unknown version.
    """
    request = None
    try:
        if version >= _REPLICA_STATE_FROM:
            request = _one_by_id(body)
        elif 9 <= version < _FLEXIBLE_FROM:
            request = _one_fixed(version, body)
    except (StructError, IndexError, UnicodeDecodeError):
        request = None
    if request is None or version not in FetchRequest.VERSIONS:
        return decode_prefix(FetchRequest, version, body)
    return request


def _one_by_id(body: memoryview) -> FetchRequest | None:
    """Read a request of versions 15 to 18 for one partition; None if it is any other."""
    request, topic, partition = _blank()
    (
        request.max_wait_ms,
        request.min_bytes,
        request.max_bytes,
        request.isolation_level,
        request.session_id,
        request.session_epoch,
        topics,
        topic.topic_id,
        partitions,
        partition.partition,
        partition.current_leader_epoch,
        partition.fetch_offset,
        partition.last_fetched_epoch,
        partition.log_start_offset,
        partition.partition_max_bytes,
        tags,
        forgotten,
        rack_length,
    ) = _ID_REQUEST.unpack_from(body)
    end = _ID_REQUEST.size + rack_length - 1
    if topics != 2 or partitions != 2 or tags or forgotten != 1 or not 0 < rack_length < 0x80:
        return None
    if end + 1 != len(body) or body[end]:
        return None
    topic.topic = ""
    request.replica_id = -1
    request.rack_id = "" if rack_length == 1 else str(body[_ID_REQUEST.size : end], "utf-8")
    return request


def _one_fixed(version: int, body: memoryview) -> FetchRequest | None:
    """Read a request of versions 9 to 11 for one partition; None if it is any other."""
    request, topic, partition = _blank()
    (
        request.replica_id,
        request.max_wait_ms,
        request.min_bytes,
        request.max_bytes,
        request.isolation_level,
        request.session_id,
        request.session_epoch,
        topics,
        name_length,
    ) = _FIXED_HEAD.unpack_from(body)
    if topics != 1 or name_length < 0:
        return None
    end = _FIXED_HEAD.size + name_length
    (
        partitions,
        partition.partition,
        partition.current_leader_epoch,
        partition.fetch_offset,
        partition.log_start_offset,
        partition.partition_max_bytes,
        forgotten,
    ) = _FIXED_PARTITION.unpack_from(body, end)
    rest = body[end + _FIXED_PARTITION.size :]
    if partitions != 1 or forgotten or not _is_rack(version, rest):
        return None
    topic.topic = str(body[_FIXED_HEAD.size : end], "utf-8")
    topic.topic_id = ZERO_UUID
    partition.last_fetched_epoch = -1
    request.rack_id = str(rest[2:], "utf-8") if len(rest) > 2 else ""
    return request


def _is_rack(version: int, rest: memoryview) -> bool:
    """Whether the bytes after the topics are a rack and nothing more; nothing at all before version 11."""
    if version < _READ_REPLICA_FROM:
        return not rest
    return len(rest) >= 2 and rest[0] << 8 | rest[1] == len(rest) - 2


def _blank() -> tuple[FetchRequest, FetchTopic, FetchPartition]:
    """Return a request with a topic and a partition, holding only what requests for one partition leave out.

    Set slot by slot, which costs half of what the constructors do.
    """
    partition = object.__new__(FetchPartition)
    partition.replica_directory_id = ZERO_UUID
    partition.high_watermark = _HIGH_WATERMARK_UNSUPPORTED
    topic = object.__new__(FetchTopic)
    topic.partitions = [partition]
    state = object.__new__(ReplicaState)
    state.replica_id = -1
    state.replica_epoch = -1
    request = object.__new__(FetchRequest)
    request.cluster_id = None
    request.replica_state = state
    request.topics = [topic]
    request.forgotten_topics_data = []
    return request, topic, partition


def encode_response(version: int, response: FetchResponse) -> list[Piece]:
    """Return the response as pieces, of which the partitions' records are some, uncopied and in their places.

    Raises: LocalProtocolError if the version cannot say it.
    """
    if version not in FetchResponse.VERSIONS:
        raise LocalProtocolError(f"FetchResponse has no version {version}")
    try:
        return _one_partition(version, response) or _pieces(version, response)
    except (StructError, UnicodeEncodeError) as error:
        raise LocalProtocolError(f"FetchResponse v{version}: {error}") from error


def _one_partition(version: int, response: FetchResponse) -> list[Piece] | None:
    """Write a response for one partition with nothing but numbers and records; None for any other."""
    if version < _IDS_FROM or len(response.responses) != 1 or response.node_endpoints:
        return None
    topic = response.responses[0]
    if len(topic.partitions) != 1 or len(topic.topic_id) != 16:
        return None
    partition = topic.partitions[0]
    aborted = partition.aborted_transactions
    if aborted or _has_extras(partition):
        return None
    head = _ID_RESPONSE.pack(
        response.throttle_time_ms,
        response.error_code,
        response.session_id,
        2,
        topic.topic_id,
        2,
        partition.partition_index,
        partition.error_code,
        partition.high_watermark,
        partition.last_stable_offset,
        partition.log_start_offset,
        0 if aborted is None else 1,
        partition.preferred_read_replica,
    )
    out = bytearray(head)
    records = partition.records
    if not _put_records_length(out, records, flexible=True):
        out += b"\0\0\0"
        return [out]
    pieces: list[Piece] = [out]
    _add_records(pieces, records)
    pieces.append(b"\0\0\0")
    return pieces


def _pieces(version: int, response: FetchResponse) -> list[Piece]:
    flexible = version >= _FLEXIBLE_FROM
    pieces: list[Piece] = []
    out = bytearray()
    _put_head(out, version, response)
    for topic in response.responses:
        _put_topic(out, version, topic)
        for partition in topic.partitions:
            _put_partition(out, version, partition)
            if _put_records_length(out, partition.records, flexible=flexible):
                pieces.append(out)
                _add_records(pieces, partition.records)
                out = bytearray()
            if flexible:
                _put_partition_tags(out, partition)
            elif _has_extras(partition):
                raise LocalProtocolError(f"a partition's tagged fields do not exist in version {version}")
        if flexible:
            out.append(0)
    if flexible:
        _put_endpoints(out, version, response.node_endpoints)
    elif response.node_endpoints:
        raise LocalProtocolError(f"node_endpoints do not exist in version {version}")
    pieces.append(out)
    return pieces


def _put_head(out: bytearray, version: int, response: FetchResponse) -> None:
    if version >= _SESSIONS_FROM:
        out += _HEAD.pack(response.throttle_time_ms, response.error_code, response.session_id)
    elif response.session_id:
        raise LocalProtocolError(f"session_id does not exist in version {version}")
    else:
        out += _INT32.pack(response.throttle_time_ms)
    _put_count(out, len(response.responses), flexible=version >= _FLEXIBLE_FROM)


def _put_topic(out: bytearray, version: int, topic: FetchableTopicResponse) -> None:
    """Write a topic up to its first partition."""
    if version >= _IDS_FROM:
        if len(topic.topic_id) != 16:
            raise LocalProtocolError("topic_id is not 16 bytes")
        out += topic.topic_id
    else:
        name = topic.topic.encode()
        if version >= _FLEXIBLE_FROM:
            put_uvarint(out, len(name) + 1)
        else:
            out += _INT16.pack(len(name))
        out += name
    _put_count(out, len(topic.partitions), flexible=version >= _FLEXIBLE_FROM)


def _put_partition(out: bytearray, version: int, partition: PartitionData) -> None:
    """Write a partition up to its records."""
    aborted = partition.aborted_transactions
    read_replica = partition.preferred_read_replica
    numbers = (
        partition.partition_index,
        partition.error_code,
        partition.high_watermark,
        partition.last_stable_offset,
        partition.log_start_offset,
    )
    if version >= _FLEXIBLE_FROM and not aborted:
        out += _PLAIN_PARTITION.pack(*numbers, 0 if aborted is None else 1, read_replica)
        return
    out += _PARTITION.pack(*numbers) if version > 4 else _PARTITION_V4.pack(*numbers[:4])
    if version >= _FLEXIBLE_FROM:
        put_uvarint(out, len(aborted or ()) + 1)
        for item in aborted or ():
            out += _ABORTED_TAGGED.pack(item.producer_id, item.first_offset, 0)
    else:
        out += _INT32.pack(-1 if aborted is None else len(aborted))
        for item in aborted or ():
            out += _ABORTED.pack(item.producer_id, item.first_offset)
    if version >= _READ_REPLICA_FROM:
        out += _INT32.pack(read_replica)
    elif read_replica != -1:
        raise LocalProtocolError(f"preferred_read_replica does not exist in version {version}")


def _put_records_length(out: bytearray, records: Records | None, *, flexible: bool) -> int:
    """Write the length of the records and return it; 0 where there are none."""
    size = 0
    if isinstance(records, (bytes, bytearray, memoryview)):
        size = len(records)
    elif records is not None:
        for piece in records:
            size += piece.length if isinstance(piece, FileSlice) else len(piece)
    if flexible:
        put_uvarint(out, 0 if records is None else size + 1)
    else:
        out += _INT32.pack(-1 if records is None else size)
    return size


def _add_records(pieces: list[Piece], records: Records | None) -> None:
    if isinstance(records, (bytes, bytearray, memoryview)):
        pieces.append(records)
    elif records is not None:
        pieces += records


def _has_extras(partition: PartitionData) -> bool:
    """Whether the partition says what only tagged fields can: a divergence, a leader, a snapshot."""
    diverging, leader, snapshot = partition.diverging_epoch, partition.current_leader, partition.snapshot_id
    return not (
        diverging.epoch == -1
        and diverging.end_offset == -1
        and leader.leader_id == -1
        and leader.leader_epoch == -1
        and snapshot.end_offset == -1
        and snapshot.epoch == -1
    )


def _put_partition_tags(out: bytearray, partition: PartitionData) -> None:
    """Write the tagged section: tag, size of the struct and its own empty section's zero, then the struct."""
    if not _has_extras(partition):
        out.append(0)
        return
    diverging, leader, snapshot = partition.diverging_epoch, partition.current_leader, partition.snapshot_id
    count = len(out)
    out.append(0)
    if diverging.epoch != -1 or diverging.end_offset != -1:
        out += _DIVERGING.pack(0, 13, diverging.epoch, diverging.end_offset, 0)
        out[count] += 1
    if leader.leader_id != -1 or leader.leader_epoch != -1:
        out += _LEADER.pack(1, 9, leader.leader_id, leader.leader_epoch, 0)
        out[count] += 1
    if snapshot.end_offset != -1 or snapshot.epoch != -1:
        out += _SNAPSHOT.pack(2, 13, snapshot.end_offset, snapshot.epoch, 0)
        out[count] += 1


def _put_endpoints(out: bytearray, version: int, endpoints: list[NodeEndpoint]) -> None:
    """Write the response's tagged section."""
    if not endpoints:
        out.append(0)
        return
    if version < _ENDPOINTS_FROM:
        raise LocalProtocolError(f"node_endpoints do not exist in version {version}")
    body = bytearray()
    put_uvarint(body, len(endpoints) + 1)
    write = codec(NodeEndpoint, version).encode
    for endpoint in endpoints:
        write(endpoint, body)
    out += b"\x01\x00"
    put_uvarint(out, len(body))
    out += body


def _put_count(out: bytearray, count: int, *, flexible: bool) -> None:
    """Write the length of an array."""
    if flexible:
        put_uvarint(out, count + 1)
    else:
        out += _INT32.pack(count)
