"""The zoo: what was found once is found again, by whoever should see it, and the correct code is innocent."""

import ast
import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from rafka.cli.sim import sim
from rafka.core.log.append import Appender
from rafka.core.log.producers import Producers
from rafka.sim.zoo import hunt
from rafka.sim.zoo.all import ABSENT, BUGS
from rafka.sim.zoo.hunt import Catch, caught_by, hunt_again, record, recorded
from rafka.sim.zoo.registry import planted
from rafka.sim.zoo.table import lines, markdown

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "rafka"
KNOWN = recorded()


@pytest.mark.parametrize("name", KNOWN)
def test_a_bug_that_was_found_is_found_again(name) -> None:
    catch = hunt_again(BUGS[name], KNOWN[name])
    assert catch.is_found, catch
    assert catch.hits > 0, "it was the bug that did it"
    assert catch.caught_by in BUGS[name].expects, catch.violation


def test_nearly_all_of_the_zoo_is_recorded() -> None:
    assert set(KNOWN) <= set(BUGS)
    assert len(KNOWN) >= 0.95 * len(BUGS)


def attributes():
    """Everything that a bug could change, with what it is now."""
    import sys

    found = {}
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("rafka.") or module_name.startswith("rafka.sim.zoo"):
            continue
        for name, thing in vars(module).items():
            found[module_name, name] = thing
            if isinstance(thing, type) and thing.__module__ == module_name:
                found |= {(module_name, name, inner): value for inner, value in vars(thing).items()}
    return found


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_takes_root_and_leaves_nothing_behind(name) -> None:
    with planted(BUGS[name]) as plant:  # whatever it imports is imported now
        assert plant.hits == 0
    before = attributes()
    with planted(BUGS[name]):
        during = attributes()
        assert any(during[key] is not thing for key, thing in before.items()), "something is changed"
    after = attributes()
    assert all(after[key] is thing for key, thing in before.items())


def test_an_error_in_a_run_takes_the_bug_away_too() -> None:
    before = vars(Appender)["_promise"]
    with pytest.raises(RuntimeError), planted(BUGS["L21"]):
        assert vars(Appender)["_promise"] is not before
        raise RuntimeError
    assert vars(Appender)["_promise"] is before
    assert vars(Producers)["check"].__name__ == "check"


def test_no_code_that_is_shipped_for_use_reaches_the_zoo() -> None:
    reaching = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("rafka/sim/zoo/") or name == "rafka/cli/zoo.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            reaching += [name for module in modules if "zoo" in module]
    assert reaching == []


@pytest.mark.parametrize(
    ("violation", "who"),
    [
        ("LO1: t0-0: gone", "LO1"),
        ("AssertionError in phase chaos: a member has a session (x.py:3 f)", "assertion"),
        ("KeyError in phase chaos: 4 (x.py:3 f)", "crash"),
    ],
)
def test_who_caught_it(violation, who) -> None:
    assert caught_by(violation) == who


def test_the_record_is_written_and_read_and_keeps_what_was_not_looked_for(tmp_path) -> None:
    path = tmp_path / "found.toml"
    one = Catch("L21", 7, 7, "LO1", "LO1: gone", 3, "", 0.1)
    other = Catch("T01", 9, 9, "TX1", "TX1: twice", 1, "", 0.1)
    record([one, attrs.evolve(other, control="TX1: twice")], path)
    assert {name: (known.seed, known.caught_by) for name, known in recorded(path).items()} == {
        "L21": (7, "LO1")
    }
    record([other], path)
    assert list(recorded(path)) == ["L21", "T01"]


def test_the_page_says_what_is_planted_and_what_is_not() -> None:
    page = (ROOT / "docs" / "zoo.md").read_text("utf-8")
    for name, bug in BUGS.items():
        assert f"| {name} | {bug.what} |" in page
    for name in ABSENT:
        assert f"- {name}: " in page
    missed = Catch("L21", 0, 200, "", "", 5, "", 1.0)
    assert "not in 200" in markdown([missed])
    assert lines([missed])[-1].startswith("0 of 1")


# ---- the command -----------------------------------------------------------------------------------------


def test_the_command_finds_a_bug_and_says_who_saw_it() -> None:
    result = CliRunner().invoke(sim, ["zoo", "--only", "L21", "--seeds", "5", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["found"], told["bugs"], told["lost"]) == (1, 1, [])
    assert told["catches"][0]["caught_by"] == "LO1"
    assert told["catches"][0]["seed"] >= 1


def test_the_command_fails_if_a_bug_is_not_found_any_more(monkeypatch) -> None:
    def in_vain(bug, seeds):
        return Catch(bug.id, 0, len(list(seeds)), "", "", 0, "", 0.0)

    monkeypatch.setattr(hunt, "hunt", in_vain)
    result = CliRunner().invoke(sim, ["zoo", "--only", "L21", "--recorded"])
    assert result.exit_code == 1
    assert "LOST L21: it was found at seed" in result.output
    assert "0 of 1 bugs found" in result.output


def test_a_bug_that_is_not_there_is_a_wrong_question() -> None:
    result = CliRunner().invoke(sim, ["zoo", "--only", "X99"])
    assert result.exit_code == 2
    assert "there is no bug X99" in result.output
