"""Chance from a seed, in named streams, so that one more draw in one place moves nothing elsewhere.

Only `random()` and `getrandbits()` of Python's generator are used: their algorithms are pinned, and a seed gives
the same numbers in every process and on every machine. `Chance` is also the `Entropy` of simulated machines.
"""

from random import Random
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """One stream of draws. name: says which; streams of other names are independent of it."""

    def __init__(self, seed: int, name: str = "") -> None:
        self.seed = seed
        self._name = name
        # A str is seeded by its SHA-512, whatever PYTHONHASHSEED is.
        self.random = Random(f"{seed}/{name}")  # noqa: S311 – chance to be repeated, not secrets
        """For those who want Python's own interface."""
        self.draw = self.random.random
        """Draw a float in [0, 1)."""

    def fork(self, name: str) -> "Chance":
        """Give an independent stream of the same seed."""
        return Chance(self.seed, f"{self._name}/{name}")

    def below(self, bound: int) -> int:
        """Draw an int in [0, bound)."""
        return int(self.draw() * bound)

    def bytes(self, count: int) -> bytes:
        """Draw `count` random bytes."""
        return self.random.getrandbits(8 * count).to_bytes(count, "big") if count else b""

    def happens(self, probability: float) -> bool:
        """Draw whether something of this probability happens."""
        return self.draw() < probability

    def around(self, mean: int) -> int:
        """Draw a duration: mostly below twice the mean, one in a hundred up to forty times it."""
        draw = self.draw
        return int(draw() * (40 if draw() < 0.01 else 2) * mean)

    def one_of(self, *choices: T) -> T:
        """Draw one of these."""
        return choices[int(self.draw() * len(choices))]
