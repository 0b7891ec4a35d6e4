"""`rafka sim zoo`: plant each known bug in the broker, and see after how many seeds the simulator finds it.

Exit codes: 0 every bug that was found before is found again, 1 one is not, 2 it was asked wrongly.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rafka.sim.zoo.hunt import Catch

LOST = 1
SEEDS = 200


@click.command(short_help="Plant known bugs, and see which are found.")
@click.option("--only", multiple=True, metavar="ID", help="This bug; may be given again. Default: all.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=SEEDS, show_default=True, help="At most, for each bug."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--recorded", is_flag=True, help="Look only where each bug was found before.")
@click.option("--record", "does_record", is_flag=True, help="Write down where each bug was found.")
@click.option("--table", type=click.Path(), help="Write the table to a file, as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def zoo(
    ctx: click.Context,
    *,
    only: tuple[str, ...],
    seeds: int,
    jobs: int,
    recorded: bool,
    does_record: bool,
    table: str | None,
    as_json: bool,
) -> None:
    """Plant each bug of the zoo in the broker, run seed after seed, and say who found it, and when.

    The mutation score is the share of the bugs that are found. The correct code runs on every seed that
    found something, and must be found innocent.
    """
    from rafka.sim.zoo.all import BUGS
    from rafka.sim.zoo.hunt import hunt_all, record
    from rafka.sim.zoo.hunt import recorded as known_bugs
    from rafka.sim.zoo.table import as_dict, lines, markdown

    unknown = [name for name in only if name not in BUGS]
    if unknown:
        raise click.UsageError(f"there is no bug {unknown[0]}: it is one of {', '.join(BUGS)}")
    known = known_bugs()

    def seen(catch: "Catch") -> None:
        if not as_json:
            sys.stderr.write(f"{catch.bug}: " + (f"seed {catch.seed}" if catch.seed else "not found") + "\n")
            sys.stderr.flush()

    catches = hunt_all(only or list(BUGS), seeds, jobs, seen, again=recorded)
    if does_record:
        record(catches)
    if table is not None:
        Path(table).write_text(markdown(catches), "utf-8")
    lost = [catch.bug for catch in catches if catch.bug in known and not catch.is_found]
    if as_json:
        click.echo(json.dumps(as_dict(catches, lost)))
    else:
        for line in lines(catches):
            click.echo(line)
        for name in lost:
            click.echo(f"LOST {name}: it was found at seed {known[name].seed} by {known[name].caught_by}")
    ctx.exit(LOST if lost else 0)
