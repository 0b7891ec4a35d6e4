"""One number for each effect: what a recording keeps of what a machine did, so that a replay can be held against it.

A Send, and a Write, is summed with its bytes; all others by what they say. Of a buffer longer than `LONG` only both
ends and the length count: what is so long is what clients sent, passed on as it came, and the part of it that a broker
writes (offset, epoch, time, checksum of a batch) is at its start. Two numbers that differ are two different effects.
"""

from collections.abc import Sequence

from rafka.core.effects import Effect, Fill, Note, Send, Sync, Write
from rafka.core.record.crc32c import crc32c, crc32c_from
from rafka.core.types import FileSlice, Piece

LONG = 1024
EDGE = 256


def digests(effects: Sequence[Effect]) -> list[int]:
    """Sum each effect of a turn: 32 bits, in the order of the effects."""
    found: list[int] = []
    add = found.append
    for effect in effects:
        kind = type(effect)
        if kind is Send:
            crc = effect.conn & 0xFFFF_FFFF  # type: ignore[union-attr]  # here and below: kind says what it is
            for piece in effect.pieces:  # type: ignore[union-attr]
                crc = _piece(crc, piece)
            add(crc)
        elif kind is Write:
            crc = crc32c(f"{effect.file} {effect.position} {effect.token}".encode())  # type: ignore[union-attr]
            for buffer in effect.buffers:  # type: ignore[union-attr]
                crc = _piece(crc, buffer)
            add(crc)
        elif kind is Sync:
            add(crc32c(f"S {effect.file} {effect.token}".encode()))  # type: ignore[union-attr]
        else:
            add(crc32c(said(effect).encode()))
    return found


def _piece(crc: int, piece: Piece) -> int:
    if isinstance(piece, FileSlice):
        return crc32c_from(crc, f"{piece!r}".encode())
    length = len(piece)
    if length <= LONG:
        return crc32c_from(crc, piece)
    view = memoryview(piece)
    return crc32c_from(crc32c_from(crc ^ length, view[:EDGE]), view[length - EDGE :])


def said(effect: Effect) -> str:
    """Say an effect so that it reads the same in every process that has it."""
    if isinstance(effect, Fill):  # a buffer has an address, which is nobody's decision
        return f"Fill({effect.conn}, {len(effect.buffer)} bytes)"
    if isinstance(effect, Note):
        return f"Note({effect.level}, {effect.name}, {effect.fields})"
    return f"{effect!r}"
