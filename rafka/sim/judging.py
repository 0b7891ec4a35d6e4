"""The second opinion: the offline checkers over the history of a run. They and the ledger must agree on every seed.

The ledger knows the disk, and excuses each loss by name; a history knows only what clients saw. So the header says
which anomalies the run's model does not rule out: with losses or damage that is what losing looks like from outside;
where records are deleted, that some were never read.
"""

import json
from typing import Any

import attrs

from rafka.sim.check.judge import judge
from rafka.sim.check.reader import read
from rafka.sim.exhaustive import exhaust
from rafka.sim.profile import DAMAGING, LYING
from rafka.sim.run import Outcome

DELETING = ("lost-write", "unseen", "commit-ahead")
LOSING = (
    *DELETING,
    "inconsistent-offsets",
    "duplicate",
    "realtime-order",
    "sequence-order",
    "nonmonotonic-send",
    "nonmonotonic-poll",
    "int-nonmonotonic-poll",
    "poll-skip",
    "int-poll-skip",
    "commit-regress",
    "unwritten-commit",
    "watermark-regress",
)


def header_of(outcome: Outcome) -> dict[str, Any]:
    """Return the first line of a run's history: what its model promises, and what it does not."""
    knobs = outcome.knobs
    is_lossy = bool(knobs["flush_os"] or outcome.excused or outcome.levels.keys() & {*DAMAGING, *LYING})
    deletes = knobs["deletes_records"] or knobs["retention_ms"] != -1 or knobs["retention_bytes"] != -1
    allow = LOSING if is_lossy else DELETING if deletes else ()
    return {"history": 1, "allow": list(allow), "dense": not (is_lossy or deletes)}


def second_opinion(outcome: Outcome) -> str:
    """Judge a run's history; return what is wrong with it, "" if nothing is. The run must have kept its history."""
    lines = (json.dumps(line) for line in [header_of(outcome), *outcome.history])
    bad = [finding for finding in judge(read(lines)).found if not finding.allowed]
    return f"history: {bad[0].name}: {bad[0].cases[0].words}" if bad else ""


def judged(outcome: Outcome) -> Outcome:
    """Let what only the history shows be a violation too; crash an exhaustive run everywhere."""
    if outcome.violation:
        return outcome
    if outcome.profile == "exhaustive":
        every = exhaust(outcome.seed)
        checked = {**outcome.checked, "crashes": every.moments, "crash images": every.images}
        return attrs.evolve(outcome, violation=every.violation, checked=checked)  # type: ignore[misc]
    if not outcome.history:
        return outcome
    return attrs.evolve(outcome, violation=second_opinion(outcome))  # type: ignore[misc]  # a value is an attrs class
