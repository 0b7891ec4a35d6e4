"""The second opinion: the offline checkers over the history of a run, which must agree with the ledger."""

from typing import Any

from rafka.sim.run import Outcome

LOSSES = ("lost-write", "unseen", "inconsistent-offsets", "duplicate")


def header_of(outcome: Outcome) -> dict[str, Any]:
    """Return the first line of a run's history: what its model promises, and what it does not."""
    knobs = outcome.knobs
    is_lossy = bool(knobs["flush_os"] or outcome.excused or outcome.levels.keys() & DAMAGING)
    deletes = knobs["deletes_records"] or knobs["retention_ms"] != -1 or knobs["retention_bytes"] != -1
    allow = (
        [*LOSSES, "nonmonotonic-poll", "int-nonmonotonic-poll", "poll-skip", "int-poll-skip"]
        if is_lossy
        else []
    )
    return {"history": 1, "allow": allow, "dense": not (is_lossy or deletes)}


DAMAGING = frozenset(
    ("disk.latent", "disk.rot", "disk.misdirect-write", "disk.misdirect-read", "disk.lost-write", "disk.lies")
)
