"""One io_uring over mmap, ctypes and struct: submissions in, completions out, nothing about their meaning.

Three system calls: setup (425), enter (426), register (427, not needed). The ring is shared memory, mapped twice:

    ring fd, offset 0            u32 SQ head, tail, mask, …, array of SQE indices; u32 CQ head, tail, mask, …,
                                 then the CQEs; where each lies is said by io_uring_params, 120 bytes:
                                 10 u32 (sq_entries, cq_entries, flags, …, features at 5), then 40 bytes of
                                 SQ offsets (head tail mask entries flags dropped array …) and 40 of CQ offsets
                                 (head tail mask entries overflow cqes flags …)
    ring fd, offset 0x10000000   the SQEs, 64 bytes: u8 opcode, u8 flags, u16 ioprio, s32 fd, u64 offset,
                                 u64 address, u32 length, u32 operation's flags, u64 user_data, 24 bytes rest
    a CQE is 16 bytes            u64 user_data, s32 result or -errno, u32 flags

Memory order. With SINGLE_ISSUER | DEFER_TASKRUN (Linux 6.1) the kernel touches the rings only inside our own
`enter`, so a system call stands between every store and its reader and Python needs no barriers. Without them a
worker may post a CQE at any time: then only x86 is trusted, whose stores stay in order.

Sources: io_uring_setup(2), io_uring_enter(2), <linux/io_uring.h>.
"""

import ctypes
import errno
import mmap
import os
import platform
import struct
from collections.abc import Callable
from typing import Protocol

SETUP, ENTER = 425, 426
SETUP_CQSIZE = 1 << 3
SETUP_CLAMP = 1 << 4
SETUP_SUBMIT_ALL = 1 << 7
SETUP_COOP_TASKRUN = 1 << 8
SETUP_SINGLE_ISSUER = 1 << 12
SETUP_DEFER_TASKRUN = 1 << 13
PREFERRED = SETUP_SUBMIT_ALL | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN
FLAGS = (PREFERRED, SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN, 0)
"""Tried in this order: Linux 6.1, 5.19, 5.11."""
FEATURE_SINGLE_MMAP, FEATURE_NODROP, FEATURE_EXT_ARG = 1 << 0, 1 << 1, 1 << 8
FEATURES = FEATURE_SINGLE_MMAP | FEATURE_NODROP | FEATURE_EXT_ARG
ENTER_GETEVENTS, ENTER_EXT_ARG = 1 << 0, 1 << 3
SQES_OFFSET = 0x10000000

NOP, FSYNC, POLL_ADD, POLL_REMOVE, READ = 0, 3, 6, 7, 22
"""Opcodes, by their published numbers."""
FSYNC_DATASYNC = 1
POLL_MULTISHOT = 1
MORE = 1 << 1
"""CQE flag: this submission will complete again."""

Completion = tuple[int, int, int]
"""user_data, result, flags."""

_SQE = struct.Struct("<BBHiQQIIQQQQ")
_CQE = struct.Struct("<QiI")
_PARAMS_SIZE = 120


class Kernel(Protocol):
    """What is on the other side of a ring: Linux, or a simulation of it.

    syscall: called with a number and its arguments, those wider than 32 bits as `c_void_p`, `c_size_t` or None;
    -1 is a failure, whose number is `ctypes.get_errno()`.
    """

    syscall: Callable[..., int]

    def map(self, fd: int, size: int, offset: int) -> mmap.mmap:
        """Map a ring's memory, shared with the kernel."""

    def close(self, fd: int) -> None:
        """Give a ring back."""


class Linux:
    """The kernel itself."""

    def __init__(self) -> None:
        # Without `argtypes`, which would cost 1.5 us of the 2.6 that a call then takes. Plain ints go as 32 bits:
        # what the kernel reads as more must be an object of ctypes.
        function = ctypes.CDLL(None, use_errno=True).syscall
        function.restype = ctypes.c_long
        self.syscall: Callable[..., int] = function

    def map(self, fd: int, size: int, offset: int) -> mmap.mmap:
        """Map a ring's memory, shared with the kernel."""
        how = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return mmap.mmap(fd, size, flags=how, offset=offset)

    def close(self, fd: int) -> None:
        """Give a ring back."""
        os.close(fd)


class Ring:
    """A submission and a completion queue. Owned by the thread that made it.

    entries: submissions before `push` must enter the kernel. Raises: OSError where there is no io_uring.
    """

    def __init__(self, entries: int = 256, completions: int = 4096, kernel: Kernel | None = None) -> None:
        self._kernel = Linux() if kernel is None else kernel
        self._syscall = self._kernel.syscall
        self.fd, self.flags, params = self._setup(entries, completions)
        try:
            self._map(params)
        except (OSError, ValueError):
            self._kernel.close(self.fd)
            raise
        self._early: list[Completion] = []
        """Completions taken out by `push`, not yet given to anybody."""
        self._timespec = (ctypes.c_int64 * 2)()
        self._arg = (ctypes.c_uint64 * 3)(
            0, 0, ctypes.addressof(self._timespec)
        )  # sigmask, its size, timeout
        self._arg_at = ctypes.c_void_p(ctypes.addressof(self._arg))
        self._arg_size = ctypes.c_size_t(ctypes.sizeof(self._arg))

    def _setup(self, entries: int, completions: int) -> tuple[int, int, list[int]]:
        for flags in FLAGS:
            params = (ctypes.c_uint32 * (_PARAMS_SIZE // 4))()
            params[1] = completions
            params[2] = flags | SETUP_CLAMP | SETUP_CQSIZE
            fd = self._syscall(SETUP, entries, ctypes.c_void_p(ctypes.addressof(params)))
            if fd >= 0:
                if params[5] & FEATURES == FEATURES:
                    return fd, flags, list(params)
                self._kernel.close(fd)
                raise OSError(errno.ENOSYS, "the kernel's io_uring is older than Linux 5.11")
            if ctypes.get_errno() != errno.EINVAL:
                break
        raise _error("io_uring_setup")

    def _map(self, params: list[int]) -> None:
        sq_entries, cq_entries = params[0], params[1]
        sq, cq = params[10:20], params[20:30]
        size = max(sq[6] + 4 * sq_entries, cq[5] + _CQE.size * cq_entries)
        self._ring = self._kernel.map(self.fd, size, 0)
        self._sqes = self._kernel.map(self.fd, _SQE.size * sq_entries, SQES_OFFSET)
        self._words = memoryview(self._ring)[: size & ~3].cast("I")
        self._sq_head, self._sq_tail, self._cq_head, self._cq_tail = (
            sq[0] // 4,
            sq[1] // 4,
            cq[0] // 4,
            cq[1] // 4,
        )
        self._sq_entries, self._cq_entries, self._cqes = sq_entries, cq_entries, cq[5]
        for index in range(sq_entries):  # the indirection is of no use to us: slot n is always SQE n
            self._words[sq[6] // 4 + index] = index
        self._tail = self._words[self._sq_tail]

    def push(
        self,
        opcode: int,
        fd: int,
        user_data: int,
        *,
        address: int = 0,
        length: int = 0,
        offset: int = 0,
        flags: int = 0,
    ) -> None:
        """Queue one submission; it reaches the kernel with the next `enter`. flags: the operation's own."""
        words = self._words
        while (self._tail - words[self._sq_head]) & 0xFFFFFFFF >= self._sq_entries:
            self.enter(0)
            self._early += self._take()  # a kernel may refuse submissions until there is room for completions
        slot = self._tail & (self._sq_entries - 1)
        _SQE.pack_into(
            self._sqes, slot * _SQE.size, opcode, 0, 0, fd, offset, address, length, flags, user_data, 0, 0, 0
        )
        self._tail = words[self._sq_tail] = (self._tail + 1) & 0xFFFFFFFF

    def enter(self, wait_ns: int | None) -> None:
        """Submit what is queued and let completions come in; wait up to wait_ns for one, None: for ever."""
        words = self._words
        count = (self._tail - words[self._sq_head]) & 0xFFFFFFFF
        if self._early:
            wait_ns = 0
        if wait_ns is None:
            result = self._syscall(ENTER, self.fd, count, 1, ENTER_GETEVENTS, None, None)
        elif wait_ns == 0:
            result = self._syscall(ENTER, self.fd, count, 0, ENTER_GETEVENTS, None, None)
        else:
            self._timespec[0], self._timespec[1] = divmod(wait_ns, 1_000_000_000)
            flags = ENTER_GETEVENTS | ENTER_EXT_ARG
            result = self._syscall(ENTER, self.fd, count, 1, flags, self._arg_at, self._arg_size)
        if result < 0:
            number = ctypes.get_errno()
            # A signal, the timeout, or a completion queue that must be emptied first: the caller comes again.
            if number not in (errno.EINTR, errno.ETIME, errno.EBUSY, errno.EAGAIN):
                raise _error("io_uring_enter")

    def completions(self) -> list[Completion]:
        """Take out every completion that is there, oldest first."""
        if self._early:
            found = self._early + self._take()
            self._early = []
            return found
        return self._take()

    def _take(self) -> list[Completion]:
        words = self._words
        head, tail = words[self._cq_head], words[self._cq_tail]
        count = (tail - head) & 0xFFFFFFFF
        if not count:
            return []
        first = head & (self._cq_entries - 1)
        start = self._cqes + first * _CQE.size
        if first + count <= self._cq_entries:
            found = list(_CQE.iter_unpack(self._ring[start : start + count * _CQE.size]))
        else:  # around the end
            split = self._cq_entries - first
            raw = self._ring[start : start + split * _CQE.size]
            raw += self._ring[self._cqes : self._cqes + (count - split) * _CQE.size]
            found = list(_CQE.iter_unpack(raw))
        words[self._cq_head] = tail
        return found

    def close(self) -> None:
        """Give the ring back; whatever is in flight is cancelled."""
        self._words.release()
        self._ring.close()
        self._sqes.close()
        self._kernel.close(self.fd)


def address_of(buffer: memoryview) -> int:
    """Give the address of a writable buffer, not empty. It must live, unmoved, as long as the kernel may write."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def probe() -> str | None:
    """Say why io_uring cannot be used here, in a few words; None if a ring takes and completes an operation."""
    if platform.system() != "Linux":
        return "io_uring is Linux only"
    try:
        ring = Ring(8, 16)
    except OSError as error:
        return _reason(error)
    try:
        if ring.flags != PREFERRED and platform.machine() not in ("x86_64", "AMD64"):
            return "this processor needs Linux 6.1 for a ring without barriers"
        ring.push(NOP, -1, 7)
        ring.enter(1_000_000_000)
        return None if ring.completions() == [(7, 0, 0)] else "the probe ring does not complete operations"
    except OSError as error:
        return _reason(error)
    finally:
        ring.close()


def _reason(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return (
            "io_uring is forbidden here (kernel.io_uring_disabled, or a seccomp filter as in many containers)"
        )
    if error.errno == errno.ENOSYS:
        return "the kernel has no io_uring, or one older than Linux 5.11"
    return f"io_uring does not work here: {error.strerror}"


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
