"""The options that all commands share which talk to a broker."""

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])


def with_broker(command: F) -> F:
    """Give a command `--bootstrap` and `--json`."""
    json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    bootstrap = click.option(
        "--bootstrap",
        envvar="RAFKA_BOOTSTRAP",
        show_envvar=True,
        default="127.0.0.1:9092",
        show_default=True,
        help="host:port of a broker; several by commas.",
    )
    return bootstrap(json(command))
