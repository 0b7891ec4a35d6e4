"""Which segments have their whole indexes in memory: those that were searched last, within a bound for the node."""

from rafka.core.log.segment import Segment

BYTES_MAX = 16 << 20
LINK_BYTES = 16
OVERHEAD_BYTES = 1 << 10


class Restored:
    """Segments whose saved entries were read back, the longest unused first."""

    __slots__ = ("_bytes_max", "_segments", "size_bytes")

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._segments: dict[Segment, int] = {}
        self.size_bytes = 0

    def use(self, segment: Segment) -> None:
        """Take note that a segment is searched; others are forgotten if there is no room."""
        self.size_bytes -= self._segments.pop(segment, 0)
        size = segment.offset_bytes + segment.time_bytes + OVERHEAD_BYTES
        size += LINK_BYTES * len(segment.link_positions)
        self._segments[segment] = size
        self.size_bytes += size
        while self.size_bytes > self._bytes_max and len(self._segments) > 1:
            oldest = next(iter(self._segments))
            self.size_bytes -= self._segments.pop(oldest)
            oldest.forget_saved()
