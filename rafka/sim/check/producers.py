"""Idempotent producers: per log, offset order is the order of epochs and, within one, of sequences.

Beyond Jepsen, since a history may tell producer ids: `sequence-order`, `fenced-ack`. Source: KIP-98 (sequences count up
per producer and partition, and after 2^31 - 1 comes 0), KIP-360 and KIP-890 (what a newer epoch shuts out).
"""

from typing import Final

from rafka.sim.check.history import OK, UNKNOWN, History
from rafka.sim.check.orders import Orders
from rafka.sim.check.report import Findings

SEQUENCES: Final = 1 << 31


def check_producers(history: History, orders: Orders, found: Findings) -> None:
    """Judge the records of producers that said who they are."""
    if not history.producer or max(history.producer) == UNKNOWN:
        return
    for key, vids in enumerate(orders.vids):
        check_key(history, key, vids, found)
    check_fencing(history, found)


def check_key(history: History, key: int, vids: list[int], found: Findings) -> None:
    """Walk a log in offset order."""
    last: dict[int, int] = {}
    for vid in dict.fromkeys(vids):
        op = history.v_op[vid]
        producer = UNKNOWN if op == UNKNOWN else history.producer[op]
        if producer == UNKNOWN:
            continue
        before = last.get(producer)
        last[producer] = vid
        if before is None:
            continue
        other = history.v_op[before]
        epoch, was = history.epoch[op], history.epoch[other]
        if epoch < was:
            words = "{} has a record of producer {} of epoch {} after one of epoch {}"
            found.add("fenced-ack", [other, op], words, history.keys[key], producer, epoch, was)
        elif epoch == was and not follows(history.v_seq[before], history.v_seq[vid]):
            words = "{} has sequence {} of producer {} after sequence {}"
            told = history.keys[key], history.v_seq[vid], producer, history.v_seq[before]
            found.add("sequence-order", [other, op], words, *told)


def follows(before: int, after: int) -> bool:
    """Say whether a sequence may come (at once or later) after another; unknown ones may."""
    if UNKNOWN in (before, after):
        return True
    return 0 < (after - before) % SEQUENCES < SEQUENCES // 2


def check_fencing(history: History, found: Findings) -> None:
    """Find transactions that were committed although a newer epoch had been at work before they began."""
    by_producer: dict[int, list[int]] = {}
    for op, producer in enumerate(history.producer):
        if producer != UNKNOWN and history.outcome[op] == OK:
            by_producer.setdefault(producer, []).append(op)
    for producer, ops in by_producer.items():
        if len({history.epoch[op] for op in ops}) == 1:
            continue
        ended = sorted(ops, key=history.end.__getitem__, reverse=True)
        newest = UNKNOWN
        for op in ops:
            while ended and history.end[ended[-1]] < history.begin[op]:
                other = ended.pop()
                if newest == UNKNOWN or history.epoch[newest] < history.epoch[other]:
                    newest = other
            if history.f[op] == "txn" and newest != UNKNOWN and history.epoch[op] < history.epoch[newest]:
                words = "producer {} committed with epoch {} after epoch {} had been at work"
                found.add(
                    "fenced-ack", [newest, op], words, producer, history.epoch[op], history.epoch[newest]
                )
