"""`rafka group reset-offsets`: move a group's committed offsets, which only a group without members allows.

A dry run unless told otherwise. Offsets asked for that lie outside a partition's log become its nearest end.
Source: the behaviour of Kafka's `kafka-consumer-groups --reset-offsets`.
"""

from collections.abc import Iterable, Mapping

import click

from rafka.cli.cluster import Cluster
from rafka.cli.coordinator import DEAD, GroupCoordinator
from rafka.cli.moments import read_moment
from rafka.cli.offsets import EARLIEST, LATEST, Place, list_offsets
from rafka.cli.options import with_broker
from rafka.cli.refusal import check
from rafka.cli.show import show_json, show_table
from rafka.core.errors import RafkaError

RESETTABLE = ("Empty", DEAD)


class Goal:
    """Where to: `kind` is the option's name, `number` what it says (an offset, a shift, or ms since 1970)."""

    def __init__(self, kind: str, number: int = 0) -> None:
        self.kind = kind
        self.number = number


@click.command()
@click.argument("name")
@click.option(
    "--topic", "topics", multiple=True, metavar="TOPIC[:P,P...]", help="Only these; else all committed."
)
@click.option("--to-earliest", is_flag=True, help="To the oldest record.")
@click.option("--to-latest", is_flag=True, help="To the end.")
@click.option("--to-offset", type=click.IntRange(min=0), help="To this offset.")
@click.option("--shift-by", type=int, help="By so many records, forward or (negative) back.")
@click.option(
    "--to-datetime",
    callback=read_moment,
    metavar="TIME",
    help="To the first record not older; or an age: 15m.",
)
@click.option("--execute", is_flag=True, help="Do it; without this, only show what would be done.")
@with_broker
def reset_offsets(  # noqa: PLR0913 – one parameter for each option
    *,
    name: str,
    topics: tuple[str, ...],
    to_earliest: bool,
    to_latest: bool,
    to_offset: int | None,
    shift_by: int | None,
    to_datetime: int | None,
    execute: bool,
    bootstrap: str,
    as_json: bool,
) -> None:
    """Move the committed offsets of the group NAME, which must have no active members."""
    goals = [Goal("earliest")] * to_earliest + [Goal("latest")] * to_latest
    numbers = {"offset": to_offset, "shift": shift_by, "datetime": to_datetime}
    goals += [Goal(kind, number) for kind, number in numbers.items() if number is not None]
    if len(goals) != 1:
        raise click.UsageError(
            "say one of --to-earliest, --to-latest, --to-offset, --shift-by, --to-datetime"
        )
    wanted = [read_topic(text) for text in topics]
    with Cluster(bootstrap) as cluster:
        coordinator = GroupCoordinator(cluster, name)
        check_inactive(coordinator, is_named=bool(wanted))
        committed = coordinator.committed()
        places = chosen(cluster, wanted) if wanted else sorted(committed)
        moved = targets(cluster, places, committed, goals[0])
        if execute:
            check(coordinator.commit(moved), name, None)
    show(name, committed, moved, executed=execute, as_json=as_json)


def read_topic(text: str) -> tuple[str, list[int] | None]:
    """Split TOPIC:P,P; None: all partitions. Raises a usage error."""
    name, colon, numbers = text.partition(":")
    parts = numbers.split(",")
    if not name or (colon and not all(part.isascii() and part.isdecimal() for part in parts)):
        raise click.BadParameter(f"{text!r} is not TOPIC or TOPIC:P,P", param_hint="--topic")
    return name, sorted({int(part) for part in parts}) if colon else None


def check_inactive(coordinator: GroupCoordinator, *, is_named: bool) -> None:
    """Raise RafkaError if the group has members, or if it is not there and no topic says what to commit."""
    described = coordinator.describe()
    if described.group_state not in RESETTABLE:
        raise RafkaError(
            f"{coordinator.group} is {described.group_state} with {len(described.members)} active member(s): "
            "offsets are reset only while a group has none, so stop them first"
        )
    if described.group_state == DEAD and not is_named:
        raise RafkaError(f"there is no group {coordinator.group}; --topic would make one")


def chosen(cluster: Cluster, wanted: Iterable[tuple[str, list[int] | None]]) -> list[Place]:
    """Return the partitions that were named. Raises RafkaError when there is no such topic."""
    places: list[Place] = []
    for topic, partitions in wanted:
        if topic not in cluster.topics:
            raise RafkaError(f"there is no topic {topic}")
        places += [(topic, p) for p in partitions or sorted(cluster.topics[topic].leaders)]
    return places


def targets(
    cluster: Cluster, places: Iterable[Place], committed: Mapping[Place, int], goal: Goal
) -> dict[Place, int]:
    """Return the offset that each place gets. Raises RafkaError when a shift has nothing to start from."""
    earliest = list_offsets(cluster, dict.fromkeys(places, EARLIEST))
    latest = list_offsets(cluster, dict.fromkeys(places, LATEST))
    match goal.kind:
        case "earliest":
            return earliest
        case "latest":
            return latest
        case "datetime":
            found = list_offsets(cluster, dict.fromkeys(places, goal.number))
            return {place: latest[place] if offset < 0 else offset for place, offset in found.items()}
        case "offset":
            asked = dict.fromkeys(earliest, goal.number)
        case _:
            asked = {place: shifted(place, committed, goal.number) for place in earliest}
    return {place: min(max(asked[place], earliest[place]), latest[place]) for place in asked}


def shifted(place: Place, committed: Mapping[Place, int], by: int) -> int:
    """Return a committed offset, shifted. Raises RafkaError if none is committed."""
    if place not in committed:
        raise RafkaError(f"{place[0]}-{place[1]} has no committed offset to shift")
    return committed[place] + by


def show(
    name: str, committed: Mapping[Place, int], moved: Mapping[Place, int], *, executed: bool, as_json: bool
) -> None:
    """Print what was, or would be, committed."""
    rows = [(*place, committed.get(place), moved[place]) for place in sorted(moved)]
    columns = ["topic", "partition", "committed", "new"]
    if as_json:
        partitions = [dict(zip(columns, row, strict=True)) for row in rows]
        show_json({"group": name, "executed": executed, "partitions": partitions})
        return
    show_table(columns, rows)
    if not executed:
        click.echo("nothing was changed: --execute does it", err=True)
