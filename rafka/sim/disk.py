"""A disk in memory that keeps the laws of rafka.core.effects, and no promise beyond them.

Each file remembers its synced bytes and the operations since. A crash keeps, of each unsynced write, any
subset of its sectors (so writes are lost, torn and reordered), and of the unsynced changes of names any
subset. A failed sync forgets what it was to make durable without a later sync covering it (fsyncgate).
"""

import errno
from collections.abc import Callable, Mapping
from random import Random

from rafka.core.effects import (
    DiskEffect,
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
from rafka.core.events import DiskEvent, Done, Entry, Failed, Listed, Loaded, Measured, Synced, Written

SECTOR_BYTES = 512
PAGE_BYTES = 4096
VOLUME_BYTES = 1 << 40

OPS = {
    Write: "write",
    Sync: "sync",
    Read: "read",
    Truncate: "truncate",
    Rename: "rename",
    Unlink: "unlink",
    MakeDir: "makedir",
    SyncDir: "syncdir",
    List: "list",
    Measure: "measure",
}


class Inode:
    """What a name stands for. unsynced: (position, bytes) of writes, (length, None) of truncations.

    bad: sectors that cannot be read until they are written again.
    """

    __slots__ = ("bad", "data", "modified_ms", "synced", "unsynced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = bytearray()
        self.unsynced: list[tuple[int, bytes | None]] = []
        self.bad: set[int] = set()
        self.modified_ms = 0

    def apply(self, position: int, data: bytes | None) -> None:
        """Write, or cut, in the cache."""
        _apply(self.data, position, data)
        self.unsynced.append((position, data))
        if self.bad:
            end = position if data is None else position + len(data)
            self.bad -= set(range(position // SECTOR_BYTES, -(-end // SECTOR_BYTES)))

    def is_bad(self, position: int, length: int) -> bool:
        """Say whether these bytes cannot be read."""
        if not self.bad:
            return False
        return any(
            position < (bad + 1) * SECTOR_BYTES and bad * SECTOR_BYTES < position + length for bad in self.bad
        )

    def flip(self, position: int, bit: int) -> None:
        """Let a bit rot, in the cache and on the medium."""
        for content in (self.data, self.synced):
            if position < len(content):
                content[position] ^= 1 << bit
        self.unsynced = [(at, _flipped(data, position - at, bit)) for at, data in self.unsynced]


class Disk:
    """Performs every DiskEffect at once. `failures`: (op, nth from now) -> errno, each used once."""

    def __init__(self) -> None:
        self.files: dict[str, Inode | None] = {"": None}
        """Names to files; a directory is None."""
        self._durable: dict[str, Inode | None] = {"": None}
        self._children: dict[str, dict[str, None]] = {}
        """Names by directory: all that there are, and some that there were."""
        self._changed: dict[str, dict[str, None]] = {}
        """Names by directory whose last change SyncDir has not made durable."""
        self.failures: dict[tuple[str, int], int] = {}
        self._counts: dict[str, int] = {}
        self._performers: dict[type, Callable[..., DiskEvent]] = {
            Write: self._write,
            Sync: self._sync,
            Read: self._read,
            Truncate: self._truncate,
            Rename: self._rename,
            Unlink: self._unlink,
            MakeDir: self._make_dir,
            SyncDir: self._sync_dir,
            List: self._list_dir,
            Measure: self._measure,
        }

    def fail(self, op: str, error: int, after: int = 0) -> None:
        """Let the operation `op` ("write", "sync", ...) fail once, `after` more of them."""
        self.failures[op, self._counts.get(op, -1) + 1 + after] = error

    def perform(self, effect: DiskEffect) -> DiskEvent:
        """Perform one effect and answer it."""
        kind = type(effect)
        op = OPS[kind]
        count = self._counts[op] = self._counts.get(op, -1) + 1
        if self.failures:
            error = self.failures.pop((op, count), None)
            if error is not None:
                return self.fail_now(effect, error, 0.5)
        try:
            return self._performers[kind](effect)
        except OSError as broken:
            number = broken.errno or errno.EIO
            return Failed(effect.file, effect.token, op, number, str(broken.strerror))

    def fail_now(self, effect: DiskEffect, error: int, share: float) -> Failed:
        """Let one effect fail, with the harm that comes with it: a part of a write is in, a sync forgets its pages."""
        if isinstance(effect, Write) and effect.file in self.files:
            data = b"".join(effect.buffers)
            self.inode(effect.file).apply(effect.position, data[: int(share * len(data))])
        if isinstance(effect, Sync) and effect.file in self.files:
            self.inode(effect.file).unsynced = []
        return Failed(effect.file, effect.token, OPS[type(effect)], error, "injected")

    def crash(self, rng: Random, mode: str = "any", *, names: bool = True) -> None:
        """Lose power: only what was synced is sure to be there afterwards.

        mode: "any": of each file all, none or a part; "nothing" is lost; or one of faults.KINDS' `loss`.
        names: whether unsynced changes of names may be undone.
        """
        former = {id(inode) for inode in self._durable.values()}
        for name in sorted({*self.files, *self._durable}):
            if self.files.get(name, self) is not self._durable.get(name, self) and (
                not names or rng.random() < 0.5
            ):
                self._copy_name(name)
        self._keep_renamed(former)
        self.files = {n: i for n, i in self._durable.items() if _parent(n) in self._durable}
        self._durable = dict(self.files)
        self._children, self._changed = {}, {}
        for name in self.files:
            if name:
                self._children.setdefault(_parent(name), {})[name] = None
        for name in sorted(self.files):
            inode = self.files[name]
            if inode is not None:
                inode.data = _survivor(inode, rng, mode)
                inode.synced, inode.unsynced = bytearray(inode.data), []

    def _keep_renamed(self, former: set[int]) -> None:
        """Leave a renamed file at least one of its two names, as every journal of a file system does."""
        named = {id(inode) for inode in self._durable.values()}
        for name, inode in self.files.items():
            if inode is not None and id(inode) in former and id(inode) not in named:
                self._durable[name] = inode

    @property
    def durable_names(self) -> dict[str, Inode | None]:
        """The names that would survive whatever happens, and what they stand for."""
        return self._durable

    @classmethod
    def of(cls, files: Mapping[str, bytes | None]) -> "Disk":
        """Make a disk that holds these, durably. A directory is None."""
        disk = cls()
        for name in sorted(files):
            content = files[name]
            if not name or _parent(name) not in disk.files:
                continue
            inode = None if content is None else Inode()
            if inode is not None and content is not None:
                inode.data, inode.synced = bytearray(content), bytearray(content)
            disk._put(name, inode)
        disk._durable = dict(disk.files)
        disk._changed = {}
        return disk

    def plant(self, name: str, inode: Inode | None) -> None:
        """Let a file, or a directory (None), have been there all the time, under a durable name."""
        parent = _parent(name)
        if parent not in self.files:
            self.plant(parent, None)
        self._put(name, inode)
        self._durable[name] = inode

    def durable(self, name: str) -> bytearray | None:
        """Return what of a file would survive whatever happens; None if not even its name would."""
        inode = self._durable.get(name)
        return None if inode is None else inode.synced

    def names_in(self, directory: str) -> list[str]:
        """Return the full names of all that is in a directory, sorted."""
        return sorted(name for name in self._children.get(directory, ()) if name in self.files)

    def inode(self, name: str) -> Inode:
        """Return a file. Raises FileNotFoundError."""
        inode = self.files.get(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "not there")
        return inode

    # ---- effects -------------------------------------------------------------------------------------

    def _sync(self, effect: Sync) -> DiskEvent:
        inode = self.inode(effect.file)
        for change in inode.unsynced:
            _apply(inode.synced, *change)
        inode.unsynced = []
        return Synced(effect.file, effect.token)

    def _read(self, effect: Read) -> DiskEvent:
        inode = self.inode(effect.file)
        if inode.is_bad(effect.position, effect.length):
            raise OSError(errno.EIO, "a bad sector")
        end = effect.position + effect.length
        return Loaded(effect.file, effect.token, bytes(inode.data[effect.position : end]))

    def _list_dir(self, effect: List) -> DiskEvent:
        return Listed(effect.file, effect.token, self._list(effect.file))

    def _measure(self, effect: Measure) -> DiskEvent:
        if effect.file not in self.files:
            raise FileNotFoundError(errno.ENOENT, "not there")
        used = sum(len(inode.data) for inode in self.files.values() if inode is not None)
        return Measured(effect.file, effect.token, VOLUME_BYTES, VOLUME_BYTES - used)

    def _truncate(self, effect: Truncate) -> DiskEvent:
        self.inode(effect.file).apply(effect.length, None)
        return Done(effect.file, effect.token)

    def _write(self, effect: Write) -> DiskEvent:
        inode = self.files.get(effect.file)
        if inode is None:
            if effect.file in self.files:
                raise IsADirectoryError(errno.EISDIR, "a directory")
            self._need_dir(_parent(effect.file))
            inode = Inode()
            self._put(effect.file, inode)
        buffers = effect.buffers
        inode.apply(effect.position, bytes(buffers[0]) if len(buffers) == 1 else b"".join(buffers))
        return Written(effect.file, effect.token)

    def _rename(self, effect: Rename) -> DiskEvent:
        if effect.file not in self.files:
            raise FileNotFoundError(errno.ENOENT, "not there")
        self._need_dir(_parent(effect.to))
        for name in (effect.file, *self.names_in(effect.file)):
            self._put(effect.to + name[len(effect.file) :], self.files.pop(name))
            self._changed.setdefault(_parent(name), {})[name] = None
        return Done(effect.file, effect.token)

    def _unlink(self, effect: Unlink) -> DiskEvent:
        if self.names_in(effect.file):
            raise OSError(errno.ENOTEMPTY, "not empty")
        self.files.pop(effect.file, None)
        self._changed.setdefault(_parent(effect.file), {})[effect.file] = None
        return Done(effect.file, effect.token)

    def _make_dir(self, effect: MakeDir) -> DiskEvent:
        self._need_dir(_parent(effect.file))
        if effect.file not in self.files:
            self._put(effect.file, None)
        return Done(effect.file, effect.token)

    def _sync_dir(self, effect: SyncDir) -> DiskEvent:
        self._need_dir(effect.file)
        for name in self._changed.pop(effect.file, ()):
            self._copy_name(name)
            if name not in self.files:
                self._children.get(effect.file, {}).pop(name, None)
        return Done(effect.file, effect.token)

    def _list(self, directory: str) -> list[Entry]:
        self._need_dir(directory)
        return [self._entry(name) for name in self.names_in(directory)]

    def _entry(self, name: str) -> Entry:
        inode = self.files[name]
        size = 0 if inode is None else len(inode.data)
        return Entry(
            name.rpartition("/")[2],
            size,
            is_dir=inode is None,
            modified_ms=0 if inode is None else inode.modified_ms,
        )

    def _need_dir(self, name: str) -> None:
        if self.files.get(name, self) is not None:
            raise FileNotFoundError(errno.ENOENT, "no such directory")

    def _put(self, name: str, inode: Inode | None) -> None:
        self.files[name] = inode
        directory = _parent(name)
        self._children.setdefault(directory, {})[name] = None
        self._changed.setdefault(directory, {})[name] = None

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


def _flipped(data: bytes | None, position: int, bit: int) -> bytes | None:
    if data is None or not 0 <= position < len(data):
        return data
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def _survivor(inode: Inode, rng: Random, mode: str) -> bytearray:
    """Return what a power loss leaves of a file."""
    if not inode.unsynced:
        return inode.data if inode.data == inode.synced else bytearray(inode.synced)
    content = bytearray(inode.synced)
    changes = inode.unsynced
    if mode == "any":
        mode = rng.choice(("nothing", "everything", "sectors"))
    elif mode == "files":
        mode = rng.choice(("nothing", "everything"))
    elif mode == "suffix":
        changes = changes[: int(rng.random() * (len(changes) + 1))]
    piece = PAGE_BYTES if mode == "pages" else SECTOR_BYTES
    if mode == "everything":
        return content
    for position, data in changes:
        if mode in ("nothing", "suffix"):
            _apply(content, position, data)
        elif data is not None:
            _apply_some(content, position, data, rng, piece, torn=mode == "torn")
        elif rng.random() < 0.5:
            _apply(content, position, None)
    return content


def _apply_some(content: bytearray, start: int, data: bytes, rng: Random, piece: int, *, torn: bool) -> None:
    """Let some of the pieces of a write be there; torn: and some of those only in part."""
    at = 0
    while at < len(data):  # up to the next boundary of the file
        end = min(len(data), at + piece - (start + at) % piece)
        if rng.random() < 0.5:
            kept = at + int(rng.random() * (end - at)) if torn and rng.random() < 0.5 else end
            if kept > at:
                _apply(content, start + at, data[at:kept])
        at = end
