"""The order of every log, as the history proves it: which value is at which offset.

A poll is believed whatever became of the operation it was part of, since consumers must only ever be shown what is
safe; a send is believed if it is known to have happened. Nothing here is a judgement but one: two values at one
offset are kept as conflicts. The bulk of the work is done by slices, dicts and sets, not by statements per record.
"""

from itertools import chain, compress
from operator import not_

import attrs

from rafka.sim.check.history import FAIL, INFO, OK, UNKNOWN, History


@attrs.define(eq=False)
class Orders:
    """The logs. By key: `offsets` that hold a record, ascending, `vids` there, `place`: offset → index in both."""

    offsets: list[list[int]]
    vids: list[list[int]]
    place: list[dict[int, int]]
    index: list[int]
    """By vid: its (first) index in its log, or UNKNOWN."""
    seen: set[int]
    """What was read by anybody."""
    seen_ok: set[int]
    """What was read by operations that are ok."""
    happened: list[bool]
    """By op: it is ok, or what it sent was read."""
    conflicts: dict[int, dict[int, list[int]]]
    """By key: offsets with more than one value, and those values."""


def order_logs(history: History) -> Orders:
    """Find the order of every log."""
    ok = [history.outcome[op] == OK for op in history.s_op]
    seen_ok = set(chain.from_iterable(compress(history.s_vids, ok)))
    seen = seen_ok
    if not all(ok):
        seen = seen_ok.union(chain.from_iterable(compress(history.s_vids, map(not_, ok))))
    happened = have_happened(history, seen_ok)
    logs, torn = logs_as_sent(history, happened)
    orders = place_all(history, logs, Orders([], [], [], [], seen, seen_ok, happened, {}))
    # Most polls return a stretch of what was acknowledged: only the others tell anything of the order.
    telling = [segment for segment in range(len(history.s_key)) if not is_stretch(history, orders, segment)]
    if telling:
        sent = [log.copy() for log in logs]
        for segment in telling:
            log = logs[history.s_key[segment]]
            log.update(zip(history.s_offsets[segment], history.s_vids[segment], strict=True))
        torn.update(key for key, log in enumerate(logs) if not sent[key].items() <= log.items())
        for segment in telling:
            log = logs[history.s_key[segment]]
            if list(map(log.__getitem__, history.s_offsets[segment])) != history.s_vids[segment]:
                torn.add(history.s_key[segment])
        orders = place_all(history, logs, Orders([], [], [], [], seen, seen_ok, happened, {}))
    orders.conflicts = {key: conflicts_of(history, key, happened) for key in sorted(torn)}
    return orders


def is_stretch(history: History, orders: Orders, segment: int) -> bool:
    """Say whether what a poll returned of a key is a stretch of the log, nothing left out."""
    offsets = history.s_offsets[segment]
    if not offsets:
        return True
    key = history.s_key[segment]
    first = orders.place[key].get(offsets[0], UNKNOWN)
    last = first + len(offsets)
    return (
        first != UNKNOWN
        and orders.vids[key][first:last] == history.s_vids[segment]
        and orders.offsets[key][first:last] == offsets
    )


def have_happened(history: History, seen_ok: set[int]) -> list[bool]:
    """Say of every op whether it is known to have happened."""
    happened = [outcome == OK for outcome in history.outcome]
    if INFO in history.outcome:
        for op, outcome in enumerate(history.outcome):
            if outcome == INFO and not seen_ok.isdisjoint(history.sends[op]):
                happened[op] = True
    return happened


def logs_as_sent(history: History, happened: list[bool]) -> tuple[list[dict[int, int]], set[int]]:
    """Give what sends that happened say of every log, and the keys in which they contradict each other."""
    logs: list[dict[int, int]] = [{} for _ in history.keys]
    offsets = history.v_offset
    if not all(happened):
        offsets = offsets.copy()
        for op in compress(range(len(happened)), map(not_, happened)):
            for vid in history.sends[op]:
                offsets[vid] = UNKNOWN
    for vid, (log, offset) in enumerate(zip(map(logs.__getitem__, history.v_key), offsets, strict=True)):
        log[offset] = vid
    for log in logs:
        log.pop(UNKNOWN, None)
    torn: set[int] = set()
    if sum(map(len, logs)) + offsets.count(UNKNOWN) < len(offsets):
        for vid, (key, offset) in enumerate(zip(history.v_key, offsets, strict=True)):
            if offset != UNKNOWN and logs[key][offset] != vid:
                torn.add(key)
    return logs, torn


def place_all(history: History, logs: list[dict[int, int]], orders: Orders) -> Orders:
    """Number the records of every log without gaps."""
    orders.index = index = [UNKNOWN] * len(history.v_key)
    for log in logs:
        offsets = sorted(log)
        vids = list(map(log.__getitem__, offsets))
        orders.offsets.append(offsets)
        orders.vids.append(vids)
        orders.place.append(dict(zip(offsets, range(len(offsets)), strict=True)))
        for place, vid in enumerate(vids):
            index[vid] = place
        if len(set(vids)) < len(vids):
            for place in range(len(vids) - 1, -1, -1):
                index[vids[place]] = place
    return orders


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
