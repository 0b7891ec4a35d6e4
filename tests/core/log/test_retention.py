"""When segments end and when they go, claim by claim. The names are those of the settings."""

import errno
from copy import deepcopy

import pytest

from rafka.core.log.producers import Duplicate
from rafka.core.log.retention import expired, must_roll, roll_ms
from rafka.core.log.segment import Segment
from rafka.core.record.batch import Header
from rafka.core.record.builder import Record, build_batch
from tests.core.log.keyed import WALL, Keyed, small

DAY = 86_400_000


def segment(base=0, *, size=100, first=WALL, latest=WALL):
    one = Segment("orders-0", base)
    one.add(base, size, first, 4096)
    one.max_timestamp = latest
    return one


def batch(timestamp=WALL, size=0):
    return Header(build_batch([Record(None, bytes(size))], timestamp=timestamp))


def segments(*latest, size=100):
    return [segment(10 * n, size=size, latest=time) for n, time in enumerate(latest)]


def gone(some, now=WALL, hw=1000, **config):
    return expired(some, hw, 10 * len(some), small(**{"cleanup_delete": True, **config}), now)


# ---- rolling -----------------------------------------------------------------------------------------


def test_segment_ms_counts_from_the_first_batch_to_the_one_that_comes():
    config = small(segment_ms=1000)
    assert not must_roll(segment(), batch(WALL + 1000), config, WALL + DAY)
    assert must_roll(segment(), batch(WALL + 1001), config, WALL)
    assert not must_roll(segment(), batch(WALL - DAY), config, WALL + DAY), "older records do not age it"


def test_without_timestamps_the_clock_counts_from_the_beginning():
    config = small(segment_ms=1000)
    one = segment(first=-1)
    assert not must_roll(one, batch(-1), config, WALL + DAY), "nobody knows when it began"
    one.begun_ms = WALL
    assert not must_roll(one, batch(-1), config, WALL + 1000)
    assert must_roll(one, batch(-1), config, WALL + 1001)


def test_max_compaction_lag_ends_segments_of_compacted_topics_only():
    assert roll_ms(small(segment_ms=1000, max_compaction_lag_ms=10)) == 10
    assert roll_ms(small(segment_ms=1000, max_compaction_lag_ms=10, cleanup_compact=False)) == 1000


def test_a_segment_ends_when_a_batch_does_not_fit():
    size = batch().size_bytes
    assert not must_roll(segment(size=400 - size), batch(), small(), WALL)
    assert must_roll(segment(size=401 - size), batch(), small(), WALL)


@pytest.mark.parametrize(("entries", "times", "full"), [(9, 5, False), (10, 0, True), (0, 6, True)])
def test_a_full_index_ends_a_segment(entries, times, full):
    one = segment()
    one.offsets.extend(range(entries))
    one.times.extend(range(times))
    config = small(segment_index_bytes=87)  # 10 entries of 8 bytes, 7 of 12, of which one is kept for the end
    assert must_roll(one, batch(), config, WALL) is full


def test_a_log_rolls_by_the_timestamps_of_its_records():
    world = Keyed(small(segment_ms=1000))
    for late in (0, 500, 1000, 1001, 1500):
        world.append((b"k", b"v"), wall=WALL + late)
    world.settle()
    assert [one.base_offset for one in world.log.segments] == [0, 3]


# ---- retention ---------------------------------------------------------------------------------------


def test_retention_ms_takes_what_is_older_and_stops_at_the_first_that_is_not():
    some = segments(WALL - 3 * DAY, WALL - 2 * DAY, WALL - DAY, WALL - 3 * DAY)
    assert gone(some, retention_ms=DAY) == 2
    assert gone(some, retention_ms=DAY - 1) == 4
    assert gone(some, retention_ms=-1) == 0


def test_a_timestamp_in_the_future_keeps_its_segment_until_then():
    some = segments(WALL + DAY, WALL - 9 * DAY)
    assert gone(some, retention_ms=1000) == 0
    assert gone(some, retention_ms=1000, now=WALL + DAY + 1001) == 2
    assert gone(some, retention_ms=1000, retention_bytes=100) == 2, "retention.bytes is the way out"


def test_retention_bytes_is_what_is_left_at_least():
    some = segments(*[WALL] * 5)
    assert [gone(some, retention_bytes=n) for n in (-1, 500, 401, 400, 399, 100, 0)] == [0, 0, 0, 1, 1, 4, 5]


def test_nothing_goes_that_reaches_past_the_high_watermark():
    some = segments(*[WALL - 9 * DAY] * 3)
    assert [gone(some, retention_ms=0, hw=hw) for hw in (0, 9, 10, 19, 20, 29, 30)] == [0, 0, 1, 1, 2, 2, 3]
    assert gone(some, retention_bytes=0, retention_ms=-1, hw=25) == 2


def test_only_a_policy_of_delete_deletes():
    some = segments(WALL - 9 * DAY)
    assert gone(some, retention_ms=0, cleanup_delete=False, cleanup_compact=False) == 0
    assert gone(some, retention_ms=0, cleanup_delete=False) == 0
    assert gone(some, retention_ms=0, cleanup_compact=True) == 1


def test_records_without_timestamps_age_with_the_file():
    one = segment(first=-1, latest=-1)
    assert gone([one], retention_ms=1000, now=WALL + DAY) == 0, "nobody knows how old they are"
    one.modified_ms = WALL
    assert gone([one], retention_ms=1000, now=WALL + 1000) == 0
    assert gone([one], retention_ms=1000, now=WALL + 1001) == 1


def test_files_stay_for_file_delete_delay_ms_and_the_log_start_is_durable_before() -> None:
    world = Keyed(small(cleanup_compact=False, retention_bytes=500, file_delete_delay_ms=1000))
    for n in range(12):
        world.append((b"k", bytes([n]) * 60))
    world.settle()
    before = world.files()
    went = world.script(world.log.retain(world.log.durable_offset, world.now))
    assert went > 0
    start = world.log.log_start_offset
    assert start == world.log.segments[0].base_offset > 0
    assert set(before) <= set(world.files())
    world.elapse(999)
    assert set(before) <= set(world.files())
    for seed in range(5):
        again = Keyed(world.config, world.disk, seed)
        assert again.log.log_start_offset == start, "whatever files a crash leaves"
        assert again.read() == [record for record in world.sent if record[0] >= start]


def full_disk(failures: int) -> Keyed:
    """A log that has more than it keeps; the next writes fail for want of space."""
    world = Keyed(small(cleanup_compact=False, retention_bytes=500, file_delete_delay_ms=1000))
    for n in range(12):
        world.append((b"k", bytes([n]) * 60))
    world.settle()
    for number in range(failures):
        world.disk.fail("write", errno.ENOSPC, number)
    return world


def test_on_a_full_disk_what_is_to_go_makes_the_room_that_saying_so_takes() -> None:
    world = full_disk(1)
    assert world.script(world.log.retain(world.log.durable_offset, world.now)) > 0
    start = world.log.log_start_offset
    assert start > 0
    assert "00000000000000000000.timeindex" not in world.files()
    for seed in range(5):
        again = Keyed(world.config, world.disk, seed)
        assert again.log.log_start_offset == start
        assert again.read() == [record for record in world.sent if record[0] >= start]


def test_if_even_that_is_not_enough_nothing_goes_and_the_indexes_are_made_anew() -> None:
    world = full_disk(2)
    assert world.script(world.log.retain(world.log.durable_offset, world.now)) == 0
    assert world.log.log_start_offset == 0
    assert [name for name in world.files() if name.endswith(".tmp")] == []
    assert world.read() == world.sent
    for seed in range(5):
        again = Keyed(world.config, world.disk, seed)
        assert again.read() == world.sent
    assert world.script(world.log.retain(world.log.durable_offset, world.now)) > 0, "later there is room"


def test_another_error_than_a_full_disk_costs_no_indexes() -> None:
    world = full_disk(0)
    before = world.files()
    world.disk.fail("write", errno.EIO)
    assert world.script(world.log.retain(world.log.durable_offset, world.now)) == 0
    assert world.files() == before


def test_what_is_wholly_over_makes_room_while_appends_go_on() -> None:
    world = Keyed(small(cleanup_compact=False, retention_ms=1000))
    for _ in range(5):
        world.append((b"k", bytes(60)))
    world.settle()
    world.wall += 5000
    running = world.start(world.log.retain(world.log.durable_offset, world.now))
    offset = world.append((b"new", b"v"))
    world.settle()
    assert running.finished
    assert (offset, world.log.log_start_offset) == (5, 5)
    assert world.read() == [(5, b"new", b"v")]
    world.elapse(100_000)
    world.crash(1)
    assert world.read() == [(5, b"new", b"v")]


def test_a_segment_that_a_full_disk_left_empty_is_not_begun_twice_when_all_before_it_is_over() -> None:
    world = Keyed(small(cleanup_compact=False, retention_ms=1000))
    while len(world.log.segments) < 2:
        world.append((b"k", bytes(60)))
        world.settle()
    end = world.log.log_end_offset
    world.disk.fail("write", errno.ENOSPC)
    world.append((b"lost", bytes(400)))
    world.settle()
    assert world.log.segments[-1].size_bytes == 0
    assert world.log.log_end_offset == end
    world.wall += 5000
    world.mono += 2_000_000_000
    running = world.start(world.log.retain(world.log.durable_offset, world.now))
    offset = world.append((b"new", b"v"))
    world.log.check()
    world.settle()
    assert running.finished
    assert (offset, world.log.log_start_offset) == (end, end)
    assert [segment.base_offset for segment in world.log.segments] == [end]
    world.crash(1)
    assert world.read() == [(end, b"new", b"v")]


def header_of(sequence: int) -> Header:
    return Header(build_batch([Record(b"k", bytes(60))], timestamp=WALL, **produced(sequence)))


def produced(sequence: int) -> dict[str, int]:
    return {"producer_id": 7, "producer_epoch": 0, "base_sequence": sequence}


@pytest.mark.parametrize("keeps", [0, 1, 3])
@pytest.mark.parametrize("flush_fsync", [True, False])
def test_the_repeat_of_a_deleted_batch_is_known_after_a_crash(keeps: int, flush_fsync: bool) -> None:
    config = small(cleanup_compact=False, file_delete_delay_ms=0, retention_ms=1000, flush_fsync=flush_fsync)
    world = Keyed(config)
    for sequence in range(6):
        world.append((b"k", bytes(60)), **produced(sequence))
        world.settle()
    while len(world.log.segments) < 8:  # others go on
        world.append((b"k", bytes(60)))
        world.settle()
    if keeps:
        offset = world.log.segments[-keeps].base_offset
        assert world.script(world.log.delete_before(offset, world.now)) is None
    else:
        offset = world.log.log_end_offset
        world.wall += 5000
        assert world.script(world.log.retain(offset, world.now)) > 0
    world.elapse(1)
    for seed in (None, *range(8)):
        again = Keyed(config, deepcopy(world.disk), seed)
        assert again.log.log_start_offset == offset
        assert again.log.producers.check(header_of(5)) == Duplicate(5), seed
        assert again.log.producers.check(header_of(6)) is None


def test_what_a_clean_stop_saves_takes_no_durable_snapshot_away() -> None:
    config = small(cleanup_compact=False, file_delete_delay_ms=0)
    world = Keyed(config)
    world.append((b"k", bytes(60)), **produced(0))
    world.settle()
    while len(world.log.segments) < 2:
        world.append((b"k", bytes(60)))
    world.log.flush(world.now)
    while world.log.durable_offset < world.log.log_end_offset:
        world.step()  # the end of the first segment is marked, and not yet saved
    offset = world.log.segments[1].base_offset
    running = world.start(world.log.delete_before(offset, world.now))
    closing = None
    while not running.finished or closing is None or not closing.finished:
        if running.finished and closing is None:
            closing = world.start(world.log.close())
        assert world.step() or world.elapse(1) is None
    for seed in range(8):
        again = Keyed(config, deepcopy(world.disk), seed)
        assert again.log.producers.check(header_of(0)) == Duplicate(0), seed
