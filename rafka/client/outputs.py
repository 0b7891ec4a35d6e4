"""What a client machine asks of the world, and what it promises to whoever uses it.

A driver performs what `drain` gives up: Dial is answered by `connected` or `lost`, Transmit by nothing, HangUp by
nothing (no word comes from that link afterwards). Settled tells that a pending result, on which somebody waits, is
there. A link that is `lost` needs no HangUp.
"""

from typing import Generic, TypeVar

import attrs

from rafka.client.errors import ClientError
from rafka.core.shape import value
from rafka.core.types import Buffer

T = TypeVar("T")


class Pending(Generic[T]):
    """A result that will be there. waiter: whatever a driver wakes when it is; None while nobody waits."""

    __slots__ = ("_value", "error", "is_done", "waiter")

    def __init__(self) -> None:
        self.is_done = False
        self.error: ClientError | None = None
        self.waiter: object | None = None
        self._value: T | None = None

    def result(self) -> T:
        """Return it, or raise the ClientError that came instead; only once it is done."""
        assert self.is_done, "not there yet"
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # set when done; T may be None itself


@value
class Dial:
    """Connect."""

    link: int
    host: str
    port: int


@value
class Transmit:
    """Send bytes, in order."""

    link: int
    data: Buffer


@value
class HangUp:
    """Close the connection; stop connecting if it is not there yet."""

    link: int


@value
class Settled:
    """Wake who waits for this."""

    pending: Pending[object]


Output = Dial | Transmit | HangUp | Settled


@attrs.define(eq=False)
class Outbox:
    """What a client machine has to say since it was last drained; shared by its parts."""

    outputs: list[Output] = attrs.field(factory=list)

    def settle(self, pending: Pending[T], result: T) -> None:
        """Give a result; nothing happens if it has one."""
        if not pending.is_done:
            pending._value = result  # noqa: SLF001 – the one place that sets it
            self._wake(pending)

    def fail(self, pending: Pending[T], error: ClientError) -> None:
        """Give an error instead; nothing happens if it has a result."""
        if not pending.is_done:
            pending.error = error
            self._wake(pending)

    def _wake(self, pending: Pending[T]) -> None:
        pending.is_done = True
        if pending.waiter is not None:
            self.outputs.append(Settled(pending))  # type: ignore[arg-type]  # nobody reads T from it
