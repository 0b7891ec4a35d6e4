"""Every fenced block of README and docs is run: bash as a script, python as a program; `text` is output."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNERS = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


def blocks():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, (language, code) in enumerate(FENCE.findall(page.read_text("utf-8")), 1):
            if language != "text":
                yield pytest.param(language, code, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.fixture
def environment(tmp_path):
    """The name `rafka` means this checkout, whether or not it is installed."""
    command = tmp_path / "bin" / "rafka"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rafka "$@"\n', "utf-8")
    command.chmod(0o755)
    return os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(("language", "code"), list(blocks()))
def test_the_block_runs(language, code, environment, tmp_path):
    assert language in RUNNERS, "a fenced block names bash, python or text"
    work = tmp_path / "work"
    work.mkdir()
    run = subprocess.run(
        [*RUNNERS[language], code],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_the_readme_has_blocks_to_run():
    assert any(block.id.startswith("README.md") for block in blocks())
