"""The time, read once a turn."""

import time

from rafka.core.types import MonoNs, Now, WallMs


def now() -> Now:
    """Read both clocks."""
    return Now(MonoNs(time.monotonic_ns()), WallMs(time.time_ns() // 1_000_000))
