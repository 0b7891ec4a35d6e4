"""When a failure became inevitable: the probability that a run fails, if chance goes another way from a moment on.

From the failing run's own beginning up to a moment every fault strikes as it did; from there on faults are drawn
anew. Of some such runs a share fails in the same way. Where that share rises from almost none to almost all, the bug
has happened, however much later somebody notices. A snapshot is not needed: a seed and a moment are one.
"""

from collections.abc import Callable

import attrs

from rafka.sim.chance import Chance
from rafka.sim.run import Outcome, Run, Wrap
from rafka.sim.shrink import EVENTS_MAX, Case, signature

POINTS = 10
SAMPLES = 6

Point = tuple[int, float]
"""A moment in ns, and the share of runs that fail."""


def probabilities(
    case: Case,
    outcome: Outcome,
    *,
    wrap: Wrap | None = None,
    points: int = POINTS,
    samples: int = SAMPLES,
    told: Callable[[int, int], None] = lambda *_: None,
) -> list[Point]:
    """Draw the curve of a failed run, from its start to its end.

    case: as it was found, not shrunk. told: how many runs are done, and of how many. When the runs have become too
    many events, the moments that are left are left out.
    """
    free = attrs.evolve(case, only=None)  # type: ignore[misc]  # a value is an attrs class
    wanted = signature(outcome.violation)
    events_left = EVENTS_MAX
    found: list[Point] = []
    for number in range(points):
        at_ns = outcome.virtual_ns * number // max(points - 1, 1)
        failed = 0
        for sample in range(samples):
            again = free.run(wrap=wrap, prepare=anew_from(at_ns, sample))
            failed += signature(again.violation) == wanted
            events_left -= again.events
            told(number * samples + sample + 1, points * samples)
        found.append((at_ns, failed / samples))
        if events_left < 0:
            break
    return found


def anew_from(at_ns: int, sample: int) -> Callable[[Run], None]:
    """Let faults be drawn anew from a moment on; each sample in its own way."""

    def prepare(run: Run) -> None:
        chance = Chance(run.seed, f"anew {sample} from {at_ns}")
        run.world.at(at_ns, lambda _: run.world.book.reseed(chance), None)

    return prepare
