"""A log's directory: making it, whose it is, and removing it.

`partition.metadata` says which topic the directory belongs to, for a name is used again when a topic is deleted
and made anew, and the rename of the old directory may be what a crash undoes:

    version: 0
    topic_id: <16 bytes in base64url, without padding>

A deleted topic's directory is first renamed to `<topic>-<partition>.<32 hex digits>-delete`, then emptied; what
a crash leaves of it is found by its name (`leftovers`) and removed at the next start.

Sources: Kafka's `PartitionMetadataFile`, `LocalLog.logDeleteDirName`; KIP-516.
"""

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Iterable
from errno import ENOENT

from rafka.core.effects import List, MakeDir, Read, Rename, Sync, SyncDir, Unlink, Write
from rafka.core.errors import StorageError
from rafka.core.events import DiskEvent, Entry, Failed, Listed, Loaded
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, ZERO_UUID, File, Uuid

IDENTITY = "partition.metadata"
DELETED = "-delete"
NAME_BYTES_MAX = 255
ROOT = File("")


def ensure(event: DiskEvent) -> None:
    """Raise StorageError if the operation failed."""
    if isinstance(event, Failed):
        raise StorageError(event.op, event.file, event.errno, event.text)


def entries_of(directory: File) -> Script[list[Entry] | None]:
    """List a directory; None: it is not there. Raises StorageError."""
    listed = yield List(directory)
    if isinstance(listed, Failed) and listed.errno == ENOENT:
        return None
    ensure(listed)
    assert isinstance(listed, Listed)
    return listed.entries


def content(file: File, size_bytes: int) -> Script[bytes]:
    """Read the first `size_bytes` of a file. Raises StorageError."""
    loaded = yield Read(file, 0, size_bytes)
    ensure(loaded)
    assert isinstance(loaded, Loaded)
    return loaded.data


def make(directory: File, topic_id: Uuid) -> Script[Failed | None]:
    """Make the directory and say whose it is; durable but for the name of `partition.metadata` in it."""
    identity = File(f"{directory}/{IDENTITY}")
    for effect in (
        MakeDir(directory),
        Write(identity, 0, [identity_text(topic_id)]),
        Sync(identity, NO_ANSWER),
        SyncDir(ROOT),
    ):
        event = yield effect
        if isinstance(event, Failed):
            return event
    return None


def belongs_to(directory: File, entries: Iterable[Entry], topic_id: Uuid) -> Script[bool]:
    """Say whether the directory is that of `topic_id`; one that does not say whose it is may be anybody's."""
    for entry in entries:
        if entry.name == IDENTITY:
            text = yield from content(File(f"{directory}/{IDENTITY}"), entry.size)
            return topic_id_in(text) in (topic_id, None, ZERO_UUID)
    return True


def identity_text(topic_id: Uuid) -> bytes:
    """Write the content of `partition.metadata`."""
    digits = b2a_base64(topic_id, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")
    return b"version: 0\ntopic_id: %s\n" % digits


def topic_id_in(text: bytes) -> Uuid | None:
    """Read the topic id from `partition.metadata`; None when a crash or somebody else has garbled it."""
    version, _, rest = text.partition(b"\n")
    name, _, digits = rest.rstrip(b"\n").partition(b": ")
    if version != b"version: 0" or name != b"topic_id" or len(digits) != 22:
        return None
    try:
        return Uuid(a2b_base64(digits.replace(b"-", b"+").replace(b"_", b"/") + b"=="))
    except Error:
        return None


def deleted_name(directory: File, topic_id: Uuid) -> File:
    """Name what is left of a deleted log; no two topics have the same id."""
    suffix = f".{topic_id.hex()}{DELETED}"
    return File(directory[: NAME_BYTES_MAX - len(suffix)] + suffix)


def leftovers(entries: Iterable[Entry]) -> list[File]:
    """Pick, from a listing of the data directory, what deleted logs have left: `remove` each."""
    return [File(entry.name) for entry in entries if entry.is_dir and _is_deleted(entry.name)]


def remove(directory: File) -> Script[None]:
    """Remove a directory and all files in it. Raises StorageError."""
    for entry in (yield from entries_of(directory)) or []:
        ensure((yield Unlink(File(f"{directory}/{entry.name}"))))
    ensure((yield Unlink(directory)))
    ensure((yield SyncDir(ROOT)))


def discard(directory: File, topic_id: Uuid) -> Script[None]:
    """Take a log's directory away: its name is free at once, its bytes go after that. Raises StorageError."""
    doomed = deleted_name(directory, topic_id)
    renamed = yield Rename(directory, doomed)
    if isinstance(renamed, Failed) and renamed.errno == ENOENT:
        return
    ensure(renamed)
    ensure((yield SyncDir(ROOT)))
    yield from remove(doomed)


def _is_deleted(name: str) -> bool:
    digits = name.removesuffix(DELETED)[-33:]
    return (
        name.endswith(DELETED)
        and digits.startswith(".")
        and len(digits) == 33
        and not digits[1:].strip("0123456789abcdef")
    )
