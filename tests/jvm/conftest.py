"""The broker that Java talks to, and the reason when there is no Java."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.support import unique
from tests.jvm.support import MISSING
from tests.process.lives import Lives

SETTINGS = {
    "offsets.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.backoff.ms": "300",
}


@pytest.fixture(scope="session")
def java() -> None:
    """Skip where Java is missing; what is missing is said."""
    if MISSING:
        pytest.skip(f"needs {', '.join(MISSING)}, not found on the PATH")


@pytest.fixture(scope="session")
def lives(java: None) -> Iterator[Lives]:
    with tempfile.TemporaryDirectory(prefix="rafka-jvm-") as directory:
        broker = Lives(Path(directory), SETTINGS)
        broker.serve("auto")
        yield broker
        try:
            broker.stop()
        finally:
            broker.end()


@pytest.fixture(scope="session")
def bootstrap(lives: Lives) -> str:
    return lives.address


@pytest.fixture
def name() -> str:
    """A name no other test uses, for a topic or a group, or the beginning of many."""
    return unique("j")
