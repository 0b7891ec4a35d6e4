"""From a run that fails to the least that still fails: fewer faults, fewer clients, less time, plainer knobs.

A `Case` says all of a run: the seed, and everything that a profile would draw. A smaller case is tried by running it;
it is taken if it fails in the same way (`signature`). As faults have keys that do not move when others are left out
(faults.py), a list of keys can be cut like any other list. The order, from what saves most to what saves least:

    horizon       end right after the violation; then half the time, as long as that fails
    whole kinds   no faults at all; each group of kinds; each kind
    clients       the faults of one entity; fewer producers, readers and groups
    windows       ddmin over the faults in the order of time: halves, quarters, …
    single        … down to single faults, until none can be left out
    knobs         each towards its default, and what is on but never strikes off

Sources: A. Zeller, R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002), for ddmin.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from rafka.core.errors import RafkaError
from rafka.core.shape import value
from rafka.sim.chance import Chance
from rafka.sim.faults import KINDS, LEVELS, LIGHT
from rafka.sim.knobs import Knobs, as_dict
from rafka.sim.life import MS
from rafka.sim.profile import Profile
from rafka.sim.run import Outcome, Prepare, Wrap, run
from rafka.sim.trace import Happening

RUNS_MAX = 200
EVENTS_MAX = 8_000_000
"""A shrink gives up after so many runs, or events in all of them (some minutes of one core)."""
KNOB_RUNS = 40
"""So many of the runs are kept for knobs and the last pass."""
HORIZON_RUNS = 5
SCATTERED_RUNS = 12
FEW = 6
"""With no more faults than these a schedule is short enough to be read."""
PHASES = frozenset(("boot", "chaos", "settle", "verify", "stop", "reopen"))
FEWER: tuple[Mapping[str, object], ...] = (
    {"readers": 0},
    {"groups": 0},
    {"has_admin": False},
    {"producers": 1},
    {"readers": 1},
    {"members": 1},
)


class CaseError(RafkaError):
    """A case that cannot be read, or says what cannot be."""


@value
class Case:
    """One run, drawn no more: only chance inside the run is left to the seed.

    time_ms: of chaos; faults: kind → "light" or "heavy", others are off; knobs: those not at their defaults;
    only: keys of faults, no others strike; None: any may; profile: where it was drawn from, for readers.
    """

    seed: int
    time_ms: int
    faults: Mapping[str, str] = attrs.field(factory=dict)
    knobs: Mapping[str, object] = attrs.field(factory=dict)
    only: Sequence[str] | None = None
    profile: str = "default"

    def run(
        self,
        *,
        keep_trace: bool = False,
        history: bool = False,
        wrap: Wrap | None = None,
        prepare: Prepare | None = None,
    ) -> Outcome:
        """Run it; see `rafka.sim.run.run`."""
        levels = {kind: LEVELS.index(level) for kind, level in self.faults.items()}
        profile = Profile(self.profile, levels, self.time_ms, knobs=self.knobs, is_plain=True)
        return run(
            self.seed,
            profile,
            only=self.only,
            keep_trace=keep_trace,
            history=history,
            wrap=wrap,
            prepare=prepare,
        )

    def to_json(self) -> dict[str, object]:
        """Return what `case_from` reads."""
        return attrs.asdict(self)  # type: ignore[arg-type]  # a value is an attrs class, whatever mypy sees


def case_of(outcome: Outcome, time_ms: int) -> Case:
    """Return the case of a run that was: its replay is the same run, with the same hash."""
    defaults = as_dict(Knobs())
    return Case(
        seed=outcome.seed,
        time_ms=time_ms,
        faults={kind: LEVELS[level] for kind, level in outcome.levels.items()},
        knobs={name: knob for name, knob in outcome.knobs.items() if knob != defaults[name]},
        only=[struck.key for struck in outcome.decisions],
        profile=outcome.profile,
    )


def case_from(found: object) -> Case:
    """Read a case from what JSON holds. Raises: CaseError."""
    if not isinstance(found, dict):
        raise CaseError("it is no object of seed, time_ms, faults, knobs and only")
    seed, time_ms, only = found.get("seed"), found.get("time_ms"), found.get("only")
    if not isinstance(seed, int) or not isinstance(time_ms, int) or time_ms < 0:
        raise CaseError("seed and time_ms are numbers")
    if only is not None and not (isinstance(only, list) and all(isinstance(key, str) for key in only)):
        raise CaseError("only is a list of keys of faults")
    faults, knobs = found.get("faults", {}), found.get("knobs", {})
    if not isinstance(faults, dict) or not isinstance(knobs, dict):
        raise CaseError("faults and knobs are objects")
    defaults = as_dict(Knobs())
    for kind, level in faults.items():
        if kind not in KINDS or level not in LEVELS:
            raise CaseError(f"there is no kind of fault {kind} that is {level}")
    for name, knob in knobs.items():
        if type(knob) is not type(defaults.get(name)):
            raise CaseError(f"{name} = {knob!r} is no knob")
    return Case(seed, time_ms, faults, knobs, only, str(found.get("profile", "default")))


def signature(violation: str) -> str:
    """Say what makes two failures the same: the invariant's name, or an error's type and place.

    LV says of many things that they do not end: there the words count too, without names, numbers and phases.
    """
    error = re.match(r"(\w+) in phase ", violation)
    if error is not None:
        place = re.search(r"\(([\w/.]+):\d+ (\w+)\)$", violation)
        return f"{error[1]} at {place[1]} {place[2]}" if place is not None else error[1]
    name, _, words = violation.partition(":")
    if name != "LV":
        return name
    plain = re.sub(r"\[.*\]|'[^']*'|\S*\d\S*", " ", words)
    return " ".join([name, *(word for word in re.findall(r"[a-z]+", plain) if word not in PHASES)])


def first_parting(one: Sequence[Happening], other: Sequence[Happening]) -> str:
    """Show the first line at which two kept traces differ; "" if there is none."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return f"line {number}:\n  {line_of(mine)}\n  {line_of(yours)}"
    if len(one) != len(other):
        return f"line {min(len(one), len(other))}: one of the two ends there"
    return ""


def line_of(happening: Happening) -> str:
    """Write one line of a trace."""
    time_ms = happening.time_ns / MS
    words = f"  {happening.lane}: {happening.text}" if happening.text else ""
    return f"{time_ms:14.6f} ms  {happening.kind:<10}{happening.number:>12} {happening.crc:08x}{words}"


# ---- shrinking -------------------------------------------------------------------------------------------


class Runs(Protocol):
    """How a case is run: `Case.run`, or with a planted bug."""

    def __call__(self, case: Case, /) -> Outcome: ...


@value
class Shrunk:
    """What came of it. faults_before: how many struck at first; is_minimal: whether none can be left out."""

    case: Case
    outcome: Outcome
    runs: int
    faults_before: int
    is_minimal: bool


Told = Callable[[int, int, str], None]
"""Told of each run: how many there were, how many faults are left, what is being tried."""


def shrink(
    case: Case,
    outcome: Outcome,
    *,
    runs: Runs = Case.run,
    runs_max: int = RUNS_MAX,
    told: Told = lambda *_: None,
) -> Shrunk:
    """Shrink a case that failed with this outcome."""
    return Shrinker(case, outcome, runs, runs_max, told).shrunk()


class Shrinker:
    """One shrink: the least case so far, and what is left to spend."""

    def __init__(self, case: Case, outcome: Outcome, runs: Runs, runs_max: int, told: Told) -> None:
        assert outcome.violation, "what keeps its promises cannot be shrunk"
        self.case = case
        self.outcome = outcome
        self.runs = 0
        self.wanted = signature(outcome.violation)
        self._run = runs
        self._runs_max = runs_max
        self._events_left = EVENTS_MAX
        self._kept = KNOB_RUNS
        self._told = told
        self._step = ""
        self._tried: set[str] = set()
        self._take(case, outcome)

    def shrunk(self) -> Shrunk:
        """Take every step, in order."""
        before = len(self.faults)
        for step in (self._horizon, self._kinds, self._clients, self._windows):
            self._step = step.__name__.strip("_")
            step()
        self._kept = 0
        self._step = "knobs"
        self._knobs()
        self._step = "horizon"
        self._horizon()
        self._step = "scattered"
        self._scattered()
        self._step = "single"
        is_minimal = self._single()
        return Shrunk(self.case, self.outcome, self.runs, before, is_minimal)

    @property
    def faults(self) -> list[str]:
        """The keys that are left, in the order in which they struck."""
        return list(self.case.only or ())

    @property
    def _is_spent(self) -> bool:
        return self.runs >= self._runs_max - self._kept or self._events_left <= 0

    def _fails(self, **changes: object) -> bool:
        """Try a smaller case; take it if it fails in the same way."""
        case = attrs.evolve(self.case, **changes)  # type: ignore[misc]  # a value is an attrs class
        key = json.dumps(case.to_json())
        if key in self._tried or self._is_spent:
            return False
        self._tried.add(key)
        self.runs += 1
        outcome = self._run(case)
        self._events_left -= outcome.events
        fails = bool(outcome.violation) and signature(outcome.violation) == self.wanted
        if fails:
            self._take(case, outcome)
        self._told(self.runs, len(self.faults), self._step)
        return fails

    def _take(self, case: Case, outcome: Outcome) -> None:
        """Take a case that fails; what did not strike is left out, and what comes after the violation."""
        struck = [one.key for one in outcome.decisions]
        time_ms = min(case.time_ms, outcome.virtual_ns // MS + 1)
        self.case = attrs.evolve(case, only=struck, time_ms=time_ms)  # type: ignore[misc]
        self.outcome = outcome

    # ---- the steps -----------------------------------------------------------------------------------

    def _horizon(self) -> None:
        low = 0
        for _ in range(HORIZON_RUNS):
            middle = (low + self.case.time_ms) // 2
            if not self._fails(time_ms=middle):
                low = middle

    def _kinds(self) -> None:
        if not self.faults or self._fails(only=[]):
            return
        kinds = list(dict.fromkeys(kind_of(key) for key in self.faults))
        groups = list(dict.fromkeys(kind.partition(".")[0] for kind in kinds))
        for group in groups:
            self._without(key for key in self.faults if key.startswith(group + "."))
        counts = {kind: sum(kind_of(key) == kind for key in self.faults) for kind in kinds}
        for kind in sorted(kinds, key=lambda kind: -counts[kind]):
            self._without(key for key in self.faults if kind_of(key) == kind)

    def _clients(self) -> None:
        knobs = {**as_dict(Knobs()), **self.case.knobs}
        for fewer in FEWER:
            if any(knobs[name] != number for name, number in fewer.items()):
                self._fails(knobs=_set(self.case.knobs, fewer))
        for entity in dict.fromkeys(entity_of(key) for key in self.faults):
            self._without(key for key in self.faults if entity_of(key) == entity)

    def _windows(self) -> None:
        """Leave out each of some windows of time; then of windows half as long, down to single faults (ddmin)."""
        faults = self.faults
        size = -(-len(faults) // 2)
        if len(faults) > 1 and not self._fails(only=faults[:size]):
            self._fails(only=faults[size:])
        while size and not self._is_spent:
            faults = self.faults
            narrowed = [self._without(faults[at : at + size]) for at in range(0, len(faults), size)]
            if not any(narrowed):
                size //= 2
            size = min(size, -(-len(self.faults) // 2))

    def _knobs(self) -> None:
        if self.case.knobs and not self._fails(knobs={}):
            for name in list(self.case.knobs):
                self._fails(knobs={k: knob for k, knob in self.case.knobs.items() if k != name})
        struck = {kind_of(key) for key in self.faults}
        idle = [kind for kind in self.case.faults if kind not in struck]
        if idle and not self._fails(faults={k: v for k, v in self.case.faults.items() if k in struck}):
            for kind in idle:
                self._fails(faults={k: level for k, level in self.case.faults.items() if k != kind})
        light = dict.fromkeys(self.case.faults, LEVELS[LIGHT])
        if light != self.case.faults:
            self._fails(faults=light)

    def _scattered(self) -> None:
        """Keep every other fault by chance, some times: what no window and no single one frees may be free together."""
        draw = Chance(self.case.seed, "scattered").draw
        misses = 0
        while len(self.faults) > FEW and misses < SCATTERED_RUNS and not self._is_spent:
            misses = 0 if self._fails(only=[key for key in self.faults if draw() < 0.6]) else misses + 1
        if len(self.faults) > FEW:
            self._windows()

    def _single(self) -> bool:
        """Leave out one fault after the other until none can be; say whether that was brought to an end."""
        if self.faults and self._fails(only=[]):
            return True
        while True:
            narrowed = [self._without([key]) for key in reversed(self.faults)]
            if self._is_spent:
                return False
            if not any(narrowed):
                return True

    def _without(self, keys: Iterable[str]) -> bool:
        gone = set(keys)
        left = [key for key in self.faults if key not in gone]
        return len(left) < len(self.faults) and self._fails(only=left)


def kind_of(key: str) -> str:
    """Return the kind of fault that a key names."""
    return key.partition("/")[0]


def entity_of(key: str) -> str:
    """Return what a fault struck."""
    return key.partition("/")[2].rpartition("/")[0]


def _set(knobs: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Set knobs; those at their defaults are not said."""
    defaults: dict[str, Any] = as_dict(Knobs())
    return {name: knob for name, knob in {**knobs, **changes}.items() if knob != defaults[name]}
