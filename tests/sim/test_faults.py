"""Every kind of fault can break a store that believes in a kind world, or it would be no fault."""

import pytest

from rafka.sim.faults import KINDS
from tests.sim.naive import believed

SEEDS = range(1, 13)
FEW = range(1, 5)
WITH = {
    "proc.slow-reboot": ("proc.kill",),
    "proc.crash-loop": ("proc.kill",),
    "clock.offset": ("proc.kill",),
    "clock.drift": ("proc.kill",),
    **{kind: ("proc.power",) for kind in KINDS if kind.startswith("loss.")},
    "disk.lies": ("proc.power", "loss.suffix"),
    "disk.eio-sync": ("proc.power", "loss.suffix"),
}
"""What a kind needs to show: a restart, or a power loss."""
DOUBTS = {
    "proc.slow-reboot": "it is down for long",
    "proc.crash-loop": "the life before never served",
    "clock.offset": "the clock is wrong",
    "clock.drift": "the clock jumps",
    "clock.step": "the clock jumps",
    "net.partial": "crumbs",
    "net.refused": "connecting failed",
    "net.half-open": "one client, two connections",
    "net.blackhole": "no answer comes",
    "net.reset": "a connection breaks",
    "client.zombie": "a client is silent",
    "proc.pause": "a turn comes late",
    "proc.boundary": "what it knew is gone",
    "disk.eio-read": "read failed",
    "disk.eio-write": "write failed",
    "disk.full": "write failed",
    "disk.latent": "read failed",
    "disk.stuck": "no answer comes",
    **dict.fromkeys(
        (
            "disk.lies",
            "disk.eio-sync",
            "disk.rot",
            "disk.misdirect-read",
            "disk.misdirect-write",
            "disk.lost-write",
        ),
        "what was acknowledged is not there",
    ),
    **{kind: "what was acknowledged is not there" for kind in KINDS if kind.startswith("loss.")},
}
"""What the store must come to doubt; any doubt will do for the others."""
UNSYNCED = ("loss.suffix", "loss.pages", "loss.torn", "loss.files")


def breaks(kind, *others):
    """Say whether a naive store is broken by a kind in one of the seeds, beyond what the others do to it."""
    for seed in SEEDS:
        time_ms = 5000 if kind.startswith("client.") else 2000  # those are rare
        belief, world = believed(seed, kind, *others, time_ms=time_ms, syncs=kind not in UNSYNCED)
        wanted = DOUBTS.get(kind, "")
        if world.book.fired[kind] and any(wanted in doubt for doubt in belief.broken):
            return True
    return False


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_breaks_a_naive_store(kind) -> None:
    assert breaks(kind, *WITH.get(kind, ()))


@pytest.mark.parametrize("seed", range(3))
def test_a_kind_world_does_not(seed) -> None:
    belief, world = believed(seed)
    assert belief.broken == []
    assert len(belief.acked) > 200
    assert world.book.struck == []


def test_a_kill_loses_no_written_byte() -> None:
    crashes = 0
    for seed in FEW:
        belief, world = believed(seed, "proc.kill", syncs=False)
        assert "what was acknowledged is not there" not in belief.broken
        crashes += len(world.crashes)
    assert crashes > 2


def test_a_power_loss_without_losses_takes_nothing() -> None:
    for seed in FEW:
        assert "what was acknowledged is not there" not in believed(seed, "proc.power", syncs=False)[0].broken


def test_leaving_one_fault_out_moves_no_other_of_its_stream() -> None:
    kinds = ("net.tail", "net.stall")
    struck = [one.key for one in believed(3, *kinds)[1].book.struck]
    assert len(struck) > 5
    again = [one.key for one in believed(3, *kinds)[1].book.struck]
    assert struck == again
