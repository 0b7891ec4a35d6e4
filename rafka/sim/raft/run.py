"""One run of the Raft world: chaos, then a liveness phase, and what came of it."""

import gc
import time
import traceback
from collections.abc import Mapping
from typing import Any

from rafka.core.raft.settings import MS
from rafka.core.shape import value
from rafka.sim.chance import Chance
from rafka.sim.raft.knobs import Knobs, draw_knobs
from rafka.sim.raft.nemesis import Nemesis
from rafka.sim.raft.oracle import Broken
from rafka.sim.raft.world import World

TIMEOUTS = 40
"""How many election timeouts the chaos lasts, by default."""
SETTLE_TIMEOUTS = 60
"""Within how many the core must have a leader that commits."""
EVENTS_PER_MS = 100
"""More than that, over a whole phase, and somebody talks without end."""
CLOCK_MAX = 3_000
"""A run's chaos is not longer than so many virtual milliseconds, by default."""


@value
class Outcome:
    """What a run came to. violation: "" if every promise was kept."""

    seed: int
    knobs: Knobs
    violation: str
    events: int
    virtual_ns: int
    cpu_s: float
    """Of this process."""
    trace_hash: str
    fired: dict[str, int]
    checked: dict[str, int]
    epochs: int
    committed: int
    settled_ns: int
    """How long after the faults ended something was committed; -1: never."""
    said: list[str]

    @property
    def is_ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violation


def run(
    seed: int,
    *,
    time_ms: int | None = None,
    fixed: Mapping[str, Any] | None = None,
    tells: bool = False,
) -> Outcome:
    """Run one seed. fixed: knobs that are not drawn; tells: keep what happens, to be read."""
    knobs = draw_knobs(Chance(seed, "knobs"), dict(fixed or {}))
    chaos_ns = TIMEOUTS * knobs.settings.election_timeout_ns if time_ms is None else time_ms * MS
    world = World(seed, knobs)
    if tells:
        world.said = []
    began = time.process_time()
    violation, settled = "", -1
    gc.disable()  # nothing of a run is garbage before it ends
    try:
        nemesis = Nemesis(world)
        until_ns = min(chaos_ns, CLOCK_MAX * MS) if time_ms is None else chaos_ns
        world.run(until_ns, events_max=EVENTS_PER_MS * (until_ns // MS + 10))
        settled = settle(world, nemesis)
    except Broken as broken:
        violation = str(broken)
    except Exception as error:  # noqa: BLE001 – whatever a planted bug does, the run has found it
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        violation = f"{type(error).__name__}: {error} ({place})"
    finally:
        gc.enable()
    return Outcome(
        seed,
        knobs,
        violation,
        world.events,
        world.now,
        time.process_time() - began,
        f"{world.trace:016x}",
        world.fired,
        dict(world.oracle.checked),
        len(world.oracle.leaders),
        world.oracle.committed,
        settled,
        world.said or [],
    )


def settle(world: World, nemesis: Nemesis) -> int:
    """End the faults; a core that can decide must have a leader and commit a write in time (LV)."""
    nemesis.heal()
    began = world.now
    before = world.committed_writes
    step_ns = world.knobs.settings.election_timeout_ns
    for _ in range(patience(world)):
        world.run(world.now + step_ns, events_max=EVENTS_PER_MS * (step_ns // MS))
        if world.committed_writes > before:
            world.oracle.checked["LV"] += 1
            return world.now - began
    leader = world.leader()
    raise Broken(
        "LV",
        f"nothing is committed {patience(world)} election timeouts after the faults ended; "
        + ("nobody leads" if leader is None else f"{leader.id} leads epoch {leader.epoch}"),
    )


def patience(world: World) -> int:
    """Return how many election timeouts a core may take: for its elections, and for the longest log to be fetched."""
    knobs = world.knobs
    longest = max(len(member.disk.batches) for member in world.members.values())
    rounds = longest // knobs.settings.fetch_batches_max + 1
    fetching = rounds * 2 * (3 * knobs.delay_ns + 2 * knobs.disk_ns) // knobs.settings.election_timeout_ns
    slowest = max(1 / member.rate for member in world.members.values())
    return int((SETTLE_TIMEOUTS + fetching) * slowest)
