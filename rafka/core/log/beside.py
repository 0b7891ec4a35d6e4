"""Reading a segment's batches in order, and what is kept beside them: never used before it is checked.

The indexes and links of a segment that was not searched lately are in files only. They come back whole or not at all:
each file must be byte for byte what the last link says (see `chain.py`); if it is not, all three are made anew from the
batches, with a note. Batches that this process has neither written nor checked are held against the chain before any
of them is given to a reader, from link to link and once for each: CRC, place and order. What does not agree is
CORRUPT_MESSAGE.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable
from errno import ENOENT

from rafka.core.config import LogConfig
from rafka.core.effects import Read, SyncDir, Unlink
from rafka.core.errors import CorruptRecord
from rafka.core.events import Failed, Loaded
from rafka.core.log.append import Appender
from rafka.core.log.chain import CHAIN, LINK_BYTES, chained, decode
from rafka.core.log.directory import ensure
from rafka.core.log.index import (
    INDEX,
    OFFSET_ENTRY_BYTES,
    TIME_ENTRY_BYTES,
    TIME_INDEX,
    is_sound,
    offsets_in,
    times_in,
)
from rafka.core.log.restored import Restored
from rafka.core.log.segment import UNBOUNDED, Segment
from rafka.core.machine import Outbox
from rafka.core.record.batch import HEADER_BYTES, LENGTH_OVERHEAD, MAGIC, Header, check, size_at
from rafka.core.script import Script
from rafka.core.types import File, Uuid

LOOKUP_BYTES = 16 << 10
CHECK_BYTES = 128 << 10
"""How much is checked between two answers of the disk; a single batch may be larger."""


class Moved(Exception):
    """What was being read is no longer there; search again."""


class Beside(Appender):
    """A log as it is read back."""

    __slots__ = ("is_swapping",)

    def __init__(
        self,
        directory: File,
        out: Outbox,
        config: LogConfig,
        identity: tuple[Uuid, int],
        restored: Restored | None = None,
    ) -> None:
        super().__init__(directory, out, config, identity, restored)
        self.is_swapping = False
        """Whether a segment is taking the place of others, on disk."""

    # ---- batches -----------------------------------------------------------------------------------

    def _walk(
        self, segment: Segment, position: int, wanted: Callable[[Header], bool]
    ) -> Script[tuple[int, Header] | None]:
        """Read the headers of written batches from `position` on, up to one that is wanted."""
        limit = 0
        while position < (end := self._written_end(segment)):
            if position >= limit:
                limit = yield from self._checked(segment, position)
            data = yield from self._read(
                segment, position, min(LOOKUP_BYTES, end - position, limit - position)
            )
            at = 0
            while at + HEADER_BYTES <= len(data):
                header = Header(data, at)
                is_sound = header.magic == MAGIC and header.length >= HEADER_BYTES - LENGTH_OVERHEAD
                if not is_sound or header.base_offset < segment.base_offset:
                    raise CorruptRecord(position + at, "no batch header")
                if wanted(header):
                    return position + at, header
                at += header.size_bytes
            if at == 0:
                raise CorruptRecord(position, "the file ends inside a batch header")
            position += at
        return None

    def _read(self, segment: Segment, position: int, length: int) -> Script[bytes]:
        while segment.is_moving:
            yield Read(segment.file, 0, 1)  # whatever comes of it, it comes after the rename
        generation, file = self._generation, segment.file
        loaded = yield Read(file, position, length)
        is_here = bool(self.segments) and self._segment_of(segment.base_offset) is segment
        if not is_here or generation != self._generation or segment.file != file:
            raise Moved
        ensure(loaded)
        assert isinstance(loaded, Loaded)
        return loaded.data

    def _written_end(self, segment: Segment) -> int:
        """Return up to where a segment's file is written."""
        if not self.segments:
            raise Moved  # retention, or a deletion, has taken all of them
        if segment.base_offset >= self.written_offset:
            return 0
        is_newest = segment is self._segment_before(self.written_offset)
        return self._written_position if is_newest else segment.size_bytes

    def _each(
        self, segment: Segment, position: int, end: int, take: Callable[[Header, memoryview], None]
    ) -> Script[None]:
        """Check every batch from `position` to `end`, which is a batch's, and give it to `take`."""
        length = CHECK_BYTES
        while position < end:
            data = memoryview((yield from self._read(segment, position, min(length, end - position))))
            used = 0
            while used + HEADER_BYTES <= len(data):
                size = size_at(data, used)[1]
                if len(data) < used + size <= end - position:
                    break
                take(check(data, used), data[used : used + size])
                used += size
            if used == 0 and len(data) < min(length, end - position):
                raise CorruptRecord(position, "the file is shorter than it was")
            if used == 0 and len(data) == end - position:
                raise CorruptRecord(position, "no whole batch is left")
            length = CHECK_BYTES if used else size_at(data, 0)[1]
            position += used

    # ---- held against the chain --------------------------------------------------------------------

    def _checked(self, segment: Segment, position: int) -> Script[int]:
        """Return up to where a segment may be read from `position` on; what was not checked before is, to a link.

        Raises CorruptRecord: the batches are not those that were written.
        """
        if position >= segment.trusted_from:
            return UNBOUNDED
        yield from self._restore(segment)
        index = bisect_right(segment.link_positions, position)
        end = segment.link_positions[index]
        if not segment.checked >> index & 1:
            yield from self._check_to_link(segment, index)
            segment.checked |= 1 << index
        while segment.is_restored and segment.checked >> (index + 1) & 1:
            index += 1
            end = segment.link_positions[index]
        return end

    def _check_to_link(self, segment: Segment, index: int) -> Script[None]:
        start, chain = 0, segment.start
        if index > 0:
            start, chain = segment.link_positions[index - 1], segment.link_chains[index - 1]
        end, expected = segment.link_positions[index], segment.link_chains[index]

        def take(header: Header, batch: memoryview) -> None:
            nonlocal chain
            del header
            chain = chained(chain, batch)

        try:
            yield from self._each(segment, start, end, take)
            _agree(chain, expected, start)
        except CorruptRecord as error:
            fields = {"file": segment.file, "position": error.position, "reason": error.reason}
            self._out.note("error", "corrupt batches", **fields)
            raise

    def _chain_before(self, segment: Segment, position: int) -> Script[int]:
        """Return the chain before the batch at `position`."""
        yield from self._restore(segment)
        index = bisect_right(segment.link_positions, position) - 1
        start, chain = 0, segment.start
        if index >= 0:
            start, chain = segment.link_positions[index], segment.link_chains[index]

        def take(header: Header, batch: memoryview) -> None:
            nonlocal chain
            del header
            chain = chained(chain, batch)

        yield from self._each(segment, start, position, take)
        return chain

    # ---- the files beside --------------------------------------------------------------------------

    def _restore(self, segment: Segment) -> Script[None]:
        """Have the whole indexes and all links of a segment in memory, for as long as nobody else needs the room."""
        while not segment.is_restored:
            link, count = segment.saved, segment.links_saved
            assert link is not None
            entries = yield from self._content(segment, INDEX, link.index_entries * OFFSET_ENTRY_BYTES)
            times = yield from self._content(segment, TIME_INDEX, link.time_entries * TIME_ENTRY_BYTES)
            links = links_in(
                (yield from self._content(segment, CHAIN, count * LINK_BYTES)), self.seed, segment
            )
            if segment.saved is not link or segment.is_restored:
                continue  # it has grown meanwhile
            is_whole = (
                is_sound(entries, link.index_entries * OFFSET_ENTRY_BYTES, link.index_crc)
                and is_sound(times, link.time_entries * TIME_ENTRY_BYTES, link.time_crc)
                and links is not None
                and len(links[0]) == count
            )
            if is_whole and links is not None:
                segment.restore(offsets_in(entries), times_in(times), links)
            else:
                yield from self._make_anew(segment)
        self._restored.use(segment)

    def _content(self, segment: Segment, suffix: str, size_bytes: int) -> Script[bytes]:
        """Read the beginning of a file; nothing if it is not there."""
        if size_bytes == 0:
            return b""
        generation = self._generation
        loaded = yield Read(self._beside(segment, suffix), 0, size_bytes)
        if generation != self._generation:
            raise Moved
        if isinstance(loaded, Failed) and loaded.errno == ENOENT:
            return b""
        ensure(loaded)
        assert isinstance(loaded, Loaded)
        return loaded.data

    def _make_anew(self, segment: Segment) -> Script[None]:
        """Make indexes and links from the batches, as far as they were saved."""
        link = segment.saved
        assert link is not None
        self._out.note("warning", "indexes made anew", file=segment.file)
        made = Segment(self.directory, segment.base_offset, segment.start)
        next_offset = segment.base_offset

        def take(header: Header, batch: memoryview) -> None:
            nonlocal next_offset
            if made.is_link_due():
                made.link(next_offset)
            self._account(made, header, header.last_offset)
            made.chain = chained(made.chain, batch)
            next_offset = header.last_offset + 1

        yield from self._each(segment, 0, link.position, take)
        _agree(made.chain, link.chain, 0)
        while self._is_saving or self.is_swapping:
            yield SyncDir(self.directory)  # whatever comes of it, something was saved meanwhile
        if not self.segments or self._segment_of(segment.base_offset) is not segment:
            raise Moved  # another has its names now
        if segment.saved is not link or segment.is_restored:
            return
        made.mark_time()
        made.link(link.end_offset)
        segment.checked = (1 << len(made.link_positions)) - 1
        segment.restore(
            (made.offsets, made.positions),
            (made.times, made.time_offsets),
            (made.link_positions, made.link_offsets, made.link_chains),
        )
        is_kept = segment.is_kept
        segment.unsave()
        for suffix in (CHAIN, INDEX, TIME_INDEX):
            ensure((yield Unlink(self._beside(segment, suffix))))
        if is_kept:
            self._to_save.append(self._mark(segment, link.end_offset, is_end=True, is_newest=False))
            yield from self._save_all()


def _agree(chain: int, expected: int, position: int) -> None:
    if chain != expected:
        raise CorruptRecord(position, "other batches than were written")


def links_in(data: bytes, seed: int, segment: Segment) -> "tuple[array[int], array[int], array[int]] | None":
    """Read all links of a segment as positions, relative offsets and chains; None: one is not what was written."""
    positions, offsets, chains = array("I"), array("I"), array("Q")
    for link in decode(data, seed, segment.base_offset):
        if link is None:
            return None
        positions.append(link.position)
        offsets.append(link.end_offset - segment.base_offset)
        chains.append(link.chain)
    return positions, offsets, chains
