"""`rafka topic config`: show a topic's settings and where each comes from, or change some and leave the rest."""

import click

from rafka.cli.options import with_broker
from rafka.cli.refusal import check
from rafka.cli.run import read_pairs
from rafka.cli.show import show_json, show_table
from rafka.cli.wire import Wire
from rafka.core.api.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from rafka.core.api.describe_configs_response import DescribeConfigsResponse
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from rafka.core.api.incremental_alter_configs_response import IncrementalAlterConfigsResponse

TOPIC = 2
SET = 0
DELETE = 1
OWN = 1
SOURCES = {
    OWN: "topic",
    2: "this broker, while running",
    3: "all brokers, while running",
    4: "broker's file or command line",
    5: "default",
    7: "group",
    8: "client metrics",
}


@click.command()
@click.argument("name")
@click.option(
    "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Give the topic a setting of its own."
)
@click.option(
    "--delete", "keys", multiple=True, metavar="KEY", help="Take one away: the broker's default holds."
)
@with_broker
def config(
    *, name: str, pairs: tuple[str, ...], keys: tuple[str, ...], bootstrap: str, as_json: bool
) -> None:
    """Show the settings of the topic NAME, its own first; --set and --delete change them, all or none."""
    wanted = dict(read_pairs(pairs, "--set"))
    if both := sorted(wanted.keys() & set(keys)):
        raise click.UsageError(f"both --set and --delete of {', '.join(both)}")
    with Wire(bootstrap) as wire:
        if wanted or keys:
            change(wire, name, wanted, keys)
            if not as_json:
                click.echo(f"changed {', '.join([*wanted, *keys])} of {name}")
                return
        settings = read(wire, name)
    if as_json:
        show_json({"name": name, "settings": settings})
    else:
        show_table(["setting", "value", "from"], [list(setting.values()) for setting in settings])


def change(wire: Wire, topic: str, wanted: dict[str, str], unwanted: tuple[str, ...]) -> None:
    """Set and delete settings in one request. Raises RafkaError when the broker refuses it, as a whole."""
    alterations = [AlterableConfig(name=k, config_operation=SET, value=v) for k, v in wanted.items()]
    alterations += [AlterableConfig(name=key, config_operation=DELETE, value=None) for key in unwanted]
    resource = AlterConfigsResource(resource_type=TOPIC, resource_name=topic, configs=alterations)
    answer = wire.call(IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse)
    check(answer.responses[0].error_code, topic, answer.responses[0].error_message)


def read(wire: Wire, topic: str) -> list[dict[str, str | None]]:
    """Return the settings with their sources, the topic's own first. Raises RafkaError."""
    resource = DescribeConfigsResource(resource_type=TOPIC, resource_name=topic, configuration_keys=None)
    (found,) = wire.call(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse).results
    check(found.error_code, topic, found.error_message)
    ordered = sorted(found.configs, key=lambda one: (one.config_source != OWN, one.name))
    return [
        {"name": one.name, "value": one.value, "source": SOURCES.get(one.config_source, "unknown")}
        for one in ordered
    ]
