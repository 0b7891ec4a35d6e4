"""The metadata log as a replica holds it: batches, epochs, voter sets, and how much of it is durable.

Only this file knows what is durable. `durable_offset` never exceeds `end_offset`, and moves only by `synced`: an
append that is cut back while its sync is under way counts up to the cut and no further, whatever comes in its
place (the ABA race of asynchronous storage). What is appended is handed to the disk once a turn, by `flush`.

The log begins at `start_offset`, where a snapshot ends, or at 0. Batches are kept in memory: metadata is small, and
what a snapshot covers goes. Source: Kafka's `RaftLog`, `KafkaRaftLog`; KIP-101 (epochs), KIP-630 (snapshots).
"""

from bisect import bisect_right
from collections import deque

import attrs

from rafka.core.raft.batch import VOTERS, Batch
from rafka.core.raft.effects import AppendLog, DeleteBefore, Effect, ResetLog, Snapshot, TruncateLog
from rafka.core.raft.voters import VoterHistory, VoterSet


@attrs.define(eq=False)
class RaftLog:
    """A log, and the latest snapshot. out: where its effects go; next_token gives the log's tokens, from 1."""

    out: list[Effect]
    batches: list[Batch] = attrs.field(factory=list)
    bases: list[int] = attrs.field(factory=list)
    """The base offset of each batch, to search in."""
    epochs: list[tuple[int, int]] = attrs.field(factory=list)
    """Each epoch that the log holds with the offset at which it begins, in order."""
    voters: VoterHistory = attrs.field(factory=VoterHistory)
    snapshot: Snapshot | None = None
    """The latest that is durable."""
    start_offset: int = 0
    end_offset: int = 0
    last_epoch: int = 0
    """Of the last batch, or of the snapshot that the log begins after; 0 with neither."""
    durable_offset: int = 0
    handed_offset: int = 0
    """How far the disk was asked to write."""
    token: int = 0
    """The last one given out."""
    pending: deque[list[int]] = attrs.field(factory=deque)
    """Token, and the end offset that its sync vouches for."""

    # ---- growing ---------------------------------------------------------------------------------

    def append(self, batch: Batch) -> None:
        """Take the next batch. Nothing is asked of the disk before flush."""
        assert batch.base_offset == self.end_offset
        assert batch.epoch >= self.last_epoch, "epochs never go back in a log"
        self.batches.append(batch)
        self.bases.append(batch.base_offset)
        if not self.epochs or self.epochs[-1][0] != batch.epoch:
            self.epochs.append((batch.epoch, batch.base_offset))
        if batch.kind == VOTERS:
            self.voters.add(batch.base_offset, batch.content)
        self.end_offset = batch.end_offset
        self.last_epoch = batch.epoch

    def flush(self) -> None:
        """Hand to the disk, in one piece, what was appended since the last time."""
        if self.handed_offset == self.end_offset:
            return
        first = self._index(self.handed_offset)
        self.handed_offset = self.end_offset
        self.out.append(AppendLog(tuple(self.batches[first:]), self.next_token(self.end_offset)))

    def next_token(self, end_offset: int) -> int:
        """Give a token whose answer makes everything below end_offset durable."""
        self.token += 1
        self.pending.append([self.token, end_offset])
        return self.token

    def synced(self, token: int) -> None:
        """Take the answer to a token, and to those before it."""
        pending = self.pending
        while pending and pending[0][0] <= token:
            end_offset = pending.popleft()[1]
            self.durable_offset = max(self.durable_offset, end_offset)
        assert self.durable_offset <= self.handed_offset <= self.end_offset

    # ---- cutting ---------------------------------------------------------------------------------

    def truncate(self, end_offset: int) -> None:
        """Take back every batch from end_offset on, and a batch whole that holds it."""
        assert end_offset >= self.start_offset
        kept = bisect_right(self.bases, end_offset)
        if kept and self.batches[kept - 1].end_offset > end_offset:
            kept -= 1
        del self.batches[kept:], self.bases[kept:]
        self._end_at(self.batches[-1].end_offset if self.batches else self.start_offset)

    def _end_at(self, end_offset: int) -> None:
        """Let everything that counts the log's end know it."""
        self.end_offset = end_offset
        while self.epochs and self.epochs[-1][1] >= end_offset:
            self.epochs.pop()
        self.last_epoch = self.epochs[-1][0] if self.epochs else self._epoch_before()
        self.voters.cut(end_offset)
        self.durable_offset = min(self.durable_offset, end_offset)
        for entry in self.pending:
            entry[1] = min(entry[1], end_offset)
        if self.handed_offset > end_offset:
            self.handed_offset = end_offset
            self.out.append(TruncateLog(end_offset, self.next_token(end_offset)))

    def _epoch_before(self) -> int:
        return self.snapshot.id.epoch if self.snapshot is not None and self.start_offset > 0 else 0

    def reset_to(self, snapshot: Snapshot) -> None:
        """Begin anew after a snapshot that is durable."""
        self.snapshot = snapshot
        end_offset = snapshot.id.end_offset
        self.batches.clear()
        self.bases.clear()
        self.epochs.clear()
        self.pending.clear()
        self.voters.restart(snapshot.voters)
        self.start_offset = self.end_offset = self.handed_offset = end_offset
        self.last_epoch = snapshot.id.epoch
        self.durable_offset = end_offset
        self.out.append(ResetLog(end_offset, self.next_token(end_offset)))

    def begin_after(self, snapshot: Snapshot) -> None:
        """Let go of what a durable snapshot covers; the log has its end already."""
        start_offset = snapshot.id.end_offset
        assert self.start_offset <= start_offset <= self.end_offset
        self.snapshot = snapshot
        gone = bisect_right(self.bases, start_offset - 1)
        del self.batches[:gone], self.bases[:gone]
        covering = bisect_right(self.epochs, start_offset, key=_start)
        if covering:
            epoch, start = self.epochs[covering - 1]
            self.epochs[:covering] = [(epoch, max(start, start_offset))]
        if self.epochs and not self.batches:
            self.epochs.clear()
        self.start_offset = start_offset
        self.voters.begin(start_offset)
        self.out.append(DeleteBefore(start_offset))

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, offset: int, batches_max: int, end_offset: int | None = None) -> tuple[Batch, ...]:
        """Return the batches from offset on, at most so many, and none that end after end_offset."""
        first = self._index(offset)
        found = self.batches[first : first + batches_max]
        if end_offset is not None:
            found = [batch for batch in found if batch.end_offset <= end_offset]
        return tuple(found)

    def _index(self, offset: int) -> int:
        """Return the place of the batch that begins at offset; the number of batches at the log's end."""
        index = bisect_right(self.bases, offset - 1)
        assert index == len(self.bases) or self.bases[index] == offset
        return index

    def is_batch_end(self, offset: int) -> bool:
        """Whether a batch ends there, or the log begins."""
        if offset in (self.end_offset, self.start_offset):
            return True
        index = bisect_right(self.bases, offset - 1)
        return index < len(self.bases) and self.bases[index] == offset

    def epoch_at(self, offset: int) -> int:
        """Return the epoch of the record before `offset`, which the log, or its snapshot, must hold."""
        index = bisect_right(self.bases, offset - 1)
        return self.batches[index - 1].epoch if index else self._epoch_before()

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """Return the largest epoch of the log that is at most `epoch`, and where it ends (KIP-595, KIP-101)."""
        index = bisect_right(self.epochs, epoch, key=_epoch)
        end = self.epochs[index][1] if index < len(self.epochs) else self.end_offset
        if index == 0:
            return self._epoch_before(), self.start_offset
        return self.epochs[index - 1][0], end

    def voters_at(self, end_offset: int) -> VoterSet:
        """Return the voter set of a log that ends there."""
        return self.voters.at(end_offset)

    def check(self) -> None:
        """Assert every invariant."""
        assert 0 <= self.start_offset <= self.durable_offset <= self.handed_offset <= self.end_offset
        assert self.bases == [batch.base_offset for batch in self.batches]
        assert self.start_offset == 0 or self.snapshot is not None
        at = self.start_offset
        for batch in self.batches:
            assert batch.base_offset == at
            at = batch.end_offset
        assert at == self.end_offset
        assert self.epochs == sorted(set(self.epochs))
        assert self.voters.latest_offset < self.end_offset or self.voters.latest_offset == -1


def _epoch(entry: tuple[int, int]) -> int:
    return entry[0]


def _start(entry: tuple[int, int]) -> int:
    return entry[1]
