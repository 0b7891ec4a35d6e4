"""What the rings outside the core count: the driver its turns, bytes and syncs, the codecs their work."""

from rafka.core.counting import Histogram

FILE, DIRECTORY = 0, 1
"""What a sync is of: the index into `Tally.syncs` and `Tally.sync_failures`."""


class Tally:
    """One driver's counters. turns, syncs: durations in ns."""

    __slots__ = ("received_bytes", "sent_bytes", "sync_failures", "syncs", "turned_away", "turns")

    def __init__(self) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0
        self.turned_away = 0
        """Connections that were closed as they came, for want of descriptors."""
        self.turns = Histogram()
        self.syncs = (Histogram(), Histogram())
        self.sync_failures = [0, 0]


class Work:
    """What one codec did in one direction for one topic. plain_bytes, packed_bytes: before and after compression."""

    __slots__ = ("cpu_ns", "packed_bytes", "plain_bytes")

    def __init__(self) -> None:
        self.cpu_ns = self.plain_bytes = self.packed_bytes = 0

    def add(self, cpu_ns: int, plain_bytes: int, packed_bytes: int) -> None:
        """Count one call."""
        self.cpu_ns += cpu_ns
        self.plain_bytes += plain_bytes
        self.packed_bytes += packed_bytes
