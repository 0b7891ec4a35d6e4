"""Looking at a log's directory as it lies there, and changing nothing: what is in it, and what of it is damaged.

Every batch of every segment is read and checked, in order, as opening a log does for what it does not trust. Besides,
whatever stands beside the segments is held against them: the links of a chain against the batches, the indexes
against the links, snapshots and checkpoints against their own checksums and form.

Damage is what the broker would refuse to open or to serve. A notice is what it repairs by itself when it opens the
log: a torn tail, a file beside a segment that can be made anew. Directories that Kafka wrote have no chain: then
there is only the batches' own CRC to go by.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from rafka.core.errors import CorruptRecord
from rafka.core.log.chain import (
    BEGINS_ANEW,
    CHAIN,
    INTERIM,
    REWRITTEN,
    Link,
    chained,
    decode,
)
from rafka.core.log.chain import seed as seed_of
from rafka.core.log.checkpoint import EPOCHS, LOG_START, epochs_in, log_start_in
from rafka.core.log.directory import IDENTITY, content, entries_of, topic_id_in
from rafka.core.log.index import INDEX, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, TIME_INDEX, is_sound
from rafka.core.log.recovery import scan
from rafka.core.log.segment import SUFFIX, Segment, base_offset_of
from rafka.core.log.snapshot import SNAPSHOT, states_in
from rafka.core.record.batch import Header
from rafka.core.record.builder import records_of
from rafka.core.record.compression import Codecs
from rafka.core.script import Script
from rafka.core.shape import value
from rafka.core.types import File, Uuid

DAMAGE, NOTICE = "damage", "notice"

See = Callable[[str, int, Header, memoryview], None]
"""Is shown each batch: its file, its position in it, its header, and all of it."""


@value
class Finding:
    """Something that is not as it should be. kind: DAMAGE or NOTICE; position: a byte in the file, -1: all of it."""

    kind: str
    file: str
    position: int
    what: str


@attrs.define(eq=False)
class SegmentReport:
    """What a segment holds. end_offset: after its last batch; size_bytes: of the file."""

    file: str
    base_offset: int
    size_bytes: int
    end_offset: int
    batches: int = 0
    records: int = 0
    max_timestamp: int = -1
    whole_bytes: int = 0
    """Up to where the batches are whole, each in its place."""


@attrs.define(eq=False)
class Report:
    """What was found in one log's directory. topic_id: None where the directory does not say."""

    directory: str
    topic_id: Uuid | None = None
    segments: list[SegmentReport] = attrs.field(factory=list)
    findings: list[Finding] = attrs.field(factory=list)

    @property
    def is_damaged(self) -> bool:
        """Whether there is anything that the broker would not serve."""
        return any(finding.kind == DAMAGE for finding in self.findings)


def inspect(
    directory: File, partition: int, see: See | None = None, codecs: Codecs | None = None
) -> Script[Report | None]:
    """Inspect a log; None: there is no such directory. codecs: records are unpacked and read, too.

    Raises StorageError when something cannot be read.
    """
    entries = yield from entries_of(directory)
    if entries is None:
        return None
    sizes = {entry.name: entry.size for entry in entries if not entry.is_dir}
    inspector = _Inspector(directory, sizes, see, codecs)
    yield from inspector.all(partition)
    return inspector.report


@attrs.define(eq=False)
class _Inspector:
    directory: File
    sizes: Mapping[str, int]
    see: See | None
    codecs: Codecs | None
    report: Report = attrs.field(init=False)
    _seed: int | None = None
    _chain: int = 0
    _links: dict[int, Link] = attrs.field(factory=dict)
    """Of the segment at hand, by position."""
    _was_rewritten: bool = False

    def __attrs_post_init__(self) -> None:
        self.report = Report(self.directory)

    def all(self, partition: int) -> Script[None]:
        yield from self._identity(partition)
        bases = sorted(base for name in self.sizes if (base := base_offset_of(name)) is not None)
        for base in bases:
            yield from self._segment(base, is_last=base == bases[-1])
        yield from self._snapshots()
        yield from self._checkpoints()

    def _found(self, kind: str, name: str, position: int, what: str) -> None:
        self.report.findings.append(Finding(kind, f"{self.directory}/{name}", position, what))

    def _content(self, name: str) -> Script[bytes]:
        return (yield from content(File(f"{self.directory}/{name}"), self.sizes[name]))

    def _identity(self, partition: int) -> Script[None]:
        if IDENTITY not in self.sizes:
            return
        topic_id = topic_id_in((yield from self._content(IDENTITY)))
        if topic_id is None:
            self._found(NOTICE, IDENTITY, -1, "does not say whose directory this is")
        else:
            self.report.topic_id = topic_id
            self._seed = seed_of(topic_id, partition)

    # ---- one segment -------------------------------------------------------------------------------

    def _segment(self, base: int, *, is_last: bool) -> Script[None]:
        segment = Segment(self.directory, base)
        name = _name(base, SUFFIX)
        former = self.report.segments[-1] if self.report.segments else None
        here = SegmentReport(name, base, self.sizes[name], base)
        self._place(former, here)
        self.report.segments.append(here)
        newest = yield from self._read_links(base, former)
        broken = yield from scan(
            segment, self.sizes[name], base, lambda s, h, b: self._take(here, s, h, b), again=False
        )
        here.whole_bytes = segment.size_bytes
        synced = newest.position if newest is not None else 0
        if broken is not None:
            self._broken(here, broken, synced, is_last=is_last)
        elif here.size_bytes < synced:
            self._found(
                DAMAGE,
                name,
                here.size_bytes,
                f"{synced - here.size_bytes} bytes that were synced are missing",
            )
        if newest is not None:
            yield from self._indexes(base, newest)

    def _place(self, former: SegmentReport | None, here: SegmentReport) -> None:
        if former is None:
            return
        if here.base_offset < former.end_offset:
            self._found(
                DAMAGE, here.file, 0, f"begins at {here.base_offset}, before the end of {former.file}"
            )
        elif here.base_offset > former.end_offset:
            gap = f"offsets {former.end_offset} to {here.base_offset} are missing before it"
            self._found(DAMAGE if self._seed is not None else NOTICE, here.file, 0, gap)

    def _broken(self, here: SegmentReport, broken: CorruptRecord, synced: int, *, is_last: bool) -> None:
        rest = here.size_bytes - broken.position
        if is_last and broken.position >= synced:
            self._found(NOTICE, here.file, broken.position, f"a torn tail of {rest} bytes: {broken.reason}")
        else:
            self._found(DAMAGE, here.file, broken.position, f"{broken.reason}; {rest} bytes follow")

    def _take(self, here: SegmentReport, segment: Segment, header: Header, batch: memoryview) -> None:
        position = segment.size_bytes
        segment.size_bytes += header.size_bytes
        here.batches += 1
        here.records += header.count
        here.end_offset = header.last_offset + 1
        here.max_timestamp = max(here.max_timestamp, header.max_timestamp)
        if self.see is not None:
            self.see(here.file, position, header, batch)
        if self.codecs is not None and not header.is_control:
            try:
                records_of(batch, self.codecs)
            except CorruptRecord as error:
                self._found(DAMAGE, here.file, position, f"its records cannot be read: {error.reason}")
        self._chain = chained(self._chain, batch)
        link = self._links.get(segment.size_bytes)
        if link is not None and (link.chain, link.end_offset) != (self._chain, here.end_offset):
            self._found(DAMAGE, here.file, position, "up to here it holds other batches than were written")

    # ---- what stands beside it ---------------------------------------------------------------------

    def _read_links(self, base: int, former: SegmentReport | None) -> Script[Link | None]:
        """Learn the links of a segment; give the last one that says what is synced."""
        self._links = {}
        name = _name(base, CHAIN)
        before = self._chain
        if self._seed is None or name not in self.sizes:
            self._chain = before if former is not None or self._seed is None else self._seed
            return None
        links = decode((yield from self._content(name)), self._seed, base)
        good = [link for link in links if link is not None]
        if len(good) < len(links):
            self._found(
                NOTICE, name, -1, f"{len(links) - len(good)} of {len(links)} links are not what was written"
            )
        if not good:
            return None
        self._chain = good[0].start
        is_anew = any(link.flags & (BEGINS_ANEW | REWRITTEN) for link in good) or self._was_rewritten
        if former is not None and before != good[0].start and not is_anew:
            self._found(DAMAGE, name, 0, f"does not continue {former.file}")
        self._was_rewritten = bool(good[-1].flags & REWRITTEN)
        self._links = {link.position: link for link in good}
        synced = [link for link in good if not link.flags & INTERIM]
        return synced[-1] if synced else None

    def _indexes(self, base: int, link: Link) -> Script[None]:
        for suffix, length, crc in (
            (INDEX, link.index_entries * OFFSET_ENTRY_BYTES, link.index_crc),
            (TIME_INDEX, link.time_entries * TIME_ENTRY_BYTES, link.time_crc),
        ):
            name = _name(base, suffix)
            data = (yield from self._content(name)) if name in self.sizes else b""
            if length and not is_sound(data, length, crc):
                self._found(NOTICE, name, -1, "is not what was written; it is made anew when it is needed")

    def _snapshots(self) -> Script[None]:
        for name in sorted(self.sizes):
            if (
                base_offset_of(name, SNAPSHOT) is not None
                and states_in((yield from self._content(name))) is None
            ):
                self._found(
                    NOTICE, name, -1, "cannot be read; the producers are read from the batches instead"
                )

    def _checkpoints(self) -> Script[None]:
        readers: Sequence[tuple[str, Callable[[bytes], object]]] = (
            (LOG_START, log_start_in),
            (EPOCHS, epochs_in),
        )
        for name, read in readers:
            if name in self.sizes and read((yield from self._content(name))) is None:
                self._found(NOTICE, name, -1, "cannot be read, and is ignored")


def _name(base_offset: int, suffix: str) -> str:
    return f"{base_offset:020d}{suffix}"
