"""The primitives of Kafka's wire format that compiled and hand-written codecs share.

An unsigned varint is little-endian groups of seven bits, the high bit set on all but the last; at most five
bytes. Compact lengths are unsigned varints of the length plus one, 0 is null. A tagged section is a varint
count, then for each field its tag, its size in bytes and that many bytes (KIP-482).
The limits on counts are Kafka 4.4's own.
"""

from __future__ import annotations

from typing import Final

from rafka.core.errors import RemoteProtocolError
from rafka.core.types import Buffer

ARRAY_LENGTH_MAX: Final = 1_000_000
"""Elements in one array."""
TAGS_MAX: Final = 10_000
"""Fields in one tagged section."""
_UINT32_MAX: Final = 0xFFFF_FFFF


def read_uvarint(buf: Buffer, pos: int) -> tuple[int, int]:
    """Return the unsigned varint at pos and the position after it.

    Raises: RemoteProtocolError if it is longer than five bytes or 32 bits, IndexError if the buffer ends.
    """
    byte = buf[pos]
    pos += 1
    if byte < 0x80:
        return byte, pos
    value = byte & 0x7F
    for shift in (7, 14, 21, 28):
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _UINT32_MAX:
                break
            return value, pos
    raise RemoteProtocolError("varint of more than 32 bits")


def put_uvarint(out: bytearray, value: int) -> None:
    """Append value, 0 and up, as an unsigned varint."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def skip_tags(buf: Buffer, pos: int, count: int) -> int:
    """Return the position after a tagged section of which no field is known.

    count: the section's first byte, which lies just before pos; not 0.
    Raises: RemoteProtocolError, or IndexError if the buffer ends too early.
    """
    count, pos = read_tag_count(buf, pos, count)
    size = len(buf)
    for _ in range(count):
        _, pos = read_uvarint(buf, pos)
        length, pos = read_uvarint(buf, pos)
        pos += length
        if pos > size:
            raise truncated()
    return pos


def read_tag_count(buf: Buffer, pos: int, first: int) -> tuple[int, int]:
    """Return the number of tagged fields and the position after it; first: its first byte, just read."""
    if first > 0x7F:
        first, pos = read_uvarint(buf, pos - 1)
    if first > TAGS_MAX:
        raise RemoteProtocolError(f"{first} tagged fields, more than {TAGS_MAX}")
    return first, pos


def truncated() -> RemoteProtocolError:
    """The error for a length that reaches beyond the end."""
    return RemoteProtocolError("message ends too early")


def bad_length(length: int) -> RemoteProtocolError:
    """The error for a negative length, a null where none may be, or an array of too many elements."""
    if length == -1:
        return RemoteProtocolError("null in a field that may not be null")
    return RemoteProtocolError(f"impossible length {length}")
