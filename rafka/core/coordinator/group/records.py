"""The records of __consumer_offsets, in the bytes that Kafka 4.4 writes.

key    int16 type, then the key message at version 0: type 1 is an offset, type 2 is a group
value  int16 version, then the value message at it; no value at all is a tombstone

Offsets are written at version 4, or at 1 when the client asked for a retention of its own (OffsetCommit 2-4),
the only version with an expire timestamp; groups at version 3. Every older version is read. Types of other kinds
of groups are skipped. Sources: Kafka's GroupCoordinatorRecordHelpers and GroupCoordinatorRecordSerde.
"""

from typing import Final

from rafka.core.errors import RemoteProtocolError
from rafka.core.message import Message, decode, encode
from rafka.core.stored.group_metadata_key import GroupMetadataKey
from rafka.core.stored.group_metadata_value import GroupMetadataValue
from rafka.core.stored.offset_commit_key import OffsetCommitKey
from rafka.core.stored.offset_commit_value import OffsetCommitValue

OFFSET_KEY: Final = 1
GROUP_KEY: Final = 2
GROUP_VALUE_VERSION: Final = 3
OFFSET_VALUE_VERSION: Final = 4
OFFSET_VALUE_VERSION_WITH_EXPIRY: Final = 1

Row = tuple[bytes, bytes | None]
"""One record: its key, and its value or a tombstone."""


def offset_row(group_id: str, topic: str, partition: int, committed: OffsetCommitValue | None) -> Row:
    """Return the record that commits an offset, or removes it when `committed` is None."""
    key = OffsetCommitKey(group=group_id, topic=topic, partition=partition)
    if committed is None:
        return _framed(OFFSET_KEY, key, 0), None
    expires = committed.expire_timestamp != -1
    version = OFFSET_VALUE_VERSION_WITH_EXPIRY if expires else OFFSET_VALUE_VERSION
    return _framed(OFFSET_KEY, key, 0), _framed(version, committed, version)


def group_row(group_id: str, group: GroupMetadataValue | None) -> Row:
    """Return the record that stores a generation of a group, or removes the group when None."""
    key = _framed(GROUP_KEY, GroupMetadataKey(group=group_id), 0)
    return key, None if group is None else _framed(GROUP_VALUE_VERSION, group, GROUP_VALUE_VERSION)


def key_of(key: bytes) -> OffsetCommitKey | GroupMetadataKey | None:
    """Decode a key; None if it is of a type that classic groups do not have, or malformed."""
    kind = int.from_bytes(key[:2], "big")
    try:
        if kind in (0, OFFSET_KEY):
            return decode(OffsetCommitKey, 0, key[2:])
        if kind == GROUP_KEY:
            return decode(GroupMetadataKey, 0, key[2:])
    except RemoteProtocolError:
        return None
    return None


def offset_value(value: bytes) -> OffsetCommitValue | None:
    """Decode the value of an offset, of any version; None if it is malformed."""
    try:
        return decode(OffsetCommitValue, int.from_bytes(value[:2], "big"), value[2:])
    except RemoteProtocolError:
        return None


def group_value(value: bytes) -> GroupMetadataValue | None:
    """Decode the value of a group, of any version; None if it is malformed."""
    try:
        return decode(GroupMetadataValue, int.from_bytes(value[:2], "big"), value[2:])
    except RemoteProtocolError:
        return None


def _framed(number: int, message: Message, version: int) -> bytes:
    return number.to_bytes(2, "big") + encode(message, version)
