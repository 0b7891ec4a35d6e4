"""One partition's log: opening it, cutting it at either end, and taking it away.

Beside its segments the directory holds what `directory.py` and `checkpoint.py` describe. The log start offset
is written down, and durable, before the log shows it and before any file goes, and so is what producers did
in it: the repeat of a batch must not be taken for a new one because the first is deleted. Whatever subset of the
unlinks a crash leaves, the log begins where it was last said to begin, and what lies below is removed again.
On a disk that is too full to write it down, indexes of what is to go make the room.

The order of a truncation is: memory, so that nobody reads what goes; then whole segments from the newest down,
each durably before the next, so that a crash leaves no gap; then the rest of one file.
Source: Kafka's `UnifiedLog`, `LocalLog`, `LogLoader`; KIP-107 (DeleteRecords).
"""

from bisect import bisect_right
from errno import EDQUOT, ENOSPC

from rafka.core.effects import Rename, Sync, SyncDir, Truncate, Unlink
from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.events import Failed
from rafka.core.log.chain import UNKNOWN
from rafka.core.log.checkpoint import LOG_START, log_start_text, prepare, replace
from rafka.core.log.directory import discard, ensure
from rafka.core.log.index import INDEX, TIME_INDEX
from rafka.core.log.opening import Opening
from rafka.core.log.retention import expired
from rafka.core.log.segment import Place, Segment
from rafka.core.log.snapshot import SNAPSHOT, snapshot_of
from rafka.core.log.upkeep import names
from rafka.core.record.batch import Header
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, File, MonoNs, Now

NEVER = 1 << 63


class Log(Opening):
    """The log in `directory` (`orders-0`); identity: topic id and partition. Open it with recover()."""

    __slots__ = ()

    def check(self) -> None:
        """Assert every invariant; the simulator calls it after each event."""
        assert self.log_start_offset <= self.durable_offset <= self.written_offset <= self.log_end_offset
        assert self._synced_offset <= self._syncing_offset
        bases = [segment.base_offset for segment in self.segments]
        assert bases == sorted(set(bases)), "segments are in order"
        assert self._active is None or self._active is self.segments[-1]
        if self.log_start_offset < self.log_end_offset:
            assert bases[0] <= self.log_start_offset, "the log has all that it says it has"
        for segment in self.segments:
            assert segment.saved_position <= segment.size_bytes, "nothing is vouched for that is not there"

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
            try:
                yield from self._keep_producers(offset)
                yield from self._raise_start(offset)
            except StorageError as error:
                if error.errno not in (ENOSPC, EDQUOT) or not (yield from self._make_room(offset)):
                    raise
                yield from self._keep_producers(offset)
                yield from self._raise_start(offset)
        except StorageError as error:
            self._out.note("error", "log start not raised", log=self.directory, reason=str(error))
            return ErrorCode.KAFKA_STORAGE_ERROR
        self._drop(now)
        return None

    def _keep_producers(self, offset: int) -> Script[None]:
        """Write down, durably, what producers have done, where a start looks for it once all before `offset` is gone.

        It may tell more than what lies before the first segment that stays: a start adds the batches that stay. But
        nothing that a crash may take, or a repeat of that would be answered as if it were there.
        """
        first = bisect_right(self.segments, offset, key=_base_offset) - 1
        is_all = self._active is None and offset == self.log_end_offset
        base_offset = offset if is_all else self.segments[first].base_offset
        if not is_all and (first == 0 or self._snapshot[0] == base_offset):
            return
        states = self.producers.durable(max(offset, self._named_offset()))
        if states:
            yield from replace(self._file(base_offset, SNAPSHOT), snapshot_of(states), self.attempt())

    def _make_room(self, offset: int) -> Script[bool]:
        """Give up the indexes of segments below `offset`: the disk is too full to say that they go, so nothing would.

        Indexes only ever save time: if the segments stay after all, they are made anew. Says whether there were any.
        """
        ended = self.segments[: max(bisect_right(self.segments, offset, key=_base_offset) - 1, 0)]
        going = [segment for segment in ended if segment.is_kept]
        for segment in going:
            yield Unlink(self._beside(segment, INDEX))
            yield Unlink(self._beside(segment, TIME_INDEX))
        return bool(going)

    def retain(self, high_watermark: int, now: Now) -> Script[int]:
        """Let the segments go that retention does not keep any more; return how many bytes that were.

        When all are over, the log is empty then, and the next append begins a new segment.
        """
        count = expired(self.segments, high_watermark, self.log_end_offset, self.config, now.wall)
        if count == len(self.segments) and self._active is not None and self._active.size_bytes == 0:
            count -= (
                1  # what a full disk left empty is appended to again: another like it would have its name
            )
        if count <= 0 or self.is_offline:
            return 0
        size_bytes = sum(segment.size_bytes for segment in self.segments[:count])
        end = self.end_of(self.segments[count - 1])
        if end <= self.log_start_offset:
            return 0  # an empty segment, all that a crash left: it is what is appended to
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
            if any(one.base_offset == self._snapshot[0] for one in self.segments[:count]):
                self.producers.is_changed = True  # the newest snapshot goes, too
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
        place: Place | None = None
        while place is None or self.is_swapping or not self.has(place):
            yield from self.settled()
            if offset >= self.log_end_offset:
                return None
            found = self.find(offset) or (yield from self.lookup(offset))
            if isinstance(found, ErrorCode):
                return found
            place = found
        retry_at, self._retry_at = self._retry_at, NEVER
        self.is_truncating = True
        try:
            yield from self._truncate(place.base_offset, place.position)
        except (StorageError, CorruptRecord) as error:
            self.failed = ErrorCode.KAFKA_STORAGE_ERROR
            self.is_offline = True
            self._out.note("error", "log offline", log=self.directory, reason=str(error))
            return ErrorCode.KAFKA_STORAGE_ERROR
        finally:
            self.is_truncating = False
        self._retry_at = retry_at
        return None

    def _truncate(self, end: int, position: int) -> Script[None]:
        kept = bisect_right(self.segments, end, key=_base_offset)
        if end < self.log_start_offset:  # of the batch that holds the end, a part was deleted: all goes
            end, kept = self.log_start_offset, 0
        yield from self._saved()
        self._stop_saving(end)
        chain = self.seed
        if kept:
            chain = yield from self._chain_before(self.segments[kept - 1], position)
            yield from self._restore(self.segments[kept - 1])
        self._snapshot = (UNKNOWN, 0)
        gone = self.segments[kept:]
        del self.segments[kept:]
        self._active = self.segments[-1] if self.segments else None
        self._written_chain = chain
        if self._active is not None:
            self._active.unsave()
            self._active.cut(position, end, chain)
            self._active.link(end)
            self._active.checked |= (
                1 << len(self._active.link_positions) - 1
            )  # the search for it has done that
        self._end_at(end)
        for segment in reversed(gone):
            yield from self._remove(names(segment))
            ensure((yield SyncDir(self.directory)))
        if self._active is not None:  # first what vouches for what is to go
            yield from self._remove(names(self._active)[1:-1])
            ensure((yield SyncDir(self.directory)))
            ensure((yield Truncate(self._active.file, position)))
            ensure((yield Sync(self._active.file, NO_ANSWER)))
        yield from self._read_producers(end)
        if self._active is not None:
            self._to_save.append(self._mark(self._active, end, is_end=False))
            yield from self._save_all()

    def _end_at(self, end: int) -> None:
        self._generation += 1
        self._room = None
        self.first_dirty_offset = min(self.first_dirty_offset, end)
        self.log_end_offset = self.written_offset = end
        self.durable_offset = min(self.durable_offset, end)
        self._synced_offset = min(self._synced_offset, end)
        self._syncing_offset = min(self._syncing_offset, end)
        self._place_end()
        self.tail.cut(end)
        self.epochs.cut(end)

    def _read_producers(self, end: int) -> Script[None]:
        """Learn from the headers what producers did last; those that did nothing above `end` are known."""
        untouched = self.producers.below(end)
        self.producers.become({})

        def take(header: Header) -> bool:
            self.producers.update(header, header.base_offset, header.max_timestamp)
            return False

        for segment in self.segments:
            yield from self._walk(segment, 0, take)
        self.producers.become(self.producers.states() | untouched)
        self.producers.is_changed = True

    # ---- taking away -------------------------------------------------------------------------------

    def close(self) -> Script[None]:
        """Save what a start would otherwise have to read; the log takes no more. All that it has must be durable.

        Under flush=os everything is synced now. What fails costs the next start time, and nothing else.
        """
        if self.is_offline or self._cutting:
            return
        self._retry_at = NEVER
        yield from self.settled()
        active = self._active
        try:
            if active is not None and self._synced_offset < self.log_end_offset:
                ensure((yield Sync(active.file, NO_ANSWER)))
                ensure((yield SyncDir(self.directory)))
                self._synced_offset = self._syncing_offset = self.log_end_offset
        except StorageError as error:
            self._out.note("warning", "log not synced", log=self.directory, reason=str(error))
            return
        yield from self._saved()
        self._stop_errand()
        self._to_save += self._marks
        self._marks = []
        if active is not None and (active.saved_position < active.size_bytes or self._has_news(active)):
            self._to_save.append(self._mark(active, self.log_end_offset, is_end=False))
        yield from self._save_all(durably=False)

    def _has_news(self, active: Segment) -> bool:
        """Whether anything but batches has changed that the last link names."""
        entries = self.epochs.entries
        return (
            active.saved is None
            or self.producers.is_changed
            or (len(entries) > 1 and entries != self._epochs_saved)
        )

    def destroy(self) -> Script[None]:
        """Remove the log of a deleted topic. Its directory's name is free once the first effect is performed.

        What a crash or an error leaves is for `directory.leftovers` at the next start.
        """
        self.is_offline = True
        self.failed = ErrorCode.KAFKA_STORAGE_ERROR
        self._generation += 1
        self._stop_saving(0)
        self._out.alarms.clear(self)
        try:
            yield from discard(self.directory, self.identity[0])
        except StorageError as error:
            self._out.note("warning", "log not removed", log=self.directory, reason=str(error))


def _base_offset(segment: Segment) -> int:
    return segment.base_offset
