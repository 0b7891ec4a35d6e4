"""Asking again while a broker says that it is not ready: new topics and coordinators take a moment to be there."""

import time
from collections.abc import Callable, Container
from typing import TypeVar

from rafka.core.errors import ErrorCode

T = TypeVar("T")

PATIENCE_S = 10.0
CREATION_S = 1.0
"""How long a topic that the broker is asked to make may be missing."""
PAUSE_S = 0.1
PASSING = frozenset(
    {
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)


def until_ready(
    ask: Callable[[], T],
    code_of: Callable[[T], int],
    passing: Container[int] = PASSING,
    patience_s: float = PATIENCE_S,
) -> T:
    """Ask until the answer's error code is none of those that pass, or patience ends; return the last answer."""
    deadline = time.monotonic() + patience_s
    while True:
        answer = ask()
        if code_of(answer) not in passing or time.monotonic() >= deadline:
            return answer
        time.sleep(PAUSE_S)
