"""Zigzag varints, as records use them: 7 bits a byte, least significant first, the high bit says "more".

Source: Protocol Buffers, "Encoding"; Kafka's `ByteUtils.readVarint` / `writeVarlong`.
"""

from rafka.core.errors import CorruptRecord
from rafka.core.types import Buffer


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """Read one signed varint at `position`; return (value, position after it).

    At most ten bytes, 64 bits. Raises CorruptRecord when it is longer or the data ends inside it.
    """
    shift = 0
    raw = 0
    for at in range(position, min(position + 10, len(data))):
        byte = data[at]
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            if raw >> 64:
                break
            return (raw >> 1) ^ -(raw & 1), at + 1
        shift += 7
    raise CorruptRecord(position, "a varint that does not end")


def write_varint(out: bytearray, number: int) -> None:
    """Append `number` (a signed 64-bit int) to `out`."""
    raw = ((number << 1) ^ (number >> 63)) & 0xFFFF_FFFF_FFFF_FFFF
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
