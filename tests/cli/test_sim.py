"""`rafka sim` as it is typed: verdicts, exit codes, resuming."""

import json

import pytest
from click.testing import CliRunner

from rafka.cli.main import rafka


def typed(*words):
    return CliRunner().invoke(rafka, ["sim", *words])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_one_seed_is_told_in_words() -> None:
    result = typed("--seed", "4", "--time", "500")
    assert result.exit_code == 0
    for word in (
        "seed 4, profile default",
        "virtual",
        "hash",
        "checked: acknowledged",
        "every promise was kept",
    ):
        assert word in result.output


def test_one_seed_is_told_as_json_and_leaves_a_history(tmp_path) -> None:
    result = typed("--seed", "4", "--time", "500", "--json", "--history", "h.jsonl", "--clients", "2")
    told = json.loads(result.output)
    assert told["violation"] == ""
    assert told["knobs"]["producers"] == told["knobs"]["readers"] == 2
    lines = (tmp_path / "h.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["history"] == 1
    assert len(lines) > 10


def test_only_these_faults_strike(tmp_path) -> None:
    every = json.loads(typed("--seed", "5", "--time", "800", "--json").output)["decisions"]
    (tmp_path / "faults.json").write_text(json.dumps({"only": every[:2]}))
    some = json.loads(typed("--seed", "5", "--time", "800", "--json", "--only", "faults.json").output)[
        "decisions"
    ]
    assert set(some) <= set(every[:2])


def test_many_seeds_end_in_a_table_and_are_not_run_twice(tmp_path) -> None:
    first = typed("--seeds", "1..4", "--time", "300")
    assert first.exit_code == 0
    assert "4 seeds, 0 failed" in first.output
    journal = tmp_path / ".rafka-sim" / "default.jsonl"
    lines = journal.read_text().splitlines()
    assert len(lines) == 5
    # As after an interrupt: two seeds are there, and half a line.
    journal.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])
    second = typed("--seeds", "1..4", "--time", "300")
    assert (
        second.output.splitlines()[-1] == first.output.splitlines()[-1]
        or "4 seeds, 0 failed" in second.output
    )
    assert journal.read_text().splitlines()[:3] == lines[:3]
    other = typed("--seeds", "1..1", "--time", "200")
    assert "1 seeds, 0 failed" in other.output
    assert len(journal.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--seed", "1", "--seeds", "1..2"),
        ("--seeds", "5..1"),
        ("--seeds", "five"),
        ("--seed", "-1"),
        ("--seed", "1", "--profile", "none"),
        ("--seed", "1", "--profile", "none.toml"),
        ("--seed", "1", "--only", "none.json"),
        ("--seeds", "1..2", "--only", "none.json"),
        ("--seed", "1", "--nodes", "3"),
    ],
)
def test_what_is_asked_wrongly(words) -> None:
    assert typed(*words).exit_code == 2


def test_a_broken_promise_is_exit_code_1_and_leaves_what_a_replay_needs(tmp_path, monkeypatch) -> None:
    from rafka.sim.ledger import Ledger, Violation

    def never(*_):
        raise Violation("LO1", "so it is")

    monkeypatch.setattr(Ledger, "ended", never)
    result = typed("--seed", "3", "--time", "300")
    assert result.exit_code == 1
    assert "VIOLATION LO1: so it is" in result.output
    assert "run again: the same run, the same violation" in result.output
    assert "none: it needs no fault" in result.output
    assert "replay:   rafka sim --seed 3 --only rafka-sim-3/faults.json" in result.output
    folder = tmp_path / "rafka-sim-3"
    assert json.loads((folder / "faults.json").read_text())["only"] == []
    assert (folder / "history.jsonl").read_text().startswith('{"history": 1')
    replayed = typed("--seed", "3", "--only", "rafka-sim-3/faults.json")
    assert replayed.exit_code == 1
    assert "VIOLATION LO1: so it is" in replayed.output
    assert typed("--seed", "4", "--only", "rafka-sim-3/faults.json").exit_code == 2
    many = typed("--seeds", "3..3", "--time", "300")
    assert many.exit_code == 1
    assert "replay: rafka sim --seed 3 --time 300" in many.output
