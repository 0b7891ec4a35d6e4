"""Notes of the core and of the driver, written to standard error: one line each, as text or as JSON.

Text: `2026-03-01T12:00:00.123Z info  partition opened topic=orders partition=0`. A value with a space or a quote
is written as a JSON string, so a line can always be cut apart again. JSON: one object with `time`, `level`,
`name` and the note's own fields; a field that carries one of those three names gets a trailing underscore.
A journal whose reader is gone is silent, never fatal.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import TextIO

from rafka.core.effects import Note
from rafka.core.errors import ConfigError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Journal = Callable[[Note], None]
"""Takes a note; never raises and never blocks for long."""


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

    def write(note: Note) -> None:
        if LEVELS.get(note.level, 40) < least:
            return
        out = stream if stream is not None else sys.stderr
        try:
            out.write(line(note, _stamp(wall_ns())))
            out.flush()
        except (OSError, ValueError):  # a closed pipe or stream: nobody reads it
            return

    return write


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
    return json.dumps(text, ensure_ascii=False)
