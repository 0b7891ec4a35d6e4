"""Control records: the markers a log keeps for itself. Consumers never see them.

Key: version int16 (0), type int16. Value of a transaction marker: version int16 (0), coordinator epoch int32.
Source: KIP-98, "Control Messages"; KIP-595 and KIP-630 (leader change, snapshot header and footer, voters).
"""

from struct import Struct

from rafka.core.errors import CorruptRecord
from rafka.core.record.builder import Record

ABORT, COMMIT, LEADER_CHANGE, SNAPSHOT_HEADER, SNAPSHOT_FOOTER, KRAFT_VERSION, KRAFT_VOTERS = range(7)

_key = Struct(">hh")
_marker = Struct(">hi")


def control_type(key: bytes | None) -> int:
    """Tell what a control record marks, from its key. Raises CorruptRecord when it is no such key."""
    if key is None or len(key) < _key.size:
        raise CorruptRecord(0, "a control record without a key")
    kind: int = _key.unpack_from(key)[1]
    return kind


def control_record(kind: int, content: bytes) -> Record:
    """Make a control record of one of the types above; content: its encoded value."""
    return Record(_key.pack(0, kind), content)


def transaction_marker(*, committed: bool, coordinator_epoch: int) -> Record:
    """Make the marker that ends a transaction."""
    return control_record(COMMIT if committed else ABORT, _marker.pack(0, coordinator_epoch))
