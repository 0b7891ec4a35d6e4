"""How answers look: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence

import click


def show_json(answer: object) -> None:
    """Print one line of JSON."""
    click.echo(json.dumps(answer))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, as wide as it needs to be when nobody watches."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console()
    Console(width=None if console.is_terminal else 10_000).print(table)
