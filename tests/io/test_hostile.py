"""Clients that mean harm, or another server: the broker's loop lives, its memory stays bounded, others are served."""

import contextlib
import http.client
import select
import socket
import ssl
import struct
from random import Random

import pytest

from fuzz.frames import a_stream
from rafka.net.frame import START_BYTES
from tests.clients.support import read, until
from tests.io.brokers import Broker, Sender, api_versions, asks
from tests.io.support import KIB, MIB, REAL

SPARE_BYTES = 12 * MIB
"""What a broker may grow by at first use of anything: codecs, the allocator's own."""


@pytest.fixture(params=REAL)
def driver(request):
    return request.param


def warmed(broker):
    """An honest client, and the broker's memory once it has served it."""
    sender = Sender(broker.address)
    assert sender.send("orders", 10) == [""] * 10
    friend = broker.connect()
    assert asks(friend)
    return sender, friend, broker.resident


def unharmed(broker, sender, friend, memory, growth_max):
    assert asks(friend)
    assert broker.resident - memory <= growth_max
    assert sender.send("orders", 10) == [""] * 10
    wanted = sender.acknowledged["orders"]
    assert [m.value() for m in read(broker.address, "orders", len(wanted))] == wanted
    assert "Traceback" not in broker.journal


def has_ended(sock):
    """Whether the broker has closed this connection; what it sent before is thrown away."""
    with contextlib.suppress(BlockingIOError):
        try:
            while True:
                if not sock.recv(1 << 16, socket.MSG_DONTWAIT):
                    return True
        except ConnectionError:
            return True
    return False


def test_frames_that_never_end_cost_little_and_nobody_waits_for_them(driver, tmp_path):
    count = 300
    with Broker(tmp_path, driver) as broker:
        sender, friend, memory = warmed(broker)
        slow = [broker.connect() for _ in range(count)]
        whole = api_versions(1)
        for at in range(len(whole) - 1):
            for sock in slow:
                sock.sendall(whole[at : at + 1])
            assert asks(friend, at)
        unharmed(broker, sender, friend, memory, SPARE_BYTES + count * 32 * KIB)
        for sock in slow:  # they were only slow
            sock.sendall(whole[-1:])
        for sock in slow:
            assert sock.recv(1)


def test_a_frame_that_is_dripped_byte_by_byte_does_not_hold_its_connection_for_ever(driver, tmp_path):
    with Broker(tmp_path, driver, settings={"connections.max.idle.ms": "1000"}) as broker:
        dripping = broker.connect()
        dripping.sendall(struct.pack(">i", 1 << 20))

        def drip():
            with contextlib.suppress(ConnectionError):
                dripping.sendall(b"\0")
            return has_ended(dripping)

        until(drip, "the connection is closed")
        with broker.connect() as other:
            assert asks(other)


def test_sizes_that_are_only_promised_are_not_paid_for(driver, tmp_path):
    count = 300
    with Broker(tmp_path, driver) as broker:
        sender, friend, memory = warmed(broker)
        for _ in range(count):
            sock = broker.connect()
            sock.sendall(struct.pack(">i", 100 * MIB) + bytes(1 * KIB))
        assert asks(friend)
        unharmed(broker, sender, friend, memory, SPARE_BYTES + count * START_BYTES)


def test_a_tls_hello_ends_its_connection_with_a_clear_line(driver, tmp_path):
    with Broker(tmp_path, driver) as broker:
        sender, friend, memory = warmed(broker)
        context = ssl.create_default_context()
        for _ in range(20):
            with broker.connect() as sock, pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                context.wrap_socket(sock, server_hostname="localhost")
        unharmed(broker, sender, friend, memory, SPARE_BYTES)
        assert broker.journal.count("protocol violation") == 20


def test_a_browser_gets_no_answer_but_an_end(driver, tmp_path):
    with Broker(tmp_path, driver) as broker:
        sender, friend, memory = warmed(broker)
        for method in ("GET", "POST", "OPTIONS"):
            browser = http.client.HTTPConnection(broker.host, broker.port, timeout=30)
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                browser.request(method, "/", b"x" * 1000)
                browser.getresponse()
            browser.close()
        unharmed(broker, sender, friend, memory, SPARE_BYTES)
        assert broker.journal.count("protocol violation") == 3


def test_who_asks_without_reading_answers_is_not_read_from(driver, tmp_path):
    """Two clients ask as fast as they can and never read: what waits for them is bounded."""
    with Broker(tmp_path, driver) as broker:
        sender, friend, memory = warmed(broker)
        burst = api_versions(1) * 500
        greedy = []
        for _ in range(2):
            sock = broker.connect(receive_buffer=8 * KIB)
            sock.setblocking(False)
            greedy.append([sock, memoryview(burst)])
        stuck = 0
        while stuck < 4:  # until nobody takes anything for a while
            _, ready, _ = select.select([], [sock for sock, _ in greedy], [], 0.05)
            stuck = 0 if ready else stuck + 1
            for one in greedy:
                with contextlib.suppress(BlockingIOError):
                    one[1] = one[1][one[0].send(one[1]) :] or memoryview(burst)
            assert asks(friend)
        unharmed(broker, sender, friend, memory, SPARE_BYTES + 2 * 2 * MIB)


@pytest.mark.parametrize("first", [0, 1000])
def test_whatever_bytes_come_the_broker_goes_on(driver, first, tmp_path):
    with Broker(tmp_path, driver) as broker:
        sender, friend, memory = warmed(broker)
        sent = 0
        for seed in range(first, first + 150):
            stream = a_stream(Random(seed))
            sent += len(stream)
            sock = broker.connect()
            with contextlib.suppress(ConnectionError):
                sock.sendall(stream)
            if seed % 3:
                sock.shutdown(socket.SHUT_WR)
            assert asks(friend, seed)
        assert asks(friend)
        unharmed(broker, sender, friend, memory, SPARE_BYTES + 8 * sent)
