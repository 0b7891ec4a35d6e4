"""The zoo of the Raft machine: what was found once is found again, by whoever should see it; the correct code is innocent."""

from pathlib import Path

import pytest

from rafka.core.raft import election, leader
from rafka.sim.zoo.raft import ABSENT, OPEN
from rafka.sim.zoo.raft_hunt import BUGS, hunt_again, record, recorded
from rafka.sim.zoo.registry import planted

ROOT = Path(__file__).parents[3]
KNOWN = recorded()


@pytest.mark.parametrize("name", KNOWN)
def test_a_bug_that_was_found_is_found_again(name) -> None:
    catch = hunt_again(BUGS[name], KNOWN[name])
    assert catch.is_found, catch
    assert catch.hits > 0, "it was the bug that did it"
    assert catch.caught_by in BUGS[name].expects, catch.violation


def test_all_are_recorded_but_those_that_are_open() -> None:
    assert set(KNOWN) | set(OPEN) == set(BUGS)
    assert set(KNOWN).isdisjoint(OPEN)
    assert len(KNOWN) >= 0.95 * len(BUGS)


def test_a_bug_leaves_nothing_behind() -> None:
    before = dict(vars(leader)), dict(vars(election))
    for bug in BUGS.values():
        with planted(bug) as plant:
            assert plant.undo, "something is changed"
    assert (dict(vars(leader)), dict(vars(election))) == before


def test_the_page_names_every_bug() -> None:
    page = (ROOT / "docs" / "raft.md").read_text("utf-8")
    for name, bug in BUGS.items():
        assert f"| {name} | {bug.what} |" in page
    for name in (*ABSENT, *OPEN):
        assert f"- {name}: " in page


def test_the_record_is_written_and_read(tmp_path) -> None:
    catch = hunt_again(BUGS["R02"], KNOWN["R02"])
    record([catch], tmp_path / "found.toml")
    assert recorded(tmp_path / "found.toml") == {"R02": KNOWN["R02"]}
