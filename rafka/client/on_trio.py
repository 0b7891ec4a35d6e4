"""The client for trio.

    async with Producer("127.0.0.1:9092") as producer:
        await producer.send("greetings", b"hello")
    async with Consumer("127.0.0.1:9092", "greetings", auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            ...

Each client has a task for its timer and two for each connection. They are children of a system task of trio's: they
go on while the user's task is being cancelled, so that a consumer can still leave its group, and what a user raises is
not wrapped into a group of exceptions.
"""

from collections.abc import Sequence
from typing import Unpack, cast

import attrs
import trio

from rafka.client import asynchronous
from rafka.client.driving import NEVER, Driving
from rafka.client.machine import ClientMachine
from rafka.client.making import make_admin, make_consumer, make_producer
from rafka.client.outputs import Pending
from rafka.client.settings import ClientOptions, ConsumerOptions, ProducerOptions
from rafka.client.world import now
from rafka.core.types import Buffer

RECEIVE_BYTES = 256 << 10
LINGER_S = 1.0
"""How long links may take to send what is left when a client ends."""


class Producer(asynchronous.Producer):
    """Sends records. bootstrap: host:port, or several; options: the fields of `settings`."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Unpack[ProducerOptions]) -> None:
        machine = make_producer(bootstrap, options)
        super().__init__(machine, TrioDriver(machine))


class Consumer(asynchronous.Consumer):
    """Reads records. topics: shared with the group of `group_id`; without one, all their partitions are read."""

    def __init__(
        self, bootstrap: str | Sequence[str], *topics: str, **options: Unpack[ConsumerOptions]
    ) -> None:
        machine = make_consumer(bootstrap, options)
        super().__init__(machine, TrioDriver(machine), topics)


class Admin(asynchronous.Admin):
    """Looks after topics, groups and settings."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Unpack[ClientOptions]) -> None:
        machine = make_admin(bootstrap, options)
        super().__init__(machine, TrioDriver(machine))


@attrs.define(eq=False)
class Link:
    """One connection, or the attempt at one. unsent: what its writer takes next; is_ending: nothing more comes."""

    number: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    unsent: list[Buffer] = attrs.field(factory=list)
    news: trio.Event = attrs.field(factory=trio.Event)
    is_ending: bool = False


class TrioDriver(Driving):
    """Drives a machine by tasks of a nursery. What goes wrong in a task is raised when the client ends."""

    def __init__(self, machine: ClientMachine) -> None:
        super().__init__(machine)
        self._links: dict[int, Link] = {}
        self._moved = trio.Event()
        """Set when the timer must look again at when it is armed for."""
        self._all_closed = trio.Event()
        self._ended = trio.Event()
        self._crash: BaseException | None = None

    async def start(self) -> None:
        """Begin to drive."""
        started = trio.Event()
        trio.lowlevel.spawn_system_task(self._run_all, started, name="rafka client")
        with trio.CancelScope(shield=True):
            await started.wait()

    async def stop(self) -> None:
        """End every link, and drive no more. Raises what a task raised."""
        self.machine.abandon()
        self.turn()
        if self._links:
            with trio.move_on_after(LINGER_S, shield=True):
                await self._all_closed.wait()
        self._nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        if self._crash is not None:
            raise self._crash

    async def wait(self, pending: Pending[object], timeout_s: float | None = None) -> bool:
        """Wait until a result is there, or for so long; say whether it is."""
        self.turn()
        if pending.is_done:
            await trio.lowlevel.checkpoint()
        else:
            pending.waiter = pending.waiter or trio.Event()
            with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
                await cast("trio.Event", pending.waiter).wait()
        return pending.is_done

    async def wait_shielded(self, pending: Pending[object], timeout_s: float) -> bool:
        """Wait for so long even while the task is being cancelled."""
        with trio.CancelScope(shield=True):
            await self.wait(pending, timeout_s)
        return pending.is_done

    async def breathe(self) -> None:
        """Let others go on."""
        await trio.lowlevel.checkpoint()

    # ---- tasks ---------------------------------------------------------------------------------------

    async def _run_all(self, started: trio.Event) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                started.set()
                await self._keep_time()
                await trio.sleep_forever()
        finally:
            self._ended.set()

    async def _keep_time(self) -> None:
        while not self.machine.is_closed:
            self._moved = trio.Event()
            delay_s = float("inf") if self._armed == NEVER else max(self._armed - now().mono, 0) / 1e9
            with trio.move_on_after(delay_s):
                await self._moved.wait()
            if self._armed <= now().mono:
                self._armed = NEVER
                self._guarded()

    async def _run(self, link: Link, host: str, port: int) -> None:
        reason = "the connection ended"
        try:
            with link.scope:
                stream = await trio.open_tcp_stream(host, port)
                async with stream:
                    await self._talk(link, stream)
        except OSError as error:
            reason = str(error)
        except trio.BrokenResourceError as error:
            reason = str(error.__cause__ or error)
        except Exception as error:  # noqa: BLE001 – it would cancel the user's task: raised by stop instead
            self._crash = error
            self.machine.abandon()
        self._links.pop(link.number, None)
        if not self._links:
            self._all_closed.set()
        self.machine.lost(link.number, now(), reason)
        self._guarded()

    async def _talk(self, link: Link, stream: trio.SocketStream) -> None:
        self.machine.connected(link.number, now())
        self._guarded()
        self._nursery.start_soon(self._write, link, stream)
        while True:
            data = await stream.receive_some(RECEIVE_BYTES)
            if not data:
                return
            self.machine.received(link.number, memoryview(data), now())
            self._guarded()

    async def _write(self, link: Link, stream: trio.SocketStream) -> None:
        try:
            while True:
                if not link.unsent:
                    if link.is_ending:
                        link.scope.cancel()
                        return
                    link.news = trio.Event()
                    await link.news.wait()
                unsent, link.unsent = link.unsent, []
                for data in unsent:
                    await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            link.scope.cancel()  # the reader tells that it has ended

    def _guarded(self) -> None:
        """Take a turn; an error in it must not cancel the user's task."""
        try:
            self.turn()
        except Exception as error:  # noqa: BLE001 – raised by stop; the machine is closed, so nobody waits
            self._crash = error

    # ---- what a turn asks for --------------------------------------------------------------------------

    def _dial(self, link: int, host: str, port: int) -> None:
        self._links[link] = Link(link)
        self._nursery.start_soon(self._run, self._links[link], host, port)

    def _transmit(self, link: int, data: Buffer) -> None:
        known = self._links.get(link)
        if known is not None:
            known.unsent.append(data)
            known.news.set()

    def _hang_up(self, link: int) -> None:
        known = self._links.get(link)
        if known is None:
            return
        known.is_ending = True
        known.news.set()
        if not known.unsent:
            known.scope.cancel()

    def _wake(self, waiter: object) -> None:
        cast("trio.Event", waiter).set()

    def _arm(self) -> None:
        self._moved.set()
