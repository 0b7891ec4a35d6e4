"""The thread behind a blocking client: it selects on sockets, drives the machine, and wakes who waits.

The machine is touched by this thread and by the users', under one lock; the thread does not hold it while it selects,
looks up names or sends. A user who has changed something pokes the thread, if it sleeps longer than it now should.
"""

import os
import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Any, TypeVar, cast

import attrs

from rafka.client.driving import NEVER, Driving
from rafka.client.machine import ClientMachine
from rafka.client.outputs import Pending
from rafka.client.world import now
from rafka.core.types import Buffer, MonoNs

T = TypeVar("T")
RECEIVE_BYTES = 256 << 10
LINGER_S = 1.0
"""How long links may take to send what is left when a client ends."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


@attrs.define(eq=False)
class Link:
    """One connection, or the attempt at one. addresses: those to try next; is_ending: close once all is sent."""

    number: int
    addresses: deque[Address]
    sock: socket.socket | None = None
    is_connected: bool = False
    is_ending: bool = False
    unsent: deque[memoryview] = attrs.field(factory=deque)


class SelectingDriver(Driving):
    """Drives a machine in a thread of its own, from now until `stop`."""

    def __init__(self, machine: ClientMachine) -> None:
        super().__init__(machine)
        self.lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._links: dict[int, Link] = {}
        self._dials: list[tuple[int, str, int]] = []
        self._ours, self._theirs = socket.socketpair()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        self._selector.register(self._ours, selectors.EVENT_READ)
        self._is_poked = False
        self._is_stopping = False
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rafka-client", daemon=True)
        self._thread.start()

    def wait(self, pending: Pending[T], timeout_s: float | None = None) -> bool:
        """Wait until a result is there, or for so long; say whether it is. Raises what the thread raised."""
        with self.lock:
            if not pending.is_done:
                pending.waiter = pending.waiter or threading.Event()
            event = pending.waiter
        if event is not None:
            cast("threading.Event", event).wait(timeout_s)
        if self._crash is not None:
            raise self._crash
        return pending.is_done

    def stop(self) -> None:
        """End every link and the thread. Stopping again does nothing."""
        with self.lock:
            self.machine.abandon()
            self._is_stopping = True
            self._knock()
        self._thread.join()

    # ---- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._go_round()
            self._send_the_rest()
        except BaseException as error:  # noqa: BLE001 – raised where somebody waits
            self._crash = error
            with self.lock:
                self.machine.abandon()
                for output in self.machine.drain():
                    self._perform(output)
        finally:
            for link in self._links.values():
                if link.sock is not None:
                    link.sock.close()
            self._selector.close()
            self._ours.close()
            self._theirs.close()

    def _go_round(self) -> None:
        with self.lock:
            self._is_poked = False
            self.turn()
            dials, self._dials = self._dials, []
        for number, host, port in dials:
            self._begin(number, host, port)
        with self.lock:
            due = MonoNs(0) if self._is_stopping else self._armed
        timeout_s = None if due == NEVER else max(due - now().mono, 0) / 1e9
        for key, mask in self._selector.select(timeout_s):
            if key.data is None:
                self._listen()
            else:
                self._serve(key.data, mask)

    def _send_the_rest(self) -> None:
        with self.lock:
            self.turn()
        give_up = now().mono + int(LINGER_S * 1e9)
        while any(link.unsent for link in self._links.values()) and now().mono < give_up:
            for key, mask in self._selector.select(LINGER_S):
                if key.data is not None and mask & selectors.EVENT_WRITE:
                    self._serve(key.data, selectors.EVENT_WRITE)

    def _begin(self, number: int, host: str, port: int) -> None:
        """Look up a name and connect to its first address."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            with self.lock:
                self.machine.lost(number, now(), str(error))
                self._armed = MonoNs(0)
            return
        link = Link(number, deque((one[0], one[4]) for one in found))
        with self.lock:
            self._links[number] = link
        self._connect(link, "no address")

    def _connect(self, link: Link, reason: str) -> None:
        """Try the next address; the link is lost when there is none left."""
        while link.addresses:
            family, address = link.addresses.popleft()
            try:
                link.sock = socket.socket(family, socket.SOCK_STREAM)
                link.sock.setblocking(False)
                link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with suppress(BlockingIOError):
                    link.sock.connect(address)
                self._selector.register(link.sock, selectors.EVENT_WRITE, link)
            except OSError as error:
                reason = str(error)
                self._drop(link)
            else:
                return
        self._lost(link, reason)

    def _serve(self, link: Link, mask: int) -> None:
        sock = link.sock
        if sock is None:
            return  # hung up in this round
        try:
            if not link.is_connected:
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self._drop(link)
                    self._connect(link, os.strerror(error))
                    return
                link.is_connected = True
                self._watch(link)
                with self.lock:
                    self.stands(link.number)
            elif mask & selectors.EVENT_READ:
                data = sock.recv(RECEIVE_BYTES)
                if not data:
                    self._lost(link, "the broker closed the connection")
                    return
                with self.lock:
                    self.came(link.number, memoryview(data))
            if mask & selectors.EVENT_WRITE and link.sock is not None:
                self._write(link)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(link, str(error))

    def _write(self, link: Link) -> None:
        """Send as much as goes."""
        assert link.sock is not None
        with self.lock:
            try:
                while link.unsent:
                    sent = link.sock.send(link.unsent[0])
                    if sent == len(link.unsent[0]):
                        link.unsent.popleft()
                    else:
                        link.unsent[0] = link.unsent[0][sent:]
            finally:
                self._watch(link)
            if link.is_ending:
                self._drop(link)
                self._links.pop(link.number, None)

    def _watch(self, link: Link) -> None:
        if link.sock is not None:
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.unsent else 0)
            self._selector.modify(link.sock, mask, link)

    def _lost(self, link: Link, reason: str) -> None:
        self._drop(link)
        with self.lock:
            self._links.pop(link.number, None)
            self.ended(link.number, reason)

    def _drop(self, link: Link) -> None:
        sock, link.sock = link.sock, None
        if sock is not None:
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            sock.close()

    def _listen(self) -> None:
        while True:
            try:
                if not self._ours.recv(4096):
                    return
            except (BlockingIOError, InterruptedError):
                return

    def _knock(self) -> None:
        """Wake the thread from its select."""
        if not self._is_poked and threading.current_thread() is not self._thread:
            self._is_poked = True
            try:
                self._theirs.send(b"!")
            except OSError:
                self._is_poked = False  # it has ended, or has been knocked at more than it can hold

    # ---- what a turn asks for --------------------------------------------------------------------------

    def _dial(self, link: int, host: str, port: int) -> None:
        self._dials.append((link, host, port))
        self._armed = MonoNs(0)

    def _transmit(self, link: int, data: Buffer) -> None:
        known = self._links.get(link)
        if known is not None and known.sock is not None:
            known.unsent.append(memoryview(data))
            if known.is_connected:
                self._watch(known)

    def _hang_up(self, link: int) -> None:
        self._dials = [dial for dial in self._dials if dial[0] != link]
        known = self._links.get(link)
        if known is None:
            return
        known.is_ending = True
        if not known.unsent:
            self._drop(known)
            del self._links[link]

    def _wake(self, waiter: object) -> None:
        cast("threading.Event", waiter).set()

    def _arm(self) -> None:
        if self._dials:
            self._armed = MonoNs(0)
        self._knock()
