"""When a segment ends, and when it goes: the rules of time and size, without any doing.

A segment takes no further batch once that would make it larger than segment.bytes, once one of its indexes is full
(segment.index.bytes), or once it is older than segment.ms. Age is counted by records: from the largest timestamp of
the segment's first batch to the largest of the batch that is to come; where the first batch has no timestamp, by the
wall clock. On a compacted topic max.compaction.lag.ms shortens segment.ms, for only a
segment that has ended is compacted.

Whole segments go, oldest first, and none that reaches past the high watermark:

- by size, while what is left holds retention.bytes or more without it;
- then by time, while its largest timestamp is more than retention.ms ago. A timestamp in the future keeps its segment,
  and with it all later ones, until that time has come and gone: as in Kafka, where retention.bytes is the way out.

Both only under cleanup.policy=delete, alone or beside compact; an empty policy keeps everything.
Sources: Kafka's `LogSegment.shouldRoll`, `LogConfig.maxSegmentMs`, `UnifiedLog.deleteOldSegments`.
"""

from collections.abc import Sequence

from rafka.core.config import LogConfig
from rafka.core.log.index import OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES
from rafka.core.log.segment import RELATIVE_OFFSET_MAX, Segment
from rafka.core.record.batch import HEADER_BYTES, Header
from rafka.core.shape import value


def must_roll(segment: Segment, header: Header, config: LogConfig, wall_ms: int) -> bool:
    """Say whether a batch goes into a new segment; `segment` is the one appended to, and holds something."""
    assert segment.size_bytes > 0
    if segment.size_bytes + header.size_bytes > config.segment_bytes:
        return True
    return _age_ms(segment, header.max_timestamp, wall_ms) > roll_ms(config) or _is_full(segment, config)


@value
class Room:
    """What `segment` takes before any rule has to be looked at again: a batch within all bounds makes it not end.

    end: the position to which it may grow; latest: the largest timestamp; epoch: the leader's it was measured in.
    """

    segment: Segment
    config: LogConfig
    epoch: int
    end: int
    latest: int
    last_offset_max: int


def room_in(segment: Segment | None, config: LogConfig, epoch: int) -> Room | None:
    """Measure the room of the segment appended to; None if it is new, its age goes by the clock, or it is full."""
    if segment is None or segment.size_bytes == 0 or segment.first_timestamp < 0 or segment.begun_ms < 0:
        return None
    limit = config.segment_index_bytes
    entries = (limit - OFFSET_ENTRY_BYTES - segment.offset_bytes) // OFFSET_ENTRY_BYTES
    times = (limit - 2 * TIME_ENTRY_BYTES - segment.time_bytes) // TIME_ENTRY_BYTES
    apart = max(config.index_interval_bytes, HEADER_BYTES)  # no two entries lie nearer to each other
    end = min(config.segment_bytes, segment.size_bytes + (min(entries, times) - 1) * apart)
    return Room(
        segment,
        config,
        epoch,
        end,
        segment.first_timestamp + roll_ms(config),
        segment.base_offset + RELATIVE_OFFSET_MAX,
    )


def roll_ms(config: LogConfig) -> int:
    """Return the age at which a segment ends."""
    if config.cleanup_compact and config.max_compaction_lag_ms > 0:
        return min(config.segment_ms, config.max_compaction_lag_ms)
    return config.segment_ms


def expired(
    segments: Sequence[Segment], high_watermark: int, log_end_offset: int, config: LogConfig, wall_ms: int
) -> int:
    """Return how many of the oldest segments go; all of them, the one appended to included, if all are over."""
    if not config.cleanup_delete:
        return 0
    ends = [segment.base_offset for segment in segments[1:]] + [log_end_offset]
    count = 0
    spare = sum(segment.size_bytes for segment in segments) - config.retention_bytes
    while config.retention_bytes >= 0 and count < len(segments) and ends[count] <= high_watermark:
        spare -= segments[count].size_bytes
        if spare < 0:
            break
        count += 1
    while config.retention_ms >= 0 and count < len(segments) and ends[count] <= high_watermark:
        if wall_ms - latest_ms(segments[count], wall_ms) <= config.retention_ms:
            break
        count += 1
    return count


def latest_ms(segment: Segment, wall_ms: int) -> int:
    """Return the time of a segment's newest record; without timestamps, of its last append as far as is known."""
    if segment.max_timestamp >= 0:
        return segment.max_timestamp
    return segment.modified_ms if segment.modified_ms >= 0 else wall_ms


def _age_ms(segment: Segment, timestamp: int, wall_ms: int) -> int:
    if segment.first_timestamp >= 0:
        return timestamp - segment.first_timestamp
    return wall_ms - segment.begun_ms if segment.begun_ms >= 0 else 0


def _is_full(segment: Segment, config: LogConfig) -> bool:
    """Whether an index has no room; the last place of the time index is kept for when the segment ends."""
    limit = config.segment_index_bytes
    return (
        segment.offset_bytes > limit - OFFSET_ENTRY_BYTES or segment.time_bytes > limit - 2 * TIME_ENTRY_BYTES
    )
