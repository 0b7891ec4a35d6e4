"""What a fetch brought: whole batches, maybe from before the offset asked for, maybe cut off at the end.

A broker sends the file's bytes as they are. The first batch holds the offset asked for, but may begin before
it; the last may be cut where the byte limit fell; batches that mark transactions hold nothing for a reader.
Source: KIP-98, KIP-74, and Kafka's class `CompletedFetch`.
"""

from rafka.core.record.batch import LENGTH_OVERHEAD, check, size_at
from rafka.core.record.builder import Record, records_of
from rafka.core.record.compression import Codecs


def records_from(data: memoryview, offset: int, codecs: Codecs) -> tuple[list[Record], int]:
    """Return the records at `offset` and after it, and the offset to fetch next.

    The next offset is `offset` itself when no whole batch came. Raises CorruptRecord.
    """
    records: list[Record] = []
    position = 0
    while len(data) - position >= LENGTH_OVERHEAD:
        end = position + size_at(data, position)[1]
        if end > len(data):
            break
        header = check(data, position)
        if not header.is_control:
            batch = data[position:end]
            records += (record for record in records_of(batch, codecs) if record.offset >= offset)
        offset = max(offset, header.last_offset + 1)
        position = end
    return records, offset
