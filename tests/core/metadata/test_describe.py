"""Metadata and DescribeTopicPartitions: which topics are told, which appear, and how pages follow each other."""

import pytest

from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.describe_topic_partitions_request import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.errors import ErrorCode
from rafka.core.stored.fence_broker_record import FenceBrokerRecord
from rafka.core.types import Uuid
from tests.core.metadata.world import World


def world_of(**topics):
    world = World(**{k: v for k, v in topics.items() if isinstance(v, str)})
    wanted = [
        CreatableTopic(name=name, num_partitions=count, replication_factor=1)
        for name, count in topics.items()
        if isinstance(count, int)
    ]
    world.ask(CreateTopicsRequest(topics=wanted))
    return world


def named(*names, **fields):
    return MetadataRequest(topics=[MetadataRequestTopic(name=name) for name in names], **fields)


def summary(response):
    return [(t.name, t.error_code, len(t.partitions)) for t in response.topics]


# ---- Metadata ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(14))
def test_metadata_of_every_version_tells_brokers_and_topics(version):
    response = world_of(a=2).ask(named("a"), version)
    (broker,) = response.brokers
    assert (broker.node_id, broker.host, broker.port) == (1, "dialled", 9092)
    (topic,) = response.topics
    assert (topic.name, topic.error_code, topic.topic_authorized_operations) == ("a", 0, -(2**31))
    assert [(p.partition_index, p.error_code, p.leader_id) for p in topic.partitions] == [
        (0, 0, 1),
        (1, 0, 1),
    ]
    assert [(p.replica_nodes, p.isr_nodes, p.offline_replicas) for p in topic.partitions] == [
        ([1], [1], [])
    ] * 2
    if version >= 1:
        assert response.controller_id == 1
    if version >= 2:
        assert response.cluster_id == "cluster"
    if version >= 7:
        assert [p.leader_epoch for p in topic.partitions] == [0, 0]


@pytest.mark.parametrize(("version", "topics"), [(0, []), *((v, None) for v in range(1, 14))])
def test_all_topics_are_told_when_none_is_named(version, topics):
    response = world_of(a=1, b=2).ask(MetadataRequest(topics=topics), version)
    assert summary(response) == [("a", 0, 1), ("b", 0, 2)]


@pytest.mark.parametrize("version", range(1, 14))
def test_no_topic_is_told_when_an_empty_list_is_named(version):
    response = world_of(a=1).ask(MetadataRequest(topics=[]), version)
    assert (response.topics, len(response.brokers)) == ([], 1)


@pytest.mark.parametrize("version", range(14))
def test_a_missing_topic_appears_with_the_answer(version):
    world = World(num_partitions="3")
    assert summary(world.ask(named("new"), version)) == [("new", 0, 3)]
    assert len(world.image.topic("new").partitions) == 3
    assert summary(world.ask(named("new"), version)) == [("new", 0, 3)]


@pytest.mark.parametrize(("enabled", "allowed"), [("true", False), ("false", True), ("false", False)])
def test_a_missing_topic_is_unknown_when_either_side_forbids_it(enabled, allowed):
    world = World(auto_create_topics_enable=enabled)
    response = world.ask(named("new", "a b", allow_auto_topic_creation=allowed))
    assert summary(response) == [
        ("new", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0),
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION, 0),
    ]
    assert world.image.topics == {}


def test_a_topic_that_cannot_be_does_not_appear():
    world = world_of(a_b=1)
    response = world.ask(named("a.b", "a b", "ok", "__cluster_metadata", "__transaction_state"))
    assert [(t.name, t.error_code, t.is_internal) for t in response.topics] == [
        ("a.b", ErrorCode.INVALID_TOPIC_EXCEPTION, False),
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION, False),
        ("ok", 0, False),
        ("__cluster_metadata", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, False),
        ("__transaction_state", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, True),
    ]


def test_too_many_replicas_by_default_are_told():
    world = World(default_replication_factor="3")
    assert summary(world.ask(named("t"))) == [("t", ErrorCode.INVALID_REPLICATION_FACTOR, 0)]


def test_the_offsets_topic_appears_as_it_must_be():
    world = World()
    (topic,) = world.ask(named("__consumer_offsets")).topics
    assert (topic.is_internal, len(topic.partitions)) == (True, 50)
    assert world.image.log_config("__consumer_offsets").cleanup_compact


def test_a_topic_that_is_named_twice_is_told_once():
    assert summary(World().ask(named("t", "t"))) == [("t", 0, 1)]


@pytest.mark.parametrize("version", [12, 13])
def test_topics_are_found_by_id(version):
    world = world_of(a=1)
    a, other = world.image.topic("a").topic_id, Uuid(b"x" * 16)
    topics = [MetadataRequestTopic(topic_id=i, name=None) for i in (other, a)] + [
        MetadataRequestTopic(name="new")
    ]
    response = world.ask(MetadataRequest(topics=topics), version)
    assert [(t.name, t.topic_id, t.error_code) for t in response.topics] == [
        (None, other, ErrorCode.UNKNOWN_TOPIC_ID),
        ("a", a, 0),
    ]
    assert world.image.topic("new") is None


@pytest.mark.parametrize("version", [10, 11])
def test_ids_have_no_meaning_before_version_12(version):
    world = world_of(a=1)
    topics = [
        MetadataRequestTopic(topic_id=world.image.topic("a").topic_id, name=None),
        MetadataRequestTopic(name="a"),
    ]
    response = world.ask(MetadataRequest(topics=topics), version)
    assert summary(response) == [("", ErrorCode.INVALID_REQUEST, 0), ("a", ErrorCode.INVALID_REQUEST, 0)]


def test_a_topic_without_name_and_id_is_unknown():
    response = World().ask(MetadataRequest(topics=[MetadataRequestTopic(name=None)]))
    assert summary(response) == [(None, ErrorCode.UNKNOWN_TOPIC_ID, 0)]


@pytest.mark.parametrize("version", range(8, 14))
def test_operations_are_told_when_asked_for(version):
    request = named("a", include_topic_authorized_operations=True)
    request.include_cluster_authorized_operations = version <= 10
    response = world_of(a=1).ask(request, version)
    assert response.topics[0].topic_authorized_operations == 3576
    assert response.cluster_authorized_operations == (8096 if version <= 10 else -(2**31))


def test_a_partition_whose_leader_is_fenced_has_none():
    world = world_of(a=1)
    world.image.apply(FenceBrokerRecord(id=1))
    response = world.ask(named("a"))
    assert response.brokers == []
    (partition,) = response.topics[0].partitions
    assert (partition.error_code, partition.leader_id) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)
    assert partition.offline_replicas == [1]


# ---- DescribeTopicPartitions -------------------------------------------------------------------


def page(world, *names, limit=2000, cursor=None):
    request = DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None if cursor is None else Cursor(topic_name=cursor[0], partition_index=cursor[1]),
    )
    response = world.ask(request)
    following = response.next_cursor
    return (
        [(t.name, t.error_code, [p.partition_index for p in t.partitions]) for t in response.topics],
        None if following is None else (following.topic_name, following.partition_index),
    )


def test_topics_are_described_by_name_in_order():
    world = world_of(b=1, a=2)
    assert page(world) == ([("a", 0, [0, 1]), ("b", 0, [0])], None)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    invalid = ErrorCode.INVALID_TOPIC_EXCEPTION
    assert page(world, "z", "b", "?") == ([("?", invalid, []), ("b", 0, [0]), ("z", unknown, [])], None)


def test_a_described_partition_says_who_leads_it():
    response = world_of(a=1).ask(DescribeTopicPartitionsRequest())
    (topic,) = response.topics
    (partition,) = topic.partitions
    assert (partition.leader_id, partition.leader_epoch, partition.replica_nodes) == (1, 0, [1])
    assert (partition.isr_nodes, partition.offline_replicas, partition.eligible_leader_replicas) == (
        [1],
        [],
        [],
    )
    assert topic.topic_authorized_operations == 3576


@pytest.mark.parametrize("limit", range(1, 9))
def test_pages_follow_each_other_without_gap_or_repeat(limit):
    world = world_of(a=3, b=1, c=4)
    seen, cursor = [], None
    while True:
        topics, cursor = page(world, limit=limit, cursor=cursor)
        assert 1 <= sum(len(indexes) for _, _, indexes in topics) <= limit
        seen += [(name, index) for name, _, indexes in topics for index in indexes]
        if cursor is None:
            break
    assert seen == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1), ("c", 2), ("c", 3)]


def test_a_page_has_at_least_one_partition_and_at_most_what_the_broker_allows():
    world = world_of(a=4, max_request_partition_size_limit="2")
    assert page(world, limit=-5) == ([("a", 0, [0])], ("a", 1))
    assert page(world, limit=100) == ([("a", 0, [0, 1])], ("a", 2))


@pytest.mark.parametrize("cursor", [("a", -1), ("b", 0)])
def test_a_cursor_must_point_into_the_topics(cursor):
    assert page(world_of(a=1, b=1), "a", cursor=cursor) == ([("a", ErrorCode.INVALID_REQUEST, [])], None)


def test_a_cursor_beyond_the_end_finds_nothing():
    assert page(world_of(a=1), "a", cursor=("a", 7)) == ([("a", 0, [])], None)
