"""What one run of the Raft world is like: sizes, times and how often what goes wrong, all drawn from the seed.

Every kind of fault is off, light or heavy in a run, so that both "none" and "all" occur, and the protocol's own numbers
vary too: without batches of one record and snapshots of a few bytes whole classes of bugs cannot happen.
"""

from typing import Any

import attrs

from rafka.core.raft.settings import MS, Settings
from rafka.core.shape import value
from rafka.sim.chance import Chance

FAULTS = {
    # kind: (light, heavy): per message, per disk operation, or per second of virtual time and world
    "drop": (0.01, 0.15),
    "slow": (0.02, 0.2),
    "duplicate": (0.01, 0.15),
    "reorder": (0.1, 0.6),
    "boundary": (0.0002, 0.002),
    "slow_disk": (0.02, 0.3),
    "torn": (0.3, 0.9),
    "crash": (0.2, 1.5),
    "power": (0.03, 0.2),
    "pause": (0.1, 0.6),
    "jump": (0.05, 0.4),
    "disk_loss": (0.05, 0.3),
    "split": (0.2, 0.8),
    "isolate": (0.1, 0.5),
    "one_way": (0.1, 0.5),
    "bridge": (0.05, 0.3),
    "churn": (0.2, 1.0),
    "transfer": (0.1, 0.5),
    "state": (0.1, 0.4),
    "site": (0.15, 0.25),
}
"""Every kind of fault, with how often it strikes when it is light and when it is heavy."""


@value
class Knobs:
    """One run. faults: how often each kind strikes; what is not there does not. delay_ns: of a message, the mean."""

    voters: int
    observers: int
    settings: Settings
    delay_ns: int
    disk_ns: int
    reboot_ns: int
    propose_ns: int
    """How long between two proposals, on average."""
    batch_max: int
    snapshot_every: int
    """How many records between two snapshots of one replica."""
    snapshot_bytes: int
    clock_spread: float
    """How much faster or slower a clock may run: 0.2 is a fifth."""
    faults: dict[str, float]


def draw_knobs(chance: Chance, fixed: dict[str, Any]) -> Knobs:
    """Draw a run's knobs. fixed: what is not drawn; faults in it are added to those that are drawn."""
    timeout_ns = chance.one_of(20, 50, 100, 400) * MS
    request_ns = timeout_ns // chance.one_of(2, 4)
    settings = Settings(
        election_timeout_ns=timeout_ns,
        fetch_timeout_ns=timeout_ns * chance.one_of(1, 2),
        election_backoff_max_ns=timeout_ns // chance.one_of(1, 2, 4),
        request_timeout_ns=request_ns,
        retry_backoff_ns=chance.one_of(1, 2, 5) * MS,
        fetch_wait_ns=request_ns // chance.one_of(2, 4),
        fetch_batches_max=chance.one_of(1, 1, 2, 3, 16),
        snapshot_bytes_max=chance.one_of(8, 16, 1 << 20),
    )
    knobs = Knobs(
        voters=chance.one_of(1, 3, 3, 3, 3, 5, 5),
        observers=chance.one_of(0, 0, 1, 2),
        settings=settings,
        # A request must be answered in time when nothing goes wrong: there and back, and what the leader waits.
        delay_ns=min(chance.one_of(200_000, 1 * MS, 1 * MS, 5 * MS), request_ns // 12),
        disk_ns=min(chance.one_of(50_000, 500_000, 1 * MS, 5 * MS), timeout_ns // 10),
        reboot_ns=chance.one_of(2 * MS, 10 * MS, 100 * MS, 1000 * MS),
        propose_ns=chance.one_of(1 * MS, 3 * MS, 10 * MS, 50 * MS),
        batch_max=chance.one_of(1, 1, 3),
        snapshot_every=chance.one_of(10, 30, 100, 1 << 40),
        snapshot_bytes=chance.one_of(24, 48),
        clock_spread=chance.one_of(0.0, 0.0, 0.05, 0.3),
        faults={},
    )
    for name, (light, heavy) in FAULTS.items():
        rate = chance.one_of(0.0, light, heavy)
        if rate:
            knobs.faults[name] = rate
    return _fix(knobs, fixed)


def _fix(knobs: Knobs, fixed: dict[str, Any]) -> Knobs:
    """Put in what is not drawn: fields of the knobs or of their settings, and `faults`."""
    own = {name: thing for name, thing in fixed.items() if name in Knobs.__match_args__ and name != "faults"}
    inner = {name: thing for name, thing in fixed.items() if name in Settings.__match_args__}
    changed = attrs.evolve(knobs, **own)  # type: ignore[misc]  # a value is an attrs class
    changed.faults.update(fixed.get("faults", {}))
    return attrs.evolve(changed, settings=attrs.evolve(changed.settings, **inner))  # type: ignore[misc]
