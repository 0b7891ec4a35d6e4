"""Connections under each driver: every byte in order, every end told once, nobody served at another's cost."""

import errno
import os
import socket
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.effects import Close, Fill, Listen, Pause, Read, Resume, Send, Sync, Write
from rafka.core.events import Connected, Disconnected, Failed, Filled, Listening, Received
from rafka.core.types import File, FileSlice, Token
from rafka.io import driver as driver_module
from tests.io.support import DRIVERS, KIB, MIB, echo, pattern, play

NO = Token(0)
A = File("a")


@pytest.fixture(params=DRIVERS)
def run(request, tmp_path):
    return lambda script: play(request.param, script, tmp_path)


# ---- listening and the life of a connection ---------------------------------------------------------


def test_a_port_of_zero_becomes_a_real_one_and_a_taken_one_fails(run):
    def script(s):
        port = yield from s.listen()
        assert port > 0
        failed = yield from s.ask(Listen("127.0.0.1", port, NO))
        assert isinstance(failed, Failed)
        assert (failed.op, failed.errno, failed.file) == ("listen", errno.EADDRINUSE, f"127.0.0.1:{port}")
        answers = yield from s.ask_all(Listen("127.0.0.1", 0, NO), Listen("192.0.2.1", 0, NO))
        assert [type(answer) for answer in answers] == [Listening, Failed]
        assert answers[0].host == "127.0.0.1"

    run(script)


def test_a_connection_is_told_from_its_first_event_to_its_last(run):
    def script(s):
        port = yield from s.listen()
        client, conn = yield from s.connect(port)
        client.send(b"hello")
        yield from s.until(lambda: s.received(conn))
        client.sock.close()
        yield from s.until(lambda: s.ends(conn))
        for _ in range(3):
            yield
        mine = [e for e in s.events if getattr(e, "conn", None) == conn]
        assert mine[0] == Connected(conn, client.name, "127.0.0.1", port)
        assert [type(e) for e in mine[1:]] == [Received, Disconnected]
        assert s.ends(conn) == ["closed by the peer"]

    run(script)


def test_what_is_received_is_whole_writable_and_never_written_again(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(3 * MIB)
        pushing = s.push(client, data)
        yield from s.until(lambda: next(pushing, "done") == "done" and len(s.received(conn)) == len(data))
        assert s.received(conn) == data
        assert all(
            isinstance(e.data, memoryview) and not e.data.readonly
            for e in s.events
            if isinstance(e, Received)
        )

    run(script)


def test_a_half_closed_peer_is_heard_to_its_end_and_then_gone(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        client.send(pattern(100 * KIB))
        client.sock.shutdown(socket.SHUT_WR)
        yield from s.until(lambda: s.ends(conn))
        assert s.received(conn) == pattern(100 * KIB)
        assert s.ends(conn) == ["closed by the peer"]
        yield from s.pull_to_end(client)

    run(script)


def test_a_peer_that_connects_and_leaves_at_once_leaves_nothing_behind(run):
    def script(s):
        port = yield from s.listen()
        for _ in range(50):
            socket.create_connection(("127.0.0.1", port)).close()
        yield from s.until(lambda: sum(isinstance(e, Disconnected) for e in s.events) == 50)
        client, conn = yield from s.connect(port)
        client.send(b"still here")
        yield from s.until(lambda: s.received(conn) == b"still here")

    run(script)


@pytest.mark.parametrize("when", ["idle", "sending"])
def test_a_reset_ends_its_connection_and_no_other(run, when):
    def script(s):
        echo(s)
        port = yield from s.listen()
        (gone, gone_conn), (other, _) = (yield from s.connect(port)), (yield from s.connect(port))
        if when == "sending":
            s.do(Send(gone_conn, [bytes(32 * MIB)]))
            yield from s.until(lambda: gone.pull(1) == 1)
        gone.reset()
        other.send(b"ping")
        yield from s.until(lambda: s.ends(gone_conn))
        yield from s.pull(other, 4)
        assert s.ends(gone_conn)[0] in ("Connection reset by peer", "Broken pipe")
        assert len(s.ends(gone_conn)) == 1
        s.do(Send(gone_conn, [b"to nobody"]), Close(gone_conn, "late"), Pause(gone_conn), Resume(gone_conn))
        yield
        yield

    run(script)


# ---- Fill, Pause, Resume ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100 * KIB, 5 * MIB])
def test_a_fill_takes_exactly_its_bytes_and_the_rest_is_received(run, size):
    def script(s):
        buffer = bytearray(size)

        def react(event):
            if isinstance(event, Received) and len(s.received(event.conn)) == 4:
                s.do(Fill(event.conn, memoryview(buffer)))

        s.react = react
        client, conn = yield from s.connect((yield from s.listen()))
        client.send(b"head")
        yield from s.until(lambda: s.received(conn) == b"head")
        data = pattern(size)
        yield from s.push(client, data + b"tail")
        yield from s.until(lambda: s.received(conn).endswith(b"tail"))
        assert buffer == data
        kinds = [type(e) for e in s.events if getattr(e, "conn", None) == conn]
        assert kinds.count(Filled) == 1
        assert kinds.index(Filled) > kinds.index(Received)
        assert s.received(conn) == b"headtail"

    run(script)


def test_fills_can_follow_each_other_without_a_byte_between(run):
    def script(s):
        buffers = [bytearray(100_003) for _ in range(20)]
        left = iter(buffers)

        def react(event):
            if isinstance(event, Connected | Filled) and (buffer := next(left, None)) is not None:
                s.do(Fill(event.conn, memoryview(buffer)))

        s.react = react
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(20 * 100_003)
        yield from s.push(client, data)
        yield from s.until(lambda: sum(isinstance(e, Filled) for e in s.events) == 20)
        assert b"".join(buffers) == data
        assert s.received(conn) == b""

    run(script)


def test_a_peer_that_leaves_in_the_middle_of_a_fill_gives_no_filled(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        s.do(Fill(conn, memoryview(bytearray(100))))
        yield
        client.send(bytes(99))
        client.sock.close()
        yield from s.until(lambda: s.ends(conn))
        assert not any(isinstance(e, Filled | Received) for e in s.events)

    run(script)


def test_a_paused_connection_gives_at_most_one_more_and_a_resumed_one_the_rest(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(64 * MIB)
        view = memoryview(data)
        view = view[client.send(view) :]
        yield from s.until(lambda: s.received(conn))
        s.do(Pause(conn))
        yield
        before = sum(isinstance(e, Received) for e in s.events)
        idle = 0
        while idle < 50:
            count = client.send(view)
            view = view[count:]
            idle = 0 if count else idle + 1
            yield
        assert view, "a paused connection takes no more than the kernel's buffers"
        assert sum(isinstance(e, Received) for e in s.events) <= before + 1
        s.do(Resume(conn))
        pushing = s.push(client, view)
        yield from s.until(lambda: next(pushing, "done") == "done")
        client.sock.shutdown(socket.SHUT_WR)
        yield from s.until(lambda: s.ends(conn))
        assert s.received(conn) == data

    run(script)


def test_the_end_of_a_peer_is_told_after_a_pause(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        s.do(Pause(conn))
        yield
        client.send(b"last words")
        client.sock.close()
        for _ in range(5):
            yield
        s.do(Resume(conn))
        yield from s.until(lambda: s.ends(conn))
        assert s.received(conn) == b"last words"

    run(script)


# ---- sending ----------------------------------------------------------------------------------------


def test_what_is_sent_arrives_in_order_in_every_shape_and_size(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(9 * MIB + 5)
        at = 0
        for n, size in enumerate([0, 1, 2, 100, 70_000, 0, 3 * MIB, 17] * 3 + [5]):
            piece = data[at : at + size]
            at += size
            half = len(piece) // 2
            s.do(Send(conn, [bytearray(piece[:half]), memoryview(piece)[half:]] if n % 2 else [piece]))
            if n % 5 == 0:
                yield
        s.do(Send(conn, [data[at + n : at + n + 1] for n in range(300)]))
        s.do(Send(conn, [data[at + 300 :]]))
        yield from s.pull(client, len(data))
        assert client.data == data

    run(script)


def test_slices_of_files_go_out_in_order_among_buffers(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(3 * MIB)
        yield from s.ask(Write(A, 0, [data]))
        pieces, expected = [], bytearray()
        for n, size in enumerate([10, 40_000, 300_000, 1, 2 * MIB, 31 * KIB, 32 * KIB, 33 * KIB]):
            start = n * 1009
            pieces += [b"<%d>" % n, FileSlice(A, start, size)]
            expected += b"<%d>" % n + data[start : start + size]
        s.do(Send(conn, pieces), Send(conn, [FileSlice(A, 0, 5)]), Send(conn, [b"end"]))
        yield from s.pull(client, len(expected) + 8)
        assert client.data == expected + data[:5] + b"end"

    run(script)


def test_a_file_removed_or_renamed_while_it_is_sent_goes_out_whole(run, tmp_path):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(24 * MIB)
        yield from s.ask_all(Write(A, 0, [data]), Write(File("b"), 0, [data]))
        s.do(Send(conn, [FileSlice(A, 0, len(data)), FileSlice(File("b"), 0, len(data))]))
        yield from s.until(lambda: client.pull(1) == 1)
        (tmp_path / "a").unlink()
        (tmp_path / "b").rename(tmp_path / "c")
        yield from s.pull(client, 2 * len(data))
        assert client.data == data + data

    run(script)


@pytest.mark.parametrize("size", [20 * KIB, 24 * MIB])
def test_a_file_cut_short_while_it_is_sent_ends_the_connection_and_no_other(run, tmp_path, size):
    def script(s):
        echo(s)
        port = yield from s.listen()
        (client, conn), (other, _) = (yield from s.connect(port)), (yield from s.connect(port))
        yield from s.ask(Write(A, 0, [pattern(size)]))
        os.truncate(tmp_path / "a", size // 2)
        s.do(Send(conn, [b"head", FileSlice(A, 0, size)]))
        yield from s.pull_to_end(client)
        assert pattern(size).startswith(client.data[4:])
        assert s.ends(conn) == ["a file to be sent is shorter than the slice"]
        assert [(note.level, note.name) for note in s.notes] == [("error", "slice not sent")]
        other.send(b"ping")
        yield from s.pull(other, 4)

    run(script)


def test_a_slice_of_a_file_that_is_not_there_ends_the_connection(run):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        s.do(Send(conn, [b"head", FileSlice(File("no"), 0, 1)]), Send(conn, [b"tail"]))
        yield from s.pull_to_end(client)
        assert s.ends(conn) == ["a file to be sent is not there: No such file or directory"]

    run(script)


# ---- Close ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unread", [False, True])
def test_a_close_lets_out_everything_sent_before_and_nothing_after(run, unread):
    def script(s):
        client, conn = yield from s.connect((yield from s.listen()))
        data = pattern(8 * MIB)
        if unread:  # bytes that nobody will receive: they must not turn the end into a reset
            s.do(Pause(conn))
            yield
            client.send(bytes(50 * KIB))
        s.do(Send(conn, [data]), Close(conn, "enough"), Send(conn, [b"dropped"]), Close(conn, "again"))
        yield from s.pull_to_end(client)
        assert client.data == data
        assert not client.was_reset
        yield from s.until(lambda: s.ends(conn))
        yield
        assert s.ends(conn) == ["enough"]

    run(script)


def test_a_close_does_not_wait_for_ever_for_a_peer_that_takes_nothing(run, monkeypatch):
    monkeypatch.setattr(driver_module, "CLOSE_GRACE_NS", 1_000_000)

    def script(s):
        _, conn = yield from s.connect((yield from s.listen()))
        s.do(Send(conn, [bytes(64 * MIB)]), Close(conn, "enough"))
        yield from s.until(lambda: s.ends(conn))
        assert s.ends(conn) == ["enough"]

    run(script)


# ---- whatever the kernel does -------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 32),
    sizes=st.lists(st.sampled_from([1, 100, 5 * KIB, 40 * KIB, 300 * KIB]), min_size=1, max_size=6),
    leaves=st.sampled_from(["close", "reset", "half"]),
)
def test_streams_stay_whole_over_a_kernel_with_every_bad_habit(seed, sizes, leaves):
    """Three clients send and get it back, from memory and from a file that is read and synced meanwhile."""
    data = pattern(sum(sizes), seed)

    def script(s):
        port = yield from s.listen()
        clients = []
        for _ in range(3):
            clients.append((yield from s.connect(port)))
        echo(s)
        s.do(Write(A, 0, [data]), Sync(A, s.token()))
        at = 0
        for size in sizes:
            pushing = [s.push(client, data[at : at + size]) for client, _ in clients]
            at += size
            yield from s.until(lambda p=pushing: all(next(one, "done") == "done" for one in p))
            read = yield from s.ask(Read(A, 0, at))
            assert read.data == data[:at]
        for client, _ in clients:
            yield from s.pull(client, len(data))
        for _, conn in clients:
            s.do(Send(conn, [FileSlice(A, 0, len(data))]))
        for client, _ in clients:
            yield from s.pull(client, 2 * len(data))
            assert client.data == data + data
        for client, _ in clients:
            if leaves == "reset":
                client.reset()
            elif leaves == "half":
                client.sock.shutdown(socket.SHUT_WR)
            else:
                client.sock.close()
        yield from s.until(lambda: all(s.ends(conn) for _, conn in clients))
        assert [len(s.ends(conn)) for _, conn in clients] == [1, 1, 1]
        assert s.connections == []

    with TemporaryDirectory() as directory:
        play("ring", script, directory, seed)
