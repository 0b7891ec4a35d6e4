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
from tests.clients.support import read, unique, until
from tests.io.brokers import Broker, Sender, api_versions, asks
from tests.io.support import KIB, MIB, REAL

SPARE_BYTES = 12 * MIB
"""What a broker may grow by at first use of anything: codecs, the allocator's own."""


@pytest.fixture(params=REAL, scope="module")
def broker(request, tmp_path_factory):
    """One for all: who lives through one attack is to live through the next."""
    with Broker(tmp_path_factory.mktemp(request.param), request.param) as made:
        yield made


class Honest:
    """Whoever is to be served meanwhile: a client that asks, and a producer with a topic of its own."""

    def __init__(self, broker):
        self.broker = broker
        self.topic = unique("orders")
        self.sender = Sender(broker.address)
        self.sock = broker.connect()
        self.produces()
        self.is_answered()
        self.memory = broker.resident
        self.told = len(broker.journal)

    def produces(self):
        assert self.sender.send(self.topic, 10) == [""] * 10

    def is_answered(self):
        assert asks(self.sock)

    @property
    def journal(self):
        """What the broker said since the attack began."""
        return self.broker.journal[self.told :]

    def is_unharmed(self, growth_max):
        self.is_answered()
        assert self.broker.resident - self.memory <= growth_max
        self.produces()
        wanted = self.sender.acknowledged[self.topic]
        assert [m.value() for m in read(self.broker.address, self.topic, len(wanted))] == wanted
        assert "Traceback" not in self.journal
        self.broker.hang_up()


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


def test_frames_that_never_end_cost_little_and_nobody_waits_for_them(broker):
    count = 300
    honest = Honest(broker)
    slow = [broker.connect() for _ in range(count)]
    whole = api_versions(1)
    for at in range(len(whole) - 1):
        for sock in slow:
            sock.sendall(whole[at : at + 1])
        honest.is_answered()
    grown = broker.resident - honest.memory
    for sock in slow:  # they were only slow
        sock.sendall(whole[-1:])
    for sock in slow:
        assert sock.recv(1)
    assert grown <= SPARE_BYTES + count * 32 * KIB
    honest.is_unharmed(SPARE_BYTES + count * 32 * KIB)


@pytest.mark.parametrize("driver", REAL)
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


def test_sizes_that_are_only_promised_are_not_paid_for(broker):
    count = 300
    honest = Honest(broker)
    for _ in range(count):
        sock = broker.connect()
        sock.sendall(struct.pack(">i", 100 * MIB) + bytes(1 * KIB))
    honest.is_answered()
    honest.is_unharmed(SPARE_BYTES + count * START_BYTES)


def test_a_tls_hello_ends_its_connection_with_a_clear_line(broker):
    honest = Honest(broker)
    context = ssl.create_default_context()
    for _ in range(20):
        with broker.connect() as sock, pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            context.wrap_socket(sock, server_hostname="localhost")
    honest.is_unharmed(SPARE_BYTES)
    assert honest.journal.count("protocol violation") == 20


def test_a_browser_gets_no_answer_but_an_end(broker):
    honest = Honest(broker)
    for method in ("GET", "POST", "OPTIONS"):
        browser = http.client.HTTPConnection(broker.host, broker.port, timeout=30)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            browser.request(method, "/", b"x" * 1000)
            browser.getresponse()
        browser.close()
    honest.is_unharmed(SPARE_BYTES)
    assert honest.journal.count("protocol violation") == 3


def test_who_asks_without_reading_answers_is_not_read_from(broker):
    """A client asks as fast as it can and never reads: what waits for it is bounded."""
    honest = Honest(broker)
    burst = api_versions(1) * 500
    greedy = broker.connect(receive_buffer=8 * KIB)
    greedy.setblocking(False)
    rest = memoryview(burst)
    stuck = 0
    while stuck < 4:  # until nobody takes anything for a while
        _, ready, _ = select.select([], [greedy], [], 0.05)
        stuck = 0 if ready else stuck + 1
        with contextlib.suppress(BlockingIOError):
            rest = rest[greedy.send(rest) :] or memoryview(burst)
        honest.is_answered()
    honest.is_unharmed(SPARE_BYTES + 2 * MIB)


@pytest.mark.parametrize("first", [0, 1000])
def test_whatever_bytes_come_the_broker_goes_on(broker, first):
    honest = Honest(broker)
    sent = 0
    for seed in range(first, first + 150):
        stream = a_stream(Random(seed))
        sent += len(stream)
        sock = broker.connect()
        with contextlib.suppress(ConnectionError):
            sock.sendall(stream)
        if seed % 3:
            sock.shutdown(socket.SHUT_WR)
        honest.is_answered()
    honest.is_answered()
    honest.is_unharmed(SPARE_BYTES + 8 * sent)
