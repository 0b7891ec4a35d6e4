"""One simulated run: from a seed to a verdict.

Phases (SIMULATION: boot, chaos, heal, verify):

    1  the broker starts and topics are made; nothing goes wrong
    2  clients work, faults strike; every promise is checked as it is made, every invariant after every turn
    3  faults end, the broker runs, clients finish what they have begun: within a bound, or it is a violation
    4  everything is read once more, from start to end; the broker stops, starts again on what the disk holds,
       and everything is read again
"""

import gc
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import attrs

from rafka.core.node.node import Node
from rafka.core.shape import value
from rafka.sim.administering import set_up
from rafka.sim.audit import audit_start
from rafka.sim.broker import broker
from rafka.sim.casting import Cast, Maker
from rafka.sim.chance import Chance
from rafka.sim.compacting import KeyedReader, keyed_of
from rafka.sim.consuming import Place, Reader
from rafka.sim.faults import Struck
from rafka.sim.knobs import Knobs, as_dict
from rafka.sim.ledger import Ledger, Violation
from rafka.sim.life import MS, Boot
from rafka.sim.nemesis import Nemesis
from rafka.sim.profile import DAMAGING, Profile, knobs_of, levels_of
from rafka.sim.scene import Scene, ask_for, learn
from rafka.sim.talk import Lost, Script, Wait
from rafka.sim.trace import Happening
from rafka.sim.world import Stuck, World

SETTLE_MS = 180_000
SETTLE_EVENTS = 1_500_000
"""The bounds of phase 3, in virtual time and in events: without them no livelock would ever be seen."""
READ_TIMEOUT_MS = 5_000
REBIRTH_NS = 50 * MS
FATAL_FAULTS = ("disk.full", "disk.eio-write", "disk.eio-sync", "disk.eio-read", "disk.lies", *DAMAGING)


@value
class Outcome:
    """What came of a run. violation: "" or the invariant's name and a sentence; excused: losses that were legal."""

    seed: int
    profile: str
    violation: str
    trace_hash: str
    events: int
    virtual_ns: int
    real_s: float
    lives: int
    fired: dict[str, int]
    decisions: list[Struck]
    checked: dict[str, int]
    excused: dict[str, int]
    knobs: dict[str, object]
    levels: dict[str, int]
    history: list[dict[str, Any]]
    trace: list[Happening]

    @property
    def is_ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violation


Wrap = Callable[[Boot], Boot]
Prepare = Callable[["Run"], None]


def run(  # noqa: PLR0913 – what a run may be asked for
    seed: int,
    profile: Profile,
    *,
    only: Iterable[str] | None = None,
    time_ms: int | None = None,
    clients: int | None = None,
    keep_trace: bool = False,
    history: bool = False,
    wrap: Wrap | None = None,
    prepare: Prepare | None = None,
) -> Outcome:
    """Run one seed to its verdict; raises nothing that the broker did.

    only: keys of faults, no others strike; time_ms: how long chaos lasts; clients: producers and readers each;
    wrap: changes what is booted, for planted bugs; prepare: is shown the run before it begins.
    """
    was_enabled = gc.isenabled()
    _freeze_modules()
    gc.disable()
    try:
        one = Run(seed, profile, only, time_ms, clients, keep_trace, history, wrap)
        if prepare is not None:
            prepare(one)
        return one.outcome()
    finally:
        gc.collect()  # the cycles that the run before has left
        if was_enabled:
            gc.enable()


@cache
def _freeze_modules() -> None:
    """Let no run's collection look at modules, classes and codecs again; once a process."""
    gc.collect()
    gc.freeze()


class Run:
    """The parts of one run, and its phases."""

    PREFIX = ""
    """What the names of its topics and groups have in them."""

    def __init__(
        self,
        seed: int,
        profile: Profile,
        only: Iterable[str] | None,
        time_ms: int | None,
        clients: int | None,
        keep_trace: bool,
        history: bool,
        wrap: Wrap | None,
    ) -> None:
        self._began_s = time.process_time()
        self.seed = seed
        self.profile = profile
        self.time_ms = profile.time_ms if time_ms is None else time_ms
        chance = self.chance = Chance(seed, "run")
        self.levels = levels_of(profile, chance.fork("levels"))
        self.knobs = self._fitted(_scaled(knobs_of(profile, chance.fork("knobs")), clients))
        boot = broker(self.knobs.settings(), self.knobs.beyond(), self.knobs.requests_max)
        self.world = self._built(boot if wrap is None else wrap(boot), keep_trace=keep_trace, only=only)
        self.ledger = Ledger(
            self.world.disk,
            self.world.damaged,
            fsync=not self.knobs.flush_os,
            deletes=self.knobs.retention_ms >= 0 or self.knobs.retention_bytes >= 0,
            lies=self.world.book.is_on("disk.lies"),
            expires=self.knobs.offsets_retention_minutes < 60,
            regroups=self.knobs.offsets_check_ms < 60_000,
        )
        self.world.on_crash = self.ledger.crashed
        self.scene = Scene(self.world, self.ledger, self.knobs, chance.fork("scene"), history, self.PREFIX)
        self.keyed = keyed_of(self.scene, self.world, chance.fork("keyed"))
        self.nemesis = Nemesis(self.world, chance.fork("nemesis"))
        self.nemesis.on_listen = self._audit
        self.scene.on_moment = self.nemesis.moment
        self._makers: dict[str, Maker] = {}
        self._phase = "boot"

    def _fitted(self, knobs: Knobs) -> Knobs:
        return knobs

    def _built(self, boot: Boot, *, keep_trace: bool, only: Iterable[str] | None) -> World:
        return World(self.seed, boot, keep_trace=keep_trace, levels=self.levels, only=only)

    def outcome(self) -> Outcome:
        """Go through the phases."""
        violation = ""
        try:
            self._begin()
            self._chaos()
            self._settle()
            self._verify()
        except Violation as broken:
            violation = str(broken)
        except Stuck as stuck:
            violation = self._judge_stuck(stuck)
        except Exception as error:  # noqa: BLE001 – whatever the broker raises is what was to be found
            violation = f"{type(error).__name__} in phase {self._phase}: {error}{_where(error)}"
        world = self.world
        return Outcome(
            seed=self.seed,
            profile=self.profile.name,
            violation=violation,
            trace_hash=world.trace.digest,
            events=world.popped + world.handed,
            virtual_ns=world.time_ns,
            real_s=time.process_time() - self._began_s,
            lives=world.lives,
            fired={kind: count for kind, count in world.book.fired.items() if count},
            decisions=world.book.struck,
            checked=self.ledger.counts,
            excused=self.ledger.excused,
            knobs=as_dict(self.knobs),
            levels={kind: level for kind, level in self.levels.items() if level},
            history=self.scene.history,
            trace=world.trace.lines or [],
        )

    # ---- phases --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        others = [] if self.keyed is None else [self.keyed.creatable()]
        self.world.talk("set-up", set_up(self.scene, others))
        self.world.run(limit_ms=SETTLE_MS)

    def _chaos(self) -> None:
        self._phase = "chaos"
        world, nemesis = self.world, self.nemesis
        self._makers = Cast(world, self.scene, self.chance, self.keyed).makers
        for name, make in self._makers.items():
            nemesis.clients[name] = make()
        world.book.quiet = False
        nemesis.begin()
        until = world.time_ns + self.time_ms * MS
        while world.time_ns < until:
            world.pass_time(min(50, (until - world.time_ns) // MS + 1))
            self._bear_again()
            self._supervise()

    def _settle(self) -> None:
        self._phase = "settle"
        world = self.world
        world.book.quiet = True
        self.nemesis.is_active = False
        self.scene.is_over = True
        self._bear_again()
        self._heal()
        for _ in range(40):
            if world.life is not None and world.life.port:
                break
            world.pass_time(100)
            self._supervise()
        world.run(limit_ms=SETTLE_MS, events_max=SETTLE_EVENTS)

    def _verify(self) -> None:
        self._phase = "verify"
        first = self._read_all("verifier-1")
        self._phase = "stop"
        code = self.world.stop()
        if code != 0:
            raise Violation("LV", f"a controlled shutdown exits with {code}")
        self._phase = "reopen"
        self.world.start()
        second = self._read_all("verifier-2")
        if self.keyed is not None:
            chance = self.chance.fork("verifier-3")
            reader = KeyedReader("verifier-3", self.keyed, self.scene, chance, self.world, rounds=1)
            self.world.join(reader.client)
            self.world.run(limit_ms=SETTLE_MS, events_max=SETTLE_EVENTS)
        for place, found in first.items():
            key = f"{place[0]}-{place[1]}"
            again = second.get(place, {})
            gone = [o for o in found if o not in again and o >= self._starts.get(place, 0)]
            if gone and not self.ledger.is_damaged(key):
                raise Violation("LO1", f"{key}: offset {gone[0]} is gone after a clean stop and start")
        self._phase = "done"

    # ---- clients -------------------------------------------------------------------------------------

    def _bear_again(self) -> None:
        reborn, self.nemesis.reborn = self.nemesis.reborn, []
        for name in reborn:
            self.ledger.released(self.nemesis.clients[name].name)
        if not self.scene.is_over:
            for name in reborn:
                self.nemesis.clients[name] = self._makers[name]()

    # ---- the broker ----------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Start a broker again that has given up starting, if it had reason to."""
        life = self.world.life
        if life is None or not life.exit_code:
            return
        if not any(self.world.book.fired[kind] for kind in FATAL_FAULTS):
            reasons = [note.fields for note in life.notes if note.level == "error"]
            raise Violation("LV", f"the broker does not start, and its disk is well: {reasons}")
        self.ledger.count("starts given up")
        self.world.life = None
        self.world.at(self.world.time_ns + REBIRTH_NS, self.nemesis.start, None)

    def _heal(self) -> None:
        """End every fault that goes on by itself; restart a broker that may have given up on its disk."""
        world = self.world
        world.disk_faults.heal()
        life = world.life
        if life is None:
            world.at(world.time_ns + 1, self.nemesis.start, None)
            return
        life.stalled_until = 0
        life.turn_factor = 1
        if life.exit_code is None and self._may_have_given_up():
            world.crash(power=False)
            world.at(world.time_ns + 1, self.nemesis.start, None)
        for talker in world.talkers:
            talker.sleeps_until = 0
            if not talker.is_done:
                talker.hang_up()

    def _may_have_given_up(self) -> bool:
        """Say whether the broker may have logs that it does not write to any more, until it starts again."""
        return any(self.world.book.fired[kind] for kind in FATAL_FAULTS)

    def _judge_stuck(self, stuck: Stuck) -> str:
        if self.ledger.damaged:
            self.ledger.excuse("unavailable after damage", 1)
            return ""
        return f"LV: {self._phase} does not end: {stuck}"

    def _audit(self) -> None:
        """Hold what a start has made of the disk against the disk."""
        core = getattr(self.world.life and self.world.life.machine, "core", None)
        if isinstance(core, Node):
            audit_start(core, self.ledger)

    # ---- verification --------------------------------------------------------------------------------

    def _read_all(self, name: str) -> dict[Place, dict[int, str]]:
        """Read every partition from start to end, and hold it against the ledger."""
        reader = Reader(name, self.scene, self.chance.fork(name), is_modest=False)
        reader.read_back = {}
        self.world.talk(name, self._reading(reader), timeout_ms=READ_TIMEOUT_MS)
        self.world.run(limit_ms=SETTLE_MS, events_max=SETTLE_EVENTS)
        self._starts = dict(reader.starts)
        for place in reader.positions:
            found = reader.read_back.get(place, {})
            key = f"{place[0]}-{place[1]}"
            self.ledger.ended(key, reader.starts.get(place, 0), reader.ends.get(place, 0), found)
        return reader.read_back

    def _reading(self, reader: Reader) -> Script:
        scene = self.scene
        while True:
            try:
                yield ask_for(list(scene.topics)) * 5  # more than are read at once, and then more
                answer, *_ = yield ask_for(list(scene.topics)) * 5
            except Lost:
                yield Wait(20)
                continue
            learn(scene, answer)
            break
        reader.assign(reader.all_places())
        while not reader.is_at_end():
            yield from reader.poll()
            yield Wait(1)


def _scaled(knobs: Knobs, clients: int | None) -> Knobs:
    if clients is None:
        return knobs
    return attrs.evolve(knobs, producers=clients, readers=clients)  # type: ignore[misc]  # a value is an attrs class


def _where(error: BaseException) -> str:
    """Say where in Rafka an error came from."""
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if "rafka" in f.filename]
    if not frames:
        return ""
    last = frames[-1]
    return f" ({last.filename.rpartition('rafka/')[2]}:{last.lineno} {last.name})"
