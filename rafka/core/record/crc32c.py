"""CRC-32C (Castagnoli), the checksum of record batches and snapshots; imported from fastcrc here alone.

"123456789" gives 0xE3069283. Source: RFC 3720 appendix B.4; Kafka's `org.apache.kafka.common.utils.Crc32C`.
"""

from collections.abc import Callable

from fastcrc import crc32

from rafka.core.types import Buffer

_iscsi = crc32.iscsi
summed: Callable[[Buffer, int], int] = _iscsi
"""Sums data after what gave the second argument: the bare function, for loops that feel a call more."""


def crc32c(data: Buffer) -> int:
    """Sum `data`, any contiguous buffer, without copying it; 0 to 2^32 - 1."""
    return int(_iscsi(data))


def crc32c_from(former: int, data: Buffer) -> int:
    """Sum `data` after what gave `former` (0: nothing)."""
    return int(_iscsi(data, former))
