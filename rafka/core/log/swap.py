"""Putting one new segment in the place of several old ones, so that a crash at any moment leaves either.

    1  the new segment is written as <base>.log.cleaned and synced; what a crash leaves of it is worth nothing
    2  it is renamed to <base>.log.swap, and the directory is synced: from here on the new one counts
    3  in memory it takes the place of the old ones, under the name it has
    4  the old files are renamed to <name>.deleted, or removed, and the directory is synced
    5  it is renamed to <base>.log, and the directory is synced

A file that is renamed has, for a while, a name that nobody can be sure of. So in step 4 nobody reads the old files
any more, and before step 5 the segment is marked as moving: searches wait, and places found before are void.
What was sent or asked for earlier is not touched, for it holds the file and not the name.

The names and their order are Kafka's (`LocalLog.replaceSegments`), and `finish` decides as Kafka's `LogLoader` does.
Nothing is assumed of the order in which names become durable between two syncs of the directory.
"""

from collections.abc import Sequence
from typing import Protocol

from rafka.core.effects import Read, Rename, Sync, SyncDir, Unlink
from rafka.core.errors import CorruptRecord
from rafka.core.events import Entry, Loaded
from rafka.core.log.directory import ensure
from rafka.core.log.segment import SUFFIX, Segment, base_offset_of
from rafka.core.record.batch import HEADER_BYTES, Header
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, File

CLEANED, SWAP, DELETED = ".cleaned", ".swap", ".deleted"
_SUFFIXES = (SUFFIX, ".index", ".timeindex", ".txnindex", ".chain", ".snapshot")
WALK_BYTES = 64 << 10


class Owner(Protocol):
    """The log in which a segment takes the place of others."""

    directory: File
    is_swapping: bool

    def replace(self, old: Sequence[Segment], new: Segment) -> None:
        """Let `new` be read instead of `old`, which lie one after the other."""

    def move(self, segment: Segment) -> None:
        """Make void what readers know of the segment's file."""

    def doom(self, files: Sequence[File]) -> None:
        """Remove files after file.delete.delay.ms."""


class Gone(Exception):
    """What was to be replaced is no longer there, or no longer what it was."""


def swap(log: Owner, old: Sequence[Segment], new: Segment, still: "Still") -> Script[None]:
    """Do steps 2 to 5 with `new`, whose file ends in `.cleaned` and is written. Raises StorageError, Gone.

    still: raises Gone when the old segments may not be replaced any more; then what was begun is undone.
    """
    ensure((yield Sync(new.file, NO_ANSWER)))
    still.check(old)
    final = File(new.file.removesuffix(CLEANED))
    log.is_swapping = True
    try:
        yield from _commit(log, old, new, still)
        yield from _clear(log, old)
        log.move(new)
        ensure((yield SyncDir(log.directory)))
        ensure((yield Rename(new.file, final)))
        new.file = final
        new.is_moving = False
        ensure((yield SyncDir(log.directory)))
    finally:
        new.is_moving = False
        log.is_swapping = False


class Still(Protocol):
    """Knows whether segments are still what they were when the work began."""

    def check(self, segments: Sequence[Segment]) -> None:
        """Raise Gone if not."""


def _commit(log: Owner, old: Sequence[Segment], new: Segment, still: Still) -> Script[None]:
    swapped = File(new.file.removesuffix(CLEANED) + SWAP)
    ensure((yield Rename(new.file, swapped)))
    new.file = swapped
    ensure((yield SyncDir(log.directory)))
    try:
        still.check(old)
    except Gone:
        ensure((yield Unlink(swapped)))
        ensure((yield SyncDir(log.directory)))
        raise
    log.replace(old, new)


def _clear(log: Owner, old: Sequence[Segment]) -> Script[None]:
    """Give up the names of the old files, but for the first producer snapshot: what precedes it is unchanged."""
    doomed = []
    for segment in reversed(old):
        deleted = File(segment.file + DELETED)
        ensure((yield Rename(segment.file, deleted)))
        doomed.append(deleted)
        for suffix in _SUFFIXES[1:]:
            if suffix != ".snapshot" or segment is not old[0]:
                ensure((yield Unlink(_file(log.directory, segment.base_offset, suffix))))
    log.doom(doomed)


# ---- after a crash -----------------------------------------------------------------------------------


def finish(directory: File, entries: Sequence[Entry]) -> Script[bool]:
    """Undo the replacements that a crash found before step 2 was durable, complete the others.

    False: there was nothing to do; else the directory must be listed anew. Raises StorageError, CorruptRecord.
    """
    names = [entry.name for entry in entries if not entry.is_dir]
    cleaned = [name for name in names if name.endswith(CLEANED)]
    swaps = [name for name in names if name.endswith(SWAP)]
    deleted = [name for name in names if name.endswith(DELETED)]
    least = min((_base_of(name) for name in cleaned), default=None)
    undone = [name for name in swaps if least is not None and _base_of(name) >= least]
    if not (cleaned or swaps or deleted):
        return False
    yield from _remove(directory, deleted)
    yield from _remove(directory, undone)  # before .cleaned, which says that they are to be undone
    yield from _remove(directory, cleaned)
    for name in sorted(name for name in swaps if name not in undone):
        yield from _complete(directory, name, names)
    return True


def _complete(directory: File, name: str, names: Sequence[str]) -> Script[None]:
    """Let a `.swap` replace what it holds; its indexes, which Kafka would have left, are made anew."""
    plain = name.removesuffix(SWAP)
    file = File(f"{directory}/{name}")
    base = base_offset_of(plain)
    if base is None:
        yield from _remove(directory, [name])
        return
    end = yield from _end_offset(file, base)
    replaced = [other for other in names if (at := _plain_base(other)) is not None and base <= at < end]
    kept = f"{base:020d}.snapshot"
    yield from _remove(directory, [other for other in replaced if other != kept])
    ensure((yield Rename(file, File(f"{directory}/{plain}"))))
    ensure((yield SyncDir(directory)))


def _remove(directory: File, names: Sequence[str]) -> Script[None]:
    for name in names:
        ensure((yield Unlink(File(f"{directory}/{name}"))))
    if names:
        ensure((yield SyncDir(directory)))


def _end_offset(file: File, base: int) -> Script[int]:
    """Return the offset after the last batch of a synced file, from the headers."""
    position, end = 0, base
    while True:
        loaded = yield Read(file, position, WALK_BYTES)
        ensure(loaded)
        assert isinstance(loaded, Loaded)
        at = 0
        while at + HEADER_BYTES <= len(loaded.data):
            header = Header(loaded.data, at)
            if header.length <= 0 or header.base_offset < end:
                raise CorruptRecord(position + at, f"{file}: no batch header")
            end = header.last_offset + 1
            at += header.size_bytes
        if at == 0 and loaded.data:
            raise CorruptRecord(position, f"{file} ends inside a batch header")
        if not loaded.data:
            return end
        position += at


def _base_of(name: str) -> int:
    """Return the offset in the name of a temporary file; -1 for one that has none."""
    digits = name.partition(".")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else -1


def _plain_base(name: str) -> int | None:
    """Return the offset in the name of a file of a segment that is in use."""
    for suffix in _SUFFIXES:
        base = base_offset_of(name, suffix)
        if base is not None:
            return base
    return None


def _file(directory: File, base_offset: int, suffix: str) -> File:
    return File(f"{directory}/{base_offset:020d}{suffix}")
