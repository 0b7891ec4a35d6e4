"""One connection to one broker, as the cluster keeps it, and the requests on it."""

from collections import deque
from enum import Enum
from typing import Protocol

import attrs

from rafka.client.connection import Connection
from rafka.client.errors import ClientError
from rafka.core.message import Message
from rafka.core.types import MonoNs, Now


class Asker(Protocol):
    """Whoever asked, and wants the answer."""

    def answered(self, call: "Call", now: Now) -> None:
        """Take the answer of a call, or its error. Called once, never from within `ask`."""


@attrs.define(eq=False)
class Call:
    """One request. due: when its answer is given up; answer, error: one of them, once it is over."""

    request: Message
    owner: Asker
    node: int | None
    lane: str
    due: MonoNs
    wants_answer: bool = True
    answer: Message | None = None
    error: ClientError | None = None
    is_cancelled: bool = False
    """Nobody wants the answer any more; it is dropped when it comes."""


class State(Enum):
    """What a link is doing."""

    WAITING = "until it may be dialled"
    DIALLING = "until the broker accepts"
    GREETING = "until the broker says what it serves"
    READY = "requests go out at once"


@attrs.define(eq=False)
class Link:
    """One connection. due: when it is dialled (WAITING), or given up (DIALLING, GREETING)."""

    number: int
    node: int
    lane: str
    due: MonoNs
    connection: Connection
    state: State = State.WAITING
    waiting: deque[Call] = attrs.field(factory=deque)
    """Calls that go out as soon as it is ready."""
    in_flight: deque[Call] = attrs.field(factory=deque)
    """Calls that went out, oldest first: the order of the answers."""
    unsent: list[bytes] = attrs.field(factory=list)
    """Bytes for the next Transmit."""

    def next_due(self) -> MonoNs | None:
        """Say when something on it falls due."""
        dues = [call.due for call in (*self.in_flight, *self.waiting)]
        if self.state is not State.READY:
            dues.append(self.due)
        return min(dues) if dues else None
