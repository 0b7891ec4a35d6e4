"""What housekeeping does to a log: which segments the cleaner may have, and how one takes the place of several.

The rules are in `retention.py` and `cleaner.py`, the protocol on disk is in `swap.py`; here is what of it touches
the log's memory. Files that are no longer read go after file.delete.delay.ms: those of segments below the log start
under their own names, for the log start says that they are over, those that compaction replaced as `.deleted`.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from rafka.core.config import LogConfig
from rafka.core.effects import SyncDir, Unlink
from rafka.core.log.read import Reader
from rafka.core.log.restored import Restored
from rafka.core.log.segment import SUFFIX, Segment
from rafka.core.machine import Outbox
from rafka.core.script import Script
from rafka.core.types import File, MonoNs, Now, Uuid

_SUFFIXES = (SUFFIX, ".index", ".timeindex", ".chain", ".snapshot")


class Upkeep(Reader):
    """A log as its housekeeping sees it."""

    __slots__ = ("_doomed", "_fresh", "first_dirty_offset", "is_truncating")

    def __init__(
        self,
        directory: File,
        out: Outbox,
        config: LogConfig,
        identity: tuple[Uuid, int],
        restored: Restored | None = None,
    ) -> None:
        super().__init__(directory, out, config, identity, restored)
        self.first_dirty_offset = -1
        """Where the last cleaning ended; -1: there was none that we know of."""
        self.is_truncating = False
        """Whether the end is being cut: the cleaner keeps its hands off."""
        self._doomed: deque[tuple[int, list[File]]] = deque()
        """When files go, in order."""
        self._fresh: list[File] = []
        """Files that go, whose time is not yet known."""

    @property
    def generation(self) -> int:
        """Another one whenever what was known of offsets and files may be wrong."""
        return self._generation

    # ---- for the cleaner ---------------------------------------------------------------------------

    def closed_segments(self) -> list[Segment]:
        """Return the segments that are whole, synced and not appended to, nor ever will be.

        Their files are complete too: nobody will write to them while they are replaced.
        """
        newest = max(0, bisect_right(self.segments, self.written_offset - 1, key=_base_offset) - 1)
        unkept = (index for index, segment in enumerate(self.segments) if not segment.is_kept)
        return self.segments[: min(newest, next(unkept, newest))]

    def end_of(self, segment: Segment) -> int:
        """Return where a segment ends: where the next begins."""
        index = bisect_right(self.segments, segment.base_offset, key=_base_offset)
        return self.segments[index].base_offset if index < len(self.segments) else self.log_end_offset

    def has_segments(self, segments: Sequence[Segment]) -> bool:
        """Say whether these very segments are in the log, one after the other."""
        if not segments:
            return True
        first = bisect_right(self.segments, segments[0].base_offset, key=_base_offset) - 1
        ours = self.segments[max(first, 0) : first + len(segments)]
        return len(ours) == len(segments) and all(a is b for a, b in zip(ours, segments, strict=True))

    def replace(self, old: Sequence[Segment], new: Segment) -> None:
        """Let `new` be read instead of `old`, which lie one after the other."""
        assert self.has_segments(old)
        assert old[-1] is not self.segments[-1], "the newest segment is appended to"
        first = bisect_right(self.segments, old[0].base_offset, key=_base_offset) - 1
        self.tail.advance(self.end_of(old[-1]))
        self.segments[first : first + len(old)] = [new]
        self._generation += 1

    def move(self, segment: Segment) -> None:
        """Make void what readers know of the segment's file, and let new ones wait until it has its name."""
        segment.is_moving = True
        self._generation += 1

    def doom(self, files: Sequence[File]) -> None:
        """Remove files after file.delete.delay.ms."""
        self._fresh += files
        self._out.alarms.set(self, MonoNs(0))

    def save_rewritten(self, segment: Segment) -> Script[None]:
        """Write the files of a segment that has taken the place of others."""
        self._to_save.append(self._mark(segment, self.end_of(segment), is_end=True, is_newest=False))
        yield from self._save_all()

    def settled(self) -> Script[None]:
        """Wait until no segment is taking the place of others."""
        while self.is_swapping:
            yield SyncDir(self.directory)

    # ---- taking away -------------------------------------------------------------------------------

    def maintain(self, now: Now) -> None:
        """Remove the files whose file.delete.delay.ms is over; called when the log's alarm falls due."""
        if self._fresh:
            self._doom(self._fresh, now)
            self._fresh = []
        if self.is_swapping:  # what is to go may be what moves
            self._out.alarms.set(self, MonoNs(now.mono + 1_000_000_000))
            return
        while self._doomed and self._doomed[0][0] <= now.mono:
            for file in self._doomed.popleft()[1]:
                self._out.effects.append(Unlink(file))
        if self._doomed:
            self._out.alarms.set(self, MonoNs(self._doomed[0][0]))

    def _doom(self, files: list[File], now: Now) -> None:
        """Set the time at which files go; a delay that was shortened meanwhile counts from those before."""
        due = now.mono + self.config.file_delete_delay_ms * 1_000_000
        self._doomed.append((max(due, self._doomed[-1][0]) if self._doomed else due, files))


def names(segment: Segment) -> list[str]:
    """Name all files of a segment."""
    return [f"{segment.base_offset:020d}{suffix}" for suffix in _SUFFIXES]


def _base_offset(segment: Segment) -> int:
    return segment.base_offset
