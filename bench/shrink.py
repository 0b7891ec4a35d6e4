"""How far failures shrink: plant each bug of the zoo, find it, shrink it, and count the faults that are left.

    python bench/shrink.py                  all of them
    python bench/shrink.py L21 T04          some
    python bench/shrink.py --seconds 300    as many as fit, in the order of the zoo

Prints a line a bug, and at the end the share that is left with 15 faults or fewer: the goal is 90 %, in 200 runs.
"""

import argparse
import time

from rafka.sim import run as runs
from rafka.sim.run import run
from rafka.sim.shrink import Case, case_of, shrink
from rafka.sim.zoo.all import BUGS
from rafka.sim.zoo.hunt import SETTLE_EVENTS, SETTLE_MS, TIME_MS, profile_for
from rafka.sim.zoo.registry import planted

SEEDS = 40
FEW = 15


def rerun(bug):
    def run_case(case):
        with planted(bug):
            return Case.run(case)

    return run_case


def shrink_one(bug):
    """Return faults before and after, runs, seconds and whether it is minimal; None if it was not found."""
    for seed in range(1, SEEDS + 1):
        with planted(bug):
            outcome = run(seed, profile_for(bug), time_ms=TIME_MS)
        if outcome.violation:
            break
    else:
        return None
    began_s = time.process_time()
    shrunk = shrink(case_of(outcome, TIME_MS), outcome, runs=rerun(bug))
    return shrunk, time.process_time() - began_s


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bugs", nargs="*", default=list(BUGS))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    runs.SETTLE_MS, runs.SETTLE_EVENTS = SETTLE_MS, SETTLE_EVENTS
    until_s = time.monotonic() + options.seconds
    few = found = 0
    for name in options.bugs:
        if time.monotonic() > until_s:
            break
        done = shrink_one(BUGS[name])
        if done is None:
            print(f"{name:6} not found in {SEEDS} seeds", flush=True)
            continue
        shrunk, took_s = done
        left = len(shrunk.case.only)
        found += 1
        few += left <= FEW
        print(
            f"{name:6} {shrunk.faults_before:4} -> {left:3} faults  {shrunk.runs:4} runs {took_s:6.1f} s  "
            f"{len(shrunk.case.knobs):2} knobs  {'minimal' if shrunk.is_minimal else 'spent':8}"
            f"{shrunk.outcome.violation[:70]}",
            flush=True,
        )
    if found:
        print(f"{few} of {found} with at most {FEW} faults ({few / found:.0%})")


if __name__ == "__main__":
    main()
