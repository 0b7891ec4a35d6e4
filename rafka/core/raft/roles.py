"""What a replica can be. Each role holds only the data of that role: a follower cannot have votes.

An observer is no role of its own: it is a replica that the newest voter set of its log does not name, and it is only
ever Unattached or Follower, or Voted: a candidate may know a newer voter set, in which it has a voice (KIP-853).
Which role may follow which is in `transitions.py`. All deadlines are monotonic nanoseconds.
Source: Kafka's `EpochState` classes; KIP-595, KIP-996.
"""

from typing import ClassVar

import attrs

from rafka.core.machine import OffsetWaiters
from rafka.core.raft.messages import UNKNOWN_OFFSET, FetchRequest, SnapshotId
from rafka.core.raft.voters import ReplicaKey, VoterSet

NEVER = 1 << 63
"""A deadline that does not come."""


@attrs.define(eq=False)
class Unattached:
    """It knows the epoch, and nobody who leads it; it has not voted. deadline: when it asks around."""

    NAME: ClassVar[str] = "unattached"
    deadline: int


@attrs.define(eq=False)
class Voted:
    """It has voted in this epoch, and waits for somebody to lead. deadline: when it stands itself."""

    NAME: ClassVar[str] = "voted"
    deadline: int


@attrs.define(eq=False)
class Nominee:
    """What the two who stand share: the electorate at the moment it was asked, and its answers so far.

    waiting: correlation of the request to each voter that has not answered.
    """

    electorate: VoterSet
    deadline: int
    granted: dict[int, bool] = attrs.field(factory=dict)
    waiting: dict[int, int] = attrs.field(factory=dict)
    resend_at: int = NEVER

    @property
    def has_won(self) -> bool:
        """Whether a majority has said yes."""
        return sum(self.granted.values()) >= self.electorate.majority

    @property
    def has_lost(self) -> bool:
        """Whether no majority can say yes any more."""
        refused = len(self.granted) - sum(self.granted.values())
        return len(self.electorate) - refused < self.electorate.majority


@attrs.define(eq=False)
class Prospective(Nominee):
    """It asks whether it would be elected, and changes nothing by that (KIP-996)."""

    NAME: ClassVar[str] = "prospective"


@attrs.define(eq=False)
class Candidate(Nominee):
    """It has voted for itself and asks for votes. is_backing_off: it has lost, and waits for the deadline."""

    NAME: ClassVar[str] = "candidate"
    is_backing_off: bool = False


@attrs.define(eq=False)
class Follower:
    """It fetches from the leader. deadline: when it gives the leader up.

    in_flight: correlation of the request that waits for its answer, 0 for none; retry_at: when it is sent again, or the
    next one is. has_fetched: the leader has answered, so others who want to lead are refused in advance (KIP-996).
    is_leader_gone: it said so itself (EndQuorumEpoch).
    """

    NAME: ClassVar[str] = "follower"
    leader_id: int
    deadline: int
    in_flight: int = 0
    retry_at: int = 0
    has_fetched: bool = False
    is_leader_gone: bool = False
    snapshot: SnapshotId | None = None
    """Which one is being fetched."""
    snapshot_data: bytearray = attrs.field(factory=bytearray)
    """What has come of it."""


@attrs.define(eq=False)
class Progress:
    """What a leader knows of one other replica: it has, durably, all below end_offset (UNKNOWN_OFFSET: no idea).

    fetched_at, caught_up_at: when it last fetched, and was last at the log's end; 0: never.
    parked: a fetch that waits for something to answer, until parked_until.
    """

    key: ReplicaKey
    end_offset: int = UNKNOWN_OFFSET
    fetched_at: int = 0
    caught_up_at: int = 0
    end_when_fetched: int = 0
    """The leader's log end at its last fetch."""
    has_acknowledged: bool = False
    """It knows who leads: BeginQuorumEpoch is not repeated."""
    begin_correlation: int = 0
    parked: FetchRequest | None = None
    parked_until: int = 0


@attrs.define(eq=False)
class Change:
    """A change of the voter set that was appended and is not committed. end_offset: of its record."""

    ticket: int
    end_offset: int
    request: tuple[int, int] | None = None
    """Sender and correlation, if a message asked for it and not a caller."""


@attrs.define(eq=False)
class Leader:
    """It appends, answers fetches, and counts who has what.

    start_offset: of its first record, the leader change. high_watermark: UNKNOWN_OFFSET until that is committed
    (KIP-595: what earlier epochs appended is committed by a record of this one, never by counting).
    """

    NAME: ClassVar[str] = "leader"
    start_offset: int
    voters: dict[int, Progress]
    """Every voter but itself, by id."""
    is_voter: bool
    """Whether it is a voter itself: it may be removed, and leads until that is committed."""
    observers: dict[ReplicaKey, Progress] = attrs.field(factory=dict)
    high_watermark: int = UNKNOWN_OFFSET
    waiters: OffsetWaiters[int] = attrs.field(factory=OffsetWaiters)
    """Tickets of proposals and reads, by the offset that must be committed."""
    change: Change | None = None
    fetched: dict[int, bool] = attrs.field(factory=dict)
    """Which voters have fetched since the deadline was set."""
    deadline: int = 0
    """When it resigns, unless a majority has fetched (check-quorum)."""
    begin_at: int = 0
    """When BeginQuorumEpoch is sent, again."""
    has_news: bool = False
    """Parked fetches may have something to say: they are looked at once, at the end of the turn."""


@attrs.define(eq=False)
class Resigned:
    """It has led this epoch, and never does anything in it again (KAFKA-18379). deadline: when it leaves the epoch."""

    NAME: ClassVar[str] = "resigned"
    deadline: int
    preferred: tuple[ReplicaKey, ...] = ()
    waiting: dict[int, int] = attrs.field(factory=dict)
    """Whom it tells, with the correlation of the request."""
    resend_at: int = NEVER


Role = Unattached | Voted | Prospective | Candidate | Leader | Resigned | Follower
