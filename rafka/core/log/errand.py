"""A script that a log runs for itself: its end is told to the log, and nobody else hears of it."""

from collections.abc import Callable
from typing import Generic

from rafka.core.events import DiskEvent
from rafka.core.machine import Outbox
from rafka.core.script import Script, T, with_token
from rafka.core.types import Now


class Errand(Generic[T]):
    """Run `script`; `done(result, now)` is called once it ends, unless it is cancelled."""

    __slots__ = ("_done", "_is_over", "_out", "_script")

    def __init__(self, script: Script[T], out: Outbox, done: Callable[[T, Now], None]) -> None:
        self._script = script
        self._out = out
        self._done = done
        self._is_over = False

    def start(self, now: Now) -> None:
        """Run to the first effect."""
        self._advance(None, now)

    def completed(self, event: DiskEvent, now: Now) -> None:
        """Send the answer in and run to the next effect."""
        self._advance(event, now)

    def cancel(self) -> None:
        """Stop where it is; the answer under way is dropped on arrival."""
        self._is_over = True
        self._script.close()

    def _advance(self, event: DiskEvent | None, now: Now) -> None:
        if self._is_over:
            return
        try:
            effect = next(self._script) if event is None else self._script.send(event)
        except StopIteration as stop:
            self._is_over = True
            self._done(stop.value, now)
            return
        self._out.effects.append(with_token(effect, self._out.token(self)))
