"""Many seeds of the Raft world, in as many processes as are asked for, and what they came to together."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable

import attrs

from rafka.sim.raft.run import Outcome, run


@attrs.define
class Total:
    """All runs together."""

    seeds: int = 0
    events: int = 0
    virtual_ns: int = 0
    cpu_s: float = 0.0
    epochs: int = 0
    committed: int = 0
    fired: Counter[str] = attrs.field(factory=Counter)
    runs: Counter[str] = attrs.field(factory=Counter)
    """In how many runs each kind of fault struck."""
    checked: Counter[str] = attrs.field(factory=Counter)
    failed: list[tuple[int, str]] = attrs.field(factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one run."""
        self.seeds += 1
        self.events += outcome.events
        self.virtual_ns += outcome.virtual_ns
        self.cpu_s += outcome.cpu_s
        self.epochs += outcome.epochs
        self.committed += outcome.committed
        self.fired.update(outcome.fired)
        self.runs.update(dict.fromkeys(outcome.fired, 1))
        self.checked.update(outcome.checked)
        if outcome.violation:
            self.failed.append((outcome.seed, outcome.violation))


def run_many(seeds: Iterable[int], jobs: int, time_ms: int | None, seen: Callable[[Outcome], None]) -> Total:
    """Run seeds; tell of each as it ends."""
    total = Total()
    tasks = [(seed, time_ms) for seed in seeds]
    if jobs == 1:
        outcomes: Iterable[Outcome] = map(_run, tasks)
        for outcome in outcomes:
            total.add(outcome)
            seen(outcome)
        return total
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for outcome in pool.imap_unordered(_run, tasks, chunksize=8):
            total.add(outcome)
            seen(outcome)
    return total


def _run(task: tuple[int, int | None]) -> Outcome:
    seed, time_ms = task
    return run(seed, time_ms=time_ms)
