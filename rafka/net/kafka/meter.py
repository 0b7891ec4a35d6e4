"""What is counted of one API: how long its requests took, and the errors in its answers.

A request begins with the turn that received it and ends with the turn in which its answer leaves the session. When
that was, only the ring that has the clock can say: see `Protocol.settle`.
"""

from rafka.core.counting import Histogram
from rafka.core.message import Message
from rafka.net.kafka.codes import errors_in


class Meter:
    """One API's counters. durations: in ns; errors: how often each error code was in an answer."""

    __slots__ = ("durations", "errors")

    def __init__(self) -> None:
        self.durations = Histogram()
        self.errors: dict[int, int] = {}

    def failed(self, answer: Message) -> None:
        """Count the error codes in an answer, if there are any."""
        for code in errors_in(answer):
            self.errors[code] = self.errors.get(code, 0) + 1
