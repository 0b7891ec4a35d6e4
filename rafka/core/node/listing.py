"""What a node knows about its partitions, and DeleteRecords: the requests of tools, and of consumers that seek.

ListOffsets (2) asks for an offset by time, or by one of the special timestamps below; a time takes reading, so its
answer may come later. OffsetForLeaderEpoch (23) says where an epoch ended (KIP-101, KIP-320). DeleteRecords (21)
moves the log start offset (KIP-107). DescribeLogDirs (35) and DescribeProducers (61) describe (KIP-113, KIP-827,
KIP-664).
"""

from collections.abc import Callable

import attrs

from rafka.core.api.delete_records_request import DeleteRecordsRequest
from rafka.core.api.delete_records_response import (
    DeleteRecordsPartitionResult,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)
from rafka.core.api.describe_log_dirs_request import DescribeLogDirsRequest
from rafka.core.api.describe_log_dirs_response import (
    DescribeLogDirsPartition,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)
from rafka.core.api.describe_producers_request import DescribeProducersRequest
from rafka.core.api.describe_producers_response import (
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest
from rafka.core.api.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from rafka.core.api.offset_for_leader_epoch_request import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
)
from rafka.core.api.offset_for_leader_epoch_response import (
    EpochEndOffset,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)
from rafka.core.effects import Measure, Reply
from rafka.core.errors import ErrorCode
from rafka.core.events import DiskEvent, Measured, Requested
from rafka.core.machine import Outbox
from rafka.core.message import Message
from rafka.core.metadata.image import Image
from rafka.core.metadata.names import is_internal
from rafka.core.node.partitions import Partitions
from rafka.core.record.compression import Codecs
from rafka.core.replication.partition import Partition
from rafka.core.script import Running, Script, run
from rafka.core.types import File, Now

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
"""KIP-734: the offset of the record with the largest timestamp."""
EARLIEST_LOCAL = -4
"""KIP-405: the earliest that is on this broker's disk; all of them are."""
LATEST_TIERED = -5
"""KIP-1005: the latest in tiered storage; there is none."""
EARLIEST_PENDING_UPLOAD = -6
"""KIP-1023: the earliest not yet in tiered storage; nothing is on its way there."""
EPOCHS_FROM = 4
ROOM_FROM = 4
"""The first DescribeLogDirs that says how large the volume is (KIP-827)."""
LISTED_FROM = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
"""The first version that may ask for a special timestamp."""
MISSING = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

Found = tuple[int, int, int] | ErrorCode | None
"""A timestamp, its offset and that record's leader epoch; None: no record is as late."""


class Listing:
    """A request whose answer is being worked at; missing: how many parts of it."""

    __slots__ = ("event", "missing", "response")

    def __init__(self, event: Requested, response: Message) -> None:
        self.event = event
        self.response = response
        self.missing = 0


class Query:
    """One time that is being looked up, and where its answer goes."""

    __slots__ = ("listing", "partition", "result")

    def __init__(self, listing: Listing, partition: Partition, result: ListOffsetsPartitionResponse) -> None:
        self.listing = listing
        self.partition = partition
        self.result = result


class Deletion:
    """One log whose start is being raised, and where the outcome goes."""

    __slots__ = ("listing", "partition", "result")

    def __init__(self, listing: Listing, partition: Partition, result: DeleteRecordsPartitionResult) -> None:
        self.listing = listing
        self.partition = partition
        self.result = result


class Measuring:
    """A volume that is being measured, and where its size goes."""

    __slots__ = ("listing", "result")

    def __init__(self, listing: Listing, result: DescribeLogDirsResult) -> None:
        self.listing = listing
        self.result = result


@attrs.define(eq=False)
class Listings:
    """Serves the requests of this file. image: the committed metadata; only read here."""

    out: Outbox
    partitions: Partitions
    codecs: Codecs
    image: Image

    def routes(self) -> dict[int, Callable[[Requested, Now], None]]:
        """Return the handlers by API key."""
        return {
            2: self.on_list_offsets,
            21: self.on_delete_records,
            23: self.on_epochs,
            35: self.on_log_dirs,
            61: self.on_producers,
        }

    def on_list_offsets(self, event: Requested, now: Now) -> None:
        """Answer ListOffsets, at once unless a time must be looked up."""
        del now
        request = event.body
        assert isinstance(request, ListOffsetsRequest)
        response = ListOffsetsResponse()
        listing = Listing(event, response)
        twice = _named_twice(request)
        for topic in request.topics:
            results = []
            for wanted in topic.partitions:
                result = ListOffsetsPartitionResponse(partition_index=wanted.partition_index)
                results.append(result)
                partition = self.partitions.find(topic.name, wanted.partition_index)
                refusal = MISSING if partition is None else _refusal(partition, wanted, event.api_version)
                if (topic.name, wanted.partition_index) in twice:
                    result.error_code = ErrorCode.INVALID_REQUEST
                elif partition is None or refusal is not None:
                    result.error_code = refusal or MISSING
                elif wanted.timestamp >= 0 or wanted.timestamp == MAX_TIMESTAMP:
                    self._look_up(listing, partition, wanted.timestamp, result)
                else:
                    _special(partition, wanted.timestamp, result)
            response.topics.append(ListOffsetsTopicResponse(name=topic.name, partitions=results))
        self._answer(listing)

    def found(self, running: Running[object], query: Query) -> None:
        """Take the result of a lookup; answer if it was the last."""
        result, found = query.result, running.result
        if isinstance(found, ErrorCode):
            result.error_code = found
        elif isinstance(found, tuple) and found[1] < query.partition.high_watermark:
            result.timestamp, result.offset, result.leader_epoch = found
        query.listing.missing -= 1
        self._answer(query.listing)

    def on_epochs(self, event: Requested, now: Now) -> None:
        """Answer OffsetForLeaderEpoch."""
        del now
        request = event.body
        assert isinstance(request, OffsetForLeaderEpochRequest)
        topics = [
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[
                    _epoch_end(self.partitions.find(topic.topic, p.partition), p) for p in topic.partitions
                ],
            )
            for topic in request.topics
        ]
        self._reply(event, OffsetForLeaderEpochResponse(topics=topics))

    def on_delete_records(self, event: Requested, now: Now) -> None:
        """Answer DeleteRecords, once every new log start is durable."""
        request = event.body
        assert isinstance(request, DeleteRecordsRequest)
        response = DeleteRecordsResponse()
        listing = Listing(event, response)
        for topic in request.topics:
            results = []
            for wanted in topic.partitions:
                result = DeleteRecordsPartitionResult(
                    partition_index=wanted.partition_index, low_watermark=-1
                )
                results.append(result)
                partition = self.partitions.find(topic.name, wanted.partition_index)
                if is_internal(topic.name):
                    result.error_code = ErrorCode.INVALID_TOPIC_EXCEPTION
                elif partition is None:
                    result.error_code = MISSING
                else:
                    self._delete_before(listing, partition, wanted.offset, result, now)
            response.topics.append(DeleteRecordsTopicResult(name=topic.name, partitions=results))
        self._answer(listing)

    def deleted(self, running: Running[object], deletion: Deletion) -> None:
        """Take the outcome of raising a log's start; answer if it was the last."""
        if isinstance(running.result, ErrorCode):
            deletion.result.error_code = running.result
        else:
            deletion.result.low_watermark = deletion.partition.log.log_start_offset
        deletion.listing.missing -= 1
        self._answer(deletion.listing)

    def on_log_dirs(self, event: Requested, now: Now) -> None:
        """Answer DescribeLogDirs: the one directory and what is in it."""
        del now
        request = event.body
        assert isinstance(request, DescribeLogDirsRequest)
        asked = (
            None if request.topics is None else {t.topic: dict.fromkeys(t.partitions) for t in request.topics}
        )
        topics: dict[str, DescribeLogDirsTopic] = {}
        for partition in self.partitions:
            if asked is None or partition.index in asked.get(partition.topic, {}):
                topic = topics.setdefault(partition.topic, DescribeLogDirsTopic(name=partition.topic))
                size = partition.log.size_bytes
                topic.partitions.append(
                    DescribeLogDirsPartition(partition_index=partition.index, partition_size=size)
                )
        result = DescribeLogDirsResult(
            log_dir=self.image.data_dir,
            topics=list(topics.values()),
            is_cordoned=self.image.is_cordoned(self.image.node_id),
        )
        listing = Listing(event, DescribeLogDirsResponse(results=[result]))
        if event.api_version >= ROOM_FROM:
            listing.missing = 1
            run(_room(), self.out, Measuring(listing, result))
        self._answer(listing)

    def measured(self, running: Running[object], measuring: Measuring) -> None:
        """Take the size of the directory's volume, and answer."""
        if isinstance(running.result, Measured):
            measuring.result.total_bytes = running.result.total_bytes
            measuring.result.usable_bytes = running.result.usable_bytes
        measuring.listing.missing -= 1
        self._answer(measuring.listing)

    def on_producers(self, event: Requested, now: Now) -> None:
        """Answer DescribeProducers."""
        del now
        request = event.body
        assert isinstance(request, DescribeProducersRequest)
        topics = [
            TopicResponse(
                name=topic.name,
                partitions=[
                    _producers(self.partitions.find(topic.name, i), i) for i in topic.partition_indexes
                ],
            )
            for topic in request.topics
        ]
        self._reply(event, DescribeProducersResponse(topics=topics))

    def _look_up(
        self, listing: Listing, partition: Partition, timestamp: int, result: ListOffsetsPartitionResponse
    ) -> None:
        log = partition.log
        listing.missing += 1
        script = (
            log.max_timestamp(self.codecs)
            if timestamp < 0
            else log.offset_for_timestamp(timestamp, self.codecs)
        )
        run(script, self.out, Query(listing, partition, result))

    def _delete_before(
        self,
        listing: Listing,
        partition: Partition,
        offset: int,
        result: DeleteRecordsPartitionResult,
        now: Now,
    ) -> None:
        high_watermark = partition.high_watermark
        target = high_watermark if offset == LATEST else offset
        config = partition.log.config
        if config.cleanup_compact and not config.cleanup_delete:
            result.error_code = ErrorCode.POLICY_VIOLATION
        elif not 0 <= target <= high_watermark:
            result.error_code = ErrorCode.OFFSET_OUT_OF_RANGE
        else:
            listing.missing += 1
            script = partition.log.delete_before(target, now)
            run(script, self.out, Deletion(listing, partition, result))

    def _answer(self, listing: Listing) -> None:
        """Answer, unless something is still missing."""
        response = listing.response
        if listing.missing:
            return
        if isinstance(response, ListOffsetsResponse) and listing.event.api_version < EPOCHS_FROM:
            for topic in response.topics:
                for result in topic.partitions:
                    result.leader_epoch = -1
        self._reply(listing.event, response)

    def _reply(self, event: Requested, body: Message) -> None:
        self.out.effects.append(Reply(event.conn, event.correlation, body))


def _room() -> Script[DiskEvent]:
    """Measure the volume of the data directory; what is returned may be Failed, which leaves it unknown."""
    return (yield Measure(File("")))


def _named_twice(request: ListOffsetsRequest) -> list[tuple[str, int]]:
    """Return the partitions that a request names more than once."""
    named = [(t.name, p.partition_index) for t in request.topics for p in t.partitions]
    if len(dict.fromkeys(named)) == len(named):
        return []
    counts: dict[tuple[str, int], int] = {}
    for one in named:
        counts[one] = counts.get(one, 0) + 1
    return [one for one, count in counts.items() if count > 1]


def _refusal(partition: Partition, wanted: ListOffsetsPartition, version: int) -> ErrorCode | None:
    refusal = _no_end(partition) or partition.epoch_refusal(wanted.current_leader_epoch)
    if refusal is not None:
        return refusal
    timestamp = wanted.timestamp
    if timestamp < EARLIEST_PENDING_UPLOAD or version < LISTED_FROM.get(timestamp, 0):
        return ErrorCode.UNSUPPORTED_VERSION
    return None


def _no_end(partition: Partition) -> ErrorCode | None:
    """Refuse to say where a log ends that failed, maybe before anything in it was known to be committed."""
    return ErrorCode.KAFKA_STORAGE_ERROR if partition.log.is_offline else None


def _special(partition: Partition, timestamp: int, result: ListOffsetsPartitionResponse) -> None:
    if timestamp == LATEST:
        result.offset = partition.high_watermark
        result.leader_epoch = partition.leader_epoch
    elif timestamp in (EARLIEST, EARLIEST_LOCAL):
        result.offset = partition.log.log_start_offset
        result.leader_epoch = partition.log.epochs.at(result.offset)


def _epoch_end(partition: Partition | None, wanted: OffsetForLeaderPartition) -> EpochEndOffset:
    if partition is None:
        return EpochEndOffset(partition=wanted.partition, error_code=MISSING)
    refusal = _no_end(partition) or partition.epoch_refusal(wanted.current_leader_epoch)
    if refusal is not None:
        return EpochEndOffset(partition=wanted.partition, error_code=refusal)
    if wanted.leader_epoch == partition.leader_epoch:
        epoch, end = wanted.leader_epoch, partition.high_watermark
    else:
        epoch, end = partition.log.epoch_end(wanted.leader_epoch)
    return EpochEndOffset(partition=wanted.partition, leader_epoch=epoch, end_offset=end)


def _producers(partition: Partition | None, index: int) -> PartitionResponse:
    if partition is None:
        return PartitionResponse(partition_index=index, error_code=MISSING)
    active = [
        ProducerState(
            producer_id=producer_id,
            producer_epoch=epoch,
            last_sequence=last_sequence,
            last_timestamp=wall_ms,
            coordinator_epoch=-1,  # no transaction coordinator has written here
        )
        for producer_id, epoch, last_sequence, wall_ms in partition.log.producers.active()
    ]
    return PartitionResponse(partition_index=index, active_producers=active)
