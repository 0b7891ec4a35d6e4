"""Scripts: the one place for generators. Finite, linear, one owner, restartable from the start.

A script yields one disk effect (its token is filled in here) and is sent the answer; what it returns is its
result. Recovery, compaction and snapshots are scripts. A machine that runs one calls `run`; when the script
ends, the `Running` is put into `out.moved`, where its parent finds it with `result` set.
"""

from collections.abc import Generator
from typing import Generic, TypeAlias, TypeVar

import attrs

from rafka.core.effects import DiskEffect
from rafka.core.events import DiskEvent
from rafka.core.machine import Outbox
from rafka.core.types import Now, Token

T = TypeVar("T")
Script: TypeAlias = Generator[DiskEffect, DiskEvent, T]


@attrs.define(eq=False)
class Running(Generic[T]):
    """A script under way. purpose: what its parent needs to know to go on when it is finished."""

    script: Script[T]
    out: Outbox
    purpose: object
    finished: bool = False
    result: T | None = None

    def start(self) -> "Running[T]":
        """Run to the first effect."""
        self._advance(None)
        return self

    def completed(self, event: DiskEvent, now: Now) -> None:
        """Send the answer in and run to the next effect."""
        del now
        self._advance(event)

    def cancel(self) -> None:
        """Stop where it is; it never finishes. The answer under way is dropped on arrival."""
        self.script.close()
        self.finished = True

    def _advance(self, event: DiskEvent | None) -> None:
        if self.finished:
            return
        try:
            effect = next(self.script) if event is None else self.script.send(event)
        except StopIteration as stop:
            self.finished = True
            self.result = stop.value
            self.out.moved.append(self)
            return
        self.out.effects.append(with_token(effect, self.out.token(self)))


def with_token(effect: DiskEffect, token: Token) -> DiskEffect:
    """Give a copy of what a script yielded, with a token that somebody waits for."""
    kind = type(effect)
    asked = kind.__new__(
        kind
    )  # the script's own effect stays as it was yielded; `copy` takes four times as long
    for name in kind.__match_args__:
        setattr(asked, name, getattr(effect, name))
    asked.token = token  # type: ignore[misc]  # it is ours still
    return asked


def run(script: Script[T], out: Outbox, purpose: object) -> Running[T]:
    """Start a script; it is in `out.moved` once finished."""
    return Running(script, out, purpose).start()
