"""Clients that live on while the broker is stopped and started again: they find everything as they left it."""

import os
import socket
from pathlib import Path

import pytest

from tests.clients.conftest import broker
from tests.clients.support import (
    PATIENCE,
    admin_of,
    consumer_of,
    create,
    offsets,
    producer_of,
    send,
    take,
    until,
)

pytestmark = pytest.mark.skipif(
    "RAFKA_TEST_BOOTSTRAP" in os.environ, reason="somebody else's broker is not ours to restart"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_producer_and_a_group_go_on_where_they_were(tmp_path: Path, name: str) -> None:
    port = free_port()
    with broker(tmp_path, port) as bootstrap:
        create(bootstrap, name, partitions=1, retention_ms=3_600_000)
        producer = producer_of(bootstrap, enable_idempotence=True)
        assert offsets(send(producer, name, [b"%d" % n for n in range(100)])) == list(range(100))
        consumer = consumer_of(bootstrap, name, group_instance_id="only")
        consumer.subscribe([name])
        assert [m.value() for m in take(consumer, 100)] == [b"%d" % n for n in range(100)]
        consumer.commit(asynchronous=False)
        before = describe(bootstrap, name)
    with broker(tmp_path, port) as bootstrap:
        assert describe(bootstrap, name) == before
        assert offsets(send(producer, name, [b"%d" % n for n in range(100, 150)])) == list(range(100, 150))
        assert [m.value() for m in take(consumer, 50)] == [b"%d" % n for n in range(100, 150)]
        consumer.commit(asynchronous=False)
        assert describe(bootstrap, name) == before, "the same member in the same place"
        consumer.close()
        late = consumer_of(bootstrap, name, group_instance_id="only")
        late.subscribe([name])
        send(producer, name, [b"after"])
        assert [m.value() for m in take(late, 1)] == [b"after"]
        late.close()
        producer.flush(PATIENCE)


def describe(bootstrap: str, group: str) -> list[tuple[str, str]]:
    """Members of a group once it is stable: instance id and member id."""
    admin = admin_of(bootstrap)

    def stable() -> list[tuple[str, str]]:
        found = admin.describe_consumer_groups([group])[group].result(PATIENCE)
        if found.state.name != "STABLE":
            return []
        return [(member.group_instance_id, member.member_id) for member in found.members]

    return until(stable, "the group is stable")
