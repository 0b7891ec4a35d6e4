import json
import socket

import pytest
from click.testing import CliRunner

from rafka.cli.main import rafka
from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreatableTopicResult, CreateTopicsResponse
from rafka.core.api.delete_topics_request import DeleteTopicState
from rafka.core.api.delete_topics_response import DeletableTopicResult, DeleteTopicsResponse
from rafka.core.api.describe_configs_response import (
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from rafka.core.api.metadata_response import (
    MetadataResponse,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

TOPIC_ID = bytes(range(16))


@pytest.fixture
def ask(scripted):
    return lambda *arguments: CliRunner().invoke(
        rafka, ["topic", *arguments, "--bootstrap", scripted.bootstrap]
    )


def topic(name, partitions, *, is_internal=False):
    return MetadataResponseTopic(
        name=name,
        topic_id=TOPIC_ID,
        is_internal=is_internal,
        partitions=[
            MetadataResponsePartition(
                partition_index=p, leader_id=1, leader_epoch=4, replica_nodes=[1, 2], isr_nodes=[1]
            )
            for p in reversed(range(partitions))
        ],
    )


def test_create_asks_for_what_was_said_and_tells_what_was_made(scripted, ask):
    made = CreatableTopicResult(name="orders", topic_id=TOPIC_ID, num_partitions=3, replication_factor=1)
    scripted.answers["CreateTopicsRequest"] = CreateTopicsResponse(topics=[made])
    arguments = ["create", "orders", "--partitions", "3", "--config", "retention.ms=1000"]
    assert ask(*arguments).stdout == "created orders with 3 partition(s)\n"
    assert json.loads(ask(*arguments, "--json").stdout) == {
        "name": "orders",
        "topic_id": "AAECAwQFBgcICQoLDA0ODw",
        "partitions": 3,
    }
    wanted = CreatableTopic(
        name="orders",
        num_partitions=3,
        replication_factor=-1,
        configs=[CreatableTopicConfig(name="retention.ms", value="1000")],
    )
    assert scripted.asked == [CreateTopicsRequest(topics=[wanted], timeout_ms=30_000)] * 2


@pytest.mark.parametrize(
    ("code", "message", "sentence"),
    [
        (36, "Topic 'orders' already exists.", "orders: Topic 'orders' already exists."),
        (36, None, "orders: TOPIC_ALREADY_EXISTS"),
        (31999, None, "orders: error 31999"),
    ],
)
def test_a_refusal_is_one_sentence_in_the_brokers_words(scripted, ask, code, message, sentence):
    refused = CreatableTopicResult(name="orders", error_code=code, error_message=message)
    scripted.answers["CreateTopicsRequest"] = CreateTopicsResponse(topics=[refused])
    answer = ask("create", "orders")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "", f"Error: {sentence}\n")


def test_list_sorts_and_hides_what_is_internal(scripted, ask):
    topics = [topic("b", 2), topic("__consumer_offsets", 50, is_internal=True), topic("a", 1)]
    scripted.answers["MetadataRequest"] = MetadataResponse(topics=topics)
    a, b = {"name": "a", "partitions": 1}, {"name": "b", "partitions": 2}
    assert json.loads(ask("list", "--json").stdout) == [a, b]
    internal = {"name": "__consumer_offsets", "partitions": 50}
    assert json.loads(ask("list", "--json", "--internal").stdout) == [internal, a, b]
    assert ask("list").stdout == "topic  partitions\na      1\nb      2\n"
    assert all(request.topics is None and not request.allow_auto_topic_creation for request in scripted.asked)


def settings(**values):
    """What DescribeConfigs answers: values with where they come from, 1 the topic, 4 the broker's file, 5 nobody."""
    configs = [
        DescribeConfigsResourceResult(name=name.replace("_", "."), value=value, config_source=source)
        for name, (value, source) in values.items()
    ]
    result = DescribeConfigsResult(resource_type=2, resource_name="orders", configs=configs)
    return DescribeConfigsResponse(results=[result])


NEVER = ("9223372036854775807", 5)


@pytest.mark.parametrize(
    ("values", "durability"),
    [
        ({"flush": ("fsync", 5), "flush_messages": NEVER, "flush_ms": NEVER}, "fsync"),
        ({"flush": ("os", 1), "flush_messages": NEVER, "flush_ms": NEVER}, "os"),
        ({"flush": ("os", 4), "flush_messages": ("1", 1), "flush_ms": NEVER}, "fsync"),
        ({"flush": ("os", 1), "flush_messages": ("1", 4), "flush_ms": NEVER}, "os"),
        ({"flush": ("os", 4), "flush_messages": NEVER, "flush_ms": ("1000", 1)}, "fsync"),
        ({"flush_messages": NEVER, "flush_ms": NEVER}, "os"),  # Kafka's default
        ({"flush_messages": ("1", 1), "flush_ms": NEVER}, "fsync"),
    ],
)
def test_describe_says_what_an_acknowledgement_is_worth(scripted, ask, values, durability):
    scripted.answers["MetadataRequest"] = MetadataResponse(topics=[topic("orders", 1)])
    scripted.answers["DescribeConfigsRequest"] = settings(**values)
    assert json.loads(ask("describe", "orders", "--json").stdout)["durability"] == durability
    assert (
        ask("describe", "orders")
        .stdout.splitlines()[-1]
        .startswith(f"flush: {durability}, acknowledged once ")
    )


def test_describe_shows_every_partition_in_order(scripted, ask):
    scripted.answers["MetadataRequest"] = MetadataResponse(topics=[topic("orders", 2)])
    scripted.answers["DescribeConfigsRequest"] = settings(
        flush=("fsync", 5), flush_messages=NEVER, flush_ms=NEVER
    )
    described = json.loads(ask("describe", "orders", "--json").stdout)
    assert described["name"] == "orders"
    assert described["partitions"] == [
        {"partition": p, "leader": 1, "leader_epoch": 4, "replicas": [1, 2], "in_sync": [1]} for p in (0, 1)
    ]
    lines = ask("describe", "orders").stdout.splitlines()
    assert [line.split() for line in lines if "[1, 2]" in line] == [
        ["0", "1", "4", "[1,", "2]", "[1]"],
        ["1", "1", "4", "[1,", "2]", "[1]"],
    ]


def test_describe_of_an_unknown_topic_fails_and_does_not_create_it(scripted, ask):
    unknown = MetadataResponseTopic(name="nope", error_code=3)
    scripted.answers["MetadataRequest"] = MetadataResponse(topics=[unknown])
    answer = ask("describe", "nope")
    assert (answer.exit_code, answer.stderr) == (1, "Error: nope: there is no such topic or partition\n")
    assert scripted.asked[0].allow_auto_topic_creation is False


def test_delete_deletes_what_it_can_and_fails_for_the_rest(scripted, ask):
    results = [
        DeletableTopicResult(name="a"),
        DeletableTopicResult(name="b", error_code=3),
        DeletableTopicResult(name="c"),
    ]
    scripted.answers["DeleteTopicsRequest"] = DeleteTopicsResponse(responses=results)
    answer = ask("delete", "a", "b", "c")
    assert answer.exit_code == 1
    assert (answer.stdout, answer.stderr) == (
        "deleted a, c\n",
        "Error: b: there is no such topic or partition\n",
    )
    assert json.loads(ask("delete", "a", "b", "c", "--json").stdout) == {"deleted": ["a", "c"]}
    assert scripted.asked[0].topics == [DeleteTopicState(name=name) for name in "abc"]


def test_a_broker_that_hangs_up_is_named(scripted, ask):
    answer = ask("list")
    assert answer.exit_code == 1
    assert answer.stderr == f"Error: {scripted.bootstrap} closed the connection\n"


def test_a_port_where_nobody_listens_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    answer = CliRunner().invoke(rafka, ["topic", "list", "--bootstrap", free])
    assert answer.exit_code == 1
    assert answer.stderr == f"Error: cannot connect to {free}: is a broker running there?\n"


def test_the_next_address_is_tried_when_the_first_does_not_answer(scripted):
    scripted.answers["MetadataRequest"] = MetadataResponse(topics=[])
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    both = f"{free}, {scripted.bootstrap}"
    answer = CliRunner().invoke(rafka, ["topic", "list", "--json", "--bootstrap", both])
    assert (answer.exit_code, answer.stdout) == (0, "[]\n")


def test_a_bootstrap_that_is_no_address_is_a_usage_error():
    assert CliRunner().invoke(rafka, ["topic", "list", "--bootstrap", "nowhere"]).exit_code == 2
