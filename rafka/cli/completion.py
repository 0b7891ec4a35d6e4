"""`rafka completion SHELL`: the script that teaches a shell to complete rafka's commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print a completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL; source it from the shell's start-up file."""
    from rafka.cli.main import rafka

    script = get_completion_class(shell)
    assert script is not None, "the choices are click's own"
    click.echo(script(rafka, {}, "rafka", "_RAFKA_COMPLETE").source())
