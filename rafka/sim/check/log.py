"""Is it a log? Every anomaly of `jepsen.tests.kafka`, and what a log's reader may expect besides.

The names and the rules of which are allowed are Jepsen's; those without a counterpart there are said so. Two passes
over the columns: the first (orders.py) finds what is at every offset, the second holds sends and polls against it.
A record costs a slot in a slice comparison; only what does not compare equal is walked.
"""

from collections.abc import Sequence
from itertools import accumulate, filterfalse, islice, pairwise
from operator import lt
from typing import Final

from rafka.sim.check.groups import check_groups
from rafka.sim.check.history import INFO, NEVER, OK, UNKNOWN, Assignment, History
from rafka.sim.check.orders import Orders, excused, failed_and_read, order_logs, readers
from rafka.sim.check.producers import check_producers
from rafka.sim.check.report import KEPT, Findings, say_key

HOLE: Final = 1_000
"""Offsets of one hole that are looked at."""


def check_log(history: History, found: Findings) -> Orders:
    """Judge sends, polls and transactions as those of logs; give the orders, for other checkers."""
    orders = order_logs(history)
    found.stats["sends"] = sum(map(len, history.sends))
    found.stats["records read"] = sum(map(len, history.s_vids))
    check_offsets(history, orders, found)
    check_existence(history, orders, found)
    bounds = Polls(history, orders, found).check()
    check_loss(history, orders, found, bounds)
    check_holes(history, orders, found)
    check_sends(history, orders, found)
    check_realtime(history, orders, found)
    check_producers(history, orders, found)
    check_groups(history, orders, found)
    return orders


def check_offsets(history: History, orders: Orders, found: Findings) -> None:
    """Find `inconsistent-offsets` and `duplicate`."""
    for key, conflicts in orders.conflicts.items():
        for offset, vids in conflicts.items():
            ops = [
                op for vid in vids for op in [history.v_op[vid], *readers(history, vid)][:2] if op != UNKNOWN
            ]
            values = " and ".join(repr(history.v_value[vid]) for vid in vids)
            found.add(
                "inconsistent-offsets", ops, "offset {} of {} holds {}", offset, history.keys[key], values
            )
    for key in range(len(orders.logs)):
        if key in orders.doubled or key in orders.conflicts:
            check_duplicates(history, orders, found, key)


def check_duplicates(history: History, orders: Orders, found: Findings, key: int) -> None:
    """Find the values of a key that are at more than one offset."""
    held = {(vid, offset) for offset, vid in zip(orders.offsets[key], orders.vids[key], strict=True)}
    held.update((vid, offset) for offset, vids in orders.conflicts.get(key, {}).items() for vid in vids)
    at: dict[int, list[int]] = {}
    for vid, offset in sorted(held):
        at.setdefault(vid, []).append(offset)
    twice = {vid: offsets for vid, offsets in at.items() if len(offsets) > 1}
    read_by: dict[int, list[int]] = {vid: [] for vid in twice}
    for segment, vids in enumerate(history.s_vids):
        for vid in twice.keys() & set(vids) if history.s_key[segment] == key else ():
            read_by[vid].append(history.s_op[segment])
    for vid, offsets in twice.items():
        ops = [op for op in (history.v_op[vid], *read_by[vid][:KEPT]) if op != UNKNOWN]
        where = " and ".join(map(str, offsets))
        words = "{!r} is at offsets {} of {}"
        found.add("duplicate", ops, words, history.v_value[vid], where, history.keys[key])


def check_existence(history: History, orders: Orders, found: Findings) -> None:
    """Find `G1a`, `precommitted-read` and, beyond Jepsen, `unwritten-read`."""
    for vid in failed_and_read(history, orders):
        ops = [history.v_op[vid], *readers(history, vid)[:1]]
        found.add(
            "G1a",
            ops,
            "{!r} was read from {}, but its send failed",
            history.v_value[vid],
            say_key(history, vid),
        )
    for vid in history.early:
        writer, told = history.v_op[vid], (history.v_value[vid], say_key(history, vid))
        ops = [*readers(history, vid)[:1], *([] if writer == UNKNOWN else [writer])]
        words = "nobody sent it" if writer == UNKNOWN else "not yet sent"
        found.add("unwritten-read", ops, "{!r} was read from {}, but {}", *told, words)
    if history.lists:
        return
    for op in [op for op in dict.fromkeys(history.s_op) if history.sends[op]]:
        for segment in history.segments[op]:
            own = set(history.s_vids[segment]).intersection(history.sends[op])
            if own:
                vid = min(own)
                words = "{!r} was read from {} by the operation that sent it"
                found.add("precommitted-read", [op], words, history.v_value[vid], say_key(history, vid))


class Polls:
    """Every consumer's way through the logs: what it skips, and where it goes back.

    Within one operation: `int-poll-skip`, `int-nonmonotonic-poll`; from one to the next of a process: `poll-skip`,
    `nonmonotonic-poll`. Keys that were rebalanced are excused, and a process that subscribes may go anywhere unless
    the history promises to tell of every rebalance.
    """

    def __init__(self, history: History, orders: Orders, found: Findings) -> None:
        self.history = history
        self.orders = orders
        self.found = found
        self.bounds: dict[int, tuple[int, int]] = {}
        """key → the greatest index that an ok op read, and that op."""
        self._subscribed: set[int] = set()
        self._cursors: dict[int, dict[int, tuple[int, int]]] = {}
        """process → key → the index that it read last, and the op."""
        self._waiting: dict[int, list[Assignment]] = {}
        for row in sorted(history.assignments, key=lambda row: -row.line):
            self._waiting.setdefault(row.process, []).append(row)

    def check(self) -> dict[int, tuple[int, int]]:
        """Walk the history; give `bounds`."""
        history, cursors, waiting, bounds = self.history, self._cursors, self._waiting, self.bounds
        starts = self.orders.starts
        for op, segments in enumerate(history.segments):
            if not segments:
                continue
            process = history.process[op]
            cursor = cursors.get(process)
            if cursor is None:
                cursor = cursors[process] = {}
            if process in waiting:
                self._assign(process, op, cursor)
            # The usual: one stretch, where the last one ended.
            if len(segments) == 1 and history.outcome[op] == OK and op not in history.rebalanced:
                segment = segments[0]
                first, key = starts[segment], history.s_key[segment]
                if first != UNKNOWN and (key not in cursor or first == cursor[key][0] + 1):
                    last = first + len(history.s_vids[segment]) - 1
                    cursor[key] = last, op
                    if key not in bounds or bounds[key][0] < last:
                        bounds[key] = last, op
                    continue
            self._op(op, segments, cursor)
        return bounds

    def _assign(self, process: int, op: int, cursor: dict[int, tuple[int, int]]) -> None:
        """Follow what was assigned before the op."""
        rows = self._waiting[process]
        while rows and rows[-1].line < self.history.begin[op]:
            row = rows.pop()
            if row.how == "assign":
                self._subscribed.discard(process)
            elif row.how == "subscribe":
                self._subscribed.add(process)
            for key in list(cursor):
                if row.how == "rebalance" or (key in row.keys) == (row.how == "seek"):
                    del cursor[key]

    def _op(self, op: int, segments: range, cursor: dict[int, tuple[int, int]]) -> None:
        history, place = self.history, self.orders.place
        ok = history.outcome[op] == OK
        moved = history.rebalanced.get(op, frozenset()) if history.rebalanced else frozenset()
        inner: dict[int, int] = {}
        for segment in segments:
            offsets = history.s_offsets[segment]
            if not offsets:
                continue
            key = history.s_key[segment]
            free = moved is None or key in moved
            first = place[key][offsets[0]]
            last = top = first + len(offsets) - 1
            if self.orders.starts[segment] == UNKNOWN:
                places = list(map(place[key].__getitem__, offsets))
                last, top = places[-1], max(places)
                if not free:
                    self._steps(op, key, places)
            if not free:
                before = inner.get(key)
                if before is not None:
                    if first != before + 1:
                        self._steps(op, key, [before, first])
                elif key in cursor and first != cursor[key][0] + 1:
                    self._jump(op, key, cursor[key], first)
            inner[key] = last
            if ok and (key not in self.bounds or self.bounds[key][0] < top):
                self.bounds[key] = top, op
        if ok:
            for key, last in inner.items():
                cursor[key] = last, op
        if moved is None:
            cursor.clear()
        for key in moved or ():
            cursor.pop(key, None)

    def _steps(self, op: int, key: int, places: Sequence[int]) -> None:
        """Name the steps within one op that are not to the next record."""
        for before, after in pairwise(places):
            if after > before + 1:
                self._skip("int-poll-skip", (op,), key, before, after)
            elif after <= before:
                self._back("int-nonmonotonic-poll", (op,), key, before, after)

    def _jump(self, op: int, key: int, was: tuple[int, int], after: int) -> None:
        """Name a step from one op of a process to a later one."""
        before, last_op = was
        free = self.history.process[op] in self._subscribed and not self.history.knows_rebalances
        if after > before + 1:
            self._skip("poll-skip", (last_op, op), key, before, after, allowed=free)
        else:
            self._back("nonmonotonic-poll", (last_op, op), key, before, after, allowed=free)

    def _skip(
        self, name: str, ops: tuple[int, ...], key: int, before: int, after: int, *, allowed: bool = False
    ) -> None:
        offsets = self.orders.offsets[key]
        over = offsets[before + 1 : after]
        if not excused(self.history, key, over):
            words = "reading {} went from offset {} to {}, over {} known record(s) from offset {} on"
            told = self.history.keys[key], offsets[before], offsets[after], len(over), over[0]
            self.found.add(name, ops, words, *told, allowed=allowed)

    def _back(
        self, name: str, ops: tuple[int, ...], key: int, before: int, after: int, *, allowed: bool = False
    ) -> None:
        offsets = self.orders.offsets[key]
        words = "reading {} went from offset {} back to {}"
        self.found.add(
            name, ops, words, self.history.keys[key], offsets[before], offsets[after], allowed=allowed
        )


def check_loss(history: History, orders: Orders, found: Findings, bounds: dict[int, tuple[int, int]]) -> None:
    """Find `lost-write` and `unseen` and, beyond Jepsen, `torn-transaction`."""
    unseen = set(filterfalse(orders.seen.__contains__, range(len(history.v_op))))
    if not unseen:
        return
    lost: set[int] = set()
    for key, (bound, reader) in bounds.items():
        missing = unseen.intersection(orders.vids[key][: bound + 1])
        for offset, vids in orders.conflicts.get(key, {}).items():
            if orders.place[key][offset] <= bound:
                missing.update(unseen.intersection(vids))
        for vid in sorted(missing):
            if excused(history, key, [history.v_offset[vid]]):
                continue
            lost.add(vid)
            words = "{!r} at offset {} of {} was never read, though offset {} was"
            what = history.v_value[vid], history.v_offset[vid], history.keys[key], orders.offsets[key][bound]
            found.add("lost-write", [history.v_op[vid], reader], words, *what)
    for vid in sorted(unseen - lost):
        op, at = history.v_op[vid], [history.v_offset[vid]]
        told = history.v_value[vid], say_key(history, vid)
        if excused(history, history.v_key[vid], at):
            continue
        if history.outcome[op] == OK:
            found.add("unseen", [op], "{!r} was acknowledged by {} and not read until the end", *told)
        elif history.outcome[op] == INFO and history.f[op] == "txn" and orders.happened[op]:
            words = "{!r} to {} was not read until the end, but other writes of its transaction were"
            found.add("torn-transaction", [op], words, *told)


def check_holes(history: History, orders: Orders, found: Findings) -> None:
    """Find, beyond Jepsen, `hole`: a consumer went over an offset of a dense log in which nobody knows a record."""
    keys = range(len(history.keys)) if history.dense is None else sorted(history.dense)
    gappy = {key for key in keys if (o := orders.offsets[key]) and o[-1] - o[0] >= len(o)}
    if not gappy:
        return
    told: set[tuple[int, int]] = set()
    for segment, key in enumerate(history.s_key):
        offsets = history.s_offsets[segment]
        if key not in gappy or not offsets or offsets[-1] - offsets[0] == len(offsets) - 1:
            continue
        for before, after in pairwise(offsets):
            known = orders.place[key]
            over = list(islice((o for o in range(before + 1, after) if o not in known), HOLE))
            if over and (key, over[0]) not in told and not excused(history, key, over):
                told.add((key, over[0]))
                words = "offset {} of {} holds nothing: a consumer went from {} to {}"
                found.add("hole", [history.s_op[segment]], words, over[0], history.keys[key], before, after)


def check_sends(history: History, orders: Orders, found: Findings) -> None:
    """Find `nonmonotonic-send`, `int-nonmonotonic-send` and `int-send-skip` (allowed: others may write as well).

    A send of unknown outcome may be carried out after the process went on, unless an idempotent producer orders it.
    """
    index, of = orders.index, history.v_key
    last: dict[int, dict[int, int]] = {}
    for op, (vids, process, sure) in enumerate(
        zip(history.sends, history.process, orders.happened, strict=True)
    ):
        if not vids or not sure:
            continue
        mine = last.get(process)
        if mine is None:
            mine = last[process] = {}
        firsts = vids
        if len(vids) > 1:
            keys = set(map(of.__getitem__, vids))
            places = list(map(index.__getitem__, vids))
            if len(keys) > 1 or places != list(range(places[0], places[0] + len(places))):
                check_within(history, orders, found, op)
            firsts = vids[:1] if len(keys) == 1 else list({of[vid]: vid for vid in reversed(vids)}.values())
        for first in firsts:
            before = mine.get(of[first])
            if before is not None and UNKNOWN != index[first] <= index[before]:
                other = history.v_op[before]
                loose = history.outcome[other] == INFO and not same_producer(history, other, op)
                words = "process {} sent {!r} to {} after {!r}, which is at a higher offset"
                told = process, history.v_value[first], say_key(history, first), history.v_value[before]
                found.add("nonmonotonic-send", [other, op], words, *told, allowed=loose)
        if len(firsts) == 1:
            mine[of[firsts[0]]] = vids[-1]
        else:
            for vid in vids:
                mine[of[vid]] = vid


def same_producer(history: History, one: int, other: int) -> bool:
    """Say whether both ops are of one idempotent producer."""
    return UNKNOWN != history.producer[one] == history.producer[other]


def check_within(history: History, orders: Orders, found: Findings, op: int) -> None:
    """Look at the order of the sends of one op to each key."""
    before: dict[int, int] = {}
    for vid in history.sends[op]:
        key, place = history.v_key[vid], orders.index[vid]
        last = before.get(key)
        before[key] = vid
        if last is None or place == UNKNOWN or orders.index[last] == UNKNOWN:
            continue
        told = history.v_value[last], history.v_value[vid], history.keys[key]
        if place <= orders.index[last]:
            found.add(
                "int-nonmonotonic-send",
                [op],
                "{!r}, then {!r} was sent to {}, which has them reversed",
                *told,
            )
        elif place > orders.index[last] + 1:
            words = "between {!r} and {!r} of one operation, {} has other records"
            found.add("int-send-skip", [op], words, *told, allowed=True)


def check_realtime(history: History, orders: Orders, found: Findings) -> None:
    """Find, beyond Jepsen, `realtime-order`: a record sent after another was acknowledged has the lower offset.

    From the end of each log, the earliest acknowledgement of a higher offset is kept. Operations of one process
    are left to `nonmonotonic-send`.
    """
    ends_of_acked = history.end
    if history.outcome.count(OK) < len(history.outcome):
        ends_of_acked = [
            end if outcome == OK else NEVER for end, outcome in zip(history.end, history.outcome, strict=True)
        ]
    for key, vids in enumerate(orders.vids):
        if key in orders.doubled:
            vids = list(dict.fromkeys(vids))  # noqa: PLW2901  # the places at which a value is first
        ops = list(map(history.v_op.__getitem__, reversed(vids)))
        if UNKNOWN in ops:
            ops = [op for op in ops if op != UNKNOWN]
        ends = map(ends_of_acked.__getitem__, ops)
        if not any(map(lt, accumulate(ends, min), map(history.begin.__getitem__, ops))):
            continue
        # The earliest acknowledgement, and the earliest of another process than that.
        best = other = None
        for op in ops:
            if best is None or ends_of_acked[op] < ends_of_acked[best]:
                if best is not None and history.process[best] != history.process[op]:
                    other = best
                best = op
            elif history.process[best] != history.process[op] and (
                other is None or ends_of_acked[op] < ends_of_acked[other]
            ):
                other = op
            witness = best if history.process[best] != history.process[op] else other
            if witness is not None and ends_of_acked[witness] < history.begin[op]:
                words = "a record that was sent to {} after another was acknowledged is at a lower offset"
                found.add("realtime-order", [witness, op], words, history.keys[key])
