"""A cluster in memory, simple enough to be right, and the network to it, whose faults are chosen by the test.

Two nodes share one store; each partition is led by one of them. What a broker remembers of an idempotent producer is
what KIP-98 says: the last five batches in each partition.
"""

import re
from heapq import heappop, heappush
from itertools import count

from rafka.client.outputs import Dial, HangUp, Settled, Transmit
from rafka.core.api import APIS, request_header_version, response_header_version
from rafka.core.api.api_versions_response import ApiVersion, ApiVersionsResponse
from rafka.core.api.fetch_response import FetchableTopicResponse, FetchResponse, PartitionData
from rafka.core.api.find_coordinator_response import Coordinator, FindCoordinatorResponse
from rafka.core.api.init_producer_id_response import InitProducerIdResponse
from rafka.core.api.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from rafka.core.api.metadata_response import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from rafka.core.api.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from rafka.core.api.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from rafka.core.api.produce_response import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from rafka.core.api.request_header import RequestHeader
from rafka.core.api.response_header import ResponseHeader
from rafka.core.errors import ErrorCode
from rafka.core.message import codec, decode, encode
from rafka.core.record.batch import Header, patch
from rafka.core.record.builder import records_of
from rafka.core.types import MonoNs, Now, Uuid, WallMs
from rafka.net.compression import Compression
from rafka.net.frame import Frames, frame_of

MS = 1_000_000
SERVED = ("Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch", "FindCoordinator")
SERVED += ("ApiVersions", "InitProducerId")
REMEMBERED = 5


class Log:
    def __init__(self):
        self.batches = []
        self.end = 0
        self.start = 0
        self.leader = 1
        self.producers = {}
        """(epoch, [(first sequence, last sequence, base offset), …]) by producer id."""

    def append(self, data, max_bytes):
        """Returns (error, base offset)."""
        header = Header(data)
        if len(data) > max_bytes:
            return ErrorCode.MESSAGE_TOO_LARGE, -1
        if header.producer_id >= 0:
            known = self.producers.get(header.producer_id)
            last = (header.base_sequence + header.count - 1) % (1 << 31)
            if known is not None and header.producer_epoch < known[0]:
                return ErrorCode.INVALID_PRODUCER_EPOCH, -1
            if known is not None:
                for first_known, last_known, offset in known[1]:
                    if (first_known, last_known) == (header.base_sequence, last):
                        return ErrorCode.NONE, offset
                if header.base_sequence != (known[1][-1][1] + 1) % (1 << 31):
                    return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1
            elif header.base_sequence != 0:
                return ErrorCode.UNKNOWN_PRODUCER_ID, -1
            batches = known[1] if known else []
            batches.append((header.base_sequence, last, self.end))
            self.producers[header.producer_id] = (header.producer_epoch, batches[-REMEMBERED:])
        base = self.end
        data = bytearray(data)
        patch(data, base, 0)
        self.batches.append((base, data))
        self.end += header.count
        return ErrorCode.NONE, base

    def records(self):
        return [record for _, data in self.batches for record in records_of(data, Compression())]


class Cluster:
    """topics: names and numbers of partitions. errors: {api: [codes to answer with, one each time]}."""

    def __init__(self, topics, nodes=(1,), max_bytes=1 << 20):
        self.nodes = nodes
        self.max_bytes = max_bytes
        self.ids = {}
        self.logs = {}
        self.committed = {}
        self.errors = {}
        self.asked = []
        self.producer_ids = count(1000)
        for name, partitions in topics.items():
            self.create(name, partitions)

    def create(self, name, partitions):
        self.ids[name] = Uuid(name.encode().ljust(16, b"\1"))
        for index in range(partitions):
            self.logs[name, index] = Log()

    def name(self, topic_id):
        return next((name for name, known in self.ids.items() if known == bytes(topic_id)), "")

    def values(self, name, partition):
        return [record.value for record in self.logs[name, partition].records()]

    def answer(self, node, api, request):
        self.asked.append((node, api, request))
        return getattr(self, "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", api).lower())(node, request)

    def error(self, api):
        queue = self.errors.get(api)
        return queue.pop(0) if queue else ErrorCode.NONE

    def on_api_versions(self, node, request):
        keys = [
            ApiVersion(api_key=k, min_version=a.first_version, max_version=a.last_stable_version)
            for k, a in APIS.items()
            if a.name in SERVED
        ]
        return ApiVersionsResponse(api_keys=keys)

    def on_metadata(self, node, request):
        brokers = [MetadataResponseBroker(node_id=n, host=f"node{n}", port=9092) for n in self.nodes]
        topics = []
        for asked in request.topics or []:
            logs = {index: log for (name, index), log in self.logs.items() if name == asked.name}
            partitions = [
                MetadataResponsePartition(partition_index=i, leader_id=log.leader) for i, log in logs.items()
            ]
            code = ErrorCode.NONE if logs else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            topic_id = self.ids.get(asked.name, Uuid(bytes(16)))
            topics.append(
                MetadataResponseTopic(
                    name=asked.name, topic_id=topic_id, error_code=code, partitions=partitions
                )
            )
        return MetadataResponse(brokers=brokers, topics=topics, controller_id=1)

    def on_init_producer_id(self, node, request):
        return InitProducerIdResponse(
            producer_id=next(self.producer_ids), producer_epoch=0, error_code=self.error("InitProducerId")
        )

    def on_produce(self, node, request):
        topics = []
        for topic in request.topic_data:
            results = []
            for part in topic.partition_data:
                log = self.logs.get((topic.name or self.name(topic.topic_id), part.index))
                code, base = self.error("Produce"), -1
                if log is None:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                elif log.leader != node:
                    code = ErrorCode.NOT_LEADER_OR_FOLLOWER
                elif not code:
                    code, base = log.append(bytes(part.records), self.max_bytes)
                results.append(PartitionProduceResponse(index=part.index, error_code=code, base_offset=base))
            topics.append(
                TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=results)
            )
        return ProduceResponse(responses=topics)

    def on_fetch(self, node, request):
        topics = []
        for topic in request.topics:
            results = []
            for part in topic.partitions:
                log = self.logs[topic.topic or self.name(topic.topic_id), part.partition]
                code, data = self.error("Fetch"), b""
                if log.leader != node:
                    code = ErrorCode.NOT_LEADER_OR_FOLLOWER
                elif not code and not log.start <= part.fetch_offset <= log.end:
                    code = ErrorCode.OFFSET_OUT_OF_RANGE
                elif not code:
                    after = [
                        batch
                        for base, batch in log.batches
                        if base + Header(batch).last_offset_delta >= part.fetch_offset
                    ]
                    data = b"".join(after)[: max(part.partition_max_bytes, len(after[0]) if after else 0)]
                results.append(
                    PartitionData(
                        partition_index=part.partition,
                        error_code=code,
                        high_watermark=log.end,
                        log_start_offset=log.start,
                        records=data,
                    )
                )
            topics.append(
                FetchableTopicResponse(topic=topic.topic, topic_id=topic.topic_id, partitions=results)
            )
        return FetchResponse(responses=topics)

    def on_list_offsets(self, node, request):
        topics = []
        for topic in request.topics:
            results = []
            for part in topic.partitions:
                log = self.logs[topic.name, part.partition_index]
                code = self.error("ListOffsets") or (
                    0 if log.leader == node else ErrorCode.NOT_LEADER_OR_FOLLOWER
                )
                offset = {-2: log.start, -1: log.end}.get(part.timestamp, -1)
                results.append(
                    ListOffsetsPartitionResponse(
                        partition_index=part.partition_index, error_code=code, offset=offset
                    )
                )
            topics.append(ListOffsetsTopicResponse(name=topic.name, partitions=results))
        return ListOffsetsResponse(topics=topics)

    def on_find_coordinator(self, node, request):
        found = [
            Coordinator(key=key, node_id=1, host="node1", port=9092, error_code=self.error("FindCoordinator"))
            for key in request.coordinator_keys
        ]
        return FindCoordinatorResponse(coordinators=found)

    def on_offset_commit(self, node, request):
        topics = []
        for topic in request.topics:
            name, results = topic.name or self.name(topic.topic_id), []
            for part in topic.partitions:
                code = self.error("OffsetCommit")
                if not code:
                    self.committed[request.group_id, name, part.partition_index] = part.committed_offset
                results.append(
                    OffsetCommitResponsePartition(partition_index=part.partition_index, error_code=code)
                )
            topics.append(
                OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=results)
            )
        return OffsetCommitResponse(topics=topics)

    def on_offset_fetch(self, node, request):
        (group,) = request.groups
        topics = []
        for topic in group.topics:
            name = topic.name or self.name(topic.topic_id)
            results = [
                OffsetFetchResponsePartitions(
                    partition_index=i, committed_offset=self.committed.get((group.group_id, name, i), -1)
                )
                for i in topic.partition_indexes
            ]
            topics.append(
                OffsetFetchResponseTopics(name=topic.name, topic_id=topic.topic_id, partitions=results)
            )
        answer = OffsetFetchResponseGroup(
            group_id=group.group_id, topics=topics, error_code=self.error("OffsetFetch")
        )
        return OffsetFetchResponse(groups=[answer])


class Luck:
    """Chance for a machine: always the first, unless it is given a generator."""

    def __init__(self, random=None):
        self.random = random

    def below(self, bound):
        return 0 if self.random is None else self.random.randrange(bound)

    def bytes(self, size):
        return bytes(size)


class Net:
    """Drives a machine against a cluster in virtual time. An answer takes `delay_ms` each way.

    fate: called with the API's name for every request; "ok", "lost" (the link ends before it is done), "unheard"
    (it is done, and the link ends), or "never" (it is done and the answer never comes).
    down: nodes that refuse to be dialled. silent: those that neither refuse nor accept.
    """

    def __init__(self, machine, cluster, fate=lambda api: "ok", delay_ms=1):
        self.machine, self.cluster, self.fate = machine, cluster, fate
        self.delay = delay_ms * MS
        self.time = 1_000 * MS
        self.links = {}
        self.down, self.silent = set(), set()
        self.dialled = []
        self.settled = []
        self._heap = []
        self._order = count()

    @property
    def now(self):
        return Now(MonoNs(self.time), WallMs(1_700_000_000_000 + self.time // MS))

    def later(self, what, *args, wait_ms=0):
        heappush(self._heap, (self.time + self.delay + wait_ms * MS, next(self._order), what, args))

    def turn(self):
        self.machine.tick(self.now)
        for output in self.machine.drain():
            match output:
                case Dial(link, host, port):
                    self._dial(link, host, port)
                case Transmit(link, data):
                    if link in self.links:
                        self.later(self._arrive, link, bytes(data))
                case HangUp(link):
                    self.links.pop(link, None)
                case Settled(pending):
                    self.settled.append(pending)

    def run(self, ms=None, until=lambda: False):
        """Go on until something is so, so much time has passed, or nothing will ever happen."""
        end = self.time + (3_600_000 if ms is None else ms) * MS
        for _ in range(200_000):
            self.turn()
            if until():
                return
            due = self.machine.deadline()
            times = [t for t in (due, self._heap[0][0] if self._heap else None) if t is not None]
            if not times or min(times) > end:
                self.time = end
                return
            assert min(times) > self.time or self._heap or due == 0 or due <= self.time
            self.time = max(self.time, min(times))
            while self._heap and self._heap[0][0] <= self.time:
                _, _, what, args = heappop(self._heap)
                what(*args)
        raise AssertionError("the machine does not come to rest")

    def result(self, pending):
        pending.waiter = "test"
        self.run(until=lambda: pending.is_done)
        return pending.result()

    def cut(self, link):
        """End a link, as a broker does that dies."""
        if self.links.pop(link, None) is not None:
            self.machine.lost(link, self.now)

    def cut_all(self):
        for link in list(self.links):
            self.cut(link)

    def _dial(self, link, host, port):
        node = int(host.removeprefix("node"))
        self.dialled.append(node)
        if node in self.silent:
            return
        if node in self.down or node not in self.cluster.nodes:
            self.later(self.machine.lost, link, self.now, "refused")
        else:
            self.links[link] = (node, Frames(1 << 30))
            self.later(self._connected, link)

    def _connected(self, link):
        if link in self.links:
            self.machine.connected(link, self.now)

    def _arrive(self, link, data):
        if link not in self.links:
            return
        node, frames = self.links[link]
        for frame in frames.receive(memoryview(data)):
            if link in self.links:
                self._serve(node, link, frame)

    def _serve(self, node, link, frame):
        api = APIS[int.from_bytes(frame[:2])]
        version = int.from_bytes(frame[2:4])
        header, at = codec(RequestHeader, request_header_version(api.key, version)).decode(frame, 0)
        fate = self.fate(api.name)
        if fate == "lost":
            self.later(self.cut, link)
            self.links[link] = (node, Deaf())
            return
        body = self.cluster.answer(node, api.name, decode(api.request, version, frame[at:]))
        if fate == "unheard":
            self.later(self.cut, link)
            self.links[link] = (node, Deaf())
        elif fate == "ok" and not (api.name == "Produce" and self.cluster.asked[-1][2].acks == 0):
            head = encode(
                ResponseHeader(correlation_id=header.correlation_id),
                response_header_version(api.key, version),
            )
            wait_ms = self.cluster.asked[-1][2].max_wait_ms if is_empty(body) else 0
            self.later(self._deliver, link, frame_of(head + encode(body, version)), wait_ms=wait_ms)

    def _deliver(self, link, data):
        if link in self.links:
            self.machine.received(link, memoryview(data), self.now)


def is_empty(body):
    """Whether a broker would wait before it answers so."""
    return isinstance(body, FetchResponse) and not any(
        part.records or part.error_code for topic in body.responses for part in topic.partitions
    )


class Deaf:
    """A link that is about to end."""

    def receive(self, data):
        return []
