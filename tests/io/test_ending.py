"""Signals, deadlines, Stop, and a machine that raises: how each driver waits and ends."""

import os
import signal
import socket
from pathlib import Path

import pytest

from rafka.core.effects import Close, Send, Stop, Sync, Write
from rafka.core.events import Connected, Received, Terminated
from rafka.core.types import File, FileSlice, Token
from tests.io.support import DRIVERS, MIB, pattern, play

A = File("a")


@pytest.fixture(params=DRIVERS)
def run(request, tmp_path):
    return lambda script: play(request.param, script, tmp_path)


# ---- signals, deadlines, the end --------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_the_driver_as_terminated_and_the_handlers_return_after(run, number):
    before = signal.getsignal(number)

    def script(s):
        s.is_quiet = True
        os.kill(os.getpid(), number)
        yield from s.until(lambda: s.events)
        assert s.events == [Terminated(number.name)]

    run(script)
    assert signal.getsignal(number) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_without_a_deadline_no_turn_is_taken_until_something_happens(run):
    def script(s):
        port = yield from s.listen()
        yield from s.connect(port)
        yield
        s.is_quiet = True
        with socket.socket() as far:  # a peer whose answer comes through the kernel, not from this script
            far.connect(("127.0.0.1", port))
            yield
            far.send(b"x")
            began = s.turns
            yield from s.until(lambda: any(isinstance(e, Received) for e in s.events))
            assert s.turns - began <= 3

    run(script)


def test_a_deadline_that_has_passed_is_a_turn_at_once(run):
    def script(s):
        due = s.now.mono
        for _ in range(5):
            due += 2_000_000
            s.deadline = lambda due=due: due
            while s.now.mono < due:
                yield
        del s.deadline

    run(script)


def test_stop_lets_out_what_was_sent_and_done_before_and_gives_the_code(run, tmp_path):
    data = pattern(2 * MIB)
    peers = []

    def script(s):
        port = yield from s.listen()
        peer = socket.create_connection(("127.0.0.1", port))
        peers.append(peer)
        yield from s.until(lambda: any(isinstance(e, Connected) for e in s.events))
        (conn,) = [e.conn for e in s.events if isinstance(e, Connected)]
        s.code = 7
        s.do(Write(A, 0, [b"kept"]), Sync(A, Token(99)), Send(conn, [data]), Stop(7), Send(conn, [b"late"]))
        yield

    def read_all(peer):
        found = bytearray()
        while piece := peer.recv(1 << 20):
            found += piece
        return bytes(found)

    run(script)
    with peers[0] as peer:
        assert read_all(peer) == data
    assert (tmp_path / "a").read_bytes() == b"kept"


def test_a_run_leaves_no_descriptor_open(run):
    def script(s):
        port = yield from s.listen()
        _, conn = yield from s.connect(port)
        yield from s.ask_all(*[Write(File(f"f{n}"), 0, [b"x"]) for n in range(20)])
        s.do(Send(conn, [FileSlice(File("f1"), 0, 1)]), Close(conn, "done"))
        yield from s.until(lambda: s.ends(conn))
        yield from s.connect(port)

    def descriptors():
        return sorted(int(p.name) for p in Path("/proc/self/fd").iterdir())

    before = descriptors()
    run(script)
    assert descriptors() == before


def test_what_a_machine_raises_comes_out_of_run_and_all_is_closed(run):
    def script(s):
        port = yield from s.listen()
        client, _ = yield from s.connect(port)
        yield from s.ask(Write(A, 0, [bytes(MIB)]))
        try:
            raise ZeroDivisionError("a bug")
        finally:
            client.sock.close()

    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(script)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
