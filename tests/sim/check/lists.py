"""Transactions over lists: valid histories from a seed, and the least ones that show each kind of cycle."""

from random import Random


class Lists:
    """Clients of a strictly serializable store of lists: a transaction takes effect at one instant."""

    def __init__(self, seed, *, steps=60, processes=4, keys=3):
        self.random = Random(seed)
        self.store = {f"k{n}": [] for n in range(keys)}
        self.events = []
        self.value = 0
        doing = {}
        for _ in range(steps):
            process = self.random.randrange(processes)
            if process not in doing:
                doing[process] = self.transact(process)
            if next(doing[process], None) is None:
                del doing[process]
        for rest in doing.values():
            for _ in rest:
                pass
        everything = [["r", key, None] for key in self.store]
        self.note(99, "invoke", everything)
        self.note(99, "ok", [["r", key, list(values)] for key, values in self.store.items()])

    def note(self, process, kind, value):
        self.events.append({"process": process, "type": kind, "f": "txn", "value": value})

    def transact(self, process):
        mops = []
        for _ in range(self.random.randrange(1, 4)):
            key = self.random.choice(list(self.store))
            if self.random.random() < 0.5:
                self.value += 1
                mops.append(["append", key, self.value])
            else:
                mops.append(["r", key, None])
        self.note(process, "invoke", mops)
        yield True
        fate = self.random.choice(["ok"] * 8 + ["fail", "info", "info"])
        told = []
        for kind, key, value in mops:
            if kind == "append" and fate != "fail":
                self.store[key].append(value)
            told.append([kind, key, value if kind == "append" else list(self.store[key])])
        yield True
        self.note(process, fate, told if fate == "ok" else mops)


def read(key, *values):
    return ["r", key, list(values)]


def write(key, value):
    return ["append", key, value]


def asked(mops):
    return [[kind, key, None if kind == "r" else value] for kind, key, value in mops]


def beside(*transactions):
    """All at the same time, each by a process of its own."""
    events = [txn(50 + n, "invoke", asked(mops)) for n, mops in enumerate(transactions)]
    return events + [txn(50 + n, "ok", mops) for n, mops in enumerate(transactions)]


def around(others, first, second, *, process):
    """`first`, then `second`, by one process or by two; the others are under way all the time."""
    ids = (40, 40) if process else (40, 41)
    events = [txn(50 + n, "invoke", asked(mops)) for n, mops in enumerate(others)]
    for by, mops in zip(ids, (first, second), strict=True):
        events += [txn(by, "invoke", asked(mops)), txn(by, "ok", mops)]
    return events + [txn(50 + n, "ok", mops) for n, mops in enumerate(others)]


def txn(process, kind, value):
    return {"process": process, "type": kind, "f": "txn", "value": value}


def final(*reads):
    """A last look, which tells in what order things came."""
    return [txn(98, "invoke", asked(reads)), txn(98, "ok", list(reads))]


PLAIN = {
    "G0": beside([write("x", 1), write("y", 1)], [write("x", 2), write("y", 2)])
    + final(read("x", 1, 2), read("y", 2, 1)),
    "G1c": beside([write("x", 1), read("y", 1)], [write("y", 1), read("x", 1)]),
    "G-single": beside([write("x", 1), write("y", 1)], [read("x", 1), read("y")]) + final(read("y", 1)),
    "G-nonadjacent": beside(
        [write("x", 1)], [read("x", 1), read("y")], [write("y", 1)], [read("y", 1), read("x")]
    ),
    "G2": beside([write("x", 1), read("y")], [write("y", 1), read("x")]) + final(read("x", 1), read("y", 1)),
}
"""A cycle of each kind, by itself, all of it at the same time."""

TIMED = {
    "G0": ([], [write("x", 1)], [write("x", 2)], final(read("x", 2, 1))),
    "G1c": ([[read("x", 1), write("y", 1)]], [read("y", 1)], [write("x", 1)], []),
    "G-single": ([], [write("x", 1)], [read("x")], final(read("x", 1))),
    "G-nonadjacent": (
        [[read("x"), read("z", 1)], [write("z", 1)]],
        [write("x", 1)],
        [read("z")],
        final(read("x", 1)),
    ),
    "G2": ([[write("y", 1), read("x")]], [write("x", 1)], [read("y")], final(read("x", 1), read("y", 1))),
}
"""(what is under way, what comes first, what comes second, a last look): a cycle with one edge of time."""

CYCLES = dict(PLAIN)
for _name, (_others, _first, _second, _last) in TIMED.items():
    CYCLES[f"{_name}-process"] = around(_others, _first, _second, process=True) + _last
    CYCLES[f"{_name}-realtime"] = around(_others, _first, _second, process=False) + _last

OTHER = {
    "G1a": [txn(50, "invoke", [write("x", 1)]), txn(50, "fail", None), *final(read("x", 1))],
    "G1b": beside([write("x", 1), write("x", 2)], [read("x", 1)])
    + beside([write("x", 3)])
    + final(read("x", 1, 2, 3)),
    "internal": beside([write("x", 1), read("x")]) + final(read("x", 1)),
    "unwritten-read": final(read("x", 1)),
    "duplicate": beside([write("x", 1)]) + final(read("x", 1, 1)),
}
"""What is wrong without a cycle (an intermediate read, G1b, is a G-single as well)."""
