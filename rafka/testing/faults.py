"""Faults that a test asks for, between the sessions and the node: answers late, lost or wrong, connections closed.

`Faulty` is a machine around a node. A fault applies to requests of one API, or of all, and so many times; of several
that apply the oldest is taken. The laws of a node hold: no request is answered twice, and time comes as an argument.
"""

from heapq import heappop, heappush

import attrs

from rafka.core.api.produce_request import ProduceRequest
from rafka.core.effects import Close, Effect, Reply
from rafka.core.errors import ErrorCode
from rafka.core.events import Disconnected, Event, Requested
from rafka.core.machine import Machine
from rafka.core.types import ConnId, MonoNs, Now
from rafka.testing.refusals import refusal

MS = 1_000_000
ALWAYS = 1 << 62

SLOW, DROP, CLOSE, FAIL = "slow", "drop acks", "close", "fail"


@attrs.define(eq=False)
class Fault:
    """One thing that is to go wrong. api_key: None for any; times: how often it still happens."""

    kind: str
    api_key: int | None
    times: int
    ms: int = 0
    code: ErrorCode = ErrorCode.NONE
    fired: int = 0

    def applies(self, event: Requested) -> bool:
        """Whether it is to happen to this request."""
        return self.times > 0 and self.api_key in (None, event.api_key)

    def fire(self) -> None:
        """Count one."""
        self.times -= 1
        self.fired += 1


@attrs.define(eq=False)
class Faulty:
    """A machine that is `node` but for its faults. faults: shared with the test's thread, which adds and clears."""

    node: Machine
    faults: list[Fault]
    _of_request: dict[tuple[ConnId, int], Fault] = attrs.field(factory=dict)
    """What is to happen to the answers under way."""
    _late: list[tuple[MonoNs, int, Reply]] = attrs.field(factory=list)
    _count: int = 0
    _now: MonoNs = MonoNs(0)
    _effects: list[Effect] = attrs.field(factory=list)

    def handle(self, event: Event, now: Now) -> None:
        """Take an event; a request may meet a fault."""
        self._now = now.mono
        if isinstance(event, Requested):
            fault = next((fault for fault in self.faults if fault.applies(event)), None)
            if fault is not None:
                fault.fire()
                if not self._let_through(event, fault):
                    return
        elif isinstance(event, Disconnected):
            for key in [key for key in self._of_request if key[0] == event.conn]:
                del self._of_request[key]
        self.node.handle(event, now)

    def tick(self, now: Now) -> None:
        """Let the node do what is due, and answers go whose time has come."""
        self._now = now.mono
        self.node.tick(now)
        while self._late and self._late[0][0] <= now.mono:
            self._effects.append(heappop(self._late)[2])

    def drain(self) -> list[Effect]:
        """Give up the turn's effects, but for the answers that are late or lost."""
        effects, self._effects = self._effects, []
        for effect in self.node.drain():
            fault = (
                self._of_request.pop((effect.conn, effect.correlation), None)
                if isinstance(effect, Reply)
                else None
            )
            if fault is None:
                effects.append(effect)
                continue
            assert isinstance(effect, Reply)
            if fault.kind == SLOW:
                self._count += 1
                heappush(self._late, (MonoNs(self._now + fault.ms * MS), self._count, effect))
            else:  # done, and nobody will be told
                effects.append(Close(effect.conn, "a test drops this acknowledgement"))
        return effects

    def deadline(self) -> MonoNs | None:
        """Say when the next turn is due."""
        at = self.node.deadline()
        if not self._late:
            return at
        return self._late[0][0] if at is None else min(at, self._late[0][0])

    def _let_through(self, event: Requested, fault: Fault) -> bool:
        """Let a fault meet a request; False: the node never hears of it."""
        if fault.kind == CLOSE:
            self._effects.append(Close(event.conn, "a test closes this connection"))
            return False
        if fault.kind == FAIL and isinstance(event.body, ProduceRequest) and event.body.acks == 0:
            self._effects.append(Reply(event.conn, event.correlation, None))  # it wants no answer
            self._effects.append(
                Close(event.conn, f"a test refuses a produce without acks: {fault.code.name}")
            )
            return False
        if fault.kind == FAIL:
            body = refusal(event, fault.code)
            self._effects.append(Reply(event.conn, event.correlation, body))
            return False
        self._of_request[event.conn, event.correlation] = fault
        return True
