"""The order of every log, as the history proves it: which value is at which offset.

A poll is believed whatever became of the operation it was part of, since consumers must only ever be shown what is
safe; a send is believed if it is known to have happened. Nothing here is a judgement but one: two values at one
offset are kept as conflicts. The bulk of the work is done by slices, dicts and sets, not by statements per record.
"""

from functools import cached_property
from itertools import chain, compress, pairwise, repeat
from operator import add, not_
from typing import Final

from rafka.sim.check.history import FAIL, INFO, OK, UNKNOWN, History

MANY_READ: Final = 2
"""Values read by a poll, on the average, from which on it is faster to compare stretches."""


class Orders:
    """The logs: offset → vid, by key. What follows from them is worked out when it is first asked for."""

    def __init__(self, history: History) -> None:
        ok = [history.outcome[op] == OK for op in history.s_op]
        self.seen_ok = set(chain.from_iterable(compress(history.s_vids, ok)))
        """What was read by operations that are ok."""
        self.seen = self.seen_ok
        """What was read by anybody."""
        if not all(ok):
            self.seen = self.seen_ok.union(chain.from_iterable(compress(history.s_vids, map(not_, ok))))
        self.happened = have_happened(history, self.seen_ok)
        """By op: it is ok, or what it sent was read."""
        self.conflicts: dict[int, dict[int, list[int]]] = {}
        """By key: offsets with more than one value, and those values."""
        self.logs, self.sent = logs_as_sent(history, self.happened)
        """sent: by vid, the offset that its send told, or UNKNOWN; each is in a log once, until a read tells more."""
        self.is_as_sent = True
        """No read told more than the sends."""
        self._history = history

    def forget(self) -> None:
        """Reads told more than the sends: work out anew what follows."""
        self.is_as_sent = False
        for name in ("offsets", "vids", "place", "starts"):
            self.__dict__.pop(name, None)

    @cached_property
    def offsets(self) -> list[list[int]]:
        """By key: the offsets that hold a record, ascending."""
        return [sorted(log) for log in self.logs]

    @cached_property
    def vids(self) -> list[list[int]]:
        """By key: the vids at `offsets`."""
        return [
            list(map(log.__getitem__, offsets)) for log, offsets in zip(self.logs, self.offsets, strict=True)
        ]

    @cached_property
    def place(self) -> list[dict[int, int]]:
        """By key: offset → index in `offsets` and `vids`."""
        return [dict(zip(offsets, range(len(offsets)), strict=True)) for offsets in self.offsets]

    @cached_property
    def starts(self) -> list[int]:
        """By segment: the index of its first record if it is a stretch of the log, nothing left out; else UNKNOWN."""
        history, offsets_of, vids_of = self._history, self.offsets, self.vids
        starts = []
        for key, offsets, vids in zip(history.s_key, history.s_offsets, history.s_vids, strict=True):
            first = UNKNOWN
            if vids:
                first = self.place[key].get(offsets[0], UNKNOWN)
                last = first + len(vids)
                if len(vids) == 1:
                    if first != UNKNOWN and vids_of[key][first] != vids[0]:
                        first = UNKNOWN
                elif vids_of[key][first:last] != vids or offsets_of[key][first:last] != offsets:
                    first = UNKNOWN
            starts.append(first)
        return starts

    @cached_property
    def index(self) -> list[int]:
        """By vid: its (first) index in its log, or UNKNOWN."""
        index = [UNKNOWN] * len(self._history.v_key)
        for key, vids in enumerate(self.vids):
            for place, vid in enumerate(vids):
                index[vid] = place
            if key in self.doubled:
                for place in range(len(vids) - 1, -1, -1):
                    index[vids[place]] = place
        return index

    @cached_property
    def doubled(self) -> set[int]:
        """The keys with a value at more than one offset."""
        if self.is_as_sent:
            return set()
        return {key for key, log in enumerate(self.logs) if len(set(log.values())) < len(log)}

    @cached_property
    def after(self) -> list[int]:
        """By vid: the next in its log, or UNKNOWN; then, by key, the first of the log. Without `doubled` logs.

        A walk in the order of vids is one in the order of time, and near in memory what is near in time: several times
        as fast as one log after the other. A log without a gap needs no other.
        """
        logs = self.logs
        after = [UNKNOWN] * len(self._history.v_key)
        firsts = [UNKNOWN if not log else 0 if 0 in log else min(log) for log in logs]
        gapless = all(
            max(log, default=UNKNOWN) - first < max(len(log), 1)
            for log, first in zip(logs, firsts, strict=True)
        )
        if gapless and self.is_as_sent:
            nexts = map(add, self.sent, repeat(1))
            after = list(map(dict.get, map(logs.__getitem__, self._history.v_key), nexts, repeat(UNKNOWN)))
            # What no send told the offset of would be followed by the first of all.
            if UNKNOWN in self.sent:
                after = [UNKNOWN if at == UNKNOWN else vid for vid, at in zip(after, self.sent, strict=True)]
        else:
            for key, vids in enumerate(self.vids):
                for vid, following in () if key in self.doubled else pairwise(vids):
                    after[vid] = following
        for key, (log, first) in enumerate(zip(logs, firsts, strict=True)):
            after.append(UNKNOWN if key in self.doubled else log.get(first, UNKNOWN))
        return after


def order_logs(history: History) -> Orders:
    """Find the order of every log."""
    orders = Orders(history)
    logs = orders.logs
    torn = torn_as_sent(history, logs, orders.sent)
    # Most polls return what was acknowledged: only the others tell anything of the order.
    if telling := news(history, orders, torn):
        before = [log.copy() for log in logs]
        for segment in telling:
            log = logs[history.s_key[segment]]
            log.update(zip(history.s_offsets[segment], history.s_vids[segment], strict=True))
        torn.update(key for key, log in enumerate(logs) if not before[key].items() <= log.items())
        for segment in telling:
            log = logs[history.s_key[segment]]
            if list(map(log.__getitem__, history.s_offsets[segment])) != history.s_vids[segment]:
                torn.add(history.s_key[segment])
        orders.forget()
    orders.conflicts = {key: conflicts_of(history, key, orders.happened) for key in sorted(torn)}
    return orders


def news(history: History, orders: Orders, torn: set[int]) -> list[int]:
    """Give the segments that tell of a log what its sends did not."""
    sent, telling = orders.sent, []
    if len(orders.seen) < MANY_READ * len(history.s_vids):
        for segment, (offsets, vids) in enumerate(zip(history.s_offsets, history.s_vids, strict=True)):
            if len(vids) == 1:
                if sent[vids[0]] != offsets[0]:
                    telling.append(segment)
            elif list(map(sent.__getitem__, vids)) != offsets:
                telling.append(segment)
    else:
        for segment, (start, vids) in enumerate(zip(orders.starts, history.s_vids, strict=True)):
            if start == UNKNOWN and list(map(sent.__getitem__, vids)) != history.s_offsets[segment]:
                telling.append(segment)
    if torn:
        telling = sorted({*telling, *(s for s, key in enumerate(history.s_key) if key in torn)})
    return telling


def have_happened(history: History, seen_ok: set[int]) -> list[bool]:
    """Say of every op whether it is known to have happened."""
    happened = [outcome == OK for outcome in history.outcome]
    if INFO in history.outcome:
        for op, outcome in enumerate(history.outcome):
            if outcome == INFO and not seen_ok.isdisjoint(history.sends[op]):
                happened[op] = True
    return happened


def logs_as_sent(history: History, happened: list[bool]) -> tuple[list[dict[int, int]], list[int]]:
    """Give what sends that happened say: of every log, offset → vid, and of every vid its offset or UNKNOWN."""
    logs: list[dict[int, int]] = [{} for _ in history.keys]
    sent = history.v_offset
    if not all(happened):
        sent = sent.copy()
        for op in compress(range(len(happened)), map(not_, happened)):
            for vid in history.sends[op]:
                sent[vid] = UNKNOWN
    for vid, (log, offset) in enumerate(zip(map(logs.__getitem__, history.v_key), sent, strict=True)):
        log[offset] = vid
    for log in logs:
        log.pop(UNKNOWN, None)
    return logs, sent


def torn_as_sent(history: History, logs: list[dict[int, int]], sent: list[int]) -> set[int]:
    """Give the keys of which sends contradict each other."""
    torn: set[int] = set()
    if sum(map(len, logs)) + sent.count(UNKNOWN) < len(sent):
        for vid, (key, offset) in enumerate(zip(history.v_key, sent, strict=True)):
            if offset != UNKNOWN and logs[key][offset] != vid:
                torn.add(key)
    return torn


def conflicts_of(history: History, key: int, happened: list[bool]) -> dict[int, list[int]]:
    """Give the offsets of a key that are said to hold several values."""
    held: dict[int, dict[int, None]] = {}
    for vid, of in enumerate(history.v_key):
        if of == key and history.v_offset[vid] != UNKNOWN and happened[history.v_op[vid]]:
            held.setdefault(history.v_offset[vid], {})[vid] = None
    for segment, of in enumerate(history.s_key):
        if of == key:
            for offset, vid in zip(history.s_offsets[segment], history.s_vids[segment], strict=True):
                held.setdefault(offset, {})[vid] = None
    return {offset: list(vids) for offset, vids in sorted(held.items()) if len(vids) > 1}


def failed_and_read(history: History, orders: Orders) -> list[int]:
    """Give the vids that were read though their send failed."""
    failed = (
        vid for op, outcome in enumerate(history.outcome) if outcome == FAIL for vid in history.sends[op]
    )
    return [vid for vid in failed if vid in orders.seen_ok]


def readers(history: History, vid: int) -> list[int]:
    """Give the ops that read a value; a walk over the whole history, for explanations."""
    return [history.s_op[s] for s, vids in enumerate(history.s_vids) if vid in vids]


def excused(history: History, key: int, offsets: list[int]) -> bool:
    """Say whether notes explain that none of these offsets holds a record."""
    ranges = history.holes.get(key)
    return ranges is not None and all(any(first <= o <= last for first, last in ranges) for o in offsets)
