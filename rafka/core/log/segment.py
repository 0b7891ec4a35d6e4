"""One segment of a partition's log: what is known in memory about `<base offset, 20 digits>.log`.

The sparse index maps the base offset of some batches (one every index.interval.bytes) to their position.
It is a function of the file, built by appending and by recovery. Source: Kafka's `LogSegment`.
"""

from array import array
from bisect import bisect_left, bisect_right

from rafka.core.shape import value
from rafka.core.types import File

SUFFIX = ".log"


@value
class Place:
    """Where the batch that holds an offset lies. position, size_bytes: the whole batch in `file`."""

    file: File
    position: int
    size_bytes: int
    base_offset: int


class Segment:
    """A file of batches, end to end. size_bytes counts what was appended, also when not yet written."""

    __slots__ = (
        "_indexed_bytes",
        "base_offset",
        "file",
        "max_timestamp",
        "offsets",
        "positions",
        "size_bytes",
    )

    def __init__(self, directory: str, base_offset: int) -> None:
        self.file = File(f"{directory}/{base_offset:020d}{SUFFIX}")
        self.base_offset = base_offset
        self.size_bytes = 0
        self.max_timestamp = -1
        self.offsets = array("q")
        self.positions = array("q")
        self._indexed_bytes = 0

    def add(self, base_offset: int, size_bytes: int, max_timestamp: int, interval_bytes: int) -> int:
        """Account for one batch at the end and return its position."""
        position = self.size_bytes
        if position - self._indexed_bytes > interval_bytes:
            self.offsets.append(base_offset)
            self.positions.append(position)
            self._indexed_bytes = position
        self.size_bytes = position + size_bytes
        self.max_timestamp = max(self.max_timestamp, max_timestamp)
        return position

    def cut(self, position: int) -> None:
        """Forget every batch at `position` and after. max_timestamp may stay too large: retention waits longer."""
        keep = bisect_left(self.positions, position)
        del self.offsets[keep:], self.positions[keep:]
        self.size_bytes = position
        self._indexed_bytes = self.positions[-1] if self.positions else 0

    def near(self, offset: int) -> int:
        """Return the position of a batch at or before the one that holds `offset`."""
        index = bisect_right(self.offsets, offset) - 1
        return self.positions[index] if index >= 0 else 0


def base_offset_of(name: str) -> int | None:
    """Read a segment's base offset from its file name; None for any other file."""
    digits = name.removesuffix(SUFFIX)
    plain = len(digits) == 20 and digits.isascii() and digits.isdigit()
    return int(digits) if plain and name.endswith(SUFFIX) else None
