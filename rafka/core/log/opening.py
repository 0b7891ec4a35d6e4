"""Opening a log: what its links vouch for is taken at their word, what lies after the last is read and checked.

In order: what a crash has left half done is undone or finished; the log start is read; then segment by segment, oldest
first, the last link of its chain says how far it is known. After a clean end that is all of it, after a crash at most
some megabytes are read. The link is held against what can be seen without reading batches: the file must be as
long as it says, begin where the segment before ended, and continue that one's chain.

The producers and the leader epochs at the last link are in files that it names. If one of these is not what the link
says, or cannot be read, everything is read: the batches have it all. A segment without links (of a log that Kafka or
an earlier version wrote, or a link that a power loss took) is read whole, and gets its files anew.

What was synced and is not there, or is not what it was, is never cut off: the log is offline, and says why.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import attrs

from rafka.core.config import LogConfig
from rafka.core.effects import Read, Unlink
from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.events import Entry, Loaded
from rafka.core.log.chain import (
    BEGINS_ANEW,
    CHAIN,
    INTERIM,
    LINK_BYTES,
    NO_PRODUCERS,
    REWRITTEN,
    UNKNOWN,
    Link,
    chained,
    decode,
)
from rafka.core.log.checkpoint import (
    CLEANED_UP_TO,
    EPOCHS,
    LOG_START,
    TEMPORARY,
    epochs_in,
    log_start_in,
)
from rafka.core.log.directory import belongs_to, content, discard, ensure, entries_of
from rafka.core.log.index import INDEX, TIME_INDEX
from rafka.core.log.producers import State
from rafka.core.log.recovery import keep, scan
from rafka.core.log.restored import Restored
from rafka.core.log.segment import SUFFIX, Segment, base_offset_of
from rafka.core.log.snapshot import SNAPSHOT, crc_of, states_in
from rafka.core.log.swap import finish
from rafka.core.log.upkeep import Upkeep
from rafka.core.machine import Outbox
from rafka.core.record.batch import Header
from rafka.core.script import Script
from rafka.core.types import File, Uuid

BESIDE = (INDEX, TIME_INDEX, CHAIN)
NEWEST_LINKS = 16
"""How many links are read at first; a crash spoils the last few, if any."""


@attrs.define(eq=False)
class _Found:
    """A segment's file as it was found. link: the last that says how far it is synced; None: there is none."""

    base_offset: int
    size_bytes: int
    link: Link | None
    links: int
    """How many there are, up to that one; 0: all batches are to be read."""
    has_files: bool
    """Whether there is anything beside the batches."""


class _Untrusted(Exception):
    """A file that a link names is not what it says: everything must be read."""


class Opening(Upkeep):
    """A log as it is opened."""

    __slots__ = ("_checkpointed_start", "_known_offset", "_proof")

    def __init__(
        self,
        directory: File,
        out: Outbox,
        config: LogConfig,
        identity: tuple[Uuid, int],
        restored: Restored | None = None,
    ) -> None:
        super().__init__(directory, out, config, identity, restored)
        self._checkpointed_start = 0
        self._known_offset = 0
        """Where the producers that a snapshot has are to be added to."""
        self._proof: _Found | None = None
        """The segment whose link has said whose directory it is: it was read already."""

    def recover(self) -> Script[None]:
        """Open the log: what is not known to be whole is checked, a torn tail cut off, and what is kept made durable.

        If it cannot be opened, failed is KAFKA_STORAGE_ERROR and is_offline true, and a note says why.
        """
        try:
            yield from self._recover()
        except (CorruptRecord, StorageError) as error:
            self.failed = ErrorCode.KAFKA_STORAGE_ERROR
            self.is_offline = True
            self._out.note("error", "log offline", log=self.directory, reason=str(error))

    def _recover(self) -> Script[None]:
        entries = yield from entries_of(self.directory)
        if entries is None:
            return
        if not (yield from self._is_ours(entries)):
            yield from discard(self.directory, self.identity[0])  # another topic had this name
            return
        yield from self._remove(entry.name for entry in entries if entry.name.endswith(TEMPORARY))
        if (yield from finish(self.directory, entries)):
            entries = (yield from entries_of(self.directory)) or []
            self._proof = None
        sizes = {entry.name: entry.size for entry in entries if not entry.is_dir}
        start = yield from self._offset_in(LOG_START, sizes)
        cleaned_up_to = yield from self._offset_in(CLEANED_UP_TO, sizes)
        self.first_dirty_offset = -1 if cleaned_up_to is None else cleaned_up_to
        bases = yield from self._bases(sizes, start)
        if not bases and start is None:
            return  # an empty directory is made and synced again: it may not be durable
        self._directory_made = True
        if start is not None and bases and bases[0] > start:
            raise CorruptRecord(0, f"offsets {start} to {bases[0]} are missing")
        yield from self._read_all(bases, sizes, start or 0)
        if start is not None and start > self.log_end_offset:  # all was to go, or the tail is lost: flush=os
            states = yield from self._snapshot_of(start, sizes, None)
            yield from self._remove(_names(bases))
            self._forget(start, states or {})
        self.log_start_offset = max(self.log_start_offset, start or 0)
        self._opened()
        self._date(entries)

    def _is_ours(self, entries: Sequence[Entry]) -> Script[bool]:
        """Say whether the directory is that of this topic: a link in it is proof, else it is written there."""
        for entry in reversed(entries):
            base = base_offset_of(entry.name, CHAIN)
            if base is not None:
                found = yield from self._found(base, {entry.name: entry.size, _name(base, SUFFIX): 0})
                if found.link is not None:
                    self._proof = found
                    return True
                break
        return (yield from belongs_to(self.directory, entries, self.identity[0]))

    def _offset_in(self, name: str, sizes: dict[str, int]) -> Script[int | None]:
        if name not in sizes:
            return None
        file = File(f"{self.directory}/{name}")
        offset = log_start_in((yield from content(file, sizes[name])))
        if offset is None:
            self._out.note("warning", "checkpoint ignored", file=file)
        return offset

    def _bases(self, sizes: dict[str, int], start: int | None) -> Script[list[int]]:
        """Pick the segments in order; remove what should have gone before the crash."""
        found = (base_offset_of(name) for name in sizes)
        bases = sorted(base for base in found if base is not None)
        gone = {base for base, following in pairwise(bases) if following <= (start or 0)}
        yield from self._remove(_names(gone))
        bases = [base for base in bases if base not in gone]
        for suffix in BESIDE:
            besides = ((name, base_offset_of(name, suffix)) for name in sizes if name.endswith(suffix))
            lone = [name for name, base in besides if base is not None and base not in bases]
            yield from self._remove(lone)
        return bases

    # ---- the segments ------------------------------------------------------------------------------

    def _read_all(self, bases: Sequence[int], sizes: dict[str, int], start: int) -> Script[None]:
        found: list[_Found] = []
        for base in bases:
            found += [(yield from self._found(base, sizes))]
        self._check_sizes(found)
        try:
            yield from self._start_from(found, sizes, start)
        except _Untrusted as error:
            self._out.note("warning", "log is read whole", log=self.directory, reason=str(error))
            for one in found:
                one.links = 0
            yield from self._start_anew(found, sizes, start)
        self.log_start_offset = self.log_end_offset = bases[0] if bases else start
        for one, following in zip(found, [*found[1:], None], strict=False):  # there may be none
            yield from self._read_one(one, following)
        yield from self._remove_snapshots(sizes, start)

    def _found(self, base: int, sizes: dict[str, int]) -> Script[_Found]:
        """Look for the last link of a segment."""
        size_bytes = sizes[_name(base, SUFFIX)]
        if self._proof is not None and self._proof.base_offset == base:
            proof, self._proof = self._proof, None
            proof.size_bytes = size_bytes
            return proof
        has_files = any(_name(base, suffix) in sizes for suffix in BESIDE)
        count = sizes.get(_name(base, CHAIN), 0) // LINK_BYTES
        first = max(0, count - NEWEST_LINKS)
        while count:
            file = self._file(base, CHAIN)
            loaded = yield Read(file, first * LINK_BYTES, (count - first) * LINK_BYTES)
            ensure(loaded)
            assert isinstance(loaded, Loaded)
            links = decode(loaded.data, self.seed, base)
            for index in range(len(links) - 1, -1, -1):
                link = links[index]
                if link is not None and not link.flags & INTERIM:
                    return _Found(base, size_bytes, link, first + index + 1, has_files)
            if first == 0:
                break
            first = 0
        return _Found(base, size_bytes, None, 0, has_files)

    def _check_sizes(self, found: Sequence[_Found]) -> None:
        """Raise CorruptRecord if something is not there that was synced."""
        for one in found:
            link = one.link
            if link is not None and link.position > one.size_bytes:
                file = self._file(one.base_offset, SUFFIX)
                raise CorruptRecord(one.size_bytes, f"{file}: {link.position} bytes were synced")
            if link is not None and one is not found[-1] and link.position < one.size_bytes:
                one.links = 0  # its last link is lost: it has ended, so it is read whole

    def _read_one(self, found: _Found, following: _Found | None) -> Script[None]:
        former = self.segments[-1] if self.segments else None
        if former is not None and found.base_offset != self.log_end_offset:
            raise CorruptRecord(0, f"offsets {self.log_end_offset} to {found.base_offset} are missing")
        segment = Segment(self.directory, found.base_offset)
        self._chain_on(former, segment, found.link)
        self.segments.append(segment)
        if found.link is not None and found.links:
            segment.resume(found.link, found.links)
            segment.is_kept = following is not None
            self.tail.cut(0)
            self.log_end_offset = found.link.end_offset
        elif found.has_files:
            yield from self._remove(_name(found.base_offset, suffix) for suffix in BESIDE)
        if segment.size_bytes < found.size_bytes or not found.links:
            yield from self._scan(segment, found.size_bytes, is_last=following is None)
        if found.link is not None and not found.links:
            self._check_chain(segment, found.link)
        if following is not None and not segment.is_kept:
            if found.link is None and following.link is not None and following.link.start != segment.chain:
                segment.flags |= REWRITTEN
            self._to_save.append(self._mark(segment, self.log_end_offset, is_end=True))
            yield from self._save_all()

    def _chain_on(self, former: Segment | None, segment: Segment, link: Link | None) -> None:
        """Let a segment's chain begin where the one before has ended, and hold its link against that."""
        if link is not None:
            segment.start = link.start
            segment.flags = link.flags
            if former is not None and link.start != former.chain and not _is_broken_chain(former, link):
                raise CorruptRecord(0, f"{segment.file} does not continue {former.file}")
        elif former is not None:
            segment.start = former.chain
        else:
            segment.start = self.seed
            segment.flags = BEGINS_ANEW if segment.base_offset else 0
        segment.chain = segment.start

    def _check_chain(self, segment: Segment, link: Link) -> None:
        """Hold a segment that was read whole against its last link."""
        if segment.size_bytes == link.position and segment.chain != link.chain:
            raise CorruptRecord(0, f"{segment.file} holds other batches than were written")

    def _scan(self, segment: Segment, size_bytes: int, *, is_last: bool) -> Script[None]:
        next_offset = max(segment.base_offset, self.log_end_offset)
        broken = yield from scan(segment, size_bytes, next_offset, self._take, again=is_last)
        if broken is not None and not is_last:
            raise CorruptRecord(broken.position, f"{segment.file}: {broken.reason}")
        if broken is not None:
            fields = {"file": segment.file, "position": broken.position, "reason": broken.reason}
            self._out.note("warning", "torn tail cut off", log_end_offset=self.log_end_offset, **fields)
        if is_last:
            yield from keep(segment, self.directory, cut=broken is not None)

    def _take(self, segment: Segment, header: Header, batch: memoryview) -> None:
        if segment.is_link_due():
            segment.link(self.log_end_offset)
        position = self._account(segment, header, header.last_offset)
        segment.chain = chained(segment.chain, batch)
        if header.base_offset > self.log_end_offset:
            self.tail.cut(0)  # compaction has left a gap: an offset in it is in the batch after
        self.tail.add(header.base_offset, position)
        self.epochs.begin(header.leader_epoch, header.base_offset)
        if header.base_offset >= self._known_offset:
            self.producers.update(header, header.base_offset, header.max_timestamp)
            self.producers.keep(header.last_offset + 1)
        self.log_end_offset = header.last_offset + 1

    # ---- what the last link names ------------------------------------------------------------------

    def _start_from(self, found: Sequence[_Found], sizes: dict[str, int], start: int) -> Script[None]:
        """Begin with the producers and the leader epochs at the last link. Raises _Untrusted."""
        link = None
        for one in reversed(found):
            if one.links and one.link is not None:
                if one.link.snapshot_offset != UNKNOWN:
                    link = one.link
                    break
                one.links = 0
        if link is None:
            yield from self._start_anew(found, sizes, start)
            return
        self._known_offset = link.end_offset
        if link.snapshot_offset != NO_PRODUCERS:
            states = yield from self._snapshot_of(link.snapshot_offset, sizes, link.snapshot_crc)
            if states is None:
                raise _Untrusted(f"{self._file(link.snapshot_offset, SNAPSHOT)} is not what it was")
            self.producers.become(states)
        self._snapshot = (link.snapshot_offset, link.snapshot_crc)
        yield from self._read_epochs(link, sizes, max(start, found[0].base_offset))

    def _start_anew(self, found: Sequence[_Found], sizes: dict[str, int], start: int) -> Script[None]:
        """Begin with the producers that were there before the first batch, as far as is known."""
        self._known_offset = 0
        self._snapshot = (NO_PRODUCERS, 0)
        self.epochs.cut(0)
        first = found[0].base_offset if found else start
        states = None
        if start > first:  # what is below it was to go
            states = yield from self._snapshot_of(start, sizes, None)
        if states is not None:
            self._known_offset = start
        else:
            states = yield from self._snapshot_of(first, sizes, None)
        self.producers.become(states or {})
        self.producers.is_changed = bool(states)

    def _snapshot_of(
        self, offset: int, sizes: dict[str, int], crc: int | None
    ) -> Script[dict[int, State] | None]:
        name = _name(offset, SNAPSHOT)
        if name not in sizes:
            return None
        data = yield from content(self._file(offset, SNAPSHOT), sizes[name])
        states = states_in(data)
        return states if states is not None and crc in (None, crc_of(data)) else None

    def _read_epochs(self, link: Link, sizes: dict[str, int], start: int) -> Script[None]:
        entries = None
        if EPOCHS in sizes:
            entries = epochs_in((yield from content(File(f"{self.directory}/{EPOCHS}"), sizes[EPOCHS])))
        if entries is not None:
            self._epochs_saved = entries
            self.epochs.entries = list(entries)
            self.epochs.cut(link.end_offset)
        if link.epoch_start <= start:  # it is the only one
            self.epochs.entries = [(link.epoch, link.epoch_start)] if link.epoch >= 0 else []
        elif self.epochs.entries[-1:] != [(link.epoch, link.epoch_start)]:
            raise _Untrusted(f"{self.directory}/{EPOCHS} is not what it was")

    def _remove_snapshots(self, sizes: dict[str, int], start: int) -> Script[None]:
        """Remove the snapshots that nothing names any more."""
        named = {segment.base_offset for segment in self.segments} | {self._snapshot[0], start}
        offsets = ((name, base_offset_of(name, SNAPSHOT)) for name in sizes)
        yield from self._remove(name for name, at in offsets if at is not None and at not in named)

    # ---- the end of it -----------------------------------------------------------------------------

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
            segment.modified_ms = modified_ms.get(_name(segment.base_offset, SUFFIX), -1)

    def _place_end(self) -> None:
        """Take all that is in memory for written."""
        has_any = bool(self.segments) and self.segments[0].base_offset < self.written_offset
        self._written_position = self._segment_before(self.written_offset).size_bytes if has_any else 0
        if self.segments:
            self._written_chain = self.segments[-1].chain

    def _forget(self, offset: int, states: dict[int, State]) -> None:
        """Become an empty log at `offset`, of which only is known what producers did."""
        self.segments.clear()
        self.tail.cut(0)
        self.producers.become(states)
        self.producers.is_changed = True
        self.epochs.cut(0)
        self.log_start_offset = self.log_end_offset = offset

    def _remove(self, names: Iterable[str]) -> Script[None]:
        for name in names:
            ensure((yield Unlink(File(f"{self.directory}/{name}"))))


def _is_broken_chain(former: Segment, link: Link) -> bool:
    """Whether it is known that a segment does not continue the one before it."""
    return bool(former.flags & REWRITTEN or link.flags & BEGINS_ANEW)


def _name(base_offset: int, suffix: str) -> str:
    return f"{base_offset:020d}{suffix}"


def _names(bases: Iterable[int]) -> list[str]:
    return [_name(base, suffix) for base in bases for suffix in (SUFFIX, *BESIDE)]
