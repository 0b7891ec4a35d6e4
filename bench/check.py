"""What judging a history costs: reading it, logs, transactions, objects.

    python bench/check.py [--scale 1.0]

Prints the best of three runs by processor time (others may be at work), for proportion, not for promises. A record
is one value sent or one value read.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from functools import partial
from random import Random
from time import process_time
from typing import Any

from rafka.sim.check.history import History
from rafka.sim.check.linear import gather, holds, search, witnesses
from rafka.sim.check.log import check_log
from rafka.sim.check.models import MODELS
from rafka.sim.check.orders import order_logs
from rafka.sim.check.reader import Reader, read
from rafka.sim.check.report import Findings
from rafka.sim.check.transactions import check_transactions

Event = dict[str, Any]


def best(call: Callable[[], object], runs: int = 3) -> float:
    """Processor seconds of the fastest of some runs."""
    times = []
    for _ in range(runs):
        gc.collect()
        start = process_time()
        call()
        times.append(process_time() - start)
    return min(times)


def history_of(events: list[Event]) -> History:
    reader = Reader()
    for line, event in enumerate(events, 1):
        reader.take(event, line)
    return reader.finish(len(events))


def overlapping(random: Random, count: int, processes: int, begin, take) -> list[Event]:
    """Operations of several processes, each taking effect at an instant between its two ends."""
    events: list[Event] = []
    doing: dict[int, tuple[str, Any]] = {}
    effect: dict[int, Any] = {}
    begun = 0
    while begun < count or doing:
        process = random.randrange(processes)
        if process in effect:
            f, value = effect.pop(process)
            del doing[process]
            events.append({"process": process, "type": "ok", "f": f, "value": value})
        elif process in doing:
            effect[process] = take(process, *doing[process])
        elif begun < count:
            begun += 1
            doing[process] = begin(process)
            f, value = doing[process]
            events.append({"process": process, "type": "invoke", "f": f, "value": value})
    return events


def log_events(sends: int, per_send: int, per_poll: int, keys: int = 8, consumers: int = 3) -> list[Event]:
    """Four producers, then every consumer reads everything."""
    random = Random(1)
    logs: list[list[list[Any]]] = [[] for _ in range(keys)]
    counter = iter(range(1 << 60))

    def begin(process: int) -> tuple[str, Any]:
        key = random.randrange(keys)
        return "send", [["send", f"orders-{key}", f"v{next(counter)}"] for _ in range(per_send)]

    def take(process: int, f: str, mops: list[Any]) -> tuple[str, Any]:
        log = logs[int(mops[0][1][7:])]
        told = []
        for _, key, value in mops:
            log.append([len(log), value])
            told.append(["send", key, [len(log) - 1, value]])
        return f, told

    events = overlapping(random, sends // per_send, 4, begin, take)
    for consumer in range(10, 10 + consumers):
        for key, log in enumerate(logs):
            for first in range(0, len(log), per_poll):
                got = [["poll", {f"orders-{key}": log[first : first + per_poll]}]]
                events.append({"process": consumer, "type": "invoke", "f": "poll", "value": [["poll"]]})
                events.append({"process": consumer, "type": "ok", "f": "poll", "value": got})
    return events


def txn_events(
    count: int, processes: int, marker: int = 0, stale: float = 0.0, keys: int = 64
) -> list[Event]:
    """Serializable transactions: each reads the end of one log and writes to another.

    marker: offsets that each leaves free after what it wrote, as Kafka's do; stale: the share of those that read one
    record less than they should.
    """
    random = Random(2)
    logs: list[list[int]] = [[] for _ in range(keys)]
    counter = iter(range(1 << 60))

    def begin(process: int) -> tuple[str, Any]:
        return "txn", [["poll"], ["send", str(random.randrange(keys)), next(counter)]]

    def take(process: int, f: str, mops: list[Any]) -> tuple[str, Any]:
        key, value = mops[1][1:]
        source = random.randrange(keys)
        log = logs[source]
        end = len(log) - (stale > 0 and random.random() < stale)
        got = {str(source): [[(end - 1) * (1 + marker), log[end - 1]]]} if end > 0 else {}
        logs[int(key)].append(value)
        return f, [["poll", got], ["send", key, [(len(logs[int(key)]) - 1) * (1 + marker), value]]]

    return overlapping(random, count, processes, begin, take)


def register_events(count: int, processes: int) -> list[Event]:
    random = Random(3)
    state: list[Any] = [None]
    counter = iter(range(1 << 60))

    def begin(process: int) -> tuple[str, Any]:
        return random.choice([("read", None), ("write", next(counter))])

    def take(process: int, f: str, value: Any) -> tuple[str, Any]:
        if f == "write":
            state[0] = value
        return f, state[0] if f == "read" else None

    return overlapping(random, count, processes, begin, take)


def logs(scale: float) -> None:
    for per_send, per_poll in ((1, 1), (1, 20), (1, 500), (10, 100)):
        sends = 300_000 if per_poll > 1 else 75_000
        events = log_events(int(sends * scale), per_send, per_poll)
        text = [json.dumps(event, separators=(",", ":")) for event in events]
        del events
        size = sum(map(len, text)) / 1e6
        reading = best(partial(read, text), 1)
        history = read(text)
        lines = len(text)
        text.clear()
        found = Findings()
        checking = best(partial(check_log, history, found))
        assert found.valid, found.violations
        records = found.stats["sends"] + found.stats["records read"]
        print(
            f"log, {per_send} a send, {per_poll:3} a poll: {records:,} records in {checking:.2f} s, "
            f"{records / checking / 1e6:.2f} M records/s; reading {lines:,} lines, {size:.0f} MB: {reading:.2f} s, "
            f"{records / reading / 1e6:.2f} M records/s"
        )


def transactions(scale: float) -> None:
    count = int(200_000 * scale)
    for processes, marker, stale in (
        (1, 0, 0.0),
        (5, 0, 0.0),
        (10, 0, 0.0),
        (20, 0, 0.0),
        (10, 1, 0.0),
        (10, 1, 1e-4),
    ):
        history = history_of(txn_events(count, processes, marker, stale))
        ordering = best(partial(order_logs, history))
        # Orders work out what follows from them when it is asked for, so each run needs its own.
        fresh = [order_logs(history) for _ in range(3)]
        found = Findings()
        checking = best(
            lambda fresh=fresh, history=history, found=found: check_transactions(
                history, fresh.pop(), found, "strict-serializable"
            )
        )
        assert found.valid or stale, found.violations
        print(
            f"transactions, {processes:2} at a time: {count:,} with {found.stats['reads']:,} reads"
            f"{', with markers' if marker else ''}, {len(found.violations)} kinds of violation: "
            f"{ordering:.2f} s order, {checking:.2f} s cycles, {count / (ordering + checking) / 1e3:.0f} k/s"
        )


def objects(scale: float) -> None:
    for processes in (2, 5, 10):
        count = int(20_000 * scale)
        history = history_of(register_events(count, processes))
        operations = gather(history, MODELS["register"], history.calls[""])
        taken = best(partial(search, operations), 1)
        answer = search(operations)
        assert answer.linearizable, "it is, by construction"
        print(
            f"register, {processes:2} at a time: {count:,} operations in {taken:.2f} s, "
            f"{count / taken / 1e3:.0f} k/s, {answer.states:,} states"
        )
    history = history_of(register_events(int(100_000 * scale), 1))
    operations = gather(history, MODELS["register"], history.calls[""])
    taken = best(partial(holds, operations, witnesses(operations)[0]))
    print(f"register, witness order: {len(operations.ops) / taken / 1e6:.2f} M operations/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What judging a history costs.")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the histories")
    scale = parser.parse_args().scale
    logs(scale)
    transactions(scale)
    objects(scale)
