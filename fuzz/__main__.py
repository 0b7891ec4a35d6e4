"""Run a fuzzer for a while: python -m fuzz [frames|batches|pages]... [--seconds S] [--seed FIRST].

Seeds count up from FIRST. The first that fails is named with the command that repeats it, and the exit code is 1.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable

from fuzz import batches, frames, pages

FUZZERS: dict[str, Callable[[int], None]] = {
    "frames": frames.attack,
    "batches": batches.attack,
    "pages": pages.attack,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("fuzzers", nargs="*", choices=[*FUZZERS, []], help="which; all if none is named")
    parser.add_argument("--seconds", type=float, default=10, help="how long each; 0: the first seed alone")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    return max(run(name, arguments.seed, arguments.seconds) for name in arguments.fuzzers or FUZZERS)


def run(name: str, seed: int, seconds: float) -> int:
    """Try one seed after the other; 1 if one failed."""
    until = time.monotonic() + seconds
    first = seed
    while True:
        try:
            FUZZERS[name](seed)
        except Exception:
            traceback.print_exc()
            print(f"failed; again: python -m fuzz {name} --seconds 0 --seed {seed}", file=sys.stderr)
            return 1
        seed += 1
        if time.monotonic() >= until:
            break
    print(f"{name}: seeds {first} to {seed - 1} held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
