"""JavaScript's clients against the broker: kafkajs and @platformatic/kafka."""

from tests.matrix.conftest import Broker
from tests.matrix.support import CONTENT, MARKS, asked, content, documented, js_program, judge, needs, play

pytestmark = [*MARKS, needs("node", "npm")]


def test_kafkajs(broker: Broker, name: str) -> None:
    """Of codecs it has gzip, and snappy by a module."""
    codecs = ["gzip", "snappy"]
    judge(
        play(broker, ["node", js_program(), "kafkajs", ",".join(codecs)], name, codecs),
        unable=("log size", "forgotten"),
    )
    assert content(broker, name) == CONTENT
    assert asked(broker, "kafkajs") == documented("kafkajs")


def test_platformatic_kafka(broker: Broker, name: str) -> None:
    """It has zstd where Node.js has it."""
    codecs = ["gzip", "snappy", "lz4"]
    judge(
        play(broker, ["node", js_program(), "platformatic", ",".join(codecs)], name, codecs),
        unable=("moving",),
    )
    assert content(broker, name) == CONTENT
    assert asked(broker, "@platformatic/kafka") == documented("@platformatic/kafka")
