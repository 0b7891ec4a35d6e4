"""Whole runs: the same everywhere, clean where the broker is right, and a broken promise is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rafka.core.effects import Sync, SyncDir, Write
from rafka.core.events import Done, Synced
from rafka.sim.check.reader import read
from rafka.sim.faults import HEAVY, KINDS
from rafka.sim.judging import header_of
from rafka.sim.profile import Profile, ProfileError, profile_of
from rafka.sim.run import run

ROOT = Path(__file__).parents[2]
DEFAULT = profile_of("default")
SHORT_MS = 1500
FOUND = [
    (16, "a full disk after the answer to a sync: offsets given again counted as synced"),
    (19, "a failed sync, then a kill: a recovered batch was in the cache alone"),
    (137, "retention let go of the empty segment that is appended to"),
    (76, "a log whose segments had all gone could not be opened"),
]
"""Seeds that found something, and what that was; they ran clean ever after."""


@pytest.mark.parametrize("seed", [seed for seed, _ in FOUND])
def test_what_was_found_once_stays_mended(seed) -> None:
    outcome = run(seed, DEFAULT, time_ms=4000)
    assert outcome.violation == ""


@pytest.mark.parametrize("name", ["calm", "default", "network", "storage", "beyond-budget"])
def test_a_run_of_each_profile_keeps_its_promises(name) -> None:
    for seed in (1001, 1002):
        outcome = run(seed, profile_of(name), time_ms=SHORT_MS)
        assert outcome.violation == ""
        assert outcome.checked["acknowledged"] > 0
        assert outcome.events > 500
        assert name != "calm" or not outcome.fired


def test_the_same_seed_is_the_same_run_and_words_do_not_change_it() -> None:
    plain, kept = (
        run(7, DEFAULT, time_ms=SHORT_MS),
        run(7, DEFAULT, time_ms=SHORT_MS, keep_trace=True, history=True),
    )
    assert plain.trace_hash == kept.trace_hash
    assert plain.events == kept.events
    assert kept.trace
    assert kept.history
    assert run(8, DEFAULT, time_ms=SHORT_MS).trace_hash != plain.trace_hash


def test_a_seed_has_one_hash_under_every_hash_seed() -> None:
    code = (
        "from rafka.sim.run import run\nfrom rafka.sim.profile import profile_of\n"
        "for seed in (3, 5): print(run(seed, profile_of('beyond-budget'), time_ms=500).trace_hash)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }
    assert len(found) == 1
    assert len(found.pop().split()) == 2


def test_the_faults_that_struck_are_all_that_a_replay_needs() -> None:
    first = run(5, DEFAULT, time_ms=SHORT_MS)
    keys = [one.key for one in first.decisions]
    assert len(keys) > 5
    again = run(5, DEFAULT, time_ms=SHORT_MS, only=keys)
    assert again.trace_hash == first.trace_hash
    none = run(5, DEFAULT, time_ms=SHORT_MS, only=[])
    assert none.decisions == []
    assert none.violation == ""
    half = run(5, DEFAULT, time_ms=SHORT_MS, only=keys[::2])
    assert {one.key for one in half.decisions} <= set(keys[::2])


def test_a_history_is_one_that_the_checkers_read() -> None:
    outcome = run(11, DEFAULT, time_ms=SHORT_MS, history=True)
    history = read(json.dumps(line) for line in [header_of(outcome), *outcome.history])
    assert history.lines > 50


# ---- planted bugs ----------------------------------------------------------------------------------------


class Tampered:
    """A machine whose effects or events are not what they should be."""

    def __init__(self, machine):
        self._machine = machine
        self._told = []

    def handle(self, event, now):
        self._machine.handle(event, now)

    def tick(self, now):
        self._machine.tick(now)

    def drain(self):
        return [effect for effect in map(self.change, self._machine.drain()) if effect is not None]

    def deadline(self):
        return self._machine.deadline()

    def check(self):
        self._machine.check()

    def change(self, effect):
        return effect


class NeverSyncs(Tampered):
    """Takes the word for the deed: every Sync is answered at once."""

    def drain(self):
        effects = super().drain()
        while self._told:
            effects += self.again()
        return effects

    def again(self):
        told, self._told = self._told, []
        for event in told:
            self._machine.handle(event, self.now)
        self._machine.tick(self.now)
        return super().drain()

    def tick(self, now):
        self.now = now
        super().tick(now)

    def change(self, effect):
        if isinstance(effect, Sync) and effect.token and effect.file.endswith(".log"):
            self._told.append(Synced(effect.file, effect.token))
            return None
        return effect


class NeverSyncsNames(NeverSyncs):
    def change(self, effect):
        if isinstance(effect, SyncDir) and effect.token:
            self._told.append(Done(effect.file, effect.token))
            return None
        return effect


class CutsShort(Tampered):
    """Writes a byte less of every tenth write."""

    count = 0

    def change(self, effect):
        if isinstance(effect, Write) and effect.file.endswith(".log") and effect.position:
            CutsShort.count += 1
            if CutsShort.count % 10 == 0:
                return Write(effect.file, effect.position, [b"".join(effect.buffers)[:-1]], effect.token)
        return effect


def first_violation(mutant, profile, seeds):
    def wrap(boot):
        return lambda entropy, now: mutant(boot(entropy, now))

    for seed in seeds:
        outcome = run(seed, profile, time_ms=SHORT_MS, wrap=wrap)
        if outcome.violation:
            return outcome.violation
    return ""


@pytest.mark.parametrize(
    ("mutant", "names"),
    [(NeverSyncs, ("LO1",)), (NeverSyncsNames, ("LO1",)), (CutsShort, ("LO", "LV"))],
)
def test_a_broker_that_breaks_a_promise_is_found_out(mutant, names) -> None:
    violation = first_violation(mutant, DEFAULT, range(1, 12))
    assert violation.startswith(names), violation


# ---- profiles --------------------------------------------------------------------------------------------


def test_a_profile_of_ones_own(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "calm"\ntime_ms = 800\n[faults]\n"net.*" = "heavy"\n"net.reset" = "off"\n[knobs]\nsegment_bytes = 500\n'
    )
    profile = profile_of(str(path))
    assert profile.time_ms == 800
    assert profile.faults["net.tail"] == HEAVY
    assert profile.faults["net.reset"] == 0
    outcome = run(1, profile)
    assert outcome.knobs["segment_bytes"] == 500
    assert outcome.violation == ""
    assert {kind.partition(".")[0] for kind in outcome.fired} == {"net"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base = 'none'", "no profile none"),
        ("[faults]\n'net.nothing' = 'off'", "no kind of fault net.nothing"),
        ("[faults]\n'net.*' = 'much'", "net.* is much"),
        ("[knobs]\nsegment_bytes = 'many'", "no knob"),
        ("speed = 1", "no speed"),
        ("time_ms = 'long'", "time_ms"),
        ("[faults", "expected"),
    ],
)
def test_a_profile_that_cannot_be(tmp_path, text, words) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"mine\.toml") as raised:
        profile_of(str(path))
    assert words.lower() in str(raised.value).lower()


def test_the_default_profile_leaves_out_what_no_broker_can_survive() -> None:
    assert isinstance(DEFAULT, Profile)
    assert set(KINDS) - set(DEFAULT.faults) == {
        "disk.latent",
        "disk.rot",
        "disk.misdirect-write",
        "disk.misdirect-read",
        "disk.lost-write",
        "disk.lies",
    }
