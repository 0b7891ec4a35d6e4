"""What replicas say to one another, as plain values: KRaft's requests and responses, without versions and topics.

Every message has the node ids `sender` and `to`, the `epoch` of its sender, and a `correlation` that a response
repeats: a replica takes a response only to a request that still waits for one. `error` is an ErrorCode, 0 for none.
The wire's own schemas (rafka.core.api) hold the same facts; a session translates, and refuses foreign cluster ids.
Source: KIP-595 (Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch), KIP-630 (FetchSnapshot), KIP-853 (directory ids,
UpdateRaftVoter), KIP-996 (pre_vote).
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft.batch import Batch
from rafka.core.raft.voters import ReplicaKey, Voter, VoterSet
from rafka.core.shape import value

NO_LEADER = -1
UNKNOWN_OFFSET = -1


@value
class SnapshotId:
    """A snapshot's name: it stands for all records below `end_offset`, the last of which is of `epoch` (KIP-630)."""

    end_offset: int
    epoch: int


@value
class VoteRequest:
    """May I lead? voter: whom the candidate means, with its directory. last_epoch, end_offset: its log's end.

    pre_vote: would you vote for me, if I were to ask in the next epoch? Nothing changes by that.
    """

    sender: int
    to: int
    correlation: int
    epoch: int
    candidate: ReplicaKey
    voter: ReplicaKey
    last_epoch: int
    end_offset: int
    pre_vote: bool


@value
class VoteResponse:
    """granted: yes. leader_id: of `epoch`, if the voter knows one."""

    sender: int
    to: int
    correlation: int
    epoch: int
    leader_id: int
    granted: bool
    pre_vote: bool
    error: ErrorCode = ErrorCode.NONE


@value
class BeginQuorumEpochRequest:
    """I lead `epoch`: fetch from me. voter: whom the leader means."""

    sender: int
    to: int
    correlation: int
    epoch: int
    voter: ReplicaKey


@value
class BeginQuorumEpochResponse:
    sender: int
    to: int
    correlation: int
    epoch: int
    leader_id: int
    error: ErrorCode = ErrorCode.NONE


@value
class EndQuorumEpochRequest:
    """I lead `epoch` no longer. preferred_candidates: who should stand first, the most advanced log foremost."""

    sender: int
    to: int
    correlation: int
    epoch: int
    preferred_candidates: tuple[ReplicaKey, ...]


@value
class EndQuorumEpochResponse:
    sender: int
    to: int
    correlation: int
    epoch: int
    leader_id: int
    error: ErrorCode = ErrorCode.NONE


@value
class FetchRequest:
    """Give me what follows; and know by it that I have, durably, all below fetch_offset.

    last_epoch: of the record before fetch_offset. high_watermark: that the replica knows: if the leader's is higher, it
    does not wait for more records (KIP-1166). max_wait_ns: how long it may wait.
    """

    sender: int
    to: int
    correlation: int
    epoch: int
    replica: ReplicaKey
    fetch_offset: int
    last_epoch: int
    high_watermark: int
    max_wait_ns: int


@value
class FetchResponse:
    """batches: from fetch_offset on. Or, instead: `diverging` – your log ends, as mine, no later than there
    (epoch, end offset); or `snapshot`: fetch that, for the log begins after it.

    fetch_offset: of the request. high_watermark: UNKNOWN_OFFSET until the leader has committed in its epoch.
    """

    sender: int
    to: int
    correlation: int
    epoch: int
    leader_id: int
    fetch_offset: int
    batches: tuple[Batch, ...]
    high_watermark: int
    diverging: tuple[int, int] | None = None
    snapshot: SnapshotId | None = None
    error: ErrorCode = ErrorCode.NONE


@value
class FetchSnapshotRequest:
    """Give me that snapshot's bytes from `position` on."""

    sender: int
    to: int
    correlation: int
    epoch: int
    replica: ReplicaKey
    snapshot: SnapshotId
    position: int
    size_bytes_max: int


@value
class FetchSnapshotResponse:
    """data: the bytes at `position`; size_bytes, voters: of the whole snapshot (on the wire, its head)."""

    sender: int
    to: int
    correlation: int
    epoch: int
    leader_id: int
    snapshot: SnapshotId
    position: int
    size_bytes: int
    data: bytes
    voters: VoterSet | None
    error: ErrorCode = ErrorCode.NONE


@value
class UpdateVoterRequest:
    """I, a voter, listen elsewhere now, or know other levels of kraft.version (KIP-853)."""

    sender: int
    to: int
    correlation: int
    epoch: int
    voter: Voter


@value
class UpdateVoterResponse:
    sender: int
    to: int
    correlation: int
    epoch: int
    leader_id: int
    error: ErrorCode = ErrorCode.NONE


Request = (
    VoteRequest
    | BeginQuorumEpochRequest
    | EndQuorumEpochRequest
    | FetchRequest
    | FetchSnapshotRequest
    | UpdateVoterRequest
)
Response = (
    VoteResponse
    | BeginQuorumEpochResponse
    | EndQuorumEpochResponse
    | FetchResponse
    | FetchSnapshotResponse
    | UpdateVoterResponse
)
Message = Request | Response
