"""Reading a log's batches when it is opened, each checked, and the longest prefix that is whole kept.

A segment is begun only once the one before it is synced whole. So a batch that fails its checks in the last
segment is what a crash tore, and is cut off, with a warning that says how much; in an earlier segment it is
damage to what was promised, and the log is not opened: CorruptRecord, never a silent cut.

What is read in the last segment is written again, byte for byte, before it is synced. A process before us may have
had a sync fail: then the kernel may take pages for clean that never reached the disk, and a sync alone would say
yes to what a power loss takes away (fsyncgate).
"""

from collections.abc import Callable

from rafka.core.effects import Read, Sync, SyncDir, Truncate, Write
from rafka.core.errors import CorruptRecord
from rafka.core.events import Loaded
from rafka.core.log.directory import ROOT, ensure
from rafka.core.log.segment import RELATIVE_OFFSET_MAX, Segment
from rafka.core.record.batch import HEADER_BYTES, Header, check, size_at
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, File

READ_BYTES = 1 << 20
BATCH_BYTES_MAX = 1 << 30
"""A length beyond this is damage: it is not worth a read."""

Take = Callable[[Segment, Header, memoryview], None]


def scan(
    segment: Segment, end: int, next_offset: int, take: Take, *, again: bool
) -> Script[CorruptRecord | None]:
    """Check and take a segment's batches from where it ends now; say what ended that before the end of the file.

    end: the size of the file. next_offset: no batch may begin below it. again: write what was taken again.
    """
    length = READ_BYTES
    while (position := segment.size_bytes) < end:
        length = min(length, end - position)
        loaded = yield Read(segment.file, position, length)
        ensure(loaded)
        assert isinstance(loaded, Loaded)
        view = memoryview(loaded.data)
        broken, used = None, 0
        try:
            while (size := _size_within(view, used)) is not None:
                batch = view[used : used + size]
                header = check(batch)
                _in_order(header, segment, next_offset)
                next_offset = header.last_offset + 1
                take(segment, header, batch)
                used += size
            if used == 0:
                length = _longer(view, end - position)
        except CorruptRecord as error:
            broken = CorruptRecord(segment.size_bytes, error.reason)
        if used and again:
            ensure((yield Write(segment.file, position, [view[:used]])))
        if broken is not None:
            return broken
        length = length if used == 0 else READ_BYTES
    return None


def keep(segment: Segment, directory: File, *, cut: bool) -> Script[None]:
    """Make what was found in the last segment durable, name and bytes, before anything is promised from it.

    A segment that has a link has a durable name: the link was written after that.
    """
    if cut:
        ensure((yield Truncate(segment.file, segment.size_bytes)))
    ensure((yield Sync(segment.file, NO_ANSWER)))
    if segment.saved is None:
        ensure((yield SyncDir(directory)))
        ensure((yield SyncDir(ROOT)))


def _in_order(header: Header, segment: Segment, next_offset: int) -> None:
    """Raise CorruptRecord if a batch lies where a later one is due: a stale or misdirected write.

    No CRC covers the offset: damage may also have made it larger than a segment can hold.
    """
    far = header.last_offset - segment.base_offset > RELATIVE_OFFSET_MAX
    if header.base_offset < next_offset or far:
        raise CorruptRecord(0, f"offset {header.base_offset} where {next_offset} is due")


def _size_within(view: memoryview, at: int) -> int | None:
    """Return the size of the batch at `at` if all of it is in `view`."""
    if len(view) - at < HEADER_BYTES:
        return None
    size = size_at(view, at)[1]
    if not HEADER_BYTES <= size <= BATCH_BYTES_MAX:
        raise CorruptRecord(at, f"a batch of {size} bytes")
    return size if at + size <= len(view) else None


def _longer(view: memoryview, left: int) -> int:
    """Return how much to read to have the first batch whole; `left`: what there is of the file."""
    size = size_at(view, 0)[1] if len(view) >= HEADER_BYTES else HEADER_BYTES
    if size > left or len(view) >= size:
        raise CorruptRecord(0, "the file ends inside a batch")
    return size
