"""A group of commands that imports a command only when it runs, or when help lists it."""

import gc
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import click


class LazyGroup(click.Group):
    """A group with commands elsewhere, besides those that are added to it.

    elsewhere: the name of a command, and `module:attribute`, where it is.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted([*super().list_commands(ctx), *self.elsewhere])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing it when it is elsewhere; None when there is none of that name."""
        if cmd_name not in self.elsewhere:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.elsewhere[cmd_name].partition(":")
        command = getattr(load(module), attribute)
        assert isinstance(command, click.Command)
        return command


def load(module: str) -> ModuleType:
    """Import a module. Nothing of it is garbage, and looking for some meanwhile would be a fifth of the time."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.enable()
