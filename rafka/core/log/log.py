"""One partition's log: append, flush, and what may be acknowledged; only this file raises durable_offset.

    log_start_offset <= durable_offset <= written_offset <= log_end_offset

append() gives offsets and changes memory only. flush() turns a turn's batches into one Write, and one Sync
unless one is under way: what arrives meanwhile joins the next (group commit). Barriers, since different files
have no order: the directory is made and its name synced before the first segment; a segment is begun only
when all before it is synced; nothing in it is durable before its own name is.

A Write that fails for want of space takes the log back to the last written batch, in memory and in the file;
appends are refused for a second and until the file is cut, then tried again. Every other failure is final
(fsyncgate: nothing is known about the bytes any more): reads go on, and only opening the log anew, which
reads and checks it all, brings it back. Source: KIP-98, KIP-101; Kafka's `UnifiedLog`; KAFKA-10778.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from errno import EDQUOT, ENOSPC

from rafka.core.config import LogConfig
from rafka.core.effects import MakeDir, Read, Sync, SyncDir, Truncate, Write
from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.events import DiskEvent, Failed, Loaded, Synced, Written
from rafka.core.log.epochs import Epochs
from rafka.core.log.producers import Producers
from rafka.core.log.recovery import bases_in, keep, scan
from rafka.core.log.segment import Place, Segment
from rafka.core.log.tail import Tail
from rafka.core.machine import Outbox
from rafka.core.record.batch import HEADER_BYTES, Batch, Header, patch
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, Buffer, File, FileSlice, Now, Token, Uuid

RETRY_NS = 1_000_000_000
"""How long appends are refused after the disk was full."""
RELATIVE_OFFSET_MAX = (1 << 31) - 1
"""Kafka's indexes hold offsets relative to their segment in 32 bits."""
LOOKUP_BYTES = 16 << 10


class _Chunk:
    """Batches of one segment, end to end, that wait for their Write or for its answer."""

    __slots__ = ("buffers", "end_offset", "position", "segment", "size_bytes", "token")

    def __init__(self, segment: Segment, position: int) -> None:
        self.segment = segment
        self.position = position
        self.size_bytes = 0
        self.end_offset = 0
        self.buffers: list[Buffer] = []
        self.token: Token = NO_ANSWER


class Log:
    """The log in `directory` (`orders-0`); identity: topic id and partition. Open it with recover()."""

    __slots__ = (
        "_cutting",
        "_directory_made",
        "_in_flight",
        "_naming",
        "_out",
        "_queue",
        "_retry_at",
        "_sync_token",
        "_synced_offset",
        "_syncing_offset",
        "_unnamed",
        "_written_position",
        "config",
        "directory",
        "durable_offset",
        "epochs",
        "failed",
        "identity",
        "is_offline",
        "log_end_offset",
        "log_start_offset",
        "producers",
        "segments",
        "tail",
        "written_offset",
    )

    def __init__(self, directory: File, out: Outbox, config: LogConfig, identity: tuple[Uuid, int]) -> None:
        self.directory = directory
        self.config = config
        self.identity = identity
        self.log_start_offset = self.log_end_offset = 0
        self.written_offset = self.durable_offset = 0
        self.failed: ErrorCode | None = None
        self.is_offline = False
        self.segments: list[Segment] = []
        self.tail = Tail()
        self.epochs = Epochs()
        self.producers = Producers()
        self._out = out
        self._queue: deque[_Chunk] = deque()
        self._in_flight: deque[_Chunk] = deque()
        self._written_position = 0
        self._synced_offset = self._syncing_offset = 0
        self._sync_token = self._cutting = self._naming = NO_ANSWER
        self._directory_made = False
        self._unnamed: Segment | None = None
        self._retry_at = 0

    @property
    def size_bytes(self) -> int:
        """All batches, in all segments."""
        return sum(segment.size_bytes for segment in self.segments)

    @property
    def latest_epoch(self) -> int:
        """The leader epoch of the newest batch; -1 when there is none."""
        return self.epochs.latest

    def refuses(self, now: Now) -> ErrorCode | None:
        """Say whether appends must be refused now: offline for good, or the disk was full a moment ago."""
        if self.is_offline or self._cutting or now.mono < self._retry_at:
            return ErrorCode.KAFKA_STORAGE_ERROR
        return None

    # ---- appending ---------------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch], leader_epoch: int, now: Now) -> int:
        """Take checked batches into the tail and return the offset of the first record.

        Each view: whole, writable, ours from now on. Durable only once durable_offset has passed it. Not to be
        called while refuses() says so. Idempotence is the caller's to check: `producers.check`.
        """
        assert self.refuses(now) is None
        first = offset = self.log_end_offset
        self.epochs.begin(leader_epoch, offset)
        for view, header in batches:
            patch(view, offset, leader_epoch)
            chunk = self._chunk_for(len(view), offset, header.last_offset_delta)
            self.tail.add(offset, self._account(chunk.segment, header, offset))
            self.producers.update(header, offset, now.wall)
            offset += header.last_offset_delta + 1
            chunk.buffers.append(view)
            chunk.size_bytes += len(view)
            chunk.end_offset = self.log_end_offset = offset
        return first

    def flush(self, now: Now) -> None:
        """Ask for what was appended to be written and, under flush=fsync, synced; once a turn."""
        del now
        if not self.is_offline and not self._cutting:
            self._write()
            self._sync()

    def completed(self, event: DiskEvent, now: Now) -> None:
        """Take the answer to one of our effects; `out.moved` tells the parent when promises or failures changed."""
        if isinstance(event, Failed):
            self._fail(event, now)
        elif self.is_offline:
            return
        elif isinstance(event, Written):
            self._on_written(event.token)
        elif isinstance(event, Synced):
            self._synced_offset = self._syncing_offset
            self._sync_token = NO_ANSWER
        elif event.token == self._cutting:
            self._cutting = NO_ANSWER
        elif event.token == self._naming:
            self._on_named(event.file)
        self._promise()
        self.flush(now)

    def _account(self, segment: Segment, header: Header, offset: int) -> int:
        interval = self.config.index_interval_bytes
        return segment.add(offset, header.size_bytes, header.max_timestamp, interval)

    def _chunk_for(self, size_bytes: int, offset: int, last_offset_delta: int) -> _Chunk:
        segment = self.segments[-1] if self.segments else None
        if segment is not None:
            full = segment.size_bytes + size_bytes > self.config.segment_bytes
            far = offset + last_offset_delta - segment.base_offset > RELATIVE_OFFSET_MAX
            if segment.size_bytes and (full or far):
                segment = None
        if segment is None:
            segment = Segment(self.directory, offset)
            self.segments.append(segment)
        if not self._queue or self._queue[-1].segment is not segment:
            self._queue.append(_Chunk(segment, segment.size_bytes))
        return self._queue[-1]

    # ---- writing and syncing -----------------------------------------------------------------------

    def _write(self) -> None:
        while self._queue and self._may_write(self._queue[0]):
            chunk = self._queue.popleft()
            chunk.token = self._out.token(self)
            self._in_flight.append(chunk)
            self._out.effects.append(Write(chunk.segment.file, chunk.position, chunk.buffers, chunk.token))

    def _may_write(self, chunk: _Chunk) -> bool:
        if chunk.position > 0:
            return True
        if not self._directory_made:
            if not self._naming:
                self._naming = self._out.token(self)
                self._out.effects.append(MakeDir(self.directory, self._naming))
            return False
        if self._unnamed is not None or self._synced_offset < chunk.segment.base_offset:
            return False
        self._unnamed = chunk.segment
        return True

    def _sync(self) -> None:
        """Ask for a Sync of all that was asked to be written; under flush=os only so that a segment may end."""
        if self._sync_token or not (self.config.flush_fsync or self._queue):
            return
        newest = self._in_flight[-1] if self._in_flight else None
        target = newest.end_offset if newest is not None else self.written_offset
        if target > self._syncing_offset:
            self._syncing_offset = target
            self._sync_token = self._out.token(self)
            self._out.effects.append(Sync(self._segment_before(target).file, self._sync_token))

    def _on_written(self, token: Token) -> None:
        for chunk in self._in_flight:
            if chunk.token == token:
                chunk.token = NO_ANSWER
        while self._in_flight and not self._in_flight[0].token:
            chunk = self._in_flight.popleft()
            self.written_offset = chunk.end_offset
            self._written_position = chunk.position + chunk.size_bytes
            self.failed = None
            if chunk.segment is self._unnamed and not self._naming:
                self._naming = self._out.token(self)
                self._out.effects.append(SyncDir(self.directory, self._naming))
        self.producers.keep(self.written_offset)

    def _on_named(self, name: File) -> None:
        self._naming = NO_ANSWER
        if self._directory_made:
            self._unnamed = None
        elif name == self.directory:  # it is made; its own name comes next
            self._naming = self._out.token(self)
            self._out.effects.append(SyncDir(File(""), self._naming))
        else:
            self._directory_made = True

    def _promise(self) -> None:
        offset = self.written_offset
        if self.config.flush_fsync:
            offset = min(offset, self._synced_offset)
            if self._unnamed is not None:
                offset = min(offset, self._unnamed.base_offset)
        if offset > self.durable_offset and not self.is_offline:
            self.durable_offset = offset
            self._out.moved.append(self)

    # ---- failing -----------------------------------------------------------------------------------

    def _fail(self, event: Failed, now: Now) -> None:
        is_ours = any(chunk.token == event.token for chunk in self._in_flight)
        if event.op == "write" and not is_ours:
            return  # it was taken back already, with the one before it
        self.failed = ErrorCode.KAFKA_STORAGE_ERROR
        self._out.moved.append(self)
        self._out.note(
            "error", "log failed", file=event.file, op=event.op, errno=event.errno, text=event.text
        )
        full = event.errno in (ENOSPC, EDQUOT)
        if full and (event.op == "write" or not self._directory_made):
            self._take_back(now)
        else:
            self.is_offline = True

    def _take_back(self, now: Now) -> None:
        """Return to the last written batch, in memory and in the file: what came after was never promised."""
        end = self.log_end_offset = self.written_offset
        self._retry_at = now.mono + RETRY_NS
        self._queue.clear()
        self._syncing_offset = min(self._syncing_offset, end)
        self.tail.cut(end)
        self.epochs.cut(end)
        self.producers.take_back(end)
        if not self._in_flight:  # not even the directory could be made
            self.segments.clear()
            self._naming = NO_ANSWER
            return
        broken = self._in_flight[0].segment
        self._in_flight.clear()
        while self.segments[-1] is not broken:
            self.segments.pop()
        broken.cut(0 if broken.base_offset == end else self._written_position)
        if broken is self._unnamed and broken.size_bytes == 0:
            self._unnamed = None
        self._cutting = self._out.token(self)
        self._out.effects.append(Truncate(broken.file, broken.size_bytes, self._cutting))

    # ---- reading -----------------------------------------------------------------------------------

    def find(self, offset: int) -> Place | None:
        """Place the batch that holds `offset` if it is one of the newest; None: use lookup."""
        tail = self.tail
        index = tail.find(offset)
        if index < 0 or offset >= self.written_offset:
            return None
        base = tail.offsets[index]
        position = tail.positions[index]
        segment = self._segment_of(base)
        end = segment.size_bytes
        if index + 1 < len(tail.offsets) and tail.positions[index + 1] > position:
            end = tail.positions[index + 1]
        return Place(segment.file, position, end - position, base)

    def lookup(self, offset: int) -> Script[Place | ErrorCode]:
        """Place the batch that holds `offset` by reading headers, from the nearest one in the sparse index.

        Gives OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR (a read failed) or CORRUPT_MESSAGE in its stead.
        """
        if not self.log_start_offset <= offset < self.written_offset:
            return ErrorCode.OFFSET_OUT_OF_RANGE
        segment = self._segment_of(offset)
        position = segment.near(offset)
        while position < segment.size_bytes:
            loaded = yield Read(segment.file, position, LOOKUP_BYTES)
            if not isinstance(loaded, Loaded):
                return ErrorCode.KAFKA_STORAGE_ERROR
            at = 0
            while at + HEADER_BYTES <= len(loaded.data):
                header = Header(loaded.data, at)
                if header.length < HEADER_BYTES - 12 or header.base_offset < segment.base_offset:
                    return ErrorCode.CORRUPT_MESSAGE
                if header.last_offset >= offset:
                    return Place(segment.file, position + at, header.size_bytes, header.base_offset)
                at += header.size_bytes
            if at == 0:
                return ErrorCode.CORRUPT_MESSAGE
            position += at
        return ErrorCode.CORRUPT_MESSAGE

    def slices(self, place: Place, max_bytes: int, end_offset: int, *, at_least_one: bool) -> list[FileSlice]:
        """Cut what a reader may have from `place` on: never past `end_offset`, never into another segment.

        end_offset: a batch's end, as high watermarks are. With at_least_one the first batch is whole, however
        large. Where an end_offset lies below the newest batches, one batch at a time is given.
        """
        end_offset = min(end_offset, self.written_offset)
        if place.base_offset >= end_offset:
            return []
        limit = self._end_position(place, end_offset)
        length = min(limit - place.position, max_bytes)
        if at_least_one and length < place.size_bytes:
            length = place.size_bytes
        return [FileSlice(place.file, place.position, length)] if length > 0 else []

    def epoch_end(self, epoch: int) -> tuple[int, int]:
        """Return (the largest epoch <= `epoch`, its end offset); (-1, -1) when unknown. Source: KIP-101."""
        return self.epochs.end(epoch, self.log_end_offset)

    def _end_position(self, place: Place, end_offset: int) -> int:
        """Return where `end_offset` lies in place's file, or the file's end if that comes first."""
        segment = self._segment_of(place.base_offset)
        if segment is not self._segment_before(end_offset):
            return segment.size_bytes
        if end_offset == self.written_offset:
            return self._written_position
        position = self.tail.position_of(end_offset)
        return (
            position
            if position is not None and position > place.position
            else place.position + place.size_bytes
        )

    def _segment_of(self, offset: int) -> Segment:
        return self.segments[bisect_right(self.segments, offset, key=_base_offset) - 1]

    def _segment_before(self, end_offset: int) -> Segment:
        return self._segment_of(end_offset - 1)

    # ---- opening and closing -----------------------------------------------------------------------

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
        assert bases == sorted(bases), "segments are in order"

    def _recover(self) -> Script[None]:
        bases = yield from bases_in(self.directory)
        if not bases:
            return  # an empty directory is made and synced again: it may not be durable
        self.log_start_offset = self.log_end_offset = bases[0]
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
        self._opened()

    def _take(self, segment: Segment, header: Header) -> None:
        position = self._account(segment, header, header.base_offset)
        self.tail.add(header.base_offset, position)
        self.epochs.begin(header.leader_epoch, header.base_offset)
        self.producers.update(header, header.base_offset, header.max_timestamp)
        self.producers.keep(header.last_offset + 1)
        self.log_end_offset = header.last_offset + 1

    def _warn(self, segment: Segment, broken: CorruptRecord) -> None:
        fields = {"file": segment.file, "position": broken.position, "reason": broken.reason}
        self._out.note("warning", "torn tail cut off", log_end_offset=self.log_end_offset, **fields)

    def _opened(self) -> None:
        self._directory_made = True
        self.written_offset = self.durable_offset = self.log_end_offset
        self._synced_offset = self._syncing_offset = self.log_end_offset
        self._written_position = self.segments[-1].size_bytes


def _base_offset(segment: Segment) -> int:
    return segment.base_offset
