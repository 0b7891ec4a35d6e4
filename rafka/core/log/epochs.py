"""Which leader epoch began at which offset: how a replica finds where its log parts from the leader's.

Source: KIP-101; Kafka's `LeaderEpochFileCache`.
"""


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
