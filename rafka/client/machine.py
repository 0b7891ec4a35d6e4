"""What producer, consumer and admin have in common: what a driver calls, and in which order.

A turn: any number of `connected`, `received`, `lost` and calls of the user, then `tick`, then `drain`. The driver
performs what was drained, and takes the next turn when something happens or `deadline` is reached.
"""

from typing import TypeVar

from rafka.client.cluster import Cluster
from rafka.client.errors import Closed
from rafka.client.outputs import Outbox, Output, Pending
from rafka.client.script import Scripts, Steps
from rafka.client.settings import ClientSettings
from rafka.core.machine import Entropy
from rafka.core.types import MonoNs, Now

T = TypeVar("T")


class ClientMachine:
    """One client. is_closed: whether it has ended; nothing may be asked of it then."""

    def __init__(self, settings: ClientSettings, entropy: Entropy, *, may_create: bool = False) -> None:
        self.settings = settings
        self.entropy = entropy
        self.out = Outbox()
        self.cluster = Cluster(settings, entropy, self.out, may_create=may_create)
        self.scripts = Scripts(self.cluster, self.out)
        self.is_closed = False
        self._must_work = False
        """Whether the user has changed something that the next turn acts upon."""

    def connected(self, link: int, now: Now) -> None:
        """Learn that a link stands: the answer to Dial."""
        self.cluster.connected(link, now)

    def received(self, link: int, data: memoryview, now: Now) -> None:
        """Take bytes from a link; they are ours from now on."""
        self.cluster.received(link, data, now)

    def lost(self, link: int, now: Now, reason: str = "the connection ended") -> None:
        """Learn that a link could not be made, or has ended."""
        self.cluster.lost(link, now, reason)

    def tick(self, now: Now) -> None:
        """Do what has fallen due; once a turn, after what happened."""
        self._must_work = False
        if not self.is_closed:
            self.cluster.tick(now)
            self.scripts.tick(now)
            self._work(now)

    def drain(self) -> list[Output]:
        """Give up the turn's outputs; once a turn, after tick."""
        self.cluster.flush()
        outputs, self.out.outputs = self.out.outputs, []
        return outputs

    def deadline(self) -> MonoNs | None:
        """Say when to take the next turn if nothing happens."""
        if self.out.outputs or self._must_work:
            return MonoNs(0)
        if self.is_closed:
            return None
        dues = [self.cluster.deadline(), self.scripts.deadline(), self._due()]
        return min((due for due in dues if due is not None), default=None)

    def abandon(self) -> None:
        """End at once: links are hung up, what is pending fails with Closed."""
        if not self.is_closed:
            self.is_closed = True
            self.scripts.stop_all(Closed("the client was closed"))
            self.cluster.hang_up()

    def run(self, steps: Steps[T], now: Now, about: str, timeout_ms: int | None = None) -> Pending[T]:
        """Run a script, by default for as long as the settings say. Raises Closed."""
        self._must_be_open()
        limit = self.settings.operation_timeout_ms if timeout_ms is None else timeout_ms
        return self.scripts.run(steps, now, about, limit)

    def _must_be_open(self) -> None:
        if self.is_closed:
            raise Closed("the client is closed")

    def _work(self, now: Now) -> None:
        """Do what the client is for; once a turn."""

    def _due(self) -> MonoNs | None:
        """Say when `_work` is due."""
        return None
