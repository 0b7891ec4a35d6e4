"""Kafka's four codecs over native libraries: in exactly the dialects that Java clients read, and bounded.

Dialects. gzip: RFC 1952, any number of members. lz4: the LZ4 frame format with independent blocks and no
content checksum, because the Java reader refuses linked blocks. zstd: RFC 8878, any number of frames. snappy
is written as xerial's stream and read as that or as one raw block:

    82 53 4E 41 50 50 59 00   magic: 0x82 "SNAPPY" 0x00
    int32 version = 1, int32 lowest compatible version = 1
    then, until the end: int32 length, one raw snappy block of that length (at most 32 KiB of data each)

Bounds. Nothing a peer sends makes `decompress` keep more than `limit` bytes: output goes into a buffer of
known size, never into one as large as the input promises, and a snappy block's stated size is checked
against what is left before it is decompressed. `zstandard` decompresses whatever a frame states, so it only
compresses here.

Sources: KIP-57 (lz4 frames), KIP-110 (zstd), KIP-390 (levels); `org.xerial.snappy.SnappyOutputStream`.
"""

from struct import Struct
from typing import Protocol, cast

import attrs

from rafka.core.errors import CorruptRecord
from rafka.core.record.compression import GZIP, LZ4, SNAPPY, ZSTD
from rafka.core.types import Buffer

XERIAL_HEADER = b"\x82SNAPPY\x00" + Struct(">ii").pack(1, 1)
XERIAL_MAGIC = XERIAL_HEADER[:8]
XERIAL_BLOCK_BYTES = 32 * 1024
GZIP_LEVEL = 6
LZ4_LEVEL = 1
ZSTD_LEVEL = 3
LIKELY_RATIO = 4
"""The first try's output is this many times the input, each further try's this many times the one before."""
SMALLEST_BYTES = 1024
TOO_SMALL = "failed to write whole buffer"
"""What cramjam says when only the output was too small; anything else is damage, and not tried again."""

_int32 = Struct(">i")


class _Stream(Protocol):
    """A codec module of cramjam."""

    def decompress_into(self, source: Buffer, output: bytearray) -> int:
        """Decompress all of `source`; returns the bytes written, raises when they do not fit."""


@attrs.define(eq=False)
class Compression:
    """The `Codecs` of a real node. The libraries are imported at first use: they cost start-up time."""

    compressed: int = 0
    """Buffers compressed so far."""
    decompressed: int = 0
    """Buffers decompressed so far; stays 0 while every topic says `compression.type=producer`."""

    def compress(self, codec: int, data: Buffer, level: int | None = None, topic: str = "") -> bytes:  # noqa: ARG002
        """Compress `data` as codec 1–4 at `level` (None: the codec's default; snappy has no levels)."""
        self.compressed += 1
        if codec == SNAPPY:
            return _compress_xerial(data)
        if codec == LZ4:
            return _compress_lz4(data, LZ4_LEVEL if level is None else level)
        if codec == ZSTD:
            return _compress_zstd(data, ZSTD_LEVEL if level is None else level)
        assert codec == GZIP, codec
        return _compress_gzip(data, GZIP_LEVEL if level is None or level < 0 else level)

    def decompress(self, codec: int, data: Buffer, limit: int, topic: str = "") -> bytes:  # noqa: ARG002
        """Decompress `data`; raises CorruptRecord if damaged, over `limit` bytes, or of no known codec."""
        self.decompressed += 1
        if codec == SNAPPY:
            return _decompress_snappy(data, limit)
        return _decompress_stream(codec, data, limit)


def _compress_gzip(data: Buffer, level: int) -> bytes:
    import cramjam

    return bytes(cramjam.gzip.compress(data, level=level))


def _compress_lz4(data: Buffer, level: int) -> bytes:
    import cramjam

    stream = cramjam.lz4.Compressor(level=level, block_linked=False, content_checksum=False)
    stream.compress(bytes(data))
    return bytes(stream.finish())


def _compress_zstd(data: Buffer, level: int) -> bytes:
    import zstandard

    return bytes(zstandard.ZstdCompressor(level=level).compress(data))


def _compress_xerial(data: Buffer) -> bytes:
    import cramjam

    view = memoryview(data)
    parts = [XERIAL_HEADER]
    for start in range(0, len(view), XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + XERIAL_BLOCK_BYTES]))
        parts += (_int32.pack(len(block)), block)
    return b"".join(parts)


def _decompress_stream(codec: int, data: Buffer, limit: int) -> bytes:
    """Try buffers that grow up to `limit`. A buffer is cleared when made, so one of `limit` is never the first."""
    import cramjam

    stream = _stream(codec)
    size = min(limit, max(LIKELY_RATIO * len(data), SMALLEST_BYTES))
    while True:
        try:
            return _decompress_into(stream, data, size)
        except cramjam.DecompressionError as error:
            if size == limit or TOO_SMALL not in str(error):
                raise CorruptRecord(0, f"cannot decompress within {limit} bytes: {error}") from error
        size = min(limit, size * LIKELY_RATIO)


def _decompress_into(stream: _Stream, data: Buffer, size: int) -> bytes:
    output = bytearray(size)
    written = stream.decompress_into(data, output)
    return bytes(memoryview(output)[:written])


def _stream(codec: int) -> _Stream:
    import cramjam

    if codec == GZIP:
        return cast("_Stream", cramjam.gzip)
    if codec == LZ4:
        return cast("_Stream", cramjam.lz4)
    if codec == ZSTD:
        return cast("_Stream", cramjam.zstd)
    raise CorruptRecord(0, f"no codec has the number {codec}")


def _decompress_snappy(data: Buffer, limit: int) -> bytes:
    view = memoryview(data)
    if view[:8] != XERIAL_MAGIC:
        return _decompress_block(view, limit)
    if len(view) < len(XERIAL_HEADER):
        raise CorruptRecord(0, "snappy stream ends inside its header")
    parts: list[bytes] = []
    position = len(XERIAL_HEADER)
    while position < len(view):
        block = _xerial_block(view, position)
        part = _decompress_block(block, limit)
        parts.append(part)
        limit -= len(part)
        position += 4 + len(block)
    return b"".join(parts)


def _xerial_block(view: memoryview, position: int) -> memoryview:
    if len(view) - position < 4:
        raise CorruptRecord(position, "snappy stream ends inside a block's length")
    length: int = _int32.unpack_from(view, position)[0]
    if not 0 < length <= len(view) - position - 4:
        raise CorruptRecord(position, f"snappy block of {length} bytes")
    return view[position + 4 : position + 4 + length]


def _decompress_block(block: memoryview, limit: int) -> bytes:
    """One raw snappy block, whose stated size is checked before anything is allocated."""
    import cramjam

    try:
        stated = cramjam.snappy.decompress_raw_len(block)
        if stated > limit:
            raise CorruptRecord(0, f"snappy states {stated} bytes more, {limit} are allowed")
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise CorruptRecord(0, f"cannot decompress snappy: {error}") from error
