"""Produce (key 0): check each partition's batch, append it, and answer once it is committed.

A produce request carries one batch for each partition (since version 3). acks=0 has no answer, so a refusal ends
the connection, as in Kafka: it is the only way left to tell. acks=1 and acks=all both wait for the high watermark:
with `flush=fsync` an acknowledged record is on the disk, whichever was asked for.

An idempotent producer's repeat of a batch that is already there is answered like the first time, once that batch is
committed. Transactions are not served; a transactional batch is refused.

A `PlainProduce` goes a shorter way to the same end (`Produces.plain`): everything is compared once, and whatever is not
as it nearly always is goes the way of all others. Those of one turn, partition and timeout wait together, as a Cohort.
Sources: KIP-98; Kafka's `ReplicaManager.appendRecords` and `LogValidator`.
"""

from collections import Counter

import attrs

from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
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
from rafka.core.plain import PLAIN_FROM, PRODUCE, Acknowledge, PlainProduce
from rafka.core.record.batch import (
    CODEC_MASK,
    CRC_STARTS,
    HEADER_BYTES,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
    Batch,
    Header,
    check,
    fields,
    split,
)
from rafka.core.record.compression import ZSTD, Codecs
from rafka.core.record.crc32c import summed
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


class Cohort:
    """Plain produces of one turn for one partition, with one timeout, whose batches leave in one Write.

    writes: how many the log had asked for before that one.
    """

    __slots__ = ("members", "ticket", "timeout_ms", "writes")

    def __init__(self, first: PlainProduce, writes: int) -> None:
        self.writes = writes
        self.members = [first]
        self.timeout_ms = first.head.timeout_ms
        self.ticket = Ticket(0)


@attrs.define(eq=False)
class Produces:
    """Serves Produce over the node's partitions."""

    out: Outbox
    partitions: Partitions
    parking: Parking
    codecs: Codecs
    errors: Counter[int] = attrs.field(factory=Counter)
    """How often each error code was given to a partition."""
    _cohorts: dict[Partition, Cohort] = attrs.field(factory=dict)
    """Those that may still grow, in this turn."""

    def plain(self, one: PlainProduce, now: Now) -> None:
        """Serve a plain produce: append its batch at once if nothing is to be decided, else serve it as any other."""
        head = one.head
        by_id = head.api_version >= IDS_FROM
        found = self.partitions.by_id(head.topic_id) if by_id else self.partitions.by_name(head.topic)
        partition = None if found is None else found.get(head.index)
        if (
            partition is None
            or partition.topic == OFFSETS_TOPIC
            or partition.append_refusal(acks=head.acks, now=now) is not None
            or not self._take(partition, one, now)
        ):
            self.handle(requested(one), now)

    def _take(self, partition: Partition, one: PlainProduce, now: Now) -> bool:
        """Append the batch of a plain produce; False, and nothing is done, if it needs a second look.

        What is compared here is what `check`, `_checked` and `prepare` hold against a batch.
        """
        view = one.records
        size_bytes = len(view)
        if size_bytes < HEADER_BYTES:
            return False
        base, length, _, magic, crc, attributes, delta, earliest, latest, producer, _, sequence, count = (
            fields(view)
        )
        log = partition.log
        config = log.config
        if not (
            magic == MAGIC
            and length + LENGTH_OVERHEAD == size_bytes <= config.max_message_bytes
            and base == 0
            and 0 <= attributes <= ZSTD  # neither LogAppendTime nor transactional, nor control
            and 0 < count == delta + 1
            and latest - now.wall <= config.message_timestamp_after_max_ms
            and now.wall - earliest <= config.message_timestamp_before_max_ms
            and config.compression_type == "producer"
            and config.message_timestamp_type == "CreateTime"
            and not config.cleanup_compact
            and summed(view[CRC_STARTS:], 0) == crc
        ):
            return False
        header = None
        if producer >= 0:
            header = Header(view)
            if sequence < 0 or log.producers.check(header) is not None:
                return False
        offset = log.append_plain(view, delta, latest, partition.leader_epoch, now)
        is_plain = offset >= 0
        if not is_plain:
            offset = self.partitions.append(partition, [(view, header or Header(view))], now)
        else:
            if header is not None:
                log.producers.update(header, offset, now.wall)
            if not partition.is_dirty:
                self.partitions.mark(partition)
        one.base_offset = offset
        one.log_start_offset = log.log_start_offset
        self._wait(partition, one, now, may_join=is_plain)
        return True

    def _wait(self, partition: Partition, one: PlainProduce, now: Now, *, may_join: bool) -> None:
        """Let a produce wait for what was appended last.

        may_join: its batch lies in one segment with the one before.
        """
        cohort = self._cohorts.get(partition)
        reached = partition.log.log_end_offset
        if (
            may_join
            and cohort is not None
            and cohort.timeout_ms == one.head.timeout_ms
            and cohort.writes == partition.log.writes
            and partition.acks.extend(reached, cohort)
        ):
            cohort.members.append(one)
            return
        cohort = self._cohorts[partition] = Cohort(one, partition.log.writes)
        partition.acks.wait(reached, cohort)
        self.parking.park(cohort, now, max(cohort.timeout_ms, 0))

    def end_turn(self) -> None:
        """Let every cohort be whole: what comes later is written later."""
        if self._cohorts:
            self._cohorts.clear()

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
                    self._refuse(result, refusal)
                elif by_id and found is None:
                    self._fail(result, ErrorCode.UNKNOWN_TOPIC_ID)
                else:
                    self._fail(result, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
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
            self._fail(pending.result, code)
        self.committed(pending)

    def committed_together(self, cohort: Cohort) -> None:
        """Take note that every batch of a cohort is committed."""
        if self.parking.finish(cohort.ticket):
            self.out.effects.append(Acknowledge(cohort.members))

    def lost_together(self, cohort: Cohort, code: ErrorCode) -> None:
        """Take note that the batches of a cohort did not reach the disk."""
        if self.parking.finish(cohort.ticket):
            self.refuse_together(cohort, code)

    def refuse_together(self, cohort: Cohort, code: ErrorCode) -> None:
        """Answer every request of a cohort, which is not parked any more, with an error."""
        for one in cohort.members:
            result = _accepted(one.head.index)
            self._fail(result, code)
            topic = TopicProduceResponse(
                name=one.head.topic, topic_id=one.head.topic_id, partition_responses=[result]
            )
            self.out.effects.append(Reply(one.conn, one.correlation, ProduceResponse(responses=[topic])))

    def timed_out(self, request: Produced) -> None:
        """Answer a request whose timeout has passed; what is not committed may still come to be."""
        for pending in request.parts:
            if not pending.is_done:
                self._fail(pending.result, ErrorCode.REQUEST_TIMED_OUT)
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
            self._refuse(result, batch)
            return
        log = partition.log
        header = batch[1]
        duplicate = log.producers.check(header) if header.producer_id >= 0 else None
        if isinstance(duplicate, ErrorCode):
            self._fail(result, duplicate)
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

    def _fail(self, result: PartitionProduceResponse, code: ErrorCode) -> None:
        self.errors[code] += 1
        result.error_code = code
        result.base_offset = result.log_append_time_ms = result.log_start_offset = -1

    def _refuse(self, result: PartitionProduceResponse, why: Refused) -> None:
        self._fail(result, why.error_code)
        result.error_message = why.message or None
        result.record_errors = [
            BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
            for index, text in why.record_errors
        ]


_ACKS = Refused(ErrorCode.INVALID_REQUIRED_ACKS, "acks is 0, 1 or -1")
_TRANSACTIONS = Refused(ErrorCode.INVALID_TXN_STATE, "transactions are not served here")


def requested(one: PlainProduce) -> Requested:
    """Say a plain produce as any other is said."""
    head = one.head
    assert head.api_version >= PLAIN_FROM
    data = PartitionProduceData(index=head.index, records=one.records)
    topic = TopicProduceData(name=head.topic, topic_id=head.topic_id, partition_data=[data])
    body = ProduceRequest(acks=head.acks, timeout_ms=head.timeout_ms, topic_data=[topic])
    return Requested(one.conn, one.correlation, PRODUCE, head.api_version, head.client_id, body)


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
