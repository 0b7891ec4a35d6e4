"""What every machine shares: the turn, the outbox, alarms, and the two kinds of waiting.

A turn: handle every event that is ready, tick once, drain once. The driver submits what was drained, and
calls again when something happens or the deadline is reached. Nothing blocks, nothing calls back.
"""

from collections import deque
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

import attrs

from rafka.core.effects import Effect, Note, Reply
from rafka.core.events import DiskEvent, Event
from rafka.core.shape import value
from rafka.core.types import MonoNs, Now, Ticket, Token


class Machine(Protocol):
    """A pure state machine at the boundary; the driver and the simulator know nothing else."""

    def handle(self, event: Event, now: Now) -> None:
        """Take one event; any number of times a turn."""

    def tick(self, now: Now) -> None:
        """Do what has fallen due; once a turn, after the events."""

    def drain(self) -> list[Effect]:
        """Give up the turn's effects; once a turn, after tick. The list is the caller's."""

    def deadline(self) -> MonoNs | None:
        """Say when to take the next turn if nothing happens; None: only when something does."""


class Entropy(Protocol):
    """Chance, given at construction to the few who need it."""

    def below(self, bound: int) -> int:
        """Draw an int in [0, bound)."""

    def bytes(self, count: int) -> bytes:
        """Draw `count` random bytes."""


class Owner(Protocol):
    """Whoever issued a token and wants its answer."""

    def completed(self, event: DiskEvent, now: Now) -> None:
        """Take the answer to a token that `Outbox.token(self)` gave."""


@attrs.define(eq=False)
class Alarms:
    """Few, named deadlines (a session, a roll, a sweep): a heap whose stale entries are dropped late."""

    _due: dict[Hashable, MonoNs] = attrs.field(factory=dict)
    _heap: list[tuple[MonoNs, int, Hashable]] = attrs.field(factory=list)
    _count: int = 0

    def set(self, key: Hashable, at: MonoNs) -> None:
        """Set, or move, the alarm `key`."""
        if self._due.get(key) == at:
            return
        self._due[key] = at
        self._count += 1
        heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._due):
            self._compact()

    def clear(self, key: Hashable) -> None:
        """Forget the alarm `key`, if it is set."""
        self._due.pop(key, None)

    def pop_due(self, now: MonoNs) -> list[Hashable]:
        """Take out every alarm whose time has come, earliest first."""
        due: list[Hashable] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                due.append(key)
        return due

    def next(self) -> MonoNs | None:
        """Say when the earliest alarm falls due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _compact(self) -> None:
        live = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
        self._heap[:] = sorted(live)


@attrs.define(eq=False)
class Outbox:
    """One per node, shared by reference by every machine inside it: effects, tokens and alarms."""

    effects: list[Effect] = attrs.field(factory=list)
    alarms: Alarms = attrs.field(factory=Alarms)
    owners: dict[Token, Owner] = attrs.field(factory=dict)
    moved: list[object] = attrs.field(factory=list)
    """Machines that changed in this turn and whose parent must look at them (a parent drains it in tick)."""
    last_token: int = 0

    def token(self, owner: Owner) -> Token:
        """Give a fresh token whose answer goes to `owner`."""
        self.last_token += 1
        token = Token(self.last_token)
        self.owners[token] = owner
        return token

    def route(self, event: DiskEvent, now: Now) -> bool:
        """Hand a completion to its owner; False if it has none (a failure of an unanswered operation)."""
        owner = self.owners.pop(event.token, None)
        if owner is None:
            return False
        owner.completed(event, now)
        return True

    def note(self, level: str, name: str, **fields: object) -> None:
        """Put a log line into the outbox."""
        self.effects.append(Note(level, name, fields))

    def drain(self) -> list[Effect]:
        """Give up all effects."""
        effects = self.effects
        self.effects = []
        return effects


@attrs.define(eq=False)
class Timeouts:
    """Deadlines of many requests: one FIFO per distinct timeout, so equal timeouts prune themselves."""

    _queues: dict[int, deque[tuple[MonoNs, Ticket]]] = attrs.field(factory=dict)
    _live: dict[Ticket, int] = attrs.field(factory=dict)

    def start(self, ticket: Ticket, now: MonoNs, timeout_ms: int) -> None:
        """Let `ticket` fall due `timeout_ms` from now."""
        queue = self._queues.get(timeout_ms)
        if queue is None:
            queue = self._queues[timeout_ms] = deque()
        queue.append((MonoNs(now + timeout_ms * 1_000_000), ticket))
        self._live[ticket] = timeout_ms

    def finish(self, ticket: Ticket) -> None:
        """Forget `ticket`; its entry leaves the queue when it reaches the front."""
        timeout_ms = self._live.pop(ticket, None)
        if timeout_ms is not None and self._queues[timeout_ms][0][1] == ticket:
            self._prune(timeout_ms)

    def pop_due(self, now: MonoNs) -> list[Ticket]:
        """Take out every ticket whose time has come."""
        due: list[Ticket] = []
        for timeout_ms in list(self._queues):
            queue = self._queues[timeout_ms]
            while queue and (queue[0][0] <= now or queue[0][1] not in self._live):
                ticket = queue.popleft()[1]
                if self._live.pop(ticket, None) is not None:
                    due.append(ticket)
            if not queue:
                del self._queues[timeout_ms]
        return due

    def next(self) -> MonoNs | None:
        """Say when the earliest ticket falls due."""
        fronts = [queue[0][0] for queue in self._queues.values() if queue]
        return min(fronts) if fronts else None

    def _prune(self, timeout_ms: int) -> None:
        queue = self._queues[timeout_ms]
        while queue and queue[0][1] not in self._live:
            queue.popleft()
        if not queue:
            del self._queues[timeout_ms]


W = TypeVar("W")


@attrs.define(eq=False)
class OffsetWaiters(Generic[W]):
    """Who waits for an offset to be passed: a FIFO, because offsets are given out in order."""

    _queue: deque[tuple[int, W]] = attrs.field(factory=deque)

    def __len__(self) -> int:
        return len(self._queue)

    def wait(self, reached: int, waiter: W) -> None:
        """Let `waiter` wait until `reached` records exist (the end offset after what it waits for)."""
        assert not self._queue or self._queue[-1][0] <= reached
        self._queue.append((reached, waiter))

    def wait_with_the_last(self, reached: int, waiter: W) -> None:
        """Let `waiter`, who has added nothing, wait as long as whoever is last in line, at least for `reached`.

        What the last one waits for may have been taken back already; both learn of it when the turn ends.
        """
        queue = self._queue
        queue.append((max(reached, queue[-1][0]) if queue else reached, waiter))

    def extend(self, reached: int, waiter: W) -> bool:
        """Let `waiter`, if it is the last in line, wait until `reached` records exist; say whether it is."""
        queue = self._queue
        if not queue or queue[-1][1] is not waiter:
            return False
        queue[-1] = (reached, waiter)
        return True

    def reach(self, offset: int) -> list[W]:
        """Release every waiter for `offset` or less."""
        released: list[W] = []
        queue = self._queue
        while queue and queue[0][0] <= offset:
            released.append(queue.popleft()[1])
        return released

    def abandon(self, above: int = -1) -> list[W]:
        """Release everybody who waits for more than `above`, because it will not come."""
        released: list[W] = []
        queue = self._queue
        while queue and queue[-1][0] > above:
            released.append(queue.pop()[1])
        released.reverse()
        return released


R = TypeVar("R")


@value
class Decision(Generic[R]):
    """What a shard (controller, group coordinator) made of a request or of the passing of time.

    records: to be appended in one batch, all or none, then applied in order.
    replies: held until the records are committed (with no records: until what they were read from is).
    """

    records: list[R]
    replies: list[Reply]
