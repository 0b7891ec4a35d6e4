"""Requests that wait: for a commit, for more to read, or for their time to run out."""

from typing import Protocol

import attrs

from rafka.core.machine import Timeouts
from rafka.core.types import MonoNs, Now, Ticket


class Parked(Protocol):
    """A request without its answer, or several. ticket: set by `Parking.park`."""

    ticket: Ticket


@attrs.define(eq=False)
class Parking:
    """Every parked request of a node that has a deadline, by ticket."""

    _timeouts: Timeouts = attrs.field(factory=Timeouts)
    _parked: dict[Ticket, Parked] = attrs.field(factory=dict)
    _last: int = 0

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, request: Parked, now: Now, timeout_ms: int) -> Ticket:
        """Keep a request until `finish`, or until `due` returns it."""
        self._last += 1
        ticket = request.ticket = Ticket(self._last)
        self._parked[ticket] = request
        self._timeouts.start(ticket, now.mono, timeout_ms)
        return ticket

    def find(self, ticket: Ticket) -> Parked | None:
        """Return a request that is still parked."""
        return self._parked.get(ticket)

    def finish(self, ticket: Ticket) -> bool:
        """Let a request go: it is answered now, or nobody wants the answer. False: it had gone already."""
        if self._parked.pop(ticket, None) is None:
            return False
        self._timeouts.finish(ticket)
        return True

    def due(self, now: Now) -> list[Parked]:
        """Take out every request whose time has run out."""
        return [self._parked.pop(ticket) for ticket in self._timeouts.pop_due(now.mono)]

    def deadline(self) -> MonoNs | None:
        """Say when the next one runs out of time."""
        return self._timeouts.next()

    def all(self) -> list[Parked]:
        """Return everything that is parked, oldest first."""
        return list(self._parked.values())
