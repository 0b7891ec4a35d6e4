"""The reading half of a log: where an offset or a time is, and which slices of which files a reader gets.

The newest batches are found in memory. Older ones are found through a segment's sparse index and from there
header by header; records are unpacked only where a time asks for the very record. While such a search reads,
the log goes on: segments are appended to, cleaned and deleted. A search that finds that the ground has moved
begins anew. Source: Kafka's `UnifiedLog.fetchOffsetByTimestamp`, KIP-79, KIP-734.
"""

from collections.abc import Callable
from typing import TypeVar

from rafka.core.errors import CorruptRecord, ErrorCode, StorageError
from rafka.core.log.beside import Beside, Moved
from rafka.core.log.segment import Place, Segment
from rafka.core.record.batch import Header, check
from rafka.core.record.builder import Record, records_of
from rafka.core.record.compression import Codecs
from rafka.core.script import Script
from rafka.core.types import FileSlice

LOOKUP_BYTES = 16 << 10
ATTEMPTS = 8

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
"""The timestamps of ListOffsets that are no times. -5 and below ask for tiered storage: there is none."""

T = TypeVar("T")
Found = tuple[int, int, int]
"""Timestamp (-1: not asked for), offset and leader epoch (-1: unknown)."""


class Reader(Beside):
    """A log as its readers see it. Whatever they find is to be sent in the turn in which it was found."""

    __slots__ = ()

    def find(self, offset: int) -> Place | None:
        """Place the batch that holds `offset` if it is one of the newest; None: use lookup."""
        tail = self.tail
        index = tail.find(offset)
        if index < 0 or not self.log_start_offset <= offset < self.written_offset:
            return None
        base = tail.offsets[index]
        position = tail.positions[index]
        segment = self._segment_of(base)
        end = segment.size_bytes
        if index + 1 < len(tail.offsets) and tail.positions[index + 1] > position:
            end = tail.positions[index + 1]
        return Place(segment.file, position, end - position, base, self._generation)

    def lookup(self, offset: int) -> Script[Place | ErrorCode]:
        """Place the batch that holds `offset` by reading headers, from the nearest one in the sparse index.

        Gives OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR (a read failed) or CORRUPT_MESSAGE in its stead.
        """
        return (yield from self._steady(lambda: self._lookup(offset)))

    def slices(self, place: Place, max_bytes: int, end_offset: int, *, at_least_one: bool) -> list[FileSlice]:
        """Cut what a reader may have from `place` on: never past `end_offset`, never into another segment.

        end_offset: a batch's end, as high watermarks are. With at_least_one the first batch is whole, however
        large. Where an end_offset lies below the newest batches, one batch at a time is given.
        """
        end_offset = min(end_offset, self.written_offset)
        if place.base_offset >= end_offset:
            return []
        limit = min(self._end_position(place, end_offset), place.limit)
        length = min(limit - place.position, max_bytes)
        if at_least_one and length < place.size_bytes:
            length = place.size_bytes
        return [FileSlice(place.file, place.position, length)] if length > 0 else []

    def has(self, place: Place) -> bool:
        """Say whether a place that was found in an earlier turn still holds."""
        return place.generation == self._generation

    def epoch_end(self, epoch: int) -> tuple[int, int]:
        """Return (the largest epoch <= `epoch`, its end offset); (-1, -1) when unknown. Source: KIP-101."""
        return self.epochs.end(epoch, self.log_end_offset)

    # ---- by time -----------------------------------------------------------------------------------

    def list_offset(
        self, timestamp: int, end_offset: int, codecs: Codecs
    ) -> Script[Found | ErrorCode | None]:
        """Answer ListOffsets: LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, or the first record since a time.

        end_offset: what this reader may see (high watermark or last stable offset). None: there is no such
        record, which ListOffsets says as offset -1.
        """
        if timestamp == LATEST:
            return -1, end_offset, self.epochs.at(end_offset)
        if timestamp in (EARLIEST, EARLIEST_LOCAL):
            return -1, self.log_start_offset, self.epochs.at(self.log_start_offset)
        if timestamp < MAX_TIMESTAMP:
            return None
        if timestamp == MAX_TIMESTAMP:
            found = yield from self.max_timestamp(codecs)
        else:
            found = yield from self.offset_for_timestamp(timestamp, codecs)
        return found if not isinstance(found, tuple) or found[1] < end_offset else None

    def offset_for_timestamp(self, timestamp: int, codecs: Codecs) -> Script[Found | ErrorCode | None]:
        """Find the first record whose timestamp is `timestamp` or later; None: there is none."""
        return (yield from self._steady(lambda: self._first_since(timestamp, codecs)))

    def max_timestamp(self, codecs: Codecs) -> Script[Found | ErrorCode | None]:
        """Find the first of the records with the largest timestamp; None: the log is empty."""
        return (yield from self._steady(lambda: self._latest(codecs)))

    def _first_since(self, timestamp: int, codecs: Codecs) -> Script[Found | None]:
        for segment in list(self.segments):
            if segment.max_timestamp >= timestamp:
                yield from self._restore(segment)
                start = max(segment.before_time(timestamp), self.log_start_offset)
                found = yield from self._since(segment, segment.near(start), timestamp, codecs)
                if found is not None:
                    return found
        return None

    def _since(self, segment: Segment, position: int, timestamp: int, codecs: Codecs) -> Script[Found | None]:
        """Find the first record since `timestamp` in the batches of a segment from `position` on."""
        start = self.log_start_offset

        def may_have_it(header: Header) -> bool:
            return header.max_timestamp >= timestamp and header.last_offset >= start

        while (batch := (yield from self._walk(segment, position, may_have_it))) is not None:
            position, header = batch
            for record in (yield from self._records(segment, position, header, codecs)):
                assert record.timestamp is not None
                if record.timestamp >= timestamp and record.offset >= start:
                    return record.timestamp, record.offset, header.leader_epoch
            position += header.size_bytes
        return None

    def _latest(self, codecs: Codecs) -> Script[Found | None]:
        best: Found | None = None
        for segment in sorted(self.segments, key=lambda segment: -segment.max_timestamp):
            if best is not None and best[0] >= segment.max_timestamp:
                break
            yield from self._restore(segment)
            near = segment.near(segment.max_timestamp_offset)
            found = yield from self._since(segment, near, segment.max_timestamp, codecs)
            if found is None:  # it was deleted, or taken back: see Segment.cut
                newest = yield from self._newest_time(segment, codecs)
                found = yield from self._since(segment, 0, newest, codecs)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
        return best

    def _newest_time(self, segment: Segment, codecs: Codecs) -> Script[int]:
        """Return the largest timestamp of a segment's records, by reading every header."""
        start = self.log_start_offset
        newest = -1

        def is_new(header: Header) -> bool:
            return header.last_offset >= start and header.max_timestamp > newest and header.count > 0

        position = 0
        while (batch := (yield from self._walk(segment, position, is_new))) is not None:
            position, header = batch
            if header.base_offset >= start:
                newest = header.max_timestamp
            else:
                for record in (yield from self._records(segment, position, header, codecs)):
                    newest = max(newest, record.timestamp or -1 if record.offset >= start else -1)
            position += header.size_bytes
        return newest

    # ---- reading the files -------------------------------------------------------------------------

    def _lookup(self, offset: int) -> Script[Place | ErrorCode]:
        if not self.log_start_offset <= offset < self.written_offset:
            return ErrorCode.OFFSET_OUT_OF_RANGE
        segment = self._segment_of(offset)
        if not segment.knows(offset):
            yield from self._restore(segment)
        found = yield from self._walk(
            segment, segment.near(offset), lambda batch: batch.last_offset >= offset
        )
        if found is None:
            return ErrorCode.CORRUPT_MESSAGE
        position, header = found
        limit = yield from self._checked(segment, position)
        return Place(segment.file, position, header.size_bytes, header.base_offset, self._generation, limit)

    def _records(
        self, segment: Segment, position: int, header: Header, codecs: Codecs
    ) -> Script[list[Record]]:
        data = yield from self._read(segment, position, header.size_bytes)
        check(memoryview(data))
        return records_of(data, codecs)

    def _steady(self, attempt: Callable[[], Script[T]]) -> Script[T | ErrorCode]:
        for _ in range(ATTEMPTS):
            try:
                return (yield from attempt())
            except Moved:
                continue
            except StorageError:
                return ErrorCode.KAFKA_STORAGE_ERROR
            except CorruptRecord:
                return ErrorCode.CORRUPT_MESSAGE
        return ErrorCode.KAFKA_STORAGE_ERROR

    # ---- where things are --------------------------------------------------------------------------

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
