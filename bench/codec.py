"""What reading and writing messages costs: hand-written against compiled codecs, and kio where it is installed.

    python bench/codec.py

Prints microseconds a message, the best of several runs; for proportion, not for promises.
"""

from __future__ import annotations

import io
import timeit
from collections.abc import Callable

from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.fetch_response import FetchableTopicResponse, FetchResponse, PartitionData
from rafka.core.api.metadata_response import (
    MetadataResponse,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import (
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from rafka.core.message import Message, decode, encode
from rafka.core.types import Uuid
from rafka.net.kafka import fetch, produce

RECORDS = bytes(168)
"""A batch of one record of 100 bytes."""
TOPIC_ID = Uuid(bytes(range(16)))


def microseconds(call: Callable[[], object], seconds: float = 0.1) -> float:
    """The best of five runs, for one call."""
    timer = timeit.Timer(call)
    count, taken = timer.autorange()
    count = max(1, int(count * seconds / taken))
    return min(timer.repeat(5, count)) / count * 1e6


def messages() -> list[tuple[int, Message]]:
    """What is measured: version and message."""
    by_id = {"topic_id": TOPIC_ID}
    name = {"name": "orders"}
    topics = [
        MetadataResponseTopic(
            name=f"topic-{i}",
            topic_id=TOPIC_ID,
            partitions=[
                MetadataResponsePartition(partition_index=j, replica_nodes=[1, 2, 3], isr_nodes=[1, 2, 3])
                for j in range(6)
            ],
        )
        for i in range(10)
    ]
    produced = [PartitionProduceData(records=RECORDS)]
    answered = [PartitionProduceResponse(base_offset=7, log_start_offset=0)]
    fetched = [FetchPartition(fetch_offset=7, partition_max_bytes=1 << 20)]
    found = [PartitionData(high_watermark=8, records=RECORDS)]
    return [
        (13, ProduceRequest(acks=-1, topic_data=[TopicProduceData(**by_id, partition_data=produced)])),
        (10, ProduceRequest(acks=-1, topic_data=[TopicProduceData(**name, partition_data=produced)])),
        (7, ProduceRequest(acks=-1, topic_data=[TopicProduceData(**name, partition_data=produced)])),
        (13, ProduceResponse(responses=[TopicProduceResponse(**by_id, partition_responses=answered)])),
        (10, ProduceResponse(responses=[TopicProduceResponse(**name, partition_responses=answered)])),
        (18, FetchRequest(topics=[FetchTopic(**by_id, partitions=fetched)])),
        (11, FetchRequest(topics=[FetchTopic(topic="orders", partitions=fetched)])),
        (18, FetchResponse(responses=[FetchableTopicResponse(**by_id, partitions=found)])),
        (11, FetchResponse(responses=[FetchableTopicResponse(topic="orders", partitions=found)])),
        (12, MetadataResponse(topics=topics)),
    ]


def by_hand(message: Message, version: int, data: memoryview) -> tuple[float | None, float | None]:
    """What the hand-written codec needs to read and to write, where there is one."""
    match message:
        case ProduceRequest():
            return microseconds(lambda: produce.decode_request(version, data)), None
        case FetchRequest():
            return microseconds(lambda: fetch.decode_request(version, data)), None
        case ProduceResponse():
            return None, microseconds(lambda: produce.encode_response(version, message))
        case FetchResponse():
            return None, microseconds(lambda: fetch.encode_response(version, message))
        case _:
            return None, None


def by_kio(message: Message, version: int, data: bytes) -> tuple[float | None, float | None]:
    """What kio needs to read and to write, where it is installed."""
    try:
        from kio.schema.index import schema_name_map
        from kio.serial import entity_reader, entity_writer
        from kio.static.constants import EntityType
    except ImportError:
        return None, None
    from pkgutil import resolve_name

    name = type(message).__name__
    kind = EntityType.request if name.endswith("Request") else EntityType.response
    api = name.removesuffix("Request").removesuffix("Response").lower()
    entity = resolve_name(schema_name_map[api][version][kind])
    read, write = entity_reader(entity), entity_writer(entity)
    theirs, _ = read(data, 0)
    return microseconds(lambda: read(data, 0)), microseconds(lambda: write(io.BytesIO(), theirs))


def main() -> None:
    print(f"{'us a message':24} {'bytes':>6}   {'read: hand':>10} {'compiled':>9} {'kio':>9}", end="")
    print(f"   {'write: hand':>11} {'compiled':>9} {'kio':>9}")
    for version, message in messages():
        data = encode(message, version)
        view = memoryview(data)
        cls = type(message)
        hand = by_hand(message, version, view)
        ours = (
            microseconds(lambda c=cls, v=version, d=view: decode(c, v, d)),
            microseconds(lambda m=message, v=version: encode(m, v)),
        )
        kio = by_kio(message, version, data)
        cells = [
            f"{x:.2f}" if x is not None else "-" for x in (hand[0], ours[0], kio[0], hand[1], ours[1], kio[1])
        ]
        print(
            f"{cls.__name__ + f' v{version}':24} {len(data):6}   {cells[0]:>10} {cells[1]:>9} {cells[2]:>9}",
            end="",
        )
        print(f"   {cells[3]:>11} {cells[4]:>9} {cells[5]:>9}")


if __name__ == "__main__":
    main()
