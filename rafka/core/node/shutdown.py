"""The end of a node: no more requests, everything written and synced, then Stop.

Fetches that wait are answered with what there is. Appends under way are committed or fail as ever, and are
acknowledged; then every log is closed, a few at a time. What takes longer than GRACE_NS is left to the next
start's recovery: nothing that was acknowledged depends on a clean end.
"""

import attrs

from rafka.core.effects import Stop
from rafka.core.log.log import Log
from rafka.core.machine import Outbox
from rafka.core.node.control import Control
from rafka.core.node.fetch import Fetches
from rafka.core.node.partitions import Partitions
from rafka.core.node.pool import Pool
from rafka.core.types import MonoNs, Now

LOGS_AT_ONCE = 64
GRACE_NS = 10_000_000_000
ALARM = ("shutdown",)


@attrs.define(eq=False)
class Shutdown:
    """Begins with `begin`; gives Stop(0) once all is done."""

    out: Outbox
    partitions: Partitions
    control: Control
    fetches: Fetches
    has_begun: bool = False
    _is_closing: bool = False
    _has_stopped: bool = False
    _until: MonoNs = MonoNs(0)
    _pool: Pool[None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = Pool(self.out, LOGS_AT_ONCE)

    def begin(self, signal: str, now: Now) -> None:
        """Begin to end; a second signal ends at once."""
        if self.has_begun:
            self._stop()
            return
        self.has_begun = True
        self._until = MonoNs(now.mono + GRACE_NS)
        self.out.note("info", "stopping", signal=signal)
        self.out.alarms.set(ALARM, self._until)
        self.fetches.answer_all(now)

    def finished(self, running: object) -> bool:
        """Take note that a log is closed; False if the script is none of ours."""
        is_ours = self._pool.finished(running)
        if is_ours and self._pool.is_idle:
            self.out.alarms.set(ALARM, MonoNs(0))  # nothing else may happen that makes another turn
        return is_ours

    def advance(self, now: Now) -> None:
        """Go on: close the logs once nothing is in flight, and stop once they are closed."""
        if now.mono >= self._until:
            self._stop()
        elif not self._is_closing and all(_is_settled(log) for log in self._logs()):
            self._is_closing = True
            for log in self._logs():
                if log.segments:
                    self._pool.add(log.close(), log)
        if self._is_closing and self._pool.is_idle:
            self._stop()

    def _logs(self) -> list[Log]:
        return [self.control.partition.log, *(partition.log for partition in self.partitions)]

    def _stop(self) -> None:
        if not self._has_stopped:
            self._has_stopped = True
            self.out.note("info", "stopped")
            self.out.effects.append(Stop(0))


def _is_settled(log: Log) -> bool:
    """Whether all that was appended is durable, or never will be."""
    return log.is_offline or log.durable_offset == log.log_end_offset
