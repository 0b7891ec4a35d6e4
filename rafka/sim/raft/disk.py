"""One replica's disk: an election file and a log with its snapshot, each of which does what it is asked to, in order.

Operations are performed together when a sync completes; a crash keeps any prefix of what was not answered yet, and of a
write a prefix of its batches: the rest is torn, and cut off by the checksum at the next start.
"""

from collections import deque
from collections.abc import Callable

from rafka.core.raft.batch import Batch
from rafka.core.raft.effects import (
    AppendLog,
    DeleteBefore,
    Election,
    ResetLog,
    SaveElection,
    SaveSnapshot,
    Snapshot,
    TruncateLog,
)
from rafka.core.raft.raft import Stored
from rafka.core.raft.voters import VoterSet

LogEffect = AppendLog | TruncateLog | ResetLog | SaveSnapshot | DeleteBefore


class Disk:
    """What is durable, and what was asked for and is not yet."""

    __slots__ = (
        "batches",
        "election",
        "election_flight",
        "elections",
        "end_offset",
        "log_flight",
        "logs",
        "snapshot",
        "voters",
    )

    def __init__(self, voters: VoterSet) -> None:
        self.voters = voters
        """What the directory was formatted with."""
        self.election = Election()
        self.batches: list[Batch] = []
        self.snapshot: Snapshot | None = None
        self.end_offset = 0
        """Up to where the log is durable."""
        self.elections: deque[SaveElection] = deque()
        self.logs: deque[LogEffect] = deque()
        self.election_flight = 0
        """How many of `elections` the sync under way covers; 0: none is."""
        self.log_flight = 0

    def stored(self) -> Stored:
        """Return what a start finds."""
        return Stored(self.election, self.snapshot, tuple(self.batches), self.voters)

    def election_done(self) -> int:
        """Perform what the sync under way covers; return the last token."""
        done = self.elections[0]
        for _ in range(self.election_flight):
            done = self.elections.popleft()
        self.election_flight = 0
        self.election = done.election
        return done.token

    def log_done(self) -> int:
        """Perform what the sync under way covers; return the last token, 0 if nobody waits."""
        token = 0
        for _ in range(self.log_flight):
            effect = self.logs.popleft()
            self.perform(effect)
            if not isinstance(effect, DeleteBefore):
                token = effect.token
        self.log_flight = 0
        return token

    def perform(self, effect: LogEffect) -> None:
        """Let one operation be durable."""
        batches = self.batches
        if type(effect) is AppendLog:
            batches += effect.batches
            self.end_offset = batches[-1].end_offset
        elif type(effect) is TruncateLog:
            while batches and batches[-1].end_offset > effect.end_offset:
                batches.pop()
            self.end_offset = effect.end_offset
        elif type(effect) is SaveSnapshot:
            self.snapshot = effect.snapshot
            self.end_offset = max(
                self.end_offset, effect.snapshot.id.end_offset
            )  # it stands for what is below
        elif type(effect) is ResetLog:
            batches.clear()
            self.end_offset = effect.start_offset
        elif type(effect) is DeleteBefore:
            gone = 0
            while gone < len(batches) and batches[gone].end_offset <= effect.start_offset:
                gone += 1
            del batches[:gone]

    def crash(self, draw: Callable[[], float], torn: float) -> None:
        """Lose what was not answered, but for a prefix. torn: how likely a write is cut in its middle."""
        kept = int(draw() * (len(self.elections) + 1))
        for _ in range(kept):
            self.election = self.elections.popleft().election
        kept = int(draw() * (len(self.logs) + 1))
        for _ in range(kept):
            self.perform(self.logs.popleft())
        if self.logs and draw() < torn:
            first = self.logs[0]
            if isinstance(first, AppendLog):
                part = first.batches[: int(draw() * len(first.batches))]
                if part:
                    self.perform(AppendLog(part, 0))
        self.elections.clear()
        self.logs.clear()
        self.election_flight = self.log_flight = 0
        snapshot = self.snapshot
        if snapshot is not None:
            self.end_offset = max(self.end_offset, snapshot.id.end_offset)
