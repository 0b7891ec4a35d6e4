"""One segment of a partition's log: what is known in memory about `<base offset, 20 digits>.log`.

Beside the batches there are two sparse indexes (see `index.py`), an entry every index.interval.bytes, and the links
of the chain (see `chain.py`), one every LINK_BYTES_APART. Each is a function of the file, built by appending and by
recovery, and saved in files of its own as the segment grows. What is saved is forgotten here (`forget_saved`) and
read back when somebody searches (`restore`), so a segment costs the memory of its newest megabytes, whatever its
size; entry i of an array is then entry first + i of its file. Source: Kafka's `LogSegment`.
"""

from array import array
from bisect import bisect_left, bisect_right

from rafka.core.log.chain import Link
from rafka.core.log.index import OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES
from rafka.core.shape import value
from rafka.core.types import File

SUFFIX = ".log"
LINK_BYTES_APART = 1 << 20
RELATIVE_OFFSET_MAX = (1 << 31) - 1
"""Kafka's indexes hold offsets relative to their segment in 32 bits."""
UNBOUNDED = 1 << 62


@value
class Place:
    """Where the batch that holds an offset lies. position, size_bytes: the whole batch in `file`.

    generation: of the log when it was found; in another one it is void. limit: up to where `file` is checked.
    """

    file: File
    position: int
    size_bytes: int
    base_offset: int
    generation: int
    limit: int = UNBOUNDED


class Segment:
    """A file of batches, end to end. size_bytes counts what was appended, also when not yet written.

    max_timestamp: the largest of any batch, -1 when there is none; max_timestamp_offset: the last offset of the
    first batch that has it. first_timestamp: the largest of the first batch, -1 when it has none or there is none.
    begun_ms, modified_ms: wall-clock ms of its beginning and of the last append, -1 when not known; they stand in
    where batches have no timestamps.
    is_moving: its file is about to get another name, or is getting it: nobody may begin to read it.
    start, chain: the log's chain before the first batch, and after the last. flags: see `chain.py`.
    saved: what the last link says that was written for it; None: there is none.
    is_kept: it has ended, and all that belongs beside it is saved.
    """

    __slots__ = (
        "_indexed_bytes",
        "base_offset",
        "begun_ms",
        "chain",
        "checked",
        "file",
        "first_entry",
        "first_link",
        "first_time",
        "first_timestamp",
        "flags",
        "is_kept",
        "is_moving",
        "link_at",
        "link_chains",
        "link_offsets",
        "link_positions",
        "links_saved",
        "max_timestamp",
        "max_timestamp_offset",
        "modified_ms",
        "offsets",
        "positions",
        "saved",
        "size_bytes",
        "start",
        "time_offsets",
        "times",
        "trusted_from",
    )

    def __init__(self, directory: str, base_offset: int, chain: int = 0) -> None:
        self.file = File(f"{directory}/{base_offset:020d}{SUFFIX}")
        self.base_offset = base_offset
        self.size_bytes = 0
        self.max_timestamp = -1
        self.max_timestamp_offset = base_offset
        self.first_timestamp = -1
        self.begun_ms = self.modified_ms = -1
        self.is_moving = self.is_kept = False
        self.start = self.chain = chain
        self.flags = 0
        self.offsets = array("I")
        """The last offset of every indexed batch, less base_offset, …"""
        self.positions = array("I")
        """… and where it begins."""
        self.times = array("q")
        """The largest timestamp so far at every indexed batch where it had grown, …"""
        self.time_offsets = array("I")
        """… and the last offset of the batch that brought it, less base_offset."""
        self.link_positions = array("I")
        """Where the links of the chain lie, …"""
        self.link_offsets = array("I")
        """… the offset after the batch before each, less base_offset, …"""
        self.link_chains = array("Q")
        """… and the chain there."""
        self.link_at = LINK_BYTES_APART
        """Once so large, the segment gets another link."""
        self.first_entry = self.first_time = self.first_link = 0
        """How many entries of each file are not in memory."""
        self.saved: Link | None = None
        self.links_saved = 0
        self.trusted_from = 0
        """The position from which on all was written or checked by this process."""
        self.checked = 0
        """A bit for each link: what lies between the one before and it was held against it."""
        self._indexed_bytes = 0

    @property
    def offset_bytes(self) -> int:
        """The size of the offset index."""
        return OFFSET_ENTRY_BYTES * (self.first_entry + len(self.offsets))

    @property
    def time_bytes(self) -> int:
        """The size of the time index."""
        return TIME_ENTRY_BYTES * (self.first_time + len(self.times))

    @property
    def saved_position(self) -> int:
        """Up to where a link says that all is durable."""
        return self.saved.position if self.saved is not None else 0

    @property
    def is_restored(self) -> bool:
        """Whether the whole indexes and all links are in memory."""
        return not (self.first_entry or self.first_time or self.first_link)

    # ---- growing -----------------------------------------------------------------------------------

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

    @property
    def latest_time(self) -> int:
        """The timestamp of the last entry of the time index; -1 when there is none."""
        if self.times:
            return self.times[-1]
        return self.saved.latest_time if self.first_time and self.saved is not None else -1

    def mark_time(self) -> None:
        """Enter the largest timestamp so far into the time index, if it has grown."""
        if self.max_timestamp > self.latest_time:
            self.times.append(self.max_timestamp)
            self.time_offsets.append(self.max_timestamp_offset - self.base_offset)

    def is_link_due(self) -> bool:
        """Say whether the last link is far enough away."""
        return self.size_bytes >= self.link_at

    def link(self, offset: int) -> None:
        """Enter a link where the segment ends now; `offset`: of the next record."""
        self.link_positions.append(self.size_bytes)
        self.link_offsets.append(offset - self.base_offset)
        self.link_chains.append(self.chain)
        self.link_at = self.size_bytes + LINK_BYTES_APART

    def cut(self, position: int, offset: int, chain: int) -> None:
        """Forget every batch at `position` and after; offset, chain: what the log then ends at.

        max_timestamp may stay too large: retention waits longer, and a search by time looks in vain.
        """
        assert self.is_restored or position >= self.saved_position
        keep = bisect_left(self.positions, position)
        del self.offsets[keep:], self.positions[keep:]
        keep = bisect_left(self.time_offsets, offset - self.base_offset)
        del self.times[keep:], self.time_offsets[keep:]
        keep = bisect_right(self.link_positions, position)
        del self.link_positions[keep:], self.link_offsets[keep:], self.link_chains[keep:]
        self.checked &= (1 << (self.first_link + keep)) - 1
        self.size_bytes = position
        self.trusted_from = min(self.trusted_from, position)
        self.chain = chain
        self.link_at = LINK_BYTES_APART + (self.link_positions[-1] if keep else self.saved_position)
        self._indexed_bytes = self.positions[-1] if self.positions else self.saved_position

    # ---- what is saved -----------------------------------------------------------------------------

    def resume(self, link: Link, links_saved: int) -> None:
        """Be what a link says, with nothing in memory."""
        self.flags = link.flags
        self.start, self.chain = link.start, link.chain
        self.size_bytes = self.trusted_from = self._indexed_bytes = link.position
        self.link_at = link.position + LINK_BYTES_APART
        self.first_timestamp = link.first_timestamp
        self.max_timestamp, self.max_timestamp_offset = link.max_timestamp, link.max_timestamp_offset
        self.keep(link, links_saved)
        self.first_entry, self.first_time, self.first_link = (
            link.index_entries,
            link.time_entries,
            links_saved,
        )

    def keep(self, link: Link, links_saved: int) -> None:
        """Take note that a link, and what it vouches for, was written."""
        self.saved = link
        self.links_saved = links_saved

    def restore(
        self,
        entries: "tuple[array[int], array[int]]",
        times: "tuple[array[int], array[int]]",
        links: "tuple[array[int], array[int], array[int]]",
    ) -> None:
        """Take back what was forgotten: from each file, the entries before the first in memory."""
        self.offsets, self.positions = entries[0] + self.offsets, entries[1] + self.positions
        self.times, self.time_offsets = times[0] + self.times, times[1] + self.time_offsets
        self.link_positions = links[0] + self.link_positions
        self.link_offsets = links[1] + self.link_offsets
        self.link_chains = links[2] + self.link_chains
        self.first_entry = self.first_time = self.first_link = 0

    def forget_saved(self) -> None:
        """Forget the entries that are in files."""
        link = self.saved
        if link is None:
            return
        count = link.index_entries - self.first_entry
        del self.offsets[:count], self.positions[:count]
        self.first_entry = link.index_entries
        count = link.time_entries - self.first_time
        del self.times[:count], self.time_offsets[:count]
        self.first_time = link.time_entries
        count = self.links_saved - self.first_link
        del self.link_positions[:count], self.link_offsets[:count], self.link_chains[:count]
        self.first_link = self.links_saved

    def unsave(self) -> None:
        """Take note that nothing is saved any more; all of it is in memory."""
        assert self.is_restored
        self.saved = None
        self.links_saved = 0
        self.is_kept = False

    # ---- searching ---------------------------------------------------------------------------------

    def knows(self, offset: int) -> bool:
        """Say whether `near` can do better than the beginning of the file."""
        return self.is_restored or bool(self.offsets and self.offsets[0] <= offset - self.base_offset)

    def near(self, offset: int) -> int:
        """Return the position of a batch at or before the one that holds `offset`."""
        relative = offset - self.base_offset
        index = bisect_right(self.offsets, relative) - 1
        position = self.positions[index] if index >= 0 else 0
        index = bisect_right(self.link_offsets, relative) - 1
        return max(position, self.link_positions[index]) if index >= 0 else position

    def before_time(self, timestamp: int) -> int:
        """Return an offset before which no record is as late as `timestamp`."""
        index = bisect_right(self.times, timestamp) - 1
        return self.base_offset + (self.time_offsets[index] if index >= 0 else 0)


def base_offset_of(name: str, suffix: str = SUFFIX) -> int | None:
    """Read the offset from the name of a file of a log (a segment's, by default); None for any other file."""
    digits = name.removesuffix(suffix)
    plain = len(digits) == 20 and digits.isascii() and digits.isdigit()
    return int(digits) if plain and name.endswith(suffix) else None
