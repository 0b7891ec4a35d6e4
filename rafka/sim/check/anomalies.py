"""Every anomaly by name: what may be found, and so what may be allowed."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from rafka.sim.check.graph import KINDS
from rafka.sim.check.history import HistoryError

OF_LOGS: Final = (
    "duplicate",
    "inconsistent-offsets",
    "lost-write",
    "unseen",
    "unwritten-read",
    "precommitted-read",
    "torn-transaction",
    "int-poll-skip",
    "int-nonmonotonic-poll",
    "poll-skip",
    "nonmonotonic-poll",
    "int-nonmonotonic-send",
    "nonmonotonic-send",
    "int-send-skip",
    "realtime-order",
    "hole",
    "sequence-order",
    "fenced-ack",
)
OF_GROUPS: Final = (
    "commit-regress",
    "unwritten-commit",
    "commit-ahead",
    "double-processing",
    "watermark-regress",
)
OF_TRANSACTIONS: Final = (
    "G1a",
    "G1b",
    "internal",
    *(kind.name + suffix for kind in KINDS for suffix in ("", "-process", "-realtime")),
)
OF_OBJECTS: Final = ("not-linearizable",)
ANOMALIES: Final = frozenset((*OF_LOGS, *OF_GROUPS, *OF_TRANSACTIONS, *OF_OBJECTS))


def known(names: Iterable[str], line: int = 0) -> frozenset[str]:
    """Return the names. line: of the history that says so.

    Raises HistoryError for the name of no anomaly: to allow it would allow nothing.
    """
    found = frozenset(names)
    for name in sorted(found - ANOMALIES):
        near = get_close_matches(name, sorted(ANOMALIES), n=1)
        hint = f": is it {near[0]}?" if near else f"; there are {', '.join(sorted(ANOMALIES))}"
        raise HistoryError(line, f"there is no anomaly {name} to be allowed{hint}")
    return found
