"""Notes of the core and of the driver, written to standard error: one line each, as text or as JSON.

Text: `2026-03-01T12:00:00.123Z info  partition opened topic=orders partition=0`. A value with a space or a quote
is written as a JSON string, so a line can always be cut apart again. JSON: one object with `time`, `level`,
`name` and the note's own fields; a field that carries one of those three names gets a trailing underscore.
A journal whose reader is gone is silent, never fatal; one whose reader is slow keeps `HELD_BYTES_MAX` for it,
and says how many lines it had to drop.
"""

import atexit
import json
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from rafka.core.effects import Note
from rafka.core.errors import ConfigError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

HELD_BYTES_MAX = 1 << 20
ATOM_BYTES = 4096
"""What a pipe takes without blocking once it is reported writable (PIPE_BUF on Linux; a page)."""

Journal = Callable[[Note], None]
"""Takes a note; never raises and never blocks."""


def journal(
    level: str = "info",
    form: str = "text",
    stream: TextIO | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
) -> Journal:
    """Make a journal that writes notes of `level` and above.

    form: "text" or "json". stream: standard error unless given. wall_ns: the clock of the time stamps.
    Raises: ConfigError for an unknown level or form.
    """
    if level not in LEVELS:
        raise ConfigError("log.level", level, "no such level", "debug, info, warning or error")
    if form not in ("text", "json"):
        raise ConfigError("log.format", form, "no such format", "text or json")
    least = LEVELS[level]
    line = _json_line if form == "json" else _text_line
    write = _writer(stream if stream is not None else sys.stderr, lambda note: line(note, _stamp(wall_ns())))

    def take(note: Note) -> None:
        if LEVELS.get(note.level, 40) >= least:
            write(line(note, _stamp(wall_ns())))

    return take


def _writer(stream: TextIO, line: Callable[[Note], str]) -> Callable[[str], None]:
    try:
        if hasattr(select, "poll"):
            return Outlet(stream.fileno(), line).write
    except (OSError, ValueError, AttributeError):  # no descriptor: memory, or a window
        pass

    def write(text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # closed: nobody reads it
            return

    return write


class Outlet:
    """Text to a descriptor whose reader may be slow, or gone. `line` words the note about what was dropped.

    A write happens at once while the descriptor is writable. Once it is not, text is held, and a thread that lives
    until all of it is out waits instead of the caller.
    """

    def __init__(self, fd: int, line: Callable[[Note], str]) -> None:
        self._fd = fd
        self._line = line
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._lock = threading.Lock()
        self._held: deque[memoryview] = deque()
        self._held_bytes = 0
        self._dropped = 0
        self._is_waiting = False

    def write(self, text: str) -> None:
        """Write, hold or drop; never blocks."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        with self._lock:
            if not self._is_waiting:
                data = self._write(data, timeout_ms=0)
                if not data:
                    return
                self._is_waiting = True
                thread = threading.Thread(target=self._wait, name="journal", daemon=True)
                thread.start()
                atexit.register(thread.join, 0.5)  # a reader that is only slow gets the last lines
            elif self._held_bytes + len(data) > HELD_BYTES_MAX:
                self._dropped += 1
                return
            self._held.append(data)
            self._held_bytes += len(data)

    def _write(self, data: memoryview, timeout_ms: int | None) -> memoryview:
        """Write what goes before the descriptor is not writable for `timeout_ms`; return the rest."""
        try:
            while data:
                if not self._poll.poll(timeout_ms):
                    return data
                data = data[os.write(self._fd, data[:ATOM_BYTES]) :]
        except OSError:  # closed, or the disk is full: nobody will read it
            return data[:0]
        return data

    def _wait(self) -> None:
        while True:
            with self._lock:
                if not self._held and self._dropped:
                    note = Note("warning", "notes dropped", {"count": self._dropped})
                    self._held.append(memoryview(self._line(note).encode()))
                    self._dropped = 0
                if not self._held:
                    self._held_bytes = 0
                    self._is_waiting = False
                    return
                data = self._held.popleft()
                self._held_bytes = max(0, self._held_bytes - len(data))
            self._write(data, timeout_ms=None)


def _stamp(wall_ns: int) -> str:
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1_000_000:03d}Z"


def _text_line(note: Note, stamp: str) -> str:
    fields = "".join(f" {key}={_plain(value)}" for key, value in note.fields.items())
    return f"{stamp} {note.level:7} {note.name}{fields}\n"


def _json_line(note: Note, stamp: str) -> str:
    line: dict[str, object] = {"time": stamp, "level": note.level, "name": note.name}
    for key, field in note.fields.items():
        line[key + "_" if key in line else key] = field
    return json.dumps(line, default=str, ensure_ascii=False) + "\n"


def _plain(field: object) -> str:
    text = str(field)
    if text and text.isprintable() and not any(mark in text for mark in ' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
