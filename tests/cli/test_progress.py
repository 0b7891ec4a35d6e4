import io
from types import SimpleNamespace

import pytest

from rafka.cli import progress
from rafka.cli.progress import CLEAR_LINE, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    clock = {"now": 100.0}
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock["now"]))
    return clock


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal))
    return terminal


def test_work_that_ends_soon_shows_nothing(clock, terminal):
    with Progress("sent") as work:
        work.advance(10)
        clock["now"] += 0.4
        work.advance(10)
    assert work.records == 20
    assert terminal.getvalue() == ""


def test_long_work_is_one_line_that_is_gone_at_the_end(clock, terminal):
    with Progress("sent") as work:
        clock["now"] += 1
        work.advance(1500, 0.25)
        work.advance(1)  # too soon after that to be shown
        clock["now"] += 1
        work.advance(1)
    shown = [f"{CLEAR_LINE}sent 1,500 records, 25%", f"{CLEAR_LINE}sent 1,502 records", CLEAR_LINE]
    assert terminal.getvalue() == "".join(shown)


def test_the_line_is_gone_when_the_work_fails_too(clock, terminal):
    with pytest.raises(KeyError), Progress("sent") as work:
        clock["now"] += 1
        work.advance(1)
        raise KeyError
    assert terminal.getvalue().endswith(CLEAR_LINE)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_nobody_is_told_who_reads_a_file_or_did_not_ask(clock, monkeypatch, is_terminal):
    stream = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))
    with Progress("read", wanted=not is_terminal) as work:
        clock["now"] += 9
        work.advance(1)
    assert stream.getvalue() == ""
