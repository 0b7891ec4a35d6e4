"""Reading partitions of one topic onward from where one is, in rounds: one fetch to each leader."""

import time
from collections.abc import Callable
from typing import NamedTuple

from rafka.cli.cluster import Cluster, Topic
from rafka.cli.offsets import LATEST, by_leader, list_offsets
from rafka.cli.refusal import check
from rafka.client.fetched import records_from
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.fetch_response import FetchResponse, PartitionData
from rafka.core.record.builder import Record
from rafka.net.compression import Compression

PARTITION_BYTES = 1 << 20
ANSWER_BYTES = 16 << 20
NO_END = 1 << 63
WAIT_S = 0.5
"""A round takes at most about so long when there is nothing to read."""


class Bounds(NamedTuple):
    """When to stop: after so many records; after so many seconds without one; at what was the end. None: never."""

    records: int | None
    quiet_s: float | None
    to_end: bool


class Reading:
    """What is read next, and what is left to read.

    positions: the next offset to show, by partition; it moves on once a record has been shown. Partitions that had
    something go to the end, so that one which always has more does not starve the others.
    """

    def __init__(
        self, cluster: Cluster, topic: Topic, bounds: Bounds, show: Callable[[int, list[Record]], None]
    ) -> None:
        self.cluster = cluster
        self.topic = topic
        self.positions: dict[int, int] = {}
        self._show = show
        self._left = bounds.records
        self._quiet_s = bounds.quiet_s
        self._to_end = bounds.to_end
        self._ends: dict[int, int] = {}
        self._quiet_since = time.monotonic()
        self._codecs = Compression()

    def begin(self, positions: dict[int, int]) -> None:
        """Read on from these positions, and if that is asked for, no further than what is the end now."""
        self.positions = positions
        if self._to_end:
            asked = {(self.topic.name, p): LATEST for p in positions}
            self._ends = {p: end for (_, p), end in list_offsets(self.cluster, asked).items()}

    def round(self) -> bool:
        """Fetch from every leader and show what came; return whether there is more to do. Raises RafkaError."""
        unread = {(self.topic.name, p): o for p, o in self.positions.items() if o < self._ends.get(p, NO_END)}
        if self._to_end and not unread:
            return False
        leaders = by_leader(self.cluster, unread)
        if not leaders:  # a member of a group that has no partition for it
            time.sleep(self._wait_s())
        for node, places in leaders.items():
            partitions = [partition for _, partition in places]
            for data in self._fetch(node, partitions, self._wait_s() / len(leaders)):
                self._take(data)
                if self._left == 0:
                    return False
        return self._quiet_s is None or time.monotonic() - self._quiet_since < self._quiet_s

    def _wait_s(self) -> float:
        if self._quiet_s is None:
            return WAIT_S
        return max(0.0, min(WAIT_S, self._quiet_since + self._quiet_s - time.monotonic()))

    def _fetch(self, node: int, partitions: list[int], wait_s: float) -> list[PartitionData]:
        asked = [
            FetchPartition(
                partition=partition,
                fetch_offset=self.positions[partition],
                partition_max_bytes=PARTITION_BYTES,
            )
            for partition in partitions
        ]
        topic = FetchTopic(topic=self.topic.name, topic_id=self.topic.topic_id, partitions=asked)
        request = FetchRequest(
            max_wait_ms=round(wait_s * 1000), min_bytes=1, max_bytes=ANSWER_BYTES, topics=[topic]
        )
        answer = self.cluster.node(node).call(request, FetchResponse)
        check(answer.error_code, self.topic.name, None)
        return [data for one in answer.responses for data in one.partitions]

    def _take(self, data: PartitionData) -> None:
        partition = data.partition_index
        position = self.positions[partition]
        check(data.error_code, f"{self.topic.name}-{partition} at offset {position}", None)
        if not data.records:
            return
        assert isinstance(data.records, bytes | bytearray | memoryview)
        records, following = records_from(memoryview(data.records), position, self._codecs)
        end = self._ends.get(partition, NO_END)
        if following > end:
            records = [record for record in records if record.offset < end]
            following = end
        if self._left is not None and len(records) >= self._left:
            records = records[: self._left]
            following = records[-1].offset + 1
        if records:
            self._show(partition, records)
            self._quiet_since = time.monotonic()
        if self._left is not None:
            self._left -= len(records)
        del self.positions[partition]
        self.positions[partition] = following
