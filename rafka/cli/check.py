"""`rafka check`: judge what clients saw of a system, Rafka or any other."""

import sys
from pathlib import Path

import click

from rafka.cli.show import show_json
from rafka.sim.check.history import History, HistoryError
from rafka.sim.check.judge import ISOLATION, NAMES, as_data, as_lines, judge, model_of
from rafka.sim.check.linear import BUDGET
from rafka.sim.check.reader import read
from rafka.sim.check.transactions import ISOLATIONS

VIOLATED = 1
UNDECIDED = 3


class Unreadable(click.ClickException):
    """There is nothing to judge."""

    exit_code = 2


@click.command(short_help="Judge a history of what clients saw.")
@click.argument("history", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--model", type=click.Choice(NAMES), help="What it is a history of; else as it looks.")
@click.option(
    "--isolation",
    type=click.Choice(ISOLATIONS),
    metavar="LEVEL",
    default=ISOLATION,
    show_default=True,
    help="What transactions are promised, for the model txn: read-uncommitted, read-committed, "
    "snapshot-isolation or serializable; strong-session- or strict- before it adds process order or real time.",
)
@click.option("--allow", multiple=True, metavar="ANOMALY", help="An anomaly that is no violation here.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=BUDGET,
    show_default=True,
    help="States that the search for a linear order of one object may enter before it gives up.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    *,
    history: str,
    model: str | None,
    isolation: str,
    allow: tuple[str, ...],
    budget: int,
    as_json: bool,
) -> None:
    """Judge HISTORY, JSON lines of what clients asked and were told (- is standard input).

    Prints the anomalies with the operations that prove them. Exits with 0 if there is no violation, 1 if there is
    one, 2 if the history cannot be read, 3 if the search was given up before it knew.
    """
    try:
        columns = read_file(history)
        name = model or model_of(columns)
        found = judge(columns, name, isolation=isolation, allow=allow, budget=budget)
    except HistoryError as error:
        raise Unreadable(f"{history}: {error}") from error
    if as_json:
        show_json(as_data(columns, name, found))
    else:
        click.echo("\n".join(as_lines(columns, name, found)))
    ctx.exit({True: 0, False: VIOLATED, None: UNDECIDED}[found.valid])


def read_file(name: str) -> History:
    """Read a history from a file, or from standard input."""
    try:
        if name == "-":
            return read(sys.stdin)
        with Path(name).open(encoding="utf-8") as lines:
            return read(lines)
    except UnicodeDecodeError as error:
        raise HistoryError(0, f"this is not UTF-8 text: {error}") from error
