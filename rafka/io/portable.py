"""The driver that runs wherever trio does: readiness by trio, disk waiting in a few threads.

The turn itself receives, so both drivers share every rule of `driver.py`. Where there is epoll, one of our own holds
all connections, edge-triggered, and trio waits for that one descriptor (`Edges`); elsewhere a task per connection waits
for readability and then for its turn (`Tasks`). Syncs and reads run in threads, at most `THREADS` at a time. What it
costs beside `uring.py`: docs/decisions/0003-own-io-uring-ring.md.
"""

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable

import trio

from rafka.core.machine import Machine
from rafka.io.disk import Operation, Reading
from rafka.io.driver import Engine, calm_collector
from rafka.io.journal import Journal, journal
from rafka.io.sockets import Connection
from rafka.observe.tally import Tally

THREADS = 8
EDGES_A_TURN = 1024
HUNG = True
ENDED = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0) if hasattr(select, "poll") else 0


class PortableDriver:
    """Runs a machine under trio; also the poller of its own engine."""

    def __init__(self, notes: Journal | None = None, readiness: "type[Edges | Tasks] | None" = None) -> None:
        if readiness is None:
            readiness = Edges if hasattr(select, "epoll") and hasattr(os, "eventfd") else Tasks
        self._make_readiness = readiness
        self._readiness: Edges | Tasks
        self.tally = Tally()
        self._journal = notes if notes is not None else journal()
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_terminated = self._is_ending = False
        self._limiter: trio.CapacityLimiter
        self._nursery: trio.Nursery
        self._engine: Engine
        self._listeners: dict[socket.socket, trio.lowlevel.ParkingLot] = {}

    def run(self, machine: Machine, data_dir: str) -> int:
        """Take turns until the machine asks to Stop; give its exit code."""
        try:
            with calm_collector():
                return trio.run(self._main, machine, data_dir)
        except BaseExceptionGroup as group:  # what a turn raised, wrapped by the nursery
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise

    def terminate(self) -> None:
        """Tell the machine to end, as SIGTERM does. The only method that another thread may call."""
        self._is_terminated = True
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._end)

    def _end(self) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._engine.terminated(signal.SIGTERM)
            self._readiness.wake()

    async def _main(self, machine: Machine, data_dir: str) -> int:
        self._limiter = trio.CapacityLimiter(THREADS)
        self._engine = engine = Engine(machine, data_dir, self, self._journal, self.tally)
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as self._nursery:
                self._readiness = self._make_readiness(engine, self._nursery)
                if self._is_terminated:
                    self._end()
                if threading.current_thread() is threading.main_thread():
                    await self._nursery.start(self._signals)
                while (code := engine.turns()) is None:
                    await self._pause(engine.wait_ns(time.monotonic_ns()))
                    self._readiness.collect()
                self._nursery.cancel_scope.cancel()
        finally:
            engine.close()
            self._readiness.close()
        return code

    async def _pause(self, wait_ns: int | None) -> None:
        if wait_ns == 0:
            await trio.lowlevel.checkpoint()
        elif wait_ns is None:
            await self._readiness.wait()
        else:
            with trio.move_on_after(wait_ns / 1_000_000_000):
                await self._readiness.wait()

    async def _signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as numbers:
            task_status.started()
            async for number in numbers:
                self._engine.terminated(number)
                self._readiness.wake()

    # ---- connections ------------------------------------------------------------------------------

    def watch(self, conn: Connection) -> None:
        """Begin to report `conn` through `Engine.readable`."""
        self._readiness.watch(conn)

    def rearm(self, conn: Connection, *, is_drained: bool) -> None:
        """Report `conn` again when it is readable."""
        self._readiness.rearm(conn, is_drained=is_drained)

    def await_room(self, conn: Connection) -> None:
        """Report `conn` through `Engine.writable` once its socket takes bytes again."""
        self._nursery.start_soon(self._await_room, conn)

    async def _await_room(self, conn: Connection) -> None:
        if conn.has_ended:
            return
        try:
            await trio.lowlevel.wait_writable(conn.sock)
        except trio.ClosedResourceError:
            return
        self._engine.writable(conn)
        self._readiness.wake()

    def forget(self, conn: Connection) -> None:
        """Stop reporting `conn`; its tasks end."""
        trio.lowlevel.notify_closing(conn.sock)
        self._readiness.forget(conn)

    # ---- listeners --------------------------------------------------------------------------------

    def listen(self, listener: socket.socket) -> None:
        """Report `listener` through `Engine.acceptable`, again and again."""
        self._listeners[listener] = lot = trio.lowlevel.ParkingLot()
        self._nursery.start_soon(self._listen, listener, lot)

    async def _listen(self, listener: socket.socket, lot: trio.lowlevel.ParkingLot) -> None:
        while listener in self._listeners:
            try:
                await trio.lowlevel.wait_readable(listener)
            except trio.ClosedResourceError:
                return
            self._engine.acceptable(listener)
            self._readiness.wake()
            await lot.park()

    def listen_again(self, listener: socket.socket) -> None:
        """Nobody waits at `listener` any more: report the next one."""
        self._listeners[listener].unpark()

    def unlisten(self, listener: socket.socket) -> None:
        """Stop reporting `listener`."""
        trio.lowlevel.notify_closing(listener)
        self._listeners.pop(listener).unpark_all()

    # ---- the disk ---------------------------------------------------------------------------------

    def sync(self, operation: Operation, *, is_dir: bool) -> None:
        """Make a descriptor's bytes durable in a thread."""
        call = os.fsync if is_dir else _sync_data
        self._nursery.start_soon(self._in_thread, operation, lambda: call(operation.fd))

    def read(self, operation: Reading) -> None:
        """Read one piece in a thread."""

        def call() -> int:
            return os.preadv(operation.fd, [operation.rest()], operation.position())

        self._nursery.start_soon(self._in_thread, operation, call)

    async def _in_thread(self, operation: Operation, call: Callable[[], int | None]) -> None:
        try:
            result = await trio.to_thread.run_sync(call, limiter=self._limiter) or 0
        except OSError as error:
            result = -(error.errno or 5)
        operation.finish(result)
        self._readiness.wake()


class Edges:
    """All connections in one edge-triggered epoll, which trio waits for.

    After an edge a connection stays readable until a receive comes back short. A hang-up in the same edge as the
    last bytes is remembered (`HUNG`), since no second edge will tell.
    """

    def __init__(self, engine: Engine, nursery: trio.Nursery) -> None:
        del nursery
        self._engine = engine
        self._epoll = select.epoll()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._event, select.EPOLLIN | select.EPOLLET)
        self._connections: dict[int, Connection] = {}

    def wake(self) -> None:
        """End a wait, the one under way or the next."""
        os.eventfd_write(self._event, 1)

    async def wait(self) -> None:
        """Wait for an edge, or to be woken."""
        await trio.lowlevel.wait_readable(self._epoll.fileno())

    def collect(self) -> None:
        """Report every connection that has had an edge; once a turn."""
        for fd, events in self._epoll.poll(0, EDGES_A_TURN):
            if fd == self._event:
                continue
            conn = self._connections[fd]
            if events & ENDED:
                conn.poll = HUNG
            self._engine.readable(conn)

    def watch(self, conn: Connection) -> None:
        """Begin to report `conn`."""
        self._connections[conn.fd] = conn
        self._epoll.register(conn.fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def rearm(self, conn: Connection, *, is_drained: bool) -> None:
        """Report `conn` again: at once if there may be more, since no edge will tell."""
        if not is_drained or conn.poll is HUNG:
            self._engine.readable(conn)

    def forget(self, conn: Connection) -> None:
        """Stop reporting `conn`."""
        del self._connections[conn.fd]
        self._epoll.unregister(conn.fd)

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        os.close(self._event)


class Tasks:
    """A task per connection, over whatever trio waits with."""

    def __init__(self, engine: Engine, nursery: trio.Nursery) -> None:
        self._engine = engine
        self._nursery = nursery
        self._woken = trio.Event()

    def wake(self) -> None:
        """End a wait, the one under way or the next."""
        self._woken.set()

    async def wait(self) -> None:
        """Wait until a task has something to report."""
        await self._woken.wait()
        self._woken = trio.Event()

    def collect(self) -> None:
        """Nothing to do: each task reports its own."""

    def watch(self, conn: Connection) -> None:
        """Begin to report `conn`."""
        conn.poll = lot = trio.lowlevel.ParkingLot()
        self._nursery.start_soon(self._watch, conn, lot)

    async def _watch(self, conn: Connection, lot: trio.lowlevel.ParkingLot) -> None:
        while not conn.has_ended:
            try:
                await trio.lowlevel.wait_readable(conn.sock)
            except trio.ClosedResourceError:
                return
            self._engine.readable(conn)
            self._woken.set()
            await lot.park()

    def rearm(self, conn: Connection, *, is_drained: bool) -> None:
        """Report `conn` again when it is readable."""
        del is_drained  # trio reports levels, not edges
        assert isinstance(conn.poll, trio.lowlevel.ParkingLot)
        conn.poll.unpark()

    def forget(self, conn: Connection) -> None:
        """Stop reporting `conn`."""
        assert isinstance(conn.poll, trio.lowlevel.ParkingLot)
        conn.poll.unpark_all()

    def close(self) -> None:
        """Nothing to do: the nursery ends the tasks."""


def _sync_data(fd: int) -> None:
    """Make bytes and length durable, through the drive's cache too (macOS needs to be asked for that)."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
        return
    import fcntl

    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)
