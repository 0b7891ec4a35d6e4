"""The command `rafka`: which subcommands there are, and how errors become sentences and exit codes.

Start-up time is a feature: a subcommand's module is imported when that subcommand runs (or when help lists
it), never before. Exit codes: 0 done, 1 it failed (one sentence on stderr), 2 it was asked wrongly.
"""

from importlib import import_module
from typing import Any

import click

from rafka.core.errors import RafkaError

VERSION = "0.1.0"

COMMANDS = ("completion", "consume", "doctor", "produce", "run", "topic")
"""Each is the name of a module of this package and of the command inside it."""


class LazyGroup(click.Group):
    """A group that imports a subcommand only when somebody asks for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 – click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"rafka.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RafkaError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="rafka %(version)s")
def rafka() -> None:
    """Rafka, a streaming broker that Kafka's clients can use."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    rafka(prog_name="rafka")
