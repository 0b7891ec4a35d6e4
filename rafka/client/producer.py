"""The producer's machine: records in, batches out, every record's delivery settled once.

With idempotence a batch has sequence numbers under a producer id that the broker gave (KIP-98), so that it is
written once however often it is sent. The rules that keep this true:

- A batch keeps its numbers for as long as nobody knows whether it was written.
- The broker remembers five batches of a producer in a partition: no more are in flight.
- Numbers are taken in order. So once a later batch is acknowledged an earlier one is in the log, too; if its own
  answer was lost, and the broker has forgotten it by the time it is sent again, it is not a gap that the broker finds.
- A number that will never be sent leaves a gap, after which the broker takes nothing more. So when a batch with
  numbers is given up, and when the broker itself says that there is a gap (it has lost what it acknowledged), the
  producer gives no more numbers, settles all that have one, and goes on under a new producer id, from 0. What the
  broker refused for the gap was not written, and is sent again under the new id.
- PRODUCER_FENCED and INVALID_PRODUCER_EPOCH end the producer.

Sources: KIP-98, KIP-360.
"""

from collections.abc import Sequence

import attrs

from rafka.client.batches import Batch, Delivery, Queue, record_of, size_of
from rafka.client.cluster import MS
from rafka.client.errors import (
    RETRIABLE,
    BrokerError,
    BufferFull,
    ClientError,
    Closed,
    Fenced,
    TimedOut,
    check,
    known,
)
from rafka.client.link import Call
from rafka.client.machine import ClientMachine
from rafka.client.outputs import Pending
from rafka.client.partitioner import partition_of
from rafka.client.placing import Stickiness, Unplaced
from rafka.client.script import Steps, call, persist
from rafka.client.settings import ClientSettings, ProducerSettings, acks_of, check_producer, codec_of
from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.init_producer_id_response import InitProducerIdResponse
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import PartitionProduceResponse, ProduceResponse
from rafka.core.errors import ErrorCode
from rafka.core.machine import Entropy
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import Codecs
from rafka.core.types import MonoNs, Now

Headers = Sequence[tuple[str, bytes | None]]
GAP = frozenset((ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.UNKNOWN_PRODUCER_ID))
FENCED = frozenset(
    (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_ID_MAPPING)
)
UNKNOWN_FATE = frozenset(
    (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND, ErrorCode.UNKNOWN_SERVER_ERROR)
)
"""After these a batch may have been written."""
EXPIRY_STEP_NS = 100 * MS
"""So often batches are looked at for being too old."""


@attrs.define(eq=False)
class Flush:
    """Somebody waits until all batches up to a number are settled; None: some records have no batch yet."""

    pending: Pending[None]
    last_batch: int | None = None


class Producer(ClientMachine):
    """See the file's header. held_bytes: what all records that are not settled take."""

    def __init__(
        self, settings: ClientSettings, producing: ProducerSettings, entropy: Entropy, codecs: Codecs
    ) -> None:
        check_producer(producing)
        super().__init__(settings, entropy, may_create=producing.allow_auto_create_topics)
        self.producing = producing
        self.held_bytes = 0
        self.taken = 0
        """Records taken so far."""
        self.fatal: ClientError | None = None
        """Why nothing can be sent any more."""
        self._acks = acks_of(producing)
        self._codec = codec_of(producing)
        self._codecs = codecs
        self._queues: dict[tuple[str, int], Queue] = {}
        self._busy: dict[tuple[str, int], Queue] = {}
        """The queues that are not idle, in the order in which they take their turn."""
        self._unplaced: dict[str, list[Unplaced]] = {}
        self._stickiness = Stickiness(producing.batch_size, entropy)
        self._requests: dict[Call, list[tuple[Queue, Batch]]] = {}
        self._requests_of: dict[int, int] = {}
        """Requests under way by node."""
        self._open: dict[Batch, int] = {}
        """Batches that are not settled, with the numbers in which they were begun; halves have their whole's."""
        self._serial = 0
        self._identity: tuple[int, int] = (-1, -1)
        self._introduction: Pending[tuple[int, int]] | None = None
        self._sequenced = 0
        """Batches that have sequence numbers and no answer."""
        self._must_renew = producing.enable_idempotence
        self._flushes: list[Flush] = []
        self._rooms: list[tuple[Pending[None], int]] = []
        """Who waits for room, and how much of it in bytes."""
        self._closing: Pending[None] | None = None
        self._next_work = MonoNs(0)
        self._next_expiry = MonoNs(0)
        self._seen = 0

    # ---- what users ask ------------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        value: bytes | None,
        now: Now,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> Delivery:
        """Take a record. timestamp: ms, None for now; partition: None for the key's, or any if there is no key.

        Raises: TypeError, BufferFull (see `room`), Closed, BrokerError if it is larger than a request may be, and
        whatever has ended this producer.
        """
        self._must_be_open()
        if self._closing is not None:
            raise Closed("the producer is being closed")
        if self.fatal is not None:
            raise self.fatal
        stamp = now.wall if timestamp is None else timestamp
        record = record_of(key, value, headers, stamp)
        size = size_of(record)
        if size > self.producing.max_request_size:
            raise BrokerError(ErrorCode.MESSAGE_TOO_LARGE, topic, f"a record of {size} bytes")
        if self.held_bytes and self.held_bytes + size > self.producing.buffer_memory:
            raise BufferFull(self.held_bytes, size)
        delivery = Delivery(topic, stamp)
        self.held_bytes += size
        self.taken += 1
        found = self.cluster.topology.topics.get(topic)
        if topic in self._unplaced or found is None or found.error:
            due = MonoNs(now.mono + self.producing.topic_timeout_ms * MS)
            waiting = Unplaced(record, delivery, size, partition, due)
            self._unplaced.setdefault(topic, []).append(waiting)
            self.cluster.want([topic])
            self._next_work = min(self._next_work, due)
        else:
            self._place(record, delivery, size, partition, now)
        return delivery

    def room(self, size_bytes: int) -> Pending[None]:
        """Wait until the producer has settled so much of what it holds that it can take a record of this size."""
        pending = Pending[None]()
        self._rooms.append((pending, size_bytes))
        self._next_work = MonoNs(0)
        self._settle_rooms()
        return pending

    def flush(self) -> Pending[None]:
        """Send what lingers, and wait until all that was taken so far is settled, well or not."""
        self._must_be_open()
        flush = Flush(Pending[None]())
        for queue in self._busy.values():
            if queue.batches:
                queue.batches[-1].is_sealed = True
        self._flushes.append(flush)
        self._next_work = MonoNs(0)
        self._settle_flushes()
        return flush.pending

    def close(self) -> Pending[None]:
        """Flush, and end."""
        if self._closing is None:
            self._closing = Pending[None]()
            if self.is_closed:
                self.out.settle(self._closing, None)
            self._next_work = MonoNs(0)
        return self._closing

    def abandon(self) -> None:
        """End at once: what is on its way fails with Closed, and may have been written."""
        if self.is_closed:
            return
        self._fail_all(Closed("the producer was closed"))
        super().abandon()
        self._settle_rooms()
        if self._closing is not None:
            self.out.settle(self._closing, None)

    # ---- where records go ----------------------------------------------------------------------------

    def _place(self, record: Record, delivery: Delivery, size: int, partition: int | None, now: Now) -> None:
        topic = delivery.topic
        leaders = self.cluster.topology.topics[topic].leaders
        if partition is None:
            key = record.key
            if key is not None:
                partition = partition_of(key, len(leaders))
            else:
                partition = self._stickiness.choose(self.cluster.topology.topics[topic], size)
        elif partition not in leaders:
            self.held_bytes -= size
            about = f"{topic}-{partition}"
            self.out.fail(delivery, BrokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, about))
            return
        delivery.partition = partition
        queue = self._queues.get((topic, partition))
        if queue is None:
            queue = self._queues[topic, partition] = Queue(topic, partition)
        self._busy.setdefault((topic, partition), queue)
        producing = self.producing
        batch = queue.tail(size, producing.batch_size, now, producing.delivery_timeout_ms * MS)
        if not batch.records:
            self._opened(batch)
        batch.add(record, delivery, size)
        is_full = batch.size_bytes >= producing.batch_size or len(queue.batches) > 1
        due = now.mono if is_full else batch.created + producing.linger_ms * MS
        self._next_work = MonoNs(min(self._next_work, due))

    def _place_waiting(self, now: Now) -> None:
        """Place the records whose topics are there now, and give up on those that waited long enough."""
        for topic, records in list(self._unplaced.items()):
            found = self.cluster.topology.topics.get(topic)
            if found is not None and not found.error:
                del self._unplaced[topic]
                for one in records:
                    self._place(one.record, one.delivery, one.size_bytes, one.partition, now)
                continue
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if found is None else known(found.error)
            is_final = found is not None and code not in RETRIABLE
            lost = [one for one in records if is_final or one.due <= now.mono]
            for one in lost:
                self.held_bytes -= one.size_bytes
                self.out.fail(one.delivery, BrokerError(code, topic))
            kept = [one for one in records if not one.delivery.is_done]
            if kept:
                self._unplaced[topic] = kept
            else:
                del self._unplaced[topic]
                self.cluster.forget(topic)

    def _opened(self, batch: Batch) -> None:
        self._serial += 1
        self._open[batch] = self._serial

    # ---- what is due -----------------------------------------------------------------------------------

    def _work(self, now: Now) -> None:
        if self._unplaced:
            self._place_waiting(now)
        if now.mono >= self._next_expiry:
            self._next_expiry = MonoNs(now.mono + EXPIRY_STEP_NS)
            self._expire(now)
        self._introduce(now)
        if self.fatal is None:
            self._send_ready(now)
        self._settle_flushes()
        self._settle_rooms()
        if self._closing is not None and not self._open and not self._unplaced:
            self.abandon()
            return
        self._next_work = self._when(now)

    def _due(self) -> MonoNs | None:
        return self._next_work if self._busy or self._unplaced or self._closing is not None else None

    def _when(self, now: Now) -> MonoNs:
        """Say when something falls due that no answer announces."""
        due = min((one.due for records in self._unplaced.values() for one in records), default=1 << 62)
        for queue in self._busy.values():
            due = min(due, self._next_expiry)
            if queue.batches:
                head = queue.batches[0]
                wait = max(queue.retry_at, head.created + self.producing.linger_ms * MS)
                if wait > now.mono:
                    due = min(due, wait)
        return MonoNs(due)

    def _introduce(self, now: Now) -> None:
        """Get a producer id once nothing is left that bears numbers under the old one."""
        if self._introduction is None:
            if self._must_renew and not self._sequenced and (self._busy or self._unplaced):
                steps = persist(_new_identity)
                self._introduction = self.scripts.run(steps, now, "asking for a producer id")
            return
        if not self._introduction.is_done:
            return
        introduction, self._introduction = self._introduction, None
        try:
            self._identity = introduction.result()
        except TimedOut:
            return  # batches have a time limit of their own
        except ClientError as error:
            self._end(error)
            return
        self._must_renew = False
        for queue in self._queues.values():
            queue.next_sequence = 0
            queue.acknowledged = ()
            queue.is_broken = False

    def _expire(self, now: Now) -> None:
        for key, queue in list(self._busy.items()):
            for batch in [batch for batch in (*queue.in_flight, *queue.batches) if batch.due <= now.mono]:
                if batch.is_over:
                    continue
                if batch.sent_to < 0:
                    queue.batches.remove(batch)
                why = f": {batch.last_error}" if batch.last_error else ""
                about = f"{queue.topic}-{queue.partition}"
                error = TimedOut(
                    f"{about}: {len(batch.records)} record(s) were not acknowledged in time{why}"
                )
                self._give_up(queue, batch, error, is_written=None)
            if queue.is_idle:
                del self._busy[key]
        for request, pairs in list(self._requests.items()):
            if all(batch.is_over for _, batch in pairs) and self.cluster.withdraw(request):
                self.answered(request, now)

    # ---- sending ---------------------------------------------------------------------------------------

    def _send_ready(self, now: Now) -> None:
        """Send what may go, one batch of each partition in a request, as many requests as may be under way."""
        while True:
            parts: dict[int, list[tuple[Queue, Batch]]] = {}
            sizes: dict[int, int] = {}
            for key, queue in list(self._busy.items()):
                node = self._ready(queue, now)
                if node < 0 or self._requests_of.get(node, 0) >= self.producing.max_in_flight:
                    continue
                head = queue.batches[0]
                if node in sizes and sizes[node] + head.size_bytes > self.producing.max_request_size:
                    continue
                sizes[node] = sizes.get(node, 0) + head.size_bytes
                parts.setdefault(node, []).append((queue, head))
                self._busy[key] = self._busy.pop(key)  # the others first, next time
            if not parts:
                return
            for node, pairs in parts.items():
                self._send(node, pairs, now)

    def _ready(self, queue: Queue, now: Now) -> int:
        """Return the node that the queue's first batch may go to now; -1 if it must wait."""
        if not queue.batches or queue.retry_at > now.mono:
            return -1
        if queue.is_recovering and queue.in_flight:
            return -1
        limit = self.producing.max_in_flight if self.producing.enable_idempotence else 1
        if len(queue.in_flight) >= limit:
            return -1
        head = queue.batches[0]
        if self._must_renew and head.sequence < 0:
            return -1
        lingers = not (head.is_sealed or self._flushes or self._rooms or self._closing is not None)
        lingers &= head.size_bytes < self.producing.batch_size and len(queue.batches) == 1
        if lingers and head.created + self.producing.linger_ms * MS > now.mono:
            return -1
        node = self.cluster.topology.leader(queue.topic, queue.partition)
        if node < 0:
            self.cluster.refresh()
            queue.failures += 1
            queue.retry_at = MonoNs(now.mono + self.cluster.backoff_ns(queue.failures))
            return -1
        return node if all(batch.sent_to == node for batch in queue.in_flight) else -1

    def _send(self, node: int, pairs: list[tuple[Queue, Batch]], now: Now) -> None:
        topics: dict[str, TopicProduceData] = {}
        for queue, batch in pairs:
            assert queue.batches[0] is batch
            queue.batches.popleft()
            queue.in_flight.append(batch)
            queue.is_recovering = False
            batch.is_sealed = True
            batch.sent_to = node
            topic = topics.get(queue.topic)
            if topic is None:
                topic_id = self.cluster.topology.topic_id(queue.topic)
                topic = topics[queue.topic] = TopicProduceData(name=queue.topic, topic_id=topic_id)
            data = PartitionProduceData(index=queue.partition, records=self._built(queue, batch))
            topic.partition_data.append(data)
        request = ProduceRequest(
            acks=self._acks, timeout_ms=self.settings.request_timeout_ms, topic_data=list(topics.values())
        )
        asked = self.cluster.ask(request, self, now, node=node, wants_answer=self._acks != 0)
        self._requests[asked] = pairs
        self._requests_of[node] = self._requests_of.get(node, 0) + 1

    def _built(self, queue: Queue, batch: Batch) -> bytearray:
        """Return the bytes of a batch, under the sequence numbers that it has or now gets."""
        if self.producing.enable_idempotence and batch.sequence < 0:
            queue.sequence(batch)
            self._sequenced += 1
            batch.data = None
        if batch.data is None:
            producer_id, epoch = self._identity
            batch.data = build_batch(
                batch.records,
                timestamp=0,  # each record has its own
                codec=self._codec,
                codecs=self._codecs,
                level=self.producing.compression_level,
                producer_id=producer_id,
                producer_epoch=epoch,
                base_sequence=batch.sequence,
            )
        return batch.data

    # ---- what became of it -----------------------------------------------------------------------------

    def answered(self, call: Call, now: Now) -> None:
        """Take the answer of a produce request, or its loss."""
        pairs = self._requests.pop(call)
        assert call.node is not None
        self._requests_of[call.node] -= 1
        results: dict[tuple[str, int], PartitionProduceResponse] = {}
        if isinstance(call.answer, ProduceResponse):
            for topic in call.answer.responses:
                name = self.cluster.topology.name_of(topic.name, topic.topic_id)
                results |= {(name, result.index): result for result in topic.partition_responses}
        for queue, batch in pairs:
            queue.in_flight.remove(batch)
            batch.sent_to = -1
            result = results.get((queue.topic, queue.partition))
            if batch.is_over:
                pass  # given up; whoever waited for it knows already
            elif result is not None:
                self._take(queue, batch, result, now)
            elif call.error is None and self._acks == 0:
                self._acknowledged(queue, batch, -1, -1)
            elif call.error is None:
                self._again(queue, batch, "the broker did not say what became of it", now)
            else:
                self._lost(queue, batch, call.error, now)
            if queue.is_idle:
                self._busy.pop((queue.topic, queue.partition), None)

    def _take(self, queue: Queue, batch: Batch, result: PartitionProduceResponse, now: Now) -> None:
        code = known(result.error_code)
        about = f"{queue.topic}-{queue.partition}"
        if code == ErrorCode.NONE:
            queue.failures = 0
            self._acknowledged(queue, batch, result.base_offset, result.log_append_time_ms)
        elif code == ErrorCode.DUPLICATE_SEQUENCE_NUMBER or (
            code in GAP and batch.number < queue.acknowledged
        ):
            self._acknowledged(queue, batch, -1, -1)  # it is there; the broker forgot where
        elif code in GAP and self.producing.enable_idempotence:
            self._found_gap(queue, batch, code, now)
        elif code in FENCED:
            self._give_up(queue, batch, Fenced(code, about, result.error_message), is_written=False)
            self._end(Fenced(code, "this producer", result.error_message))
        elif code == ErrorCode.MESSAGE_TOO_LARGE and len(batch.records) > 1:
            self._split(queue, batch)
        elif code in RETRIABLE:
            self._again(queue, batch, code.name, now)
        else:
            is_written = None if code in UNKNOWN_FATE else False
            self._give_up(queue, batch, BrokerError(code, about, result.error_message), is_written=is_written)

    def _lost(self, queue: Queue, batch: Batch, error: ClientError, now: Now) -> None:
        if queue.is_broken and batch.sequence >= 0:  # it follows a gap, so it cannot have been written
            self._unnumber(batch)
        if isinstance(error, Closed) or self.is_closed:
            self._give_up(queue, batch, error, is_written=None)
        else:
            self._again(queue, batch, str(error), now)

    def _again(self, queue: Queue, batch: Batch, why: str, now: Now) -> None:
        """Send a batch once more, after a pause, and nothing of its partition before it."""
        batch.last_error = why
        queue.put_back(batch)
        if not queue.is_recovering:
            queue.is_recovering = True
            queue.failures += 1
            queue.retry_at = MonoNs(now.mono + self.cluster.backoff_ns(queue.failures))
        self.cluster.refresh()

    def _found_gap(self, queue: Queue, batch: Batch, code: ErrorCode, now: Now) -> None:
        """Take the broker's word that a batch does not follow what it has."""
        if queue.has_earlier(batch):  # that one failed, or its answer was lost: this was to be expected
            self._again(queue, batch, code.name, now)
            return
        queue.is_broken = self._must_renew = True
        queue.failures = 0  # a new id is all that it takes
        for later in [batch, *queue.batches]:
            if later.sequence >= 0:
                self._unnumber(later)
        self._again(queue, batch, code.name, now)

    def _unnumber(self, batch: Batch) -> None:
        """Take away numbers under which a batch was certainly not written."""
        batch.sequence = -1
        batch.data = None
        self._sequenced -= 1

    def _split(self, queue: Queue, batch: Batch) -> None:
        halves = batch.halves()
        if batch.sequence >= 0:
            self._sequenced += 1
        self.held_bytes += halves[0].size_bytes + halves[1].size_bytes - batch.size_bytes
        serial = self._open.pop(batch)
        for half in halves:
            self._open[half] = serial
            queue.put_back(half)
        queue.is_recovering = True

    def _acknowledged(self, queue: Queue, batch: Batch, base_offset: int, log_append_time_ms: int) -> None:
        for index, delivery in enumerate(batch.deliveries):
            if base_offset >= 0:
                delivery.offset = base_offset + index
            if log_append_time_ms >= 0:
                delivery.timestamp = log_append_time_ms
            self.out.settle(delivery, None)
        if batch.sequence >= 0:
            self._sequenced -= 1
            queue.acknowledged = max(queue.acknowledged, batch.number)
        self._over(batch)

    def _give_up(self, queue: Queue, batch: Batch, error: ClientError, *, is_written: bool | None) -> None:
        """Fail a batch's deliveries. is_written: None if nobody knows."""
        for delivery in batch.deliveries:
            self.out.fail(delivery, error)
        if batch.sequence >= 0:
            self._sequenced -= 1
            if is_written is False and queue.is_last_sequenced(batch):
                queue.next_sequence = batch.sequence
            else:
                self._must_renew = True
        self._over(batch)

    def _over(self, batch: Batch) -> None:
        batch.is_over = True
        batch.data = None
        self.held_bytes -= batch.size_bytes
        del self._open[batch]

    def _settle_flushes(self) -> None:
        for flush in list(self._flushes):
            if flush.last_batch is None and not self._unplaced:
                flush.last_batch = self._serial
            last = flush.last_batch
            if last is not None and all(serial > last for serial in self._open.values()):
                self._flushes.remove(flush)
                self.out.settle(flush.pending, None)

    def _settle_rooms(self) -> None:
        for room in list(self._rooms):
            pending, size_bytes = room
            if not self.held_bytes or self.held_bytes + size_bytes <= self.producing.buffer_memory:
                self._rooms.remove(room)
                self.out.settle(pending, None)

    def _end(self, error: ClientError) -> None:
        """Fail all that is on its way, and all that comes."""
        self.fatal = error
        self._fail_all(error)

    def _fail_all(self, error: ClientError) -> None:
        for records in self._unplaced.values():
            for one in records:
                self.held_bytes -= one.size_bytes
                self.out.fail(one.delivery, error)
        self._unplaced.clear()
        for queue in self._busy.values():
            for batch in [*queue.in_flight, *queue.batches]:
                if not batch.is_over:
                    self._give_up(queue, batch, error, is_written=None)
            queue.batches.clear()
        self._settle_flushes()


def _new_identity() -> Steps[tuple[int, int]]:
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
    answer = yield from call(request, InitProducerIdResponse)
    check(answer.error_code, "a producer id")
    return answer.producer_id, answer.producer_epoch
