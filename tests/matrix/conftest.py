"""The broker that clients of other ecosystems talk to: one for each test, behind a tap, restarted while they run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.support import unique
from tests.matrix.tap import Tap, tapped
from tests.process.lives import Lives

SETTINGS = {
    "offsets.topic.num.partitions": "4",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
}
CODES = ["none", "gzip", "snappy", "lz4", "zstd"]
ATTRIBUTES = (
    22  # where a batch says its codec, in three bits: after base offset, length, epoch, magic, CRC and a byte
)


class Broker:
    def __init__(self, directory: Path, tap: Tap) -> None:
        self.tap = tap
        self.address = tap.address
        self.lives = Lives(directory, SETTINGS | {"advertised.listeners": f"PLAINTEXT://{tap.address}"})

    @property
    def direct(self) -> str:
        """Where the test itself connects first, not to be noted; what it is told of the broker leads through the tap."""
        return self.lives.address

    def start(self) -> None:
        # Clients know the tap alone: each life takes a free port, as one that was given up may be another's by now.
        self.lives.address = "127.0.0.1:0"
        self.tap.broker = self.lives.serve("auto")

    def restart(self) -> None:
        self.lives.stop()
        self.start()

    def kill(self) -> None:
        self.lives.kill()
        self.start()

    def codec(self, topic: str) -> str:
        """The codec of the first batch of a topic's partition 0, as it is on the disk."""
        segment = self.lives.directory / "data" / f"{topic}-0" / f"{0:020}.log"
        return CODES[segment.read_bytes()[ATTRIBUTES] & 7]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with tapped() as tap:
        broker = Broker(tmp_path, tap)
        try:
            broker.start()
            yield broker
            broker.lives.stop()
        finally:
            broker.lives.end()


@pytest.fixture
def name() -> str:
    """A name no other test uses, for a topic and a group, and the beginning of many."""
    return unique("m")
