"""A whole broker whose disk is full or failing, whose descriptors run out, whose clients vanish.

Held each time: what was acknowledged is there afterwards, in order; whoever is not concerned is served; the one
who is gets a clear error; and after a restart on a sound disk everything works.
"""

import struct

import pytest
from confluent_kafka import TopicPartition

from tests.clients.support import consumer_of, read, take, until
from tests.io.brokers import Ballast, Broker, Sender, api_versions, asks, frame, reset
from tests.io.support import KIB, REAL


@pytest.fixture(params=REAL)
def driver(request):
    return request.param


def held(broker, sender, topic):
    """Assert that all that was acknowledged is in the topic, in order, before anything else."""
    wanted = sender.acknowledged[topic]
    found = [message.value() for message in read(broker.address, topic, len(wanted))]
    assert found == wanted


def test_a_full_disk_refuses_writes_serves_reads_and_is_used_again_once_there_is_room(driver, tmp_path):
    ballast = Ballast(tmp_path / "small")
    print("the full disk is", ballast.how)
    try:
        with Broker(tmp_path, driver, data=ballast.directory / "data", prefix=ballast.prefix) as broker:
            sender = Sender(broker.address)
            assert sender.send("orders", 20) == [""] * 20
            ballast.fill(broker)
            errors = {error for _ in range(3) for error in sender.send("orders", 1, 20 * KIB)}
            assert errors == {"KAFKA_STORAGE_ERROR"}
            held(broker, sender, "orders")
            ballast.empty(broker)
            until(lambda: sender.send("orders", 1, 20 * KIB) == [""], "it is used again")
            assert sender.send("orders", 20) == [""] * 20
            held(broker, sender, "orders")
            assert "log failed" in broker.journal
            assert "No space left on device" in broker.journal
        if not ballast.prefix:  # a namespace of its own, and the disk in it, has ended with the broker
            with Broker(tmp_path, driver, data=ballast.directory / "data") as broker:
                held(broker, sender, "orders")
    finally:
        ballast.close()


def test_a_partition_whose_disk_fails_refuses_writes_for_good_and_the_others_go_on(driver, tmp_path):
    with Broker(tmp_path, driver) as broker:
        sender = Sender(broker.address)
        for topic in ("unwritable", "unsynced", "sound"):
            assert sender.send(topic, 20) == [""] * 20
        broker.break_disk("write 5 /unwritable-0/", "sync 5 /unsynced-0/")
        for topic in ("unwritable", "unsynced"):
            assert sender.send(topic) == ["KAFKA_STORAGE_ERROR"]
        broker.mend_disk()
        for topic in ("unwritable", "unsynced"):
            assert sender.send(topic) == ["KAFKA_STORAGE_ERROR"]  # nothing is known about the file any more
            held(broker, sender, topic)
        assert sender.send("sound", 20) == [""] * 20
        assert broker.journal.count("log failed") == 2
        assert broker.journal.count("Input/output error") == 2
    with Broker(tmp_path, driver) as broker:
        again = Sender(broker.address)
        for topic in ("unwritable", "unsynced", "sound"):
            held(broker, sender, topic)
            assert again.send(topic, 5) == [""] * 5


def test_a_partition_that_cannot_be_read_costs_its_readers_and_nobody_else(driver, tmp_path):
    with Broker(tmp_path, driver) as broker:
        sender = Sender(broker.address)
        assert sender.send("bad", 50, 2 * KIB) + sender.send("good", 50, 2 * KIB) == [""] * 100
        broker.break_disk("send 5 /bad-0/", "read 5 /bad-0/")
        with pytest.raises(AssertionError, match="0 of 50 messages"):
            read_for(broker, "bad", 50, seconds=1)
        held(broker, sender, "good")
        assert sender.send("good", 20) == [""] * 20
        assert "Input/output error" in broker.journal
        broker.mend_disk()
        held(broker, sender, "bad")


def read_for(broker, topic, count, seconds):
    consumer = consumer_of(broker.address, "reader")
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return take(consumer, count, seconds)
    finally:
        consumer.close()


def test_without_descriptors_newcomers_are_turned_away_and_who_is_there_is_served(driver, tmp_path):
    limit = 64
    with Broker(tmp_path, driver, descriptors=limit) as broker:
        sender = Sender(broker.address)
        assert sender.send("orders", 10) == [""] * 10
        friend = broker.connect()
        assert asks(friend)
        crowd = []
        for _ in range(2 * limit):
            crowd.append(broker.connect())
        until(lambda: "accepting paused" in broker.journal, "descriptors run out")
        assert asks(friend, 2)
        assert sender.send("orders", 10) == [""] * 10
        assert sender.send("another", 10) == [""] * 10, "files have descriptors of their own"
        for stranger in crowd:
            stranger.close()

        def comes_in():
            with broker.connect() as newcomer:
                return asks(newcomer)

        until(comes_in, "newcomers are served again")
        assert sender.send("other", 10) == [""] * 10
        friend.close()
        held(broker, sender, "orders")
        assert broker.journal.count("accepting paused") == 1, "one line for a whole shortage"


def test_clients_that_vanish_at_any_point_cost_nobody_else(driver, tmp_path):
    with Broker(tmp_path, driver) as broker:
        sender = Sender(broker.address)
        assert sender.send("orders", 10) == [""] * 10
        friend = broker.connect()
        for cut in range(1, 40):
            for ask in (1, 20):  # in the middle of a request, and with answers on their way
                vanishing = broker.connect()
                vanishing.sendall(api_versions(1) * ask)
                vanishing.sendall(api_versions(1)[:cut])
                if cut % 3 == 0:
                    frame(vanishing)
                reset(vanishing)
            assert asks(friend, cut)
        friend.sendall(struct.pack(">i", 100))
        reset(friend)
        assert sender.send("orders", 10) == [""] * 10
        held(broker, sender, "orders")
        assert "error" not in broker.journal
