"""The command `rafka`: which subcommands there are, and how errors become sentences and exit codes.

Start-up time is a feature: a subcommand's module is imported when that subcommand runs (or when help lists
it), never before. Exit codes: 0 done, 1 it failed (one sentence on stderr), 2 it was asked wrongly, 130 it was
interrupted (128 + SIGINT), 141 the reader of its output went away (128 + SIGPIPE).
"""

import gc
import os
import sys
from typing import Any

import click

from rafka.cli.lazy import LazyGroup
from rafka.core.errors import RafkaError

VERSION = "0.1.0"

INTERRUPTED = 130
NO_READER = 141

COMMANDS = {
    name: f"rafka.cli.{name}:{name}"
    for name in (
        "check",
        "completion",
        "consume",
        "doctor",
        "group",
        "log",
        "produce",
        "replay",
        "run",
        "sim",
        "topic",
    )
}
"""Each is the name of a module of this package and of the command inside it."""


class Root(LazyGroup):
    """The outermost group: errors that are raised on purpose become one sentence, a lost reader an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RafkaError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            if sys.stderr.isatty():  # the shell's prompt does not belong behind ^C
                click.echo(err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # What is still buffered would be complained about at exit: nobody is there to read it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(NO_READER)


@click.group(cls=Root, elsewhere=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="rafka %(version)s")
def rafka() -> None:
    """Rafka, a streaming broker that Kafka's clients can use."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    try:
        code = rafka.main(prog_name="rafka", standalone_mode=False)
    except click.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    gc.freeze()  # the process ends: nothing more is worth a search
    sys.exit(code)
