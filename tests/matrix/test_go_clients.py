"""Go's clients against the broker: franz-go, sarama at its newest version of Kafka, and kafka-go."""

import pytest

from tests.clients.support import CODECS
from tests.matrix.conftest import Broker
from tests.matrix.support import CONTENT, MARKS, asked, content, documented, go_program, judge, needs, play

pytestmark = [*MARKS, needs("go")]


@pytest.mark.parametrize("client", ["franz-go", "sarama"])
def test_a_client_of_go(broker: Broker, name: str, client: str) -> None:
    judge(play(broker, [go_program(), client], name, CODECS))
    assert content(broker, name) == CONTENT
    assert asked(broker, client) == documented(client)


def test_kafka_go(broker: Broker, name: str) -> None:
    """It writes an empty key or value, and reads one as null: all the same to it."""
    judge(
        play(broker, [go_program(), "kafka-go"], name, CODECS),
        [*CONTENT[:2], [2, None, None, []], CONTENT[3]],
        idempotent=False,
        unable=("low watermark", "log size", "moving"),
    )
    assert content(broker, name) == CONTENT
    assert asked(broker, "kafka-go") == documented("kafka-go")
