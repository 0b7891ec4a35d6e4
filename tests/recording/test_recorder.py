"""The recorder by itself: what it writes, what it keeps, and that trouble with it is no trouble of the broker."""

import errno
import os
import pickle
from struct import Struct

import pytest

from rafka.core.effects import Fill, Listen, MakeDir, Note, Send, Stop, Sync, Write
from rafka.core.errors import RafkaError
from rafka.core.events import (
    Connected,
    Disconnected,
    Done,
    Entry,
    Failed,
    Filled,
    Listed,
    Listening,
    Loaded,
    Measured,
    Received,
    Synced,
    Terminated,
    Written,
)
from rafka.core.recording.digest import digests
from rafka.core.recording.format import Entries, Header, RecordingError, event_bytes, read_header, stream_of
from rafka.core.recording.frozen import Unfrozen, freeze, packing_of, thaw
from rafka.core.types import ConnId, File, FileSlice, MonoNs, Now, Token, WallMs
from rafka.io.entropy import SystemEntropy
from rafka.io.recorder import BUFFER_BYTES, FLUSH_NS, Files, Recorder

HEADER = Header(
    "0", "s", "3", "c", 1, 1, 1, frozen=False, wall_ms=5, settings={"a": "b"}, identity={"node_id": 1}
)


class Machine:
    """Does what it is told to: effects for each turn, or an exception."""

    def __init__(self):
        self.effects = []
        self.error = None
        self.seen = []

    def handle(self, event, now):
        self.seen.append(event)
        if isinstance(event, Received):
            event.data[:1] = b"!"  # as a broker does that gives a batch its offset
        if self.error is not None:
            raise self.error

    def tick(self, now):
        pass

    def drain(self):
        effects, self.effects = self.effects, []
        return effects

    def deadline(self):
        return None


@pytest.fixture
def recorder(tmp_path):
    notes = []
    recorder = Recorder(Files(str(tmp_path), 1 << 20), HEADER, SystemEntropy(), notes.append)
    recorder.machine, recorder.notes, recorder.path = Machine(), notes, tmp_path / "000001-00000001.flight"
    recorder.around(recorder.machine)
    yield recorder
    recorder.close()


def turn(recorder, *events, effects=(), mono=1):
    now = Now(MonoNs(mono), WallMs(7))
    recorder.machine.effects = list(effects)
    for event in events:
        recorder.handle(event, now)
    recorder.tick(now)
    assert recorder.drain() == list(effects)


def turns(path):
    data = memoryview(path.read_bytes())
    header, start = read_header(data)
    stream, is_cut = stream_of(data, start)
    assert (header, is_cut) == (HEADER, False)
    entries, found = Entries(stream, 1), []
    while (one := entries.next()) is not None:
        found.append(one)
    return found, entries


EVENTS = [
    Written(File("ü-0/a.log"), Token(3)),
    Synced(File("a"), Token(1 << 40)),
    Done(File(""), Token(5)),
    Loaded(File("a"), Token(6), b"\0\xff" * 100),
    Loaded(File("a"), Token(7), b""),
    Listed(
        File("d"),
        Token(8),
        [Entry("x", 5, is_dir=False, modified_ms=9), Entry("y", 0, is_dir=True, modified_ms=1)],
    ),
    Measured(File(""), Token(9), 1 << 50, 3),
    Failed(File("a"), Token(0), "write", errno.ENOSPC, "no space"),
    Listening(Token(2), "::", 9092),
    Connected(ConnId(4), "[::1]:3", "::1", 9092),
    Disconnected(ConnId(4), "gone"),
    Terminated("SIGTERM"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_comes_back_as_it_was(event):
    entries = Entries(memoryview(event_bytes(event) + b"\1" + bytes(20)), 1)
    assert entries.next().events == [event]


def test_bytes_are_written_before_the_machine_changes_them_and_lent_buffers_when_they_are_full(recorder):
    lent = memoryview(bytearray(300_000))
    turn(recorder, Connected(ConnId(1), "p", "l", 1), Received(ConnId(1), memoryview(bytearray(b"abc"))))
    turn(recorder, effects=[Fill(ConnId(1), lent)])
    lent[:] = b"z" * len(lent)
    turn(recorder, Filled(ConnId(1)), mono=2)
    recorder.close()
    first, _, third = turns(recorder.path)[0]
    assert first.events[1].data == b"abc"
    assert recorder.machine.seen[1].data == b"!bc"
    assert third.filled == [b"z" * 300_000]
    assert third.now == Now(MonoNs(2), WallMs(7))


def test_draws_belong_to_the_turn_in_which_they_were_made(recorder):
    drawn = [recorder.entropy.below(10), recorder.entropy.bytes(5)]
    turn(recorder)
    drawn += [recorder.entropy.below(1 << 60)]
    turn(recorder)
    recorder.close()
    found, entries = turns(recorder.path)
    assert [one.draws for one in found] == [drawn[:2], drawn[2:]]
    assert entries.ended


def test_a_buffer_is_written_when_it_is_old_and_quiet_turns_do_not_wake_anybody(recorder):
    turn(recorder)
    assert recorder.deadline() is None
    turn(recorder, Terminated("SIGTERM"), mono=10)
    assert recorder.deadline() == 10 + FLUSH_NS
    turn(recorder, mono=10 + FLUSH_NS)
    assert recorder.deadline() is None
    recorder._writer.finish()
    assert len(turns(recorder.path)[0]) == 3


def test_what_a_machine_raises_is_the_last_thing_in_the_recording(recorder):
    recorder.machine.error = AssertionError("offsets are dense")
    with pytest.raises(AssertionError, match="dense"):
        turn(recorder, Terminated("SIGTERM"))
    found, _ = turns(recorder.path)  # before anybody closes it
    assert [(one.raised, one.events) for one in found] == [
        ("AssertionError: offsets are dense", [Terminated("SIGTERM")])
    ]


def test_a_stop_ends_the_recording(recorder):
    turn(recorder, effects=[Stop(0)])
    found, entries = turns(recorder.path)
    assert (len(found), entries.ended) == (1, True)


def test_a_full_disk_ends_the_recording_with_one_note_and_nothing_else(recorder, monkeypatch):
    def writev(fd, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", writev)
    for _ in range(30):
        turn(recorder, Received(ConnId(1), memoryview(bytearray(BUFFER_BYTES - 100))))
    recorder._writer.finish()
    turn(recorder, Received(ConnId(1), memoryview(bytearray(BUFFER_BYTES - 100))))
    turn(recorder, Terminated("SIGTERM"))
    assert [(note.name, note.fields["why"]) for note in recorder.notes] == [
        ("recording ended", "No space left on device")
    ]
    assert len(recorder.machine.seen) == 32


def test_a_long_script_makes_a_long_segment_then_a_gap_and_afterwards_the_recording_goes_on(recorder):
    def script():
        yield 1

    data, machine = bytes(100_000), recorder.machine
    machine.script, machine.seen = script(), Forgetful()
    for _ in range(20):
        turn(recorder, Received(ConnId(1), memoryview(bytearray(data))))
    assert [note.name for note in recorder.notes] == ["recording paused"]
    machine.script = None
    for _ in range(3):
        turn(recorder, Received(ConnId(1), memoryview(bytearray(data))))
    recorder.close()
    sizes = {path.name: path.stat().st_size for path in recorder.path.parent.glob("*.flight")}
    assert sum(sizes.values()) <= 1 << 20
    last = recorder.path.with_name(max(sizes))
    header, _ = read_header(last.read_bytes())
    assert header.frozen
    assert 20 < header.turn <= 23


class Forgetful(list):
    def append(self, _):
        pass


def test_a_directory_that_cannot_be_used_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RafkaError, match=r"cannot record into .*file"):
        Files(str(tmp_path / "file"), 1 << 20)
    held = Files(str(tmp_path / "good"), 1 << 20)
    with pytest.raises(RafkaError, match="another broker records into"):
        Files(str(tmp_path / "good"), 1 << 20)
    held.close()
    Files(str(tmp_path / "good"), 1 << 20).close()


# ---- sums ----------------------------------------------------------------------------------------


def test_whatever_an_effect_says_is_in_its_sum():
    log = File("t-0/0.log")
    long = b"a" * 5000
    effects = [
        Send(ConnId(1), [b"abc"]),
        Send(ConnId(2), [b"abc"]),
        Send(ConnId(1), [b"abd"]),
        Send(ConnId(1), [b"abc", FileSlice(log, 0, 5)]),
        Send(ConnId(1), [b"abc", FileSlice(log, 1, 5)]),
        Send(ConnId(1), [long]),
        Send(ConnId(1), [long[:-1]]),
        Send(ConnId(1), [long[:-1] + b"b"]),
        Write(log, 0, [b"abc"], Token(1)),
        Write(log, 1, [b"abc"], Token(1)),
        Write(log, 0, [b"abc"], Token(2)),
        Write(log, 0, [b"b" + long], Token(1)),
        Write(log, 0, [b"a" + long], Token(1)),
        Sync(log, Token(1)),
        Sync(log, Token(2)),
        MakeDir(log, Token(1)),
        Listen("a", 1, Token(1)),
        Fill(ConnId(1), memoryview(bytearray(4))),
        Fill(ConnId(1), memoryview(bytearray(5))),
        Note("info", "a", {"x": 1}),
        Note("info", "a", {"x": 2}),
    ]
    sums = digests(effects)
    assert len(set(sums)) == len(sums)
    assert digests(effects) == sums
    assert (
        digests([Send(ConnId(1), [bytearray(b"abc")]), Send(ConnId(1), [memoryview(b"abc")])])
        == [sums[0]] * 2
    )


# ---- frozen machines -----------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (os.system, ("echo evil",))


class Evaluated:
    def __reduce__(self):
        return (eval, ("1 + 1",))


@pytest.mark.parametrize("harm", [Evil(), Evaluated(), [Evil()]], ids=["system", "eval", "nested"])
def test_a_recording_runs_no_code_of_its_own(harm):
    with pytest.raises(RecordingError, match="holds what no machine holds: "):
        thaw(pickle.dumps(harm), SystemEntropy())


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("rafka.core.message.compiler", "exec"),
        ("rafka.core.script", "copy"),
        ("rafka.core.script", "Running.start"),
    ],
)
def test_functions_and_what_modules_import_are_out_of_reach(module, name):
    data = (
        b"\x80\x04\x8c"
        + bytes([len(module)])
        + module.encode()
        + b"\x8c"
        + bytes([len(name)])
        + name.encode()
        + b"\x93."
    )
    with pytest.raises(RecordingError):
        thaw(data, SystemEntropy())


def test_methods_of_structs_come_back_and_no_others():
    chance = SystemEntropy()
    pack, unpack = thaw(freeze([Struct(">IH").pack, Struct("<q").unpack], chance), chance)
    assert (pack(1, 2), unpack(bytes(8))) == (b"\0\0\0\1\0\2", (0,))
    for name in ("__reduce__", "format", "iter_unpack"):
        with pytest.raises(RecordingError, match="no method of a struct"):
            packing_of("<q", name)


def test_garbage_is_no_machine():
    for data in (b"", b"\x80", b"garbage", b"\x80\x04]q\0"):
        with pytest.raises(RecordingError):
            thaw(data, SystemEntropy())


def test_a_running_script_cannot_be_frozen_and_an_ended_one_can():
    def script():
        yield 1

    running, ended = script(), script()
    list(ended)
    with pytest.raises(Unfrozen):
        freeze([running], SystemEntropy())
    assert type(thaw(freeze([ended], SystemEntropy()), SystemEntropy())[0]).__name__ == "Spent"


def test_what_cannot_be_written_down_at_all_is_no_trouble_but_a_reason():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for machine in (deep, lambda: None):
        with pytest.raises(Unfrozen, match=r"Error: "):
            freeze(machine, SystemEntropy())


def test_chance_is_left_out_and_given_anew():
    old, new = SystemEntropy(), SystemEntropy()
    assert thaw(freeze([old, memoryview(bytearray(b"x"))], old), new)[0] is new
