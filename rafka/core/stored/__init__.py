"""What Kafka stores in its logs: metadata records, coordinators' keys and values, control records.

Importing this package imports no record class: the functions below do, when asked. The modules are written by
tools/generate_messages.py. A coordinator's key starts with its type as an int16, and a value with its version; a
metadata record is framed by rafka.core.metadata.
"""

from __future__ import annotations

from rafka.core.message.base import Message
from rafka.core.message.lazy import load
from rafka.core.stored.table import (
    GROUP_KEYS,
    GROUP_VALUES,
    METADATA_RECORDS,
    SHARE_KEYS,
    SHARE_VALUES,
    TRANSACTION_KEYS,
    TRANSACTION_VALUES,
)

__all__ = [
    "GROUP_KEYS",
    "GROUP_VALUES",
    "METADATA_RECORDS",
    "SHARE_KEYS",
    "SHARE_VALUES",
    "TRANSACTION_KEYS",
    "TRANSACTION_VALUES",
    "stored_class",
]


def stored_class(table: dict[int, str], record_type: int) -> type[Message] | None:
    """Return the class of a record type in one of this package's tables; None if the type is unknown."""
    name = table.get(record_type)
    return None if name is None else load(__name__, name)
