import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from rafka.cli.main import COMMANDS, VERSION, rafka

ROOT = Path(__file__).parents[2]


def rafka_process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rafka", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def imported_by(statement):
    program = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return {name.split(".")[0] for name in run.stdout.split()} | set(run.stdout.split())


def test_the_version_is_the_packages():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert package["project"]["version"] == VERSION
    run = rafka_process("--version")
    assert (run.returncode, run.stdout) == (0, f"rafka {VERSION}\n")


def test_help_lists_every_command():
    answer = CliRunner().invoke(rafka, ["--help"])
    assert answer.exit_code == 0
    listed = [
        line.split()[0] for line in answer.output.partition("Commands:")[2].splitlines() if line.strip()
    ]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("module", ["main", "run"])
def test_starting_imports_neither_trio_nor_rich_nor_the_other_commands(module):
    heavy = {"trio", "rich", "structlog", "cramjam", "zstandard", "rafka.cli.doctor", "rafka.client"}
    assert imported_by(f"import rafka.cli.{module}") & heavy == set()


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--fly"], ["completion", "tcsh"]])
def test_a_wrong_question_exits_with_2_and_the_usage(arguments):
    run = rafka_process(*arguments)
    assert run.returncode == 2
    assert "Usage: rafka" in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef rafka"), ("fish", "complete ")]
)
def test_completion_scripts_ask_rafka_itself(shell, mark):
    answer = CliRunner().invoke(rafka, ["completion", shell])
    assert answer.exit_code == 0
    assert mark in answer.output
    assert "_RAFKA_COMPLETE" in answer.output
