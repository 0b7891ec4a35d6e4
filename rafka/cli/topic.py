"""`rafka topic`: the topics of a running broker, any that speaks Kafka's protocol."""

from base64 import urlsafe_b64encode

import click

from rafka.cli.lazy import LazyGroup
from rafka.cli.options import with_broker
from rafka.cli.refusal import check
from rafka.cli.run import read_pairs
from rafka.cli.show import show_json, show_table
from rafka.cli.wire import Wire
from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreateTopicsResponse
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.api.delete_topics_response import DeleteTopicsResponse
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse, MetadataResponseTopic
from rafka.core.errors import ErrorCode

TIMEOUT_MS = 30_000


@click.group(
    cls=LazyGroup,
    elsewhere={"config": "rafka.cli.topic_config:config"},
    short_help="Create, list, describe, configure and delete topics.",
)
def topic() -> None:
    """Create, list, describe, configure and delete topics."""


@topic.command()
@click.argument("name")
@click.option("--partitions", type=click.IntRange(min=1), help="How many; else the broker's default.")
@click.option("--replication-factor", type=click.IntRange(min=1), help="Copies; else the broker's default.")
@click.option(
    "--config", "pairs", multiple=True, metavar="KEY=VALUE", help="A topic setting, by Kafka's name."
)
@with_broker
def create(
    *,
    name: str,
    partitions: int | None,
    replication_factor: int | None,
    pairs: tuple[str, ...],
    bootstrap: str,
    as_json: bool,
) -> None:
    """Create the topic NAME."""
    wanted = CreatableTopic(
        name=name,
        num_partitions=partitions or -1,
        replication_factor=replication_factor or -1,
        configs=[CreatableTopicConfig(name=key, value=text) for key, text in read_pairs(pairs, "--config")],
    )
    with Wire(bootstrap) as wire:
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=TIMEOUT_MS)
        (made,) = wire.call(request, CreateTopicsResponse).topics
    check(made.error_code, name, made.error_message)
    if as_json:
        show_json({"name": name, "topic_id": uuid_text(made.topic_id), "partitions": made.num_partitions})
    else:
        click.echo(f"created {name} with {made.num_partitions} partition(s)")


@topic.command(name="list")
@click.option("--internal", is_flag=True, help="Also those that the broker keeps for itself.")
@with_broker
def list_topics(*, internal: bool, bootstrap: str, as_json: bool) -> None:
    """List the topics."""
    with Wire(bootstrap) as wire:
        answer = wire.call(MetadataRequest(topics=None, allow_auto_topic_creation=False), MetadataResponse)
    topics = sorted((t.name or "", len(t.partitions)) for t in answer.topics if internal or not t.is_internal)
    if as_json:
        show_json([{"name": name, "partitions": count} for name, count in topics])
    else:
        show_table(["topic", "partitions"], topics)


@topic.command()
@click.argument("name")
@with_broker
def describe(*, name: str, bootstrap: str, as_json: bool) -> None:
    """Show the partitions of the topic NAME: leader, epoch, replicas and those in sync; and what a power loss costs."""
    from rafka.cli.durability import durability_of, meaning_of

    asked = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
    with Wire(bootstrap) as wire:
        (found,) = wire.call(asked, MetadataResponse).topics
        check(found.error_code, name, None)
        durability = durability_of(wire, name)
    partitions = rows(found)
    if as_json:
        described = {"name": name, "topic_id": uuid_text(found.topic_id), "durability": durability}
        show_json(described | {"partitions": partitions})
    else:
        show_table(list(partitions[0]), [list(row.values()) for row in partitions])
        click.echo(f"flush: {durability}, {meaning_of(durability)}")


@topic.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_broker
def delete(*, names: tuple[str, ...], bootstrap: str, as_json: bool) -> None:
    """Delete topics and all that is in them. Those that can be deleted are, even when others cannot."""
    states = [DeleteTopicState(name=name) for name in names]
    with Wire(bootstrap) as wire:
        request = DeleteTopicsRequest(topics=states, topic_names=list(names), timeout_ms=TIMEOUT_MS)
        results = wire.call(request, DeleteTopicsResponse).responses
    gone = [result.name for result in results if result.error_code == ErrorCode.NONE]
    if as_json:
        show_json({"deleted": gone})
    elif gone:
        click.echo(f"deleted {', '.join(name or '' for name in gone)}")
    for result in results:
        check(result.error_code, result.name or "", result.error_message)


def rows(found: MetadataResponseTopic) -> list[dict[str, int | list[int]]]:
    """Return the partitions in order, as the columns that people and programs see."""
    return [
        {
            "partition": p.partition_index,
            "leader": p.leader_id,
            "leader_epoch": p.leader_epoch,
            "replicas": list(p.replica_nodes),
            "in_sync": list(p.isr_nodes),
        }
        for p in sorted(found.partitions, key=lambda p: p.partition_index)
    ]


def uuid_text(uuid: bytes) -> str:
    """Write a topic id as Kafka's tools do: URL-safe base64 without padding."""
    return urlsafe_b64encode(uuid).rstrip(b"=").decode()
