"""The table of partitions that this node leads, by topic name and by topic id, and their logs' directories.

A topic may be made again under the name of one that is being deleted: the first thing that a deletion does is to
rename the old directory, and operations on one name keep their order, so the name is free for the new log.
"""

from collections.abc import Iterator, Sequence

import attrs

from rafka.core.config import LogConfig
from rafka.core.log.log import Log
from rafka.core.log.restored import Restored
from rafka.core.log.traffic import Traffic
from rafka.core.machine import Outbox
from rafka.core.record.batch import Batch
from rafka.core.replication.partition import Partition
from rafka.core.types import File, Now, Uuid


def directory_of(topic: str, index: int) -> File:
    """Return the directory of a partition's log, as Kafka names it."""
    return File(f"{topic}-{index}")


@attrs.define(eq=False)
class Partitions:
    """Every partition of a node."""

    out: Outbox
    _dirty: list[Partition] = attrs.field(factory=list)
    _by_name: dict[str, dict[int, Partition]] = attrs.field(factory=dict)
    _by_id: dict[Uuid, dict[int, Partition]] = attrs.field(factory=dict)
    _by_log: dict[Log, Partition] = attrs.field(factory=dict)
    _restored: Restored = attrs.field(factory=Restored)
    _traffic: dict[Uuid, Traffic] = attrs.field(factory=dict)
    """What is counted of each topic."""

    def __iter__(self) -> Iterator[Partition]:
        return iter(list(self._by_log.values()))

    def __len__(self) -> int:
        return len(self._by_log)

    def by_name(self, topic: str) -> dict[int, Partition] | None:
        """Return a topic's partitions by index."""
        return self._by_name.get(topic)

    def by_id(self, topic_id: Uuid) -> dict[int, Partition] | None:
        """Return a topic's partitions by index."""
        return self._by_id.get(topic_id)

    def find(self, topic: str, index: int) -> Partition | None:
        """Return one partition."""
        partitions = self._by_name.get(topic)
        return None if partitions is None else partitions.get(index)

    def of_log(self, log: Log) -> Partition | None:
        """Return the partition that a log is the log of; None once it was closed."""
        return self._by_log.get(log)

    def create(self, topic: str, topic_id: Uuid, index: int, config: LogConfig) -> Partition:
        """Make a partition over its directory, which is not looked at: recover its log if there may be one."""
        log = Log(directory_of(topic, index), self.out, config, (topic_id, index), self._restored)
        log.traffic = self._traffic.setdefault(topic_id, log.traffic)
        return Partition(topic, topic_id, index, log)

    def open(self, partition: Partition) -> None:
        """Begin to serve a partition."""
        indexes = self._by_name.setdefault(partition.topic, {})
        assert partition.index not in indexes, "a partition is opened once"
        indexes[partition.index] = partition
        self._by_id[partition.topic_id] = indexes
        self._by_log[partition.log] = partition

    def close(self, topic: str) -> list[Partition]:
        """Stop serving a topic; return what were its partitions."""
        closed = list(self._by_name.pop(topic, {}).values())
        for partition in closed:
            self._by_id.pop(partition.topic_id, None)
            self._traffic.pop(partition.topic_id, None)
            del self._by_log[partition.log]
        return closed

    def configure(self, topic: str, config: LogConfig) -> None:
        """Let a topic's logs obey another configuration from now on."""
        for partition in self._by_name.get(topic, {}).values():
            partition.log.config = config

    def append(self, partition: Partition, batches: Sequence[Batch], now: Now) -> int:
        """Append checked batches, to be flushed at the end of the turn; return the first record's offset."""
        if not partition.is_dirty:
            self.mark(partition)
        return partition.append(batches, now)

    def mark(self, partition: Partition) -> None:
        """Take note that a log was appended to, which is not marked yet."""
        partition.is_dirty = True
        self._dirty.append(partition)

    def flush(self, now: Now) -> None:
        """Flush every log that was appended to in this turn: their batches share one write and one sync."""
        for partition in self._dirty:
            partition.is_dirty = False
            partition.log.flush(now)
        self._dirty.clear()
