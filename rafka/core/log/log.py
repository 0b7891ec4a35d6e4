"""One partition's log: opening it, cutting it at either end, and taking it away.

Beside its segments the directory holds what `directory.py` and `checkpoint.py` describe. The log start offset
is written down, and durable, before the log shows it and before any file goes. So whatever subset of the
unlinks a crash leaves, the log begins where it was last said to begin, and what lies below is removed again.

The order of a truncation is: memory, so that nobody reads what goes; then whole segments from the newest down,
each durably before the next, so that a crash leaves no gap; then the rest of one file.
Source: Kafka's `UnifiedLog`, `LocalLog`, `LogLoader`; KIP-107 (DeleteRecords).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rafka.core.config import LogConfig
from rafka.core.effects import Rename, Sync, SyncDir, Truncate, Unlink
from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.events import Entry, Failed
from rafka.core.log.checkpoint import (
    CLEANED_UP_TO,
    LOG_START,
    TEMPORARY,
    log_start_in,
    log_start_text,
    prepare,
)
from rafka.core.log.directory import belongs_to, content, discard, ensure, entries_of
from rafka.core.log.recovery import keep, scan
from rafka.core.log.retention import expired
from rafka.core.log.segment import SUFFIX, Segment, base_offset_of
from rafka.core.log.swap import finish
from rafka.core.log.upkeep import Upkeep, names
from rafka.core.machine import Outbox
from rafka.core.record.batch import Header
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, File, MonoNs, Now, Uuid

NEVER = 1 << 63


class Log(Upkeep):
    """The log in `directory` (`orders-0`); identity: topic id and partition. Open it with recover()."""

    __slots__ = ("_checkpointed_start",)

    def __init__(self, directory: File, out: Outbox, config: LogConfig, identity: tuple[Uuid, int]) -> None:
        super().__init__(directory, out, config, identity)
        self._checkpointed_start = 0

    # ---- opening -----------------------------------------------------------------------------------

    def recover(self, clean: bool) -> Script[None]:
        """Open the log: check every batch, cut off a torn tail, and make durable what is kept.

        If it cannot be opened, failed is KAFKA_STORAGE_ERROR and is_offline true, and a note says why.
        """
        del clean  # nothing is trusted yet that would make a clean log quicker to open
        try:
            yield from self._recover()
        except (CorruptRecord, StorageError) as error:
            self.failed = ErrorCode.KAFKA_STORAGE_ERROR
            self.is_offline = True
            self._out.note("error", "log offline", log=self.directory, reason=str(error))

    def check(self) -> None:
        """Assert every invariant; the simulator calls it after each event."""
        assert self.log_start_offset <= self.durable_offset <= self.written_offset <= self.log_end_offset
        assert self._synced_offset <= self._syncing_offset
        bases = [segment.base_offset for segment in self.segments]
        assert bases == sorted(set(bases)), "segments are in order"
        assert self._active is None or self._active is self.segments[-1]
        if self.log_start_offset < self.log_end_offset:
            assert bases[0] <= self.log_start_offset, "the log has all that it says it has"

    def _recover(self) -> Script[None]:
        entries = yield from entries_of(self.directory)
        if entries is None:
            return
        if not (yield from belongs_to(self.directory, entries, self.identity[0])):
            yield from discard(self.directory, self.identity[0])  # another topic had this name
            return
        yield from self._remove(entry.name for entry in entries if entry.name.endswith(TEMPORARY))
        if (yield from finish(self.directory, entries)):
            entries = (yield from entries_of(self.directory)) or []
        start = yield from self._checkpoint_of(entries, LOG_START)
        cleaned_up_to = yield from self._checkpoint_of(entries, CLEANED_UP_TO)
        self.first_dirty_offset = -1 if cleaned_up_to is None else cleaned_up_to
        bases = yield from self._bases(entries, start)
        if not bases and start is None:
            return  # an empty directory is made and synced again: it may not be durable
        self._directory_made = True
        self.log_start_offset = self.log_end_offset = bases[0] if bases else start or 0
        if start is not None and self.log_start_offset > start:
            raise CorruptRecord(0, f"offsets {start} to {self.log_start_offset} are missing")
        yield from self._scan(bases)
        if start is not None and start > self.log_end_offset:  # the tail is lost: flush=os
            yield from self._remove(_name(base) for base in bases)
            self._forget(start)
        self.log_start_offset = max(self.log_start_offset, start or 0)
        self._opened()
        self._date(entries)

    def _scan(self, bases: Sequence[int]) -> Script[None]:
        for base in bases:
            if self.segments and base != self.log_end_offset:
                raise CorruptRecord(0, f"offsets {self.log_end_offset} to {base} are missing")
            segment = Segment(self.directory, base)
            self.segments.append(segment)
            broken = yield from scan(segment, self._take)
            if broken is not None and base != bases[-1]:
                raise CorruptRecord(broken.position, f"{segment.file}: {broken.reason}")
            if broken is not None:
                self._warn(segment, broken)
            if base == bases[-1]:
                yield from keep(segment, self.directory, cut=broken is not None)

    def _checkpoint_of(self, entries: Sequence[Entry], name: str) -> Script[int | None]:
        for entry in entries:
            if entry.name == name:
                file = File(f"{self.directory}/{name}")
                start = log_start_in((yield from content(file, entry.size)))
                if start is None:
                    self._out.note("warning", "checkpoint ignored", file=file)
                return start
        return None

    def _bases(self, entries: Sequence[Entry], start: int | None) -> Script[list[int]]:
        """Pick the segments in order; remove what should have gone before the crash."""
        found = (base_offset_of(entry.name) for entry in entries if not entry.is_dir)
        bases = sorted(base for base in found if base is not None)
        gone = [base for base, following in pairwise(bases) if following <= (start or 0)]
        yield from self._remove(_name(base) for base in gone)
        return bases[len(gone) :]

    def _take(self, segment: Segment, header: Header) -> None:
        position = self._account(segment, header, header.last_offset)
        if header.base_offset > self.log_end_offset:
            self.tail.cut(0)  # compaction has left a gap: an offset in it is in the batch after
        self.tail.add(header.base_offset, position)
        self.epochs.begin(header.leader_epoch, header.base_offset)
        self.producers.update(header, header.base_offset, header.max_timestamp)
        self.producers.keep(header.last_offset + 1)
        self.log_end_offset = header.last_offset + 1

    def _warn(self, segment: Segment, broken: CorruptRecord) -> None:
        fields = {"file": segment.file, "position": broken.position, "reason": broken.reason}
        self._out.note("warning", "torn tail cut off", log_end_offset=self.log_end_offset, **fields)

    def _opened(self) -> None:
        end = self.written_offset = self.durable_offset = self.log_end_offset
        self._synced_offset = self._syncing_offset = end
        self._checkpointed_start = self.log_start_offset
        self._active = self.segments[-1] if self.segments else None
        self._place_end()
        self.epochs.advance(self.log_start_offset)

    def _date(self, entries: Sequence[Entry]) -> None:
        modified_ms = {entry.name: entry.modified_ms for entry in entries}
        for segment in self.segments:
            segment.modified_ms = modified_ms.get(_name(segment.base_offset), -1)

    def _place_end(self) -> None:
        """Take all that is in memory for written."""
        has_any = bool(self.segments) and self.segments[0].base_offset < self.written_offset
        self._written_position = self._segment_before(self.written_offset).size_bytes if has_any else 0

    def _forget(self, offset: int) -> None:
        """Become an empty log at `offset`."""
        self.segments.clear()
        self.tail.cut(0)
        self.producers.clear()
        self.epochs.cut(0)
        self.log_start_offset = self.log_end_offset = offset

    # ---- cutting at the start ----------------------------------------------------------------------

    def delete_before(self, offset: int, now: Now) -> Script[ErrorCode | None]:
        """Raise log_start_offset to `offset`, durably: DeleteRecords. Whole segments below it go.

        `offset` may be at most the high watermark, which is the caller's to check, and durable_offset: beyond
        it the answer is OFFSET_OUT_OF_RANGE. KAFKA_STORAGE_ERROR: it may come back after a crash.
        """
        if self.is_offline:
            return ErrorCode.KAFKA_STORAGE_ERROR
        if offset > self.durable_offset:
            return ErrorCode.OFFSET_OUT_OF_RANGE
        if offset <= self.log_start_offset:
            return None
        try:
            yield from self._raise_start(offset)
        except StorageError as error:
            self._out.note("error", "log start not raised", log=self.directory, reason=str(error))
            return ErrorCode.KAFKA_STORAGE_ERROR
        self._drop(now)
        return None

    def retain(self, high_watermark: int, now: Now) -> Script[int]:
        """Let the segments go that retention does not keep any more; return how many bytes that were.

        When all are over, the log is empty then, and the next append begins a new segment.
        """
        count = expired(self.segments, high_watermark, self.log_end_offset, self.config, now.wall)
        if count == 0 or self.is_offline:
            return 0
        size_bytes = sum(segment.size_bytes for segment in self.segments[:count])
        end = self.end_of(self.segments[count - 1])
        if count == len(self.segments):
            assert not self._queue, "below the high watermark everything is written"
            self._active = None
        refused = yield from self.delete_before(end, now)
        return size_bytes if refused is None else 0

    def _raise_start(self, offset: int) -> Script[None]:
        """Write the offset down, then show it. Several may be under way: the file never goes back."""
        file = File(f"{self.directory}/{LOG_START}")
        beside = yield from prepare(file, log_start_text(self.directory, offset), self.attempt())
        former = self._checkpointed_start
        if offset <= former:
            ensure((yield Unlink(beside)))
        else:
            self._checkpointed_start = offset
            renamed = yield Rename(beside, file)
            if isinstance(renamed, Failed) and self._checkpointed_start == offset:
                self._checkpointed_start = former
            ensure(renamed)
        ensure((yield SyncDir(self.directory)))
        if offset > self.log_start_offset:
            self.log_start_offset = offset
            self.epochs.advance(offset)

    def _drop(self, now: Now) -> None:
        """Take the segments below the log start out of the log; their files go after file.delete.delay.ms."""
        count = bisect_right(self.segments, self.log_start_offset, key=_base_offset) - 1
        if self._active is None and self.log_start_offset == self.log_end_offset:
            count = len(self.segments)
        if count > 0:
            files = (File(f"{self.directory}/{name}") for one in self.segments[:count] for name in names(one))
            self._doom(list(files), now)
            del self.segments[:count]
            self._synced_offset = max(self._synced_offset, self.log_start_offset)
            self._syncing_offset = max(self._syncing_offset, self.log_start_offset)
            self._out.alarms.set(self, MonoNs(0))

    # ---- cutting at the end ------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> Script[ErrorCode | None]:
        """Take back every record from `offset` on, with the whole batch that holds it; no appends until it ends.

        Not to be called while appends are on their way to the file.
        """
        assert offset >= self.log_start_offset
        assert not self._queue
        assert not self._in_flight
        yield from self.settled()
        if offset >= self.log_end_offset:
            return None
        place = self.find(offset) or (yield from self.lookup(offset))
        if isinstance(place, ErrorCode):
            return place
        retry_at, self._retry_at = self._retry_at, NEVER
        try:
            yield from self._truncate(place.base_offset, place.position)
        except (StorageError, CorruptRecord) as error:
            self.failed = ErrorCode.KAFKA_STORAGE_ERROR
            self.is_offline = True
            self._out.note("error", "log offline", log=self.directory, reason=str(error))
            return ErrorCode.KAFKA_STORAGE_ERROR
        self._retry_at = retry_at
        return None

    def _truncate(self, end: int, position: int) -> Script[None]:
        kept = bisect_right(self.segments, end, key=_base_offset)
        if end < self.log_start_offset:  # of the batch that holds the end, a part was deleted: all goes
            end, kept = self.log_start_offset, 0
        gone = self.segments[kept:]
        del self.segments[kept:]
        self._active = self.segments[-1] if self.segments else None
        if self._active is not None:
            self._active.cut(position, end)
        self._end_at(end)
        for segment in reversed(gone):
            yield from self._remove(names(segment))
            ensure((yield SyncDir(self.directory)))
        if self._active is not None:
            ensure((yield Truncate(self._active.file, position)))
            ensure((yield Sync(self._active.file, NO_ANSWER)))
        yield from self._read_producers()

    def _end_at(self, end: int) -> None:
        self._generation += 1
        self.first_dirty_offset = min(self.first_dirty_offset, end)
        self.log_end_offset = self.written_offset = end
        self.durable_offset = min(self.durable_offset, end)
        self._synced_offset = min(self._synced_offset, end)
        self._syncing_offset = min(self._syncing_offset, end)
        self._place_end()
        self.tail.cut(end)
        self.epochs.cut(end)

    def _read_producers(self) -> Script[None]:
        """Learn from the headers who the producers are."""
        self.producers.clear()

        def take(header: Header) -> bool:
            self.producers.update(header, header.base_offset, header.max_timestamp)
            return False

        for segment in self.segments:
            yield from self._walk(segment, 0, take)
        self.producers.keep(self.log_end_offset)

    # ---- taking away -------------------------------------------------------------------------------

    def destroy(self) -> Script[None]:
        """Remove the log of a deleted topic. Its directory's name is free once the first effect is performed.

        What a crash or an error leaves is for `directory.leftovers` at the next start.
        """
        self.is_offline = True
        self.failed = ErrorCode.KAFKA_STORAGE_ERROR
        self._generation += 1
        self._out.alarms.clear(self)
        try:
            yield from discard(self.directory, self.identity[0])
        except StorageError as error:
            self._out.note("warning", "log not removed", log=self.directory, reason=str(error))

    def _remove(self, names: Iterable[str]) -> Script[None]:
        for name in names:
            ensure((yield Unlink(File(f"{self.directory}/{name}"))))


def _base_offset(segment: Segment) -> int:
    return segment.base_offset


def _name(base_offset: int, suffix: str = SUFFIX) -> str:
    return f"{base_offset:020d}{suffix}"
