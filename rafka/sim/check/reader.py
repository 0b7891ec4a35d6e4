"""Read a history, strictly: what cannot have happened, or cannot be judged, is refused with its line.

`read` takes JSON lines, `Reader` takes events that are dicts already, and `Recorder` is the other direction: it
writes what it is told. All are pure; where lines come from and go to is the caller's business.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from rafka.sim.check.history import (
    FAIL,
    INFO,
    NEVER,
    OK,
    OUTCOMES,
    UNKNOWN,
    Assignment,
    Call,
    Commit,
    Frozen,
    History,
    HistoryError,
    Scalar,
    Watermarks,
)

VERSION: Final = 1
OUTCOME_OF: Final = {name: number for number, name in enumerate(OUTCOMES)}
CALLS: Final = frozenset(
    {"read", "write", "cas", "add", "enqueue", "dequeue", "append", "tail", "fence", "acquire", "release"}
)
"""Operations on objects; each model of the linearizability checker knows some of them."""
HEADER: Final = frozenset({"history", "allow", "dense", "rebalances"})

Event = dict[str, Any]


def read(lines: Iterable[str]) -> History:
    """Read JSON lines. Raises HistoryError."""
    reader = Reader()
    decode = json.JSONDecoder().decode
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            event = decode(line)
        except ValueError as error:
            if not line.strip():
                continue
            raise HistoryError(number, f"this is not JSON: {error}") from error
        reader.take(event, number)
    return reader.finish(number)


def freeze(thing: Any) -> Frozen:
    """Make JSON hashable."""
    if isinstance(thing, list):
        return tuple(freeze(each) for each in thing)
    if isinstance(thing, dict):
        return tuple((name, freeze(thing[name])) for name in sorted(thing))
    return thing  # type: ignore[no-any-return]


class Reader:
    """Takes events in their order and gives a History."""

    def __init__(self) -> None:
        self.history = History()
        self._open: dict[int, int] = {}
        """process → the op that it waits for."""
        self._line = 0
        self._time: int | None = None
        self._timed: bool | None = None
        self._dense: list[str] = []
        self._assignments: list[tuple[int, int, str, list[str]]] = []
        self._logs = False
        self._view: dict[int, tuple[bool, list[Scalar]]] = {}
        """Within a transaction over lists: key → what it must hold, as a whole or at its end."""

    def take(self, event: Event, line: int) -> None:
        """Take the next event. line: its number, greater than the last one's. Raises HistoryError."""
        self._line = line
        if not isinstance(event, dict):
            raise HistoryError(line, f"an object is expected, not {event!r}")
        if "history" in event:
            self._header(event)
            return
        try:
            process, kind, f = event["process"], event["type"], event["f"]
        except KeyError as error:
            raise HistoryError(line, f"{error.args[0]!r} is missing") from None
        time = self._clock(event.get("time"))
        if type(process) is not int:
            self._note(f, event)
        elif kind == "invoke":
            self._invoke(event, process, f, time)
        elif f == "rebalance":
            self._rebalance(event, process)
        elif (outcome := OUTCOME_OF.get(kind)) is not None:
            self._complete(event, process, f, outcome, time)
        else:
            raise HistoryError(line, f"unknown type {kind!r}: invoke, ok, fail and info are known")

    def finish(self, lines: int) -> History:
        """Give the history of what was taken. lines: how many there were."""
        history = self.history
        history.lines = lines
        if self._dense:
            history.dense = frozenset(map(history.key, self._dense))
        for line, process, how, names in self._assignments:
            wanted = set(names)
            keys = (k for k, name in enumerate(history.keys) if name in wanted or topic_of(name) in wanted)
            history.assignments.append(Assignment(line, process, how, frozenset(keys)))
        history.lists = history.lists and not self._logs
        return history

    # The parts of a line.

    def _bad(self, why: str) -> HistoryError:
        return HistoryError(self._line, why)

    def _header(self, event: Event) -> None:
        if self.history.f or self._timed is not None:
            raise self._bad("the header belongs on the first line")
        if event["history"] != VERSION:
            raise self._bad(f"history version {event['history']!r} is not known; this reads {VERSION}")
        if strange := sorted(event.keys() - HEADER):
            raise self._bad(f"the header has no {strange[0]!r}")
        self.history.allow = frozenset(self._names(event.get("allow", [])))
        self.history.knows_rebalances = bool(event.get("rebalances", False))
        dense = event.get("dense", False)
        if dense is True:
            self.history.dense = None
        elif dense:
            self._dense = self._names(dense)

    def _names(self, value: Any) -> list[str]:
        if not isinstance(value, list) or not all(type(each) in (str, int) for each in value):
            raise self._bad(f"a list of names is expected, not {value!r}")
        return [str(each) for each in value]

    def _clock(self, time: Any) -> int:
        """Check a line's time, ns; give it, or UNKNOWN. Lines are in order, and all have one or none has."""
        if self._timed is None:
            self._timed = time is not None
        if time is None:
            if self._timed:
                raise self._bad("'time' is missing, which earlier lines have")
            return UNKNOWN
        if not self._timed:
            raise self._bad("'time' is given, which earlier lines lack")
        if type(time) is not int or time < 0:
            raise self._bad(f"time {time!r} is not a number of nanoseconds, 0 and up")
        if self._time is not None and time < self._time:
            raise self._bad(f"time {time} is before the line before it ({self._time}): impossible")
        self._time = time
        return time

    def _note(self, f: Any, event: Event) -> None:
        """A line of somebody who is no client: only what explains offsets without records is taken."""
        if f == "hole":
            for name, ranges in self._map(event.get("value")).items():
                rows = self.history.holes.setdefault(self.history.key(name), [])
                for each in ranges if isinstance(ranges, list) else [ranges]:
                    if not (isinstance(each, list) and len(each) == 2 and all(type(n) is int for n in each)):
                        raise self._bad(f"a hole is [first, last], not {each!r}")
                    rows.append((each[0], each[1]))

    def _map(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._bad(f"an object by key is expected, not {value!r}")
        return value

    # Invocations.

    def _invoke(self, event: Event, process: int, f: Any, time: int) -> None:
        history = self.history
        if process in self._open:
            op = self._open[process]
            raise self._bad(
                f"process {process} invokes {f}, but its {history.f[op]} of line {history.begin[op]} is open"
            )
        op = self._open[process] = len(history.f)
        history.process.append(process)
        history.f.append(f)
        history.outcome.append(INFO)
        history.begin.append(self._line)
        history.end.append(NEVER)
        history.began_ns.append(time)
        history.ended_ns.append(UNKNOWN)
        history.segments.append(range(0))
        self._producer(event.get("producer"))
        value = event.get("value")
        if f in ("send", "txn"):
            history.sends.append(self._intents(value, op))
            return
        history.sends.append(())
        if f in CALLS:
            name = str(event.get("key", ""))
            history.calls.setdefault(name, []).append(Call(op, f, freeze(value), None))
        elif f == "poll":
            self._logs = True
        elif f == "commit":
            group, offsets = self._group(value)
            self._group_offsets(history.commits, op, group, offsets)
        elif f not in COMPLETE:
            raise self._bad(f"unknown f {f!r}: {', '.join(sorted({*COMPLETE, *CALLS}))} are known")

    def _producer(self, producer: Any) -> None:
        if producer is None:
            self.history.producer.append(UNKNOWN)
            self.history.epoch.append(UNKNOWN)
            return
        if not (isinstance(producer, list) and len(producer) == 2 and all(type(n) is int for n in producer)):
            raise self._bad(f"a producer is [id, epoch], not {producer!r}")
        self.history.producer.append(producer[0])
        self.history.epoch.append(producer[1])

    def _intents(self, mops: Any, op: int) -> list[int]:
        """Number the values that are to be sent."""
        if not isinstance(mops, list):
            raise self._bad(f"a list of micro-operations is expected, not {mops!r}")
        vids = []
        for mop in mops:
            kind, key, value, sequence = self._send(mop)
            if kind in ("send", "append"):
                vids.append(self._sent(key, value, sequence, op))
                self.history.lists |= kind == "append"
                self._logs |= kind == "send"
        return vids

    def _sent(self, key: int, value: Scalar, sequence: int, op: int) -> int:
        history = self.history
        vid = history.vids[key].get(value)
        if vid is None:
            return self._number(key, value, op, sequence)
        if history.v_op[vid] != UNKNOWN:
            first = history.begin[history.v_op[vid]]
            raise self._bad(
                f"{value!r} is sent to {history.keys[key]} a second time (first: line {first}); "
                "values must be unique within a key"
            )
        history.v_op[vid], history.v_seq[vid] = op, sequence
        return vid

    def _number(self, key: int, value: Scalar, op: int, sequence: int) -> int:
        history = self.history
        vid = history.vids[key][value] = len(history.v_key)
        history.v_key.append(key)
        history.v_value.append(value)
        history.v_op.append(op)
        history.v_offset.append(UNKNOWN)
        history.v_seq.append(sequence)
        return vid

    def _send(self, mop: Any) -> tuple[str, int, Scalar, int]:
        """Take a micro-operation apart: its kind; for a send, its key, value and sequence as well."""
        if not isinstance(mop, list) or not mop:
            raise self._bad(f"a micro-operation is a list that starts with its kind, not {mop!r}")
        kind = mop[0]
        if kind in ("poll", "r", "commit"):
            return kind, UNKNOWN, 0, UNKNOWN
        if kind not in ("send", "append"):
            raise self._bad(f"unknown micro-operation {kind!r}: send, poll, commit, append and r are known")
        if len(mop) not in (3, 4) or type(mop[1]) not in (str, int):
            raise self._bad(f'a send is ["send", key, value] or with a sequence after it, not {mop!r}')
        value = mop[2][1] if isinstance(mop[2], list) and len(mop[2]) == 2 else mop[2]
        if type(value) is not int and type(value) is not str:
            raise self._bad(f"a value is a number or a string, not {value!r}")
        sequence = mop[3] if len(mop) == 4 else UNKNOWN
        if type(sequence) is not int:
            raise self._bad(f"a sequence is a number, not {sequence!r}")
        return kind, self.history.key(str(mop[1])), value, sequence

    # Completions.

    def _complete(self, event: Event, process: int, f: Any, outcome: int, time: int) -> None:
        history = self.history
        op = self._open.pop(process, None)
        if op is None:
            raise self._bad(
                f"process {process} completes {f} ({OUTCOMES[outcome]}) without having invoked it"
            )
        if history.f[op] != f:
            raise self._bad(
                f"process {process} completes {f}, but invoked {history.f[op]} on line {history.begin[op]}"
            )
        history.outcome[op] = outcome
        history.ended_ns[op] = time
        if outcome != INFO:
            history.end[op] = self._line
        value = event.get("value")
        if f in CALLS:
            self._told(event, op, value)
        elif value is not None or outcome == OK:
            COMPLETE[f](self, op, value)
        if "rebalance-log" in event:
            self._rebalance_log(event["rebalance-log"], op)
        if event.get("seek-to-beginning"):
            self._seek(op, value if value is not None else [])
        if outcome == OK and "watermarks" in event:
            self._watermarks(op, event["watermarks"])

    def _told(self, event: Event, op: int, value: Any) -> None:
        history = self.history
        if history.outcome[op] != OK:
            return
        calls = history.calls.get(str(event.get("key", "")), [])
        for place in range(len(calls) - 1, -1, -1):
            if calls[place].op == op:
                calls[place] = calls[place]._replace(told=freeze(value))
                return
        raise self._bad(f"the completion names another key than the invocation on line {history.begin[op]}")

    def _mops(self, op: int, mops: Any) -> None:
        history = self.history
        if not isinstance(mops, list):
            raise self._bad(f"a list of micro-operations is expected, not {mops!r}")
        vids, first, place = history.sends[op], len(history.s_op), 0
        self._view = {}
        for mop in mops:
            kind, key, value, sequence = self._send(mop)
            if kind in ("send", "append"):
                if place == len(vids) or vids[place] != history.vids[key].get(value):
                    raise self._bad(
                        f"{value!r} to {history.keys[key]} is not what line {history.begin[op]} sends in this place"
                    )
                self._acked(vids[place], mop[2], sequence)
                if kind == "append":
                    whole, values = self._view.get(key, (False, []))
                    self._view[key] = whole, [*values, value]
                place += 1
            elif kind == "commit":
                self._commit_mop(op, mop)
            else:
                self._read_mop(op, kind, mop)
        if place != len(vids) and history.outcome[op] == OK:
            raise self._bad(f"{len(vids)} value(s) were sent on line {history.begin[op]}, {place} are here")
        history.segments[op] = range(first, len(history.s_op))

    def _acked(self, vid: int, told: Any, sequence: int) -> None:
        if sequence != UNKNOWN:
            self.history.v_seq[vid] = sequence
        if isinstance(told, list) and told[0] is not None:
            if type(told[0]) is not int or told[0] < 0:
                raise self._bad(f"{told[0]!r} is not an offset")
            self.history.v_offset[vid] = told[0]

    def _read_mop(self, op: int, kind: str, mop: list[Any]) -> None:
        if kind == "poll":
            self._logs = True
            if len(mop) == 2:
                for name, pairs in self._map(mop[1]).items():
                    if pairs:
                        self._polled(op, name, pairs)
            elif len(mop) != 1:
                raise self._bad(f'a poll is ["poll"] or ["poll", {{key: [[offset, value], …]}}], not {mop!r}')
            return
        self.history.lists = True
        if len(mop) != 3 or not (mop[2] is None or isinstance(mop[2], list)):
            raise self._bad(f'a read of a list is ["r", key, [value, …]], not {mop!r}')
        values = mop[2] or []
        if mop[2] is not None or self.history.outcome[op] == OK:
            key = self.history.key(str(mop[1]))
            whole, known = self._view.get(key, (False, []))
            if (values if whole else values[len(values) - len(known) :]) != known:
                self.history.internal.append((op, key))
            self._view[key] = True, values
            self._segment(op, str(mop[1]), list(range(len(values))), values)

    def _polled(self, op: int, name: str, pairs: Any) -> None:
        try:
            offsets, values = map(list, zip(*pairs, strict=True))
        except (TypeError, ValueError):
            raise self._bad(f"records are [[offset, value], …], not {pairs!r}") from None
        if set(map(type, offsets)) != {int} or min(offsets) < 0:
            raise self._bad(f"an offset of {name} is not a number, 0 and up")
        self._segment(op, name, offsets, values)

    def _segment(self, op: int, name: str, offsets: list[int], values: list[Scalar]) -> None:
        history = self.history
        key = history.key(name)
        known = history.vids[key]
        if not set(map(type, values)) <= {int, str}:
            raise self._bad(f"a value of {name} is neither a number nor a string")
        vids: list[int] = list(map(known.get, values))  # type: ignore[arg-type]
        if None in vids:
            for place, value in enumerate(values):
                if vids[place] is None:
                    found = known.get(value)
                    if found is None:
                        found = self._number(key, value, UNKNOWN, UNKNOWN)
                        history.early.append(found)
                    vids[place] = found
        history.s_op.append(op)
        history.s_key.append(key)
        history.s_offsets.append(offsets)
        history.s_vids.append(vids)

    # Rare operations.

    def _commit_mop(self, op: int, mop: list[Any]) -> None:
        if len(mop) != 3:
            raise self._bad(f'a commit is ["commit", group, {{key: offset}}], not {mop!r}')
        self._group_offsets(self.history.commits, op, str(mop[1]), mop[2])

    def _commit(self, op: int, value: Any) -> None:
        """A commit says when invoked what it writes; that counts, since nobody may ever answer."""
        if value is not None and self.history.outcome[op] == OK:
            self._group(value)

    def _committed(self, op: int, value: Any) -> None:
        if self.history.outcome[op] == OK:
            group, offsets = self._group(value)
            self._group_offsets(self.history.committed, op, group, offsets)

    def _group(self, value: Any) -> tuple[str, Any]:
        if not isinstance(value, dict) or value.keys() != {"group", "offsets"}:
            raise self._bad(f'group offsets are {{"group": …, "offsets": {{key: offset}}}}, not {value!r}')
        return str(value["group"]), value["offsets"]

    def _group_offsets(self, rows: list[Commit], op: int, group: str, offsets: Any) -> None:
        for name, offset in self._map(offsets).items():
            if offset is not None and (type(offset) is not int or offset < UNKNOWN):
                raise self._bad(f"{offset!r} is not an offset of {name}")
            rows.append(Commit(op, group, self.history.key(name), UNKNOWN if offset is None else offset))

    def _watermarks(self, op: int, value: Any) -> None:
        for name, told in self._map(value).items():
            marks = self._map(told)
            row = [marks.get(each, UNKNOWN) for each in ("start", "stable", "high")]
            if any(type(each) is not int for each in row) or marks.keys() - {"start", "stable", "high"}:
                raise self._bad(f"watermarks are start, stable and high, each an offset, not {marks!r}")
            self.history.watermarks.append(Watermarks(op, self.history.key(name), *row))

    def _assignment(self, op: int, value: Any) -> None:
        history = self.history
        if history.outcome[op] != FAIL:
            how = history.f[op]
            row = (self._line, history.process[op], how, self._names(value))
            self._assignments.append(row)

    def _rebalance(self, event: Event, process: int) -> None:
        self._assignments.append((self._line, process, "rebalance", self._names(event.get("value"))))
        if process in self._open:
            self.history.rebalanced[self._open[process]] = None

    def _seek(self, op: int, value: Any) -> None:
        names = list(value) if isinstance(value, dict) else self._names(value)
        self._assignments.append((self._line, self.history.process[op], "seek", names))

    def _rebalance_log(self, value: Any, op: int) -> None:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._bad('a rebalance log is a list of {"keys": [key, …]}')
        keys = frozenset(
            self.history.key(name) for each in value for name in self._names(each.get("keys", []))
        )
        self.history.rebalanced[op] = keys
        names = [self.history.keys[key] for key in keys]
        self._assignments.append((self._line, self.history.process[op], "seek", names))


COMPLETE: Final[dict[str, Callable[[Reader, int, Any], None]]] = {
    "send": Reader._mops,  # noqa: SLF001 – its own methods
    "poll": Reader._mops,  # noqa: SLF001
    "txn": Reader._mops,  # noqa: SLF001
    "seek": Reader._seek,  # noqa: SLF001
    "assign": Reader._assignment,  # noqa: SLF001
    "subscribe": Reader._assignment,  # noqa: SLF001
    "commit": Reader._commit,  # noqa: SLF001
    "committed": Reader._committed,  # noqa: SLF001
    "list-offsets": Reader._watermarks,  # noqa: SLF001
}
"""What is done with the value of a completion."""


def topic_of(name: str) -> str:
    """Give the topic of a partition's name: `orders` of `orders-0`."""
    return name.rpartition("-")[0]


class Recorder:
    """Collects events as they happen. header: the fields of the first line besides `history`."""

    def __init__(self, **header: Any) -> None:
        self.events: list[Event] = [{"history": VERSION, **header}]

    def note(self, process: int | str, kind: str, f: str, value: Any = None, **fields: Any) -> None:
        """Take one event: who, `invoke`, `ok`, `fail` or `info`, what; fields such as `time` and `producer`."""
        self.events.append({"process": process, "type": kind, "f": f, "value": value, **fields})

    def lines(self) -> Iterator[str]:
        """Give the history as JSON lines, without line ends."""
        return map(json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode, self.events)

    def history(self) -> History:
        """Give the history as columns. Raises HistoryError if what was noted cannot have happened."""
        reader = Reader()
        for line, event in enumerate(self.events, 1):
            reader.take(event, line)
        return reader.finish(len(self.events))
