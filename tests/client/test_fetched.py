import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.client.fetched import records_from
from rafka.core.errors import CorruptRecord
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import GZIP
from rafka.net.compression import Compression


def batch(base_offset, *values, **more):
    records = [Record(key=None, value=value) for value in values]
    return bytes(build_batch(records, timestamp=7, base_offset=base_offset, **more))


def read(data, offset):
    records, following = records_from(memoryview(data), offset, Compression())
    return [(record.offset, record.value) for record in records], following


def test_records_before_the_offset_asked_for_are_left_out():
    assert read(batch(10, b"a", b"b", b"c"), 11) == ([(11, b"b"), (12, b"c")], 13)


def test_batches_follow_each_other_over_the_gaps_of_compaction():
    assert read(batch(10, b"a") + batch(20, b"b"), 5) == ([(10, b"a"), (20, b"b")], 21)


def test_markers_of_transactions_are_passed_over():
    data = batch(10, b"a") + batch(11, b"marker", control=True) + batch(12, b"b")
    assert read(data, 10) == ([(10, b"a"), (12, b"b")], 13)


def test_a_packed_batch_is_unpacked():
    assert read(batch(3, b"a" * 500, codec=GZIP, codecs=Compression()), 3) == ([(3, b"a" * 500)], 4)


def test_nothing_brings_nothing_and_does_not_move():
    assert read(b"", 42) == ([], 42)


def test_a_wrong_byte_is_corruption_not_data():
    data = bytearray(batch(0, b"abc"))
    data[-2] ^= 1
    with pytest.raises(CorruptRecord):
        read(bytes(data), 0)


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=5), st.data())
def test_a_stream_cut_anywhere_gives_its_whole_batches_and_goes_on_after_them(batches, data):
    stream, ends, offset = b"", [(0, 0)], 0
    for values in batches:
        stream += batch(offset, *values)
        offset += len(values)
        ends.append((len(stream), offset))
    cut = data.draw(st.integers(0, len(stream)))
    following = max(offset for end, offset in ends if end <= cut)
    values = [value for some in batches for value in some]
    assert read(stream[:cut], 0) == (list(enumerate(values[:following])), following)
