"""The writing half of a log: append, flush, and what may be acknowledged; only this file raises durable_offset.

    log_start_offset <= durable_offset <= written_offset <= log_end_offset

append() gives offsets and changes memory only. flush() turns a turn's batches into one Write, and one Sync
unless one is under way: what arrives meanwhile joins the next (group commit). Barriers, since different files
have no order: the directory is made, says whose it is, and its name is synced before the first segment; a segment
is begun only when all before it is synced; nothing in it is durable before its own name is.

A Write that fails for want of space takes the log back to the last written batch, in memory and in the file;
appends are refused for a second and until the file is cut, then tried again. Every other failure is final
(fsyncgate: nothing is known about the bytes any more): reads go on, and only opening the log anew, which
reads and checks it all, brings it back. Source: KIP-98, KIP-101; Kafka's `UnifiedLog`; KAFKA-10778.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from errno import EDQUOT, ENOENT, ENOSPC

from rafka.core.config import LogConfig
from rafka.core.effects import Sync, SyncDir, Truncate, Write
from rafka.core.errors import ErrorCode
from rafka.core.events import DiskEvent, Failed, Synced, Written
from rafka.core.log.chain import BEGINS_ANEW, PREFIX_BYTES
from rafka.core.log.directory import make
from rafka.core.log.errand import Errand
from rafka.core.log.keeping import Keeper
from rafka.core.log.restored import Restored
from rafka.core.log.retention import Room, must_roll, room_in
from rafka.core.log.segment import RELATIVE_OFFSET_MAX, Segment
from rafka.core.log.tail import Tail
from rafka.core.log.traffic import Traffic
from rafka.core.machine import Outbox
from rafka.core.record.batch import Batch, Header, place
from rafka.core.record.crc64 import summed
from rafka.core.types import NO_ANSWER, Buffer, File, MonoNs, Now, Token, Uuid

RETRY_NS = 1_000_000_000
"""How long appends are refused after the disk was full."""


class _Chunk:
    """Batches of one segment, end to end, that wait for their Write or for its answer."""

    __slots__ = ("buffers", "chain", "end_offset", "position", "segment", "size_bytes", "token")

    def __init__(self, segment: Segment, position: int) -> None:
        self.segment = segment
        self.position = position
        self.size_bytes = 0
        self.end_offset = 0
        self.chain = 0
        self.buffers: list[Buffer] = []
        self.token: Token = NO_ANSWER


class Appender(Keeper):
    """The log in `directory` (`orders-0`) as its writer sees it; identity: topic id and partition."""

    __slots__ = (
        "_active",
        "_cutting",
        "_directory_made",
        "_generation",
        "_in_flight",
        "_making",
        "_naming",
        "_queue",
        "_retry_at",
        "_room",
        "_sync_token",
        "_synced_offset",
        "_syncing_offset",
        "_unnamed",
        "_written_chain",
        "_written_position",
        "durable_offset",
        "failed",
        "is_offline",
        "log_end_offset",
        "log_start_offset",
        "tail",
        "traffic",
        "writes",
        "written_offset",
    )

    def __init__(
        self,
        directory: File,
        out: Outbox,
        config: LogConfig,
        identity: tuple[Uuid, int],
        restored: Restored | None = None,
    ) -> None:
        super().__init__(directory, out, config, identity, restored)
        self.log_start_offset = self.log_end_offset = 0
        self.written_offset = self.durable_offset = 0
        self.failed: ErrorCode | None = None
        self.is_offline = False
        self.tail = Tail()
        self.traffic = Traffic()
        """What came and went, counted; the logs of one topic share it."""
        self.writes = 0
        """How many Writes were asked for."""
        self._queue: deque[_Chunk] = deque()
        self._in_flight: deque[_Chunk] = deque()
        self._written_position = 0
        self._written_chain = self.seed
        """The chain at written_offset."""
        self._synced_offset = self._syncing_offset = 0
        self._sync_token = self._cutting = self._naming = NO_ANSWER
        self._directory_made = self._making = False
        self._unnamed: Segment | None = None
        self._retry_at = 0
        self._active: Segment | None = None
        """Where the next batch goes if there is room; None: a new segment is begun."""
        self._room: Room | None = None
        """What the active segment takes without a second look; None: to be measured."""
        self._generation = 0
        """Grows whenever offsets are given a second time: what was read before is of another log."""

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

    def append(self, batches: Sequence[Batch], leader_epoch: int, now: Now) -> int:
        """Take checked batches into the tail and return the offset of the first record.

        Each view: whole, writable, ours from now on. Durable only once durable_offset has passed it. Not to be
        called while refuses() says so. Idempotence is the caller's to check: `producers.check`.
        """
        assert self.refuses(now) is None
        first = offset = self.log_end_offset
        if leader_epoch > self.epochs.latest:
            self._begin_epoch(leader_epoch, offset)
        for view, header in batches:
            place(view, offset, leader_epoch)
            segment = self._segment_for(header, offset, now.wall)
            last_offset = offset + header.last_offset_delta
            self._lay(segment, view, offset, last_offset, header.max_timestamp)
            self.producers.update(header, offset, now.wall)
            offset = last_offset + 1
        return first

    def append_plain(
        self, view: memoryview, last_offset_delta: int, max_timestamp: int, leader_epoch: int, now: Now
    ) -> int:
        """Append one batch as `append` does where there is nothing to decide; -1 where there is: nothing is done.

        Whoever calls it has read the header; producers are the caller's to tell.
        """
        segment = self._active
        room = self._room
        if room is None or room.segment is not segment or room.config is not self.config:
            room = self._room = room_in(segment, self.config, self.epochs.latest)
            if room is None:
                return -1
        assert segment is not None
        offset = self.log_end_offset
        last_offset = offset + last_offset_delta
        if (
            segment.size_bytes + len(view) > room.end
            or max_timestamp > room.latest
            or last_offset > room.last_offset_max
            or leader_epoch != room.epoch
            or self.is_offline
            or self._cutting
            or now.mono < self._retry_at
        ):
            self._room = None
            return -1
        place(view, offset, leader_epoch)
        segment.modified_ms = now.wall
        self._lay(segment, view, offset, last_offset, max_timestamp)
        return offset

    def _lay(
        self, segment: Segment, view: memoryview, offset: int, last_offset: int, max_timestamp: int
    ) -> None:
        """Put a batch that has its place into memory: the tail, the indexes, the chain, and what is to be written."""
        queue = self._queue
        if queue and queue[-1].segment is segment:
            chunk = queue[-1]
        else:
            chunk = _Chunk(segment, segment.size_bytes)
            queue.append(chunk)
        size_bytes = len(view)
        interval = self.config.index_interval_bytes
        self.tail.add(offset, segment.add(last_offset, size_bytes, max_timestamp, interval))
        chunk.chain = segment.chain = summed(view[:PREFIX_BYTES], segment.chain)
        if segment.size_bytes >= segment.link_at:
            segment.link(last_offset + 1)
        chunk.buffers.append(view)
        chunk.size_bytes += size_bytes
        chunk.end_offset = self.log_end_offset = last_offset + 1

    def flush(self, now: Now) -> None:
        """Ask for what was appended to be written and, under flush=fsync, synced; once a turn."""
        if not self.is_offline and not self._cutting:
            self._write(now)
            self._sync(now)

    def completed(self, event: DiskEvent, now: Now) -> None:
        """Take the answer to one of our effects; `out.moved` tells the parent when promises or failures changed."""
        if isinstance(event, Failed):
            self._fail(event, now)
        elif self.is_offline:
            return
        elif event.token == self._cutting:
            self._on_cut(event)
        elif isinstance(event, Written):
            self._on_written(event.token)
        elif isinstance(event, Synced):
            self._synced_offset = self._syncing_offset
            self._sync_token = NO_ANSWER
        elif event.token == self._naming:
            self._naming = NO_ANSWER
            self._unnamed = None
        self._promise()
        if self._marks:
            self._save_marks(self._named_offset(), now)
        self.flush(now)

    def _named_offset(self) -> int:
        """Return up to where everything is synced, the names of the files too."""
        # The answer to a Sync may overtake that of a Write that it was to cover, which may yet have failed.
        synced = min(self._synced_offset, self.written_offset)
        return synced if self._unnamed is None else min(synced, self._unnamed.base_offset)

    def _account(self, segment: Segment, header: Header, last_offset: int) -> int:
        interval = self.config.index_interval_bytes
        return segment.add(last_offset, header.size_bytes, header.max_timestamp, interval)

    def _segment_for(self, header: Header, offset: int, wall_ms: int) -> Segment:
        segment = self._active
        if segment is not None and segment.size_bytes:
            far = offset + header.last_offset_delta - segment.base_offset > RELATIVE_OFFSET_MAX
            if far or must_roll(segment, header, self.config, wall_ms):
                segment = None
        if segment is None:
            segment = self._begin_segment(offset)
            self._out.alarms.set(self, MonoNs(0))
        segment.modified_ms = wall_ms
        if segment.begun_ms < 0:
            segment.begun_ms = wall_ms  # for this process, it was when it was first appended to
        return segment

    def _begin_segment(self, offset: int) -> Segment:
        former = self.segments[-1] if self.segments else None
        if former is not None:
            self._marks.append(self._mark(former, offset, is_end=True))
        segment = Segment(self.directory, offset, self._written_chain if former is None else former.chain)
        if former is None and offset > 0:
            segment.flags = BEGINS_ANEW
        self._active = segment
        self.segments.append(segment)
        return segment

    def _begin_epoch(self, epoch: int, offset: int) -> None:
        if self.epochs.latest >= 0:
            self._save_at = 0
        self.epochs.begin(epoch, offset)

    # ---- writing and syncing -----------------------------------------------------------------------

    def _write(self, now: Now) -> None:
        while self._queue and self._may_write(self._queue[0], now):
            chunk = self._queue.popleft()
            self.writes += 1
            chunk.token = self._out.token(self)
            self._in_flight.append(chunk)
            self.traffic.appended(chunk.buffers, chunk.size_bytes, chunk.end_offset)
            self._out.effects.append(Write(chunk.segment.file, chunk.position, chunk.buffers, chunk.token))

    def _may_write(self, chunk: _Chunk, now: Now) -> bool:
        if chunk.position > 0:
            return True
        if not self._directory_made:
            if not self._making:
                self._making = True
                Errand(make(self.directory, self.identity[0]), self._out, self._on_directory).start(now)
            return False
        if self._unnamed is not None or self._named_offset() < chunk.segment.base_offset:
            return False
        self._unnamed = chunk.segment
        return True

    def _sync(self, now: Now) -> None:
        """Ask for a Sync of all that was asked to be written; under flush=os only so that a segment may end."""
        if self._sync_token or not (self.config.flush_fsync or self._queue):
            return
        newest = self._in_flight[-1] if self._in_flight else None
        target = newest.end_offset if newest is not None else self.written_offset
        if target > self._syncing_offset:
            self._syncing_offset = target
            self._sync_token = self._out.token(self)
            segment = self._segment_before(target)
            self._out.effects.append(Sync(segment.file, self._sync_token))
            if not self._queue and self._is_mark_due(segment, now):
                assert target == self.log_end_offset, "all that was appended is covered"
                self._marks.append(self._mark(segment, target, is_end=False))

    def _on_written(self, token: Token) -> None:
        for chunk in self._in_flight:
            if chunk.token == token:
                chunk.token = NO_ANSWER
        while self._in_flight and not self._in_flight[0].token:
            chunk = self._in_flight.popleft()
            self.written_offset = chunk.end_offset
            self._written_position = chunk.position + chunk.size_bytes
            self._written_chain = chunk.chain
            self.failed = None
            if chunk.segment is self._unnamed and not self._naming:
                self._naming = self._out.token(self)
                self._out.effects.append(SyncDir(self.directory, self._naming))
        self.producers.keep(self.written_offset)

    def _on_directory(self, failed: Failed | None, now: Now) -> None:
        self._making = False
        if failed is None:
            self._directory_made = True
        else:
            self._break(failed, now, may_retry=True)
        self.flush(now)

    def _promise(self) -> None:
        offset = self.written_offset
        if self.config.flush_fsync:
            offset = min(offset, self._named_offset())
        if offset > self.durable_offset and not self.is_offline:
            self.durable_offset = offset
            self._out.moved.append(self)

    def _on_cut(self, event: DiskEvent) -> None:
        """Sync what was cut off before anything follows it: a segment after it may outlive a cut that was not."""
        if isinstance(event, Synced):
            self._cutting = NO_ANSWER
        else:
            self._cutting = self._out.token(self)
            self._out.effects.append(Sync(event.file, self._cutting))

    # ---- failing -----------------------------------------------------------------------------------

    def _fail(self, event: Failed, now: Now) -> None:
        is_ours = any(chunk.token == event.token for chunk in self._in_flight)
        if event.op == "write" and not is_ours:
            return  # it was taken back already, with the one before it
        if event.errno == ENOENT and event.op in ("sync", "truncate") and self._is_unwritten(event.file):
            self._forget_absent(event.token)
            return
        self._break(event, now, may_retry=event.op == "write")

    def _is_unwritten(self, file: File) -> bool:
        """Whether nothing is known to have been written to a file of ours: it may not even be there."""
        newest = self.segments[-1] if self.segments else None
        return newest is not None and newest.file == file and newest.base_offset >= self.written_offset

    def _forget_absent(self, token: Token) -> None:
        """Expect no sync, and no cut, of a file that the full disk did not let be made: its write says why."""
        if token == self._cutting:
            self._cutting = NO_ANSWER
        elif token == self._sync_token:
            self._sync_token = NO_ANSWER
            self._syncing_offset = min(self._syncing_offset, max(self._synced_offset, self.written_offset))

    def _break(self, event: Failed, now: Now, *, may_retry: bool) -> None:
        if self.is_offline:
            return
        self.failed = ErrorCode.KAFKA_STORAGE_ERROR
        self._out.moved.append(self)
        self._out.note(
            "error", "log failed", file=event.file, op=event.op, errno=event.errno, text=event.text
        )
        if may_retry and event.errno in (ENOSPC, EDQUOT):
            self._take_back(now)
        else:
            self.is_offline = True

    def _take_back(self, now: Now) -> None:
        """Return to the last written batch, in memory and in the file: what came after was never promised."""
        end = self.log_end_offset = self.written_offset
        self._room = None
        self._retry_at = now.mono + RETRY_NS
        self._queue.clear()
        self._generation += 1
        # The answer to a Sync may overtake the failure of a Write that it was to cover.
        self._synced_offset = min(self._synced_offset, end)
        self._syncing_offset = min(self._syncing_offset, end)
        self.tail.cut(end)
        self.epochs.cut(end)
        self.producers.take_back(end)
        self._unmark(end)
        if not self._in_flight:  # not even the directory could be made
            self.segments.clear()
            self._active = None
            return
        broken = self._in_flight[0].segment
        self._in_flight.clear()
        while self.segments[-1] is not broken:
            self.segments.pop()
        self._active = broken
        position = 0 if broken.base_offset == end else self._written_position
        broken.cut(position, end, self._written_chain)
        if broken is self._unnamed and broken.size_bytes == 0:
            self._unnamed = None
        self._cutting = self._out.token(self)
        self._out.effects.append(Truncate(broken.file, broken.size_bytes, self._cutting))

    # ---- where things are --------------------------------------------------------------------------

    def _segment_of(self, offset: int) -> Segment:
        return self.segments[bisect_right(self.segments, offset, key=_base_offset) - 1]

    def _segment_before(self, end_offset: int) -> Segment:
        return self._segment_of(end_offset - 1)


def _base_offset(segment: Segment) -> int:
    return segment.base_offset
