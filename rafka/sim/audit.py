"""What a broker keeps in memory, held against what it was made from.

LO5   after a start: producers and leader epochs are a function of the batches on the disk, as they lie there
LO7   after a start: no log begins before an offset at which a client has seen it begin
GR1   after a start: no group is in an older generation, and static members are who they were told to be
MD1   after a start: partitions that were granted are there
LO9   a log with damage in the middle is not opened as if it ended there
LV    no member of a group, and no id that was given out, without a timer; no fetch asleep on what it waits for
"""

from rafka.core.log.log import Log
from rafka.core.log.producers import Producers
from rafka.core.log.segment import base_offset_of
from rafka.core.node.fetch import Fetch
from rafka.core.node.node import Node
from rafka.core.record.batch import HEADER_BYTES, Header
from rafka.core.replication.partition import Partition
from rafka.sim.ledger import Ledger, Violation


def audit_start(node: Node, ledger: Ledger) -> None:
    """Look at every log of a node that is about to listen, before it takes anything new. Raises: Violation."""
    for partition in node.partitions:
        log = partition.log
        if log.is_offline:
            continue
        key = log.directory
        if ledger.is_damaged(key):
            _is_not_cut(log, ledger)
            continue
        book = ledger.book(key)
        if log.log_start_offset < book.log_start and not book.is_gone:
            raise Violation(
                "LO7", f"{key}: begins at {log.log_start_offset}, and was seen to begin at {book.log_start}"
            )
        _is_rebuilt(log, ledger)
    _are_groups(node, ledger)
    for topic, count in ledger.grown.items():
        if len(node.partitions.by_name(topic) or ()) < count and not ledger.is_broken:
            raise Violation("MD1", f"{topic} has no {count} partitions, and was granted them")


def _are_groups(node: Node, ledger: Ledger) -> None:
    for group_id, generation in ledger.generations.items():
        for shard in node.groups.shards.values():
            group = shard.groups.get(group_id)
            if group is not None and group.generation < generation:
                raise Violation("GR1", f"{group_id} is in generation {group.generation} after {generation}")
    for (group_id, instance_id), member_id in ledger.static_ids.items():
        for shard in node.groups.shards.values():
            group = shard.groups.get(group_id)
            known = None if group is None else group.instances.get(instance_id)
            if known not in (None, member_id):
                raise Violation(
                    "GR1", f"{group_id}: {instance_id} is {known} again, and was told it is {member_id}"
                )


def _is_not_cut(log: Log, ledger: Ledger) -> None:
    """What lies after damage is on the disk still: who opens the log without it has thrown it away."""
    bases = [
        b
        for n in ledger.disk.names_in(log.directory)
        if (b := base_offset_of(n.rpartition("/")[2])) is not None
    ]
    if bases and log.log_end_offset < max(bases):
        raise Violation(
            "LO9", f"{log.directory}: ends at {log.log_end_offset}, and a segment begins at {max(bases)}"
        )


def _is_rebuilt(log: Log, ledger: Ledger) -> None:
    """Make producers and leader epochs anew from the batches, and compare."""
    producers, epoch = Producers(), -1
    for segment in log.segments:
        inode = ledger.disk.files.get(segment.file)
        data = b"" if inode is None else inode.data
        at = 0
        while at + HEADER_BYTES <= min(len(data), segment.size_bytes):
            header = Header(data, at)
            at += header.size_bytes
            producers.update(header, header.base_offset, 0)
            epoch = max(epoch, header.leader_epoch)
    known = log.producers.states()
    for producer, (its_epoch, batches, _) in producers.states().items():
        state = known.get(producer)
        # Of a compacted log batches in between may be gone, and a snapshot may know of them still.
        made = batches[-1:] if log.config.cleanup_compact else batches
        if state is None or state[0] != its_epoch or made != state[1][-len(made) :]:
            raise Violation(
                "LO5", f"{log.directory}: producer {producer} is {state}, and wrote {batches[-1:]}"
            )
    if log.epochs.latest != epoch and log.log_start_offset < log.log_end_offset:
        raise Violation(
            "LO5", f"{log.directory}: the newest leader epoch is {log.epochs.latest}, not {epoch}"
        )


def check_groups(node: Node) -> None:
    """Assert what holds of groups between turns: everybody who is waited for is so on a timer."""
    for shard in node.groups.shards.values():
        shard.check()
        due = shard.rounds.alarms._due  # noqa: SLF001 – nobody else wants to know
        for group in shard.groups.values():
            name = group.group_id
            for member in group.members.values():
                is_parked = member.joining is not None or member.syncing is not None
                assert is_parked or ("session", name, member.member_id) in due, "a member has a session"
            assert all(("pending", name, pending) in due for pending in group.pending), (
                "an id given out is timed"
            )


def check_readers(node: Node, partition: Partition) -> None:
    """Assert that no fetch sleeps on what it waits for."""
    for ticket in partition.readers:
        fetch = node.parking.find(ticket)
        if not isinstance(fetch, Fetch) or fetch.request.min_bytes > 1:
            continue
        for key, wanted in fetch.context.partitions.items():
            if key[1] == partition.index and key[0] in (partition.topic, partition.topic_id):
                assert wanted.fetch_offset >= partition.high_watermark, "a fetch sleeps on what it waits for"
