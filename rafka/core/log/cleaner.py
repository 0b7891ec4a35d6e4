"""The cleaner: it reads a log's dirty part, and copies the log without what that has made obsolete.

    clean part | dirty part | what may not be cleaned yet
    0      first dirty    first uncleanable       log end

`survey` says where these begin: the first dirty offset is where the last cleaning ended, kept in
`cleaner-offset-checkpoint` in Kafka's format beside the segments; uncleanable is what is not yet stable, what is
appended to, and, under min.compaction.lag.ms, everything from the first segment that is too young. A log is worth
cleaning when its dirty share is above min.cleanable.dirty.ratio, or when something dirty is older than
max.compaction.lag.ms. Of several the one with the largest share goes first.

`clean` is a script. It fills an `OffsetMap` from the dirty part, as far as its memory goes, and then copies every
segment up to there, some small ones into one, each group replacing its sources as `swap.py` says. What it does
between two answers of the disk is bounded by STEP_BYTES, so whoever shares the process with it waits no longer.
The last batch of every new segment stays, if only its header: each segment ends where the next begins, and
recovery can hold that against the files. A group in which nothing changed is not replaced.

Meanwhile the log goes on. After every step the cleaner looks whether its segments are still there and still the
same; if retention, a truncation or a deletion has come between, it stops and leaves no trace.

Sources: Kafka's `LogCleanerManager`, `Cleaner`; KIP-58 (min lag), KIP-354 (max lag), KIP-534 (tombstones).
"""

from collections.abc import Iterable, Sequence

import attrs

from rafka.core.effects import Read, Unlink, Write
from rafka.core.errors import CorruptRecord, RafkaError, StorageError
from rafka.core.events import Loaded
from rafka.core.log.chain import REWRITTEN, chained
from rafka.core.log.checkpoint import CLEANED_UP_TO, log_start_text, replace
from rafka.core.log.compaction import OffsetMap, compact
from rafka.core.log.directory import ensure
from rafka.core.log.log import Log
from rafka.core.log.segment import RELATIVE_OFFSET_MAX, Segment
from rafka.core.log.swap import CLEANED, Gone, swap
from rafka.core.record.batch import HEADER_BYTES, Batch, Header, check, size_at
from rafka.core.record.compression import Codecs
from rafka.core.script import Script
from rafka.core.shape import value
from rafka.core.types import Buffer, File, WallMs

STEP_BYTES = 64 << 10
"""How much is read, and worked at, between two answers of the disk; a single batch may be larger."""
BATCH_BYTES_MAX = 1 << 30


@value
class Survey:
    """What there is to clean in a log. Offsets: the first dirty, and the end of what may be cleaned."""

    log: Log
    first_dirty_offset: int
    end_offset: int
    clean_bytes: int
    dirty_bytes: int
    is_overdue: bool
    """Whether something dirty is older than max.compaction.lag.ms."""

    @property
    def dirty_ratio(self) -> float:
        """The dirty share of what would be read."""
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0

    @property
    def is_due(self) -> bool:
        """Whether the log is to be cleaned now."""
        enough = self.dirty_ratio > self.log.config.min_cleanable_dirty_ratio
        return self.dirty_bytes > 0 and (enough or self.is_overdue)


@value
class Cleaned:
    """What a cleaning did. end_offset: where the dirty part begins now; bytes: of all segments it went through."""

    end_offset: int
    bytes_before: int
    bytes_after: int


@value
class Uncleanable:
    """Why a log cannot be cleaned. error: what was found on disk, or what the disk said."""

    error: RafkaError


def survey(log: Log, last_stable_offset: int, wall_ms: int) -> Survey:
    """Find out what there is to clean."""
    closed = log.closed_segments()
    start = log.first_dirty_offset
    if not log.log_start_offset <= start <= log.log_end_offset:
        start = log.log_start_offset
    ends = _ends(log, closed)
    dirty = [segment for segment, end in zip(closed, ends, strict=True) if end > start]
    limit = last_stable_offset
    lag_ms = log.config.min_compaction_lag_ms
    young = (s.base_offset for s in dirty if lag_ms > 0 and s.max_timestamp > wall_ms - lag_ms)
    limit = min(limit, next(young, limit), ends[-1] if ends else start)
    firsts = [s.first_timestamp for s in dirty if s.first_timestamp > 0]
    return Survey(
        log=log,
        first_dirty_offset=start,
        end_offset=max(start, limit),
        clean_bytes=sum(s.size_bytes for s, end in zip(closed, ends, strict=True) if end <= start),
        dirty_bytes=sum(s.size_bytes for s in dirty if s.base_offset < limit),
        is_overdue=bool(firsts) and min(firsts) < wall_ms - log.config.max_compaction_lag_ms,
    )


def dirtiest(surveys: Iterable[Survey]) -> Survey | None:
    """Choose what to clean next; None: nothing is due."""
    best: Survey | None = None
    for one in surveys:
        if one.is_due and (best is None or one.dirty_ratio > best.dirty_ratio):
            best = one
    return best


def clean(
    found: Survey, map_bytes: int, codecs: Codecs, wall_ms: WallMs
) -> Script[Cleaned | Uncleanable | None]:
    """Clean a log; None: it was changed under the cleaner's hands, and is as if nothing had been tried.

    map_bytes: what the `OffsetMap` may take (log.cleaner.dedupe.buffer.size).
    """
    try:
        return (yield from _Cleaning(found, OffsetMap(map_bytes), codecs, wall_ms).run())
    except Gone:
        return None
    except (CorruptRecord, StorageError) as error:
        return None if found.log.is_offline else Uncleanable(error)


@attrs.define(eq=False)
class _Cleaning:
    """One cleaning under way."""

    found: Survey
    offsets: OffsetMap
    codecs: Codecs
    wall_ms: WallMs
    _generation: int = 0
    _before: int = 0
    _after: int = 0

    @property
    def log(self) -> Log:
        return self.found.log

    def run(self) -> Script[Cleaned]:
        log = self.log
        self._generation = log.generation
        yield from self._index()
        end = self.offsets.end_offset
        sources = [segment for segment in log.closed_segments() if segment.base_offset < end]
        for group, group_end in groups(log, sources):
            yield from self._rewrite(group, group_end)
        self.check(())
        log.first_dirty_offset = end
        text = log_start_text(log.directory, end)
        yield from replace(File(f"{log.directory}/{CLEANED_UP_TO}"), text, log.attempt())
        return Cleaned(end, self._before, self._after)

    def check(self, segments: Sequence[Segment]) -> None:
        """Raise Gone if the segments are not there any more, not what they were, or somebody writes files of theirs."""
        log = self.log
        is_free = not (log.is_offline or log.is_truncating) and all(one.is_kept for one in segments)
        if not is_free or log.generation != self._generation or not log.has_segments(segments):
            raise Gone

    # ---- the dirty part ----------------------------------------------------------------------------

    def _index(self) -> Script[None]:
        """Take in the last offset of every key of the dirty part, or of as much of it as there is room for."""
        start, limit = self.found.first_dirty_offset, self.found.end_offset
        self.offsets.end_offset = start
        closed = self.log.closed_segments()
        for segment, end in zip(closed, _ends(self.log, closed), strict=True):
            if end > start and segment.base_offset < limit:
                position = segment.near(max(start, segment.base_offset))
                if not (yield from self._index_one(segment, position)):
                    return

    def _index_one(self, segment: Segment, position: int) -> Script[bool]:
        start, limit = self.found.first_dirty_offset, self.found.end_offset
        while position < segment.size_bytes:
            for batch, header in (yield from self._batches(segment, position)):
                if header.last_offset >= limit:
                    return False
                if header.last_offset >= start and not self.offsets.add(batch, header, self.codecs):
                    return False
                position += header.size_bytes
        return True

    # ---- copying -----------------------------------------------------------------------------------

    def _rewrite(self, group: Sequence[Segment], end: int) -> Script[None]:
        new = Segment(self.log.directory, group[0].base_offset, group[0].start)
        new.flags = group[0].flags | REWRITTEN
        new.file = File(new.file + CLEANED)
        new.modified_ms = max(segment.modified_ms for segment in group)
        ensure((yield Unlink(new.file)))
        self.check(group)
        try:
            is_changed = yield from self._copy(group, end, new)
            if is_changed:
                yield from swap(self.log, group, new, self)
                self._generation = self.log.generation
                yield from self.log.save_rewritten(new)
        except (Gone, CorruptRecord, StorageError):
            if new.file.endswith(CLEANED) and not self.log.is_offline:
                yield Unlink(new.file)  # if that fails, the next start removes it
            raise
        if not is_changed:
            ensure((yield Unlink(new.file)))
        self._before += sum(segment.size_bytes for segment in group)
        self._after += new.size_bytes

    def _copy(self, group: Sequence[Segment], end: int, new: Segment) -> Script[bool]:
        """Write what stays of the segments; say whether that is anything but one of them as it was."""
        is_changed = len(group) > 1
        for segment in group:
            position = 0
            while position < segment.size_bytes:
                batches = yield from self._batches(segment, position, group)
                position += sum(header.size_bytes for _, header in batches)
                kept: list[Buffer] = []
                at = new.size_bytes
                for batch, header in batches:
                    left = self._compacted(batch, header, is_last=header.last_offset + 1 == end)
                    is_changed = is_changed or left is None or (left is not batch and left != batch)
                    if left is not None:
                        kept.append(left)
                        self._account(new, left, header if left is batch else Header(left))
                if kept:
                    ensure((yield Write(new.file, at, kept)))
                    self.check(group)
        assert new.size_bytes > 0, "the last batch stays"
        return is_changed

    def _compacted(self, batch: memoryview, header: Header, *, is_last: bool) -> Buffer | None:
        keep = is_last or self.log.producers.is_last(header, self.log.durable_offset)
        retention_ms = self.log.config.delete_retention_ms
        return compact(
            batch, header, self.offsets, self.codecs, self.wall_ms, retention_ms, last_of_producer=keep
        )

    def _account(self, new: Segment, batch: Buffer, header: Header) -> None:
        if new.is_link_due():
            new.link(header.base_offset)
        interval = self.log.config.index_interval_bytes
        new.chain = chained(new.chain, batch)
        new.add(header.last_offset, header.size_bytes, header.max_timestamp, interval)

    # ---- reading -----------------------------------------------------------------------------------

    def _batches(self, segment: Segment, position: int, group: Sequence[Segment] = ()) -> Script[list[Batch]]:
        """Read and check whole batches from `position` on: STEP_BYTES of them, or one."""
        length = STEP_BYTES
        while True:
            loaded = yield Read(segment.file, position, min(length, segment.size_bytes - position))
            self.check(group or (segment,))
            ensure(loaded)
            assert isinstance(loaded, Loaded)
            view = memoryview(loaded.data)
            batches = _whole(view, position)
            if batches:
                return batches
            if len(view) < min(length, segment.size_bytes - position) or len(view) < HEADER_BYTES:
                raise CorruptRecord(position, f"{segment.file} is shorter than it was")
            length = size_at(view, 0)[1]
            if length > segment.size_bytes - position:
                raise CorruptRecord(position, f"{segment.file} ends inside a batch")


def groups(log: Log, sources: Sequence[Segment]) -> list[tuple[list[Segment], int]]:
    """Put neighbours together while they fit into one segment and its indexes; with each group, where it ends."""
    config = log.config
    found: list[tuple[list[Segment], int]] = []
    size = offsets = times = 0
    for segment, end in zip(sources, _ends(log, sources), strict=True):
        more = (segment.offset_bytes, segment.time_bytes)
        fits = (
            bool(found)
            and size + segment.size_bytes <= config.segment_bytes
            and offsets + more[0] <= config.segment_index_bytes
            and times + more[1] <= config.segment_index_bytes
            and end - 1 - found[-1][0][0].base_offset <= RELATIVE_OFFSET_MAX
        )
        if not fits:
            found.append(([], end))
            size = offsets = times = 0
        found[-1] = ([*found[-1][0], segment], end)
        size += segment.size_bytes
        offsets += more[0]
        times += more[1]
    return found


def _ends(log: Log, segments: Sequence[Segment]) -> list[int]:
    """Return where each of the segments, which lie one after the other, ends: where the next begins."""
    if not segments:
        return []
    return [segment.base_offset for segment in segments[1:]] + [log.end_of(segments[-1])]


def _whole(view: memoryview, position: int) -> list[Batch]:
    batches: list[Batch] = []
    at = 0
    while len(view) - at >= HEADER_BYTES:
        size = size_at(view, at)[1]
        if not HEADER_BYTES <= size <= BATCH_BYTES_MAX:
            raise CorruptRecord(position + at, f"a batch of {size} bytes")
        if at + size > len(view):
            break
        batch = view[at : at + size]
        batches.append((batch, check(batch)))
        at += size
    return batches
