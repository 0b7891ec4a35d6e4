"""Room that the metadata log is sure of: what makes room on a full disk, a deletion, must itself be written down.

Blocks after the end of the file are taken while there are any (fallocate(2) with FALLOC_FL_KEEP_SIZE), so writes find
them though the disk has filled up meanwhile; the file is as long as what was written. Where the system or the file
system has no such thing, or the disk is full already, nothing is reserved, and it is tried again some blocks later.
"""

import sys
from typing import Final

from rafka.core.metadata.names import CLUSTER_METADATA

RESERVED_BYTES: Final = 64 << 10
"""Some hundreds of deletions; half of it is there at any time."""
RETRY_BYTES: Final = 4 << 10
NEVER: Final = 1 << 62
_KEEP_SIZE: Final = 1


def first_room_at(name: str) -> int:
    """Return from which position on writes to a file want room to be reserved: 0, or NEVER for ordinary files."""
    return 0 if name.startswith(f"{CLUSTER_METADATA}-") and name.endswith(".log") else NEVER


def reserve(fd: int, position: int) -> int:
    """Reserve room from `position` on; return the position from which on more is wanted."""
    return position + (RESERVED_BYTES // 2 if _allocate(fd, position, RESERVED_BYTES) else RETRY_BYTES)


def _allocate(fd: int, position: int, length: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    library = ctypes.CDLL(None)
    call = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if call is None:
        return False
    found: int = call(fd, _KEEP_SIZE, ctypes.c_int64(position), ctypes.c_int64(length))
    return found == 0
