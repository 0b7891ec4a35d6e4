"""A running hash over everything that happens: same seed, same hash, or something is not determined.

Each happening is a time, a kind, a number and the CRC of the bytes that moved, folded into one hash by the
thousand. With `keep` the happenings themselves are kept, so that the first one that differs between two runs can
be found, and drawn.
"""

import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from rafka.core.types import Buffer

BLOCK = 4096
NO_BYTES = b""

TURN, RECEIVED, SENT, CONNECTED, ENDED, PERFORMED, ANSWERED, CRASHED, STARTED, NOTED, STRUCK, CLIENT = range(
    12
)
KINDS = (
    "turn",
    "received",
    "sent",
    "connected",
    "ended",
    "performed",
    "answered",
    "crashed",
    "started",
    "noted",
    "struck",
    "client",
)


class Happening(NamedTuple):
    """One line of a kept trace. lane: whose it is ("broker", "disk", a client's name); crc: of its bytes, or 0."""

    time_ns: int
    kind: str
    number: int
    crc: int
    lane: str
    text: str


class Trace:
    """What happened, as one number."""

    def __init__(self, *, keep: bool = False) -> None:
        self.count = 0
        self.lines: list[Happening] | None = [] if keep else None
        self._hash = blake2b(digest_size=16)
        self._fold: list[int] = []

    def note(self, time_ns: int, kind: int, number: int, data: Buffer = NO_BYTES) -> None:
        """Take one happening into the hash. number: which one of its kind, in 32 bits."""
        self.count += 1
        crc = crc32(data) if data else 0
        fold = self._fold
        fold += (time_ns, (kind << 32 | number) << 24 ^ crc)
        if len(fold) >= BLOCK:
            self._hash.update(_packed(fold))
            fold.clear()
        if self.lines is not None:
            self.lines.append(Happening(time_ns, KINDS[kind], number, crc, "", ""))

    def tell(self, lane: str, text: str) -> None:
        """Say in words what the last note was, if anybody keeps them; has no part in the hash."""
        if self.lines:
            self.lines[-1] = self.lines[-1]._replace(lane=lane, text=text)

    @property
    def keeps(self) -> bool:
        """Whether words are wanted."""
        return self.lines is not None

    @property
    def digest(self) -> str:
        """The hash of all so far, in hexadecimal."""
        whole = self._hash.copy()
        whole.update(_packed(self._fold))
        return whole.hexdigest()


def _packed(fold: Sequence[int]) -> bytes:
    block = array("Q", fold)
    if sys.byteorder == "big":
        block.byteswap()
    return block.tobytes()
