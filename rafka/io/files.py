"""Open files under the data directory: path safety, a bounded cache of descriptors, and what never waits long.

Every name that comes here is relative, with forward slashes; anything that could leave the data directory is
refused with EINVAL before the system sees it. One descriptor per file serves reads, writes, syncs and slices.
The cache closes the least recently used file once `limit` are open, but never one that is held (an operation in
flight, or a slice that waits to be sent): a held file stays open through a rename and an unlink, so the
operation reaches the bytes it was meant for.

A file that is closed with bytes still in the page cache loses nothing: Linux reports a failed write-back to the
next sync of any descriptor (`errseq_t`), and the kernel writes the pages back as before.
"""

import contextlib
import errno
import os
import stat
from collections import OrderedDict, deque
from collections.abc import Sequence

from rafka.core.effects import DiskEffect
from rafka.core.events import Entry
from rafka.core.types import Buffer
from rafka.io.reserve import first_room_at

IOV_MAX = 1024
"""Buffers that one pwritev takes (POSIX: at least 16; Linux, macOS and the BSDs: 1024)."""
HAS_PWRITEV = hasattr(os, "pwritev")
BINARY = getattr(os, "O_BINARY", 0)


class OpenFile:
    """One open file. holds: why it may not be closed; reads, syncing, waiting: see `disk.py`; room_at: `reserve.py`."""

    __slots__ = ("fd", "holds", "is_cached", "name", "reads", "room_at", "syncing", "waiting")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.holds = 0
        self.is_cached = True
        self.reads = 0
        self.room_at = first_room_at(name)
        self.syncing = False
        self.waiting: deque[DiskEffect] = deque()


class Files:
    """The files of one data directory. All methods raise OSError."""

    def __init__(self, root: str, limit: int = 512) -> None:
        assert limit > 0
        self.root = root
        self.limit = limit
        self._open: OrderedDict[str, OpenFile] = OrderedDict()

    def path(self, file: str) -> str:
        """Give the real path of a relative name; "" is the data directory.

        Raises: OSError(EINVAL) for a name that is absolute, or has an empty, "." or ".." part, or a NUL.
        """
        if not file:
            return self.root
        for part in file.split("/"):
            if part in ("", ".", "..") or "\0" in part or "\\" in part:
                raise OSError(errno.EINVAL, "a name that is not a plain relative path")
        return f"{self.root}/{file}"

    def existing(self, file: str) -> OpenFile:
        """Open a file that is there."""
        return self._opened(file, os.O_RDWR | BINARY)

    def created(self, file: str) -> OpenFile:
        """Open a file, making it if it is not there."""
        return self._opened(file, os.O_RDWR | os.O_CREAT | BINARY)

    def _opened(self, file: str, flags: int) -> OpenFile:
        opened = self._open.get(file)
        if opened is not None:
            self._open.move_to_end(file)
            return opened
        opened = OpenFile(file, self._open_fd(self.path(file), flags))
        self._open[file] = opened
        if len(self._open) > self.limit:
            self._evict(len(self._open) - self.limit, keep=opened)
        return opened

    def _open_fd(self, path: str, flags: int) -> int:
        try:
            return os.open(path, flags, 0o644)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._evict(16):
                raise
            return os.open(path, flags, 0o644)

    def _evict(self, count: int, keep: OpenFile | None = None) -> int:
        """Close up to `count` of the least recently used files that nobody holds; say how many."""
        idle = (opened for opened in self._open.values() if opened.holds == 0 and opened is not keep)
        victims = [opened for opened, _ in zip(idle, range(count), strict=False)]
        for victim in victims:
            self._drop(victim)
        return len(victims)

    def hold(self, opened: OpenFile) -> None:
        """Keep a file open until `release`."""
        opened.holds += 1

    def release(self, opened: OpenFile) -> None:
        """Let go of a file; one that lost its name meanwhile is closed with its last holder."""
        assert opened.holds > 0
        opened.holds -= 1
        if opened.holds == 0 and not opened.is_cached:
            os.close(opened.fd)

    def _drop(self, opened: OpenFile) -> None:
        assert opened.is_cached
        del self._open[opened.name]
        opened.is_cached = False
        if opened.holds == 0:
            os.close(opened.fd)

    def rename(self, file: str, to: str) -> None:
        """Give a file or directory another name; open files follow."""
        os.replace(self.path(file), self.path(to))
        self._forget(to)
        below = f"{file}/"
        for name in [name for name in self._open if name == file or name.startswith(below)]:
            opened = self._open.pop(name)
            opened.name = to + name[len(file) :]
            self._open[opened.name] = opened

    def unlink(self, file: str) -> None:
        """Remove a file or an empty directory; one that is not there is no error."""
        path = self.path(file)
        try:
            is_dir = stat.S_ISDIR(os.lstat(path).st_mode)
            if is_dir:
                os.rmdir(path)
            else:
                os.unlink(path)
        except FileNotFoundError:
            pass
        self._forget(file)

    def _forget(self, file: str) -> None:
        opened = self._open.get(file)
        if opened is not None:
            self._drop(opened)

    def make_dir(self, file: str) -> None:
        """Make a directory; one that is there is no error."""
        path = self.path(file)
        try:
            os.mkdir(path)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                raise

    def room(self, file: str) -> tuple[int, int]:
        """Give the size of the volume that a file is on, and what of it is left for this user, in bytes."""
        import shutil  # ten milliseconds of a start, for a question that few ask

        usage = shutil.disk_usage(self.path(file))
        return usage.total, usage.free

    def list_dir(self, file: str) -> list[Entry]:
        """List a directory, sorted by name. Entries that vanish meanwhile are left out."""
        entries: list[Entry] = []
        with os.scandir(self.path(file)) as found:
            for item in found:
                with contextlib.suppress(FileNotFoundError):
                    entries.append(_entry(item))
        entries.sort(key=lambda entry: entry.name)
        return entries

    def open_dir(self, file: str) -> int | None:
        """Open a directory for a sync; None where the system has no such thing (Windows)."""
        path = self.path(file)
        if not hasattr(os, "O_DIRECTORY"):
            return None
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        """Close everything that nobody holds."""
        for opened in list(self._open.values()):
            self._drop(opened)


def write_all(fd: int, position: int, buffers: Sequence[Buffer]) -> None:
    """Write the buffers one after the other, however many calls that takes. Raises OSError."""
    if len(buffers) == 1:
        first = buffers[0]
        written = os.pwrite(fd, first, position)
        if written == len(first):
            return
    else:
        written = _write_some(fd, position, buffers)
    rest = after(buffers, written)
    while rest:
        position += written
        written = _write_some(fd, position, rest)
        rest = after(rest, written)


def _write_some(fd: int, position: int, buffers: Sequence[Buffer]) -> int:
    if HAS_PWRITEV:
        return os.pwritev(fd, buffers[:IOV_MAX], position)
    return os.pwrite(fd, buffers[0], position) if buffers else 0


def after(buffers: Sequence[Buffer], count: int) -> list[Buffer]:
    """Give what is left of the buffers once their first `count` bytes are gone; empty ones are left out."""
    rest: list[Buffer] = []
    for buffer in buffers:
        size = len(buffer)
        if count >= size:
            count -= size
        elif count:
            rest.append(memoryview(buffer)[count:])
            count = 0
        else:
            rest.append(buffer)
    return rest


def read_some(fd: int, length: int, position: int) -> bytes:
    """Read up to `length` bytes; fewer only at the end of the file."""
    data = os.pread(fd, length, position)
    if len(data) == length or not data:
        return data
    parts = [data]
    have = len(data)
    while have < length:
        data = os.pread(fd, length - have, position + have)
        if not data:
            break
        parts.append(data)
        have += len(data)
    return b"".join(parts)


def _entry(item: os.DirEntry[str]) -> Entry:
    status = item.stat()
    is_dir = stat.S_ISDIR(status.st_mode)
    return Entry(item.name, 0 if is_dir else status.st_size, is_dir, status.st_mtime_ns // 1_000_000)
