"""What the client suites share: unique names, waiting with a deadline, and short forms of confluent-kafka calls."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

T = TypeVar("T")
PATIENCE = 30.0  # seconds; a test that needs this long has failed
CODECS = ["gzip", "snappy", "lz4", "zstd"]
_numbers = itertools.count()


def unique(prefix: str) -> str:
    return f"{prefix}-{os.getpid()}-{time.time_ns() // 1_000_000 % 1_000_000_000}-{next(_numbers)}"


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Ask again until the answer is true; the answer. The wait between two questions is the only sleep of the suites."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def producer_of(bootstrap: str, **settings: Any) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, **dotted(settings)})


def consumer_of(bootstrap: str, group: str, **settings: Any) -> Consumer:
    defaults = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
        "topic.metadata.refresh.interval.ms": 500,
    }
    return Consumer(defaults | dotted(settings))


def dotted(settings: dict[str, Any]) -> dict[str, Any]:
    """Python's spelling of librdkafka's settings: enable_idempotence is enable.idempotence."""
    return {key.replace("_", "."): value for key, value in settings.items()}


def only(futures: dict[Any, Future[T]]) -> T:
    """The answer of an admin call about one thing, or the exception it raised."""
    (future,) = futures.values()
    return future.result(PATIENCE)


def create(bootstrap: str, topic: str, partitions: int = 1, **config: Any) -> str:
    settings = {key: str(value) for key, value in dotted(config).items()}
    admin = admin_of(bootstrap)  # held: its futures fail when it is collected
    only(admin.create_topics([NewTopic(topic, partitions, 1, config=settings)]))
    visible(bootstrap, topic, partitions)
    return topic


def visible(bootstrap: str, topic: str, partitions: int) -> None:
    admin = admin_of(bootstrap)

    def led() -> bool:
        found = admin.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
        return len(found) == partitions and all(one.leader >= 0 for one in found.values())

    until(led, f"{topic} has {partitions} partitions with leaders")


def send(producer: Producer, topic: str, values: Iterable[bytes | None], **more: Any) -> list[Message]:
    """Produce and wait; the delivery reports in the order they came. A failed delivery is in its message's error()."""
    reports: list[Message] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda _error, message: reports.append(message), **more)
    assert producer.flush(PATIENCE) == 0
    return reports


def offsets(reports: Sequence[Message]) -> list[int]:
    assert [one.error() for one in reports if one.error()] == []
    return [one.offset() for one in reports]


def take(consumer: Consumer, count: int, seconds: float = PATIENCE) -> list[Message]:
    """Exactly this many messages, in the order received."""
    taken: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} messages within {seconds} s"
        for message in consumer.consume(count - len(taken), 0.1):
            assert message.error() is None, message.error()
            taken.append(message)
    return taken


def read(bootstrap: str, topic: str, count: int, *, partition: int = 0, offset: int = 0) -> list[Message]:
    """Read a partition from an offset without a group."""
    consumer = consumer_of(bootstrap, unique("reader"))
    consumer.assign([TopicPartition(topic, partition, offset)])
    try:
        return take(consumer, count)
    finally:
        consumer.close()
