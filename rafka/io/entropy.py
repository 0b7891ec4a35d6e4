"""Chance from the operating system, for machines that are given it at construction."""

import os


class SystemEntropy:
    """Draws from the system's generator; satisfies `rafka.core.machine.Entropy`."""

    __slots__ = ()

    def below(self, bound: int) -> int:
        """Draw an int in [0, bound), each as likely as the other."""
        assert bound > 0
        bits = (bound - 1).bit_length()
        size = (bits + 7) // 8
        while True:  # cutting to the bound's bits refuses less than half of the draws
            drawn = int.from_bytes(os.urandom(size)) >> (size * 8 - bits)
            if drawn < bound:
                return drawn

    def bytes(self, count: int) -> bytes:
        """Draw `count` random bytes."""
        return os.urandom(count)
