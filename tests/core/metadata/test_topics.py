"""CreateTopics, DeleteTopics, CreatePartitions: what is done, what is refused, and in which words."""

import pytest

from rafka.core.api.create_partitions_request import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from rafka.core.api.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.errors import ErrorCode
from rafka.core.types import ZERO_UUID, Uuid
from tests.core.metadata.world import World


def topic(name="t", partitions=1, factor=1, configs=(), assignments=()):
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        configs=[CreatableTopicConfig(name=k, value=v) for k, v in dict(configs).items()],
        assignments=[CreatableReplicaAssignment(partition_index=i, broker_ids=b) for i, b in assignments],
    )


def create(world, *topics, version=7, validate_only=False):
    request = CreateTopicsRequest(topics=list(topics), validate_only=validate_only)
    return world.ask(request, version).topics


def outcomes(results):
    return [(r.name, r.error_code, r.error_message) for r in results]


def outcome(world, wanted):
    (result,) = create(world, wanted)
    return result.error_code, result.error_message


# ---- create ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 8))
def test_a_topic_is_created_with_its_partitions_led_by_the_only_broker(version):
    world = World()
    (result,) = create(world, topic("orders", 3), version=version)
    assert (result.name, result.error_code, result.error_message) == ("orders", 0, None)
    image = world.image.topic("orders")
    assert [
        (p.index, p.replicas, p.isr, p.leader, p.leader_epoch, p.partition_epoch) for p in image.partitions
    ] == [
        (0, (1,), (1,), 1, 0, 0),
        (1, (1,), (1,), 1, 0, 0),
        (2, (1,), (1,), 1, 0, 0),
    ]
    assert [p.directories for p in image.partitions] == [(b"directory-of-one",)] * 3
    if version >= 5:
        assert (result.num_partitions, result.replication_factor) == (3, 1)
        assert len(result.configs) == len({c.name for c in result.configs}) > 30
    if version >= 7:
        assert result.topic_id == image.topic_id


def test_a_new_topic_has_a_random_uuid_of_version_4():
    world = World()
    create(world, topic())
    topic_id = world.image.topic("t").topic_id
    assert (topic_id[6] >> 4, topic_id[8] >> 6) == (4, 2)


def test_settings_of_a_new_topic_are_told_with_their_sources():
    world = World(log_retention_hours="1")
    (result,) = create(world, topic(configs={"cleanup.policy": " compact "}))
    told = {c.name: (c.value, c.config_source) for c in result.configs}
    assert told["cleanup.policy"] == ("compact", 1)
    assert told["retention.ms"] == ("3600000", 4)
    assert told["segment.bytes"] == ("1073741824", 5)
    assert not any(c.read_only or c.is_sensitive for c in result.configs)
    assert world.image.own_config("t") == {"cleanup.policy": "compact"}


def test_validate_only_says_the_same_and_does_nothing():
    world = World()
    before = len(world.log)
    (result,) = create(world, topic("t", 5), validate_only=True)
    assert (result.error_code, result.num_partitions) == (0, 5)
    (result,) = create(world, topic("t", 0), validate_only=True)
    assert result.error_code == ErrorCode.INVALID_PARTITIONS
    assert (world.image.topics, len(world.log)) == ({}, before)


def test_defaults_come_from_the_broker():
    world = World(num_partitions="4")
    (result,) = create(world, topic("t", -1, -1))
    assert (result.num_partitions, result.replication_factor) == (4, 1)


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (
            topic("t", 0),
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            topic("t", -2),
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            topic("t", 1, 0),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            topic("t", 1, 3),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            (
                "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached "
                "because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
            ),
        ),
        (
            topic(""),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (topic(".."), ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: '..' is not allowed"),
        (
            topic("a/b"),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            (
                "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, "
                "'.', '_' and '-'"
            ),
        ),
        (
            topic("x" * 250),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic name is invalid: the length of '{'x' * 250}' is longer than the max allowed length 249",
        ),
        (
            topic("__cluster_metadata"),
            ErrorCode.INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            topic(configs={"cleanup.polic": "compact"}),
            ErrorCode.INVALID_CONFIG,
            "Unknown topic config name: cleanup.polic",
        ),
        (
            topic(configs={"retention.ms": "soon"}),
            ErrorCode.INVALID_CONFIG,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        (
            topic(configs={"retention.ms": None}),
            ErrorCode.INVALID_CONFIG,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            topic("t", 10_001),
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
        (
            topic("t", 2**31 - 1),
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
    ],
)
def test_what_cannot_be_is_refused(wanted, code, message):
    world = World()
    assert outcome(world, wanted) == (code, message)
    assert world.image.topics == {}


def test_a_name_of_249_characters_is_taken():
    assert outcome(World(), topic("x" * 249)) == (0, None)


def test_a_topic_that_exists_is_not_created_again():
    world = World()
    create(world, topic("a.b"))
    assert outcome(world, topic("a.b", 0)) == (ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 'a.b' already exists.")


def test_names_that_differ_only_in_dots_and_underscores_collide():
    world = World()
    create(world, topic("a.b"))
    assert outcome(world, topic("a_b")) == (
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "Topic 'a_b' collides with existing topic: a.b",
    )
    assert outcome(world, topic("a-b")) == (0, None)
    world.ask(DeleteTopicsRequest(topics=[DeleteTopicState(name="a.b")]))
    assert outcome(world, topic("a_b")) == (0, None)


def test_a_topic_named_twice_is_refused_and_the_others_are_created():
    world = World()
    assert outcomes(create(world, topic("a"), topic("b"), topic("a"))) == [
        ("b", 0, None),
        ("a", ErrorCode.INVALID_REQUEST, "Duplicate topic name."),
    ]
    assert list(world.image.topics) == ["b"]


@pytest.mark.parametrize(
    ("assignments", "code", "message"),
    [
        ([(0, [1]), (1, [1])], 0, None),
        ([(1, [1]), (0, [1])], 0, None),
        (
            [(0, [])],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            [(0, [0])],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 0, but no such broker is registered.",
        ),
        (
            [(0, [1, 1])],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            [(0, [1]), (0, [1])],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            [(0, [1]), (2, [1])],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        ),
    ],
)
def test_replicas_given_by_hand(assignments, code, message):
    world = World()
    assert outcome(world, topic("t", -1, -1, assignments=assignments)) == (code, message)
    if code == 0:
        assert len(world.image.topic("t").partitions) == len(assignments)


@pytest.mark.parametrize(
    ("partitions", "factor", "field"), [(-1, 1, "replication factor"), (1, -1, "numPartitions")]
)
def test_replicas_given_by_hand_exclude_counts(partitions, factor, field):
    assert outcome(World(), topic("t", partitions, factor, assignments=[(0, [1])])) == (
        ErrorCode.INVALID_REQUEST,
        f"A manual partition assignment was specified, but {field} was not set to -1.",
    )


# ---- delete ------------------------------------------------------------------------------------


def delete(world, *states, version=6):
    if version < 6:
        return world.ask(DeleteTopicsRequest(topic_names=list(states)), version).responses
    return world.ask(DeleteTopicsRequest(topics=list(states)), version).responses


def told(results):
    return [(r.name, r.topic_id, r.error_code, r.error_message) for r in results]


@pytest.mark.parametrize("version", range(1, 6))
def test_topics_are_deleted_by_name(version):
    world = World()
    create(world, topic("a", configs={"retention.ms": "1"}), topic("b"))
    results = delete(world, "a", "missing", version=version)
    assert sorted((r.name, r.error_code) for r in results) == [
        ("a", 0),
        ("missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert list(world.image.topics) == ["b"]
    assert world.image.topic_configs == {}


def test_topics_are_deleted_by_id():
    world = World()
    create(world, topic("a"))
    topic_id = world.image.topic("a").topic_id
    other = Uuid(b"x" * 16)
    results = delete(world, DeleteTopicState(topic_id=topic_id), DeleteTopicState(topic_id=other))
    assert told(results) == [
        (None, other, ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID."),
        ("a", topic_id, 0, None),
    ]
    assert world.image.topics == {}


def test_a_topic_must_be_named_once_and_one_way():
    world = World()
    create(world, topic("a"), topic("b"), topic("c"))
    a, b, c = (world.image.topic(name).topic_id for name in "abc")
    results = delete(
        world,
        DeleteTopicState(),
        DeleteTopicState(name="a", topic_id=a),
        DeleteTopicState(name="b"),
        DeleteTopicState(name="b"),
        DeleteTopicState(topic_id=a),
        DeleteTopicState(topic_id=a),
        DeleteTopicState(name="c"),
        DeleteTopicState(topic_id=c),
    )
    refused = ErrorCode.INVALID_REQUEST
    assert told(results) == [
        (None, ZERO_UUID, refused, "Neither topic name nor id were specified."),
        ("a", a, refused, "You may not specify both topic name and topic id."),
        (None, a, refused, "Duplicate topic id."),
        ("b", ZERO_UUID, refused, "Duplicate topic name."),
        ("c", c, refused, "The provided topic name maps to an ID that was already supplied."),
    ]
    assert list(world.image.topics) == ["a", "b", "c"]
    assert b != ZERO_UUID


@pytest.mark.parametrize(
    ("version", "code"), [(2, ErrorCode.INVALID_REQUEST), (3, ErrorCode.TOPIC_DELETION_DISABLED)]
)
def test_deletion_can_be_forbidden(version, code):
    world = World(delete_topic_enable="false")
    create(world, topic("a"))
    assert [r.error_code for r in delete(world, "a", version=version)] == [code]
    assert list(world.image.topics) == ["a"]


# ---- more partitions ---------------------------------------------------------------------------


def extend(world, *topics, version=3, validate_only=False):
    wanted = [
        CreatePartitionsTopic(
            name=name,
            count=count,
            assignments=None if hand is None else [CreatePartitionsAssignment(broker_ids=b) for b in hand],
        )
        for name, count, hand in topics
    ]
    request = CreatePartitionsRequest(topics=wanted, validate_only=validate_only)
    return outcomes(world.ask(request, version).results)


@pytest.mark.parametrize("version", range(4))
def test_a_topic_gets_more_partitions(version):
    world = World()
    create(world, topic("a", 2), topic("b"))
    world.image.changes.clear()
    assert extend(world, ("a", 4, None), ("b", 2, [[1]]), version=version) == [("a", 0, None), ("b", 0, None)]
    a, b = world.image.topic("a"), world.image.topic("b")
    assert [p.index for p in a.partitions] == [0, 1, 2, 3]
    assert world.image.changes.created == [(a, 2), (a, 3), (b, 1)]


def test_validating_more_partitions_adds_none():
    world = World()
    create(world, topic("a", 2))
    assert extend(world, ("a", 4, None), validate_only=True) == [("a", 0, None)]
    assert len(world.image.topic("a").partitions) == 2


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (("a", 2, None), ErrorCode.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            ("a", 1, None),
            ErrorCode.INVALID_PARTITIONS,
            "The topic a currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            ("missing", 3, None),
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "This server does not host this topic-partition.",
        ),
        (
            ("a", 4, [[1]]),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            ("a", 3, [[2]]),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (
            ("a", 10_003, None),
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
    ],
)
def test_partitions_that_cannot_be_added(wanted, code, message):
    world = World()
    create(world, topic("a", 2))
    assert extend(world, wanted) == [(wanted[0], code, message)]
    assert len(world.image.topic("a").partitions) == 2


def test_a_topic_that_is_to_be_extended_twice_is_not():
    world = World()
    create(world, topic("a"), topic("b"))
    assert extend(world, ("a", 2, None), ("a", 3, None), ("b", 2, None)) == [
        ("a", ErrorCode.INVALID_REQUEST, "Duplicate topic name."),
        ("b", 0, None),
    ]
