"""What compaction makes of one batch: the last value of every key stays, and no offset ever moves.

The dirty part of a log is first read into an `OffsetMap`: the last offset of every key. Then every batch,
oldest first, goes through `compact`, which drops

- a record with a later one of the same key in the map, and a record without a key;
- a tombstone (a record without a value) once its batch's delete horizon has passed.

The horizon is `delete.retention.ms` after the first cleaning that found a tombstone in the batch. It is kept in
the batch itself: attribute bit 6 is set and base_timestamp is the horizon, so timestamp deltas count from there.

A batch of which nothing is dropped stays byte for byte. One of which something is dropped keeps base offset,
last offset delta, producer, epoch and sequence. One of which nothing is left goes, unless it is the last of
its producer: then its header stays with a count of 0, for it holds the sequence that the next must follow.
Control batches stay as they are. Records are moved as bytes; only what precedes a record's offset delta is
ever written anew.

Sources: Kafka's `Cleaner` and `MemoryRecords.filterTo`; KIP-534 (delete horizon); KAFKA-5490 (last sequence).
"""

from struct import Struct

from rafka.core.errors import CorruptRecord
from rafka.core.record.batch import CODEC_MASK, CRC_STARTS, HEADER_BYTES, LENGTH_OVERHEAD, Header
from rafka.core.record.builder import UNPACKED_BYTES_MAX
from rafka.core.record.compression import NONE, Codecs
from rafka.core.record.crc32c import crc32c
from rafka.core.record.varint import read_varint, write_varint
from rafka.core.shape import value
from rafka.core.types import Buffer, WallMs

DELETE_HORIZON = 0x40
"""Attribute bit 6: base_timestamp is the time from which the batch's tombstones may go."""
NO_TIMESTAMP = -1
ENTRY_BYTES = 160
"""What one key costs in an `OffsetMap` beside its own bytes."""

_header = Struct(">qiibIhiqqqhii")


class OffsetMap:
    """The last offset of every key of the dirty part of a log, in bounded memory."""

    __slots__ = ("_bytes", "_limit_bytes", "_offsets", "end_offset")

    def __init__(self, limit_bytes: int) -> None:
        self._offsets: dict[bytes, int] = {}
        self._bytes = 0
        self._limit_bytes = limit_bytes
        self.end_offset = 0
        """Exclusive end of what was added: records from here on are not compacted this time."""

    def add(self, batch: memoryview, header: Header, codecs: Codecs) -> bool:
        """Take in one checked batch, in the order of the log; False: the map is full, compact up to `end_offset`.

        Raises CorruptRecord when the records cannot be read.
        """
        if self._bytes >= self._limit_bytes:
            return False
        if not header.is_control:
            for record in _records(batch, header, codecs):
                if record.key is not None:
                    self._put(record.key, header.base_offset + record.offset_delta)
        self.end_offset = header.last_offset + 1
        return True

    def last_offset(self, key: bytes) -> int:
        """Give the last offset of `key`; -1 when the dirty part has none."""
        return self._offsets.get(key, -1)

    def _put(self, key: bytes, offset: int) -> None:
        if key not in self._offsets:
            self._bytes += ENTRY_BYTES + len(key)
        self._offsets[key] = offset


@value
class _Record:
    """Where one record's parts are. after_time: the bytes from its offset delta to its end."""

    whole: bytes
    after_time: bytes
    time_delta: int
    offset_delta: int
    key: bytes | None
    is_tombstone: bool


def compact(
    batch: memoryview,
    header: Header,
    offsets: OffsetMap,
    codecs: Codecs,
    now: WallMs,
    delete_retention_ms: int,
    *,
    last_of_producer: bool,
) -> Buffer | None:
    """Give what stays of one checked batch: itself, a smaller one, or None for nothing.

    last_of_producer: it is the newest batch of its producer id. Raises CorruptRecord when it cannot be read.
    """
    if header.is_control or header.base_offset >= offsets.end_offset:
        return batch
    records = _records(batch, header, codecs)
    horizon = header.base_timestamp if header.attributes & DELETE_HORIZON else None
    kept = [record for record in records if _stays(record, header, offsets, now, horizon)]
    if not kept:
        return _emptied(header) if last_of_producer else None
    if horizon is None and any(record.is_tombstone for record in kept):
        return _rebuilt(header, kept, codecs, now + delete_retention_ms)
    return batch if len(kept) == len(records) else _rebuilt(header, kept, codecs, None)


def _stays(record: _Record, header: Header, offsets: OffsetMap, now: WallMs, horizon: int | None) -> bool:
    offset = header.base_offset + record.offset_delta
    if offset >= offsets.end_offset:
        return True
    if record.key is None or offset < offsets.last_offset(record.key):
        return False
    return not (record.is_tombstone and horizon is not None and now >= horizon)


def _rebuilt(header: Header, kept: list[_Record], codecs: Codecs, horizon: int | None) -> bytearray:
    """Pack the kept records again; horizon: the new base timestamp, None to leave it."""
    base = header.base_timestamp if horizon is None else horizon
    body = bytearray()
    for record in kept:
        body += record.whole if horizon is None else _retimed(record, header.base_timestamp - base)
    packed = body if header.codec == NONE else codecs.compress(header.codec, body)
    attributes = header.attributes if horizon is None else header.attributes | DELETE_HORIZON
    newest = max(header.base_timestamp + record.time_delta for record in kept)
    if header.is_log_append_time or newest > header.max_timestamp:  # a producer may have said anything
        newest = header.max_timestamp
    max_timestamp = max(NO_TIMESTAMP, newest)
    return _sealed(header, attributes, base, max_timestamp, len(kept), packed)


def _retimed(record: _Record, shift: int) -> bytes:
    one = bytearray(1)  # attributes: none are defined
    write_varint(one, record.time_delta + shift)
    one += record.after_time
    length = bytearray()
    write_varint(length, len(one))
    return bytes(length + one)


def _emptied(header: Header) -> bytearray:
    attributes = header.attributes & ~(CODEC_MASK | DELETE_HORIZON)
    return _sealed(header, attributes, NO_TIMESTAMP, header.max_timestamp, 0, b"")


def _sealed(
    header: Header, attributes: int, base_timestamp: int, max_timestamp: int, count: int, body: Buffer
) -> bytearray:
    batch = bytearray(HEADER_BYTES)
    _header.pack_into(
        batch, 0, header.base_offset, HEADER_BYTES - LENGTH_OVERHEAD + len(body), header.leader_epoch,
        header.magic, 0, attributes, header.last_offset_delta, base_timestamp, max_timestamp,
        header.producer_id, header.producer_epoch, header.base_sequence, count,
    )  # fmt: skip
    batch += body
    batch[17:CRC_STARTS] = crc32c(memoryview(batch)[CRC_STARTS:]).to_bytes(4, "big")
    return batch


def _records(batch: memoryview, header: Header, codecs: Codecs) -> list[_Record]:
    body: Buffer = batch[HEADER_BYTES : header.size_bytes]
    if header.codec != NONE and header.count:
        body = codecs.decompress(header.codec, body, UNPACKED_BYTES_MAX)
    data = bytes(body)
    records: list[_Record] = []
    position = 0
    for _ in range(header.count):
        record, position = _read(data, position)
        records.append(record)
    if position != len(data):
        raise CorruptRecord(position, "bytes after the last record")
    return records


def _read(data: bytes, position: int) -> tuple[_Record, int]:
    length, start = read_varint(data, position)
    end = start + length
    if length < 1 or end > len(data):
        raise CorruptRecord(position, f"a record of {length} bytes")
    time_delta, after_time = read_varint(data, start + 1)
    offset_delta, at = read_varint(data, after_time)
    key_length, at = read_varint(data, at)
    value_at = at + max(0, key_length)
    value_length, _ = read_varint(data, value_at)
    if value_at >= end:
        raise CorruptRecord(position, "a key longer than its record")
    key = None if key_length < 0 else data[at:value_at]
    whole, rest = data[position:end], data[after_time:end]
    return _Record(whole, rest, time_delta, offset_delta, key, value_length < 0), end
