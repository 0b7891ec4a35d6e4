"""Counters that machines carry: plain numbers which only grow, and which no machine ever reads.

So they change no decision, no effect and no simulated history, and cost an addition where the object is at hand anyway.
`rafka.observe` reads them when somebody asks.

A histogram has a bucket for each power of two: which one is the number's bit length, so nothing is searched. Hot paths
write the two additions out instead of calling `add`.
"""

BUCKETS = 64
"""Enough for any whole number that fits into 64 bits."""


class Histogram:
    """How many numbers fell between which powers of two.

    counts[i]: how many had a bit length of i, so were below 2^i and not below 2^(i-1); total: the sum of the numbers.
    Who counts sizes gives the size less one, so that a size of exactly 2^i is in the bucket that ends there.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total = 0

    def add(self, number: int, times: int = 1) -> None:
        """Count a number, from 0 to 2^63 - 1, so many times."""
        self.counts[number.bit_length()] += times
        self.total += number * times


class Traffic:
    """What producers brought to one topic and what was read from it, since this process opened it.

    batch_bytes, batch_records: how large the batches were that came, in bytes as stored and in records; each bucket
    is of the size less one, each total of the size itself. fetched_bytes: given to whoever fetches.
    """

    __slots__ = ("batch_bytes", "batch_records", "fetched_bytes")

    def __init__(self) -> None:
        self.batch_bytes = Histogram()
        self.batch_records = Histogram()
        self.fetched_bytes = 0

    def add(self, other: "Traffic") -> None:
        """Count all that another counted, too."""
        self.fetched_bytes += other.fetched_bytes
        for mine, its in (
            (self.batch_bytes, other.batch_bytes),
            (self.batch_records, other.batch_records),
        ):
            mine.total += its.total
            mine.counts = [a + b for a, b in zip(mine.counts, its.counts, strict=True)]
