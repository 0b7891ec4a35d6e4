"""What the drivers of client machines have in common: one turn, and the four things it can ask for."""

from abc import ABC, abstractmethod

from rafka.client.machine import ClientMachine
from rafka.client.outputs import Dial, HangUp, Output, Settled, Transmit
from rafka.client.world import now
from rafka.core.types import Buffer, MonoNs

NEVER = MonoNs(1 << 62)


class Driving(ABC):
    """Drives one machine. A driver says how to dial, transmit, hang up, wake who waits, and when to come again."""

    def __init__(self, machine: ClientMachine) -> None:
        self.machine = machine
        self._armed = NEVER
        """When the next turn is taken if nothing happens."""

    def turn(self) -> None:
        """Let the machine do what is due, and do what it asks for.

        A machine that breaks an assertion is ended, so that nobody waits for ever; the error goes on.
        """
        try:
            self.machine.tick(now())
        except BaseException:
            self.machine.abandon()
            raise
        finally:
            for output in self.machine.drain():
                self._perform(output)
            due = self.machine.deadline()
            self._armed = NEVER if due is None else due
            self._arm()

    def poke(self) -> None:
        """Take a turn soon if the machine wants one sooner than it is armed for."""
        due = self.machine.deadline()
        if due is not None and due < self._armed:
            self._armed = due
            self._arm()

    def came(self, link: int, data: memoryview) -> None:
        """Take bytes."""
        self.machine.received(link, data, now())
        self.turn()

    def stands(self, link: int) -> None:
        """Learn that a link stands."""
        self.machine.connected(link, now())
        self.turn()

    def ended(self, link: int, reason: str) -> None:
        """Learn that a link has ended, or cannot be made."""
        self.machine.lost(link, now(), reason)
        self.turn()

    def _perform(self, output: Output) -> None:
        match output:
            case Transmit(link, data):
                self._transmit(link, data)
            case Settled(pending):
                self._wake(pending.waiter)
            case Dial(link, host, port):
                self._dial(link, host, port)
            case HangUp(link):
                self._hang_up(link)

    @abstractmethod
    def _dial(self, link: int, host: str, port: int) -> None:
        """Begin to connect."""

    @abstractmethod
    def _transmit(self, link: int, data: Buffer) -> None:
        """Send, after all that was to be sent before."""

    @abstractmethod
    def _hang_up(self, link: int) -> None:
        """Close, once what was to be sent is."""

    @abstractmethod
    def _wake(self, waiter: object) -> None:
        """Let go on who waits."""

    @abstractmethod
    def _arm(self) -> None:
        """Take a turn at the time in `_armed`; NEVER: only when something happens."""
