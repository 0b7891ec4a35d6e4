"""Ten million records: what it takes to find an offset or a time in them, and that what is found is right.

The records of the log are known by arithmetic, which is the linear scan: record n has the timestamp FIRST + 2n.
"""

from bisect import bisect_left
from random import Random

import pytest

from rafka.core.config import LogConfig
from rafka.core.effects import Read
from rafka.core.log.segment import Place
from rafka.core.record.batch import split
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.crc32c import crc32c
from tests.core.log.keyed import CODECS, WALL, Keyed

RECORDS = 10_000_000
EACH = 2_000
"""Records in a batch."""
FIRST = WALL - 3 * RECORDS
LOOKUPS = 300
CRC, CHECKED, BASE_TIMESTAMP, MAX_TIMESTAMP = 17, 21, 27, 35
"""Where a batch has its checksum, the first byte that it covers, and its two timestamps."""


class Large(Keyed):
    """A log of RECORDS in segments of 1 MiB; reads: what the last lookup read, by the suffix of the file."""

    bytes_read = 0
    """Of batches, in all."""

    def __init__(self):
        self.reads = []
        super().__init__(LogConfig(segment_bytes=1 << 20))
        records = [Record(None, b"%d" % n, timestamp=2 * n) for n in range(EACH)]
        pattern = build_batch(records, timestamp=0, codecs=CODECS, codec=4)
        for number in range(RECORDS // EACH):
            self.log.append(split(memoryview(dated(pattern, FIRST + 2 * EACH * number))), 0, self.now)
            if number % 50 == 49:
                self.log.flush(self.now)
                self.settle()

    def collect(self):
        for effect in self.out.effects:
            if isinstance(effect, Read):
                self.reads.append(effect.file.rpartition(".")[2])
                if self.reads[-1] == "log":
                    self.bytes_read += effect.length
        super().collect()

    def look(self, script):
        """Run a lookup; its result, and how often it read batches and files beside them."""
        self.reads.clear()
        found = self.script(script)
        batches = self.reads.count("log")
        return found, batches, len(self.reads) - batches


def dated(pattern, base_timestamp):
    """A copy of a batch, later by so much."""
    batch = bytearray(pattern)
    batch[BASE_TIMESTAMP:MAX_TIMESTAMP] = base_timestamp.to_bytes(8, "big")
    batch[MAX_TIMESTAMP : MAX_TIMESTAMP + 8] = (base_timestamp + 2 * (EACH - 1)).to_bytes(8, "big")
    batch[CRC:CHECKED] = crc32c(memoryview(batch)[CHECKED:]).to_bytes(4, "big")
    return batch


@pytest.fixture(scope="module")
def log():
    log = Large()
    assert log.log.durable_offset == RECORDS
    assert len(log.log.segments) > 10
    return log


def test_an_offset_takes_one_scan_and_each_file_beside_the_segment_at_most_once(log) -> None:
    random, most = Random(1), (0, 0)
    for _ in range(LOOKUPS):
        offset = random.randrange(RECORDS)
        if log.log.find(offset) is not None:
            continue  # it is one of the newest, and nothing is read
        place, batches, beside = log.look(log.log.lookup(offset))
        assert isinstance(place, Place)
        assert place.base_offset == offset // EACH * EACH
        most = max(most[0], batches), max(most[1], beside)
    assert most == (1, 3), (
        "headers from the nearest entry of the sparse index; offset index, time index, links"
    )


def test_an_offset_in_a_segment_that_was_searched_lately_takes_one_scan_alone(log) -> None:
    log.look(log.log.lookup(5 * EACH))
    for offset in range(0, 20 * EACH, EACH // 2):
        _, batches, beside = log.look(log.log.lookup(offset))
        assert (batches, beside) == (1, 0)


def test_a_time_takes_one_scan_and_the_batch_itself(log) -> None:
    random, most = Random(2), (0, 0)
    times = range(FIRST, FIRST + 2 * RECORDS, 2)
    for _ in range(LOOKUPS // 6):  # each unpacks a whole batch
        time = random.randrange(FIRST - 5, FIRST + 2 * RECORDS - 2)
        found, batches, beside = log.look(log.log.offset_for_timestamp(time, CODECS))
        offset = bisect_left(times, time)
        assert found == (times[offset], offset, 0)
        most = max(most[0], batches), max(most[1], beside)
    assert most == (2, 3)
    assert log.script(log.log.offset_for_timestamp(FIRST + 2 * RECORDS, CODECS)) is None


def test_a_start_after_a_crash_reads_what_was_not_known_to_be_synced_and_no_more(log) -> None:
    before, newest = log.bytes_read, log.log.segments[-1]
    log.crash()
    assert log.log.log_end_offset == RECORDS
    assert log.bytes_read - before <= newest.size_bytes <= log.log.size_bytes / 20


def test_after_a_start_a_segment_is_checked_once_and_looked_up_as_before(log) -> None:
    log.crash()
    random = Random(3)
    for _ in range(LOOKUPS):
        offset = random.randrange(RECORDS)
        place, _, beside = log.look(log.log.lookup(offset))
        assert isinstance(place, Place)
        assert place.base_offset == offset // EACH * EACH
        assert beside <= 3
    log.look(log.log.lookup(offset))
    _, batches, beside = log.look(log.log.lookup(offset))
    assert (batches, beside) == (1, 0)
