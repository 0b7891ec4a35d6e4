"""What a log counts of the batches that it asks to be written."""

from hypothesis import given
from hypothesis import strategies as st

from rafka.core.log.traffic import LOOKED_AT, Traffic
from rafka.core.record.batch import patch
from rafka.core.record.builder import Record, build_batch


def batch(base_offset, count, size):
    made = memoryview(build_batch([Record(None, b"v" * size) for _ in range(count)], timestamp=0))
    patch(made, base_offset, 0)
    return made


def written(shapes, base_offset=7):
    batches, offset = [], base_offset
    for count, size in shapes:
        batches.append(batch(offset, count, size))
        offset += count
    return batches, offset


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 300)), min_size=1, max_size=LOOKED_AT))
def test_few_batches_are_counted_exactly(shapes):
    batches, end = written(shapes)
    traffic = Traffic()
    traffic.appended(batches, sum(map(len, batches)), end)
    assert traffic.batch_bytes.total == sum(map(len, batches))
    assert traffic.batch_records.total == sum(count for count, _ in shapes)
    assert sorted(traffic.batch_bytes.counts.elements()) == sorted(len(one).bit_length() for one in batches)
    assert sorted(traffic.batch_records.counts.elements()) == sorted(n.bit_length() for n, _ in shapes)


@given(st.integers(1, 200))
def test_of_many_batches_bytes_records_and_their_number_are_exact(number):
    batches, end = written([(1 + n % 3, n) for n in range(number)])
    traffic = Traffic()
    traffic.appended(batches, sum(map(len, batches)), end)
    assert traffic.batch_bytes.counts.total() == traffic.batch_records.counts.total() == number
    assert traffic.batch_bytes.total == sum(map(len, batches))
    assert traffic.batch_records.total == end - 7
    seen = {len(one).bit_length() for one in batches}
    assert set(traffic.batch_bytes.counts) <= seen
