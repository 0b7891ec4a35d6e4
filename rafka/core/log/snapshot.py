"""`<offset>.snapshot`: the producers of a log as they were when it ended at that offset.

Kafka's format, and after it what Kafka's reader passes over: the former batches of producers that have more than
the last one. Without them a producer that repeats several batches after a restart would be refused.

    version   int16   1
    crc       uint32  CRC-32C of everything that follows
    count     int32, then for each producer:
        producer_id              int64
        producer_epoch           int16
        last_sequence            int32   -1: no batch of this epoch is known, and last_offset is -1
        last_offset              int64   the last of the last batch
        offset_delta             int32   the records in it, less one
        timestamp                int64   ms
        coordinator_epoch        int32   of the transaction coordinator; -1: unknown
        current_txn_first_offset int64   -1: no transaction is open
    count     int32, then for each producer with former batches:
        producer_id              int64
        batches                  int32, then oldest first: first_sequence int32, last_sequence int32, offset int64

Source: Kafka's `ProducerStateManager`.
"""

from struct import Struct, error

from rafka.core.log.producers import SEQUENCES, Seen, State
from rafka.core.record.crc32c import crc32c

SNAPSHOT = ".snapshot"
VERSION = 1

_head = Struct(">hI")
_count = Struct(">i")
_entry = Struct(">qhiqiqiq")
_former = Struct(">qi")
_batch = Struct(">iiq")


def snapshot_of(states: dict[int, State]) -> bytes:
    """Write a snapshot."""
    parts = [_count.pack(len(states))]
    former = [_count.pack(sum(len(batches) > 1 for _, batches, _ in states.values()))]
    for producer, (epoch, batches, wall_ms) in states.items():
        last_sequence, last_offset, delta = -1, -1, 0
        if batches:
            first, last_sequence, offset = batches[-1]
            delta = (last_sequence - first) % SEQUENCES
            last_offset = offset + delta
        parts.append(_entry.pack(producer, epoch, last_sequence, last_offset, delta, wall_ms, -1, -1))
        if len(batches) > 1:
            former.append(_former.pack(producer, len(batches) - 1))
            former += [_batch.pack(*batch) for batch in batches[:-1]]
    content = b"".join(parts + former)
    return _head.pack(VERSION, crc32c(content)) + content


def crc_of(data: bytes) -> int:
    """Return the CRC that a snapshot has in it."""
    return int(_head.unpack_from(data)[1])


def states_in(data: bytes) -> dict[int, State] | None:
    """Read a snapshot; None when it is not what was written."""
    try:
        version, crc = _head.unpack_from(data)
        content = memoryview(data)[_head.size :]
        if version != VERSION or crc32c(content) != crc:
            return None
        states, at = _producers(content)
        if at < len(content):
            _add_former(states, content, at)
    except (error, KeyError):
        return None
    return states


def _producers(content: memoryview) -> tuple[dict[int, State], int]:
    states: dict[int, State] = {}
    at = _count.size
    for _ in range(_count.unpack_from(content)[0]):
        producer, epoch, last, last_offset, delta, wall_ms, _, _ = _entry.unpack_from(content, at)
        seen: Seen = ((last - delta) % SEQUENCES, last, last_offset - delta)
        states[producer] = (epoch, (seen,) if last_offset >= 0 else (), wall_ms)
        at += _entry.size
    return states, at


def _add_former(states: dict[int, State], content: memoryview, at: int) -> None:
    (count,) = _count.unpack_from(content, at)
    at += _count.size
    for _ in range(count):
        producer, batches = _former.unpack_from(content, at)
        at += _former.size
        end = at + batches * _batch.size
        former: tuple[Seen, ...] = tuple(_batch.unpack_from(content, p) for p in range(at, end, _batch.size))
        epoch, last, wall_ms = states[producer]
        states[producer] = (epoch, former + last, wall_ms)
        at = end
