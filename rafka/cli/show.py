"""How answers look: tables for people, plain columns for pipes, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence

import click


def show_json(answer: object) -> None:
    """Print one line of JSON."""
    click.echo(json.dumps(answer))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: drawn on a terminal, else plain columns, so that only terminals wait for `rich`."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        show_rich(columns, cells)
    else:
        show_plain([list(columns), *cells])


def show_plain(lines: Sequence[Sequence[str]]) -> None:
    """Print cells in columns as wide as their widest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def show_rich(columns: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    """Draw a table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
