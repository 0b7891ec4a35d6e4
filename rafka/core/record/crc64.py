"""CRC-64/XZ, the sum of a log's chain: it goes on from a former sum, so a chain is one call a batch.

"123456789" gives 0x995DC9BBDF1939FA. Source: the xz file format, section 5; ECMA-182.
"""

from collections.abc import Callable

from fastcrc import crc64

from rafka.core.types import Buffer

_xz = crc64.xz
summed: Callable[[Buffer, int], int] = _xz
"""Sums data after what gave the second argument: the bare function, for loops that feel a call more."""


def crc64_from(former: int, data: Buffer) -> int:
    """Sum `data` after what gave `former` (0: nothing); 0 to 2^64 - 1."""
    return int(_xz(data, former))
