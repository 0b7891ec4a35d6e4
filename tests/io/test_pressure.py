"""Slow readers, greedy ones, idle ones, and more of them than descriptors: each driver serves the others."""

import fcntl
import os
import resource
import socket
import struct
import termios
import threading
from collections import Counter, deque
from pathlib import Path

import pytest

from rafka.core.effects import Fill, Send, Write
from rafka.core.events import Filled, Received
from rafka.core.types import File, FileSlice
from rafka.io import driver as driver_module
from rafka.io.driver import TURN_BYTES_MAX, UNSENT_MAX
from rafka.io.sockets import TURN_BYTES
from tests.io.support import KIB, MIB, REAL, echo, pattern, play

A = File("a")
IDLE_BYTES_MAX = 12 * KIB
"""What an idle connection may cost this process, its own end and the test's together."""


@pytest.fixture(params=REAL)
def run(request, tmp_path):
    return lambda script: play(request.param, script, tmp_path)


# ---- back-pressure and fairness ---------------------------------------------------------------------


def test_a_peer_that_does_not_read_is_not_read_from_and_costs_bounded_memory(run):
    """Each request of 8 bytes is answered with 64 KiB, and nobody reads the answers."""
    answer = pattern(64 * KIB)
    sent = []

    def script(s):
        def react(event):
            if isinstance(event, Received) and event.conn == slow_conn:
                whole = len(s.received(slow_conn)) // 8 - len(sent)
                for _ in range(whole):
                    sent.append(1)
                    s.do(Send(slow_conn, [answer]))
            elif isinstance(event, Received):
                s.do(Send(event.conn, [event.data]))

        port = yield from s.listen()
        slow, slow_conn = yield from s.connect(port, receive_buffer=16 * KIB)
        other, _ = yield from s.connect(port)
        s.react = react
        kernel = 8 * MIB  # more than any socket buffer takes
        idle = asked = 0
        while idle < 30:  # as one request after the other, so no turn sees many
            before = len(sent)
            asked += slow.send(b"request!")
            yield
            idle = idle + 1 if len(sent) == before else 0
            assert len(sent) * len(answer) < UNSENT_MAX + kernel
        for n in range(20):
            other.send(b"ping")
            yield from s.pull(other, 4 * (n + 1))
        yield from s.pull(slow, asked // 8 * len(answer))
        assert slow.data == answer * (asked // 8)

    run(script)


def test_many_who_do_not_read_share_what_may_wait(run, monkeypatch):
    monkeypatch.setattr(driver_module, "UNSENT_ALL_MAX", 1 * MIB)
    answer = bytes(64 * KIB)
    sent = Counter()

    def script(s):
        def react(event):
            if isinstance(event, Received):
                sent[event.conn] += 1
                s.do(Send(event.conn, [answer]))

        s.react = react
        port = yield from s.listen()
        slow = []
        for _ in range(8):
            slow.append((yield from s.connect(port, receive_buffer=16 * KIB)))
        idle = 0
        while idle < 30:
            before = sent.total()
            for client, _ in slow:
                client.send(b"r")
            yield
            idle = idle + 1 if sent.total() == before else 0
        assert all(conn.is_blocked for conn in s.connections)
        assert sum(conn.unsent for conn in s.connections) <= 1 * MIB + 8 * len(answer)
        for client, conn in slow:
            yield from s.until(
                lambda client=client, conn=conn: (
                    client.pull() < 0 or len(client.data) >= sent[conn] * len(answer)
                )
            )
        assert sum(conn.unsent for conn in s.connections) == 0

    run(script)


def test_those_who_fetch_much_do_not_keep_waiting_those_who_ask_for_little(run):
    """Twelve clients each take 32 MiB from a file while one asks for echoes: each echo takes a few turns, no more."""

    def script(s):
        echo(s)
        port = yield from s.listen()
        size = 32 * MIB
        yield from s.ask(Write(A, 0, [bytes(size)]))
        fetchers = []
        for _ in range(12):
            fetchers.append((yield from s.connect(port)))
        small, small_conn = yield from s.connect(port)
        s.do(*[Send(conn, [FileSlice(A, 0, size)]) for _, conn in fetchers])
        got = {conn: 0 for _, conn in fetchers}
        worst = echoes = 0
        while any(count < size for count in got.values()):
            small.data.clear()
            small.send(b"ping")
            began = s.turns
            while len(small.data) < 4:
                taken = 0
                for client, conn in fetchers:
                    got[conn] += client.pull()
                    taken += len(client.data)
                    client.data.clear()
                yield
                small.pull()
            worst = max(worst, s.turns - began)
            echoes += 1
        assert worst <= 4
        assert echoes >= 12 * size // TURN_BYTES_MAX // 4
        assert s.received(small_conn) == b"ping" * echoes

    run(script)


def test_those_who_fetch_much_do_not_slow_down_those_who_send(run):
    """Twelve clients take all they can from a file, one sends a large batch: its bytes come in as fast as it sends.

    With every fetcher insatiable, a turn has `TURN_BYTES_MAX` for them and as much for what is received: so what has
    reached the sender's socket is taken in within three turns, however much the others want.
    """
    size = 16 * MIB

    def script(s):
        port = yield from s.listen()
        yield from s.ask(Write(A, 0, [bytes(8 * MIB)]))
        fetchers = []
        for _ in range(12):
            fetchers.append((yield from s.connect(port)))
        sender, sending = yield from s.connect(port)
        batch = bytearray(size)
        s.do(Fill(sending, memoryview(batch)))
        yield
        data = pattern(size)
        rest = memoryview(data)
        owed = {conn: 0 for _, conn in fetchers}
        (incoming,) = [conn for conn in s.connections if conn.id == sending]
        due = deque()
        fetched = 0
        while incoming.fill is not None:
            for client, conn in fetchers:
                taken = client.pull()
                client.data.clear()
                fetched += taken
                owed[conn] -= taken
                if owed[conn] < 2 * MIB:  # there is always more to send than a turn can
                    owed[conn] += 8 * MIB
                    s.do(Send(conn, [FileSlice(A, 0, 8 * MIB)]))
            rest = rest[sender.send(rest) :]
            due.append(incoming.filled + min(in_queue(incoming.sock), TURN_BYTES))
            yield
            if incoming.fill is not None and len(due) > 3:
                assert incoming.filled >= due.popleft()
        yield from s.until(lambda: any(isinstance(event, Filled) for event in s.events))
        assert batch == data
        assert fetched > size  # they did fetch meanwhile

    run(script)


def test_one_turn_moves_a_bounded_number_of_bytes_each_way(run):
    def script(s):
        port = yield from s.listen()
        data = pattern(4 * MIB)
        clients = []
        for _ in range(10):
            clients.append((yield from s.connect(port)))
        buffers = {conn: bytearray(len(data)) for _, conn in clients}
        s.do(*[Fill(conn, memoryview(buffer)) for conn, buffer in buffers.items()])
        rest = {client: memoryview(data) for client, _ in clients}
        filled = 0
        while filled < len(data) * len(clients):
            for client, _ in clients:
                if rest[client]:
                    rest[client] = rest[client][client.send(rest[client]) :]
            yield
            before, filled = filled, sum(conn.filled for conn in s.connections)
            assert filled - before <= TURN_BYTES_MAX + TURN_BYTES
        assert all(buffer == data for buffer in buffers.values())

        s.do(*[Send(conn, [data]) for conn in buffers])
        yield
        unsent = sum(conn.unsent for conn in s.connections)
        assert unsent >= len(data) * len(clients) - TURN_BYTES_MAX - len(data)
        while unsent:
            for client, _ in clients:
                client.pull()
            yield
            before, unsent = unsent, sum(conn.unsent for conn in s.connections)
            assert before - unsent <= TURN_BYTES_MAX + TURN_BYTES
        for client, _ in clients:
            yield from s.pull(client, len(data))
            assert client.data == data

    run(script)


def test_thousands_of_idle_connections_cost_a_descriptor_each_and_little_memory(run):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 8192
    count = min(2000, (limit - 200) // 2)
    clients = []

    def script(s):
        echo(s)
        port = yield from s.listen()
        active, active_conn = yield from s.connect(port)
        clients.extend(socket.socket() for _ in range(count))
        memory, descriptors, threads = resident(), open_descriptors(), threading.active_count()
        for n, client in enumerate(clients):
            client.connect(("127.0.0.1", port))
            if n % 64 == 0:  # well below what the kernel queues for a listener
                yield
        yield from s.until(lambda: len(s.connections) == count + 1)
        assert open_descriptors() - descriptors == count
        assert (resident() - memory) // count < IDLE_BYTES_MAX
        assert threading.active_count() == threads

        s.is_quiet = True  # nobody but the active one causes a turn
        for n in range(100):
            active.send(b"ping")
            yield
            assert s.received(active_conn) == b"ping" * (n + 1)
        s.is_quiet = False
        yield from s.pull(active, 400)
        for client in clients:
            client.close()
        yield from s.until(lambda: len(s.connections) == 1)

    try:
        run(script)
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def in_queue(sock):
    """Bytes that have come and nobody has taken."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_without_descriptors_clients_are_turned_away_and_the_others_served(run):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def script(s):
        echo(s)
        port = yield from s.listen()
        friend, _ = yield from s.connect(port)
        strangers = [socket.socket() for _ in range(3)]
        for stranger in strangers:
            stranger.settimeout(30)
        lowest_free = os.dup(friend.sock.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        for stranger in strangers:
            stranger.connect(("127.0.0.1", port))
        yield from s.until(lambda: s.notes)
        for n in range(10):
            friend.send(b"ping")
            yield from s.pull(friend, 4 * (n + 1))
        assert strangers[0].recv(1) == b""
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        late, _ = yield from s.connect(port)
        late.send(b"ping")
        yield from s.pull(late, 4)
        for stranger in strangers:
            stranger.close()

    try:
        scenario = run(script)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [(note.level, note.name) for note in scenario.notes] == [("warning", "accepting paused")]
    assert scenario.notes[0].fields["error"] == "Too many open files"
