"""Clock and chance of the real world, for the faces of the client; the machines get them as arguments."""

import random
import time

from rafka.core.types import MonoNs, Now, WallMs


def now() -> Now:
    """Read both clocks."""
    return Now(MonoNs(time.monotonic_ns()), WallMs(time.time_ns() // 1_000_000))


class Chance:
    """Draws from the system's generator; satisfies `rafka.core.machine.Entropy`."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def below(self, bound: int) -> int:
        """Draw an int in [0, bound)."""
        return self._random.randrange(bound)

    def bytes(self, count: int) -> bytes:
        """Draw `count` random bytes."""
        return self._random.randbytes(count)
