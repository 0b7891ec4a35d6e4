"""Operations that fail under each driver and on the simulated disk: told once, and the others go on."""

import errno

import pytest

from rafka.core.effects import Read, Send, Sync, SyncDir, Truncate, Write
from rafka.core.events import Disconnected, Done, Failed, Loaded, Synced, Written
from rafka.core.types import File, FileSlice, Token
from tests.io.faulty import replacements
from tests.io.support import DISKS, DRIVERS, KIB, Scenario, echo, made, pattern

A, B = File("a"), File("b")
NO = Token(0)


class Faults:
    """Breaks the next operation of a kind. Says the same to both worlds."""

    def __init__(self):
        self.next = {}
        self.simulated = None

    def __call__(self, op, path):
        return self.next.pop(op, 0)

    def break_next(self, op, number):
        if self.simulated is not None:
            self.simulated.fail(op, number)
        else:
            self.next[op] = number


@pytest.fixture
def faults(monkeypatch):
    found = Faults()
    for where, name, what in replacements(found):
        monkeypatch.setattr(where, name, what)
    return found


def player(driver, faults, tmp_path):
    def played(script):
        scenario = Scenario(script)
        scenario.runner = runner = made(driver, scenario, 1)
        faults.simulated = runner.disk if driver == "sim" else None
        try:
            assert runner.run(scenario, str(tmp_path)) == 0
        finally:
            scenario.close()
        return scenario

    return played


@pytest.fixture(params=DISKS)
def disk(request, faults, tmp_path):
    return player(request.param, faults, tmp_path)


@pytest.fixture(params=DRIVERS)
def run(request, faults, tmp_path):
    return player(request.param, faults, tmp_path)


def test_a_write_that_fails_is_told_and_done_again_it_succeeds(disk, faults):
    def script(s):
        yield from s.ask(Write(A, 0, [b"before"]))
        faults.break_next("write", errno.ENOSPC)
        failed = yield from s.ask(Write(A, 6, [b"AFTER!"]))
        assert isinstance(failed, Failed)
        assert (failed.file, failed.op, failed.errno) == (A, "write", errno.ENOSPC)
        found = yield from s.ask(Read(A, 0, 99))
        assert b"beforeAFTER!".startswith(found.data)  # some of it may be there
        assert found.data.startswith(b"before")
        answers = []
        for effect in (Truncate(A, 6), Write(A, 6, [b"after!"]), Sync(A, NO), Read(A, 0, 99)):
            answers.append((yield from s.ask(effect)))
        assert [type(answer) for answer in answers] == [Done, Written, Synced, Loaded]
        assert answers[-1].data == b"beforeafter!"

    disk(script)


def test_a_write_nobody_waits_for_is_told_when_it_fails(disk, faults):
    def script(s):
        faults.break_next("write", errno.EIO)
        s.do(Write(A, 0, [b"x"]))
        yield from s.until(lambda: s.events)
        (failed,) = s.events
        assert (failed.file, failed.token, failed.op, failed.errno) == (A, 0, "write", errno.EIO)

    disk(script)


def test_a_sync_that_fails_is_told_and_the_syncs_behind_it_are_answered_in_order(disk, faults):
    def script(s):
        yield from s.ask(Write(A, 0, [b"x"]))
        faults.break_next("sync", errno.EIO)
        answers = yield from s.ask_all(*[Sync(A, NO)] * 4)
        assert [type(answer) for answer in answers] == [Failed, Synced, Synced, Synced]
        assert (answers[0].file, answers[0].op, answers[0].errno) == (A, "sync", errno.EIO)
        told = [event.token for event in s.events if isinstance(event, Failed | Synced)]
        assert told == sorted(told)

    disk(script)


def test_a_sync_of_a_directory_that_fails_is_told(disk, faults):
    def script(s):
        faults.break_next("syncdir", errno.EIO)
        failed = yield from s.ask(SyncDir(File("")))
        assert (failed.file, failed.op, failed.errno) == ("", "syncdir", errno.EIO)
        assert isinstance((yield from s.ask(SyncDir(File("")))), Done)

    disk(script)


def test_a_read_that_fails_lets_what_waited_behind_it_go_on(disk, faults):
    def script(s):
        yield from s.ask(Write(A, 0, [b"bytes"]))
        faults.break_next("read", errno.EIO)
        answers = yield from s.ask_all(Read(A, 0, 5), Write(A, 5, [b"!"]), Read(A, 0, 9))
        assert [type(answer) for answer in answers] == [Failed, Written, Loaded]
        assert (answers[0].file, answers[0].op, answers[0].errno) == (A, "read", errno.EIO)
        assert answers[2].data == b"bytes!"

    disk(script)


def test_trouble_with_one_file_is_none_of_another_ones(disk, faults):
    def script(s):
        yield from s.ask_all(Write(A, 0, [b"a"]), Write(B, 0, [b"b"]))
        faults.break_next("sync", errno.EIO)
        assert isinstance((yield from s.ask(Sync(A, NO))), Failed)
        answers = yield from s.ask_all(Sync(B, NO), Read(B, 0, 9), Read(A, 0, 9))
        assert [type(answer) for answer in answers] == [Synced, Loaded, Loaded]

    disk(script)


@pytest.mark.parametrize("size", [8 * KIB, 256 * KIB])
def test_a_file_that_cannot_be_read_while_it_is_sent_ends_that_connection_alone(run, faults, size):
    def script(s):
        echo(s)
        port = yield from s.listen()
        (client, conn), (other, _) = (yield from s.connect(port)), (yield from s.connect(port))
        yield from s.ask(Write(A, 0, [pattern(size)]))
        faults.break_next("send", errno.EIO)
        s.do(Send(conn, [b"head", FileSlice(A, 0, size)]))
        yield from s.pull_to_end(client)
        yield from s.until(lambda: s.ends(conn))
        assert s.ends(conn) == ["a file to be sent is unreadable: Input/output error"]
        assert [(note.level, note.name) for note in s.notes] == [("error", "slice not sent")]
        other.send(b"ping")
        yield from s.pull(other, 4)
        assert not any(isinstance(event, Disconnected) and event.conn != conn for event in s.events)

    run(script)
