"""The newest batches of a log, every one of them: where tailing consumers read without touching an index."""

from array import array
from bisect import bisect_left, bisect_right

TAIL_BATCHES = 1024
"""At least so many are remembered once there were so many; at most twice as many."""


class Tail:
    """Base offsets and positions of the last batches, in order."""

    __slots__ = ("offsets", "positions")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.positions = array("q")

    def add(self, base_offset: int, position: int) -> None:
        """Remember a batch; the older half goes when there are too many."""
        self.offsets.append(base_offset)
        self.positions.append(position)
        if len(self.offsets) >= 2 * TAIL_BATCHES:
            del self.offsets[:TAIL_BATCHES], self.positions[:TAIL_BATCHES]

    def find(self, offset: int) -> int:
        """Return the index of the batch that holds `offset`, or -1 when it is older than all."""
        return bisect_right(self.offsets, offset) - 1

    def position_of(self, base_offset: int) -> int | None:
        """Return the position of the batch that begins exactly at `base_offset`."""
        index = bisect_left(self.offsets, base_offset)
        found = index < len(self.offsets) and self.offsets[index] == base_offset
        return self.positions[index] if found else None

    def advance(self, offset: int) -> None:
        """Forget every batch that begins before `offset`."""
        index = bisect_left(self.offsets, offset)
        del self.offsets[:index], self.positions[:index]

    def cut(self, offset: int) -> None:
        """Forget every batch that begins at `offset` or after."""
        index = bisect_left(self.offsets, offset)
        del self.offsets[index:], self.positions[index:]
