"""One line on stderr that says how far long work has come; on a terminal only, and only when it takes a while."""

import sys
import time
from types import TracebackType
from typing import Self

FIRST_AFTER_S = 0.5
EVERY_S = 0.2
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Counts records. Use it in a `with` statement; when it ends, the line is gone.

    verb: what is done to them ("sent"); wanted: False on behalf of somebody who reads the terminal already.
    """

    def __init__(self, verb: str, *, wanted: bool = True) -> None:
        self._verb = verb
        self._next_s = time.monotonic() + FIRST_AFTER_S if wanted and sys.stderr.isatty() else float("inf")
        self._is_shown = False
        self.records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._write(CLEAR_LINE)

    def advance(self, records: int, fraction: float | None = None) -> None:
        """Count records that are done. fraction: of all the work, 0 to 1, when it is known."""
        self.records += records
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + EVERY_S
        self._is_shown = True
        part = "" if fraction is None else f", {fraction:.0%}"
        self._write(f"{CLEAR_LINE}{self._verb} {self.records:,} records{part}")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
