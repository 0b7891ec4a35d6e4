"""The client for asyncio.

async with Producer("127.0.0.1:9092") as producer:
    await producer.send("greetings", b"hello")
async with Consumer("127.0.0.1:9092", "greetings", auto_offset_reset="earliest") as consumer:
    async for record in consumer:
        ...
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Unpack, cast

from rafka.client import asynchronous
from rafka.client.driving import NEVER, Driving
from rafka.client.machine import ClientMachine
from rafka.client.making import make_admin, make_consumer, make_producer
from rafka.client.outputs import Pending
from rafka.client.settings import ClientOptions, ConsumerOptions, ProducerOptions
from rafka.client.world import now
from rafka.core.types import Buffer

LINGER_S = 1.0
"""How long links may take to send what is left when a client ends."""


class Producer(asynchronous.Producer):
    """Sends records. bootstrap: host:port, or several; options: the fields of `settings`."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Unpack[ProducerOptions]) -> None:
        machine = make_producer(bootstrap, options)
        super().__init__(machine, AsyncioDriver(machine))


class Consumer(asynchronous.Consumer):
    """Reads records. topics: shared with the group of `group_id`; without one, all their partitions are read."""

    def __init__(
        self, bootstrap: str | Sequence[str], *topics: str, **options: Unpack[ConsumerOptions]
    ) -> None:
        machine = make_consumer(bootstrap, options)
        super().__init__(machine, AsyncioDriver(machine), topics)


class Admin(asynchronous.Admin):
    """Looks after topics, groups and settings."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Unpack[ClientOptions]) -> None:
        machine = make_admin(bootstrap, options)
        super().__init__(machine, AsyncioDriver(machine))


class AsyncioDriver(Driving):
    """Drives a machine by the callbacks of transports and of one timer: it has no task but while it dials."""

    def __init__(self, machine: ClientMachine) -> None:
        super().__init__(machine)
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._links: dict[int, asyncio.Transport] = {}
        self._open: set[Link] = set()
        self._all_closed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = NEVER

    async def start(self) -> None:
        """Begin to drive."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """End every link, and drive no more."""
        self.machine.abandon()
        self.turn()
        for task in self._dials.values():
            task.cancel()
        await asyncio.gather(*self._dials.values(), return_exceptions=True)
        if self._open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), LINGER_S)
            for link in list(self._open):
                link.abort()

    async def wait(self, pending: Pending[object], timeout_s: float | None = None) -> bool:
        """Wait until a result is there, or for so long; say whether it is."""
        self.turn()
        if not pending.is_done:
            pending.waiter = pending.waiter or asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(cast("asyncio.Event", pending.waiter).wait(), timeout_s)
        return pending.is_done

    async def wait_shielded(self, pending: Pending[object], timeout_s: float) -> bool:
        """Wait for so long; another cancellation than the one under way ends it, as asyncio's users expect."""
        return await self.wait(pending, timeout_s)

    async def breathe(self) -> None:
        """Let others go on."""
        await asyncio.sleep(0)

    def opened(self, link: "Link", transport: asyncio.Transport) -> None:
        """Learn of a new connection."""
        self._links[link.number] = transport
        self._open.add(link)
        self._all_closed.clear()
        self.stands(link.number)

    def closed(self, link: "Link", error: Exception | None) -> None:
        """Learn of a connection's end."""
        self._links.pop(link.number, None)
        self._open.discard(link)
        if not self._open:
            self._all_closed.set()
        self.ended(link.number, "the connection ended" if error is None else str(error))

    async def _connect(self, link: int, host: str, port: int) -> None:
        try:
            await self._loop.create_connection(lambda: Link(self, link), host, port)
        except OSError as error:
            self.ended(link, str(error))
        finally:
            self._dials.pop(link, None)

    def _dial(self, link: int, host: str, port: int) -> None:
        self._dials[link] = self._loop.create_task(self._connect(link, host, port))

    def _transmit(self, link: int, data: Buffer) -> None:
        transport = self._links.get(link)
        if transport is not None:
            transport.write(data)

    def _hang_up(self, link: int) -> None:
        dial = self._dials.get(link)
        if dial is not None:
            dial.cancel()
        transport = self._links.pop(link, None)
        if transport is not None:
            transport.close()

    def _wake(self, waiter: object) -> None:
        cast("asyncio.Event", waiter).set()

    def _arm(self) -> None:
        due = self._armed
        if due == self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due = due
        if due != NEVER:
            delay_s = max(due - now().mono, 0) / 1e9
            self._timer = self._loop.call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._timer_due = NEVER
        self.turn()


class Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, driver: AsyncioDriver, number: int) -> None:
        self.number = number
        self._driver = driver
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._transport = cast("asyncio.Transport", transport)
        self._driver.opened(self, self._transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._driver.came(self.number, memoryview(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._driver.closed(self, exc)

    def abort(self) -> None:
        """Close without sending what is left."""
        if self._transport is not None:
            self._transport.abort()
