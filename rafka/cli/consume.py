"""`rafka consume`: print a topic's records as they come, alone or as a member of a group.

Alone, nothing is committed and nobody else is disturbed. In a group, the records of the partitions that the group
gives to this member are printed, and committed once they are.
"""

import sys

import click

from rafka.cli.cluster import Cluster, Topic
from rafka.cli.moments import read_moment
from rafka.cli.offsets import EARLIEST, LATEST
from rafka.cli.options import with_broker
from rafka.cli.printing import Printer
from rafka.cli.progress import Progress
from rafka.cli.reading import Bounds, Reading
from rafka.cli.start import Start, start_of
from rafka.core.record.builder import Record


@click.command(short_help="Print the records of a topic.")
@click.argument("topic")
@click.option("--from-beginning", is_flag=True, help="Start at the oldest record, not at the end.")
@click.option(
    "--since",
    callback=read_moment,
    metavar="TIME",
    help="Start at the first record not older: ISO 8601, or 15m.",
)
@click.option(
    "--last", type=click.IntRange(min=1), help="Start so many records before the end of each partition."
)
@click.option("--offset", type=click.IntRange(min=0), help="Start here; needs --partition.")
@click.option("--partition", type=click.IntRange(min=0), help="Only this one.")
@click.option(
    "--group", help="Share the partitions with the group's members; go on where it was, and commit."
)
@click.option("--to-end", is_flag=True, help="Stop at what is the end now.")
@click.option("--max", "limit", type=click.IntRange(min=1), help="Stop after that many records.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), help="Stop after that many seconds without a record."
)
@click.option("--places", is_flag=True, help="Show partition:offset.")
@click.option("--timestamps", is_flag=True, help="Show timestamps.")
@click.option("--headers", is_flag=True, help="Show headers.")
@click.option("--keys", is_flag=True, help="Show keys.")
@click.option("--base64", "is_base64", is_flag=True, help="Keys, values and headers as base64, exactly.")
@with_broker
def consume(  # noqa: PLR0913 – one parameter for each option
    *,
    topic: str,
    from_beginning: bool,
    since: int | None,
    last: int | None,
    offset: int | None,
    partition: int | None,
    group: str | None,
    to_end: bool,
    limit: int | None,
    timeout: float | None,
    places: bool,
    timestamps: bool,
    headers: bool,
    keys: bool,
    is_base64: bool,
    bootstrap: str,
    as_json: bool,
) -> None:
    """Print the records of TOPIC as they come, until --to-end, --max, --timeout or Ctrl-C."""
    if [from_beginning, since is not None, last is not None, offset is not None].count(True) > 1:
        raise click.UsageError("say one of --from-beginning, --since, --last and --offset")
    if offset is not None and partition is None:
        raise click.UsageError("--offset needs --partition")
    if group is not None and partition is not None:
        raise click.UsageError("--group decides the partitions: no --partition with it")
    printer = Printer(
        is_json=as_json, is_base64=is_base64, places=places, timestamps=timestamps, headers=headers, keys=keys
    )
    stamp = since if since is not None else EARLIEST if from_beginning else LATEST
    start = Start(stamp, last)
    with (
        Cluster(bootstrap, [topic]) as cluster,
        Progress("read", wanted=limit is not None and not sys.stdout.isatty()) as progress,
    ):
        known = cluster.topics[topic]
        reading = Reading(
            cluster, known, Bounds(limit, timeout, to_end), Shower(printer, limit, progress).show
        )
        if group is not None:
            from rafka.cli.member import read_in_group

            read_in_group(reading, group, start)
            return
        positions = start_alone(cluster, known, partition, offset, start)
        reading.begin(positions)
        while reading.round():
            pass


def start_alone(
    cluster: Cluster, topic: Topic, partition: int | None, offset: int | None, start: Start
) -> dict[int, int]:
    """Return where each partition is read from. Raises RafkaError when the chosen one is not there."""
    if partition is not None:
        cluster.leader(topic.name, partition)
        if offset is not None:
            return {partition: offset}
    chosen = sorted(topic.leaders) if partition is None else [partition]
    return start_of(cluster, topic.name, chosen, start)


class Shower:
    """Writes what is printed, and counts it."""

    def __init__(self, printer: Printer, limit: int | None, progress: Progress) -> None:
        self.printer = printer
        self.limit = limit
        self.progress = progress
        self.out = sys.stdout.buffer

    def show(self, partition: int, records: list[Record]) -> None:
        """Print records; they are out when this returns. Raises BrokenPipeError when nobody reads them."""
        self.out.write(self.printer.lines(partition, records))
        self.out.flush()
        done = self.progress.records + len(records)
        self.progress.advance(len(records), None if self.limit is None else done / self.limit)
