"""What a test asks its broker for directly, over a plain blocking connection."""

import socket
import time
from collections.abc import Sequence

from rafka.client.connection import Connection
from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreateTopicsResponse
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.fetch_response import FetchResponse
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.errors import ErrorCode, RafkaError
from rafka.core.message import Message
from rafka.core.record.batch import size_at
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.net.compression import Compression

TIMEOUT_S = 30.0
FETCH_BYTES = 1 << 20


def create_topic(port: int, name: str, partitions: int, configs: dict[str, str]) -> None:
    """Make a topic; it may be there already. Raises RafkaError with the broker's words when it cannot be made."""
    pairs = [CreatableTopicConfig(name=key, value=value) for key, value in configs.items()]
    wanted = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, configs=pairs)
    (answer,) = ask(port, CreateTopicsRequest(topics=[wanted], timeout_ms=10_000))
    assert isinstance(answer, CreateTopicsResponse)
    (result,) = answer.topics
    if result.error_code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
        raise RafkaError(
            f"topic {name} was not made: {result.error_message or ErrorCode(result.error_code).name}"
        )


def read_all(port: int, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
    """Return key and value of all that is committed in a partition. Raises RafkaError if there is no such topic."""
    (found,) = ask(
        port, MetadataRequest(topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False)
    )
    assert isinstance(found, MetadataResponse)
    if found.topics[0].error_code:
        raise RafkaError(f"topic {topic}: {ErrorCode(found.topics[0].error_code).name}")
    topic_id = found.topics[0].topic_id
    codecs = Compression()
    records: list[tuple[bytes | None, bytes | None]] = []
    offset = 0
    while True:
        wanted = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=FETCH_BYTES,
            session_epoch=-1,
            topics=[FetchTopic(topic=topic, topic_id=topic_id, partitions=[wanted])],
        )
        (answer,) = ask(port, request)
        assert isinstance(answer, FetchResponse)
        data = answer.responses[0].partitions[0]
        if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE and offset < data.log_start_offset:
            offset = data.log_start_offset
            continue
        if data.error_code:
            raise RafkaError(f"{topic}-{partition}: {ErrorCode(data.error_code).name}")
        batches = bytes(data.records or b"")  # type: ignore[arg-type]  # what is received is one buffer
        if not batches:
            return records
        at = 0
        while at + 61 <= len(batches):
            size = size_at(batches, at)[1]
            if at + size > len(batches):
                break
            for record in records_of(batches[at : at + size], codecs):
                if record.offset >= offset:
                    records.append((record.key, record.value))
                    offset = record.offset + 1
            at += size


def produce(
    port: int, topic: str, records: Sequence[tuple[bytes | None, bytes | None]], topic_partition: int = 0
) -> int:
    """Append records to a partition as one batch, with acks=all; return the first one's offset. Raises RafkaError."""
    batch = build_batch([Record(key, value) for key, value in records], timestamp=time.time_ns() // 1_000_000)
    data = PartitionProduceData(index=topic_partition, records=batch)
    (found,) = ask(port, MetadataRequest(topics=[MetadataRequestTopic(name=topic)]))
    assert isinstance(found, MetadataResponse)
    asked = TopicProduceData(name=topic, topic_id=found.topics[0].topic_id, partition_data=[data])
    (answer,) = ask(port, ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[asked]))
    assert isinstance(answer, ProduceResponse)
    result = answer.responses[0].partition_responses[0]
    if result.error_code:
        raise RafkaError(f"{topic}-{topic_partition}: {ErrorCode(result.error_code).name}")
    return result.base_offset


def ask(port: int, *requests: Message) -> list[Message]:
    """Send requests over a connection of their own and return the answers. Raises RafkaError when it is cut off."""
    connection = Connection("rafka-testing")
    answers: list[Message] = []
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock:
        sock.sendall(connection.greet())
        while not connection.is_ready:
            connection.receive(_received(sock))
        sock.sendall(b"".join(connection.send(request) for request in requests))
        while len(answers) < len(requests):
            answers += connection.receive(_received(sock))
    return answers


def _received(sock: socket.socket) -> memoryview:
    data = sock.recv(1 << 16)
    if not data:
        raise RafkaError("the broker closed the connection")
    return memoryview(data)
