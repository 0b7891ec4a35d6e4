"""The broker of a test: real clients, real sockets, faults on demand, and nothing left behind."""

import socket
import threading
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer

import rafka.testing
from rafka.core.errors import ConfigError, RafkaError

PATIENCE = 30.0


def produced(bootstrap: str, topic: str, value: bytes, **settings: object) -> KafkaError | None:
    """Send one record; the error that its delivery report has."""
    reports: list[KafkaError | None] = []
    dotted = {name.replace("_", "."): setting for name, setting in settings.items()}
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, **dotted})
    producer.produce(topic, value, on_delivery=lambda error, _: reports.append(error))
    producer.flush(PATIENCE)
    (report,) = reports
    return report


@pytest.fixture(params=["auto", "trio"])
def b(request: pytest.FixtureRequest):
    with rafka.testing.broker(topics={"orders": 2}, driver=request.param) as running:
        yield running


def test_a_client_produces_and_consumes(b: rafka.testing.Broker) -> None:
    assert produced(b.bootstrap, "orders", b"one", partitioner="consistent") is None
    found = [b.records("orders", partition) for partition in (0, 1)]
    assert sorted(found) == [[], [(None, b"one")]]
    consumer = Consumer({"bootstrap.servers": b.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    message = consumer.poll(PATIENCE)
    assert message is not None
    assert message.value() == b"one"
    consumer.close()


def test_records_outlive_a_restart_on_the_same_port(b: rafka.testing.Broker) -> None:
    assert produced(b.bootstrap, "orders", b"kept", partitioner="consistent") is None
    before = b.bootstrap
    b.restart()
    assert b.bootstrap == before
    assert [(None, b"kept")] in [b.records("orders", partition) for partition in (0, 1)]


def test_a_refused_produce_is_tried_again(b: rafka.testing.Broker) -> None:
    fault = b.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=2)
    assert produced(b.bootstrap, "orders", b"late", retry_backoff_ms=5) is None
    assert fault.fired == 2


def test_an_error_that_clients_do_not_retry_reaches_them(b: rafka.testing.Broker) -> None:
    b.fail("Produce", "TOPIC_AUTHORIZATION_FAILED")
    error = produced(b.bootstrap, "orders", b"no")
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    b.heal()
    assert produced(b.bootstrap, "orders", b"yes") is None


def test_a_lost_acknowledgement_makes_a_plain_producer_write_twice(b: rafka.testing.Broker) -> None:
    b.create_topic("one")
    fault = b.drop_acks(times=1)
    assert produced(b.bootstrap, "one", b"twice", retry_backoff_ms=5) is None
    assert fault.fired == 1
    assert b.records("one") == [(None, b"twice"), (None, b"twice")]


def test_an_idempotent_producer_survives_a_lost_acknowledgement(b: rafka.testing.Broker) -> None:
    b.create_topic("one")
    fault = b.drop_acks(times=1)
    assert produced(b.bootstrap, "one", b"once", enable_idempotence=True, retry_backoff_ms=5) is None
    assert fault.fired == 1
    assert b.records("one") == [(None, b"once")]


def test_a_closed_connection_is_opened_again(b: rafka.testing.Broker) -> None:
    fault = b.close("Metadata", times=2)
    assert produced(b.bootstrap, "orders", b"there", reconnect_backoff_ms=5) is None
    assert fault.fired == 2


def test_a_slow_answer_runs_into_the_clients_timeout(b: rafka.testing.Broker) -> None:
    b.slow("Produce", ms=60_000)
    error = produced(b.bootstrap, "orders", b"slow", message_timeout_ms=300, socket_timeout_ms=200, retries=0)
    assert error is not None
    assert error.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT)


def test_nothing_is_left_behind() -> None:
    threads = threading.active_count()
    with rafka.testing.broker() as b:
        data_dir, port = b._data_dir, b.port
        assert data_dir is not None
        assert Path(data_dir).is_dir()
    assert not Path(data_dir).exists()
    assert threading.active_count() == threads
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 1):
        pass


def test_a_directory_that_was_given_is_kept(tmp_path: Path) -> None:
    with rafka.testing.broker(topics={"kept": 1}, data_dir=str(tmp_path)) as b:
        assert produced(b.bootstrap, "kept", b"x") is None
    with rafka.testing.broker(data_dir=str(tmp_path)) as b:
        assert b.records("kept") == [(None, b"x")]


def test_wrong_arguments_say_what_is_wrong() -> None:
    with (
        pytest.raises(ConfigError, match=r"no\.such\.setting"),
        rafka.testing.broker(settings={"no.such.setting": 1}),
    ):
        pass
    with rafka.testing.broker() as b:
        with pytest.raises(ConfigError, match="no such API"):
            b.slow("Prodoose", ms=1)
        with pytest.raises(ConfigError, match="no such error"):
            b.fail("Produce", "OH_NO")
        with pytest.raises(RafkaError, match="UNKNOWN_TOPIC_OR_PARTITION"):
            b.records("nowhere")


def test_the_fixture_gives_a_running_broker(rafka_broker: rafka.testing.Broker) -> None:
    assert produced(rafka_broker.bootstrap, "made-by-the-client", b"x") is None
    assert rafka_broker.records("made-by-the-client") == [(None, b"x")]
