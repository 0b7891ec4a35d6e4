"""What a replica asks of its world, as data. A Message in the outbox is to be sent to `message.to`.

The laws: each token is answered exactly once, by `Raft.synced(token)`, when everything that was asked for before it,
of the same store, is durable. There are two stores, the election file and the log with its snapshots; operations on one
are performed in the order given, and their tokens answered in that order. Between the two there is no order.
A crash may keep any prefix of what a store was asked for and had not yet answered.
Source: ARCHITECTURE, "Promises that need the disk"; KIP-595 (quorum-state); KIP-630 (snapshots).
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft.batch import Batch
from rafka.core.raft.messages import Message, SnapshotId
from rafka.core.raft.voters import ReplicaKey, VoterSet
from rafka.core.shape import value


@value
class Election:
    """What quorum-state says: the epoch, whom this replica voted for in it, and who leads it, as far as is known."""

    epoch: int = 0
    voted: ReplicaKey | None = None
    leader_id: int = -1


@value
class Snapshot:
    """The state of everything below id.end_offset: the state machine's bytes, and the voter set of that moment."""

    id: SnapshotId
    data: bytes
    voters: VoterSet


@value
class SaveElection:
    """Replace the election file, atomically."""

    election: Election
    token: int


@value
class AppendLog:
    """Append to the log. The batches follow on what it has."""

    batches: tuple[Batch, ...]
    token: int


@value
class TruncateLog:
    """Take back every batch from end_offset on."""

    end_offset: int
    token: int


@value
class SaveSnapshot:
    """Write a snapshot; under its name it is there whole, or not at all."""

    snapshot: Snapshot
    token: int


@value
class ResetLog:
    """Let the log be empty and begin at start_offset: a snapshot stands for what was before."""

    start_offset: int
    token: int


@value
class DeleteBefore:
    """Let the log begin at start_offset; an older snapshot goes too. It may come back after a crash: no harm."""

    start_offset: int


@value
class Apply:
    """A batch is committed: the state machine takes it. They come in order, each once in a life."""

    batch: Batch


@value
class Restore:
    """The state machine begins anew from a snapshot."""

    snapshot: Snapshot


@value
class Answer:
    """A proposal, a read or a change of voters is decided. offset: the end of what was committed for it, or -1.

    NOT_LEADER_OR_FOLLOWER for what was appended means that nobody knows: it may be committed yet.
    """

    ticket: int
    error: ErrorCode
    offset: int = -1


@value
class Became:
    """The replica has another role: its name, the epoch, and the leader it knows, or -1."""

    role: str
    epoch: int
    leader_id: int


@value
class Noted:
    """Something is worth a line: a short fixed phrase, and what belongs to it."""

    text: str
    offset: int = -1


Effect = (
    Message
    | SaveElection
    | AppendLog
    | TruncateLog
    | SaveSnapshot
    | ResetLog
    | DeleteBefore
    | Apply
    | Restore
    | Answer
    | Became
    | Noted
)
