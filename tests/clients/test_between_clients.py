"""What one client writes, the others read: each codec in each direction, by three independent implementations."""

import asyncio
from contextlib import closing

import pytest
from kafka import KafkaProducer

from tests.clients import test_aiokafka as aio
from tests.clients import test_kafka_python as pure
from tests.clients.support import CODECS, create, offsets, producer_of, read, send

VALUES: list[bytes | None] = [bytes([number]) * (number * 37 % 2000) for number in range(120)]


def write_confluent(bootstrap: str, topic: str, codec: str) -> None:
    offsets(send(producer_of(bootstrap, compression_type=codec, linger_ms=20), topic, VALUES))


def write_kafka_python(bootstrap: str, topic: str, codec: str) -> None:
    settings = {"compression_type": codec, "linger_ms": 20}
    with closing(KafkaProducer(bootstrap_servers=bootstrap, **settings)) as producer:
        pure.send(producer, topic, VALUES)


def write_aiokafka(bootstrap: str, topic: str, codec: str) -> None:
    asyncio.run(aio.send(bootstrap, topic, VALUES, compression_type=codec, linger_ms=20))


WRITERS = {"confluent": write_confluent, "kafka-python": write_kafka_python, "aiokafka": write_aiokafka}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_every_client_reads_what_any_client_compressed(
    bootstrap: str, name: str, writer: str, codec: str
) -> None:
    create(bootstrap, name)
    WRITERS[writer](bootstrap, name, codec)
    assert [message.value() for message in read(bootstrap, name, len(VALUES))] == VALUES
    with closing(pure.consumer_of(bootstrap, name)) as consumer:
        assert [record.value for record in pure.take(consumer, len(VALUES))] == VALUES
    assert [record.value for record in asyncio.run(aio.read(bootstrap, name, len(VALUES)))] == VALUES
