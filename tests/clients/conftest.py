"""The broker that the client suites talk to.

Every test is a function of a bootstrap address, so the same test can be run against Apache Kafka to check the test itself:
`RAFKA_TEST_BOOTSTRAP=host:port python -m pytest tests/clients`. Without that variable it is a broker of our own,
`rafka run` as a user starts it, one for each worker of pytest; `RAFKA_TEST_DRIVER` says on which driver.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.support import unique, until

DRIVER = os.environ.get("RAFKA_TEST_DRIVER", "auto")
SETTINGS = {
    # Fifty partitions for a few groups would make every start of the suite slower and prove nothing more.
    "offsets.topic.num.partitions": "8",
}


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    foreign = os.environ.get("RAFKA_TEST_BOOTSTRAP")
    if foreign:
        yield foreign
        return
    with (
        tempfile.TemporaryDirectory(prefix="rafka-clients-") as directory,
        broker(Path(directory)) as address,
    ):
        yield address


@contextmanager
def broker(directory: Path, port: int = 0) -> Iterator[str]:
    """Run a broker until the block ends; it must then stop by itself, with success, when asked to."""
    ready, journal = directory / "ready", directory / "journal"
    command = [sys.executable, "-m", "rafka", "run", "--data-dir", str(directory / "data")]
    command += ["--listen", f"127.0.0.1:{port}", "--ready-file", str(ready), "--driver", DRIVER]
    command += [word for name, text in SETTINGS.items() for word in ("--set", f"{name}={text}")]
    with journal.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: ready.exists() or process.poll() is not None, "the broker serves, or has given up")
        assert process.poll() is None, journal.read_text()
        yield ready.read_text().strip()
        assert process.poll() is None, f"the broker ended by itself:\n{journal.read_text()}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, journal.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def name() -> str:
    """A name no other test uses, for a topic or a group."""
    return unique("t")
