"""What came into the logs of one topic and what was read from them, counted since they were opened.

A log counts what it asks to be written, all batches of a turn together; what the disk then refuses is counted too.
Bytes, records and batches are exact. Which bucket of a histogram a batch is in costs more than all else about it that
is done in Python, so of more than `LOOKED_AT` batches that are written together every n-th is looked at, and stands for
those around it: exact for whoever is not busy, and for whoever is, of thousands of batches a second, hundreds.
"""

from collections.abc import Sequence
from struct import Struct

from rafka.core.counting import Histogram
from rafka.core.types import Buffer

LOOKED_AT = 4
_COUNT_AT = 57
_count = Struct(">i")
_base_offset = Struct(">q")
"""Where a batch's header has them: see `record/batch.py`."""


class Traffic:
    """Counters of one topic. batch_bytes, batch_records: of batches as stored; fetched_bytes: given to fetches."""

    __slots__ = ("batch_bytes", "batch_records", "fetched_bytes")

    def __init__(self) -> None:
        self.batch_bytes = Histogram()
        self.batch_records = Histogram()
        self.fetched_bytes = 0

    def appended(self, batches: Sequence[Buffer], size_bytes: int, end_offset: int) -> None:
        """Count batches that follow each other and have their offsets; size_bytes: of all; end_offset: after them."""
        sizes, records = self.batch_bytes, self.batch_records
        sizes.total += size_bytes
        records.total += end_offset - _base_offset.unpack_from(batches[0])[0]
        left = len(batches)
        stride = (left + LOOKED_AT - 1) // LOOKED_AT
        for batch in batches if stride == 1 else batches[::stride]:
            times = min(stride, left)
            left -= times
            sizes.counts[len(batch).bit_length()] += times
            records.counts[_count.unpack_from(batch, _COUNT_AT)[0].bit_length()] += times
        assert left == 0

    def merge(self, other: "Traffic") -> None:
        """Count all that another counted, too."""
        self.batch_bytes.merge(other.batch_bytes)
        self.batch_records.merge(other.batch_records)
        self.fetched_bytes += other.fetched_bytes
