"""What a produced batch must satisfy before a log takes it, and what a topic's settings make of it.

Per batch and from its header alone, unless a setting needs more: a topic that names a codec has its batches
recompressed, and a compacted topic wants a key in every record. `compression.type=producer`, CreateTime and no
compaction, the defaults, never look behind the header. Magic, length and CRC were checked when the batch was
cut out of its buffer.

Timestamps are judged by the header too: `max_timestamp` against the limit ahead of the clock, `base_timestamp`
(the first record's) against the limit behind it.

A batch that expands to more than `EXPANSION` times `max.message.bytes` is refused as a decompression bomb.

Sources: Kafka's `LogValidator`; KIP-32 (timestamp types), KIP-467 (errors by record), KIP-937 (before and after
limits), KIP-390 (levels).
"""

from struct import Struct

from rafka.core.config import LogConfig
from rafka.core.errors import CorruptRecord, ErrorCode
from rafka.core.record.batch import (
    CODEC_MASK,
    CONTROL,
    CRC_STARTS,
    HEADER_BYTES,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    Batch,
    Header,
    stamp,
)
from rafka.core.record.compression import CODEC_NAMES, GZIP, LZ4, NONE, ZSTD, Codecs
from rafka.core.record.crc32c import crc32c
from rafka.core.record.varint import read_varint
from rafka.core.shape import value
from rafka.core.types import WallMs

EXPANSION = 32
"""How many times `max.message.bytes` the records of one compressed batch may take when decompressed."""

_length = Struct(">i")
_crc = Struct(">I")
_attributes = Struct(">h")


@value
class Refused:
    """Why a batch is not taken. record_errors: (index of the record in the batch, why), where records are to blame."""

    error_code: ErrorCode
    message: str
    record_errors: tuple[tuple[int, str], ...] = ()


def prepare(
    view: memoryview, header: Header, config: LogConfig, codecs: Codecs, now: WallMs, topic: str = ""
) -> Batch | Refused:
    """Give the batch that the log takes: the one given, that one stamped in place, or a new one.

    view, header: one whole batch whose magic, length and CRC `batch.check` has checked; topic: see `Codecs`.
    """
    if len(view) > config.max_message_bytes:
        return _too_large(len(view), config)
    log_append_time = config.message_timestamp_type == "LogAppendTime"
    refused = _judge(header)
    if refused is None and not log_append_time:
        refused = _judge_time(header, config, now)
    if refused is not None:
        return refused
    if config.compression_type == "producer" and not config.cleanup_compact and not log_append_time:
        return view, header
    try:
        return _adapt(view, header, config, codecs, now if log_append_time else None, topic)
    except CorruptRecord as error:
        return Refused(ErrorCode.INVALID_RECORD, f"the records cannot be read: {error.reason}")


def _judge(header: Header) -> Refused | None:
    """Hold a header against the rules for clients."""
    attributes, count = header.attributes, header.count
    if (
        0 <= attributes & ~TRANSACTIONAL <= ZSTD
        and count == header.last_offset_delta + 1
        and count > 0
        and header.base_offset == 0
        and (header.producer_id < 0 or header.base_sequence >= 0)
    ):
        return None  # nearly always
    if count <= 0 or header.last_offset_delta != count - 1:
        return _invalid(f"the batch counts {count} records and ends at delta {header.last_offset_delta}")
    if header.base_offset != 0:
        return _invalid(f"the base offset of a produced batch is {header.base_offset}, not 0")
    if attributes & CONTROL:
        return _invalid("clients may not write control batches")
    if header.producer_id >= 0 and header.base_sequence < 0:
        return _invalid(f"producer {header.producer_id} gave the sequence {header.base_sequence}")
    if attributes & CODEC_MASK > ZSTD:
        return Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"codec {attributes & CODEC_MASK} is unknown")
    if attributes & LOG_APPEND_TIME:
        return Refused(ErrorCode.INVALID_TIMESTAMP, "only a broker may mark a batch LogAppendTime")
    return None


def _judge_time(header: Header, config: LogConfig, now: WallMs) -> Refused | None:
    """Hold CreateTime timestamps against the limits; -1 is a record without a timestamp."""
    ahead, behind = header.max_timestamp - now, now - header.base_timestamp
    if header.max_timestamp >= 0 and ahead > config.message_timestamp_after_max_ms:
        return _mistimed(f"timestamp {header.max_timestamp} is {ahead} ms ahead of the broker's clock")
    if header.base_timestamp >= 0 and behind > config.message_timestamp_before_max_ms:
        return _mistimed(f"timestamp {header.base_timestamp} is {behind} ms behind the broker's clock")
    return None


def _adapt(
    view: memoryview,
    header: Header,
    config: LogConfig,
    codecs: Codecs,
    wall_ms: WallMs | None,
    topic: str,
) -> Batch | Refused:
    """Do what the topic's settings ask beyond the header: keys, codec, LogAppendTime (wall_ms)."""
    codec = header.codec
    target = codec if config.compression_type == "producer" else CODEC_NAMES.index(config.compression_type)
    if config.cleanup_compact or target != codec:
        records = view[HEADER_BYTES:]
        if codec != NONE:
            limit = EXPANSION * config.max_message_bytes
            records = memoryview(codecs.decompress(codec, records, limit, topic))
        keyless = _keyless(records, header.count)
        if keyless and config.cleanup_compact:
            why = "a compacted topic takes no record without a key"
            return Refused(ErrorCode.INVALID_RECORD, why, tuple((index, why) for index in keyless))
        if target != codec:
            view = _recompressed(view, records, target, config, codecs, topic)
            header = Header(view)
        if len(view) > config.max_message_bytes:
            return _too_large(len(view), config)
    return (view, header) if wall_ms is None else _stamped(view, wall_ms)


def _keyless(records: memoryview, count: int) -> list[int]:
    """Find the records whose key is null; raises CorruptRecord unless `records` are exactly `count` records."""
    found: list[int] = []
    position = 0
    for index in range(count):
        length, body = read_varint(records, position)
        end = body + length
        if length < 1 or end > len(records):
            raise CorruptRecord(position, f"a record of {length} bytes")
        _, at = read_varint(records, body + 1)  # after the attributes: timestamp delta
        delta, at = read_varint(records, at)
        key_length, at = read_varint(records, at)
        if delta != index or at + max(0, key_length) > end:
            raise CorruptRecord(position, f"record {index} of delta {delta} has a key of {key_length} bytes")
        if key_length < 0:
            found.append(index)
        position = end
    if position != len(records):
        raise CorruptRecord(position, "bytes after the last record")
    return found


def _recompressed(
    view: memoryview, records: memoryview, codec: int, config: LogConfig, codecs: Codecs, topic: str
) -> memoryview:
    """Build the batch anew around its records, packed as `codec`; it differs in length, codec and CRC."""
    packed = records if codec == NONE else codecs.compress(codec, records, _level(codec, config), topic)
    batch = bytearray(view[:HEADER_BYTES])
    batch += packed
    (attributes,) = _attributes.unpack_from(batch, CRC_STARTS)
    _length.pack_into(batch, 8, len(batch) - LENGTH_OVERHEAD)
    _attributes.pack_into(batch, CRC_STARTS, attributes & ~CODEC_MASK | codec)
    whole = memoryview(batch)
    _crc.pack_into(batch, 17, crc32c(whole[CRC_STARTS:]))
    return whole


def _level(codec: int, config: LogConfig) -> int | None:
    if codec == GZIP:
        return config.compression_gzip_level
    if codec == LZ4:
        return config.compression_lz4_level
    return config.compression_zstd_level if codec == ZSTD else None


def _stamped(view: memoryview, wall_ms: WallMs) -> Batch:
    """Mark the batch LogAppendTime: in place, unless it came in a buffer that cannot be written."""
    batch = memoryview(bytearray(view)) if view.readonly else view
    return batch, stamp(batch, wall_ms)


def _too_large(size: int, config: LogConfig) -> Refused:
    why = f"a batch of {size} bytes, max.message.bytes is {config.max_message_bytes}"
    return Refused(ErrorCode.MESSAGE_TOO_LARGE, why)


def _invalid(why: str) -> Refused:
    return Refused(ErrorCode.INVALID_RECORD, why)


def _mistimed(why: str) -> Refused:
    return Refused(ErrorCode.INVALID_TIMESTAMP, why)
