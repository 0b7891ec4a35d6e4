"""Many scripts, a few at a time: a start with ten thousand logs must not ask for ten thousand files at once."""

from collections import deque
from typing import Generic, TypeVar

import attrs

from rafka.core.machine import Outbox
from rafka.core.script import Running, Script, run

T = TypeVar("T")


@attrs.define(eq=False)
class Pool(Generic[T]):
    """Runs scripts, at most `limit` at once; each is in `out.moved` when it is finished."""

    out: Outbox
    limit: int
    _waiting: deque[tuple[Script[T], object]] = attrs.field(factory=deque)
    _running: dict[Running[T], None] = attrs.field(factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was added has finished."""
        return not self._running and not self._waiting

    def add(self, script: Script[T], purpose: object) -> None:
        """Run a script as soon as there is room."""
        self._waiting.append((script, purpose))
        self._fill()

    def finished(self, running: object) -> bool:
        """Take note that a script has ended; False if it is none of ours."""
        if not isinstance(running, Running) or running not in self._running:
            return False
        del self._running[running]
        self._fill()
        return True

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.limit:
            script, purpose = self._waiting.popleft()
            self._running[run(script, self.out, purpose)] = None
