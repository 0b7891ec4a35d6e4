"""The turn against the real world: everything a driver does except waiting.

    loop:  wait for readiness, completions, a signal or the deadline       (the driver: uring.py, portable.py)
           receive once from every readable connection                     ┐
           handle each event, tick, drain                                  ├ Engine.turn
           perform the effects, then flush each connection that has bytes  ┘

A small answer to a connection that nothing else waits for is sent at once, as one of the effects.

What is done directly (writes, names, listening) answers with events of the next turn, so while `Engine.is_busy`
the driver must not wait. A connection gives at most one Received a turn: a Fill that answers it is in force
before the next receive. How a driver waits is behind `Poller`.

Ends: a peer that went away, an error, a Close that is out, or a Close whose bytes the peer did not take within
`CLOSE_GRACE_NS`; each gives exactly one Disconnected. After Stop the machine is not called again: connections
flush for at most `STOP_GRACE_NS`, disk operations run to their end, and `turn` returns the code.
"""

import contextlib
import errno
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rafka.core.effects import Close, Effect, Fill, Listen, Note, Pause, Resume, Send, Stop
from rafka.core.events import Connected, Disconnected, Event, Failed, Filled, Listening, Received, Terminated
from rafka.core.machine import Machine
from rafka.core.types import ConnId, File, FileSlice
from rafka.io.clock import now as read_clock
from rafka.io.disk import Background, Disk
from rafka.io.files import Files
from rafka.io.journal import Journal
from rafka.io.sockets import (
    BLOCKED,
    MORE,
    SENDFILE_MIN,
    SENT,
    TURN_BYTES,
    Connection,
    Slab,
    SliceError,
    listening_socket,
    prepare,
)
from rafka.observe.tally import Tally

ACCEPT_PAUSE_NS = 100_000_000
"""How long nobody is accepted once descriptors have run out."""
CLOSE_GRACE_NS = 10_000_000_000
STOP_GRACE_NS = 1_000_000_000
ACCEPTS_A_TURN = 64
FILES_MIN, FILES_MAX = 16, 4096
"""Of all descriptors a quarter is for files, within these bounds; connections never take those."""
DESCRIPTORS_KEPT = 16
"""For all else: the ring, listeners, standard streams, directories under a sync."""
TURN_BYTES_MAX = 4 << 20
"""What all connections together may receive, and send, in one turn (1 ms or so): the others come first in the
next. So whoever asks for little waits for a few MiB at most, however many ask for much."""
CLOSE_DRAINS = 16
AT_ONCE_MAX = 16 << 10
"""An answer up to this size does not wait for its turn to be flushed."""
UNSENT_MAX = 1 << 20
"""A connection with more than this unsent is not read from, until it is down to half (law 7)."""
UNSENT_ALL_MAX = 256 << 20
"""The same for all connections whose peer does not take its bytes: each has its share of this, if that is less."""
GC_THRESHOLD = 50_000
"""Net new containers before a young collection. The core makes no cycles on its hot paths, so the default of
700 only walks what is alive: measured in docs/decisions/0003."""


class Driver(Protocol):
    """Runs one machine against the real world. tally: what it counts meanwhile."""

    tally: Tally

    def run(self, machine: Machine, data_dir: str) -> int:
        """Take turns until the machine asks to Stop; give its exit code. data_dir: exists, and is ours alone."""

    def terminate(self) -> None:
        """Tell the machine to end, as SIGTERM does. Any thread may call it, once and while `run` runs or before."""


class Poller(Background, Protocol):
    """How a driver learns that something is ready. Its calls never block."""

    def watch(self, conn: Connection) -> None:
        """Begin to report `conn` through `Engine.readable`."""

    def rearm(self, conn: Connection, *, is_drained: bool) -> None:
        """Report `conn` again when it is readable. is_drained: the last receive found its end."""

    def await_room(self, conn: Connection) -> None:
        """Report `conn` through `Engine.writable` once its socket takes bytes again."""

    def forget(self, conn: Connection) -> None:
        """Stop reporting `conn`; its socket is closed right after."""

    def listen(self, listener: socket.socket) -> None:
        """Report `listener` through `Engine.acceptable`, again and again."""

    def listen_again(self, listener: socket.socket) -> None:
        """Nobody waits at `listener` any more: report the next one."""

    def unlisten(self, listener: socket.socket) -> None:
        """Stop reporting `listener`; it is closed right after."""


class Engine:
    """Turns of one machine. The driver calls readable, writable, acceptable, terminated and turn."""

    def __init__(
        self, machine: Machine, data_dir: str, poller: Poller, journal: Journal, tally: Tally
    ) -> None:
        limit = raise_descriptor_limit()
        self.machine = machine
        self.poller = poller
        self.journal = journal
        self.events: list[Event] = []
        self.files = Files(data_dir, max(FILES_MIN, min(limit // 4, FILES_MAX)))
        self.connections_max = max(1, limit - self.files.limit - DESCRIPTORS_KEPT)
        self.disk = Disk(self.files, poller, self.events, tally)
        self.tally = tally
        self.connections: dict[int, Connection] = {}
        self.listeners: list[socket.socket] = []
        self.exit_code: int | None = None
        self._slab = Slab()
        self._ready: list[Connection] = []
        self._unflushed: list[Connection] = []
        self._acceptable: list[socket.socket] = []
        self._accept_at = 0
        self._is_refusing = False
        self._closing: dict[int, int] = {}
        self._blocked = 0
        self._unsent_max = UNSENT_MAX
        self._stop_at = 0
        self._last_conn = 0
        self._reserve = _reserve()
        self._perform: dict[type[Effect], Callable[..., None]] = {
            **self.disk.perform,
            Send: self._send,
            Fill: self._fill,
            Pause: self._pause,
            Resume: self._resume,
            Close: self._close,
            Listen: self._listen,
            Note: journal,
            Stop: self._stop,
        }

    # ---- what the poller says -----------------------------------------------------------------------

    def readable(self, conn: Connection) -> None:
        """Take note that `conn` has bytes, or its end, to give."""
        if not conn.is_readable:
            conn.is_readable = True
            self._ready.append(conn)

    def writable(self, conn: Connection) -> None:
        """Take note that `conn` takes bytes again."""
        if conn.has_ended:
            return
        self._count_blocked(conn, is_blocked=False)
        if not conn.is_queued:
            conn.is_queued = True
            self._unflushed.append(conn)

    def acceptable(self, listener: socket.socket) -> None:
        """Take note that somebody wants to connect."""
        if listener not in self._acceptable:
            self._acceptable.append(listener)

    def terminated(self, number: int) -> None:
        """Take note of a signal."""
        self.events.append(Terminated(signal.Signals(number).name))

    # ---- the turn -----------------------------------------------------------------------------------

    def turns(self) -> int | None:
        """Take a turn, and the next right behind it if that left answers of the disk: writes are answered at once.

        Gives the exit code once all is done, None before. In between nobody is asked what else has happened, which
        saves a system call for every batch of appends.
        """
        code = self.turn()
        return self.turn() if code is None and self.events else code

    def turn(self) -> int | None:
        """Take one turn; the exit code once all is done, None before."""
        now = read_clock()
        if self._acceptable and now.mono >= self._accept_at:
            self._accept_all(now.mono)
        if self._ready:
            self._receive_all()
        if self._closing:
            self._end_overdue(now.mono)
        if self.exit_code is not None:
            return self._stopping(now.mono)
        events = self.events[:]
        self.events.clear()
        machine = self.machine
        handle = machine.handle
        for event in events:
            handle(event, now)
        machine.tick(now)
        perform = self._perform
        for effect in machine.drain():
            perform[type(effect)](effect)
            if self._stop_at:
                break
        if self._unflushed:
            self._flush_all()
        self.tally.turns.add(time.monotonic_ns() - now.mono)
        return None

    @property
    def is_busy(self) -> bool:
        """Whether the next turn must follow at once."""
        if self.events or self._ready or self._unflushed:
            return True
        return bool(self._acceptable) and not self._accept_at

    def wait_ns(self, now: int) -> int | None:
        """Say how long the driver may wait for something to happen; None: for ever. now: monotonic ns."""
        if self.is_busy:
            return 0
        if self.exit_code is not None:
            return max(0, min(self._stop_at - now, 50_000_000))
        due: int | None = self.machine.deadline()
        if self._acceptable:
            due = self._accept_at if due is None else min(due, self._accept_at)
        if self._closing:
            first = min(self._closing.values())
            due = first if due is None else min(due, first)
        return None if due is None else max(0, due - now)

    # ---- receiving ----------------------------------------------------------------------------------

    def _receive_all(self) -> None:
        ready, self._ready = self._ready, []
        share = TURN_BYTES_MAX
        slab, events, rearm = self._slab, self.events, self.poller.rearm
        for index, conn in enumerate(ready):
            if share <= 0:
                self._ready = ready[index:] + self._ready
                break
            if conn.is_paused or conn.is_choked or conn.has_ended:
                continue  # stays readable; Resume looks again
            conn.is_readable = False
            try:
                if conn.fill is not None:
                    share -= self._receive_fill(conn, conn.fill)
                    continue
                data = slab.receive(conn.sock)
                if not data:
                    self._end(conn, "closed by the peer")
                    continue
                events.append(Received(conn.id, data))
                rearm(conn, is_drained=not slab.is_full)
                share -= len(data)
            except BlockingIOError:
                self.poller.rearm(conn, is_drained=True)
            except OSError as error:
                self._end(conn, error.strerror or "connection lost")
        self.tally.received_bytes += TURN_BYTES_MAX - share

    def _receive_fill(self, conn: Connection, buffer: memoryview) -> int:
        rest = buffer[conn.filled : conn.filled + TURN_BYTES]
        count = conn.sock.recv_into(rest)
        if not count:
            self._end(conn, "closed by the peer")
            return 0
        conn.filled += count
        if conn.filled == len(buffer):
            conn.fill = None
            self.events.append(Filled(conn.id))
        self.poller.rearm(conn, is_drained=count < len(rest))
        return count

    def _fill(self, effect: Fill) -> None:
        conn = self.connections.get(effect.conn)
        if conn is not None:
            assert conn.fill is None
            assert len(effect.buffer)
            conn.fill = effect.buffer
            conn.filled = 0

    def _pause(self, effect: Pause) -> None:
        conn = self.connections.get(effect.conn)
        if conn is not None:
            conn.is_paused = True

    def _resume(self, effect: Resume) -> None:
        conn = self.connections.get(effect.conn)
        if conn is not None and conn.is_paused and conn.closing is None:
            conn.is_paused = False
            self._look_again(conn)

    def _look_again(self, conn: Connection) -> None:
        if conn.is_readable and not conn.is_paused and not conn.is_choked and conn not in self._ready:
            self._ready.append(conn)

    # ---- sending ------------------------------------------------------------------------------------

    def _send(self, effect: Send) -> None:
        conn = self.connections.get(effect.conn)
        if conn is None or conn.closing is not None:
            return
        pieces = effect.pieces
        if len(pieces) == 1 and not conn.outgoing and not conn.is_blocked:
            first = pieces[0]
            if not isinstance(first, FileSlice) and len(first) <= AT_ONCE_MAX:
                try:
                    sent = conn.sock.send(first)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    self._end(conn, error.strerror or "connection lost")
                    return
                if sent == len(first):
                    return  # nearly always
                pieces = (memoryview(first)[sent:],)
        try:
            conn.push(pieces, self.files)
        except OSError as error:
            self._slice_failed(conn, f"not there: {error.strerror}")
            return
        if conn.unsent > self._unsent_max:
            conn.is_choked = True
        if not conn.is_queued and not conn.is_blocked:
            conn.is_queued = True
            self._unflushed.append(conn)

    def _flush_all(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        postponed: list[Connection] = []
        share = TURN_BYTES_MAX
        for conn in unflushed:
            if share <= 0 and conn.unsent >= SENDFILE_MIN:
                postponed.append(conn)
                continue
            conn.is_queued = False
            if conn.has_ended or conn.is_blocked:
                continue
            share -= self._flush(conn)
        self.tally.sent_bytes += TURN_BYTES_MAX - share
        if postponed:
            self._unflushed = postponed + self._unflushed

    def _flush(self, conn: Connection) -> int:
        """Send what can be sent now; give how much that was."""
        before = conn.unsent
        try:
            found = conn.flush(self.files)
        except SliceError as error:
            self._slice_failed(conn, str(error))
            return 0
        except OSError as error:
            self._end(conn, error.strerror or "connection lost")
            return 0
        unsent = conn.unsent
        if found == MORE:
            conn.is_queued = True
            self._unflushed.append(conn)
        elif found == BLOCKED:
            self._count_blocked(conn, is_blocked=True)
            self.poller.await_room(conn)
        else:
            assert found == SENT
            if conn.closing is not None:
                self._end_closed(conn, conn.closing)
                return before
        if conn.is_choked and unsent <= self._unsent_max // 2:
            conn.is_choked = False
            self._look_again(conn)
        return before - unsent

    def _count_blocked(self, conn: Connection, *, is_blocked: bool) -> None:
        """Share what may wait unsent among those whose peers do not take it."""
        assert conn.is_blocked != is_blocked
        conn.is_blocked = is_blocked
        self._blocked += 1 if is_blocked else -1
        self._unsent_max = min(UNSENT_MAX, UNSENT_ALL_MAX // (self._blocked or 1))

    def _slice_failed(self, conn: Connection, why: str) -> None:
        self.journal(Note("error", "slice not sent", {"conn": conn.id, "why": why}))
        self._end(conn, f"a file to be sent is {why}")

    # ---- the end of a connection --------------------------------------------------------------------

    def _close(self, effect: Close) -> None:
        conn = self.connections.get(effect.conn)
        if conn is None or conn.closing is not None:
            return
        conn.closing = effect.reason
        conn.is_paused = True
        if conn.outgoing:
            self._closing[conn.id] = read_clock().mono + CLOSE_GRACE_NS
        elif not conn.has_ended:
            self._end_closed(conn, effect.reason)

    def _end_closed(self, conn: Connection, reason: str) -> None:
        """End a connection that has sent all. A socket closed with bytes unread resets its peer, who may then
        never see the last answer: so what has come is thrown away first.
        """
        with contextlib.suppress(OSError):
            for _ in range(CLOSE_DRAINS):
                if not conn.sock.recv(1 << 16):
                    break
        self._end(conn, reason)

    def _end_overdue(self, now: int) -> None:
        for conn_id in [conn_id for conn_id, due in self._closing.items() if due <= now]:
            conn = self.connections[conn_id]
            assert conn.closing is not None
            self._end(conn, conn.closing)

    def _end(self, conn: Connection, reason: str) -> None:
        assert not conn.has_ended
        conn.has_ended = True
        self._closing.pop(conn.id, None)
        conn.discard(self.files)
        conn.fill = None
        self.poller.forget(conn)
        if conn.is_blocked:
            self._count_blocked(conn, is_blocked=False)
        conn.sock.close()
        del self.connections[conn.id]
        self.events.append(Disconnected(conn.id, reason))

    # ---- listening ----------------------------------------------------------------------------------

    def _listen(self, effect: Listen) -> None:
        try:
            listener = listening_socket(effect.host, effect.port)
        except OSError as error:
            address = File(f"{effect.host}:{effect.port}")
            number = error.errno if error.errno is not None and error.errno > 0 else errno.EADDRNOTAVAIL
            text = error.strerror or os.strerror(number)
            self.events.append(Failed(address, effect.token, "listen", number, text))
            return
        self.listeners.append(listener)
        self.poller.listen(listener)
        self.events.append(Listening(effect.token, effect.host, listener.getsockname()[1]))

    def _accept_all(self, now: int) -> None:
        self._accept_at = 0
        for listener in self._acceptable[:]:
            for _ in range(ACCEPTS_A_TURN):
                try:
                    sock, peer = listener.accept()
                except BlockingIOError:
                    self._acceptable.remove(listener)
                    self._is_refusing = False
                    self.poller.listen_again(listener)
                    break
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        self._turn_away()
                        self._pause_accepting(os.strerror(error.errno), now)
                        return
                    continue  # the peer gave up before we took it
                if len(self.connections) >= self.connections_max:
                    sock.close()
                    self.tally.turned_away += 1
                    self._pause_accepting(os.strerror(errno.EMFILE), now)
                    return
                self._accepted(sock, peer)

    def _accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        try:
            prepare(sock)
            local = sock.getsockname()
        except OSError:  # gone already
            sock.close()
            return
        self._last_conn += 1
        conn = Connection(ConnId(self._last_conn), sock)
        self.connections[conn.id] = conn
        self.events.append(Connected(conn.id, f"{peer[0]}:{peer[1]}", local[0], local[1]))
        self.poller.watch(conn)

    def _turn_away(self) -> None:
        """Accept and close one client with the reserve descriptor, so that it is not left hanging."""
        if self._reserve is not None:
            os.close(self._reserve)
            for listener in self._acceptable:
                with contextlib.suppress(OSError):
                    listener.accept()[0].close()
                    self.tally.turned_away += 1
        self._reserve = _reserve()

    def _pause_accepting(self, why: str, now: int) -> None:
        self._accept_at = now + ACCEPT_PAUSE_NS
        if not self._is_refusing:  # one line for a whole shortage
            self.journal(Note("warning", "accepting paused", {"error": why, "open": len(self.connections)}))
        self._is_refusing = True

    # ---- the end ------------------------------------------------------------------------------------

    def _stop(self, effect: Stop) -> None:
        self.exit_code = effect.code
        self._stop_at = read_clock().mono + STOP_GRACE_NS
        for listener in self.listeners:
            self.poller.unlisten(listener)
            listener.close()
        self.listeners.clear()
        self._acceptable.clear()
        for conn in self.connections.values():
            conn.is_paused = True

    def _stopping(self, now: int) -> int | None:
        """Go on flushing and syncing; the code once nothing is left, or the time is up."""
        self.events.clear()
        if self._unflushed:
            self._flush_all()
        unsent = any(conn.outgoing for conn in self.connections.values())
        if self.disk.pending or (unsent and now < self._stop_at):
            self.events.clear()
            return None
        for conn in list(self.connections.values()):
            self._end(conn, "the broker stops")
        self.close()
        return self.exit_code

    def close(self) -> None:
        """Close all that is open; after a turn that raised, too."""
        for conn in self.connections.values():
            conn.discard(self.files)
            conn.sock.close()
        self.connections.clear()
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
        self.files.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def _reserve() -> int | None:
    """Open a descriptor that is given up when there are no others."""
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def raise_descriptor_limit() -> int:
    """Lift the soft limit of open files to the hard one; give what holds now."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 20 if hard == resource.RLIM_INFINITY else min(hard, 1 << 20)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


@contextlib.contextmanager
def calm_collector() -> Iterator[None]:
    """Let the collector of cycles leave alone what start-up made, and look seldom at the rest."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
