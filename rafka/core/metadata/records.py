"""Metadata records in the bytes that Kafka stores: the values of the records of `__cluster_metadata`.

    frame version   unsigned varint, 1
    record type     unsigned varint, the API_KEY of the record's class
    version         unsigned varint
    body            the record in that version, tagged fields included

Records have no key. They are written in the versions that belong to METADATA_VERSION, so that every controller that
knows this level can read them, and read in every version that Kafka 4.4 knows.

Sources: Kafka's `MetadataRecordSerde`, `AbstractApiMessageSerde` and `MetadataVersion`; KIP-631.
"""

from typing import Final

from rafka.core.errors import CorruptRecord, RemoteProtocolError
from rafka.core.message import Message, codec
from rafka.core.message import decode as decode_message
from rafka.core.message.wire import put_uvarint, read_uvarint
from rafka.core.stored import METADATA_RECORDS, stored_class
from rafka.core.types import Buffer

METADATA_VERSION: Final = 25
"""The finalized level of the feature metadata.version: 4.0-IV3, the first that needs nothing older than Kafka 4."""
FRAME_VERSION: Final = 1
_VERSIONS: Final = {0: 3, 3: 2, 5: 2, 17: 2}
"""Record type to the version written, where that is not 0: brokers and partitions know their directories (KIP-858)."""


def encode(record: Message) -> bytes:
    """Return a record's value. Raises: LocalProtocolError if the record cannot be said in the version written."""
    record_type: int = record.API_KEY  # type: ignore[attr-defined]  # every class of METADATA_RECORDS has one
    version = _VERSIONS.get(record_type, 0)
    out = bytearray()
    put_uvarint(out, FRAME_VERSION)
    put_uvarint(out, record_type)
    put_uvarint(out, version)
    codec(record.__class__, version).encode(record, out)
    return bytes(out)


def decode(value: Buffer) -> Message | None:
    """Return the record; None for a frame, type or version that is unknown here.

    Raises: CorruptRecord for a known one that does not parse.
    """
    try:
        frame_version, pos = read_uvarint(value, 0)
        record_type, pos = read_uvarint(value, pos)
        version, pos = read_uvarint(value, pos)
        cls = stored_class(METADATA_RECORDS, record_type)
        if frame_version != FRAME_VERSION or cls is None or version not in cls.VERSIONS:
            return None
        return decode_message(cls, version, memoryview(value)[pos:])
    except (RemoteProtocolError, IndexError) as error:
        raise CorruptRecord(0, f"metadata record: {error}") from error
