"""Shrinking: planted bugs are found, and what is left of the schedule is little, still fails, and is all needed."""

from itertools import count

import attrs
import pytest

from rafka.core.effects import Sync
from rafka.core.events import Failed, Synced
from rafka.core.log.producers import Duplicate, Producers
from rafka.sim.chance import Chance
from rafka.sim.faults import HEAVY, KINDS, LIGHT, Struck
from rafka.sim.profile import Profile, profile_of
from rafka.sim.run import run
from rafka.sim.shrink import (
    Case,
    CaseError,
    case_from,
    case_of,
    entity_of,
    first_parting,
    kind_of,
    shrink,
    signature,
)

TIME_MS = 1500
SMALL_WORLD = {
    "topics": 1,
    "partitions": 1,
    "producers": 2,
    "plain_share": 0.0,
    "readers": 1,
    "groups": 0,
    "has_admin": False,
    "think_ms": 60,
    "in_flight": 2,
    "batch_records": 3,
    "value_bytes": 20,
    "codec": 0,
    "segment_bytes": 20_000,
    "first_sequence": 0,
    "fetch_bytes": 1 << 20,
    "partition_fetch_bytes": 1 << 20,
    "fetch_wait_ms": 20,
    "client_timeout_ms": 1500,
    "deletes_records": False,
    "retention_ms": -1,
    "retention_bytes": -1,
}


def rough(*heavy: str) -> Profile:
    """A small world in which these are heavy, and all that can happen to clients and connections is light."""
    light = [kind for kind in KINDS if kind.startswith(("net.", "client."))]
    faults = {**dict.fromkeys(light, LIGHT), **dict.fromkeys(heavy, HEAVY)}
    return Profile("rough", faults, 800, flush_os=0.0, knobs=SMALL_WORLD)


SMALL = 15
"""Faults, at most, that a shrunk schedule should have."""


FAILING_SYNCS = rough("disk.eio-sync", "proc.kill", "net.tail")


# ---- bugs, planted from outside --------------------------------------------------------------------------


class Machine:
    """A machine that passes everything on; bugs change what."""

    def __init__(self, machine):
        self._machine = machine

    def handle(self, event, now):
        self._machine.handle(event, now)

    def tick(self, now):
        self._machine.tick(now)

    def drain(self):
        return self._machine.drain()

    def deadline(self):
        return self._machine.deadline()

    def check(self):
        self._machine.check()


class BelievesFailedSyncs(Machine):
    """Syncs again after a failure, is told that all is well, and acknowledges (fsyncgate)."""

    def handle(self, event, now):
        if isinstance(event, Failed) and event.op == "sync":
            event = Synced(event.file, event.token)
        super().handle(event, now)


class SyncsNothing(Machine):
    """Takes the word for the deed: every sync of a log is answered at once."""

    def tick(self, now):
        self.now = now
        super().tick(now)

    def drain(self):
        effects = super().drain()
        told = [e for e in effects if isinstance(e, Sync) and e.token and e.file.endswith(".log")]
        for effect in told:
            self.handle(Synced(effect.file, effect.token), self.now)
        if told:
            self.tick(self.now)
            effects = [effect for effect in effects if effect not in told] + super().drain()
        return effects


def booting(machine):
    return lambda boot: lambda entropy, now: machine(boot(entropy, now))


def repeats_are_new(monkeypatch):
    """Appends a batch again that it has already."""
    right = Producers.check

    def wrong(self, header):
        found = right(self, header)
        return None if isinstance(found, Duplicate) else found

    monkeypatch.setattr(Producers, "check", wrong)


def failing(profile, seeds, wrap=None, name="L"):
    """Return the first seed's case that breaks an invariant of this name, and its outcome."""
    for seed in seeds:
        outcome = run(seed, profile, wrap=wrap)
        if outcome.violation.startswith(name):
            return case_of(outcome, profile.time_ms), outcome
    pytest.fail("the planted bug was not found")


def assert_small_and_needed(shrunk, rerun):
    """The shrunk case fails as it did, with few faults, none of which can be left out."""
    case = shrunk.case
    again = rerun(case)
    assert again.violation == shrunk.outcome.violation
    assert again.trace_hash == shrunk.outcome.trace_hash
    assert len(case.only) <= min(SMALL, shrunk.faults_before)
    assert shrunk.runs <= 200
    assert shrunk.is_minimal
    for left_out in case.only[:4]:
        fewer = attrs.evolve(case, only=[key for key in case.only if key != left_out])
        assert signature(rerun(fewer).violation) != signature(shrunk.outcome.violation)


@pytest.fixture(scope="module")
def believed():
    """Return a case that fails because a failed sync is believed, its outcome, and how it is run again."""
    wrap = booting(BelievesFailedSyncs)
    case, outcome = failing(FAILING_SYNCS, range(1, 60), wrap, "LO1")
    return case, outcome, lambda case: case.run(wrap=wrap)


def test_a_failed_sync_that_is_believed_shrinks_to_the_one_that_failed(believed) -> None:
    case, outcome, rerun = believed
    assert len(case.only) > 1
    shrunk = shrink(case, outcome, runs=rerun)
    assert_small_and_needed(shrunk, rerun)
    assert "disk.eio-sync" in {kind_of(key) for key in shrunk.case.only}


def test_a_repeated_batch_shrinks_to_what_cut_its_answer_off(monkeypatch) -> None:
    repeats_are_new(monkeypatch)
    case, outcome = failing(rough("net.reset", "client.hang-up"), range(1, 60), name="LO2")
    shrunk = shrink(case, outcome)
    assert shrunk.outcome.violation.startswith("LO2")
    assert_small_and_needed(shrunk, Case.run)


def test_a_bug_of_the_third_life_shrinks_to_two_deaths() -> None:
    def wrap(boot):
        lives = count(1)
        return lambda entropy, now: (SyncsNothing if next(lives) > 2 else Machine)(boot(entropy, now))

    case, outcome = failing(rough("proc.kill", "proc.power", "loss.suffix"), range(1, 60), wrap, "LO1")
    assert len(case.only) > 2

    def rerun(case):
        return case.run(wrap=wrap)

    shrunk = shrink(case, outcome, runs=rerun)
    assert_small_and_needed(shrunk, rerun)
    deaths = [key for key in shrunk.case.only if kind_of(key) in ("proc.kill", "proc.power")]
    assert len(deaths) == 2
    assert len(shrunk.case.only) < 5


def test_a_bug_that_needs_no_fault_is_left_with_none() -> None:
    wrap = booting(SyncsNothing)
    case, outcome = failing(rough("net.reset"), range(1, 9), wrap)
    shrunk = shrink(case, outcome, runs=lambda case: case.run(wrap=wrap))
    assert shrunk.case.only == []
    assert shrunk.case.faults == {}
    assert len(shrunk.case.knobs) <= 2
    assert signature(shrunk.outcome.violation) == signature(outcome.violation) == "LO1"


def test_a_shrink_stops_at_its_bound_and_tells_of_every_run(believed) -> None:
    case, outcome, rerun = believed
    told = []
    shrunk = shrink(case, outcome, runs=rerun, runs_max=5, told=lambda *a: told.append(a))
    assert shrunk.runs <= 5
    assert [runs for runs, _, _ in told] == list(range(1, shrunk.runs + 1))
    assert shrunk.outcome.violation
    assert not shrunk.is_minimal
    assert shrink(case, outcome, runs=rerun, runs_max=0).case.only == case.only


# ---- cases -----------------------------------------------------------------------------------------------


def test_a_case_is_the_run_it_was_made_from_and_survives_json() -> None:
    default = profile_of("default")
    first = run(5, default, time_ms=TIME_MS)
    case = case_from(case_of(first, TIME_MS).to_json())
    again = case.run()
    assert again.trace_hash == first.trace_hash
    assert again.knobs == first.knobs
    assert [one.key for one in again.decisions] == case.only


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "no object"),
        ({"seed": "x", "time_ms": 1}, "numbers"),
        ({"seed": 1, "time_ms": 1, "only": [1]}, "list of keys"),
        ({"seed": 1, "time_ms": 1, "faults": {"net.none": "light"}}, "no kind of fault net.none"),
        ({"seed": 1, "time_ms": 1, "faults": {"net.reset": "much"}}, "much"),
        ({"seed": 1, "time_ms": 1, "knobs": {"topics": "many"}}, "no knob"),
        ({"seed": 1, "time_ms": 1, "knobs": []}, "objects"),
    ],
)
def test_a_case_that_cannot_be(found, words) -> None:
    with pytest.raises(CaseError, match=words):
        case_from(found)


def test_failures_are_the_same_if_the_invariant_or_the_place_is() -> None:
    assert signature("LO1: t0-0: gone") == signature("LO1: t1-1: gone too") == "LO1"
    one = "AssertionError in phase chaos: 4 > 3 (core/log/log.py:40 check)"
    other = "AssertionError in phase settle: 9 > 3 (core/log/log.py:41 check)"
    assert signature(one) == signature(other)
    assert signature(one) != signature("AssertionError in phase chaos: x (core/log/tail.py:40 check)")
    stuck = "LV: settle does not end: after 184152 ms, waiting: ['reader-0.1']"
    assert signature(stuck) == signature(
        "LV: verify does not end: after 62463 ms, waiting: ['verifier-2', 'x']"
    )
    assert signature(stuck) != signature("LV: t0-1: ['producer-0.1/12'] not taken in 433 attempts")
    assert signature(stuck) != signature("LV: a controlled shutdown exits with 1")


def test_keys_name_kind_and_entity() -> None:
    key = Struck(0, "proc.boundary/Write log log/12", 0.5).key
    assert (kind_of(key), entity_of(key)) == ("proc.boundary", "Write log log")


def test_the_first_line_where_two_runs_part_is_shown() -> None:
    default = profile_of("default")
    one = run(3, default, time_ms=300, keep_trace=True)
    same = run(3, default, time_ms=300, keep_trace=True)
    assert first_parting(one.trace, same.trace) == ""
    other = run(3, default, time_ms=300, keep_trace=True, prepare=lambda r: r.world.book.reseed(Chance(9)))
    assert first_parting(one.trace, other.trace).startswith("line ")
    assert "one of the two ends" in first_parting(one.trace, one.trace[:-1])
