"""KIP-1066: a directory that is cordoned gets no new partitions. The words and codes are those of Apache Kafka 4.4."""

import pytest

from rafka.core.api.create_partitions_request import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from rafka.core.api.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreateTopicsRequest,
)
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.errors import ErrorCode
from tests.core.metadata.test_configs import (
    APPEND,
    BROKER,
    BY_BROKER,
    BY_FILE,
    BY_NOBODY,
    DELETE,
    SET,
    SUBTRACT,
    alter,
    described,
    step,
    value_of,
)
from tests.core.metadata.world import DATA_DIR, World

KEY = "cordoned.log.dirs"
NOBODY = "All brokers are currently fenced, or have all their log directories cordoned."
BY_HAND = "The manual partition assignment includes broker 1, but all its log directories are cordoned."


def cordon(world, text, operation=SET, name="1"):
    return alter(world, step(operation, KEY, text), kind=BROKER, name=name)


def created(world, name, factor=1, by_hand=False):
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=factor)
    if by_hand:
        place = CreatableReplicaAssignment(partition_index=0, broker_ids=[1])
        topic = CreatableTopic(name=name, num_partitions=-1, replication_factor=-1, assignments=[place])
    (result,) = world.ask(CreateTopicsRequest(topics=[topic])).topics
    return result.error_code, result.error_message


def extended(world, name, count, by_hand=False):
    places = [CreatePartitionsAssignment(broker_ids=[1])] if by_hand else None
    topic = CreatePartitionsTopic(name=name, count=count, assignments=places)
    (result,) = world.ask(CreatePartitionsRequest(topics=[topic])).results
    return result.error_code, result.error_message


@pytest.mark.parametrize("text", ["*", DATA_DIR, f" {DATA_DIR} "])
def test_a_cordoned_broker_gets_no_new_partitions_and_keeps_what_it_has(text):
    world = World()
    assert created(world, "old") == (0, None)
    assert cordon(world, text) == 0
    refused = ErrorCode.INVALID_REPLICATION_FACTOR
    assert created(world, "new") == (refused, f"Unable to replicate the partition 1 time(s): {NOBODY}")
    assert created(world, "new", 3) == (refused, f"Unable to replicate the partition 3 time(s): {NOBODY}")
    assert created(world, "new", by_hand=True) == (ErrorCode.INVALID_REPLICA_ASSIGNMENT, BY_HAND)
    assert extended(world, "old", 2) == (refused, NOBODY)
    assert extended(world, "old", 2, by_hand=True) == (ErrorCode.INVALID_REPLICA_ASSIGNMENT, BY_HAND)
    assert [p.leader for p in world.image.topic("old").partitions] == [1]


@pytest.mark.parametrize("after", [("", SET), (None, DELETE), (DATA_DIR, SUBTRACT)])
def test_it_gets_some_again_as_soon_as_it_is_not_cordoned(after):
    world = World()
    assert cordon(world, DATA_DIR, APPEND) == 0
    assert created(world, "t")[0] == ErrorCode.INVALID_REPLICATION_FACTOR
    assert cordon(world, *after) == 0
    assert created(world, "t") == (0, None)
    assert extended(world, "t", 3) == (0, None)


def test_topics_do_not_appear_by_themselves_while_it_is_cordoned():
    world = World()
    assert cordon(world, "*") == 0
    asked = MetadataRequest(topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=True)
    assert world.ask(asked).topics[0].error_code == ErrorCode.INVALID_REPLICATION_FACTOR
    (coordinator,) = world.ask(FindCoordinatorRequest(coordinator_keys=["g"])).coordinators
    assert coordinator.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.image.topics == {}


def test_it_is_the_setting_of_the_start_until_it_is_altered_and_outlives_a_restart():
    world = World(cordoned_log_dirs="*")
    assert value_of(world, KEY, BROKER, "1") == ("*", BY_FILE)
    assert created(world, "t")[0] == ErrorCode.INVALID_REPLICATION_FACTOR
    assert cordon(world, "") == 0
    assert value_of(world, KEY, BROKER, "1") == ("", BY_BROKER)
    assert created(world, "t") == (0, None)
    assert not world.replayed().is_cordoned(1)
    other = World()
    assert cordon(other, "*") == 0
    assert other.replayed().is_cordoned(1)


def test_it_is_described_as_what_can_be_altered():
    (entry,) = described(World(), BROKER, "1", [KEY], include_synonyms=True).configs
    assert (entry.value, entry.config_source, entry.read_only, entry.config_type) == ("", BY_NOBODY, False, 7)
    assert [(s.name, s.value, s.source) for s in entry.synonyms] == [(KEY, "", BY_NOBODY)]


@pytest.mark.parametrize("text", ["/nope", f"/nope,{DATA_DIR}", f"*,{DATA_DIR}", "rafka"])
def test_only_what_is_there_can_be_cordoned(text):
    world = World()
    assert cordon(world, text) == ErrorCode.INVALID_REQUEST
    assert not world.image.is_cordoned(1)


def test_the_directory_goes_by_the_name_it_was_configured_with_too():
    world = World(log_dirs="./data")
    assert cordon(world, "./data") == 0
    assert world.image.is_cordoned(1)


def test_a_directory_that_has_moved_is_not_cordoned_and_keeps_nobody_from_other_settings():
    world = World()
    assert cordon(world, DATA_DIR) == 0
    world.image.data_dir = "/elsewhere"
    assert not world.image.is_cordoned(1)
    assert alter(world, step(SET, "log.retention.ms", "1"), kind=BROKER, name="1") == 0
    assert cordon(world, "/elsewhere", APPEND) == ErrorCode.INVALID_REQUEST
    assert cordon(world, "/elsewhere") == 0
    assert world.image.is_cordoned(1)


def test_it_is_of_one_broker_and_not_of_all():
    world = World()
    assert cordon(world, "*", name="") == ErrorCode.INVALID_REQUEST
    assert not world.image.is_cordoned(1)
