"""The disk laws of rafka.core.effects, kept alike by both drivers and by the simulated disk."""

import errno
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.effects import List, MakeDir, Measure, Read, Rename, Sync, SyncDir, Truncate, Unlink, Write
from rafka.core.events import Done, Entry, Failed, Loaded, Measured, Synced, Written
from rafka.core.types import File, Token
from tests.io.support import DISKS, Scenario, SimulatedDriver, play

A, B, DIR = File("a"), File("b"), File("d")
NO = Token(0)


@pytest.fixture(params=DISKS)
def disk(request, tmp_path):
    """Plays a script once on a real disk, and with ten seeds where chance decides."""

    def played(script):
        for seed in range(10 if request.param in ("sim", "ring") else 1):
            directory = tmp_path / str(seed)
            directory.mkdir()
            scenario = play(request.param, script, directory, seed)
        return scenario

    return played


def test_the_volume_is_measured(disk):
    def script(s):
        yield from s.ask(Write(A, 0, [b"x" * 4096]))
        measured = yield from s.ask(Measure(File("")))
        assert isinstance(measured, Measured), measured
        assert 0 < measured.usable_bytes <= measured.total_bytes
        gone = yield from s.ask(Measure(File("no")))
        assert (type(gone), gone.op, gone.errno) == (Failed, "measure", errno.ENOENT)

    disk(script)


def content(s, file):
    answer = yield from s.ask(Read(file, 0, 1 << 22))
    assert isinstance(answer, Loaded), answer
    return answer.data


def test_each_operation_is_answered_by_its_own_event(disk):
    def script(s):
        answers = yield from s.ask_all(
            Write(A, 2, [b"x", b"", b"yz"]),
            Sync(A, NO),
            Read(A, 0, 5),
            Truncate(A, 3),
            Read(A, 0, 9),
            Rename(A, B),
            MakeDir(DIR),
            MakeDir(DIR),
            SyncDir(DIR),
            SyncDir(File("")),
            Unlink(File("never")),
        )
        t = [answer.token for answer in answers]
        assert answers == [
            Written(A, t[0]),
            Synced(A, t[1]),
            Loaded(A, t[2], b"\0\0xyz"),
            Done(A, t[3]),
            Loaded(A, t[4], b"\0\0x"),
            Done(A, t[5]),
            *(Done(DIR, token) for token in t[6:9]),
            Done(File(""), t[9]),
            Done(File("never"), t[10]),
        ]

    disk(script)


def test_a_token_is_answered_once_and_success_without_a_token_not_at_all(disk):
    def script(s):
        s.do(Write(A, 0, [b"12345678"]), Truncate(A, 4), Sync(A, NO), MakeDir(DIR), Unlink(B))
        yield from s.ask_all(*[Read(A, 0, 4), Sync(A, NO), Write(A, 4, [b"!"])] * 20)
        s.do(Unlink(A))
        yield from s.ask(List(File("")))
        for _ in range(5):
            yield

    tokens = [event.token for event in disk(script).events]
    assert sorted(tokens) == list(range(1, 62))


def test_a_failure_without_a_token_is_still_told(disk):
    def script(s):
        s.do(Write(File("no/a"), 0, [b"x"]))
        yield from s.until(lambda: s.events)
        (failed,) = s.events
        assert (failed.file, failed.token, failed.op, failed.errno) == ("no/a", 0, "write", errno.ENOENT)
        assert failed.text

    disk(script)


@pytest.mark.parametrize(
    "effect, op",
    [
        (Write(File("no/a"), 0, [b"x"]), "write"),
        (Sync(File("no"), NO), "sync"),
        (Read(File("no"), 0, 1), "read"),
        (Truncate(File("no"), 1), "truncate"),
        (Rename(File("no"), A), "rename"),
        (MakeDir(File("no/d")), "makedir"),
        (SyncDir(File("no")), "syncdir"),
        (List(File("no")), "list"),
    ],
)
def test_what_is_not_there_fails_with_enoent_and_the_next_operation_goes_on(disk, effect, op):
    def script(s):
        failed, written = yield from s.ask_all(effect, Write(A, 0, [b"x"]))
        assert isinstance(failed, Failed)
        assert (failed.file, failed.op, failed.errno) == (effect.file, op, errno.ENOENT)
        assert isinstance(written, Written)

    disk(script)


def test_a_directory_with_something_in_it_is_not_removed(disk):
    def script(s):
        yield from s.ask(MakeDir(DIR))
        yield from s.ask(Write(File("d/a"), 0, [b"x"]))
        failed = yield from s.ask(Unlink(DIR))
        assert (failed.op, failed.errno) == ("unlink", errno.ENOTEMPTY)
        assert isinstance((yield from s.ask(Unlink(File("d/a")))), Done)
        assert isinstance((yield from s.ask(Unlink(DIR))), Done)
        assert (yield from s.ask(List(File("")))).entries == []

    disk(script)


def test_reads_are_short_at_the_end_of_the_file_and_empty_past_it(disk):
    def script(s):
        s.do(Write(A, 0, [b"abcdef"]))
        answers = yield from s.ask_all(
            Read(A, 0, 6), Read(A, 4, 9), Read(A, 6, 1), Read(A, 99, 1), Read(A, 2, 0)
        )
        assert [answer.data for answer in answers] == [b"abcdef", b"ef", b"", b"", b""]

    disk(script)


def test_a_write_past_the_end_leaves_zeros_and_a_truncation_extends_with_zeros(disk):
    def script(s):
        yield from s.ask_all(Write(A, 3, [b"x"]), Truncate(A, 6))
        assert (yield from content(s, A)) == b"\0\0\0x\0\0"

    disk(script)


def test_a_write_of_thousands_of_buffers_is_one_write(disk):
    buffers = [bytes([n % 251]) * (n % 7) for n in range(5000)]

    def script(s):
        yield from s.ask(Write(A, 1, buffers))
        assert (yield from content(s, A)) == b"\0" + b"".join(buffers)

    disk(script)


def test_a_write_takes_every_kind_of_buffer(disk):
    def script(s):
        yield from s.ask(Write(A, 0, [b"by", bytearray(b"te"), memoryview(b"xsx")[1:2]]))
        yield from s.ask(Write(A, 5, [memoryview(bytearray(b"one"))]))
        assert (yield from content(s, A)) == b"bytesone"

    disk(script)


def test_a_listing_is_sorted_and_tells_sizes_and_directories(disk):
    def script(s):
        yield from s.ask(MakeDir(DIR))
        yield from s.ask_all(
            MakeDir(File("d/z")), Write(File("d/b"), 0, [b"xyz"]), Write(File("d/a"), 0, [b""])
        )
        listed = yield from s.ask(List(DIR))
        found = [Entry(e.name, e.size, e.is_dir, 0) for e in listed.entries]
        assert found == [Entry("a", 0, False, 0), Entry("b", 3, False, 0), Entry("z", 0, True, 0)]

    disk(script)


def test_a_name_given_to_another_file_replaces_it_and_bytes_follow_their_file(disk):
    def script(s):
        s.do(
            Write(A, 0, [b"new"]), Write(B, 0, [b"old one"]), Sync(A, NO), Rename(A, B), Write(B, 3, [b"er"])
        )
        assert (yield from content(s, B)) == b"newer"
        failed = yield from s.ask(Read(A, 0, 1))
        assert failed.errno == errno.ENOENT

    disk(script)


def test_a_renamed_directory_takes_its_files_along(disk):
    def script(s):
        for effect in (
            MakeDir(DIR),
            Write(File("d/a"), 0, [b"12"]),
            Rename(DIR, File("e")),
            Write(File("e/a"), 2, [b"34"]),
        ):
            yield from s.ask(effect)
        assert (yield from content(s, File("e/a"))) == b"1234"
        failed = yield from s.ask(Write(File("d/a"), 0, [b"x"]))
        assert failed.errno == errno.ENOENT

    disk(script)


def test_a_file_written_after_its_removal_is_a_new_one(disk):
    def script(s):
        s.do(Write(A, 0, [b"a long first life"]), Sync(A, NO), Unlink(A), Write(A, 0, [b"second"]))
        assert (yield from content(s, A)) == b"second"

    disk(script)


def test_syncs_of_one_file_are_answered_in_order(disk):
    def script(s):
        asked = []
        for n in range(30):
            asked.append(s.token())
            s.do(Write(A, n, [b"x"]), Sync(A, asked[-1]), Write(B, n, [b"y"]), Sync(B, NO))
            if n % 7 == 0:
                yield
        yield from s.until(lambda: s.answers(asked[-1]))
        assert [e.token for e in s.events if isinstance(e, Synced) and e.file == A] == asked

    disk(script)


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 40), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just("truncate"), st.integers(0, 40)),
    st.tuples(st.just("read"), st.integers(0, 40), st.integers(0, 50)),
    st.tuples(st.just("sync")),
    st.tuples(st.just("turn")),
)


def modelled(actions):
    """The effects of a list of actions, None for a turn, and the data of each read."""
    content, effects, reads = bytearray(), [], []
    for action in actions:
        match action:
            case ("write", position, data):
                effects.append(Write(A, position, [data[:7], data[7:]]))
                content.extend(bytes(max(0, position + len(data) - len(content))))
                content[position : position + len(data)] = data
            case ("truncate", length):
                effects.append(Truncate(A, length))
                content = content[:length] + bytes(max(0, length - len(content)))
            case ("read", position, length):
                effects.append(Read(A, position, length))
                reads.append(bytes(content[position : position + length]))
            case ("sync",):
                effects.append(Sync(A, NO))
            case _:
                effects.append(None)
    return effects, reads


@pytest.mark.parametrize("driver", DISKS)
@settings(max_examples=25)
@given(actions=st.lists(ACTIONS, max_size=25), seed=st.integers(0, 1 << 32))
def test_operations_on_one_file_happen_in_the_order_given(driver, actions, seed):
    effects, reads = modelled(actions)

    def script(s):
        asked = []
        s.do(Write(A, 0, [b""]))
        for effect in effects:
            if effect is None:
                yield
                continue
            effect.token = s.token()
            asked.append(effect)
            s.do(effect)
        yield from s.until(lambda: all(s.answers(e.token) for e in asked))
        for _ in range(3):
            yield
        assert [len(s.answers(e.token)) for e in asked] == [1] * len(asked)
        assert [s.answers(e.token)[0].data for e in asked if isinstance(e, Read)] == reads

    with TemporaryDirectory() as directory:
        play(driver, script, directory, seed)


def test_what_was_written_before_a_sync_survives_a_crash_of_the_simulated_disk():
    driver = SimulatedDriver(seed=1)

    def script(s):
        s.do(Write(A, 0, [b"one"]), Write(A, 3, [b"two"]), Truncate(A, 5))
        yield from s.ask(Sync(A, NO))
        yield from s.ask(SyncDir(File("")))
        s.do(Write(A, 0, [b"ONE"]))
        yield

    scenario = Scenario(script)
    driver.run(scenario, "")
    for seed in range(20):
        driver.disk.crash(Random(seed))
        assert bytes(driver.disk.files[A].data) in (b"onetw", b"ONEtw")
