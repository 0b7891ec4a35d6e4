"""A history: what clients asked, what they were told, and in which order, as columns of ints.

The written form is JSON lines, one per invocation or completion, shaped as the operations of `jepsen.tests.kafka`;
docs/history.md is its specification. The order of the lines is the order in which things happened: a line number
serves as the instant, and `time` is only checked against it. Everything is interned here, once: a partition
is an int `key`, a sent value an int `vid`. A checker then walks parallel lists and hashes no strings.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rafka.core.errors import RafkaError

OK: Final = 0
"""It happened, and the client was told so."""
FAIL: Final = 1
"""It did not happen, and never will."""
INFO: Final = 2
"""Nobody knows: a timeout, a lost connection, or the history ends before the answer."""
OUTCOMES: Final = ("ok", "fail", "info")

NEVER: Final = 1 << 62
"""The instant at which an operation without a known end ends: after every line."""
UNKNOWN: Final = -1
"""An offset, sequence, producer or operation that the history does not tell."""

Scalar = int | str
Frozen = int | str | float | bool | None | tuple["Frozen", ...]
"""JSON made hashable: lists as tuples, objects as tuples of sorted pairs."""


class HistoryError(RafkaError):
    """A history that cannot be judged. line: where, 1 and up (0: the whole); why: what is wrong there."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}" if line else why)
        self.line = line
        self.why = why


class Assignment(NamedTuple):
    """From this line on the process reads these keys. how: assign, subscribe, rebalance or seek.

    After an assign or subscribe, reading goes on where it was in the keys that stay; after a rebalance it may go on
    anywhere; a seek moves in these keys alone.
    """

    line: int
    process: int
    how: str
    keys: frozenset[int]


class Commit(NamedTuple):
    """A group's offset for a key, as written or as read back."""

    op: int
    group: str
    key: int
    offset: int


class Watermarks(NamedTuple):
    """Log start offset, last stable offset and high watermark of a key, as one client was told them."""

    op: int
    key: int
    start: int
    stable: int
    high: int


class Call(NamedTuple):
    """An operation on an object: what was asked, and what was answered (None if nothing was)."""

    op: int
    f: str
    asked: Frozen
    told: Frozen


class History:
    """The columns. Lists of one group have one length and are indexed by the number named in its comment.

    op: an invocation with its completion, numbered by invocation; vid: a value of a key, sent or only read;
    segment: what one micro-operation of one poll returned of one key, in the order returned.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.allow: frozenset[str] = frozenset()
        """Anomalies that whoever recorded the history does not count as violations."""
        self.dense: frozenset[int] | None = frozenset()
        """Keys whose every offset holds a record; None is all of them."""
        self.knows_rebalances = False
        """Whether every rebalance is in the history."""
        # By op.
        self.process: list[int] = []
        self.f: list[str] = []
        self.outcome: list[int] = []
        self.begin: list[int] = []
        self.end: list[int] = []
        self.began_ns: list[int] = []
        self.ended_ns: list[int] = []
        self.producer: list[int] = []
        self.epoch: list[int] = []
        self.sends: list[Sequence[int]] = []
        """The vids that an op sends, in its order."""
        self.segments: list[range] = []
        """The segments that an op read, in its order."""
        # By key.
        self.keys: list[str] = []
        self.key_of: dict[str, int] = {}
        self.vids: list[dict[Scalar, int]] = []
        # By vid.
        self.v_key: list[int] = []
        self.v_value: list[Scalar] = []
        self.v_op: list[int] = []
        self.v_offset: list[int] = []
        self.v_seq: list[int] = []
        self.early: list[int] = []
        """The vids that were read before they were sent, or were never sent."""
        # By segment.
        self.s_op: list[int] = []
        self.s_key: list[int] = []
        self.s_offsets: list[list[int]] = []
        self.s_vids: list[list[int]] = []
        # The rest is rare: rows.
        self.rebalanced: dict[int, frozenset[int] | None] = {}
        """op → the keys that came or went while it ran; None: any."""
        self.assignments: list[Assignment] = []
        self.commits: list[Commit] = []
        """Commits of group offsets, alone or within a transaction."""
        self.committed: list[Commit] = []
        """Group offsets as they were read back; offset UNKNOWN is none."""
        self.watermarks: list[Watermarks] = []
        self.holes: dict[int, list[tuple[int, int]]] = {}
        """key → offsets [first, last] that hold no record, and rightly so."""
        self.calls: dict[str, list[Call]] = {}
        """object → operations on it, for the linearizability checker."""
        self.lists = False
        """Whether reads are of whole lists (append, r) and not of logs (send, poll)."""
        self.internal: list[tuple[int, int]] = []
        """(op, key): a transaction's read of a list that contradicts what itself did before."""

    def key(self, name: str) -> int:
        """Intern the name of a partition or object."""
        found = self.key_of.get(name)
        if found is None:
            found = self.key_of[name] = len(self.keys)
            self.keys.append(name)
            self.vids.append({})
        return found
