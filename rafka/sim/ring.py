"""The other side of an io_uring, simulated: real descriptors, but chance decides when and how things complete.

The ring is the same memory, laid out as <linux/io_uring.h> says, so the code under test is all of `rafka.io`'s:
the arithmetic of its queues, what it makes of results, and how long it keeps buffers and descriptors. What a
kernel may do and seldom does happens here all the time:

    completions      late, in any order, short (reads), -EINTR, -EAGAIN; multishot polls given up, with or
                     without an error; polls that fire although they are being taken back
    enter            takes a part of the submissions, or none (EAGAIN); is interrupted (EINTR); keeps completions
                     back while the queue is full, and refuses submissions meanwhile (EBUSY, as before Linux 5.19)
    the counters     start just below 2^32

Time is the number of enters; only when nothing else can happen does it wait for the real descriptors. Edges of
readiness are the real kernel's, through an edge-triggered epoll. What no kernel forgives is asserted: an operation
whose descriptor was closed or reused before its completion, or a ring closed while a read is in flight.
"""

import ctypes
import errno
import mmap
import os
import select
import struct
from collections import deque
from heapq import heappop, heappush
from typing import Any

import attrs

from rafka.core.shape import value
from rafka.sim.chance import Chance

SETUP = 425
SETUP_CQSIZE = 1 << 3
FEATURES = (1 << 0) | (1 << 1) | (1 << 8)
"""One mmap for both queues, no dropped completions, a timeout for enter."""
SQES_OFFSET = 0x10000000
GETEVENTS, EXT_ARG = 1 << 0, 1 << 3
NOP, FSYNC, POLL_ADD, POLL_REMOVE, READ = 0, 3, 6, 7, 22
FSYNC_DATASYNC = 1
MULTISHOT = 1
MORE = 1 << 1

_SQE = struct.Struct("<BBHiQQIIQQQQ")
_CQE = struct.Struct("<QiI")
SQ_HEAD, SQ_TAIL, CQ_HEAD, CQ_TAIL = 0, 1, 16, 17
"""Where the counters are, in words."""
SQ_ARRAY = 128
COUNTERS_FROM = 0xFFFFFFF0
WORD = 0xFFFFFFFF


@value
class Habits:
    """How likely (0 to 1) each kind of trouble is, and how late completions come at most, in enters."""

    late: int = 4
    short: float = 0.3
    again: float = 0.1
    interrupted: float = 0.05
    partial: float = 0.1
    given_up: float = 0.1


CALM = Habits(late=0, short=0.0, again=0.0, interrupted=0.0, partial=0.0, given_up=0.0)


@attrs.define(eq=False)
class _Asked:
    """One submission that has been taken."""

    opcode: int
    fd: int
    offset: int
    address: int
    length: int
    flags: int
    user_data: int
    identity: tuple[int, int] = (0, 0)
    """Device and inode of its descriptor when it was submitted."""


@attrs.define(eq=False)
class _Poll:
    """A poll request. fd: a duplicate, since a poll keeps its file open."""

    user_data: int
    fd: int
    is_multishot: bool


class Kernel:
    """One simulated kernel with one ring. fired: what kinds of trouble there were, and how often."""

    def __init__(self, chance: Chance, habits: Habits = CALM, refused_flags: int = 0) -> None:
        self.fired: dict[str, int] = {}
        self.failures: dict[int, list[int]] = {}
        """Opcode to error numbers, each given once instead of a result."""
        self._chance = chance
        self._habits = habits
        self._refused_flags = refused_flags
        self._tick = 0
        self._count = 0
        self._due: list[tuple[int, int, _Asked]] = []
        self._posting: list[tuple[int, int, tuple[int, int, int]]] = []
        self._overflow: deque[tuple[int, int, int]] = deque()
        self._polls: dict[int, _Poll] = {}
        self._epoll: select.epoll

    # ---- the system calls -------------------------------------------------------------------------

    def syscall(self, number: int, *arguments: Any) -> int:
        """Set up or enter; failures as the C library tells them."""
        if number == SETUP:
            entries, params_at = arguments
            result = self._setup(entries, params_at.value)
        else:
            _, count, least, flags, arg_at, _ = arguments
            result = self._enter(count, least, flags, _timeout(arg_at.value) if flags & EXT_ARG else None)
        if result < 0:
            ctypes.set_errno(-result)
            return -1
        return result

    def map(self, fd: int, size: int, offset: int) -> mmap.mmap:
        """Give the memory of the queues, or of the submissions."""
        assert fd == self._epoll.fileno()
        found = self._sqes if offset == SQES_OFFSET else self._ring
        assert size <= len(found)
        return found

    def close(self, fd: int) -> None:
        """Take the ring back."""
        assert fd == self._epoll.fileno()
        assert not any(asked.opcode == READ for _, _, asked in self._due), (
            "memory is written to after its end"
        )
        for user_data in list(self._polls):
            self._drop(user_data)
        self._epoll.close()

    def _setup(self, entries: int, params_at: int) -> int:
        params = (ctypes.c_uint32 * 30).from_address(params_at)
        if params[2] & self._refused_flags:
            return -errno.EINVAL
        assert params[2] & SETUP_CQSIZE
        self._sq_entries = 1 << (entries - 1).bit_length()
        self._cq_entries = 1 << (params[1] - 1).bit_length()
        self._cqes = SQ_ARRAY + -(-4 * self._sq_entries // 16) * 16
        params[0], params[1], params[5] = self._sq_entries, self._cq_entries, FEATURES
        params[10:20] = [4 * SQ_HEAD, 4 * SQ_TAIL, 8, 12, 16, 20, SQ_ARRAY, 0, 0, 0]
        params[20:30] = [4 * CQ_HEAD, 4 * CQ_TAIL, 72, 76, 80, self._cqes, 0, 0, 0, 0]
        self._ring = mmap.mmap(-1, self._cqes + _CQE.size * self._cq_entries)
        self._sqes = mmap.mmap(-1, _SQE.size * self._sq_entries)
        for at in (SQ_HEAD, SQ_TAIL, CQ_HEAD, CQ_TAIL):
            self._set(at, COUNTERS_FROM)
        self._epoll = select.epoll()
        return self._epoll.fileno()

    def _enter(self, count: int, least: int, flags: int, timeout_s: float | None) -> int:
        self._tick += 1
        taken = self._submit(count)
        if flags & GETEVENTS:
            self._flush_overflow()
        self._look(0)
        self._complete()
        if taken < 0 or taken < count:
            return taken  # a kernel that could not take all does not wait
        if not least or self._waiting:
            return taken
        waited = self._wait(timeout_s)
        return taken or waited

    def _wait(self, timeout_s: float | None) -> int:
        if self._happens("interrupted", self._habits.interrupted):
            return -errno.EINTR
        while not self._waiting:
            if self._due or self._posting:
                self._tick += 1
                self._look(0)
                self._complete()
            elif not self._look(timeout_s):
                return -errno.ETIME
        return 0

    # ---- submissions ------------------------------------------------------------------------------

    def _submit(self, count: int) -> int:
        waiting = (self._get(SQ_TAIL) - self._get(SQ_HEAD)) & WORD
        assert count <= waiting <= self._sq_entries
        if count and self._overflow:
            self._flush_overflow()
            if self._overflow:
                self._fire("refused")
                return -errno.EBUSY
        taken = count
        if count and self._happens("partial", self._habits.partial):
            taken = self._chance.below(count)
        for _ in range(taken):
            head = self._get(SQ_HEAD)
            index = struct.unpack_from("<I", self._ring, SQ_ARRAY + 4 * (head & (self._sq_entries - 1)))[0]
            opcode, _, _, fd, offset, address, length, flags, user_data, *_ = _SQE.unpack_from(
                self._sqes, index * _SQE.size
            )
            self._begin(_Asked(opcode, fd, offset, address, length, flags, user_data))
            self._set(SQ_HEAD, head + 1)
        return -errno.EAGAIN if count and not taken else taken

    def _begin(self, asked: _Asked) -> None:
        if asked.opcode == POLL_ADD:
            self._add_poll(asked)
            return
        if asked.opcode == POLL_REMOVE:
            found = asked.address in self._polls
            if found:
                self._drop(asked.address)
                self._post((asked.address, -errno.ECANCELED, 0))
            self._post((asked.user_data, 0 if found else -errno.ENOENT, 0))
            return
        if asked.opcode != NOP:
            asked.identity = _identity(asked.fd)
        self._count += 1
        heappush(self._due, (self._some_time(), self._count, asked))

    def _some_time(self) -> int:
        return self._tick + self._chance.below(self._habits.late + 1)

    # ---- polls ------------------------------------------------------------------------------------

    def _add_poll(self, asked: _Asked) -> None:
        assert asked.user_data not in self._polls, "two polls of one name"
        try:
            fd = os.dup(asked.fd)
        except OSError as error:
            self._post((asked.user_data, -(error.errno or errno.EBADF), 0))
            return
        is_multishot = bool(asked.length & MULTISHOT)
        self._polls[asked.user_data] = _Poll(asked.user_data, fd, is_multishot)
        self._epoll.register(fd, asked.flags | (select.EPOLLET if is_multishot else select.EPOLLONESHOT))

    def _drop(self, user_data: int) -> None:
        poll = self._polls.pop(user_data)
        self._epoll.unregister(poll.fd)
        os.close(poll.fd)

    def _look(self, timeout_s: float | None) -> bool:
        """Take in what the real descriptors have to say; False if nothing."""
        by_fd = {poll.fd: poll for poll in self._polls.values()}
        found = self._epoll.poll(timeout_s, len(by_fd) or 1)
        for fd, events in found:
            poll = by_fd[fd]
            result, flags = events, MORE
            if not poll.is_multishot:
                flags = 0
            elif self._happens("given up", self._habits.given_up):
                flags = 0
                result = (events, -errno.ENOMEM, -errno.ECANCELED)[self._chance.below(3)]
            if not flags:
                self._drop(poll.user_data)
            self._post((poll.user_data, result, flags))
        return bool(found)

    # ---- completions ------------------------------------------------------------------------------

    @property
    def _waiting(self) -> int:
        return (self._get(CQ_TAIL) - self._get(CQ_HEAD)) & WORD

    def _complete(self) -> None:
        while self._due and self._due[0][0] <= self._tick:
            asked = heappop(self._due)[2]
            self._put((asked.user_data, self._result(asked), 0))
        while self._posting and self._posting[0][0] <= self._tick:
            self._put(heappop(self._posting)[2])

    def _post(self, completion: tuple[int, int, int]) -> None:
        self._count += 1
        heappush(self._posting, (self._some_time(), self._count, completion))

    def _put(self, completion: tuple[int, int, int]) -> None:
        if self._overflow or self._waiting == self._cq_entries:
            self._fire("overflow")
            self._overflow.append(completion)
        else:
            self._write(completion)

    def _write(self, completion: tuple[int, int, int]) -> None:
        tail = self._get(CQ_TAIL)
        at = self._cqes + _CQE.size * (tail & (self._cq_entries - 1))
        _CQE.pack_into(self._ring, at, *completion)
        self._set(CQ_TAIL, tail + 1)

    def _flush_overflow(self) -> None:
        while self._overflow and self._waiting < self._cq_entries:
            self._write(self._overflow.popleft())

    def _result(self, asked: _Asked) -> int:
        if asked.opcode == NOP:
            return 0
        assert _identity(asked.fd) == asked.identity, "closed before its completion"
        failures = self.failures.get(asked.opcode)
        if failures:
            return -failures.pop(0)
        if self._happens("again", self._habits.again):
            return -(errno.EINTR, errno.EAGAIN)[self._chance.below(2)]
        try:
            return self._perform(asked)
        except OSError as error:
            return -(error.errno or errno.EIO)

    def _perform(self, asked: _Asked) -> int:
        if asked.opcode == FSYNC:
            (os.fdatasync if asked.flags & FSYNC_DATASYNC else os.fsync)(asked.fd)
            return 0
        if asked.opcode != READ:
            return -errno.EINVAL
        length = asked.length
        if length > 1 and self._happens("short", self._habits.short):
            length = 1 + self._chance.below(length - 1)
        data = os.pread(asked.fd, length, asked.offset)
        ctypes.memmove(asked.address, data, len(data))
        return len(data)

    # ---- memory and chance ------------------------------------------------------------------------

    def _get(self, word: int) -> int:
        found: int = struct.unpack_from("<I", self._ring, 4 * word)[0]
        return found

    def _set(self, word: int, number: int) -> None:
        struct.pack_into("<I", self._ring, 4 * word, number & WORD)

    def _happens(self, what: str, probability: float) -> bool:
        if not self._chance.happens(probability):
            return False
        self._fire(what)
        return True

    def _fire(self, what: str) -> None:
        self.fired[what] = self.fired.get(what, 0) + 1


def _identity(fd: int) -> tuple[int, int]:
    """Say which file a descriptor is of; (0, 0) if it is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _timeout(arg_at: int) -> float:
    """Read the timeout out of an io_uring_getevents_arg: sigmask, its size, the address of a timespec."""
    arg = (ctypes.c_uint64 * 3).from_address(arg_at)
    seconds, nanoseconds = (ctypes.c_int64 * 2).from_address(arg[2])
    return float(seconds) + nanoseconds / 1_000_000_000
