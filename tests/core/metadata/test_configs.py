"""Settings: described with their sources, altered step by step or whole, of topics and of the broker."""

import pytest

from rafka.core.api.alter_configs_request import AlterableConfig as Whole
from rafka.core.api.alter_configs_request import AlterConfigsRequest
from rafka.core.api.alter_configs_request import AlterConfigsResource as WholeResource
from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from rafka.core.api.list_config_resources_request import ListConfigResourcesRequest
from rafka.core.config.topic import TOPIC_SETTINGS
from rafka.core.errors import ErrorCode
from tests.core.metadata.world import World

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
BY_TOPIC, BY_BROKER, BY_ALL_BROKERS, BY_FILE, BY_NOBODY = range(1, 6)


def with_topic(**configs):
    world = World(num_partitions="1")
    settings = [CreatableTopicConfig(name=k.replace("_", "."), value=v) for k, v in configs.items()]
    topic = CreatableTopic(name="t", num_partitions=1, replication_factor=1, configs=settings)
    assert world.ask(CreateTopicsRequest(topics=[topic])).topics[0].error_code == 0
    return world


def described(world, kind=TOPIC, name="t", keys=None, version=4, **request):
    resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
    (result,) = world.ask(DescribeConfigsRequest(resources=[resource], **request), version).results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


def value_of(world, key, kind=TOPIC, name="t"):
    (entry,) = described(world, kind, name, [key]).configs
    return entry.value, entry.config_source


def step(operation, key, value=None):
    return AlterableConfig(name=key, config_operation=operation, value=value)


def alter(world, *steps, kind=TOPIC, name="t", validate_only=False):
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=list(steps))
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
    (result,) = world.ask(request).responses
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result.error_code


# ---- describe ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 5))
def test_a_topic_shows_every_setting_with_its_source(version):
    result = described(with_topic(retention_ms="60000"), version=version)
    configs = {c.name: c for c in result.configs}
    assert sorted(configs) == sorted(TOPIC_SETTINGS)
    mine, other = configs["retention.ms"], configs["segment.bytes"]
    assert (mine.value, mine.config_source, mine.read_only) == ("60000", BY_TOPIC, False)
    assert (other.value, other.config_source, other.is_sensitive) == ("1073741824", BY_NOBODY, False)
    assert mine.config_type == (5 if version >= 3 else 0)  # LONG


def test_synonyms_and_documentation_come_when_asked_for():  # KIP-226, KIP-569
    world = with_topic(retention_ms="60000")
    assert alter(world, step(SET, "log.retention.ms", "5000"), kind=BROKER, name="1") == 0
    plain = described(world, keys=["retention.ms"]).configs[0]
    assert (plain.synonyms, plain.documentation) == ([], None)
    full = described(world, keys=["retention.ms"], include_synonyms=True, include_documentation=True).configs[
        0
    ]
    assert [(s.name, s.value, s.source) for s in full.synonyms] == [
        ("retention.ms", "60000", BY_TOPIC),
        ("log.retention.ms", "5000", BY_BROKER),
        ("log.retention.hours", "168", BY_NOBODY),
    ]
    assert full.documentation == TOPIC_SETTINGS["retention.ms"].text


@pytest.mark.parametrize("keys", [None, []])
def test_no_keys_are_all_keys(keys):
    assert len(described(with_topic(), keys=keys).configs) == len(TOPIC_SETTINGS)


def test_unknown_keys_are_left_out():
    assert [c.name for c in described(with_topic(), keys=["no.such", "flush"]).configs] == ["flush"]


def test_a_broker_shows_what_it_was_started_with_and_what_can_be_altered():
    world = World(num_partitions="7")
    configs = {c.name: c for c in described(world, BROKER, "1", include_synonyms=True).configs}
    partitions, retention = configs["num.partitions"], configs["log.retention.ms"]
    assert (partitions.value, partitions.config_source, partitions.read_only) == ("7", BY_FILE, True)
    assert [(s.value, s.source) for s in partitions.synonyms] == [("7", BY_FILE), ("1", BY_NOBODY)]
    assert (retention.value, retention.config_source, retention.read_only) == (None, BY_NOBODY, False)


def test_the_broker_without_a_name_shows_what_was_altered_for_all():
    world = World()
    assert described(world, BROKER, "").configs == []
    assert alter(world, step(SET, "log.segment.bytes", "2097152"), kind=BROKER, name="") == 0
    (entry,) = described(world, BROKER, "").configs
    assert (entry.name, entry.value, entry.config_source) == ("log.segment.bytes", "2097152", BY_ALL_BROKERS)


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "absent", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "a/b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (BROKER, "2", ErrorCode.INVALID_REQUEST),
        (BROKER, "one", ErrorCode.INVALID_REQUEST),
        (LOGGER, "1", ErrorCode.INVALID_REQUEST),
        (METRICS, "", ErrorCode.INVALID_REQUEST),
        (GROUP, "", ErrorCode.INVALID_REQUEST),
        (GROUP, "g", ErrorCode.NONE),
        (METRICS, "m", ErrorCode.NONE),
        (77, "x", ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_has_no_settings_says_why(kind, name, code):
    result = described(World(), kind, name)
    assert (result.error_code, result.configs) == (code, [])


# ---- alter, step by step -----------------------------------------------------------------------


def test_the_four_operations_of_kip_339():
    world = with_topic(retention_ms="60000")
    assert alter(world, step(SET, "retention.ms", " 70000 ")) == 0
    assert value_of(world, "retention.ms") == ("70000", BY_TOPIC)
    assert alter(world, step(APPEND, "cleanup.policy", "compact,delete")) == 0
    assert value_of(world, "cleanup.policy") == ("delete,compact", BY_TOPIC)
    assert alter(world, step(SUBTRACT, "cleanup.policy", "delete,absent")) == 0
    assert value_of(world, "cleanup.policy") == ("compact", BY_TOPIC)
    assert alter(world, step(DELETE, "retention.ms"), step(DELETE, "no.such")) == 0
    assert value_of(world, "retention.ms") == ("604800000", BY_NOBODY)
    assert world.image.own_config("t") == {"cleanup.policy": "compact"}
    assert world.replayed().own_config("t") == {"cleanup.policy": "compact"}


def test_validating_alters_nothing():
    world = with_topic()
    before = list(world.log)
    assert alter(world, step(SET, "retention.ms", "1"), validate_only=True) == 0
    assert alter(world, step(SET, "retention.ms", "x"), validate_only=True) == ErrorCode.INVALID_CONFIG
    assert world.log == before


def test_what_is_so_already_needs_no_record():
    world = with_topic(retention_ms="60000")
    before = list(world.log)
    assert alter(world, step(SET, "retention.ms", "60000"), step(DELETE, "segment.ms")) == 0
    assert world.log == before


def test_one_bad_step_leaves_the_whole_resource_as_it_was():
    world = with_topic()
    steps = [step(SET, "retention.ms", "1"), step(SET, "segment.bytes", "few")]
    assert alter(world, *steps) == ErrorCode.INVALID_CONFIG
    assert world.image.own_config("t") == {}


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([step(SET, "no.such", "1")], ErrorCode.INVALID_CONFIG),
        ([step(SET, "preallocate", "true")], ErrorCode.INVALID_CONFIG),  # refused by name
        ([step(SET, "min.compaction.lag.ms", "9"), step(SET, "max.compaction.lag.ms", "5")],
         ErrorCode.INVALID_CONFIG),
        ([step(APPEND, "retention.ms", "1")], ErrorCode.INVALID_CONFIG),
        ([step(SUBTRACT, "no.such", "1")], ErrorCode.INVALID_CONFIG),
        ([step(SET, "retention.ms")], ErrorCode.INVALID_REQUEST),
        ([step(9, "retention.ms", "1")], ErrorCode.INVALID_REQUEST),
        ([step(SET, "retention.ms", "1"), step(DELETE, "retention.ms")], ErrorCode.INVALID_REQUEST),
    ],
)  # fmt: skip
def test_steps_that_are_refused(steps, code):
    world = with_topic()
    assert alter(world, *steps) == code
    assert world.image.own_config("t") == {}


@pytest.mark.parametrize(
    ("kind", "name", "key", "code"),
    [
        (TOPIC, "absent", "retention.ms", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "", "retention.ms", ErrorCode.INVALID_REQUEST),
        (TOPIC, "a b", "retention.ms", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (BROKER, "2", "log.retention.ms", ErrorCode.INVALID_REQUEST),
        (BROKER, "1", "num.partitions", ErrorCode.INVALID_REQUEST),
        (BROKER, "1", "no.such", ErrorCode.INVALID_REQUEST),
        (LOGGER, "1", "root", ErrorCode.INVALID_REQUEST),
        (GROUP, "g", "consumer.session.timeout.ms", ErrorCode.INVALID_CONFIG),
        (METRICS, "m", "interval.ms", ErrorCode.INVALID_CONFIG),
        (0, "x", "y", ErrorCode.INVALID_REQUEST),
    ],
)
def test_resources_that_are_refused(kind, name, key, code):
    world = World()
    before = list(world.log)
    assert alter(world, step(SET, key, "1000"), kind=kind, name=name) == code
    assert world.log == before


def test_a_resource_that_comes_twice_is_refused_both_times():
    world = with_topic()
    twice = [
        AlterConfigsResource(resource_type=TOPIC, resource_name="t", configs=[step(SET, "retention.ms", v)])
        for v in "12"
    ]
    results = world.ask(IncrementalAlterConfigsRequest(resources=twice)).responses
    assert [r.error_code for r in results] == [ErrorCode.INVALID_REQUEST] * 2


# ---- the broker's, while running ---------------------------------------------------------------


def test_a_topic_obeys_this_broker_before_all_brokers_before_the_file():  # KIP-226
    world = with_topic()
    assert alter(world, step(SET, "log.retention.ms", "2000"), kind=BROKER, name="") == 0
    assert value_of(world, "retention.ms") == ("2000", BY_ALL_BROKERS)
    assert alter(world, step(SET, "log.retention.ms", "1000"), kind=BROKER, name="1") == 0
    assert value_of(world, "retention.ms") == ("1000", BY_BROKER)
    assert world.image.log_config("t").retention_ms == 1000
    assert alter(world, step(DELETE, "log.retention.ms"), kind=BROKER, name="01") == 0
    assert world.image.log_config("t").retention_ms == 2000
    assert world.replayed().log_config("t").retention_ms == 2000


@pytest.mark.parametrize(
    "steps",
    [
        [step(SET, "log.retention.ms", "soon")],
        [step(SET, "log.cleaner.min.compaction.lag.ms", "9"),
         step(SET, "log.cleaner.max.compaction.lag.ms", "5")],
        [step(SET, "flush", "os"), step(SET, "log.flush.interval.messages", "1")],
        [step(SET, "log.preallocate", "true")],
    ],
)  # fmt: skip
def test_broker_settings_that_cannot_be(steps):
    world = World()
    assert alter(world, *steps, kind=BROKER, name="1") == ErrorCode.INVALID_REQUEST
    assert world.image.broker_configs == {}


def test_a_brokers_list_is_appended_to():
    world = with_topic()
    assert alter(world, step(APPEND, "log.cleanup.policy", "compact"), kind=BROKER, name="") == 0
    assert value_of(world, "cleanup.policy") == ("delete,compact", BY_ALL_BROKERS)


# ---- alter whole -------------------------------------------------------------------------------


def whole(world, configs, kind=TOPIC, name="t", version=2, **request):
    settings = [Whole(name=key, value=value) for key, value in configs.items()]
    resource = WholeResource(resource_type=kind, resource_name=name, configs=settings)
    (result,) = world.ask(AlterConfigsRequest(resources=[resource], **request), version).responses
    return result.error_code


@pytest.mark.parametrize("version", range(3))
def test_what_is_not_named_goes_back_to_its_default(version):
    world = with_topic(retention_ms="60000", segment_ms="1000")
    assert whole(world, {"segment.ms": "2000", "flush": "os"}, version=version) == 0
    assert world.image.own_config("t") == {"segment.ms": "2000", "flush": "os"}
    assert whole(world, {}, validate_only=True, version=version) == 0
    assert world.image.own_config("t") == {"segment.ms": "2000", "flush": "os"}
    assert whole(world, {}, version=version) == 0
    assert world.image.own_config("t") == {}


@pytest.mark.parametrize(
    ("kind", "name", "configs", "code"),
    [
        (TOPIC, "t", {"retention.ms": None}, ErrorCode.INVALID_REQUEST),
        (TOPIC, "t", {"retention.ms": "x"}, ErrorCode.INVALID_CONFIG),
        (TOPIC, "absent", {"retention.ms": "1"}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (BROKER, "1", {"node.id": "3"}, ErrorCode.INVALID_REQUEST),
        (BROKER, "", {"log.retention.ms": "5"}, ErrorCode.NONE),
        (LOGGER, "1", {}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_whole_resources_that_are_refused(kind, name, configs, code):
    world = with_topic(retention_ms="60000")
    assert whole(world, configs, kind, name) == code
    assert world.image.own_config("t") == {"retention.ms": "60000"}


# ---- list --------------------------------------------------------------------------------------


def test_resources_with_settings_are_listed():  # KIP-1142
    world = with_topic()
    response = world.ask(ListConfigResourcesRequest())
    listed = {(r.resource_type, r.resource_name) for r in response.config_resources}
    assert listed == {(TOPIC, "t"), (BROKER, "1"), (LOGGER, "1")}
    only = world.ask(ListConfigResourcesRequest(resource_types=[TOPIC, GROUP])).config_resources
    assert [(r.resource_type, r.resource_name) for r in only] == [(TOPIC, "t")]
    strange = world.ask(ListConfigResourcesRequest(resource_types=[3]))
    assert strange.error_code == ErrorCode.UNSUPPORTED_VERSION


def test_version_0_lists_client_metrics_alone():  # KIP-714
    assert with_topic().ask(ListConfigResourcesRequest(), 0).config_resources == []


def test_alterations_that_could_not_be_written():
    world = with_topic()
    resource = AlterConfigsResource(
        resource_type=TOPIC, resource_name="t", configs=[step(SET, "flush", "os")]
    )
    request = IncrementalAlterConfigsRequest(resources=[resource])
    decision = world.decide(request)
    (reply,) = world.controller.refused(decision, ErrorCode.KAFKA_STORAGE_ERROR)
    (result,) = world.wire(reply.body, request).responses
    assert result.error_code == ErrorCode.KAFKA_STORAGE_ERROR
