"""The controller's first records, the cluster it describes, the ids and coordinators it gives."""

import pytest

from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.delete_topics_request import DeleteTopicsRequest
from rafka.core.api.describe_cluster_request import DescribeClusterRequest
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.config.settings import Listener
from rafka.core.errors import ErrorCode, RafkaError
from rafka.core.metadata.image import Endpoint
from rafka.core.stored.feature_level_record import FeatureLevelRecord
from rafka.core.stored.fence_broker_record import FenceBrokerRecord
from rafka.core.stored.register_broker_record import BrokerEndpoint, RegisterBrokerRecord
from tests.core.metadata.world import DIRECTORY, NOW, World

# ---- boot --------------------------------------------------------------------------------------


def test_a_fresh_log_begins_with_the_feature_level_and_the_broker():
    world = World(boot=False, broker_rack="r1")
    decision = world.controller.boot(NOW, [Listener("PLAINTEXT", "127.0.0.1", 19092)])
    level, broker = decision.records
    assert level == FeatureLevelRecord(name="metadata.version", feature_level=25)
    assert isinstance(broker, RegisterBrokerRecord)
    assert (broker.broker_id, broker.broker_epoch, broker.fenced, broker.rack) == (1, 1, False, "r1")
    assert broker.end_points == [BrokerEndpoint(name="PLAINTEXT", host="127.0.0.1", port=19092)]
    assert (broker.log_dirs, decision.replies) == ([DIRECTORY], [])


def test_a_usual_restart_appends_nothing():
    world = World()
    again = world.new_controller(world.replayed())
    assert again.boot(NOW).records == []


def test_a_broker_registers_again_when_it_can_be_dialled_elsewhere():
    world = World()
    first = world.image.brokers[1]
    world.commit(world.controller.boot(NOW, [Listener("PLAINTEXT", "127.0.0.1", 1234)]))
    again = world.image.brokers[1]
    assert again.endpoints == (Endpoint("PLAINTEXT", "127.0.0.1", 1234),)
    assert again.incarnation_id != first.incarnation_id
    assert again.epoch > first.epoch


def test_a_fenced_broker_registers_again():
    world = World()
    world.image.apply(FenceBrokerRecord(id=1))
    assert len(world.controller.boot(NOW).records) == 1


def test_a_log_of_a_newer_level_is_not_served():
    world = World()
    world.image.apply(FeatureLevelRecord(name="metadata.version", feature_level=33))
    with pytest.raises(RafkaError, match=r"metadata.version 33, and this broker knows 25"):
        world.controller.boot(NOW)


# ---- ApiVersions -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(6))
def test_every_version_of_api_versions_tells_the_table(version):
    response = World().ask(ApiVersionsRequest(client_software_name="c", client_software_version="1"), version)
    assert response.error_code == 0
    told = {k.api_key: (k.min_version, k.max_version) for k in response.api_keys}
    assert told[18] == (0, 5)
    assert told[22] == (0, 5)
    if version >= 3:
        (feature,) = response.finalized_features
        assert (feature.name, feature.min_version_level, feature.max_version_level) == (
            "metadata.version",
            25,
            25,
        )
        assert response.finalized_features_epoch == 2


def test_produce_is_advertised_from_version_0():
    world = World()
    world.controller.served = {0: (3, 13), 18: (0, 5)}
    response = world.ask(ApiVersionsRequest(), 0)
    assert [(k.api_key, k.min_version, k.max_version) for k in response.api_keys] == [(0, 0, 13), (18, 0, 5)]


@pytest.mark.parametrize("bad", ["", "-a", "a-", "a b", "a/b", "é"])
def test_software_names_are_checked_from_version_3(bad):
    world = World()
    for request in (
        ApiVersionsRequest(client_software_name=bad, client_software_version="1"),
        ApiVersionsRequest(client_software_name="a", client_software_version=bad),
    ):
        assert world.ask(request, 2).error_code == 0
        response = world.ask(request, 3)
        assert (response.error_code, response.api_keys) == (ErrorCode.INVALID_REQUEST, [])


@pytest.mark.parametrize(
    ("cluster_id", "node_id", "code"),
    [
        (None, -1, 0),
        ("cluster", 1, 0),
        ("cluster", 2, ErrorCode.REBOOTSTRAP_REQUIRED),
        ("other", 1, ErrorCode.REBOOTSTRAP_REQUIRED),
        ("cluster", -1, ErrorCode.INVALID_REQUEST),
        (None, 1, ErrorCode.INVALID_REQUEST),
    ],
)
def test_who_has_come_to_the_wrong_node_is_told(cluster_id, node_id, code):
    request = ApiVersionsRequest(
        client_software_name="c", client_software_version="1", cluster_id=cluster_id, node_id=node_id
    )
    assert World().ask(request, 5).error_code == code


# ---- DescribeCluster ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
def test_the_cluster_is_this_broker_at_the_address_that_was_dialled(version):
    response = World(broker_rack="r1").ask(DescribeClusterRequest(), version)
    (broker,) = response.brokers
    assert (broker.broker_id, broker.host, broker.port, broker.rack) == (1, "dialled", 9092, "r1")
    assert (response.cluster_id, response.controller_id, response.error_code) == ("cluster", 1, 0)
    assert response.cluster_authorized_operations == -(2**31)


def test_authorized_operations_are_all_when_asked_for():
    response = World().ask(DescribeClusterRequest(include_cluster_authorized_operations=True))
    assert response.cluster_authorized_operations == 8096


def test_other_brokers_have_the_address_that_they_registered():
    world = World()
    other = RegisterBrokerRecord(
        broker_id=2, fenced=False, end_points=[BrokerEndpoint(name="PLAINTEXT", host="h", port=5)], rack=None
    )
    fenced = RegisterBrokerRecord(broker_id=3, fenced=True, end_points=other.end_points, rack=None)
    world.image.apply(other)
    world.image.apply(fenced)
    told = world.ask(DescribeClusterRequest()).brokers
    assert [(b.broker_id, b.host, b.port, b.is_fenced) for b in told] == [
        (1, "dialled", 9092, False),
        (2, "h", 5, False),
    ]
    told = world.ask(DescribeClusterRequest(include_fenced_brokers=True)).brokers
    assert [(b.broker_id, b.is_fenced) for b in told] == [(1, False), (2, False), (3, True)]


@pytest.mark.parametrize(
    ("endpoint_type", "code"),
    [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (9, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)],
)
def test_controllers_are_not_described(endpoint_type, code):
    response = World().ask(DescribeClusterRequest(endpoint_type=endpoint_type))
    assert (response.error_code, response.brokers) == (code, [])


# ---- FindCoordinator ---------------------------------------------------------------------------


def coordinator_of(group, version):
    """Ask with the one field or the other: no version has both."""
    if version >= 4:
        return FindCoordinatorRequest(coordinator_keys=[group])
    return FindCoordinatorRequest(key=group)


@pytest.mark.parametrize("version", range(7))
def test_the_first_group_makes_the_offsets_topic(version):
    world = World(offsets_topic_num_partitions="3", offsets_topic_segment_bytes="2097152")
    response = world.ask(coordinator_of("g", version), version)
    found = response.coordinators[0] if version >= 4 else response
    assert (found.error_code, found.node_id, found.host, found.port) == (0, 1, "dialled", 9092)
    assert len(world.image.topic("__consumer_offsets").partitions) == 3
    assert world.image.own_config("__consumer_offsets") == {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": "2097152",
    }
    before = len(world.log)
    world.ask(FindCoordinatorRequest(key="h"), 3)
    assert len(world.log) == before


@pytest.mark.parametrize(
    ("key_type", "code"),
    [
        (1, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (2, ErrorCode.UNSUPPORTED_VERSION),
        (7, ErrorCode.INVALID_REQUEST),
    ],
)
def test_other_coordinators_are_refused(key_type, code):
    world = World()
    response = world.ask(FindCoordinatorRequest(key_type=key_type, coordinator_keys=["a", "b"]))
    assert [(c.key, c.error_code, c.node_id) for c in response.coordinators] == [
        ("a", code, -1),
        ("b", code, -1),
    ]
    assert world.image.topics == {}


# ---- InitProducerId ----------------------------------------------------------------------------


def init(world, version=5, **fields):
    fields = {"transactional_id": None} | fields
    response = world.ask(InitProducerIdRequest(**fields), version)
    return response.producer_id, response.producer_epoch, response.error_code


def test_producer_ids_come_from_committed_blocks_of_1000():
    world = World()
    before = len(world.log)
    assert [init(world) for _ in range(2500)] == [(n, 0, 0) for n in range(2500)]
    assert len(world.log) - before == 3
    assert world.image.next_producer_id == 3000


@pytest.mark.parametrize("version", range(6))
def test_every_version_gives_a_producer_id(version):
    assert init(World(), version) == (0, 0, 0)


def test_an_id_is_never_given_twice_across_restarts():
    world = World()
    assert [init(world)[0] for _ in range(3)] == [0, 1, 2]
    world.controller = world.new_controller(world.image)
    assert init(world)[0] == 1000


def test_a_decision_that_was_dropped_gives_no_id():
    world = World()
    request = InitProducerIdRequest(transactional_id=None)
    dropped = world.decide(request)
    again = world.decide(request)
    assert dropped.records == again.records != []
    world.commit(again)
    assert again.replies[0].body.producer_id == 0
    assert init(world)[0] == 1


def test_a_producer_that_shows_its_id_gets_another():
    world = World()
    assert init(world, producer_id=5, producer_epoch=3) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"transactional_id": "tx"}, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        ({"transactional_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"producer_id": 5}, ErrorCode.INVALID_REQUEST),
        ({"producer_epoch": 5}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_is_not_given_an_id(fields, code):
    assert init(World(), **fields) == (-1, -1, code)


def test_producer_ids_end_before_they_wrap():
    world = World()
    world.image.next_producer_id = 2**63 - 1000
    assert init(world) == (-1, -1, ErrorCode.UNKNOWN_SERVER_ERROR)


# ---- records that could not be written ---------------------------------------------------------


def lost(world, request, code=ErrorCode.KAFKA_STORAGE_ERROR, version=None):
    decision = world.decide(request, version)
    assert decision.records
    (reply,) = world.controller.refused(decision, code)
    return world.wire(reply.body, request, version)


def test_topics_that_could_not_be_created():
    wanted = [CreatableTopic(name=n, num_partitions=p, replication_factor=1) for n, p in (("a", 1), ("b", 0))]
    response = lost(World(), CreateTopicsRequest(topics=wanted))
    assert [(t.name, t.error_code, t.num_partitions, t.topic_id) for t in response.topics] == [
        ("a", ErrorCode.KAFKA_STORAGE_ERROR, -1, bytes(16)),
        ("b", ErrorCode.INVALID_PARTITIONS, -1, bytes(16)),
    ]


def test_topics_that_could_not_be_deleted():
    world = World()
    world.ask(MetadataRequest(topics=[MetadataRequestTopic(name="a")]))
    response = lost(world, DeleteTopicsRequest(topic_names=["a", "b"]), version=5)
    assert sorted((r.name, r.error_code) for r in response.responses) == [
        ("a", ErrorCode.KAFKA_STORAGE_ERROR),
        ("b", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]


def test_topics_that_could_not_appear():
    world = World()
    world.ask(MetadataRequest(topics=[MetadataRequestTopic(name="a")]))
    response = lost(world, MetadataRequest(topics=[MetadataRequestTopic(name=n) for n in "ab"]))
    assert [(t.name, t.error_code, len(t.partitions)) for t in response.topics] == [
        ("a", 0, 1),
        ("b", ErrorCode.KAFKA_STORAGE_ERROR, 0),
    ]


@pytest.mark.parametrize("version", [3, 6])
def test_a_coordinator_that_could_not_be_made(version):
    response = lost(World(), coordinator_of("g", version), version=version)
    found = response.coordinators[0] if version >= 4 else response
    assert (found.error_code, found.node_id) == (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1)


def test_a_producer_id_that_could_not_be_given_is_asked_for_again():
    response = lost(World(), InitProducerIdRequest(transactional_id=None))
    assert (response.error_code, response.producer_id) == (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, -1)
