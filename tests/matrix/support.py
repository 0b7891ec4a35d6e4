"""Programs of other ecosystems: made once, run against a broker that is restarted in the middle, and what they saw.

What is built or fetched lies under .peers/matrix in the checkout, named by what it was made from.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rafka.core.api import APIS
from tests.clients.support import CODECS, create, offsets, producer_of, read, send
from tests.jvm.support import made
from tests.matrix.conftest import Broker

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".peers" / "matrix"
# The first to need a program waits for its libraries to come over the network.
MARKS = [pytest.mark.matrix, pytest.mark.timeout(600)]
VALUES = [b"%d:" % number + b"abcdefgh" * (number * 37 % 200) for number in range(60)]
TIME = 1_600_000_000_000  # the programs' own
# Of each record of the topic of contents: time after TIME, key, value, headers. All programs write the same.
CONTENT: list[Any] = [
    [0, "k", "v", [["trace", "one"], ["span", "two"]]],
    [1, "gone", None, []],
    [2, "", "", []],
    [3, None, "no key", []],
]
ADMIN = {
    "brokers": 1,
    "group listed": True,
    "retention": "1234567",
    "partitions": 5,
    "low watermark": 10,
    "log size": True,
    "moving": 0,
    "set to": 7,
    "forgotten": True,
    "group removed": True,
}
PAUSES = {"restart": Broker.restart, "kill": Broker.kill}  # what a program waits for
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
TOPIC_ALREADY_EXISTS = 36


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}, not found on the PATH")


def go_program() -> str:
    """The program of Go's clients, built if its sources changed."""
    source = HERE / "go"
    sources = sorted([*source.glob("*.go"), source / "go.mod", source / "go.sum"])
    with made("go", *sources, cache=CACHE) as (directory, empty):
        if empty:
            output = str(directory / "matrix")
            make(["go", "build", "-mod=readonly", "-ldflags=-s -w", "-o", output, "."], source)
    return str(directory / "matrix")


def js_program() -> str:
    """The script of JavaScript's clients beside its modules, installed if the lock file changed."""
    source = HERE / "js"
    sources = sorted([*source.glob("*.js"), source / "package.json", source / "package-lock.json"])
    with made("js", *sources, cache=CACHE) as (directory, empty):
        if empty:
            for path in sources:
                shutil.copy(path, directory)
            make(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], directory)
    return str(directory / "matrix.js")


def make(command: list[str], directory: Path) -> None:
    """Run a build, politely: other tests run meanwhile. No C compiler is needed."""
    done = subprocess.run(
        ["nice", "-n", "5", *command],
        cwd=directory,
        env=os.environ | {"CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def play(broker: Broker, command: list[str], name: str, codecs: list[str]) -> dict[str, Any]:
    """Run a program's scenario, with a restart of the broker where it asks for one: its facts.

    What it produced is then read by another client, and was compressed as it should be.
    """
    for codec in CODECS:
        topic = create(broker.direct, f"{name}-python-{codec}")
        offsets(send(producer_of(broker.direct, compression_type=codec, linger_ms=20), topic, VALUES))
    facts = run(broker, [*command, broker.address, name])
    for codec in codecs:
        topic = f"{name}-{codec}"
        assert [message.value() for message in read(broker.direct, topic, 60)] == VALUES, codec
        assert broker.codec(topic) == codec
        assert facts.pop(f"codec-{codec}") == {"offsets": [0, 59], "own": True, "python": True}, codec
    return facts


def judge(
    facts: dict[str, Any],
    content: list[Any] = CONTENT,
    *,
    idempotent: bool = True,
    unable: tuple[str, ...] = (),
) -> None:
    """What every client must have seen.

    `content` is what this one can tell of keys, values and headers, and `unable` what its admin client has no call for.
    """
    assert facts.pop("administered") == {key: ADMIN[key] for key in ADMIN if key not in unable}
    through = facts.pop("through")
    assert through["lost"] == 0
    assert not idempotent or through == {"lost": 0, "twice": 0, "ordered": True}
    assert facts.pop("created") == {"partitions": 3, "again": TOPIC_ALREADY_EXISTS}
    assert facts.pop("content") == content
    assert facts.pop("times") == [0, 5, 9]
    assert facts.pop("refusals") == {
        "unknown topic": UNKNOWN_TOPIC_OR_PARTITION,
        "too large": MESSAGE_TOO_LARGE,
    }
    group = facts.pop("group")
    shares = group["shares"]
    assert (len(shares), sorted(one for share in shares for one in share)) == (2, [0, 1, 2]), (
        "each partition has one member"
    )
    assert group == {
        "early": 0,
        "shares": shares,
        "readers": shares,
        "produced": {"0": [0, 99], "1": [0, 99], "2": [0, 99]},
        "read": {"0": [0, 99], "1": [0, 99], "2": [0, 99]},
        "committed": {"0": 100, "1": 100, "2": 100},
    }
    assert facts.pop("resumed") == {
        "before": {"0": 100, "1": 100, "2": 100},
        "produced": {"0": [100, 109], "1": [100, 109], "2": [100, 109]},
        "read": {"0": [100, 109], "1": [100, 109], "2": [100, 109]},
        "committed": {"0": 110, "1": 110, "2": 110},
    }
    assert facts.pop("removed")
    assert facts == {}, "every fact is judged"


def run(broker: Broker, command: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    trouble = broker.lives.directory / "trouble"
    with (
        trouble.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                told = json.loads(line)
                facts[told["fact"]] = told["seen"]
                if told["fact"] in PAUSES:
                    PAUSES[told["fact"]](broker)
                    process.stdin.write("\n")
                    process.stdin.flush()
            code = process.wait(20)
        finally:
            process.kill()
    assert code == 0, f"{facts}\n{trouble.read_text()}"
    assert [facts.pop(fact) for fact in PAUSES] == [True, True]
    return facts


def documented(client: str) -> dict[str, str]:
    """What the page of clients says a client's highest version of each API is. It is of the client that is locked here."""
    lines = (HERE.parents[1] / "docs" / "protocol" / "clients.md").read_text("utf-8").splitlines()
    head, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")
    ]
    (column,) = [number for number, cell in enumerate(head) if cell.rpartition(" ")[0] == client]
    version = head[column].rpartition(" ")[2]
    locked = (HERE / "go" / "go.mod").read_text() + (HERE / "js" / "package.json").read_text()
    assert f"/{client} v{version}\n" in locked or f'"{client}": "{version}"' in locked
    return {row[0]: row[column] for row in rows}


def asked(broker: Broker, client: str) -> dict[str, str]:
    """The highest versions that a client asked for, of those APIs that the page of clients has."""
    keys = {api.name: key for key, api in APIS.items()}
    return {
        name: str(max((version for key, version in broker.tap.asked if key == keys[name]), default="–"))
        for name in documented(client)
    }


def content(broker: Broker, name: str) -> list[Any]:
    """What confluent-kafka reads of a program's topic of keys, headers, tombstones and times."""
    return [
        [message.timestamp()[1] - TIME, text(message.key()), text(message.value()), headers(message)]
        for message in read(broker.direct, f"{name}-content", 4)
    ]


def text(some: bytes | None) -> str | None:
    return None if some is None else some.decode()


def headers(message: Any) -> list[list[str]]:
    return [[key, value.decode()] for key, value in message.headers() or []]
