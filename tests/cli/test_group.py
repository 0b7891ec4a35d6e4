import json

import pytest
from click.testing import CliRunner

from rafka.cli import patience
from rafka.cli.main import rafka
from rafka.client.membership import assignment_of
from rafka.core.api.delete_groups_response import DeletableGroupResult, DeleteGroupsResponse
from rafka.core.api.describe_groups_response import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsResponse,
)
from rafka.core.api.find_coordinator_response import Coordinator, FindCoordinatorResponse
from rafka.core.api.list_groups_response import ListedGroup, ListGroupsResponse
from rafka.core.api.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from rafka.core.api.metadata_response import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from rafka.core.api.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from rafka.core.api.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)

TOPIC_ID = bytes(range(16))
EARLIEST, LATEST = 10, 50
"""What the log of every partition of orders holds: the offsets 10 to 49."""


@pytest.fixture
def billing(scripted):
    """A broker that keeps the group billing: partition p of orders committed at 20 + p, partition 2 not at all.

    state, members: the group's; code: what it says to every commit.
    """
    host, _, port = scripted.bootstrap.partition(":")
    partitions = [MetadataResponsePartition(partition_index=p, leader_id=1) for p in range(3)]
    topic = MetadataResponseTopic(name="orders", topic_id=TOPIC_ID, partitions=partitions)
    brokers = [MetadataResponseBroker(node_id=1, host=host, port=int(port))]
    coordinator = Coordinator(key="billing", node_id=1, host=host, port=int(port))
    scripted.state, scripted.members, scripted.code = "Empty", [], 0
    scripted.answers |= {
        "MetadataRequest": MetadataResponse(brokers=brokers, topics=[topic]),
        "FindCoordinatorRequest": FindCoordinatorResponse(coordinators=[coordinator]),
        "DescribeGroupsRequest": lambda request: described(scripted, request.groups[0]),
        "OffsetFetchRequest": lambda _request: committed(),
        "ListOffsetsRequest": listed,
        "OffsetCommitRequest": lambda request: commit(scripted, request),
    }
    return scripted


def described(broker, name):
    if name != "billing":
        missing = DescribedGroup(group_id=name, error_code=69, group_state="Dead")
        return DescribeGroupsResponse(groups=[missing])
    group = DescribedGroup(
        group_id=name,
        group_state=broker.state,
        protocol_type="consumer",
        protocol_data="range",
        members=broker.members,
    )
    return DescribeGroupsResponse(groups=[group])


def committed():
    some = [OffsetFetchResponsePartitions(partition_index=p, committed_offset=20 + p) for p in range(2)]
    topics = [
        OffsetFetchResponseTopics(topic_id=TOPIC_ID, partitions=some),
        OffsetFetchResponseTopics(topic_id=bytes(15) + b"\1", partitions=some),
    ]
    return OffsetFetchResponse(groups=[OffsetFetchResponseGroup(group_id="billing", topics=topics)])


def listed(request):
    def offset(timestamp):
        return {-2: EARLIEST, -1: LATEST}.get(timestamp, 30 if timestamp <= 1_000_000 else -1)

    (topic,) = request.topics
    found = [
        ListOffsetsPartitionResponse(partition_index=p.partition_index, offset=offset(p.timestamp))
        for p in topic.partitions
    ]
    return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name=topic.name, partitions=found)])


def commit(broker, request):
    broker.committed = [
        (topic.topic_id, p.partition_index, p.committed_offset)
        for topic in request.topics
        for p in topic.partitions
    ]
    broker.by = (request.group_id, request.member_id, request.generation_id_or_member_epoch)
    results = [OffsetCommitResponsePartition(partition_index=0, error_code=broker.code)]
    return OffsetCommitResponse(topics=[OffsetCommitResponseTopic(topic_id=TOPIC_ID, partitions=results)])


def member(name, assignment):
    return DescribedGroupMember(
        member_id=f"{name}-1", client_id=name, client_host="/10.0.0.1", member_assignment=assignment
    )


def ask(broker, *arguments):
    return CliRunner().invoke(rafka, ["group", *arguments, "--bootstrap", broker.bootstrap])


def moved(answer):
    assert answer.exit_code == 0, answer.stderr
    return [
        (row["partition"], row["committed"], row["new"]) for row in json.loads(answer.stdout)["partitions"]
    ]


def test_list_sorts_the_groups(billing):
    groups = [
        ListedGroup(group_id=name, group_state="Empty", group_type="classic", protocol_type="consumer")
        for name in "ba"
    ]
    billing.answers["ListGroupsRequest"] = ListGroupsResponse(groups=groups)
    rows = json.loads(ask(billing, "list", "--json").stdout)
    assert rows == [
        {"group": name, "state": "Empty", "type": "classic", "protocol": "consumer"} for name in "ab"
    ]
    assert ask(billing, "list").stdout == (
        "group  state  type     protocol\n"
        "a      Empty  classic  consumer\n"
        "b      Empty  classic  consumer\n"
    )  # fmt: skip


def test_describe_shows_who_reads_what_and_the_lag(billing):
    billing.state = "Stable"
    billing.members = [member("eve", assignment_of({"orders": [1, 2]})), member("idle", b"")]
    answer = json.loads(ask(billing, "describe", "billing", "--json").stdout)
    columns = ["partition", "committed", "end", "lag", "client_id", "host"]
    assert [[row[column] for column in columns] for row in answer["partitions"]] == [
        [0, 20, 50, 30, None, None],
        [1, 21, 50, 29, "eve", "10.0.0.1"],
        [2, None, 50, None, "eve", "10.0.0.1"],
        [None, None, None, None, "idle", "10.0.0.1"],
    ]
    assert [m["assignment"] for m in answer["members"]] == [{"orders": [1, 2]}, {}]
    assert (answer["state"], answer["assignor"]) == ("Stable", "range")
    assert answer["coordinator"] == f"{billing.bootstrap} (node 1)"


def test_the_plain_description_has_facts_and_a_row_for_each_partition(billing):
    lines = ask(billing, "describe", "billing").stdout.splitlines()
    assert lines[:2] == ["group        billing", "state        Empty"]
    assert [line.split() for line in lines[-2:]] == [
        ["orders", "0", "20", "50", "30", "-", "-", "-"],
        ["orders", "1", "21", "50", "29", "-", "-", "-"],
    ]


def test_a_group_that_is_not_of_consumers_has_no_partitions_to_show(billing):
    connect = DescribedGroup(
        group_id="billing",
        group_state="Stable",
        protocol_type="connect",
        members=[member("worker", b"\xff\xff\xff")],
    )
    billing.answers["DescribeGroupsRequest"] = DescribeGroupsResponse(groups=[connect])
    answer = json.loads(ask(billing, "describe", "billing", "--json").stdout)
    assert answer["members"][0]["assignment"] == {}


@pytest.mark.parametrize("arguments", [["describe", "nope"], ["reset-offsets", "nope", "--to-latest"]])
def test_an_unknown_group_is_one_sentence(billing, arguments):
    answer = ask(billing, *arguments)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: there is no group nope")


def test_delete_deletes_what_it_can_and_fails_for_the_rest(billing):
    codes = {"a": 0, "b": 68, "c": 0, "d": 69}
    billing.answers["DeleteGroupsRequest"] = lambda request: DeleteGroupsResponse(
        results=[DeletableGroupResult(group_id=g, error_code=codes[g]) for g in request.groups_names]
    )
    answer = ask(billing, "delete", *codes)
    assert (answer.exit_code, answer.stdout) == (1, "deleted a, c\n")
    assert answer.stderr == "Error: b: the group has active members; stop them first\n"
    assert ask(billing, "delete", "d").stderr == "Error: d: there is no such group\n"
    assert json.loads(ask(billing, "delete", "a", "--json").stdout) == {"deleted": ["a"]}


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (["--to-earliest"], [10, 10]),
        (["--to-latest"], [50, 50]),
        (["--to-offset", "33"], [33, 33]),
        (["--to-offset", "3"], [10, 10]),
        (["--to-offset", "99"], [50, 50]),
        (["--shift-by", "5"], [25, 26]),
        (["--shift-by=-100"], [10, 10]),
        (["--to-datetime", "1970-01-01T00:16:40"], [30, 30]),
        (["--to-datetime", "1970-01-01T01:16:40+01:00"], [30, 30]),
        (["--to-datetime", "2026-01-01T00:00:00Z"], [50, 50]),
    ],
)
def test_offsets_are_reset_to_the_goal_and_never_outside_the_log(billing, goal, expected):
    answer = ask(billing, "reset-offsets", "billing", *goal, "--execute", "--json")
    assert moved(answer) == [(0, 20, expected[0]), (1, 21, expected[1])]
    assert billing.committed == [(TOPIC_ID, 0, expected[0]), (TOPIC_ID, 1, expected[1])]
    assert billing.by == ("billing", "", -1)


def test_without_execute_nothing_is_committed(billing):
    answer = ask(billing, "reset-offsets", "billing", "--to-earliest")
    assert answer.stdout == (
        "topic   partition  committed  new\n"
        "orders  0          20         10\n"
        "orders  1          21         10\n"
    )  # fmt: skip
    assert answer.stderr == "nothing was changed: --execute does it\n"
    assert "OffsetCommitRequest" not in [type(request).__name__ for request in billing.asked]


def test_topics_and_partitions_can_be_chosen_even_for_a_group_that_is_not_there(billing):
    latest = ["--to-latest", "--json"]
    assert moved(ask(billing, "reset-offsets", "billing", *latest, "--topic", "orders:2,0")) == [
        (0, 20, 50),
        (2, None, 50),
    ]
    answer = ask(billing, "reset-offsets", "new", *latest, "--topic", "orders", "--execute")
    assert [partition for partition, _, _ in moved(answer)] == [0, 1, 2]
    assert billing.by[0] == "new"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shift-by", "1", "--topic", "orders:2"], "orders-2 has no committed offset to shift"),
        (["--to-latest", "--topic", "orders:7"], "orders has no partition 7: it has 3"),
        (["--to-latest", "--topic", "nope"], "there is no topic nope"),
    ],
)
def test_what_cannot_be_reset_is_named_and_nothing_is_committed(billing, arguments, sentence):
    answer = ask(billing, "reset-offsets", "billing", *arguments, "--execute")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "", f"Error: {sentence}\n")
    assert not hasattr(billing, "committed")


def test_a_group_with_members_is_left_alone(billing):
    billing.state, billing.members = "Stable", [member("eve", b"")]
    answer = ask(billing, "reset-offsets", "billing", "--to-latest", "--execute")
    assert answer.exit_code == 1
    assert answer.stderr == (
        "Error: billing is Stable with 1 active member(s): offsets are reset only while a group has none, "
        "so stop them first\n"
    )
    assert not hasattr(billing, "committed")


def test_a_commit_that_is_refused_fails_the_command(billing):
    billing.code = 12
    answer = ask(billing, "reset-offsets", "billing", "--to-latest", "--execute")
    assert (answer.exit_code, answer.stderr) == (1, "Error: billing: OFFSET_METADATA_TOO_LARGE\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--to-latest", "--to-earliest"],
        ["--to-latest", "--shift-by", "0"],
        ["--to-datetime", "yesterday"],
        ["--to-latest", "--topic", ":1"],
        ["--to-latest", "--topic", "orders:"],
        ["--to-latest", "--topic", "orders:1,x"],
    ],
)
def test_a_reset_that_does_not_say_where_to_is_a_usage_error(billing, arguments):
    assert ask(billing, "reset-offsets", "billing", *arguments).exit_code == 2
    assert billing.asked == []


def test_a_coordinator_that_is_starting_is_asked_again(billing, monkeypatch):
    monkeypatch.setattr(patience, "PAUSE_S", 0)
    ready = billing.answers["FindCoordinatorRequest"]
    early = FindCoordinatorResponse(coordinators=[Coordinator(key="billing", error_code=15)])
    answers = iter([early, early, ready])
    billing.answers["FindCoordinatorRequest"] = lambda _request: next(answers)
    assert ask(billing, "describe", "billing").exit_code == 0


def test_a_coordinator_that_never_comes_is_one_sentence(billing, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 0)
    billing.answers["FindCoordinatorRequest"] = FindCoordinatorResponse(
        coordinators=[Coordinator(key="billing", error_code=15, error_message=None)]
    )
    answer = ask(billing, "describe", "billing")
    assert answer.exit_code == 1
    assert answer.stderr == "Error: billing: its coordinator is not there now; try again\n"
