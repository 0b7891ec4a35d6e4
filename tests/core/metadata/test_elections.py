"""ElectLeaders, on what one node can have and on what a log may say of several; ListPartitionReassignments."""

import pytest

from rafka.core.api.elect_leaders_request import ElectLeadersRequest, TopicPartitions
from rafka.core.api.list_partition_reassignments_request import ListPartitionReassignmentsRequest
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.errors import ErrorCode
from rafka.core.stored.partition_change_record import PartitionChangeRecord
from rafka.core.stored.register_broker_record import RegisterBrokerRecord
from tests.core.metadata.world import World

PREFERRED, UNCLEAN = 0, 1


def with_topic(partitions=1):
    world = World(num_partitions=str(partitions))
    world.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]))
    return world


def change(world, **fields):
    topic = world.image.topic("t")
    world.image.apply(PartitionChangeRecord(partition_id=0, topic_id=topic.topic_id, **fields))


def elect(world, wanted=(("t", [0]),), kind=PREFERRED, version=2):
    topics = None if wanted is None else [TopicPartitions(topic=t, partitions=p) for t, p in wanted]
    request = ElectLeadersRequest(topic_partitions=topics)
    if version >= 1:
        request.election_type = kind
    response = world.ask(request, version)
    results = [
        (r.topic, p.partition_id, p.error_code)
        for r in response.replica_election_results
        for p in r.partition_result
    ]
    return response.error_code, results


@pytest.mark.parametrize("version", range(3))
def test_a_led_partition_needs_no_election(version):
    assert elect(with_topic(), version=version) == (0, [("t", 0, ErrorCode.ELECTION_NOT_NEEDED)])


@pytest.mark.parametrize("kind", [PREFERRED, UNCLEAN])
def test_partitions_that_are_not(kind):
    code, results = elect(with_topic(), [("t", [0, 1, -1]), ("absent", [0])], kind)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert code == 0
    assert [r[2] for r in results] == [ErrorCode.ELECTION_NOT_NEEDED, unknown, unknown, unknown]


@pytest.mark.parametrize("kind", [PREFERRED, UNCLEAN])
def test_of_all_partitions_only_those_that_need_it_are_told(kind):  # KIP-460
    world = with_topic(3)
    assert elect(world, None, kind) == (0, [])
    change(world, leader=-1)
    assert elect(world, None, kind) == (0, [("t", 0, 0)])
    assert world.image.topic("t").partitions[0].leader == 1


def test_an_election_of_no_kind_is_refused():
    assert elect(with_topic(), kind=5) == (ErrorCode.INVALID_REQUEST, [])


def test_the_preferred_leader_must_be_in_sync():
    world = with_topic()
    world.image.apply(RegisterBrokerRecord(broker_id=2, fenced=False))
    change(world, replicas=[2, 1], isr=[1])
    assert elect(world) == (0, [("t", 0, ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)])
    change(world, isr=[1, 2])
    assert elect(world) == (0, [("t", 0, 0)])
    assert world.image.topic("t").partitions[0].leader == 2


def test_an_unclean_leader_is_the_only_one_in_sync():
    world = with_topic()
    change(world, replicas=[1, 2], isr=[2], leader=-1)
    assert elect(world, kind=UNCLEAN) == (0, [("t", 0, 0)])
    partition = world.image.topic("t").partitions[0]
    assert (partition.leader, partition.isr) == (1, (1,))


def test_a_partition_whose_replicas_are_all_gone_gets_no_leader():
    world = with_topic()
    change(world, replicas=[8, 9], isr=[8], leader=-1)
    assert elect(world, kind=UNCLEAN) == (0, [("t", 0, ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE)])


def test_no_partition_is_on_the_move():
    response = with_topic().ask(ListPartitionReassignmentsRequest(topics=None))
    assert (response.error_code, response.topics) == (0, [])
