"""aiokafka against the broker. Each test runs its own event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from tests.clients.support import CODECS, PATIENCE, create

Record = Any


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.02)


async def send(bootstrap: str, topic: str, values: list[bytes | None], **settings: Any) -> list[int]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **settings)
    await producer.start()
    try:
        waiting = [await producer.send(topic, value, key=b"k", partition=0) for value in values]
        return [(await one).offset for one in waiting]
    finally:
        await producer.stop()


def consumer_of(bootstrap: str, *topics: str, **settings: Any) -> AIOKafkaConsumer:
    defaults = {
        "bootstrap_servers": bootstrap,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 300,
        "metadata_max_age_ms": 500,
    }
    return AIOKafkaConsumer(*topics, **(defaults | settings))


async def take(consumer: AIOKafkaConsumer, count: int) -> list[Record]:
    async def receive() -> list[Record]:
        return [await consumer.getone() for _ in range(count)]

    return await asyncio.wait_for(receive(), PATIENCE)


async def read(bootstrap: str, topic: str, count: int) -> list[Record]:
    consumer = consumer_of(bootstrap, topic)
    await consumer.start()
    try:
        return await take(consumer, count)
    finally:
        await consumer.stop()


def test_records_come_back_with_key_headers_timestamp_and_tombstone(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    headers = [("h", b"\x00"), ("h", b"")]

    async def run() -> list[Record]:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait(name, b"v", key=b"k", headers=headers, timestamp_ms=1_600_000_000_000)
        await producer.send_and_wait(name, None, key=b"gone")
        await producer.stop()
        return await read(bootstrap, name, 2)

    first, tombstone = asyncio.run(run())
    assert (first.key, first.value, list(first.headers)) == (b"k", b"v", headers)
    assert (first.timestamp, first.timestamp_type) == (1_600_000_000_000, 0)
    assert (tombstone.key, tombstone.value) == (b"gone", None)


@pytest.mark.parametrize("codec", [None, *CODECS])
def test_idempotent_records_in_every_codec_arrive_once_and_in_order(
    bootstrap: str, name: str, codec: str | None
) -> None:
    create(bootstrap, name)
    values: list[bytes | None] = [b"%d " % number * 50 for number in range(500)]
    settings = {"enable_idempotence": True, "compression_type": codec, "linger_ms": 5}
    assert asyncio.run(send(bootstrap, name, values, **settings)) == list(range(500))
    assert [record.value for record in asyncio.run(read(bootstrap, name, 500))] == values


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_level_of_acks_delivers(bootstrap: str, name: str, acks: int | str) -> None:
    create(bootstrap, name)

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=acks)
        await producer.start()
        await producer.send_and_wait(name, b"a")
        await producer.stop()

    asyncio.run(run())
    assert [record.value for record in asyncio.run(read(bootstrap, name, 1))] == [b"a"]


def test_a_record_beyond_the_topics_limit_is_refused(bootstrap: str, name: str) -> None:
    create(bootstrap, name, max_message_bytes=10_000)
    with pytest.raises(MessageSizeTooLargeError):
        asyncio.run(send(bootstrap, name, [b"x" * 20_000]))


def test_offsets_by_time_ends_and_seek(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    partition = TopicPartition(name, 0)

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        for step in range(4):
            timestamp = 1_600_000_000_000 + step * 1000
            await producer.send_and_wait(name, b"%d" % step, timestamp_ms=timestamp)
        await producer.stop()
        consumer = consumer_of(bootstrap)
        await consumer.start()
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 4}
        found = (await consumer.offsets_for_times({partition: 1_600_000_001_500}))[partition]
        assert (found.offset, found.timestamp) == (2, 1_600_000_002_000)
        consumer.assign([partition])
        consumer.seek(partition, 3)
        assert (await take(consumer, 1))[0].value == b"3"
        await consumer.stop()

    asyncio.run(run())


def test_two_members_share_and_one_takes_over(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=2)

    async def run() -> None:
        first, second = (consumer_of(bootstrap, name, group_id=name) for _ in range(2))
        await asyncio.gather(first.start(), second.start())

        async def shared() -> bool:
            return [len(first.assignment()), len(second.assignment())] == [1, 1]

        async def alone() -> bool:
            return len(first.assignment()) == 2

        await until(shared, "one partition each")
        await second.stop()
        await until(alone, "both partitions")
        await first.stop()

    asyncio.run(run())


def test_a_committed_position_is_where_the_group_resumes(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    partition = TopicPartition(name, 0)

    async def run() -> list[Record]:
        await send(bootstrap, name, [b"0", b"1", b"2", b"3"])
        first = consumer_of(bootstrap, name, group_id=name)
        await first.start()
        await take(first, 2)
        await first.commit({partition: (2, "note")})
        assert await first.committed(partition) == 2
        await first.stop()
        second = consumer_of(bootstrap, name, group_id=name)
        await second.start()
        rest = await take(second, 2)
        await second.stop()
        return rest

    assert [record.value for record in asyncio.run(run())] == [b"2", b"3"]


def test_a_pattern_finds_its_topics(bootstrap: str, name: str) -> None:
    for suffix in ("a", "b"):
        create(bootstrap, f"{name}-{suffix}")

    async def run() -> list[Record]:
        for suffix in ("a", "b"):
            await send(bootstrap, f"{name}-{suffix}", [suffix.encode()])
        consumer = consumer_of(bootstrap, group_id=name)
        consumer.subscribe(pattern=f"^{name}-.*")
        await consumer.start()
        found = await take(consumer, 2)
        await consumer.stop()
        return found

    assert sorted(record.value for record in asyncio.run(run())) == [b"a", b"b"]


def test_producing_to_an_unknown_topic_makes_it(bootstrap: str, name: str) -> None:
    assert asyncio.run(send(bootstrap, name, [b"first"])) == [0]


def test_the_admin_makes_alters_and_deletes(bootstrap: str, name: str) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"retention.ms": "5000"})])
        await admin.create_partitions({name: NewPartitions(2)})

        async def widened() -> bool:
            (topic,) = await admin.describe_topics([name])
            return len(topic["partitions"]) == 2

        await until(widened, "two partitions")
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "6000"})])

        async def altered() -> bool:
            (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            entries = answer.resources[0][4]
            return {entry[0]: entry[1] for entry in entries}["retention.ms"] == "6000"

        await until(altered, "the altered setting")
        await send(bootstrap, name, [b"0", b"1", b"2"])
        partition = TopicPartition(name, 0)
        assert await admin.delete_records({partition: RecordsToDelete(before_offset=2)}) == {partition: 2}
        await admin.delete_topics([name])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await until(gone, "no topic")
        await admin.close()

    asyncio.run(run())


def test_the_admin_lists_and_describes_groups(bootstrap: str, name: str) -> None:
    create(bootstrap, name)

    async def run() -> None:
        await send(bootstrap, name, [b"a"])
        consumer = consumer_of(bootstrap, name, group_id=name)
        await consumer.start()
        await take(consumer, 1)
        await consumer.commit()
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        assert (name, "consumer") in await admin.list_consumer_groups()
        (described,) = await admin.describe_consumer_groups([name])
        assert described.groups[0][1:3] == (name, "Stable")
        offsets = await admin.list_consumer_group_offsets(name)
        assert {partition.partition: found.offset for partition, found in offsets.items()} == {0: 1}
        await admin.close()
        await consumer.stop()

    asyncio.run(run())
