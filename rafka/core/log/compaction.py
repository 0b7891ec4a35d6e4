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
from rafka.core.types import Buffer, WallMs

DELETE_HORIZON = 0x40
"""Attribute bit 6: base_timestamp is the time from which the batch's tombstones may go."""
NO_TIMESTAMP = -1
ENTRY_BYTES = 160
"""What one key costs in an `OffsetMap` beside its own bytes."""

_header = Struct(">qiibIhiqqqhii")


class OffsetMap:
    """The last offset of every key of the dirty part of a log, in bounded memory."""

    __slots__ = ("_bytes", "_limit_bytes", "by_key", "end_offset")

    def __init__(self, limit_bytes: int) -> None:
        self.by_key: dict[bytes, int] = {}
        """The last offset of every key."""
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
            offsets, base = self.by_key, header.base_offset
            for _, _, _, _, delta, key, _ in _records(batch, header, codecs)[1]:
                if key is not None:
                    if key not in offsets:
                        self._bytes += ENTRY_BYTES + len(key)
                    offsets[key] = base + delta
        self.end_offset = header.last_offset + 1
        return True


_Record = tuple[int, int, int, int, int, bytes | None, bool]
"""Where one record's parts are in its batch: start, the position after its time delta, end; time delta, offset delta;
its key, and whether it is a tombstone. A tuple: there are a hundred of them in every batch."""


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
    data, records = _records(batch, header, codecs)
    horizon = header.base_timestamp if header.attributes & DELETE_HORIZON else None
    kept = _kept(records, header, offsets, is_over=horizon is not None and now >= horizon)
    if not kept:
        return _emptied(header) if last_of_producer else None
    if horizon is None and any(record[6] for record in kept):
        return _rebuilt(header, data, kept, codecs, now + delete_retention_ms)
    return batch if len(kept) == len(records) else _rebuilt(header, data, kept, codecs, None)


def _kept(records: list[_Record], header: Header, offsets: OffsetMap, *, is_over: bool) -> list[_Record]:
    """Pick the records that stay; is_over: the horizon of the batch's tombstones has passed."""
    base, end, last = header.base_offset, offsets.end_offset, offsets.by_key
    kept = []
    for record in records:
        offset, key = base + record[4], record[5]
        is_last = key is not None and offset >= last.get(key, -1)
        if (is_last and not (record[6] and is_over)) or offset >= end:
            kept.append(record)
    return kept


def _rebuilt(
    header: Header, data: bytes, kept: list[_Record], codecs: Codecs, horizon: int | None
) -> bytearray:
    """Pack the kept records again; horizon: the new base timestamp, None to leave it."""
    base = header.base_timestamp if horizon is None else horizon
    body = bytearray()
    for record in kept:
        start, end = record[0], record[2]
        body += data[start:end] if horizon is None else _retimed(data, record, header.base_timestamp - base)
    packed = body if header.codec == NONE else codecs.compress(header.codec, body)
    attributes = header.attributes if horizon is None else header.attributes | DELETE_HORIZON
    newest = max(header.base_timestamp + record[3] for record in kept)
    if header.is_log_append_time or newest > header.max_timestamp:  # a producer may have said anything
        newest = header.max_timestamp
    max_timestamp = max(NO_TIMESTAMP, newest)
    return _sealed(header, attributes, base, max_timestamp, len(kept), packed)


def _retimed(data: bytes, record: _Record, shift: int) -> bytes:
    _, after_time, end, time_delta, _, _, _ = record
    one = bytearray(1)  # attributes: none are defined
    write_varint(one, time_delta + shift)
    one += data[after_time:end]
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


def _records(batch: memoryview, header: Header, codecs: Codecs) -> tuple[bytes, list[_Record]]:
    """Unpack a batch's records: their bytes, and where each of them lies in these."""
    body: Buffer = batch[HEADER_BYTES : header.size_bytes]
    if header.codec != NONE and header.count:
        body = codecs.decompress(header.codec, body, UNPACKED_BYTES_MAX)
    data = bytes(body)
    try:
        return data, _places(data, header.count)
    except IndexError:
        raise CorruptRecord(len(data), "the records end inside one") from None


def _places(data: bytes, count: int) -> list[_Record]:
    """Find the parts of every record. Varints of one byte, nearly all of them, are read in place: twice as fast."""
    records: list[_Record] = []
    position = 0
    for _ in range(count):
        length, start = read_varint(data, position)
        end = start + length
        if length < 1 or end > len(data):
            raise CorruptRecord(position, f"a record of {length} bytes")
        at = start + 1
        if (byte := data[at]) < 0x80:
            time_delta, after_time = (byte >> 1) ^ -(byte & 1), at + 1
        else:
            time_delta, after_time = read_varint(data, at)
        if (byte := data[after_time]) < 0x80:
            offset_delta, at = (byte >> 1) ^ -(byte & 1), after_time + 1
        else:
            offset_delta, at = read_varint(data, after_time)
        if (byte := data[at]) < 0x80:
            key_length, at = (byte >> 1) ^ -(byte & 1), at + 1
        else:
            key_length, at = read_varint(data, at)
        value_at = at + key_length if key_length > 0 else at
        if value_at >= end:
            raise CorruptRecord(position, "a key longer than its record")
        key = None if key_length < 0 else data[at:value_at]
        is_tombstone = (
            data[value_at] & 1 == 1
        )  # the lowest bit is the sign, and -1 is the only negative length
        records.append((position, after_time, end, time_delta, offset_delta, key, is_tombstone))
        position = end
    if position != len(data):
        raise CorruptRecord(position, "bytes after the last record")
    return records
