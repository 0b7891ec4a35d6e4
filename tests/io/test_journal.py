"""The journal: its two formats, its levels, and a reader that is slow, gone, or not there."""

import io
import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.effects import Note
from rafka.core.errors import ConfigError
from rafka.io import journal as journal_module
from rafka.io.journal import journal

NOON_NS = 1_772_366_400_123_456_789  # 2026-03-01T12:00:00.123Z
STAMP = "2026-03-01T12:00:00.123Z"


def written(note, level="debug", form="text"):
    stream = io.StringIO()
    journal(level, form, stream, lambda: NOON_NS)(note)
    return stream.getvalue()


def test_a_line_of_text_can_be_read_by_people_and_cut_by_programs():
    note = Note(
        "info", "partition opened", {"topic": "orders", "partition": 0, "why": "first\nuse", "none": ""}
    )
    assert written(note) == (
        f'{STAMP} info    partition opened topic=orders partition=0 why="first\\nuse" none=""\n'
    )


def test_a_line_of_json_is_one_object_that_keeps_its_own_names():
    note = Note("error", "log failed", {"name": "x", "time": 1, "errno": 5, "path": b"\xff", "list": [1]})
    assert json.loads(written(note, form="json")) == {
        "time": STAMP,
        "level": "error",
        "name": "log failed",
        "name_": "x",
        "time_": 1,
        "errno": 5,
        "path": "b'\\xff'",
        "list": [1],
    }


LEVELS = ["debug", "info", "warning", "error"]


@pytest.mark.parametrize("least", LEVELS)
def test_a_level_lets_through_itself_and_what_is_worse(least):
    found = [level for level in LEVELS if written(Note(level, "x", {}), least)]
    assert found == LEVELS[LEVELS.index(least) :]


@given(
    name=st.text(),
    fields=st.dictionaries(
        st.text(min_size=1), st.one_of(st.text(), st.integers(), st.booleans(), st.none())
    ),
)
def test_whatever_a_note_says_it_is_one_line(name, fields):
    line = written(Note("info", "name", fields | {"other": name}), form="json")
    assert line.endswith("\n")
    assert "\n" not in line[:-1]
    assert json.loads(line)["other"] == name
    text = written(Note("info", "name", {"field": name}))
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("level, form, named", [("loud", "text", "log.level"), ("info", "xml", "log.format")])
def test_an_unknown_level_or_format_is_refused_by_name(level, form, named):
    with pytest.raises(ConfigError, match=named):
        journal(level, form)


class Pipe:
    def __init__(self):
        self.reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")

    def lines(self, count):
        found = b""
        while found.count(b"\n") < count:
            found += os.read(self.reading, 1 << 16)
        return found.decode().splitlines()


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    os.close(made.reading)
    made.stream.close()


def test_a_reader_that_does_not_read_blocks_nobody_and_gets_all_later(pipe):
    take = journal(stream=pipe.stream)
    count = 5000  # several times what a pipe holds
    for number in range(count):
        take(Note("info", "n", {"number": number}))
    assert [line.split("=")[1] for line in pipe.lines(count)] == [str(n) for n in range(count)]


def test_what_is_too_much_to_hold_is_dropped_and_counted(pipe, monkeypatch):
    monkeypatch.setattr(journal_module, "HELD_BYTES_MAX", 10_000)
    take = journal(stream=pipe.stream)
    count = 5000
    for number in range(count):
        take(Note("info", "n", {"number": number}))
    found = pipe.lines(1)
    while "notes dropped" not in found[-1]:
        found += pipe.lines(1)
    dropped = int(found[-1].split("count=")[1])
    assert 0 < dropped == count - (len(found) - 1)


def test_it_writes_at_once_again_when_the_reader_has_caught_up(pipe):
    take = journal(stream=pipe.stream)
    for number in range(3000):
        take(Note("info", "n", {"number": number}))
    pipe.lines(3000)
    for thread in threading.enumerate():
        if thread.name == "journal":
            thread.join()
    take(Note("info", "last", {}))
    assert pipe.lines(1)[0].endswith("last")
    assert not any(thread.name == "journal" for thread in threading.enumerate())


def test_a_line_longer_than_a_pipe_goes_out_whole(pipe):
    take = journal(stream=pipe.stream)
    take(Note("info", "long", {"text": "x" * 300_000}))
    assert pipe.lines(1)[0].endswith("x" * 300_000)


@pytest.mark.parametrize("how", ["reader gone", "closed"])
def test_a_journal_without_a_reader_is_silent(how):
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    take = journal(stream=stream)
    os.close(reading)
    if how == "closed":
        os.close(os.dup(stream.fileno()))
        stream.close()
    take(Note("error", "nobody reads this", {}))
    if how == "reader gone":
        stream.close()


def test_standard_error_is_where_it_goes(capfd):
    journal()(Note("info", "hello", {}))
    assert capfd.readouterr().err.endswith("info    hello\n")
