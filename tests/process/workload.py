"""Clients that go on working while their broker dies under them, and remember what they were promised.

- OnceProducer: an idempotent librdkafka producer with endless patience. In the end all that it sent was acknowledged, so
  each partition must hold exactly what was sent to it, in order, once.
- RawProducer: Produce requests written by hand to a plain socket, several in flight, nothing ever sent again. What was
  answered must be at the offset of the answer; what was not answered may be there or not; nothing twice.
- Member: a member of a consumer group that commits what it has read. No partition may ever be handed out from before
  an acknowledged commit.
"""

import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from fastcrc import crc32

from tests.clients.support import PATIENCE, consumer_of

FAST = {
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 100,
    "log_level": 0,  # that nobody listens for a moment is the plan
}
PADDING = b"." * 500


class Worker:
    """A thread that works until it is told to stop; what it raised is raised by stop()."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def work(self, stopping: Callable[[], bool]) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE * 2)
        assert not self._thread.is_alive(), type(self).__name__
        self.check()

    def check(self) -> None:
        """Raise what the work raised, if it did."""
        if self._raised is not None:
            raise self._raised

    def _run(self) -> None:
        try:
            self.work(self._stopping.is_set)
        except BaseException as error:
            self._raised = error


class OnceProducer(Worker):
    """Sends `name:number` to the partitions in turn. sent: the values of each; acknowledged: (partition, offset) → value."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, name: str) -> None:
        self.topic = topic
        self.name = name
        self.sent: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
        self.acknowledged: dict[tuple[int, int], bytes] = {}
        self.refused: list[str] = []
        settings = {
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": 300_000,
            "batch.num.messages": 20,
        }
        self._producer = Producer({"bootstrap.servers": bootstrap, **settings, **FAST})
        super().__init__()

    def work(self, stopping: Callable[[], bool]) -> None:
        number = 0
        while not stopping():
            for partition, values in self.sent.items():
                value = b"%s:%d:" % (self.name.encode(), number) + PADDING
                values.append(value)
                self._producer.produce(self.topic, value, partition=partition, on_delivery=self._delivered)
                number += 1
            self._producer.poll(0.002 if len(self._producer) < 500 else 0.05)
        assert self._producer.flush(PATIENCE) == 0

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.refused.append(str(error))
        else:
            self.acknowledged[message.partition(), message.offset()] = message.value()


class RawProducer(Worker):
    """Sends numbers to partition 0. sent: how many were given to a socket; acknowledged: offset → number."""

    PIPELINE = 4

    def __init__(self, bootstrap: str, topic: str) -> None:
        host, port = bootstrap.rsplit(":", 1)
        self._address = (host, int(port))
        self._topic = topic
        self.sent = 0
        self.acknowledged: dict[int, int] = {}
        self.errors: dict[int, int] = defaultdict(int)
        super().__init__()

    def work(self, stopping: Callable[[], bool]) -> None:
        while not stopping():
            try:
                with socket.create_connection(self._address, timeout=5) as connection:
                    self._converse(connection, stopping)
            except OSError:
                time.sleep(0.01)  # nobody is there: between two lives

    def _converse(self, connection: socket.socket, stopping: Callable[[], bool]) -> None:
        """Keep some requests in flight; the numbers of those that are lost are never used again."""
        inbox = connection.makefile("rb")
        flying: list[int] = []
        while flying or not stopping():
            while len(flying) < self.PIPELINE and not stopping():
                number = self.sent
                self.sent += 1
                connection.sendall(produce_request(self._topic, number))
                flying.append(number)
            error, offset = read_answer(inbox, flying[0])
            number = flying.pop(0)
            if error:
                self.errors[error] += 1
            else:
                self.acknowledged[offset] = number


class Member(Worker):
    """A member of a group; committed, shared by all members: the highest acknowledged commit of each partition.

    seen: the offsets this member was given, by partition, in the order given.
    """

    def __init__(self, bootstrap: str, topic: str, group: str, committed: dict[int, int]) -> None:
        self.seen: dict[int, list[int]] = defaultdict(list)
        self.commits = 0
        self.starts: list[tuple[int, int, int]] = []
        self._committed = committed
        self._floors: dict[int, int] = {}
        settings: dict[str, Any] = {
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 300,
            "fetch.wait.max.ms": 100,
            "coordinator.query.interval.ms": 500,
            **FAST,
        }
        self._consumer = Consumer(settings | {"bootstrap.servers": bootstrap, "group.id": group})
        self._consumer.subscribe([topic], on_assign=self._assigned)
        super().__init__()

    def work(self, stopping: Callable[[], bool]) -> None:
        while not stopping():
            for message in self._consumer.consume(200, 0.05):
                if message.error() is None:
                    self._take(message.partition(), message.offset())
                elif not message.error().retriable():
                    assert message.error().code() in TRANSIENT, message.error()
            self._commit()
        self._consumer.close()

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What is acknowledged by now bounds from below where these partitions may be read from.
        for one in partitions:
            self._floors[one.partition] = self._committed.get(one.partition, 0)

    def _take(self, partition: int, offset: int) -> None:
        floor = self._floors.pop(partition, None)
        if floor is not None:
            self.starts.append((partition, floor, offset))
        self.seen[partition].append(offset)

    def _commit(self) -> None:
        try:
            answers = self._consumer.commit(asynchronous=False)
        except KafkaException:
            return  # not acknowledged: nothing was promised
        for one in answers:
            if one.error is None and one.offset >= 0:
                self.commits += 1
                self._committed[one.partition] = max(one.offset, self._committed.get(one.partition, 0))


TRANSIENT = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}


def produce_request(topic: str, number: int) -> bytes:
    """A Produce request of version 3, acks=all, of one record without key or headers. Source: Kafka's protocol guide."""
    batch = record_batch(b"raw:%d:" % number + PADDING)
    head = struct.pack(">hhih3s", 0, 3, number & 0x7FFFFFFF, 3, b"raw")
    body = (
        struct.pack(">hhiih", -1, -1, 30_000, 1, len(topic))
        + topic.encode()
        + struct.pack(">iii", 1, 0, len(batch))
    )
    return struct.pack(">i", len(head) + len(body) + len(batch)) + head + body + batch


def record_batch(value: bytes) -> bytes:
    """A record batch of format 2 with one record and no producer id. Source: Kafka's documentation, "Record Batch"."""
    record = b"\0\0\0\1" + varint(len(value)) + value + b"\0"  # attributes, deltas, key -1, value, no headers
    now = time.time_ns() // 1_000_000
    sums = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + varint(len(record)) + record
    return struct.pack(">qiibI", 0, len(sums) + 9, -1, 2, crc32.iscsi(sums)) + sums


def varint(number: int) -> bytes:
    """Zigzag, then seven bits a byte, the lowest first."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def read_answer(inbox: Any, correlation_id: int) -> tuple[int, int]:
    """Read a Produce response of version 3 about one partition; its error code and base offset."""
    size = struct.unpack(">i", exactly(inbox, 4))[0]
    frame = exactly(inbox, size)
    found, topics, name_size = struct.unpack_from(">iih", frame)
    assert (found, topics) == (correlation_id, 1)
    partitions, partition, error, offset = struct.unpack_from(">iihq", frame, 10 + name_size)
    assert (partitions, partition) == (1, 0)
    return error, offset


def exactly(inbox: Any, size: int) -> bytes:
    data = inbox.read(size)
    if len(data) < size:
        raise ConnectionResetError
    return bytes(data)


def read_all(bootstrap: str, topic: str, partitions: int) -> dict[int, dict[int, bytes]]:
    """Every record between the log start and the high watermark, by partition and offset, in the order received."""
    consumer = consumer_of(bootstrap, "reads-all", **{"fetch.wait.max.ms": 50})
    found: dict[int, dict[int, bytes]] = {}
    try:
        for partition in range(partitions):
            here = TopicPartition(topic, partition, 0)
            start, end = consumer.get_watermark_offsets(here, timeout=PATIENCE)
            assert start == 0
            consumer.assign([here])
            found[partition] = {}
            deadline = time.monotonic() + PATIENCE
            while len(found[partition]) < end:
                assert time.monotonic() < deadline, (topic, partition, len(found[partition]), end)
                for message in consumer.consume(1000, 0.2):
                    assert message.error() is None, message.error()
                    assert message.offset() not in found[partition]
                    found[partition][message.offset()] = message.value()
    finally:
        consumer.close()
    return found
