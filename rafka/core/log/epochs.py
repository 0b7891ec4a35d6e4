"""Which leader epoch began at which offset: how a replica finds where its log parts from the leader's.

Source: KIP-101; Kafka's `LeaderEpochFileCache`.
"""

from bisect import bisect_right


class Epochs:
    """Entries (epoch, first offset), both strictly increasing."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[tuple[int, int]] = []

    @property
    def latest(self) -> int:
        """The newest epoch; -1 when there is none."""
        return self.entries[-1][0] if self.entries else -1

    def begin(self, epoch: int, offset: int) -> None:
        """Note that `epoch` has a batch at `offset`; nothing changes unless it is newer than all."""
        if epoch > self.latest:
            self.cut(offset)
            self.entries.append((epoch, offset))

    def cut(self, offset: int) -> None:
        """Forget epochs that began at `offset` or after."""
        while self.entries and self.entries[-1][1] >= offset:
            self.entries.pop()

    def advance(self, offset: int) -> None:
        """Forget what lies below `offset`, where the log now starts."""
        epoch = self.at(offset)
        self.entries = [entry for entry in self.entries if entry[1] > offset]
        if epoch >= 0:
            self.entries.insert(0, (epoch, offset))

    def at(self, offset: int) -> int:
        """Return the epoch that the batch at `offset` has, or the next one would have; -1: unknown."""
        index = bisect_right(self.entries, offset, key=_start) - 1
        return self.entries[index][0] if index >= 0 else -1

    def end(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """Answer OffsetForLeaderEpoch: the largest epoch <= `epoch`, and where it ended; (-1, -1): unknown."""
        if epoch > self.latest or epoch < 0:
            return -1, -1
        end = log_end_offset
        for known, start in reversed(self.entries):
            if known <= epoch:
                return known, end
            end = start
        return epoch, end  # older than all we have: it ended, at the latest, where the first entry begins


def _start(entry: tuple[int, int]) -> int:
    return entry[1]
