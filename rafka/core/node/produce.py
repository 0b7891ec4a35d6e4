"""Produce (key 0): check each partition's batch, append it, and answer once it is committed.

A produce request carries one batch for each partition (since version 3). acks=0 has no answer, so a refusal ends
the connection, as in Kafka: it is the only way left to tell. acks=1 and acks=all both wait for the high watermark:
with `flush=fsync` an acknowledged record is on the disk, whichever was asked for.

An idempotent producer's repeat of a batch that is already there is answered like the first time, once that batch is
committed. Transactions are not served; a transactional batch is refused.
Sources: KIP-98; Kafka's `ReplicaManager.appendRecords` and `LogValidator`.
"""

import attrs

from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest
from rafka.core.api.produce_response import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from rafka.core.coordinator.group.routing import OFFSETS_TOPIC
from rafka.core.effects import Close, Reply
from rafka.core.errors import CorruptRecord, ErrorCode
from rafka.core.events import Requested
from rafka.core.log.producers import Duplicate
from rafka.core.machine import Outbox
from rafka.core.node.parking import Parking
from rafka.core.node.partitions import Partitions
from rafka.core.record.batch import (
    CODEC_MASK,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
    Batch,
    check,
    split,
)
from rafka.core.record.compression import ZSTD, Codecs
from rafka.core.record.validate import Refused, prepare
from rafka.core.replication.partition import Partition
from rafka.core.types import ConnId, Now, Ticket

IDS_FROM = 13
ZSTD_FROM = 7
ADMIN_CLIENT_ID = "__admin_client"
"""The only client that may write to internal topics; Kafka's own exception."""
MAGIC_AT = 16
"""Where a batch says its magic, as every older format does."""


class Produced:
    """A request whose batches are appended but not all committed; missing: how many of its parts."""

    __slots__ = ("conn", "correlation", "missing", "parts", "response", "ticket")

    def __init__(self, conn: ConnId, correlation: int, response: ProduceResponse) -> None:
        self.conn = conn
        self.correlation = correlation
        self.response = response
        self.parts: list[Pending] = []
        self.missing = 0
        self.ticket = Ticket(0)


class Pending:
    """One partition's part of a Produced, waiting in that partition's `acks`."""

    __slots__ = ("is_done", "request", "result")

    def __init__(self, request: Produced, result: PartitionProduceResponse) -> None:
        self.request = request
        self.result = result
        self.is_done = False


@attrs.define(eq=False)
class Produces:
    """Serves Produce over the node's partitions."""

    out: Outbox
    partitions: Partitions
    parking: Parking
    codecs: Codecs

    def handle(self, event: Requested, now: Now) -> None:
        """Append what the request carries; answer at once what is not to wait."""
        request = event.body
        assert isinstance(request, ProduceRequest)
        response = ProduceResponse()
        parked = Produced(event.conn, event.correlation, response)
        refusal = _refusal(request)
        by_id = event.api_version >= IDS_FROM
        for topic in request.topic_data:
            found = self.partitions.by_id(topic.topic_id) if by_id else self.partitions.by_name(topic.name)
            results = []
            for data in topic.partition_data:
                result = _accepted(data.index)
                results.append(result)
                partition = None if found is None else found.get(data.index)
                if partition is not None and refusal is None:
                    self._append(partition, data, event, now, Pending(parked, result))
                elif refusal is not None:
                    _refuse(result, refusal)
                elif by_id and found is None:
                    _fail(result, ErrorCode.UNKNOWN_TOPIC_ID)
                else:
                    _fail(result, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            response.responses.append(
                TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=results)
            )
        if request.acks == 0:
            self._answer_nothing(event, response)
        elif parked.missing:
            self.parking.park(parked, now, max(request.timeout_ms, 0))
        else:
            self.out.effects.append(Reply(event.conn, event.correlation, response))

    def committed(self, pending: Pending) -> None:
        """Take note that one partition's batch is committed, and answer if it was the last."""
        pending.is_done = True
        request = pending.request
        request.missing -= 1
        if request.missing:
            return
        request.parts.clear()  # the cycle between them would leave every request to the garbage collector
        if self.parking.finish(request.ticket):
            self.out.effects.append(Reply(request.conn, request.correlation, request.response))

    def lost(self, pending: Pending, code: ErrorCode) -> None:
        """Take note that one partition's batch did not reach the disk."""
        if self.parking.find(pending.request.ticket) is not None:
            _fail(pending.result, code)
        self.committed(pending)

    def timed_out(self, request: Produced) -> None:
        """Answer a request whose timeout has passed; what is not committed may still come to be."""
        for pending in request.parts:
            if not pending.is_done:
                _fail(pending.result, ErrorCode.REQUEST_TIMED_OUT)
        self.out.effects.append(Reply(request.conn, request.correlation, request.response))

    def _append(
        self,
        partition: Partition,
        data: PartitionProduceData,
        event: Requested,
        now: Now,
        part: Pending,
    ) -> None:
        result = part.result
        batch = self._checked(partition, data, event, now)
        if isinstance(batch, Refused):
            _refuse(result, batch)
            return
        log = partition.log
        header = batch[1]
        duplicate = log.producers.check(header) if header.producer_id >= 0 else None
        if isinstance(duplicate, ErrorCode):
            _fail(result, duplicate)
            return
        if isinstance(duplicate, Duplicate):
            result.base_offset = duplicate.base_offset
            is_committed = duplicate.base_offset + header.last_offset_delta < partition.high_watermark
        else:
            result.base_offset = self.partitions.append(partition, [batch], now)
            is_committed = False
        result.log_start_offset = log.log_start_offset
        if header.attributes & LOG_APPEND_TIME:
            result.log_append_time_ms = header.max_timestamp
        if not is_committed:
            part.request.missing += 1
            part.request.parts.append(part)
            partition.acks.wait(log.log_end_offset, part)

    def _checked(
        self, partition: Partition, data: PartitionProduceData, event: Requested, now: Now
    ) -> Batch | Refused:
        """Return the batch that the log is to take, or why it takes none."""
        request = event.body
        assert isinstance(request, ProduceRequest)
        if partition.topic == OFFSETS_TOPIC and event.client_id != ADMIN_CLIENT_ID:
            return Refused(ErrorCode.INVALID_TOPIC_EXCEPTION, "clients may not write to an internal topic")
        records = data.records
        if not isinstance(records, memoryview) or records.readonly:
            records = memoryview(bytearray(records or b""))  # a copy only of what may not be patched in place
        batch = _one_batch(records)
        if isinstance(batch, Refused):
            return batch
        view, header = batch
        refusal = partition.append_refusal(acks=request.acks, now=now)
        if refusal is not None:
            partition.log.producers.refused(header, now.wall)
            return Refused(refusal, "")
        attributes = header.attributes
        if attributes & TRANSACTIONAL:
            return _TRANSACTIONS
        if attributes & CODEC_MASK == ZSTD and event.api_version < ZSTD_FROM:
            why = f"zstd needs Produce version {ZSTD_FROM}"
            return Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, why)
        return prepare(view, header, partition.log.config, self.codecs, now.wall, partition.topic)

    def _answer_nothing(self, event: Requested, response: ProduceResponse) -> None:
        results = (result for topic in response.responses for result in topic.partition_responses)
        failed = next((result for result in results if result.error_code), None)
        self.out.effects.append(Reply(event.conn, event.correlation, None))
        if failed is not None:
            why = f"acks=0 produce refused: {ErrorCode(failed.error_code).name}"
            self.out.effects.append(Close(event.conn, why))


_ACKS = Refused(ErrorCode.INVALID_REQUIRED_ACKS, "acks is 0, 1 or -1")
_TRANSACTIONS = Refused(ErrorCode.INVALID_TXN_STATE, "transactions are not served here")


def _refusal(request: ProduceRequest) -> Refused | None:
    """Say why nothing of a request is taken, whichever partition it is for."""
    if not -1 <= request.acks <= 1:
        return _ACKS
    return None if request.transactional_id is None else _TRANSACTIONS


def _one_batch(records: memoryview) -> Batch | Refused:
    """Cut and check the one batch of a partition."""
    try:
        header = check(records)
        if header.length + LENGTH_OVERHEAD == len(records):
            return records, header  # nearly always
        batches = len(split(records))
    except CorruptRecord as error:
        if len(records) > MAGIC_AT and records[MAGIC_AT] != MAGIC:
            why = f"Produce takes batches of magic {MAGIC}, not {records[MAGIC_AT]}"
            return Refused(ErrorCode.INVALID_RECORD, why)
        if len(records) == 0:
            return Refused(ErrorCode.INVALID_RECORD, "one batch a partition, not 0")
        return Refused(ErrorCode.CORRUPT_MESSAGE, str(error))
    return Refused(ErrorCode.INVALID_RECORD, f"one batch a partition, not {batches}")


_NO_LEADER = LeaderIdAndEpoch()


def _accepted(index: int) -> PartitionProduceResponse:
    """Make the answer for a partition that nothing is wrong with; slot by slot, at half the constructor's price."""
    result = object.__new__(PartitionProduceResponse)
    result.index = index
    result.error_code = result.base_offset = 0
    result.log_append_time_ms = result.log_start_offset = -1
    result.record_errors = []
    result.error_message = None
    result.current_leader = _NO_LEADER
    return result


def _fail(result: PartitionProduceResponse, code: ErrorCode) -> None:
    result.error_code = code
    result.base_offset = result.log_append_time_ms = result.log_start_offset = -1


def _refuse(result: PartitionProduceResponse, why: Refused) -> None:
    _fail(result, why.error_code)
    result.error_message = why.message or None
    result.record_errors = [
        BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
        for index, text in why.record_errors
    ]
