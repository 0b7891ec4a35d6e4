"""Procedures of several requests, written as generators: finite, with one owner, and with a time by which they end.

    def steps() -> Steps[int]:
        answer = yield from call(SomeRequest(...), SomeResponse, node=3)   # raises ClientError
        yield Sleep(50)
        return answer.something

A script yields Ask, a list of Asks (which travel together) or Sleep; it is sent the answers, in the order of the
asks. A single ask that has no answer raises its error in the script; in a list the error stands in its place.
"""

from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeAlias, TypeVar

import attrs

from rafka.client.cluster import GENERAL, MS, Cluster
from rafka.client.errors import ClientError, TimedOut, is_retriable
from rafka.client.link import Call
from rafka.client.outputs import Outbox, Pending
from rafka.core.errors import RafkaError
from rafka.core.message import Message
from rafka.core.shape import value
from rafka.core.types import MonoNs, Now

T = TypeVar("T")
R = TypeVar("R", bound=Message)


@value
class Ask:
    """Send a request and wait for its answer."""

    request: Message
    node: int | None = None
    lane: str = GENERAL
    timeout_ms: int | None = None


@value
class Sleep:
    """Wait. ms: None for the backoff after `failures` in a row; error: the last, told if there is no time left."""

    ms: int | None = None
    failures: int = 1
    error: ClientError | None = None


Step: TypeAlias = Ask | list[Ask] | Sleep
Steps: TypeAlias = Generator[Step, Any, T]
"""A script; what it is sent depends on what it yields, which no type can say: use `call`."""


def call(
    request: Message,
    answer: type[R],
    *,
    node: int | None = None,
    lane: str = GENERAL,
    timeout_ms: int | None = None,
) -> Steps[R]:
    """Ask one thing. Raises ClientError when there is no answer."""
    reply = yield Ask(request, node, lane, timeout_ms)
    assert isinstance(reply, answer), "the request decides the class of its answer"
    return reply


def persist(attempt: Callable[[], Steps[T]]) -> Steps[T]:
    """Repeat a script while what it raises is retriable, with growing pauses; the script's time bounds it."""
    failures = 0
    while True:
        try:
            return (yield from attempt())
        except ClientError as error:
            if not is_retriable(error):
                raise
            failures += 1
            yield Sleep(None, failures, error)


@attrs.define(eq=False)
class Script(Generic[T]):
    """A script that runs. pending: its result; due: when it is given up."""

    steps: Steps[T]
    pending: Pending[T]
    about: str
    due: MonoNs
    wakes_at: MonoNs | None = None
    calls: list[Call] = attrs.field(factory=list)
    missing: int = 0
    is_list: bool = False
    last_error: ClientError | None = None


ENDLESS: Final = MonoNs(1 << 62)


class Scripts:
    """Runs scripts over a cluster."""

    def __init__(self, cluster: Cluster, out: Outbox) -> None:
        self._cluster = cluster
        self._out = out
        self._running: dict[int, Script[Any]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._running)

    def run(self, steps: Steps[T], now: Now, about: str, timeout_ms: int | None = None) -> Pending[T]:
        """Start a script. about: what it does, for the error when its time is up; timeout_ms: None for no limit."""
        due = ENDLESS if timeout_ms is None else MonoNs(now.mono + timeout_ms * MS)
        script = Script(steps, Pending[T](), about, due)
        self._count += 1
        self._running[self._count] = script
        self._advance(script, None, now)
        return script.pending

    def stop(self, pending: Pending[T], error: ClientError) -> None:
        """End a script where it is; its result is the error."""
        for script in list(self._running.values()):
            if script.pending is pending:
                self._finish(script)
                self._out.fail(pending, error)

    def stop_all(self, error: ClientError) -> None:
        """End every script."""
        for script in list(self._running.values()):
            self.stop(script.pending, error)

    def answered(self, call: Call, now: Now) -> None:
        """Take what came of an ask."""
        script = next((s for s in self._running.values() if call in s.calls), None)
        if script is None:
            return
        script.missing -= 1
        if script.missing:
            return
        replies = [call.answer if call.error is None else call.error for call in script.calls]
        script.calls = []
        self._advance(script, replies if script.is_list else replies[0], now)

    def tick(self, now: Now) -> None:
        """Wake who has slept enough, and give up what has taken too long."""
        for script in list(self._running.values()):
            if script.due <= now.mono:
                self._finish(script)
                last = "" if script.last_error is None else f": {script.last_error}"
                self._out.fail(script.pending, TimedOut(f"{script.about} took too long{last}"))
            elif script.wakes_at is not None and script.wakes_at <= now.mono:
                script.wakes_at = None
                self._advance(script, None, now)

    def deadline(self) -> MonoNs | None:
        """Say when the next tick is due."""
        dues = [s.due if s.wakes_at is None else min(s.due, s.wakes_at) for s in self._running.values()]
        return min(dues) if dues else None

    def _advance(self, script: Script[T], reply: object, now: Now) -> None:
        """Go on until the script waits for something, or is over."""
        try:
            if isinstance(reply, ClientError):
                script.last_error = reply
                step = script.steps.throw(reply)
            else:
                step = script.steps.send(reply)
        except StopIteration as end:
            self._finish(script)
            self._out.settle(script.pending, end.value)
            return
        except RafkaError as error:
            self._finish(script)
            self._out.fail(
                script.pending, error if isinstance(error, ClientError) else ClientError(str(error))
            )
            return
        self._begin(script, step, now)

    def _begin(self, script: Script[Any], step: Step, now: Now) -> None:
        if isinstance(step, Sleep):
            if step.error is not None:
                script.last_error = step.error
            ns = self._cluster.backoff_ns(step.failures) if step.ms is None else step.ms * MS
            script.wakes_at = MonoNs(now.mono + ns)
            return
        script.is_list = isinstance(step, list)
        asks = step if isinstance(step, list) else [step]
        script.missing = len(asks)
        script.calls = [
            self._cluster.ask(ask.request, self, now, node=ask.node, lane=ask.lane, timeout_ms=ask.timeout_ms)
            for ask in asks
        ]
        assert asks, "a script asks for something"

    def _finish(self, script: Script[Any]) -> None:
        for key in [key for key, one in self._running.items() if one is script]:
            del self._running[key]
        for asked in script.calls:
            self._cluster.cancel(asked)
        script.steps.close()
