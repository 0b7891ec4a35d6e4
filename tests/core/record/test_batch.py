"""Headers, batches and records: round trips, and every way a batch can be wrong."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.errors import CorruptRecord
from rafka.core.record.batch import Header, check, patch, split, stamp
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.record.control import COMMIT, control_type, transaction_marker
from rafka.core.record.crc32c import crc32c
from rafka.core.record.varint import read_varint, write_varint

fields = st.none() | st.binary(max_size=40)
headers = st.lists(st.tuples(st.text(max_size=5), fields), max_size=3).map(tuple)
record_lists = st.lists(
    st.builds(Record, key=fields, value=fields, headers=headers, timestamp=st.integers(0, 1 << 41)),
    min_size=1,
    max_size=8,
)


def test_the_checksum_is_castagnolis() -> None:  # RFC 3720, B.4
    assert crc32c(b"123456789") == 0xE3069283


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_varint_reads_back(number: int) -> None:
    out = bytearray()
    write_varint(out, number)
    assert read_varint(out, 0) == (number, len(out))


def test_a_varint_that_never_ends_is_corrupt() -> None:
    for data in (b"", b"\x80", b"\xff" * 11):
        with pytest.raises(CorruptRecord):
            read_varint(data, 0)


@given(record_lists, st.integers(0, 1 << 40))
def test_a_batch_gives_back_its_records(records: list[Record], base: int) -> None:
    batch = build_batch(records, timestamp=0, base_offset=base)
    expected = [Record(r.key, r.value, r.headers, r.timestamp, base + i) for i, r in enumerate(records)]
    assert records_of(batch) == expected


def test_a_place_is_patched_without_touching_the_checksum() -> None:
    batch = build_batch([Record(b"k", b"v")], timestamp=9)
    crc = Header(batch).crc
    patch(batch, 77, 5)
    header = check(memoryview(batch))
    assert (header.base_offset, header.leader_epoch, header.crc, header.last_offset) == (77, 5, crc, 77)


def test_append_time_replaces_every_timestamp_and_is_summed_anew() -> None:
    batch = build_batch([Record(b"a", None), Record(b"b", None)], timestamp=9)
    stamp(batch, 1234)
    assert check(memoryview(batch)).is_log_append_time
    assert [r.timestamp for r in records_of(batch)] == [1234, 1234]


def test_a_buffer_is_cut_into_the_batches_it_holds() -> None:
    parts = [build_batch([Record(None, bytes(n))] * n, timestamp=n) for n in (1, 2, 3)]
    views = split(memoryview(bytearray().join(parts)))
    assert [bytes(view) for view, _ in views] == [bytes(part) for part in parts]


@given(st.data())
def test_no_flipped_bit_after_the_place_is_accepted(data: st.DataObject) -> None:
    batch = build_batch([Record(b"key", b"value")], timestamp=9)
    at = data.draw(st.integers(16, len(batch) - 1))
    batch[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptRecord):
        split(memoryview(batch))


@given(st.integers(0, 80))
def test_no_torn_batch_is_accepted(length: int) -> None:
    batch = build_batch([Record(b"key", b"value" * 10)], timestamp=9)
    with pytest.raises(CorruptRecord):
        split(memoryview(batch)[:length])


@given(st.binary(max_size=60))
def test_records_of_garbage_are_corrupt_or_nothing_else(body: bytes) -> None:
    batch = build_batch([Record(b"key", b"value")], timestamp=9)[:61] + body
    batch[8:12] = (49 + len(body)).to_bytes(4, "big")
    with contextlib.suppress(CorruptRecord):
        records_of(batch)


def test_a_transaction_marker_says_what_it_marks() -> None:
    marker = transaction_marker(committed=True, coordinator_epoch=3)
    assert (marker.key, marker.value) == (b"\0\0\0\1", b"\0\0\0\0\0\3")
    assert control_type(marker.key) == COMMIT
    with pytest.raises(CorruptRecord):
        control_type(b"")
