"""The hunt: plant each bug, run seed after seed until somebody sees it, and say who, and after how many.

A bug that is recorded (`found.toml`) was found once, at that seed and by that checker. It must be found again: there,
or, where other code has made the seed another history, at one of the next NEAR seeds.
"""

import json
import multiprocessing
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from rafka.core.shape import value
from rafka.sim.faults import HEAVY
from rafka.sim.profile import Profile, profile_of
from rafka.sim.run import Outcome, run
from rafka.sim.zoo.all import BUGS
from rafka.sim.zoo.registry import Bug, Plant, planted

TIME_MS = 3000
"""How long chaos lasts in each run: short histories, many seeds."""
SETTLE_MS = 60_000
SETTLE_EVENTS = 300_000
"""What the correct code takes for a tenth of is given to a bug, and no more: a hunt must not wait for ever."""
SEEDS = 200
NEAR = 12
RECORD = Path(__file__).with_name("found.toml")


@value
class Catch:
    """What a hunt for one bug came to. seed: that found it, 0 if none did; tried: how many seeds were run.

    caught_by: invariant or checker; hits: how often the bug had done wrong in all of the runs; control: what the
    correct code does on the same seed, "" is right.
    """

    bug: str
    seed: int
    tried: int
    caught_by: str
    violation: str
    hits: int
    control: str
    real_s: float

    @property
    def is_found(self) -> bool:
        """Whether it was found, and the correct code is not accused of the same."""
        return self.seed > 0 and not self.control


@value
class Known:
    """A bug that was found before."""

    seed: int
    caught_by: str


def profile_for(bug: Bug) -> Profile:
    """Return what a bug is hunted with."""
    profile = profile_of(bug.profile)
    knobs = {**profile.knobs, **bug.knobs}
    faults = {**profile.faults, **dict.fromkeys(bug.faults, HEAVY)}
    return attrs.evolve(profile, knobs=knobs, faults=faults)  # type: ignore[misc]  # a value is an attrs class


def run_planted(bug: Bug, seed: int) -> tuple[Outcome, int]:
    """Run one seed with a bug planted; return what came of it, and how often the bug did wrong."""
    with planted(bug) as plant:
        return _run(bug, seed, plant), plant.hits


def run_correct(bug: Bug, seed: int) -> Outcome:
    """Run the same seed of the correct code."""
    return _run(bug, seed, Plant())


def _run(bug: Bug, seed: int, plant: Plant) -> Outcome:
    """Run one seed, and wait less long than usual for what never ends."""
    from rafka.sim import run as runs

    before = len(plant.undo)
    plant.put(runs, "SETTLE_MS", SETTLE_MS)
    plant.put(runs, "SETTLE_EVENTS", SETTLE_EVENTS)
    try:
        return run(seed, profile_for(bug), time_ms=TIME_MS)
    finally:
        plant.uproot(before)


def caught_by(violation: str) -> str:
    """Name who saw a violation: an invariant, an assertion of the broker's own, or nobody but the process that died."""
    name = violation.partition(":")[0]
    if name.startswith("AssertionError"):
        return "assertion"
    return "crash" if " in phase " in name else name


def hunt(bug: Bug, seeds: Iterable[int]) -> Catch:
    """Try seeds until one finds the bug."""
    tried = hits = 0
    real_s = 0.0
    for seed in seeds:
        tried += 1
        outcome, wrongs = run_planted(bug, seed)
        hits += wrongs
        real_s += outcome.real_s
        if outcome.violation:
            control = run_correct(bug, seed).violation
            who = caught_by(outcome.violation)
            return Catch(bug.id, seed, tried, who, outcome.violation, hits, control, real_s)
    return Catch(bug.id, 0, tried, "", "", hits, "", real_s)


def hunt_again(bug: Bug, known: Known) -> Catch:
    """Find a bug again where it was found before, or near there."""
    return hunt(bug, [known.seed, *(known.seed + step for step in range(1, NEAR + 1))])


def hunt_all(
    names: Iterable[str], seeds_max: int, jobs: int, seen: Callable[[Catch], None], *, again: bool
) -> list[Catch]:
    """Hunt for many bugs; tell of each as it ends. again: only where it was found before."""
    known = recorded()
    wanted = [name for name in names if not again or name in known]
    tasks = [(name, seeds_max, known[name] if again else None) for name in wanted]
    caught: list[Catch] = []
    if jobs == 1:
        for task in tasks:
            caught.append(_hunt(task))
            seen(caught[-1])
    else:
        with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=8) as pool:
            for catch in pool.imap_unordered(_hunt, tasks):
                caught.append(catch)
                seen(catch)
    order = {name: place for place, name in enumerate(wanted)}
    return sorted(caught, key=lambda catch: order[catch.bug])


def _hunt(task: tuple[str, int, Known | None]) -> Catch:
    name, seeds_max, known = task
    if known is not None:
        return hunt_again(BUGS[name], known)
    return hunt(BUGS[name], range(1, seeds_max + 1))


# ---- the record ----------------------------------------------------------------------------------------


def recorded(path: Path = RECORD) -> Mapping[str, Known]:
    """Read what was found before, by bug."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)
    return {name: Known(row["seed"], row["caught_by"]) for name, row in table.items()}


def record(catches: Iterable[Catch], path: Path = RECORD) -> None:
    """Write down what was found; what was not looked for stays as it was."""
    known = dict(recorded(path))
    for catch in catches:
        if catch.is_found:
            known[catch.bug] = Known(catch.seed, catch.caught_by)
    lines = [
        "# Written by `rafka sim zoo --record`: at which seed each bug was found, and by whom.\n",
        *(
            f"\n[{name}]\nseed = {known[name].seed}\ncaught_by = {json.dumps(known[name].caught_by)}\n"
            for name in BUGS
            if name in known
        ),
    ]
    path.write_text("".join(lines), "utf-8")
