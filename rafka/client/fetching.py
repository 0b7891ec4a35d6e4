"""Fetches: what a consumer asks the leaders of its partitions for, and what becomes of the answers.

Each leader is asked for all partitions that have room, by one fetch at a time, on a lane of its own, because a broker
holds a fetch back until there is something to read. An answer counts for a partition that still asks for that offset.
"""

from collections.abc import Iterable

from rafka.client.cluster import Cluster
from rafka.client.errors import RETRIABLE, BrokerError, ClientError, known
from rafka.client.fetched import records_from
from rafka.client.link import Call
from rafka.client.offsets import TopicPartition
from rafka.client.reading import Reading
from rafka.client.settings import ConsumerSettings
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.fetch_response import FetchResponse, PartitionData
from rafka.core.errors import CorruptRecord, ErrorCode
from rafka.core.record.compression import Codecs
from rafka.core.types import Now

FETCH_LANE = "fetch"
FETCH_GRACE_MS = 30_000
"""How much longer than a broker may hold a fetch back its answer is waited for."""


class Fetcher:
    """Fills readings. error: what the user is to be told, until somebody takes it."""

    def __init__(self, cluster: Cluster, consuming: ConsumerSettings, codecs: Codecs) -> None:
        self.cluster = cluster
        self.consuming = consuming
        self.error: ClientError | None = None
        self._codecs = codecs
        self._fetches: dict[int, tuple[Call, dict[TopicPartition, tuple[Reading, int]]]] = {}
        """By node: the fetch under way, and the offset that it asks for of each partition."""

    def fetch(self, readings: Iterable[Reading], now: Now) -> None:
        """Ask every leader that is not asked already for the partitions that have room."""
        wanted: dict[int, list[Reading]] = {}
        for reading in readings:
            if reading.is_paused or reading.next_fetch is None or reading.retry_at > now.mono:
                continue
            if len(reading.records) >= self.consuming.max_poll_records:
                continue
            leader = self.cluster.topology.leader(*reading.place)
            if leader < 0:
                self.cluster.refresh()
                reading.failed(self.cluster, now)
            elif leader not in self._fetches:
                wanted.setdefault(leader, []).append(reading)
        for node, asked in wanted.items():
            self._fetch_from(node, asked, now)

    def _fetch_from(self, node: int, readings: list[Reading], now: Now) -> None:
        consuming = self.consuming
        topics: dict[str, FetchTopic] = {}
        asked: dict[TopicPartition, tuple[Reading, int]] = {}
        for reading in readings:
            name, partition = reading.place
            assert reading.next_fetch is not None
            topic = topics.get(name)
            if topic is None:
                topic = FetchTopic(topic=name, topic_id=self.cluster.topology.topic_id(name))
                topics[name] = topic
            topic.partitions.append(
                FetchPartition(
                    partition=partition,
                    fetch_offset=reading.next_fetch,
                    partition_max_bytes=consuming.max_partition_fetch_bytes,
                )
            )
            asked[reading.place] = (reading, reading.next_fetch)
        request = FetchRequest(
            max_wait_ms=consuming.fetch_max_wait_ms,
            min_bytes=consuming.fetch_min_bytes,
            max_bytes=consuming.fetch_max_bytes,
            topics=list(topics.values()),
        )
        patience_ms = max(
            self.cluster.settings.request_timeout_ms, consuming.fetch_max_wait_ms + FETCH_GRACE_MS
        )
        call = self.cluster.ask(request, self, now, node=node, lane=FETCH_LANE, timeout_ms=patience_ms)
        self._fetches[node] = call, asked

    def answered(self, call: Call, now: Now) -> None:
        """Take what a fetch brought, or its loss."""
        assert call.node is not None
        fetched, asked = self._fetches.pop(call.node)
        assert fetched is call
        answer = call.answer
        code = known(answer.error_code) if isinstance(answer, FetchResponse) else ErrorCode.NONE
        if code and code not in RETRIABLE:
            self.error = BrokerError(code, f"a fetch from node {call.node}")
        if not isinstance(answer, FetchResponse) or code:
            self.cluster.refresh()
            for reading, _ in asked.values():
                reading.failed(self.cluster, now)
            return
        for topic in answer.responses:
            name = self.cluster.topology.name_of(topic.topic, topic.topic_id)
            for data in topic.partitions:
                found = asked.get(TopicPartition(name, data.partition_index))
                if found is not None:
                    self._take(*found, data, now)

    def _take(self, reading: Reading, offset: int, data: PartitionData, now: Now) -> None:
        if reading.next_fetch != offset:
            return  # it was taken away, the user has gone elsewhere, or another leader was faster
        code = known(data.error_code)
        if code == ErrorCode.OFFSET_OUT_OF_RANGE:
            reading.lose_place(None, ignores_committed=True)
        elif code in RETRIABLE:
            self.cluster.refresh()
            reading.failed(self.cluster, now)
        elif code:
            reading.failed(self.cluster, now)
            self.error = BrokerError(code, str(reading.place))
        else:
            self._take_records(reading, offset, data, now)

    def _take_records(self, reading: Reading, offset: int, data: PartitionData, now: Now) -> None:
        reading.high_watermark = data.high_watermark
        content = data.records
        if content is None or not len(content):
            return
        assert isinstance(content, bytes | bytearray | memoryview), "what is received is one buffer"
        try:
            records, after = records_from(memoryview(content), offset, self._codecs)
        except CorruptRecord as error:
            reading.failed(self.cluster, now)
            self.error = ClientError(f"{reading.place} at {offset}: {error}")
            return
        reading.took(records, offset, after)
