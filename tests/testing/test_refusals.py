"""A refusal says its code about everything that was asked, in every API and version that the broker serves."""

import pytest

from rafka.core.api import APIS
from rafka.core.api.metadata_request import MetadataRequest
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested
from rafka.core.message import Message, decode, encode
from rafka.core.types import ConnId
from rafka.testing.refusals import refusal

CODE = ErrorCode.NOT_LEADER_OR_FOLLOWER


def refused(key: int, version: int, body: Message) -> Message:
    return refusal(Requested(ConnId(1), 1, key, version, None, body), CODE)


def test_a_produce_is_refused_for_each_partition() -> None:
    topic = TopicProduceData(
        name="a", partition_data=[PartitionProduceData(index=i, records=b"") for i in (4, 7)]
    )
    response = refused(0, 9, ProduceRequest(acks=-1, timeout_ms=1, topic_data=[topic]))
    assert isinstance(response, ProduceResponse)
    (of_topic,) = response.responses
    assert of_topic.name == "a"
    assert [(p.index, p.error_code) for p in of_topic.partition_responses] == [(4, CODE), (7, CODE)]


def test_a_commit_is_refused_for_each_partition() -> None:
    topic = OffsetCommitRequestTopic(name="a", partitions=[OffsetCommitRequestPartition(partition_index=3)])
    response = refused(8, 9, OffsetCommitRequest(group_id="g", topics=[topic]))
    assert encode(response, 9)
    (of_topic,) = response.topics  # type: ignore[attr-defined]
    assert [(p.partition_index, p.error_code) for p in of_topic.partitions] == [(3, CODE)]


def test_what_asks_for_everything_is_refused_in_general() -> None:
    response = refused(3, 12, MetadataRequest(topics=None))
    assert response.topics == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", [key for key, api in APIS.items() if "broker" in api.listeners])
def test_every_refusal_can_be_said_in_every_version(key: int) -> None:
    api = APIS[key]
    for version in range(api.first_version, api.last_version + 1):
        response = refused(key, version, api.request())
        assert decode(api.response, version, encode(response, version)) is not None
