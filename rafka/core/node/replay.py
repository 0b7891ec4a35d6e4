"""Reading a whole log back, record by record: how a shard's state comes back after a start."""

from collections.abc import Callable

from rafka.core.effects import Read
from rafka.core.errors import CorruptRecord, StorageError
from rafka.core.events import Failed, Loaded
from rafka.core.log.log import Log
from rafka.core.log.segment import Segment
from rafka.core.record.batch import HEADER_BYTES, check, size_at
from rafka.core.record.builder import Record, records_of
from rafka.core.record.compression import Codecs
from rafka.core.script import Script

READ_BYTES = 1 << 20

Take = Callable[[Record], None]


def replay(log: Log, codecs: Codecs, take: Take) -> Script[StorageError | CorruptRecord | None]:
    """Give every record of a recovered log to `take`, in order; markers are left out.

    Returns what went wrong; None: all was read.
    """
    try:
        for segment in list(log.segments):
            yield from _segment(segment, log, codecs, take)
    except (StorageError, CorruptRecord) as error:
        return error
    return None


def _segment(segment: Segment, log: Log, codecs: Codecs, take: Take) -> Script[None]:
    position = 0
    length = READ_BYTES
    while position < segment.size_bytes:
        loaded = yield Read(segment.file, position, length)
        if isinstance(loaded, Failed):
            raise StorageError(loaded.op, loaded.file, loaded.errno, loaded.text)
        assert isinstance(loaded, Loaded)
        view = memoryview(loaded.data)
        used = 0
        while len(view) - used >= HEADER_BYTES:
            size = size_at(view, used)[1]
            if used + size > len(view):
                break
            _batch(view[used : used + size], log, codecs, take)
            used += size
        if used == 0 and len(view) < length:
            raise CorruptRecord(position, f"{segment.file} ends inside a batch")
        length = READ_BYTES if used else max(READ_BYTES, size_at(view, 0)[1])
        position += used


def _batch(batch: memoryview, log: Log, codecs: Codecs, take: Take) -> None:
    header = check(batch)
    if header.is_control:
        return
    for record in records_of(batch, codecs):
        if record.offset >= log.log_start_offset:
            take(record)
