"""A disk in memory that keeps the laws of rafka.core.effects, and no promise beyond them.

Each file remembers its synced bytes and the operations since. A crash keeps, of each unsynced write, any
subset of its sectors (so writes are lost, torn and reordered), and of the unsynced changes of names any
subset. A failed sync forgets what it was to make durable without a later sync covering it (fsyncgate).
"""

import errno
from random import Random

from rafka.core.effects import (
    DiskEffect,
    List,
    MakeDir,
    Read,
    Rename,
    Sync,
    SyncDir,
    Truncate,
    Unlink,
    Write,
)
from rafka.core.events import DiskEvent, Done, Entry, Failed, Listed, Loaded, Synced, Written
from rafka.core.types import File

SECTOR_BYTES = 512


class _Inode:
    """What a name stands for. unsynced: (position, bytes) of writes, (length, None) of truncations."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""
        self.unsynced: list[tuple[int, bytes | None]] = []

    def apply(self, position: int, data: bytes | None) -> None:
        _apply(self.data, position, data)
        self.unsynced.append((position, data))


class Disk:
    """Performs every DiskEffect at once. `failures`: (op, nth from now) -> errno, each used once."""

    def __init__(self) -> None:
        self.files: dict[str, _Inode | None] = {"": None}
        """Names to files; a directory is None."""
        self._durable: dict[str, _Inode | None] = {"": None}
        self.failures: dict[tuple[str, int], int] = {}
        self._counts: dict[str, int] = {}

    def fail(self, op: str, error: int, after: int = 0) -> None:
        """Let the operation `op` ("write", "sync", ...) fail once, `after` more of them."""
        self.failures[op, self._counts.get(op, -1) + 1 + after] = error

    def perform(self, effect: DiskEffect) -> DiskEvent:
        """Perform one effect and answer it."""
        op = type(effect).__name__.lower()
        count = self._counts[op] = self._counts.get(op, -1) + 1
        error = self.failures.pop((op, count), None)
        try:
            if error is None:
                return self._perform(effect)
            self._break(effect)
            return Failed(effect.file, effect.token, op, error, "injected")
        except OSError as broken:
            number = broken.errno or errno.EIO
            return Failed(effect.file, effect.token, op, number, str(broken.strerror))

    def crash(self, rng: Random) -> None:
        """Lose power: only what was synced is sure to be there afterwards."""
        for name in sorted({*self.files, *self._durable}):
            if self.files.get(name, self) is not self._durable.get(name, self) and rng.random() < 0.5:
                self._copy_name(name)
        self.files = {n: i for n, i in self._durable.items() if _parent(n) in self._durable}
        self._durable = dict(self.files)
        for name in sorted(self.files):
            inode = self.files[name]
            if inode is not None:
                inode.data = _torn(inode, rng)
                inode.synced, inode.unsynced = bytes(inode.data), []

    def _perform(self, effect: DiskEffect) -> DiskEvent:
        match effect:
            case Write():
                self._write(effect)
                return Written(effect.file, effect.token)
            case Sync():
                inode = self._inode(effect.file)
                for change in inode.unsynced:
                    inode.synced = _applied(inode.synced, *change)
                inode.unsynced = []
                return Synced(effect.file, effect.token)
            case Read():
                data = self._inode(effect.file).data
                end = effect.position + effect.length
                return Loaded(effect.file, effect.token, bytes(data[effect.position : end]))
            case List():
                return Listed(effect.file, effect.token, self._list(effect.file))
            case Truncate():
                self._inode(effect.file).apply(effect.length, None)
            case _:
                self._change_names(effect)
        return Done(effect.file, effect.token)

    def _write(self, effect: Write) -> None:
        if effect.file not in self.files:
            self._need_dir(_parent(effect.file))
            self.files[effect.file] = _Inode()
        self._inode(effect.file).apply(effect.position, b"".join(effect.buffers))

    def _change_names(self, effect: Rename | Unlink | MakeDir | SyncDir) -> None:
        match effect:
            case Rename():
                if effect.file not in self.files:
                    raise FileNotFoundError(errno.ENOENT, "not there")
                self._need_dir(_parent(effect.to))
                for name in sorted(
                    n for n in self.files if n == effect.file or n.startswith(effect.file + "/")
                ):
                    self.files[effect.to + name[len(effect.file) :]] = self.files.pop(name)
            case Unlink():
                if any(_parent(name) == effect.file for name in self.files if name):
                    raise OSError(errno.ENOTEMPTY, "not empty")
                self.files.pop(effect.file, None)
            case MakeDir():
                self._need_dir(_parent(effect.file))
                self.files.setdefault(effect.file, None)
            case SyncDir():
                self._need_dir(effect.file)
                for name in sorted({*self.files, *self._durable}):
                    if name and _parent(name) == effect.file:
                        self._copy_name(name)

    def _break(self, effect: DiskEffect) -> None:
        """Do the harm that comes with a failure: half a write, or a sync that forgets its pages."""
        if isinstance(effect, Write) and effect.file in self.files:
            data = b"".join(effect.buffers)
            self._inode(effect.file).apply(effect.position, data[: len(data) // 2])
        if isinstance(effect, Sync):
            self._inode(effect.file).unsynced = []

    def _list(self, directory: str) -> list[Entry]:
        self._need_dir(directory)
        names = sorted(name for name in self.files if name and _parent(name) == directory)
        return [self._entry(name) for name in names]

    def _entry(self, name: str) -> Entry:
        inode = self.files[name]
        size = 0 if inode is None else len(inode.data)
        return Entry(name.rpartition("/")[2], size, is_dir=inode is None, modified_ms=0)

    def _inode(self, name: File) -> _Inode:
        inode = self.files.get(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "not there")
        return inode

    def _need_dir(self, name: str) -> None:
        if self.files.get(name, self) is not None:
            raise FileNotFoundError(errno.ENOENT, "no such directory")

    def _copy_name(self, name: str) -> None:
        if name in self.files:
            self._durable[name] = self.files[name]
        else:
            self._durable.pop(name, None)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _apply(content: bytearray, position: int, data: bytes | None) -> None:
    length = position if data is None else position + len(data)
    if data is None:
        del content[length:]
    if len(content) < length:
        content.extend(bytes(length - len(content)))
    if data is not None:
        content[position:length] = data


def _applied(content: bytes, position: int, data: bytes | None) -> bytes:
    changed = bytearray(content)
    _apply(changed, position, data)
    return bytes(changed)


def _torn(inode: _Inode, rng: Random) -> bytearray:
    content = bytearray(inode.synced)
    mood = rng.choice(("keep", "lose", "mix"))
    for position, data in inode.unsynced:
        if data is None:
            if rng.random() < 0.5:
                _apply(content, position, None)
            continue
        at = 0
        while at < len(data):  # up to the next sector boundary of the file
            end = min(len(data), at + SECTOR_BYTES - (position + at) % SECTOR_BYTES)
            if mood == "keep" or (mood == "mix" and rng.random() < 0.5):
                _apply(content, position + at, data[at:end])
            at = end
    return content
