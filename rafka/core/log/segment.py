"""One segment of a partition's log: what is known in memory about `<base offset, 20 digits>.log`.

While a segment is appended to, its two sparse indexes (see `index.py`) are in memory, one entry every
index.interval.bytes. Each is a function of the file, built by appending and by recovery. Source: Kafka's
`LogSegment`.
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
    generation: int
    """Of the log: once that is another, the batch may lie elsewhere; see `Reader.has`."""


class Segment:
    """A file of batches, end to end. size_bytes counts what was appended, also when not yet written.

    max_timestamp: the largest of any batch, -1 when there is none; max_timestamp_offset: the last offset of the
    first batch that has it. first_timestamp: the largest of the first batch, -1 when it has none or there is none.
    begun_ms, modified_ms: wall-clock ms of its beginning and of the last append, -1 when not known; they stand in
    where batches have no timestamps.
    is_moving: its file is about to get another name, or is getting it: nobody may begin to read it.
    """

    __slots__ = (
        "_indexed_bytes",
        "base_offset",
        "begun_ms",
        "file",
        "first_timestamp",
        "is_moving",
        "max_timestamp",
        "max_timestamp_offset",
        "modified_ms",
        "offsets",
        "positions",
        "size_bytes",
        "time_offsets",
        "times",
    )

    def __init__(self, directory: str, base_offset: int) -> None:
        self.file = File(f"{directory}/{base_offset:020d}{SUFFIX}")
        self.base_offset = base_offset
        self.size_bytes = 0
        self.max_timestamp = -1
        self.max_timestamp_offset = base_offset
        self.first_timestamp = -1
        self.begun_ms = self.modified_ms = -1
        self.is_moving = False
        self.offsets = array("I")
        """The last offset of every indexed batch, less base_offset, …"""
        self.positions = array("I")
        """… and where it begins."""
        self.times = array("q")
        """The largest timestamp so far at every indexed batch where it had grown, …"""
        self.time_offsets = array("I")
        """… and the last offset of the batch that brought it, less base_offset."""
        self._indexed_bytes = 0

    def add(self, last_offset: int, size_bytes: int, max_timestamp: int, interval_bytes: int) -> int:
        """Account for one batch at the end and return its position."""
        position = self.size_bytes
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if position == 0:
            self.first_timestamp = max_timestamp
        if position - self._indexed_bytes > interval_bytes:
            self.offsets.append(last_offset - self.base_offset)
            self.positions.append(position)
            self._indexed_bytes = position
            self.mark_time()
        self.size_bytes = position + size_bytes
        return position

    def mark_time(self) -> None:
        """Enter the largest timestamp so far into the time index, if it has grown."""
        if self.max_timestamp > (self.times[-1] if self.times else -1):
            self.times.append(self.max_timestamp)
            self.time_offsets.append(self.max_timestamp_offset - self.base_offset)

    def cut(self, position: int, offset: int) -> None:
        """Forget every batch at `position` and after; `offset`: what the log then ends at.

        max_timestamp may stay too large: retention waits longer, and a search by time looks in vain.
        """
        keep = bisect_left(self.positions, position)
        del self.offsets[keep:], self.positions[keep:]
        keep = bisect_left(self.time_offsets, offset - self.base_offset)
        del self.times[keep:], self.time_offsets[keep:]
        self.size_bytes = position
        self._indexed_bytes = self.positions[-1] if self.positions else 0

    def near(self, offset: int) -> int:
        """Return the position of a batch at or before the one that holds `offset`."""
        index = bisect_right(self.offsets, offset - self.base_offset) - 1
        return self.positions[index] if index >= 0 else 0

    def before_time(self, timestamp: int) -> int:
        """Return an offset before which no record is as late as `timestamp`."""
        index = bisect_right(self.times, timestamp) - 1
        return self.base_offset + (self.time_offsets[index] if index >= 0 else 0)


def base_offset_of(name: str, suffix: str = SUFFIX) -> int | None:
    """Read the offset from the name of a file of a log (a segment's, by default); None for any other file."""
    digits = name.removesuffix(suffix)
    plain = len(digits) == 20 and digits.isascii() and digits.isdigit()
    return int(digits) if plain and name.endswith(suffix) else None
