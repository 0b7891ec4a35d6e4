"""Record batches, magic 2, by their header: the only part of a batch that the hot path looks at.

    0  base_offset        int64   overwritten by the leader (outside the CRC)
    8  length             int32   bytes that follow this field: 49 and up
   12  leader_epoch       int32   overwritten by the leader (outside the CRC)
   16  magic              int8    2
   17  crc                uint32  CRC-32C of everything from byte 21
   21  attributes         int16   bits 0–2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon
   23  last_offset_delta  int32
   27  base_timestamp     int64
   35  max_timestamp      int64
   43  producer_id        int64   -1: not idempotent
   51  producer_epoch     int16
   53  base_sequence      int32
   57  count              int32   records; then the records, compressed as one block if a codec is set
   61

Source: KIP-98, "Message Format"; Kafka's `DefaultRecordBatch`.
"""

from struct import Struct

from rafka.core.errors import CorruptRecord
from rafka.core.record.crc32c import crc32c
from rafka.core.types import Buffer

HEADER_BYTES = 61
LENGTH_OVERHEAD = 12
"""Bytes before what `length` counts: base_offset and length themselves."""
CRC_STARTS = 21
MAGIC = 2

CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20

_header = Struct(">qiibIhiqqqhii")
fields = _header.unpack_from
"""Reads the fields above, all thirteen: for a loop that wants no Header."""
_place = Struct(">qii")
_base_offset = Struct(">q")
_epoch = Struct(">i")
_start = Struct(">qi")
assert _header.size == HEADER_BYTES


class Header:
    """The fixed part of one batch. Hand-written slots: one is made for every batch of every request."""

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "count",
        "crc",
        "last_offset_delta",
        "leader_epoch",
        "length",
        "magic",
        "max_timestamp",
        "producer_epoch",
        "producer_id",
    )

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int

    def __init__(self, data: Buffer, position: int = 0) -> None:
        (
            self.base_offset,
            self.length,
            self.leader_epoch,
            self.magic,
            self.crc,
            self.attributes,
            self.last_offset_delta,
            self.base_timestamp,
            self.max_timestamp,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            self.count,
        ) = _header.unpack_from(data, position)

    @property
    def size_bytes(self) -> int:
        """The whole batch, with its first twelve bytes."""
        return self.length + LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        """The offset of its last record."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> int:
        """How its records are packed: see `compression`."""
        return self.attributes & CODEC_MASK

    @property
    def is_log_append_time(self) -> bool:
        """Whether its records bear the broker's time (max_timestamp) instead of their own."""
        return self.attributes & LOG_APPEND_TIME != 0

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction."""
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        """Whether its records are markers, not data."""
        return self.attributes & CONTROL != 0


Batch = tuple[memoryview, Header]
"""One whole batch and its header."""


def check(data: memoryview, position: int = 0) -> Header:
    """Check the batch that begins at `position` – length, magic, CRC – and return its header.

    Raises CorruptRecord: it does not fit into `data`, is not magic 2, its CRC is wrong, or its counts cannot be.
    """
    if len(data) - position < HEADER_BYTES:
        raise CorruptRecord(position, "the data ends inside a batch header")
    header = Header(data, position)
    if header.magic != MAGIC:
        raise CorruptRecord(position, f"magic {header.magic}, not 2")
    end = position + header.length + LENGTH_OVERHEAD
    if header.length < HEADER_BYTES - LENGTH_OVERHEAD or end > len(data):
        raise CorruptRecord(position, f"length {header.length} does not fit")
    if crc32c(data[position + CRC_STARTS : end]) != header.crc:
        raise CorruptRecord(position, "the CRC does not match")
    if header.last_offset_delta < 0 or header.count < 0:
        raise CorruptRecord(position, "a negative count")
    return header


def split(data: memoryview) -> list[Batch]:
    """Cut a buffer of batches, end to end, into whole checked batches; no bytes are copied.

    Raises CorruptRecord at the first that fails `check`.
    """
    size = len(data)
    header = check(data)
    end = header.length + LENGTH_OVERHEAD
    if end == size:  # nearly always: producers send one batch a partition
        return [(data, header)]
    batches = [(data[:end], header)]
    while end < size:
        start = end
        header = check(data, start)
        end = start + header.length + LENGTH_OVERHEAD
        batches.append((data[start:end], header))
    return batches


def size_at(data: Buffer, position: int) -> tuple[int, int]:
    """Return (base_offset, whole size in bytes) of the batch at `position`; at least 12 bytes must be there."""
    base_offset, length = _start.unpack_from(data, position)
    return base_offset, length + LENGTH_OVERHEAD


def patch(view: memoryview | bytearray, base_offset: int, epoch: int) -> None:
    """Give a batch its place: base offset and leader epoch, in place, outside the CRC."""
    _base_offset.pack_into(view, 0, base_offset)
    _epoch.pack_into(view, 12, epoch)


def place(view: memoryview, base_offset: int, epoch: int) -> None:
    """Do what `patch` does in one call: the length in between is the view's own."""
    _place.pack_into(view, 0, base_offset, len(view) - LENGTH_OVERHEAD, epoch)


def stamp(view: memoryview | bytearray, wall_ms: int) -> Header:
    """Give every record of a batch the broker's time (message.timestamp.type=LogAppendTime); sum it again."""
    attributes = int.from_bytes(view[21:23], "big") | LOG_APPEND_TIME
    view[21:23] = attributes.to_bytes(2, "big")
    _base_offset.pack_into(view, 35, wall_ms)
    view[17:21] = crc32c(memoryview(view)[CRC_STARTS:]).to_bytes(4, "big")
    return Header(view)
