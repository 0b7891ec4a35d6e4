"""Counters that machines carry: plain numbers which only grow, and which no machine ever reads.

So they change no decision, no effect and no simulated history. `rafka.observe` reads them when somebody asks.
"""

from collections import Counter


class Histogram:
    """How many whole numbers fell between which powers of two, and their sum.

    counts: by bit length: those of bit length i are from 2^(i-1) to 2^i - 1, and 0 has none.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.total = 0

    def add(self, number: int, times: int = 1) -> None:
        """Count a number, from 0 up, so many times."""
        self.counts[number.bit_length()] += times
        self.total += number * times

    def merge(self, other: "Histogram") -> None:
        """Count all that another counted, too."""
        self.counts.update(other.counts)
        self.total += other.total
