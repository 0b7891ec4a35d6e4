"""Small text files that are replaced whole: the log start offset, and the leader epochs.

Both are Kafka's checkpoint format, lines that end in LF: a version (0), the number of entries, then one entry
a line, its fields separated by a space:

    log-start-offset-checkpoint    topic, partition, offset
    cleaner-offset-checkpoint      topic, partition, offset
    leader-epoch-checkpoint        leader epoch, the first offset of that epoch

The log start offset is Kafka's file for a whole data directory with the one entry of this log, kept in the
log's own directory: so a log depends on no other. Replacing is crash-safe: the new text is written beside the
old and synced before it takes its name. Source: Kafka's `CheckpointFile`, `LeaderEpochCheckpointFile`.
"""

from itertools import pairwise

from rafka.core.effects import Rename, Sync, SyncDir, Unlink, Write
from rafka.core.errors import StorageError
from rafka.core.log.directory import ensure
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, File

LOG_START = "log-start-offset-checkpoint"
CLEANED_UP_TO = "cleaner-offset-checkpoint"
EPOCHS = "leader-epoch-checkpoint"
TEMPORARY = ".tmp"
"""What the names of files in the making end in; one that is found after a crash is worth nothing."""

Entries = list[tuple[int, int]]


def log_start_text(directory: File, offset: int) -> bytes:
    """Write a log start offset."""
    topic, _, partition = directory.rpartition("-")
    return f"0\n1\n{topic} {partition} {offset}\n".encode()


def log_start_in(text: bytes) -> int | None:
    """Read a log start offset; None when the text is not what was written."""
    numbers = _lines(text, fields=3)
    return numbers[0][1] if numbers is not None and len(numbers) == 1 and numbers[0][1] >= 0 else None


def epochs_text(entries: Entries) -> bytes:
    """Write leader epochs."""
    lines = (f"{epoch} {offset}\n" for epoch, offset in entries)
    return f"0\n{len(entries)}\n{''.join(lines)}".encode()


def epochs_in(text: bytes) -> Entries | None:
    """Read leader epochs; None when the text is not what was written."""
    found = _lines(text, fields=2)
    if found is None:
        return None
    grows = all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))
    return found if grows and all(min(entry) >= 0 for entry in found) else None


def prepare(file: File, text: bytes, attempt: int) -> Script[File]:
    """Write, durably, what is to become the content of `file`, beside it; adopt it by a Rename and a SyncDir.

    attempt: no two under way have the same. Raises StorageError.
    """
    beside = File(f"{file}.{attempt}{TEMPORARY}")
    try:
        ensure((yield Write(beside, 0, [text])))
        ensure((yield Sync(beside, NO_ANSWER)))
    except StorageError:
        yield Unlink(beside)  # a full disk has no room for the remains of attempts
        raise
    return beside


def replace(file: File, text: bytes, attempt: int) -> Script[None]:
    """Give a file another content, the old or the new at any moment. Raises StorageError."""
    beside = yield from prepare(file, text, attempt)
    ensure((yield Rename(beside, file)))
    ensure((yield SyncDir(File(file.rpartition("/")[0]))))


def _lines(text: bytes, fields: int) -> Entries | None:
    """Read the last two fields of every entry."""
    try:
        version, count, *lines = text.decode("ascii").split("\n")
        entries = [line.split(" ") for line in lines[:-1]]
        if version != "0" or int(count) != len(entries) or lines[-1:] != [""]:
            return None
        if any(len(entry) != fields for entry in entries):
            return None
        return [(int(entry[-2]), int(entry[-1])) for entry in entries]
    except ValueError:
        return None
