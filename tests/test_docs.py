"""Every fenced block of README and docs is run, page by page, from top to bottom, against a broker of the page's own.

The first word after the fence says what a block is:

    bash               a script; it must end with 0
    bash background    a command that serves, such as `rafka run`: it goes on while the rest of the page runs
    python             a program
    output             what the block before it printed, exactly
    toml, json         a file for --config, which must be accepted; any JSON
    text               none of these

A page says 127.0.0.1:9092 where it means the broker. Here the broker has a port of its own: it is told so by the variables
that the commands read anyway, and in Python the text is replaced. A page that starts no broker finds one there.
`make` works on this checkout, but for the environment it would install: that is the one the tests run in.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from rafka.cli.run import read_config
from rafka.core.config.settings import Settings
from tests.cli.process import until

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([\w ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY = re.compile(r"^Rafka is ready: bootstrap\.servers=(\S+)$", re.MULTILINE)
DOCUMENTED = "127.0.0.1:9092"
PAGES_AT = "127.0.0.1:9644"
"""Where the pages of metrics are in the documents; here on a free port."""


class Block(NamedTuple):
    kind: str
    code: str


def blocks(page):
    return [Block(kind, code) for kind, code in FENCE.findall(page.read_text("utf-8"))]


class Reader:
    """Somebody who follows a page in an empty directory, and in a shell where `rafka` is this checkout's."""

    def __init__(self, place):
        self.work = place / "work"
        self.work.mkdir()
        self.log = place / "log"
        self.background = []
        self.printed = ""
        self.bootstrap = DOCUMENTED
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.pages_at = f"127.0.0.1:{free.getsockname()[1]}"
        commands = place / "bin"
        commands.mkdir()
        for name, words in {"rafka": "-m rafka", "python": "", "python3": ""}.items():
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', "utf-8")
            (commands / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAFKA_LISTEN": "127.0.0.1:0",
        }
        self.check_out(commands)

    def check_out(self, commands):
        """Put into the directory what `make` needs; its environment, whose stamps say that it is complete, is ours."""
        for name in ("Makefile", "pyproject.toml"):
            (self.work / name).symlink_to(ROOT / name)
        (self.work / ".venv").mkdir()
        (self.work / ".venv" / "bin").symlink_to(commands)
        for stamp in (".runs", ".ready"):
            (self.work / ".venv" / stamp).touch()

    def follow(self, block):
        block = Block(block.kind, block.code.replace(PAGES_AT, self.pages_at))
        match block.kind.split():
            case ["bash"]:
                self.run(["bash", "-euo", "pipefail", "-c", block.code])
            case ["bash", "background"]:
                self.serve(block.code)
            case ["python"]:
                self.run([sys.executable, "-c", block.code.replace(DOCUMENTED, self.bootstrap)])
            case ["output"]:
                assert self.printed.replace(self.bootstrap, DOCUMENTED) == block.code
            case ["json"]:
                json.loads(block.code)
            case ["toml"]:
                (self.work / "rafka.toml").write_text(block.code, "utf-8")
                Settings.from_pairs(read_config(str(self.work / "rafka.toml")))
            case other:
                assert other == ["text"], "a fence says bash, python, output, toml, json or text"

    def run(self, command):
        process = self.start(command, subprocess.PIPE, subprocess.PIPE)
        try:
            self.printed, trouble = process.communicate(timeout=60)
        finally:
            self.end(process)
        assert process.returncode == 0, f"{command[-1]}\n{self.printed}\n{trouble}"

    def start(self, command, out, error):
        return subprocess.Popen(
            command,
            cwd=self.work,
            env=self.environment,
            stdout=out,
            stderr=error,
            text=True,
            start_new_session=True,
        )

    def end(self, process):
        """End all that a block has started, if it has not ended."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def serve(self, script):
        """Start it and wait until it says where it serves: from then on that is the broker of the page."""
        with self.log.open("w") as log:
            process = self.start(["bash", "-euo", "pipefail", "-c", script], log, subprocess.STDOUT)
        self.background.append(process)
        ready = until(lambda: READY.search(self.log.read_text()) or process.poll() is not None, "it serves")
        assert ready is not True, self.log.read_text()
        self.bootstrap = self.environment["RAFKA_BOOTSTRAP"] = ready[1]

    def leave(self):
        """End what was started; a broker that is asked to end does, with success."""
        for process in self.background:
            os.killpg(process.pid, signal.SIGTERM)
            assert process.wait(30) in (0, 2, -signal.SIGTERM), (
                self.log.read_text()
            )  # make says 2 of what it ends
            until(lambda: "stopped" in self.log.read_text(), "the broker has ended well")


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        for process in reader.background:
            reader.end(process)


def uses_a_broker(page):
    found = blocks(page)
    starts_one = any(block.kind == "bash background" for block in found)
    return not starts_one and any(
        DOCUMENTED in block.code or re.search(r"rafka (topic|produce|consume|group)", block.code)
        for block in found
        if block.kind in ("bash", "python")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_who_follows_the_page_sees_what_it_says(page, reader):
    if uses_a_broker(page):
        reader.serve("exec rafka run --data-dir data")
    for block in blocks(page):
        reader.follow(block)
    reader.leave()


def test_the_readme_begins_with_a_broker_and_a_client():
    first = [block.kind for block in blocks(ROOT / "README.md")][:2]
    assert first == ["bash background", "python"]
    client = blocks(ROOT / "README.md")[1].code
    assert len(client.splitlines()) == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_page_of_settings_is_what_the_tables_of_settings_say():
    command = [sys.executable, ROOT / "tools" / "generate_configuration.py", "--check"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    assert done.returncode == 0, "run tools/generate_configuration.py"
