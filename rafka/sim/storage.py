"""A disk that takes its time: what the laws of rafka.core.effects leave open, chance decides.

Operations on one file are performed in the order given, each at a time of its own; those on different files in any
order. An answer comes some time after the performance, and answers overtake each other, except that the syncs
of one file are answered in order. What a crash finds unperformed has never happened.
"""

from collections.abc import Callable
from typing import Protocol

from rafka.core.effects import DiskEffect, Rename, Sync
from rafka.core.events import DiskEvent, Failed
from rafka.core.types import NO_ANSWER
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk


class Clock(Protocol):
    """Whoever keeps the virtual time. A process has one of its own, which stops when it dies."""

    @property
    def time_ns(self) -> int:
        """Say what time it is."""

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Run `action` at a time that has not passed."""


class Storage:
    """Performs effects on `disk` over time and hands each answer to `answer`. One for each life of the process."""

    def __init__(
        self, disk: Disk, clock: Clock, chance: Chance, mean_ns: int, answer: Callable[[DiskEvent], None]
    ) -> None:
        self.pending = 0
        """Operations not yet performed, or performed and not yet answered."""
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._mean_ns = mean_ns
        self._answer = answer
        self._performed_at: dict[str, int] = {}
        self._synced_at: dict[str, int] = {}

    def submit(self, effect: DiskEffect) -> None:
        """Let an operation be performed, and answered if it asks for that or fails."""
        names = [effect.file, effect.to] if isinstance(effect, Rename) else [effect.file]
        at = max(self._sometime(), *(self._performed_at.get(name, 0) for name in names))
        for name in names:
            self._performed_at[name] = at
        self.pending += 1
        self._clock.at(at, lambda: self._perform(effect))

    def _sometime(self) -> int:
        return self._clock.time_ns + self._chance.around(self._mean_ns)

    def _perform(self, effect: DiskEffect) -> None:
        event = self._disk.perform(effect)
        at = self._sometime()
        if isinstance(effect, Sync):
            at = self._synced_at[effect.file] = max(at, self._synced_at.get(effect.file, 0))
        self._clock.at(at, lambda: self._answered(event))

    def _answered(self, event: DiskEvent) -> None:
        self.pending -= 1
        if event.token != NO_ANSWER or isinstance(event, Failed):
            self._answer(event)
