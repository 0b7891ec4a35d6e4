"""Snapshots: made of what is applied, sent in pieces to those who need what is gone, installed as a whole (KIP-630).

A snapshot's id is the end offset of what it stands for (exclusive: KAFKA-14618) and the epoch of the last record in
it. It is never above the high watermark. The log's beginning goes only when the snapshot is durable, so one of the two
is always there. A fetched snapshot becomes the log's beginning when it is durable; meanwhile the
replica neither fetches nor stands.
Source: KIP-630; Kafka's `KafkaRaftClient.handleFetchSnapshotRequest`, `KafkaRaftLog.truncateToLatestSnapshot`.
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft import leader
from rafka.core.raft.effects import Restore, SaveSnapshot, Snapshot
from rafka.core.raft.follower import is_expected
from rafka.core.raft.messages import FetchSnapshotRequest, FetchSnapshotResponse, SnapshotId
from rafka.core.raft.roles import Follower, Leader
from rafka.core.raft.state import Replica

NONE = ErrorCode.NONE


def save(raft: Replica, end_offset: int, data: bytes) -> bool:
    """Take a snapshot of everything applied below end_offset, which must be where a batch ends; False: not now.

    data: the state machine's own bytes, at least one; never changed afterwards.
    """
    log = raft.log
    assert data
    assert end_offset <= raft.applied_offset
    if raft.saving is not None or end_offset <= log.start_offset or not log.is_batch_end(end_offset):
        return False
    snapshot = Snapshot(SnapshotId(end_offset, log.epoch_at(end_offset)), data, log.voters_at(end_offset))
    _write(raft, snapshot, is_installing=False)
    return True


def _write(raft: Replica, snapshot: Snapshot, *, is_installing: bool) -> None:
    log = raft.log
    log.flush()
    raft.saving = snapshot
    raft.is_installing = is_installing
    raft.saving_token = log.next_token(log.handed_offset)
    raft.out.append(SaveSnapshot(snapshot, raft.saving_token))


def saved(raft: Replica) -> None:
    """The snapshot is durable: let go of what it stands for."""
    snapshot, raft.saving = raft.saving, None
    was_fetched, raft.is_installing = raft.is_installing, False
    assert snapshot is not None
    if was_fetched:
        install(raft, snapshot)
    else:
        raft.log.begin_after(snapshot)


def install(raft: Replica, snapshot: Snapshot) -> None:
    """Begin anew after a snapshot that was fetched, unless what it stands for has come otherwise meanwhile."""
    end_offset = snapshot.id.end_offset
    if end_offset <= raft.high_watermark:
        return
    assert not isinstance(raft.role, Leader), "who installs does not stand"
    raft.log.reset_to(snapshot)
    raft.high_watermark = raft.applied_offset = end_offset
    raft.out.append(Restore(snapshot))


# ---- sending --------------------------------------------------------------------------------------


def on_request(raft: Replica, message: FetchSnapshotRequest, now: int) -> None:
    """Give a piece of the latest snapshot. It counts as a sign of life, as a fetch does."""
    error = leader.refusal(raft, message.epoch)
    role = raft.role
    snapshot = raft.log.snapshot
    if error is NONE:
        assert isinstance(role, Leader)
        leader.heard_from(raft, role, leader.progress_of(role, message.replica), now)
        if snapshot is None or snapshot.id != message.snapshot:
            error = ErrorCode.SNAPSHOT_NOT_FOUND
        elif not 0 <= message.position < len(snapshot.data) or message.size_bytes_max <= 0:
            error = ErrorCode.POSITION_OUT_OF_RANGE
    data, size_bytes, voters = b"", 0, None
    if error is NONE:
        assert snapshot is not None
        data = snapshot.data[message.position : message.position + message.size_bytes_max]
        size_bytes, voters = len(snapshot.data), snapshot.voters
    raft.send(
        FetchSnapshotResponse(
            raft.key.id,
            message.sender,
            message.correlation,
            raft.epoch,
            raft.leader_id,
            message.snapshot,
            message.position,
            size_bytes,
            data,
            voters,
            error,
        )
    )


# ---- receiving ------------------------------------------------------------------------------------


def on_response(raft: Replica, message: FetchSnapshotResponse, now: int) -> None:
    """Take the next piece; once it is whole, write it."""
    raft.learn(message.epoch, message.leader_id, now)
    if not is_expected(raft, message.sender, message.epoch, message.correlation):
        return
    role = raft.role
    assert isinstance(role, Follower)
    role.in_flight = 0
    if message.error is not NONE:
        role.snapshot = None  # the leader has a newer one: a fetch says which
        role.retry_at = now + raft.settings.retry_backoff_ns
        return
    role.deadline = now + raft.settings.fetch_timeout_ns
    role.retry_at = now
    if message.snapshot != role.snapshot or message.position != len(role.snapshot_data):
        role.snapshot = None
        return
    role.snapshot_data += message.data
    if len(role.snapshot_data) >= message.size_bytes and message.voters is not None:
        role.snapshot = None
        if (
            raft.saving is None
        ):  # otherwise its own is on the way to the disk, and this one is asked for again
            whole = Snapshot(message.snapshot, bytes(role.snapshot_data), message.voters)
            _write(raft, whole, is_installing=True)
