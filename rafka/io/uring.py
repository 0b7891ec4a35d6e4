"""The driver for Linux: one io_uring is all that the loop waits for.

Through the ring go the things that wait: a multishot poll per connection and listener, a one-shot poll for a
socket that is full, fdatasync, fsync of directories, reads. Receiving, sending and appending are direct system
calls: they never wait, and from Python a submission with its completion costs more than the call it replaces
(docs/decisions/0003-own-io-uring-ring.md has the numbers). An idle connection costs one poll request inside the
kernel, and nothing per turn.

A multishot poll reports edges: after it fires, the connection stays readable until a receive comes back short.
A hang-up in the same edge as the last bytes is remembered (`HUNG`), since no second edge will tell.

user_data of a submission: a number that is never used twice, times 8, plus its kind.
"""

import contextlib
import errno
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

from rafka.core.machine import Machine
from rafka.io.disk import Operation, Reading
from rafka.io.driver import Engine, calm_collector
from rafka.io.journal import Journal, journal
from rafka.io.ring import (
    FSYNC,
    FSYNC_DATASYNC,
    MORE,
    NOP,
    POLL_ADD,
    POLL_MULTISHOT,
    POLL_REMOVE,
    READ,
    Ring,
    address_of,
)
from rafka.io.sockets import Connection
from rafka.observe.tally import Tally

IGNORED, READABLE, ROOM, LISTENER, OPERATION, SIGNAL = range(6)
KINDS = 8
POLL_IN = select.POLLIN | select.POLLRDHUP
POLL_ENDED = select.POLLHUP | select.POLLERR | select.POLLRDHUP
HUNG = True
READ_MAX = 1 << 30
AGAIN = (-errno.EINTR, -errno.EAGAIN)
"""Results that say nothing of the file: the operation was not done, and is asked for once more."""
TERMINATING = (signal.SIGTERM, signal.SIGINT)


class UringDriver:
    """Runs a machine over an io_uring; also the poller of its own engine."""

    def __init__(self, notes: Journal | None = None, ring: Callable[[], Ring] = Ring) -> None:
        self._journal = notes if notes is not None else journal()
        self._make_ring = ring
        self._ring: Ring
        self._engine: Engine
        self.tally = Tally()
        self._operations: dict[int, Operation] = {}
        self._dirs: set[int] = set()
        """Those of the operations that are syncs of directories."""
        self._listeners: dict[int, socket.socket] = {}
        self._last_number = 0
        self._signal_from, self._signal_to = socket.socketpair()
        self._signal_from.setblocking(False)
        self._signal_to.setblocking(False)

    def run(self, machine: Machine, data_dir: str) -> int:
        """Take turns until the machine asks to Stop; give its exit code."""
        self._ring = self._make_ring()
        self._engine = Engine(machine, data_dir, self, self._journal, self.tally)
        try:
            with self._signals(), calm_collector():
                return self._loop()
        finally:
            self._abandon_operations()
            self._ring.close()
            self._engine.close()

    def _loop(self) -> int:
        engine, ring = self._engine, self._ring
        while (code := engine.turns()) is None:
            wait_ns = 0 if engine.is_busy else engine.wait_ns(time.monotonic_ns())
            ring.enter(wait_ns)
            found = ring.completions()
            if found:
                self._dispatch(found)
        ring.enter(0)  # closed sockets leave once their polls are taken back
        return code

    def _abandon_operations(self) -> None:
        """See the end of what is in flight: only if a turn raised. The kernel must not write into freed memory."""
        while self._operations:
            self._ring.enter(None)
            for user_data, _, _ in self._ring.completions():
                if user_data % KINDS == OPERATION:
                    del self._operations[user_data // KINDS]
        self._dirs.clear()

    def _dispatch(self, found: list[tuple[int, int, int]]) -> None:
        engine = self._engine
        connections = engine.connections
        for user_data, result, flags in found:
            kind = user_data % KINDS
            number = user_data // KINDS
            if kind == READABLE:
                conn = connections.get(number)
                if conn is None:
                    continue
                if result > 0 and result & POLL_ENDED:
                    conn.poll = HUNG
                if not flags & MORE:  # the kernel gave it up, for want of memory or room
                    self.watch(conn)
                engine.readable(conn)
            elif kind == OPERATION:
                self._completed(number, result)
            elif kind == ROOM:
                conn = connections.get(number)
                if conn is not None:
                    engine.writable(conn)
            elif kind == LISTENER:
                self._acceptable(number, flags)
            elif kind == SIGNAL:
                self._take_signals(flags)

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    # ---- connections ------------------------------------------------------------------------------

    def watch(self, conn: Connection) -> None:
        """Begin to report `conn` through `Engine.readable`."""
        self._ring.push(POLL_ADD, conn.fd, conn.id * KINDS + READABLE, length=POLL_MULTISHOT, flags=POLL_IN)

    def rearm(self, conn: Connection, *, is_drained: bool) -> None:
        """Report `conn` again: at once if there may be more, since no edge will tell."""
        if not is_drained or conn.poll is HUNG:
            self._engine.readable(conn)

    def await_room(self, conn: Connection) -> None:
        """Report `conn` through `Engine.writable` once its socket takes bytes again."""
        self._ring.push(POLL_ADD, conn.fd, conn.id * KINDS + ROOM, flags=select.POLLOUT)

    def forget(self, conn: Connection) -> None:
        """Take the polls of `conn` back: they would keep its socket open."""
        self._ring.push(POLL_REMOVE, -1, IGNORED, address=conn.id * KINDS + READABLE)
        if conn.is_blocked:
            self._ring.push(POLL_REMOVE, -1, IGNORED, address=conn.id * KINDS + ROOM)

    # ---- listeners --------------------------------------------------------------------------------

    def listen(self, listener: socket.socket) -> None:
        """Report `listener` through `Engine.acceptable`, again and again."""
        number = self._number()
        self._listeners[number] = listener
        self._poll_listener(number, listener)

    def _poll_listener(self, number: int, listener: socket.socket) -> None:
        user_data = number * KINDS + LISTENER
        self._ring.push(POLL_ADD, listener.fileno(), user_data, length=POLL_MULTISHOT, flags=select.POLLIN)

    def _acceptable(self, number: int, flags: int) -> None:
        listener = self._listeners.get(number)
        if listener is None:
            return
        if not flags & MORE:
            self._poll_listener(number, listener)
        self._engine.acceptable(listener)

    def listen_again(self, listener: socket.socket) -> None:
        """Nothing to do: the next client is a new edge."""

    def unlisten(self, listener: socket.socket) -> None:
        """Stop reporting `listener`."""
        for number in [number for number, known in self._listeners.items() if known is listener]:
            del self._listeners[number]
            self._ring.push(POLL_REMOVE, -1, IGNORED, address=number * KINDS + LISTENER)

    # ---- the disk ---------------------------------------------------------------------------------

    def sync(self, operation: Operation, *, is_dir: bool) -> None:
        """Make a descriptor's bytes durable."""
        number = self._remember(operation)
        if is_dir:
            self._dirs.add(number)
        flags = 0 if is_dir else FSYNC_DATASYNC
        self._ring.push(FSYNC, operation.fd, number * KINDS + OPERATION, flags=flags)

    def read(self, operation: Reading) -> None:
        """Read one piece; a read of nothing is a NOP, for there is no address of an empty buffer."""
        rest = operation.rest()
        user_data = self._remember(operation) * KINDS + OPERATION
        if not rest:
            self._ring.push(NOP, -1, user_data)
            return
        self._ring.push(
            READ,
            operation.fd,
            user_data,
            address=address_of(rest),
            length=min(len(rest), READ_MAX),
            offset=operation.position(),
        )

    def _remember(self, operation: Operation) -> int:
        number = self._number()
        self._operations[number] = operation
        return number

    def _completed(self, number: int, result: int) -> None:
        operation = self._operations.pop(number)
        is_dir = number in self._dirs
        if is_dir:
            self._dirs.remove(number)
        if result not in AGAIN:
            operation.finish(result)
        elif isinstance(operation, Reading):
            self.read(operation)
        else:
            self.sync(operation, is_dir=is_dir)

    # ---- signals ----------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Tell the machine to end, as SIGTERM does. The only method that another thread may call."""
        with contextlib.suppress(OSError):  # it has ended
            self._signal_to.send(bytes([signal.SIGTERM]))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into bytes of a socket that the ring polls; only the main thread gets them."""
        self._poll_signals()
        try:
            if threading.current_thread() is threading.main_thread():
                with self._handlers():
                    yield
            else:
                yield
        finally:
            self._signal_from.close()
            self._signal_to.close()

    @contextlib.contextmanager
    def _handlers(self) -> Iterator[None]:
        fd_before = signal.set_wakeup_fd(self._signal_to.fileno(), warn_on_full_buffer=False)
        handlers = [(number, signal.signal(number, lambda *_: None)) for number in TERMINATING]
        try:
            yield
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)

    def _poll_signals(self) -> None:
        fd = self._signal_from.fileno()
        self._ring.push(POLL_ADD, fd, SIGNAL, length=POLL_MULTISHOT, flags=select.POLLIN)

    def _take_signals(self, flags: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._signal_from.recv(64):
                if number in TERMINATING:
                    self._engine.terminated(number)
        if not flags & MORE:
            self._poll_signals()
