"""Compaction batch by batch, against a model of ten lines: last value per key, tombstones, offsets unmoved."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.log.compaction import ENTRY_BYTES, OffsetMap, compact
from rafka.core.record.batch import Header, check
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.types import WallMs
from rafka.net.compression import Compression

NOW = WallMs(1_700_000_000_000)
DAY = 86_400_000
CODECS = Compression()

keys = st.sampled_from([b"", b"a", b"b", b"c"])
records = st.builds(Record, keys, st.none() | st.binary(max_size=4), timestamp=st.integers(NOW - 9, NOW))
logs = st.lists(st.lists(records, min_size=1, max_size=5), min_size=1, max_size=8)


def log_of(batches, codec=0, **fields):
    offset, log = 0, []
    for batch in batches:
        log.append(
            bytes(build_batch(batch, timestamp=NOW, base_offset=offset, codec=codec, codecs=CODECS, **fields))
        )
        offset += len(batch)
    return log


def read(log):
    return [record for batch in log for record in records_of(batch, CODECS)]


def cleaned(log, now=NOW, last_of_producer=False, upto=None):
    offsets = OffsetMap(1 << 20)
    for batch in log[:upto]:
        assert offsets.add(memoryview(batch), check(memoryview(batch)), CODECS)
    after = []
    for batch in log:
        view = memoryview(batch)
        left = compact(view, check(view), offsets, CODECS, now, DAY, last_of_producer=last_of_producer)
        if left is not None:
            check(memoryview(left))
            after.append(bytes(left))
    return after


def last_per_key(everything):
    last = {record.key: record for record in everything}
    return sorted(last.values(), key=lambda record: record.offset)


@settings(deadline=None)
@given(logs, st.integers(0, 4))
def test_the_last_record_of_every_key_stays_at_its_offset_with_its_time(batches, codec):
    log = log_of(batches, codec)
    assert read(cleaned(log)) == last_per_key(read(log))


@settings(deadline=None)
@given(logs, st.integers(0, 4))
def test_tombstones_go_once_their_horizon_has_passed_and_not_before(batches, codec):
    log = log_of(batches, codec)
    once = cleaned(log)
    assert read(cleaned(once, WallMs(NOW + DAY - 1))) == read(once)
    assert read(cleaned(once, WallMs(NOW + DAY))) == [
        r for r in last_per_key(read(log)) if r.value is not None
    ]


@settings(deadline=None)
@given(logs)
def test_cleaning_again_at_once_changes_no_byte(batches):
    once = cleaned(log_of(batches))
    assert cleaned(once) == once


@settings(deadline=None)
@given(logs, st.integers(0, 8))
def test_what_lies_past_the_map_is_not_touched(batches, upto):
    log = log_of(batches)
    dirty = read(log[:upto])
    assert read(cleaned(log, upto=upto)) == last_per_key(dirty) + read(log[upto:])


@settings(deadline=None)
@given(logs)
def test_batches_keep_their_offsets_and_their_producer(batches):
    log = log_of(batches, producer_id=7, producer_epoch=2, base_sequence=40)
    after = cleaned(log, last_of_producer=True)
    kept = (
        "base_offset",
        "last_offset_delta",
        "producer_id",
        "producer_epoch",
        "base_sequence",
        "leader_epoch",
    )
    for old, new in zip(log, after, strict=True):
        assert [getattr(Header(old), name) for name in kept] == [getattr(Header(new), name) for name in kept]


def test_the_last_batch_of_a_producer_stays_as_an_empty_header():
    log = log_of([[Record(b"k", b"1"), Record(b"k", b"2")], [Record(b"k", b"3")]], codec=4, producer_id=7)
    first = Header(cleaned(log, last_of_producer=True)[0])
    assert (first.count, first.length, first.last_offset_delta, first.codec) == (0, 49, 1, 0)
    assert [Header(batch).base_offset for batch in cleaned(log)] == [2]


def test_the_horizon_is_set_once_by_the_first_cleaning():
    once = cleaned(log_of([[Record(b"k", None, timestamp=NOW - 5)]]))
    header = Header(once[0])
    assert (header.attributes, header.base_timestamp, header.max_timestamp) == (0x40, NOW + DAY, NOW - 5)
    assert cleaned(once, WallMs(NOW + 10)) == once
    assert cleaned(once, WallMs(NOW + DAY)) == []


def test_an_untouched_batch_is_the_same_object():
    view = memoryview(log_of([[Record(b"k", b"v")]])[0])
    offsets = OffsetMap(1000)
    offsets.add(view, check(view), CODECS)
    assert compact(view, check(view), offsets, CODECS, NOW, DAY, last_of_producer=False) is view


def test_control_batches_stay_and_their_keys_do_not_count():
    marker = [Record(bytes(4), bytes(6))]
    log = [
        *log_of([[Record(bytes(4), b"data")]]),
        bytes(build_batch(marker, timestamp=NOW, base_offset=1, control=True, producer_id=7)),
    ]
    assert cleaned(log) == log


def test_a_record_without_a_key_goes():
    log = log_of([[Record(None, b"1"), Record(b"k", b"2")]])
    assert [record.offset for record in read(cleaned(log))] == [1]


def test_the_map_is_bounded_and_says_how_far_it_reaches():
    log = log_of([[Record(b"%d" % i, b"v")] for i in range(5)])
    offsets = OffsetMap(3 * (ENTRY_BYTES + 1))
    taken = [offsets.add(memoryview(batch), Header(batch), CODECS) for batch in log]
    assert taken == [True, True, True, False, False]
    assert offsets.end_offset == 3


@pytest.mark.parametrize("late", [0, 8])
def test_record_times_survive_whatever_is_dropped_beside_them(late):
    times = (NOW - 7, NOW - 3, NOW)
    batch = bytearray(log_of([[Record(b"%d" % (i % 2), None, timestamp=t) for i, t in enumerate(times)]])[0])
    if late:
        from rafka.core.record.batch import stamp

        stamp(memoryview(batch), NOW + 1)
    before = read([bytes(batch)])
    after = read(cleaned([bytes(batch)]))
    assert after == [attrs.evolve(record) for record in before[1:]]
