"""Finds a message class by its name, importing its module only then."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Final

from rafka.core.message.base import Message

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def load(package: str, name: str) -> type[Message]:
    """Return the message class of that name from the package that holds its module.

    A module is named as its class, in snake case. package: "rafka.core.api" or "rafka.core.stored".
    """
    module = import_module(f"{package}.{_WORD_START.sub('_', name).lower()}")
    cls = getattr(module, name)
    assert isinstance(cls, type)
    assert issubclass(cls, Message)
    return cls
