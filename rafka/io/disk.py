"""Disk effects in, disk events out: what runs at once, what runs in the background, and in which order.

Writes, truncations and changes of names are done at once, by direct system calls: into the page cache a write
costs less than handing it to anybody else. Syncs and reads may wait for the device, so they are given to the
driver's `Background`, which calls `finish(result)` on them some turns later, in any order.

Order on one file (law 2 of `effects.py`), with the least waiting that keeps it:

    Write, Truncate   start once no Read is in flight; a Sync in flight may cover more than it promised
    Read              starts at once, beside other Reads and a Sync
    Sync              starts once no other Sync is in flight, so syncs complete in order
    all of them       wait behind whatever already waits for this file

Names (Rename, Unlink) never wait: an operation under way holds its descriptor, not its name.
"""

import errno
import os
import time
from collections.abc import Callable
from typing import Protocol

from rafka.core.effects import (
    DiskEffect,
    Effect,
    List,
    MakeDir,
    Measure,
    Read,
    Rename,
    Sync,
    SyncDir,
    Truncate,
    Unlink,
    Write,
)
from rafka.core.events import DiskEvent, Done, Event, Failed, Listed, Loaded, Measured, Synced, Written
from rafka.core.types import File, Token
from rafka.io.files import Files, OpenFile, write_all
from rafka.io.reserve import first_room_at, reserve
from rafka.observe.tally import DIRECTORY, FILE, Tally


class Operation(Protocol):
    """Something in the background. fd: the descriptor it works on."""

    fd: int

    def finish(self, result: int) -> None:
        """Take the result: bytes read or 0, or a negated errno."""


class Background(Protocol):
    """Where a driver runs what may wait. Each call ends in exactly one `finish`, in a later turn."""

    def sync(self, operation: Operation, *, is_dir: bool) -> None:
        """Run fdatasync (fsync for a directory) on `operation.fd`."""

    def read(self, operation: "Reading") -> None:
        """Run one pread into `operation.rest()` at `operation.position()`."""


class Disk:
    """Performs disk effects for one machine. answers: where events go; pending: operations in flight."""

    def __init__(self, files: Files, background: Background, answers: list[Event], tally: Tally) -> None:
        self.files = files
        self.background = background
        self.answers = answers
        self.tally = tally
        self.pending = 0
        self.perform: dict[type[Effect], Callable[..., None]] = {
            Write: self._write,
            Sync: self._in_order,
            Read: self._in_order,
            Truncate: self._in_order,
            Rename: self._rename,
            Unlink: self._unlink,
            MakeDir: self._make_dir,
            SyncDir: self._sync_dir,
            List: self._list,
            Measure: self._measure,
        }

    def answer(self, event: DiskEvent) -> None:
        """Report an event, unless nobody asked and all went well."""
        if event.token or isinstance(event, Failed):
            self.answers.append(event)

    def synced(self, kind: int, began: int, result: int) -> None:
        """Count a sync that has ended. kind: FILE or DIRECTORY; began: monotonic ns."""
        self.tally.syncs[kind].add(time.monotonic_ns() - began)
        if result < 0:
            self.tally.sync_failures[kind] += 1

    def fail(self, file: File, token: Token, op: str, error: OSError) -> None:
        """Report a failure."""
        number = error.errno or errno.EIO
        self.answers.append(Failed(file, token, op, number, error.strerror or os.strerror(number)))

    # ---- one file's operations, in order --------------------------------------------------------

    def _write(self, effect: Write) -> None:
        try:
            opened = self.files.created(effect.file)
            if opened.reads or opened.waiting:
                self._wait(opened, effect)
                return
            if effect.position >= opened.room_at:
                opened.room_at = reserve(opened.fd, effect.position)
            write_all(opened.fd, effect.position, effect.buffers)
        except OSError as error:
            self.fail(effect.file, effect.token, "write", error)
            return
        if effect.token:
            self.answers.append(Written(effect.file, effect.token))

    def _in_order(self, effect: Sync | Read | Truncate) -> None:
        try:
            opened = self.files.existing(effect.file)
        except OSError as error:
            self.fail(effect.file, effect.token, type(effect).__name__.lower(), error)
            return
        if opened.waiting or not self._may_start(opened, effect):
            self._wait(opened, effect)
        else:
            self._start(opened, effect)

    def _wait(self, opened: OpenFile, effect: DiskEffect) -> None:
        opened.waiting.append(effect)
        self.files.hold(opened)
        self.pending += 1

    @staticmethod
    def _may_start(opened: OpenFile, effect: DiskEffect) -> bool:
        if isinstance(effect, Sync):
            return not opened.syncing
        return isinstance(effect, Read) or opened.reads == 0

    def _start(self, opened: OpenFile, effect: DiskEffect) -> None:
        if isinstance(effect, Sync):
            opened.syncing = True
            self._begin(opened)
            self.background.sync(Syncing(self, opened, effect), is_dir=False)
        elif isinstance(effect, Read):
            opened.reads += 1
            self._begin(opened)
            self.background.read(Reading(self, opened, effect))
        elif isinstance(effect, Truncate):
            self._truncate(opened, effect)
        else:
            assert isinstance(effect, Write)
            self._write_late(opened, effect)

    def _begin(self, opened: OpenFile) -> None:
        self.files.hold(opened)
        self.pending += 1

    def ended(self, opened: OpenFile) -> None:
        """Let go of a file after an operation, and start what waited for it."""
        while opened.waiting and self._may_start(opened, opened.waiting[0]):
            self._start(opened, opened.waiting.popleft())
            self._let_go(opened)
        self._let_go(opened)

    def _let_go(self, opened: OpenFile) -> None:
        self.pending -= 1
        self.files.release(opened)

    def _truncate(self, opened: OpenFile, effect: Truncate) -> None:
        try:
            os.ftruncate(opened.fd, effect.length)
            opened.room_at = first_room_at(opened.name)  # what was reserved after the end is gone
        except OSError as error:
            self.fail(effect.file, effect.token, "truncate", error)
            return
        self.answer(Done(effect.file, effect.token))

    def _write_late(self, opened: OpenFile, effect: Write) -> None:
        try:
            write_all(opened.fd, effect.position, effect.buffers)
        except OSError as error:
            self.fail(effect.file, effect.token, "write", error)
            return
        self.answer(Written(effect.file, effect.token))

    # ---- names ----------------------------------------------------------------------------------

    def _rename(self, effect: Rename) -> None:
        self._now(effect, "rename", lambda: self.files.rename(effect.file, effect.to))

    def _unlink(self, effect: Unlink) -> None:
        self._now(effect, "unlink", lambda: self.files.unlink(effect.file))

    def _make_dir(self, effect: MakeDir) -> None:
        self._now(effect, "makedir", lambda: self.files.make_dir(effect.file))

    def _now(self, effect: Rename | Unlink | MakeDir, op: str, change: Callable[[], None]) -> None:
        try:
            change()
        except OSError as error:
            self.fail(effect.file, effect.token, op, error)
            return
        self.answer(Done(effect.file, effect.token))

    def _list(self, effect: List) -> None:
        try:
            entries = self.files.list_dir(effect.file)
        except OSError as error:
            self.fail(effect.file, effect.token, "list", error)
            return
        self.answer(Listed(effect.file, effect.token, entries))

    def _measure(self, effect: Measure) -> None:
        try:
            total_bytes, usable_bytes = self.files.room(effect.file)
        except OSError as error:
            self.fail(effect.file, effect.token, "measure", error)
            return
        self.answer(Measured(effect.file, effect.token, total_bytes, usable_bytes))

    def _sync_dir(self, effect: SyncDir) -> None:
        try:
            fd = self.files.open_dir(effect.file)
        except OSError as error:
            self.fail(effect.file, effect.token, "syncdir", error)
            return
        if fd is None:
            self.answer(Done(effect.file, effect.token))
            return
        self.pending += 1
        self.background.sync(SyncingDir(self, fd, effect), is_dir=True)


class Syncing:
    """One fdatasync in flight."""

    __slots__ = ("began", "disk", "effect", "fd", "opened")

    def __init__(self, disk: Disk, opened: OpenFile, effect: Sync) -> None:
        self.began = time.monotonic_ns()
        self.disk = disk
        self.opened = opened
        self.effect = effect
        self.fd = opened.fd

    def finish(self, result: int) -> None:
        """Answer Synced or Failed, and let the next one start."""
        effect = self.effect
        self.opened.syncing = False
        self.disk.synced(FILE, self.began, result)
        if result < 0:
            self.disk.fail(effect.file, effect.token, "sync", OSError(-result, os.strerror(-result)))
        else:
            self.disk.answer(Synced(effect.file, effect.token))
        self.disk.ended(self.opened)


class SyncingDir:
    """One fsync of a directory in flight; owns its descriptor."""

    __slots__ = ("began", "disk", "effect", "fd")

    def __init__(self, disk: Disk, fd: int, effect: SyncDir) -> None:
        self.began = time.monotonic_ns()
        self.disk = disk
        self.fd = fd
        self.effect = effect

    def finish(self, result: int) -> None:
        """Answer Done or Failed."""
        os.close(self.fd)
        self.disk.pending -= 1
        self.disk.synced(DIRECTORY, self.began, result)
        if result < 0:
            error = OSError(-result, os.strerror(-result))
            self.disk.fail(self.effect.file, self.effect.token, "syncdir", error)
        else:
            self.disk.answer(Done(self.effect.file, self.effect.token))


class Reading:
    """One Read in flight; a short one goes on until the end of the file."""

    __slots__ = ("buffer", "disk", "effect", "fd", "filled", "opened")

    def __init__(self, disk: Disk, opened: OpenFile, effect: Read) -> None:
        self.disk = disk
        self.opened = opened
        self.effect = effect
        self.fd = opened.fd
        self.buffer = bytearray(effect.length)
        self.filled = 0

    def rest(self) -> memoryview:
        """Give the part of the buffer that is still empty."""
        return memoryview(self.buffer)[self.filled :]

    def position(self) -> int:
        """Give the position in the file of what is still missing."""
        return self.effect.position + self.filled

    def finish(self, result: int) -> None:
        """Take one piece; answer Loaded or Failed once there is no more to come."""
        effect = self.effect
        if result > 0:
            self.filled += result
            assert self.filled <= effect.length
            if self.filled < effect.length:
                self.disk.background.read(self)
                return
        self.opened.reads -= 1
        if result < 0:
            self.disk.fail(effect.file, effect.token, "read", OSError(-result, os.strerror(-result)))
        else:
            self.disk.answer(Loaded(effect.file, effect.token, bytes(memoryview(self.buffer)[: self.filled])))
        self.disk.ended(self.opened)
