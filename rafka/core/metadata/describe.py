"""Metadata and DescribeTopicPartitions: what topics there are, who leads their partitions.

Metadata of a missing topic may create it; the answer then waits for the records and shows the topic as it will be.
DescribeTopicPartitions answers at most so many partitions at once, topics by name, and says with a cursor where the
next request goes on.

Source: `KafkaApis.handleTopicMetadataRequest`, `KRaftMetadataCache` and `DescribeTopicPartitionsRequestHandler` of
Kafka 4.4; KIP-516 (topic ids), KIP-966 (paging).
"""

from rafka.core.api.describe_topic_partitions_request import DescribeTopicPartitionsRequest
from rafka.core.api.describe_topic_partitions_response import (
    Cursor,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import INT32_MIN, Answer, Ask, Refusal
from rafka.core.metadata.automatic import absent, plan_automatic
from rafka.core.metadata.cluster import addresses
from rafka.core.metadata.image import NO_LEADER, PartitionImage, TopicImage
from rafka.core.metadata.names import is_internal
from rafka.core.metadata.operations import ON_CLUSTER, ON_TOPIC
from rafka.core.metadata.plan import PARTITIONS_MAX, TopicPlan
from rafka.core.types import ZERO_UUID, Uuid

# ---- Metadata ----------------------------------------------------------------------------------


def metadata(request: MetadataRequest, ask: Ask) -> Answer:
    """Answer a Metadata."""
    records: list[Message] = []
    topics = _chosen(request, ask, records)
    if request.include_topic_authorized_operations:
        for topic in topics:
            if topic.error_code == ErrorCode.NONE:
                topic.topic_authorized_operations = ON_TOPIC
    brokers = [
        MetadataResponseBroker(node_id=one.node_id, host=one.host, port=one.port, rack=one.rack)
        for one in addresses(ask)
    ]
    response = MetadataResponse(
        brokers=brokers,
        cluster_id=ask.cluster_id,
        controller_id=ask.node_id,
        topics=topics,
        cluster_authorized_operations=(
            ON_CLUSTER if request.include_cluster_authorized_operations else INT32_MIN
        ),
    )
    return Answer(response, records)


def _chosen(request: MetadataRequest, ask: Ask, records: list[Message]) -> list[MetadataResponseTopic]:
    """Return the topics that a request asks about; put the records of those that it creates into `records`."""
    topics = request.topics
    if topics is None or (not topics and ask.version == 0):
        return [_known(topic, ask) for topic in ask.image.topics.values()]
    if 10 <= ask.version < 12 and any(t.name is None or t.topic_id != ZERO_UUID for t in topics):
        return [_unusable(topic) for topic in topics]
    ids = list(dict.fromkeys(topic.topic_id for topic in topics if topic.topic_id != ZERO_UUID))
    if ids:  # then names are not looked at
        return [_by_id(topic_id, ask) for topic_id in ids]
    may_create = request.allow_auto_topic_creation and ask.settings.auto_create_topics_enable
    names = dict.fromkeys(topic.name for topic in topics)
    return [_by_name(name, ask, records if may_create else None) for name in names]


def _by_id(topic_id: Uuid, ask: Ask) -> MetadataResponseTopic:
    topic = ask.image.topic_by_id(topic_id)
    if topic is not None:
        return _known(topic, ask)
    return MetadataResponseTopic(
        error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None if ask.version >= 12 else "", topic_id=topic_id
    )


def _by_name(name: str | None, ask: Ask, records: list[Message] | None) -> MetadataResponseTopic:
    """Describe a topic; if it is missing and `records` is there, create it. name: None has no meaning, but occurs."""
    if name is None:
        return MetadataResponseTopic(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None)
    topic = ask.image.topic(name)
    if topic is not None:
        return _known(topic, ask)
    plan: TopicPlan | Refusal = absent(name)
    if records is not None and len(records) < PARTITIONS_MAX:
        plan = plan_automatic(name, ask)
    if isinstance(plan, TopicPlan) and records is not None:
        records += plan.records()
        return _known(plan.topic, ask)
    assert isinstance(plan, Refusal)
    return MetadataResponseTopic(error_code=plan.code, name=name, is_internal=is_internal(name))


def _unusable(topic: MetadataRequestTopic) -> MetadataResponseTopic:
    """Refuse a topic of versions 10 and 11, which can say null names and topic ids, but mean neither."""
    return MetadataResponseTopic(
        error_code=ErrorCode.INVALID_REQUEST, name=topic.name or "", topic_id=topic.topic_id
    )


def _known(topic: TopicImage, ask: Ask) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=is_internal(topic.name),
        partitions=[_partition(partition, ask) for partition in topic.partitions],
    )


def _partition(partition: PartitionImage, ask: Ask) -> MetadataResponsePartition:
    leader, error = partition.leader, ErrorCode.NONE
    if not _is_alive(leader, ask):
        leader, error = NO_LEADER, ErrorCode.LEADER_NOT_AVAILABLE
    return MetadataResponsePartition(
        error_code=error,
        partition_index=partition.index,
        leader_id=leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        offline_replicas=_offline(partition, ask),
    )


def _is_alive(node_id: int, ask: Ask) -> bool:
    broker = ask.image.brokers.get(node_id)
    return broker is not None and not broker.fenced


def _offline(partition: PartitionImage, ask: Ask) -> list[int]:
    return [replica for replica in partition.replicas if not _is_alive(replica, ask)]


# ---- DescribeTopicPartitions -------------------------------------------------------------------


def describe_topic_partitions(request: DescribeTopicPartitionsRequest, ask: Ask) -> Answer:
    """Answer a DescribeTopicPartitions. Names: those of the request, or all; from the cursor's on."""
    cursor = request.cursor
    names = sorted({topic.name for topic in request.topics} or ask.image.topics)
    first_name, first_index = ("", 0) if cursor is None else (cursor.topic_name, cursor.partition_index)
    names = [name for name in names if name >= first_name]
    if first_index < 0 or (cursor is not None and request.topics and first_name not in names):
        return Answer(_refused_description(request), [])
    response = DescribeTopicPartitionsResponse(topics=[])
    room = max(min(ask.settings.max_request_partition_size_limit, request.response_partition_limit), 1)
    for name in names:
        if room == 0:
            response.next_cursor = Cursor(topic_name=name, partition_index=0)
            break
        start = first_index if name == first_name else 0
        topic = ask.image.topic(name)
        if topic is None:
            response.topics.append(_missing(name))
            continue
        page = topic.partitions[start : start + room]
        response.topics.append(_described(topic, page, ask))
        room -= len(page)
        if start + len(page) < len(topic.partitions):
            response.next_cursor = Cursor(topic_name=name, partition_index=start + len(page))
            break
    return Answer(response, [])


def _refused_description(request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """Refuse a cursor that points nowhere: every topic of the request says so, for want of another place."""
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(error_code=ErrorCode.INVALID_REQUEST, name=topic.name)
            for topic in request.topics
        ]
    )


def _missing(name: str) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        error_code=absent(name).code,
        name=name,
        is_internal=is_internal(name),
        topic_authorized_operations=ON_TOPIC,
    )


def _described(
    topic: TopicImage, page: list[PartitionImage], ask: Ask
) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=is_internal(topic.name),
        topic_authorized_operations=ON_TOPIC,
        partitions=[
            DescribeTopicPartitionsResponsePartition(
                partition_index=partition.index,
                leader_id=partition.leader if _is_alive(partition.leader, ask) else NO_LEADER,
                leader_epoch=partition.leader_epoch,
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                eligible_leader_replicas=[],
                last_known_elr=[],
                offline_replicas=_offline(partition, ask),
            )
            for partition in page
        ],
    )
