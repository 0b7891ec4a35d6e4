"""The codecs of a real broker, with an account of what they cost: CPU and bytes, by topic, codec and direction.

A thread's CPU clock is read around each call: less than a microsecond beside tens. Topics are told apart up to a bound,
the first ones to need a codec; all others share an account, so a million topics cost no more than the bound.
"""

import time

from rafka.core.types import Buffer
from rafka.net.compression import Compression
from rafka.observe.labelled import OTHER
from rafka.observe.tally import Work

COMPRESS, DECOMPRESS = "compress", "decompress"


class MeasuredCodecs(Compression):
    """Compression that keeps accounts. work: by topic ("": none in particular), codec and operation."""

    def __init__(self, topics_max: int) -> None:
        super().__init__()
        self.work: dict[tuple[str, int, str], Work] = {}
        self._topics_max = topics_max
        self._topics: set[str] = {""}

    def __reduce__(self) -> tuple[type[Compression], tuple[int, int]]:
        """Be frozen, with the machine that has it, as the codecs alone: a replay keeps no accounts."""
        return Compression, (self.compressed, self.decompressed)

    def compress(self, codec: int, data: Buffer, level: int | None = None, topic: str = "") -> bytes:
        """Compress, as `Compression` does."""
        began = time.thread_time_ns()
        packed = super().compress(codec, data, level, topic)
        self._account(topic, codec, COMPRESS).add(time.thread_time_ns() - began, len(data), len(packed))
        return packed

    def decompress(self, codec: int, data: Buffer, limit: int, topic: str = "") -> bytes:
        """Decompress, as `Compression` does; what cannot be is not counted."""
        began = time.thread_time_ns()
        plain = super().decompress(codec, data, limit, topic)
        self._account(topic, codec, DECOMPRESS).add(time.thread_time_ns() - began, len(plain), len(data))
        return plain

    def _account(self, topic: str, codec: int, operation: str) -> Work:
        if topic not in self._topics:
            if len(self._topics) > self._topics_max:
                topic = OTHER
            else:
                self._topics.add(topic)
        found = self.work.get((topic, codec, operation))
        if found is None:
            found = self.work[topic, codec, operation] = Work()
        return found
