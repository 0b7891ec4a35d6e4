"""One number for each effect: what a recording keeps of what a machine did, so that a replay can be held against it.

A Send, and a Write, is summed with its bytes; all others by what they say. Of a buffer longer than `LONG` only both
ends and the length count: what is so long is what clients sent, passed on as it came, and the part of it that a broker
writes (offset, epoch, time, checksum of a batch) is at its start. Two numbers that differ are two different effects.

A sum of many buffers, one by one, costs more for the calls than for the bytes: those of a Write are joined before.
"""

from collections.abc import Sequence

from rafka.core.effects import Effect, Fill, Note, Send, Sync, Write
from rafka.core.record.crc32c import summed
from rafka.core.types import Buffer, FileSlice, Piece

LONG = 1024
EDGE = 256
MASK = 0xFFFF_FFFF
PRIME = 0xFFFF_FFFB
"""The largest prime below 2^32: positions in a file beyond that do not fold onto each other."""


def digests(effects: Sequence[Effect], rare: list[Effect] | None = None) -> list[int]:
    """Sum each effect of a turn: 32 bits, in the order of the effects. rare: gets those that not every turn has."""
    found: list[int] = []
    add = found.append
    for effect in effects:
        kind = effect.__class__
        if kind is Send:
            crc = effect.conn & MASK  # type: ignore[union-attr]  # here and below: kind says what it is
            for piece in effect.pieces:  # type: ignore[union-attr]
                is_short = piece.__class__ is bytes and len(piece) <= LONG  # the usual answer: one call less
                crc = summed(piece, crc) if is_short else _piece(crc, piece)  # type: ignore[arg-type]
            add(crc)
        elif kind is Write:
            seed = effect.position % PRIME ^ effect.token & MASK  # type: ignore[union-attr]
            add(summed(_joined(effect.file.encode(), effect.buffers), seed))  # type: ignore[union-attr]
        elif kind is Sync:
            add(summed(effect.file.encode(), ~effect.token & MASK))  # type: ignore[union-attr]
        else:
            add(summed(said(effect).encode(), 0))
            if rare is not None:
                rare.append(effect)
    return found


def _joined(name: bytes, buffers: Sequence[Buffer]) -> bytes:
    """Join what is summed of a Write: its file, how many bytes, and of each buffer all or both ends."""
    length = sum(map(len, buffers))
    parts = [name, length.to_bytes(8, "little")]
    if length <= LONG * len(buffers):  # on the average they are short
        parts += buffers  # type: ignore[arg-type]  # all that are contiguous can be joined
        return b"".join(parts)
    for buffer in buffers:
        if len(buffer) <= LONG:
            parts.append(buffer)  # type: ignore[arg-type]
        else:
            view = memoryview(buffer)
            parts += (view[:EDGE], view[-EDGE:])  # type: ignore[arg-type]
    return b"".join(parts)


def _piece(crc: int, piece: Piece) -> int:
    if isinstance(piece, FileSlice):
        return summed(f"{piece!r}".encode(), crc)
    length = len(piece)
    if length <= LONG:
        return summed(piece, crc)
    view = memoryview(piece)
    return summed(view[length - EDGE :], summed(view[:EDGE], crc ^ length))


def said(effect: Effect) -> str:
    """Say an effect so that it reads the same in every process that has it."""
    if isinstance(effect, Fill):  # a buffer has an address, which is nobody's decision
        return f"Fill({effect.conn}, {len(effect.buffer)} bytes)"
    if isinstance(effect, Note):
        return f"Note({effect.level}, {effect.name}, {effect.fields})"
    return f"{effect!r}"
