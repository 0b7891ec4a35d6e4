"""Following: fetch, append, cut back what the leader does not have, and give the leader up in time.

A fetch says: I have, durably, everything below its offset. So it leaves only when the log is durable to its end, and
there is one request in flight at a time. Source: KIP-595 (Fetch, diverging epoch), KIP-630 (snapshot id); Kafka's
`KafkaRaftClient.handleFetchResponse`, `RaftLog.truncateToEndOffset`.
"""

from rafka.core.errors import ErrorCode
from rafka.core.raft.messages import FetchRequest, FetchResponse, FetchSnapshotRequest
from rafka.core.raft.roles import NEVER, Follower
from rafka.core.raft.state import Replica


def fetch(raft: Replica, role: Follower, now: int) -> None:
    """Send what is due to the leader: a fetch, or one for the next piece of a snapshot."""
    if now < role.retry_at or waits_for_disk(raft):
        return
    role.in_flight = raft.next_correlation()
    role.retry_at = now + raft.settings.request_timeout_ns
    if role.snapshot is not None:
        raft.send(
            FetchSnapshotRequest(
                raft.key.id,
                role.leader_id,
                role.in_flight,
                raft.election.epoch,
                raft.key,
                role.snapshot,
                len(role.snapshot_data),
                raft.settings.snapshot_bytes_max,
            )
        )
        return
    raft.send(fetch_request(raft, role.leader_id, role.in_flight))


def fetch_request(raft: Replica, to: int, correlation: int) -> FetchRequest:
    """Make the request that follows on what the log durably has."""
    log = raft.log
    return FetchRequest(
        raft.key.id,
        to,
        correlation,
        raft.election.epoch,
        raft.key,
        log.durable_offset,
        log.epoch_at(log.durable_offset),
        raft.high_watermark,
        raft.settings.fetch_wait_ns,
    )


def on_fetch_response(raft: Replica, message: FetchResponse, now: int) -> None:
    """Take what a leader answered; only to the request in flight, and only of this epoch."""
    raft.learn(message.epoch, message.leader_id, now)
    role = raft.role
    if not is_expected(raft, message.sender, message.epoch, message.correlation):
        return
    assert isinstance(role, Follower)
    role.in_flight = 0
    if message.error is not ErrorCode.NONE:
        role.retry_at = now + raft.settings.retry_backoff_ns
        return
    role.deadline = now + raft.settings.fetch_timeout_ns
    role.has_fetched = True
    role.retry_at = now
    if message.diverging is not None:
        truncate(raft, role, message.diverging, now)
    elif message.snapshot is not None:
        if message.snapshot.end_offset > raft.high_watermark:
            role.snapshot = message.snapshot
            role.snapshot_data.clear()
    else:
        append(raft, message)
        advance(raft, message.high_watermark)


def is_expected(raft: Replica, sender: int, epoch: int, correlation: int) -> bool:
    """Whether a leader's answer is the one that is waited for."""
    role = raft.role
    return (
        isinstance(role, Follower)
        and epoch == raft.election.epoch
        and sender == role.leader_id
        and correlation == role.in_flight != 0
    )


def append(raft: Replica, message: FetchResponse) -> None:
    """Take the batches that follow on the log's end."""
    log = raft.log
    for batch in message.batches:
        if batch.base_offset != log.end_offset or not log.last_epoch <= batch.epoch <= message.epoch:
            raft.note("batches that do not follow on the log", batch.base_offset)
            return
        log.append(batch)


def advance(raft: Replica, high_watermark: int) -> None:
    """Take the leader's high watermark, as far as the log goes."""
    raft.commit(min(high_watermark, raft.log.end_offset))


def truncate(raft: Replica, role: Follower, diverging: tuple[int, int], now: int) -> None:
    """Cut the log back to where it and the leader's may still be one; the next fetch asks again.

    What is committed is never cut (KAFKA-12460): a leader that asks for it has lost it, and is not followed there.
    """
    epoch, end_offset = diverging
    log = raft.log
    own_epoch, own_end = log.end_of_epoch(epoch)
    target = min(own_end, end_offset) if own_epoch == epoch else own_end
    if target < raft.high_watermark or target < log.start_offset:
        raft.note("a leader asks to cut what is committed", target)
        role.retry_at = now + raft.settings.retry_backoff_ns
        return
    log.truncate(target)


def waits_for_disk(raft: Replica) -> bool:
    """Whether nothing can be fetched before the disk has done what it was asked to."""
    return raft.is_installing or raft.log.durable_offset < raft.log.end_offset


def deadline(raft: Replica, role: Follower) -> int:
    """Say when the follower has something to do, apart from what the disk's answers bring."""
    if raft.is_installing:
        return NEVER
    return role.deadline if waits_for_disk(raft) else min(role.deadline, role.retry_at)
