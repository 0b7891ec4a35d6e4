"""The hunt for bugs of the Raft machine, in the packet world: seeds 1, 2, 3 … until somebody sees it, and the record.

`python -m rafka.sim.zoo.raft_hunt [--record] [ID …]`. The correct code runs on every seed that found something.
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rafka.sim.raft.knobs import FAULTS
from rafka.sim.raft.run import Outcome, run
from rafka.sim.zoo import raft, raft_logs
from rafka.sim.zoo.hunt import Catch, Known, caught_by
from rafka.sim.zoo.registry import Bug, Bugs, planted

BUGS: Bugs = {**raft.BUGS, **raft_logs.BUGS}
RECORD = Path(__file__).with_name("raft_found.toml")
SEEDS = 200
NEAR = 12


def fixed_for(bug: Bug) -> dict[str, Any]:
    """Return the knobs that a bug is hunted with: what is not drawn."""
    return {**bug.knobs, "faults": {kind: FAULTS[kind][1] for kind in bug.faults}}


def run_planted(bug: Bug, seed: int) -> tuple[Outcome, int]:
    """Run one seed with a bug planted; return what came of it, and how often the bug did wrong."""
    with planted(bug) as plant:
        return run(seed, fixed=fixed_for(bug)), plant.hits


def who(violation: str) -> str:
    """Name who saw a violation: an invariant, an assertion of the machine's own, or an error."""
    name = caught_by(violation)
    return name if name == "assertion" or name[:2] in ("RA", "J", "LV") else "crash"


def hunt(bug: Bug, seeds: Iterable[int]) -> Catch:
    """Try seeds until one finds the bug."""
    tried = hits = 0
    cpu_s = 0.0
    for seed in seeds:
        tried += 1
        outcome, wrongs = run_planted(bug, seed)
        hits += wrongs
        cpu_s += outcome.cpu_s
        if outcome.violation:
            control = run(seed, fixed=fixed_for(bug)).violation
            seen = who(outcome.violation)
            return Catch(bug.id, seed, tried, seen, outcome.violation, hits, control, cpu_s)
    return Catch(bug.id, 0, tried, "", "", hits, "", cpu_s)


def hunt_again(bug: Bug, known: Known) -> Catch:
    """Find a bug again where it was found before, or near there."""
    return hunt(bug, [known.seed, *(known.seed + step for step in range(1, NEAR + 1))])


def recorded(path: Path = RECORD) -> Mapping[str, Known]:
    """Read what was found before, by bug."""
    with path.open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)
    return {name: Known(row["seed"], row["caught_by"]) for name, row in table.items()}


def record(catches: Iterable[Catch], path: Path = RECORD) -> None:
    """Write down what was found; what was not looked for stays as it was."""
    known = dict(recorded(path)) if path.exists() else {}
    known.update({one.bug: Known(one.seed, one.caught_by) for one in catches if one.is_found})
    rows = [
        f"\n[{name}]\nseed = {known[name].seed}\ncaught_by = {json.dumps(known[name].caught_by)}\n"
        for name in BUGS
        if name in known
    ]
    path.write_text(
        "# At which seed each bug of the Raft machine was found, and by whom.\n" + "".join(rows), "utf-8"
    )


def markdown(catches: Iterable[Catch]) -> str:
    """Return the table that the documentation shows."""
    lines = ["| id | bug | first met | seeds to find | caught by |", "|---|---|---|---|---|"]
    for one in catches:
        bug = BUGS[one.bug]
        seeds = str(one.seed) if one.seed else f"not in {one.tried}"
        lines.append(f"| {bug.id} | {bug.what} | {bug.source} | {seeds} | {one.caught_by or '–'} |")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Hunt for some bugs, or all; print the table. Returns how many are not found."""
    names = [word for word in words if not word.startswith("--")] or list(BUGS)
    catches = []
    for name in names:
        catch = hunt(BUGS[name], range(1, SEEDS + 1))
        catches.append(catch)
        sys.stderr.write(
            f"{name}: seed {catch.seed} {catch.caught_by} hits {catch.hits} {catch.violation[:90]}{catch.control}\n"
        )
    if "--record" in words:
        record(catches)
    sys.stdout.write(markdown(catches) + "\n")
    return sum(not catch.is_found for catch in catches)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
