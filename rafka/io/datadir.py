"""The data directory: whose it is, that it is used by one process alone, and nothing else about its contents.

Two files at its top are this module's, named and written as Kafka does, so that each refuses the other's:

    .lock             empty; whoever uses the directory holds an exclusive lock on it for as long
    meta.properties   Java properties: version=1, cluster.id=<text>, node.id=<int>, directory.id=<uuid>

A uuid is sixteen bytes (RFC 9562, version 4) as URL-safe base64 without padding: 22 characters. It never begins
with "-", which a shell would take for an option. cluster.id is such a uuid when we make it, and any text when it
was chosen by somebody else.

Everything is judged before anything is touched: a directory that is refused is left as it was. Then the lock is
taken and the judging repeated, since another process may have been faster. A new meta.properties is written under
another name, synced, renamed, and the directory synced; a crash before the rename leaves a directory that still
counts as new, one after it a whole one.

The lock belongs to the open file (F_OFD_SETLK), not to the process as POSIX locks do: it also keeps out a second
use by the same process, and still conflicts with the POSIX lock that Java takes. It ends with the process.

Sources: Kafka's MetaProperties, MetaPropertiesVersion, FileLock, Uuid; KIP-631, KIP-858; fcntl_locking(2).
"""

import base64
import binascii
import contextlib
import errno
import os
import re
import struct
import sys
from collections.abc import Iterator

import attrs

from rafka.core.errors import RafkaError
from rafka.core.types import Uuid

DEFAULT_NODE_ID = 1
VERSION = 1
META = "meta.properties"
META_NEW = "meta.properties.tmp"
LOCK = ".lock"
SPACE_BYTES_MIN = 1 << 20
"""With less the disk counts as full: a start that fails half way leaves files behind."""
HARMLESS = frozenset({LOCK, META_NEW, "lost+found"})
"""What a directory may hold and still be new: our own beginnings, and what mkfs puts at the top of a volume."""


class DataDirError(RafkaError):
    """A data directory that cannot be used. The text is one sentence that names it and says what to do."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"data directory {path} {sentence}")
        self.path = path


@attrs.define(eq=False)
class DataDir:
    """A directory that is locked, and ours until `close`. path: absolute; node_id: 0 and up.

    is_new: it was made by this start, so nothing else can be in it.
    """

    path: str
    cluster_id: str
    node_id: int
    directory_id: Uuid
    is_new: bool
    _lock: int

    def close(self) -> None:
        """Let others have the directory. The lock file stays: removing it would race with the next owner."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@attrs.frozen
class Identity:
    """What meta.properties says. directory_id: None in files from before Kafka 3.7."""

    cluster_id: str
    node_id: int
    directory_id: Uuid | None


def open_data_dir(path: str, node_id: int | None) -> DataDir:
    """Lock the data directory and read who it belongs to; make both where there is nothing yet.

    node_id: what it must be; None takes what is there, or 1 for a new directory.
    Raises: DataDirError when it is in use, not ours, another node's, of a newer version, or cannot be written.
    """
    path = os.path.abspath(path)
    with _explained(path):
        _judge(path, node_id)
        _need_space(path)
        _make_dirs(path)
        _need_write(path)
        lock = _lock(path)
        try:
            found = _judge(path, node_id)
            whole = _completed(found, node_id)
            if whole != found:
                _write(path, whole)
        except BaseException:
            os.close(lock)
            raise
    assert whole.directory_id is not None
    return DataDir(path, whole.cluster_id, whole.node_id, whole.directory_id, found is None, lock)


def random_uuid() -> Uuid:
    """Draw a uuid from the system's generator; its text does not begin with "-"."""
    while True:
        raw = bytearray(os.urandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        uuid = Uuid(bytes(raw))
        if not uuid_text(uuid).startswith("-"):
            return uuid


def uuid_text(uuid: bytes) -> str:
    """Write a uuid the way Kafka does."""
    return base64.urlsafe_b64encode(uuid).rstrip(b"=").decode()


# ---- judging: reads only ---------------------------------------------------------------------------


def _judge(path: str, node_id: int | None) -> Identity | None:
    """Give what the directory says about itself; None if it is new. Raises OSError, DataDirError."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return None
    if META not in names:
        strangers = sorted(set(names) - HARMLESS)
        if strangers:
            raise DataDirError(
                path,
                f"holds {strangers[0]!r} but no {META}, so it is not a data directory: "
                "choose an empty or a new one",
            )
        return None
    with open(f"{path}/{META}", encoding="utf-8", errors="replace") as file:
        found = _identity(path, properties(file.read(1 << 16)))
    if node_id not in (None, found.node_id):
        raise DataDirError(
            path,
            f"belongs to node {found.node_id}, not to node {node_id}: "
            "give that node id, or choose another directory",
        )
    return found


def _identity(path: str, found: dict[str, str]) -> Identity:
    version = _number(path, found, "version")
    if version > VERSION:
        raise DataDirError(
            path, f"has version {version}, and this Rafka knows none above {VERSION}: use a newer Rafka"
        )
    if version < VERSION:
        raise DataDirError(
            path, f"has version {version}, of a Kafka with ZooKeeper, which cannot be used: choose another"
        )
    if not found.get("cluster.id"):
        raise _unreadable(path, "cluster.id")
    directory_id = _uuid(path, found["directory.id"]) if "directory.id" in found else None
    return Identity(found["cluster.id"], _number(path, found, "node.id"), directory_id)


def _number(path: str, found: dict[str, str], key: str) -> int:
    text = found.get(key, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise _unreadable(path, key)
    return int(text)


def _uuid(path: str, text: str) -> Uuid:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 16:
        raise _unreadable(path, "directory.id")
    return Uuid(raw)


def _unreadable(path: str, key: str) -> DataDirError:
    return DataDirError(path, f"has a damaged {META} (no usable {key}): restore that file from a backup")


def properties(text: str) -> dict[str, str]:
    """Read Java properties, as far as Kafka writes them: one key and value a line, a backslash before marks."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901 – the same line
        if line and line[0] not in "#!":
            key, _, rest = line.partition("=")
            found[key.rstrip()] = re.sub(r"\\(.)", r"\1", rest.lstrip())
    return found


# ---- touching --------------------------------------------------------------------------------------


def _make_dirs(path: str) -> None:
    """Make the directory and its missing parents; each new name is durable on return."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        _make_dirs(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    _sync_names(parent)


def _need_write(path: str) -> None:
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, "not writable")


def _need_space(path: str) -> None:
    """Raise DataDirError when the disk is full, of bytes or of files; of the parent when there is no directory yet."""
    if not hasattr(os, "statvfs"):  # Windows
        return
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    room = os.statvfs(path)
    # Some file systems do not count blocks or files: then both numbers are 0.
    if (room.f_blocks and room.f_bavail * room.f_frsize < SPACE_BYTES_MIN) or (
        room.f_files and not room.f_favail
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lock(path: str) -> int:
    """Take the lock; give the descriptor that holds it. Raises OSError, DataDirError if it is taken."""
    fd = os.open(f"{path}/{LOCK}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock_file(fd)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise
        sentence = "is in use by another process: stop that one, or choose another directory"
        raise DataDirError(path, sentence) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock_file(fd: int) -> None:
    """Lock the whole file against everybody else, without waiting. Raises OSError."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    set_lock = getattr(fcntl, "F_OFD_SETLK", None)
    if set_lock is None:  # neither Linux nor a late macOS
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    # struct flock: type, whence, start, length (0: to the end, wherever it is), pid (must be 0)
    fcntl.fcntl(fd, set_lock, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def _completed(found: Identity | None, node_id: int | None) -> Identity:
    if found is None:
        fresh = DEFAULT_NODE_ID if node_id is None else node_id
        return Identity(uuid_text(random_uuid()), fresh, random_uuid())
    if found.directory_id is None:
        return attrs.evolve(found, directory_id=random_uuid())
    return found


def _write(path: str, identity: Identity) -> None:
    """Replace meta.properties; durable on return."""
    assert identity.directory_id is not None
    cluster_id = identity.cluster_id.replace("\\", "\\\\")
    text = (
        f"#\nversion={VERSION}\ncluster.id={cluster_id}\nnode.id={identity.node_id}\n"
        f"directory.id={uuid_text(identity.directory_id)}\n"
    )
    new = f"{path}/{META_NEW}"
    try:
        with open(new, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, f"{path}/{META}")
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    _sync_names(path)


def _sync_names(path: str) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no such thing
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what the system says into a sentence for the operator."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise DataDirError(path, "is not a directory: choose another") from None
    except PermissionError:
        me = f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
        raise DataDirError(path, f"cannot be written by {me}: change its owner, or choose another") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataDirError(
                path, "is on a disk that is full: free some space, or choose another"
            ) from None
        what = error.strerror or "unknown error"
        raise DataDirError(path, f"cannot be used: {what} (errno {error.errno})") from None
