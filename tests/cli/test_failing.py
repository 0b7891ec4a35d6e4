"""What `rafka sim` does when a promise is broken: it confirms, shrinks, tells, and leaves a folder behind."""

import json
from functools import partial
from itertools import count

import pytest
from click.testing import CliRunner

from rafka.cli.main import rafka
from rafka.sim import curve
from rafka.sim.ledger import Ledger, Violation


def typed(*words):
    return CliRunner().invoke(rafka, ["sim", *words])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def broken(monkeypatch):
    """Let every run end badly."""

    def never(*_):
        raise Violation("LO1", "so it is")

    monkeypatch.setattr(Ledger, "ended", never)


def test_the_folder_is_where_it_was_asked_for_and_replays(broken, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(curve, "probabilities", partial(curve.probabilities, points=2, samples=2))
    result = typed("--seed", "3", "--time", "200", "--out", "here", "--curve")
    assert result.exit_code == 1, result.output
    folder = tmp_path / "here" / "rafka-sim-3"
    assert (folder / "timeline.html").stat().st_size > 10_000
    assert "100% fail" in result.output
    assert "If chance goes another way" in (folder / "README.md").read_text()
    command = next(line for line in result.output.splitlines() if line.startswith("replay:"))
    words = command.split()[3:]
    replayed = typed(*words)
    assert replayed.exit_code == 1
    violation = json.loads((folder / "faults.json").read_text())["violation"]
    assert f"VIOLATION {violation}" in replayed.output


def test_json_is_all_that_is_printed_when_json_is_asked_for(broken, tmp_path) -> None:
    result = typed("--seed", "3", "--time", "200", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["violation"]
    assert (tmp_path / "rafka-sim-3" / "README.md").exists()


def test_without_shrinking_every_fault_is_kept(broken, tmp_path) -> None:
    result = typed("--seed", "3", "--time", "200", "--json", "--no-shrink")
    kept = json.loads((tmp_path / "rafka-sim-3" / "faults.json").read_text())["only"]
    assert kept == json.loads(result.stdout)["decisions"]
    assert kept


def test_what_comes_out_differently_is_said_to_be_not_deterministic(monkeypatch) -> None:
    calls = count()

    def moody(*_):
        if next(calls) == 0:
            raise Violation("LO1", "this once")

    monkeypatch.setattr(Ledger, "ended", moody)
    result = typed("--seed", "3", "--time", "200")
    assert result.exit_code == 1
    assert "not deterministic" in result.output
    assert "shrinking" not in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "faults.json"),
        ('{"only": 3}', "no list of faults"),
        ('{"seed": 1, "time_ms": -5}', "numbers"),
        ('{"seed": 2, "time_ms": 5}', "is of seed 2"),
    ],
)
def test_a_file_of_faults_that_cannot_be(tmp_path, text, words) -> None:
    (tmp_path / "faults.json").write_text(text)
    result = typed("--seed", "1", "--only", "faults.json")
    assert result.exit_code == 2
    assert words in result.output
