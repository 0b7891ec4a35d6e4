"""Whole batches from records and back: for coordinators, the controller, compaction and tests.

A record, after its batch's header (all numbers zigzag varints but the attributes byte):
    length, attributes int8 (0), timestamp delta, offset delta, key length (-1: null), key,
    value length (-1: null), value, header count, then per header: key length, key, value length, value

Source: KIP-98, "Message Format"; Kafka's `DefaultRecord`.
"""

from collections.abc import Sequence
from struct import Struct

from rafka.core.errors import CorruptRecord
from rafka.core.record.batch import (
    CONTROL,
    CRC_STARTS,
    HEADER_BYTES,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
    Header,
)
from rafka.core.record.compression import NONE, Codecs
from rafka.core.record.crc32c import crc32c
from rafka.core.record.varint import read_varint, write_varint
from rafka.core.shape import value
from rafka.core.types import Buffer

_header = Struct(">qiibIhiqqqhii")
UNPACKED_BYTES_MAX = 256 << 20
"""What one batch may unpack to; a bomb is refused as corrupt."""


@value
class Record:
    """One record. timestamp: ms, None: its batch's; offset: only known once read back."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int | None = None
    offset: int = -1


def build_batch(  # noqa: PLR0913 – a batch header has that many fields
    records: Sequence[Record],
    *,
    timestamp: int,
    base_offset: int = 0,
    codec: int = NONE,
    codecs: Codecs | None = None,
    level: int | None = None,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
) -> bytearray:
    """Build one batch; timestamp: ms, for records without their own. A codec other than none needs `codecs`."""
    assert records, "an empty batch is only ever left behind by compaction"
    times = [timestamp if record.timestamp is None else record.timestamp for record in records]
    body: bytes | bytearray = _records(records, times)
    if codec != NONE:
        assert codecs is not None
        body = codecs.compress(codec, body, level)
    attributes = codec | (TRANSACTIONAL if transactional else 0) | (CONTROL if control else 0)
    batch = bytearray(HEADER_BYTES)
    count = len(records)
    numbers = (count - 1, times[0], max(times), producer_id, producer_epoch, base_sequence, count)
    length = HEADER_BYTES - LENGTH_OVERHEAD + len(body)
    _header.pack_into(batch, 0, base_offset, length, leader_epoch, MAGIC, 0, attributes, *numbers)
    batch += body
    batch[17:CRC_STARTS] = crc32c(memoryview(batch)[CRC_STARTS:]).to_bytes(4, "big")
    return batch


def records_of(batch: Buffer, codecs: Codecs | None = None) -> list[Record]:
    """Read the records of one checked batch; what a codec unpacks to is bounded.

    Raises CorruptRecord: the records are not what the header says, or it is packed and there are no codecs.
    """
    view = memoryview(batch)
    header = Header(view)
    body: Buffer = view[HEADER_BYTES : header.size_bytes]
    if header.codec != NONE:
        if codecs is None:
            raise CorruptRecord(0, f"codec {header.codec} and nothing to unpack it with")
        body = codecs.decompress(header.codec, body, UNPACKED_BYTES_MAX)
    data = bytes(body)
    records: list[Record] = []
    position = 0
    for _ in range(header.count):
        record, position = _read(data, position, header)
        records.append(record)
    if position != len(data):
        raise CorruptRecord(position, "bytes after the last record")
    return records


def _records(records: Sequence[Record], times: list[int]) -> bytearray:
    out = bytearray()
    for delta, record in enumerate(records):
        one = bytearray(1)  # attributes: none are defined
        write_varint(one, times[delta] - times[0])
        write_varint(one, delta)
        _write_bytes(one, record.key)
        _write_bytes(one, record.value)
        write_varint(one, len(record.headers))
        for name, content in record.headers:
            _write_bytes(one, name.encode())
            _write_bytes(one, content)
        write_varint(out, len(one))
        out += one
    return out


def _write_bytes(out: bytearray, content: bytes | None) -> None:
    if content is None:
        out.append(1)  # the varint of -1
        return
    write_varint(out, len(content))
    out += content


def _read(data: bytes, position: int, header: Header) -> tuple[Record, int]:
    length, start = read_varint(data, position)
    end = start + length
    if length < 1 or end > len(data):
        raise CorruptRecord(position, f"a record of {length} bytes")
    time_delta, at = read_varint(data, start + 1)
    offset_delta, at = read_varint(data, at)
    key, at = _read_bytes(data, at, end)
    content, at = _read_bytes(data, at, end)
    headers, at = _read_headers(data, at, end)
    if at != end:
        raise CorruptRecord(position, "a record whose length is not its content's")
    late = header.attributes & LOG_APPEND_TIME
    time = header.max_timestamp if late else header.base_timestamp + time_delta
    return Record(key, content, headers, time, header.base_offset + offset_delta), end


def _read_headers(data: bytes, at: int, end: int) -> tuple[tuple[tuple[str, bytes | None], ...], int]:
    count, at = read_varint(data, at)
    if not 0 <= count <= end - at:
        raise CorruptRecord(at, f"{count} record headers")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        start = at
        name, at = _read_bytes(data, at, end)
        content, at = _read_bytes(data, at, end)
        if name is None:
            raise CorruptRecord(start, "a record header without a key")
        try:
            headers.append((name.decode(), content))
        except UnicodeDecodeError as error:
            raise CorruptRecord(start, "a record header key that is not UTF-8") from error
    return tuple(headers), at


def _read_bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, start = read_varint(data, at)
    if length < 0:
        return None, start
    if start + length > end:
        raise CorruptRecord(at, "a field longer than its record")
    return data[start : start + length], start + length
