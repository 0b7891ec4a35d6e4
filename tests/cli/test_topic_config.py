import json

import pytest
from click.testing import CliRunner

from rafka.cli.main import rafka
from rafka.core.api.describe_configs_response import (
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from rafka.core.api.incremental_alter_configs_response import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
)

SETTINGS = [("a.first", "1", 5), ("b.static", "2", 4), ("z.own", "3", 1), ("c.new", None, 99)]


@pytest.fixture
def ask(scripted):
    configs = [
        DescribeConfigsResourceResult(name=name, value=value, config_source=source)
        for name, value, source in SETTINGS
    ]
    result = DescribeConfigsResult(resource_type=2, resource_name="orders", configs=configs)
    scripted.answers["DescribeConfigsRequest"] = DescribeConfigsResponse(results=[result])
    scripted.answers["IncrementalAlterConfigsRequest"] = altered(0, None)
    return lambda *arguments: CliRunner().invoke(
        rafka, ["topic", "config", "orders", *arguments, "--bootstrap", scripted.bootstrap]
    )


def altered(code, message):
    response = AlterConfigsResourceResponse(
        error_code=code, error_message=message, resource_type=2, resource_name="orders"
    )
    return IncrementalAlterConfigsResponse(responses=[response])


def test_settings_are_shown_with_their_source_the_topics_own_first(ask):
    assert ask().stdout == (
        "setting   value  from\n"
        "z.own     3      topic\n"
        "a.first   1      default\n"
        "b.static  2      broker's file or command line\n"
        "c.new     -      unknown\n"
    )
    shown = json.loads(ask("--json").stdout)
    assert shown["name"] == "orders"
    assert shown["settings"][0] == {"name": "z.own", "value": "3", "source": "topic"}


def test_changes_are_one_request_and_leave_the_rest_alone(scripted, ask):
    answer = ask("--set", "retention.ms=1000", "--set", "x=a=b", "--delete", "segment.ms")
    assert (answer.exit_code, answer.stdout) == (0, "changed retention.ms, x, segment.ms of orders\n")
    (resource,) = scripted.asked[0].resources
    assert (resource.resource_type, resource.resource_name) == (2, "orders")
    assert [(c.name, c.config_operation, c.value) for c in resource.configs] == [
        ("retention.ms", 0, "1000"),
        ("x", 0, "a=b"),
        ("segment.ms", 1, None),
    ]


def test_a_change_as_json_shows_what_holds_then(ask):
    assert json.loads(ask("--set", "z.own=3", "--json").stdout)["settings"][0]["value"] == "3"


def test_a_refused_change_is_one_sentence(scripted, ask):
    scripted.answers["IncrementalAlterConfigsRequest"] = altered(40, "Unknown topic config name: x")
    answer = ask("--set", "x=1")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: orders: Unknown topic config name: x\n"


@pytest.mark.parametrize("arguments", [["--set", "x"], ["--set", "x=1", "--delete", "x"]])
def test_a_change_that_is_none_is_a_usage_error(scripted, ask, arguments):
    assert ask(*arguments).exit_code == 2
    assert scripted.asked == []
