"""What a checker says: anomalies by name, each with the operations that prove it, and a verdict.

A `Findings` is filled while checking. Millions of cases may be found; a few of each are put into words.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from rafka.core.shape import value
from rafka.sim.check.history import NEVER, OK, OUTCOMES, UNKNOWN, History

KEPT: Final = 8
"""Cases of one anomaly that are put into words."""
SHOWN: Final = 120
"""Characters of an operation's values that are shown."""


@value
class Case:
    """One occurrence. words: a sentence; ops: the operations that prove it, in the order of the sentence."""

    words: str
    ops: tuple[int, ...]


@attrs.define(eq=False)
class Finding:
    """An anomaly. allowed: it is no violation of what was promised; count: occurrences, of which some are cases."""

    name: str
    allowed: bool
    count: int = 0
    cases: list[Case] = attrs.field(factory=list)


class Findings:
    """Collects anomalies. allow: names that are no violation here."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self.allow = frozenset(allow)
        self.unknown: list[str] = []
        """What could not be decided, and why."""
        self.stats: dict[str, int] = {}
        """What was looked at, counted."""
        self._found: dict[tuple[str, bool], Finding] = {}

    def add(self, name: str, ops: Sequence[int], words: str, *args: object, allowed: bool = False) -> None:
        """Take one case. words: a format of args, which is used only if the case is kept."""
        allowed |= name in self.allow
        finding = self._found.get((name, allowed))
        if finding is None:
            finding = self._found[name, allowed] = Finding(name, allowed)
        finding.count += 1
        if len(finding.cases) < KEPT:
            finding.cases.append(Case(words.format(*args), tuple(dict.fromkeys(ops))))

    @property
    def found(self) -> list[Finding]:
        """All anomalies, violations first, each part by name."""
        return sorted(self._found.values(), key=lambda each: (each.allowed, each.name))

    @property
    def violations(self) -> list[str]:
        """The names of the anomalies that are not allowed."""
        return sorted(name for name, allowed in self._found if not allowed)

    @property
    def valid(self) -> bool | None:
        """False: a violation is proved; True: there is none; None: it could not be decided."""
        return False if self.violations else None if self.unknown else True


def say_op(history: History, op: int) -> str:
    """Say an operation in one line: where it is, whose it is, what it did and how it ended."""
    end = "…" if history.end[op] == NEVER else str(history.end[op])
    what = say_call(history, op) or f"{history.f[op]}: {say_value(history, op)}"
    outcome = OUTCOMES[history.outcome[op]]
    return f"lines {history.begin[op]}–{end}: process {history.process[op]} {what} ({outcome})"


def say_call(history: History, op: int) -> str:
    """Say an operation on an object; nothing if it is none."""
    for name, calls in history.calls.items():
        for call in calls:
            if call.op == op:
                asked = "" if call.asked is None else f" {call.asked!r}"
                told = "" if call.told is None and history.outcome[op] != OK else f" → {call.told!r}"
                return f"{call.f}{asked}{told}" + (f" of {name}" if name else "")
    return ""


def say_value(history: History, op: int) -> str:
    """Say what an operation sent and read, in at most SHOWN characters."""
    parts = []
    for vid in history.sends[op]:
        offset = history.v_offset[vid]
        at = "" if offset == UNKNOWN else f" at {offset}"
        parts.append(f"sent {history.v_value[vid]!r} to {say_key(history, vid)}{at}")
    parts += [say_segment(history, segment) for segment in history.segments[op]]
    parts += [
        f"{row.group} at {row.offset} of {history.keys[row.key]}" for row in history.commits if row.op == op
    ]
    text = ", ".join(parts)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def say_key(history: History, vid: int) -> str:
    """Name the key of a value."""
    return history.keys[history.v_key[vid]]


def say_segment(history: History, segment: int) -> str:
    """Say what was read of a key."""
    offsets, vids = history.s_offsets[segment], history.s_vids[segment]
    key = history.keys[history.s_key[segment]]
    if not offsets:
        return f"read nothing of {key}"
    if len(offsets) == 1:
        return f"read {history.v_value[vids[0]]!r} at {offsets[0]} of {key}"
    first, last = history.v_value[vids[0]], history.v_value[vids[-1]]
    return f"read {first!r} … {last!r} at {offsets[0]}…{offsets[-1]} of {key}"
