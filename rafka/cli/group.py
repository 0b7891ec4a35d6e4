"""`rafka group`: the consumer groups of a running broker, their members, their offsets and how far they lag."""

from collections.abc import Iterable, Iterator

import click

from rafka.cli.cluster import Cluster
from rafka.cli.coordinator import DEAD, GroupCoordinator
from rafka.cli.lazy import LazyGroup
from rafka.cli.offsets import LATEST, Place, list_offsets
from rafka.cli.options import with_broker
from rafka.cli.refusal import check
from rafka.cli.show import show_json, show_table
from rafka.client.membership import PROTOCOL_TYPE, Assignment, read_assignment
from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.delete_groups_response import DeletableGroupResult, DeleteGroupsResponse
from rafka.core.api.describe_groups_response import DescribedGroup
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListGroupsResponse
from rafka.core.errors import ErrorCode, RafkaError

ELSEWHERE = {"reset-offsets": "rafka.cli.reset_offsets:reset_offsets"}
COLUMNS = ["topic", "partition", "committed", "end", "lag", "client_id", "host", "member_id"]

Row = dict[str, str | int | None]


@click.group(
    cls=LazyGroup, elsewhere=ELSEWHERE, short_help="List, describe, delete and rewind consumer groups."
)
def group() -> None:
    """List, describe, delete and rewind consumer groups."""


@group.command(name="list")
@with_broker
def list_groups(*, bootstrap: str, as_json: bool) -> None:
    """List the consumer groups, and the state of each."""
    found = []
    with Cluster(bootstrap, []) as cluster:
        for node in cluster.nodes:
            answer = cluster.node(node).call(ListGroupsRequest(), ListGroupsResponse)
            check(answer.error_code, f"node {node}", None)
            found += [(g.group_id, g.group_state, g.group_type, g.protocol_type) for g in answer.groups]
    columns = ["group", "state", "type", "protocol"]
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in sorted(found)])
    else:
        show_table(columns, sorted(found))


@group.command()
@click.argument("name")
@with_broker
def describe(*, name: str, bootstrap: str, as_json: bool) -> None:
    """Show the members of the group NAME, what each one reads, and how far it lags behind the end."""
    with Cluster(bootstrap) as cluster:
        coordinator = GroupCoordinator(cluster, name)
        described = coordinator.describe()
        if described.group_state == DEAD:
            raise RafkaError(f"there is no group {name}")
        rows = list(progress(cluster, described, coordinator.committed()))
    facts = {
        "group": name,
        "state": described.group_state,
        "assignor": described.protocol_data or None,
        "coordinator": f"{coordinator.address} (node {coordinator.node})",
        "members": len(described.members),
    }
    if as_json:
        members = [
            {
                "member_id": member.member_id,
                "instance_id": member.group_instance_id,
                "client_id": member.client_id,
                "host": member.client_host.lstrip("/"),
                "assignment": assignment(described, member.member_assignment),
            }
            for member in described.members
        ]
        show_json(facts | {"members": members, "partitions": rows})
        return
    for fact, text in facts.items():
        click.echo(f"{fact:<12} {'-' if text is None else text}")
    if rows:
        click.echo()
        show_table(COLUMNS, [list(row.values()) for row in rows])


@group.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_broker
def delete(*, names: tuple[str, ...], bootstrap: str, as_json: bool) -> None:
    """Delete groups without members, and their offsets. Those that can be deleted are, even when others cannot."""
    with Cluster(bootstrap, []) as cluster:
        results = [delete_one(cluster, name) for name in names]
    gone = [result.group_id for result in results if result.error_code == ErrorCode.NONE]
    if as_json:
        show_json({"deleted": gone})
    elif gone:
        click.echo(f"deleted {', '.join(gone)}")
    for result in results:
        check(result.error_code, result.group_id, None)


def delete_one(cluster: Cluster, name: str) -> DeletableGroupResult:
    """Ask the group's coordinator to delete it; return its answer."""
    request = DeleteGroupsRequest(groups_names=[name])
    return GroupCoordinator(cluster, name).wire.call(request, DeleteGroupsResponse).results[0]


def progress(cluster: Cluster, described: DescribedGroup, committed: dict[Place, int]) -> Iterator[Row]:
    """Yield a row for each partition that is committed or assigned, and one for each member without any."""
    readers = {
        (topic, partition): member
        for member in described.members
        for topic, partitions in assignment(described, member.member_assignment).items()
        for partition in partitions
    }
    places = sorted(committed.keys() | readers.keys())
    ends = list_offsets(cluster, dict.fromkeys(existing(cluster, places), LATEST))
    for place in places:
        offset, end = committed.get(place), ends.get(place)
        lag = None if offset is None or end is None else end - offset
        member = readers.get(place)
        who = (
            (None, None, None)
            if member is None
            else (member.client_id, member.client_host.lstrip("/"), member.member_id)
        )
        yield dict(zip(COLUMNS, (*place, offset, end, lag, *who), strict=True))
    busy = {member.member_id for member in readers.values()}
    for member in described.members:
        if member.member_id not in busy:
            who = (member.client_id, member.client_host.lstrip("/"), member.member_id)
            yield dict(zip(COLUMNS, (None, None, None, None, None, *who), strict=True))


def existing(cluster: Cluster, places: Iterable[Place]) -> Iterator[Place]:
    """Yield the places that still exist: a topic may be gone and its committed offsets not yet."""
    for topic, partition in places:
        if topic in cluster.topics and partition in cluster.topics[topic].leaders:
            yield topic, partition


def assignment(described: DescribedGroup, data: bytes) -> Assignment:
    """Return a member's partitions; none when the group is not one of consumers."""
    return read_assignment(data) if described.protocol_type == PROTOCOL_TYPE else {}
