"""Valid histories from a seed: clients of perfect logs.

Each client does one thing at a time; an operation takes effect at one instant between its invocation and its
completion, so operations overlap as they like. Every offset that holds no record is the end of a transaction or what
is left of an attempt that failed.
"""

from random import Random

from rafka.sim.check.reader import Reader


class Log:
    """One partition: offset → value, with a hole for every transaction's end."""

    def __init__(self):
        self.records = []
        self.end = 0

    def append(self, value):
        self.records.append([self.end, value])
        self.end += 1
        return self.end - 1

    def mark(self):
        self.end += 1

    def after(self, offset, most):
        return [list(r) for r in self.records if r[0] >= offset][:most]


class World:
    """A run of clients: `writers` send, `readers` poll, commit and look at offsets, a processor copies exactly once."""

    def __init__(self, seed, *, keys=2, writers=2, readers=2, steps=60, plain=False):
        self.random = Random(seed)
        self.plain = plain
        """No transactions, no failures: logs without holes."""
        self.logs = {f"orders-{k}": Log() for k in range(keys)}
        self.events = []
        self.value = 0
        self.clients = [Writer(self, p) for p in range(writers)]
        self.clients += [Consumer(self, writers + r) for r in range(readers)]
        if not plain:
            self.logs["paid-0"] = Log()
            self.clients.append(Processor(self, writers + readers))
        for _ in range(steps):
            self.random.choice(self.clients).step()
        for client in self.clients:
            client.settle()
        for client in self.clients:
            client.drain()

    def note(self, process, kind, f, value=None, **fields):
        self.events.append({"process": process, "type": kind, "f": f, "value": value, **fields})

    def fresh(self):
        self.value += 1
        return self.value

    def fate(self):
        """How an operation ends: `ok`, `fail`, or `info` with or without effect."""
        return (
            "ok" if self.plain else self.random.choice(["ok"] * 8 + ["fail", "info", "info without effect"])
        )


class Client:
    def __init__(self, world, process):
        self.world = world
        self.process = process
        self.doing = None

    def note(self, *args, **fields):
        self.world.note(self.process, *args, **fields)

    def step(self):
        """Begin something, or go on with what was begun."""
        if self.doing is None:
            self.doing = self.begin()
        if next(self.doing, None) is None:
            self.doing = None

    def settle(self):
        while self.doing is not None:
            self.step()

    def drain(self):
        pass


class Writer(Client):
    """Sends one or two records, alone or as a transaction, with the sequences of an idempotent producer."""

    def __init__(self, world, process):
        super().__init__(world, process)
        self.sequences = {}

    def begin(self):
        random, world = self.world.random, self.world
        f = "txn" if not world.plain and random.random() < 0.4 else "send"
        keys = [k for k in world.logs if k.startswith("orders")]
        mops = []
        for _ in range(random.choice((1, 1, 2))):
            key = random.choice(keys)
            self.sequences[key] = self.sequences.get(key, -1) + 1
            mops.append(["send", key, world.fresh(), self.sequences[key]])
        self.note("invoke", f, mops, producer=[100 + self.process, 0])
        yield True
        fate = world.fate()
        placed = []
        for _, key, value, _ in mops:
            log = world.logs[key]
            if fate in ("ok", "info"):
                placed.append(["send", key, [log.append(value), value]])
            if f == "txn" or fate == "fail":
                log.mark()
        yield True
        self.note(fate.split()[0], f, placed if fate == "ok" else None)


class Consumer(Client):
    """Says what it reads, by assign or subscribe; polls; commits how far it got, and looks at what is there."""

    def __init__(self, world, process):
        super().__init__(world, process)
        self.positions = None
        self.committed = {}

    def begin(self):
        random, world = self.world.random, self.world
        if self.positions is None:
            self.positions = dict.fromkeys((k for k in world.logs if k.startswith("orders")), 0)
            how = random.choice(("assign", "subscribe"))
            self.note("invoke", how, ["orders-0", "orders-1"] if how == "assign" else ["orders"])
            yield True
            self.note("ok", how, ["orders-0", "orders-1"] if how == "assign" else ["orders"])
            return
        what = random.choice(("poll", "poll", "poll", "commit", "committed", "list-offsets"))
        yield from {"poll": self.poll, "commit": self.commit}.get(what, lambda: self.look(what))()

    def poll(self, most=None):
        self.note("invoke", "poll", [["poll"]])
        yield True
        got = {}
        for key in self.positions:
            records = self.world.logs[key].after(
                self.positions[key], most or self.world.random.randrange(1, 6)
            )
            if records:
                got[key] = records
                self.positions[key] = records[-1][0] + 1
        yield True
        self.note("ok", "poll", [["poll", got]])

    def commit(self):
        value = {"group": f"g{self.process}", "offsets": dict(self.positions)}
        self.note("invoke", "commit", value)
        yield True
        fate = self.world.fate()
        if fate in ("ok", "info"):
            self.committed = dict(self.positions)
        yield True
        self.note(fate.split()[0], "commit", value if fate == "ok" else None)

    def look(self, what):
        self.note("invoke", what)
        yield True
        offsets = {key: self.committed.get(key) for key in self.positions}
        ends = {key: self.world.logs[key].end for key in self.positions}
        yield True
        if what == "committed":
            self.note("ok", what, {"group": f"g{self.process}", "offsets": offsets})
        else:
            self.note(
                "ok", what, {key: {"start": 0, "stable": end, "high": end} for key, end in ends.items()}
            )

    def drain(self):
        for act in [] if self.positions else [self.begin]:
            self.doing = act()
            self.settle()
        self.doing = self.poll(1 << 30)
        self.settle()


class Processor(Client):
    """Reads orders-0 and writes paid-0, exactly once: poll, send and commit in one transaction."""

    position = 0

    def begin(self):
        world = self.world
        value = world.fresh()
        self.note("invoke", "txn", [["poll"], ["send", "paid-0", value]])
        yield True
        records = world.logs["orders-0"].after(self.position, world.random.randrange(1, 4))
        position = records[-1][0] + 1 if records else self.position
        fate = world.fate()
        polled = ["poll", {"orders-0": records} if records else {}]
        commit = ["commit", "payers", {"orders-0": position}]
        placed = value
        if fate in ("ok", "info"):
            placed = [world.logs["paid-0"].append(value), value]
            self.position = position
        world.logs["paid-0"].mark()
        yield True
        told = [polled, ["send", "paid-0", placed if fate == "ok" else value], commit]
        self.note(fate.split()[0], "txn", told if fate == "ok" else None)
        if fate.startswith("info"):
            # It asks where the group is, and goes on from there.
            yield True
            self.note("invoke", "seek", ["orders-0"])
            yield True
            self.note("ok", "seek", ["orders-0"])

    def drain(self):
        self.note("invoke", "poll", [["poll"]])
        self.note("ok", "poll", [["poll", {"paid-0": self.world.logs["paid-0"].after(0, 1 << 30)}]])


def history_of(events, **header):
    """The events as columns."""
    reader = Reader()
    for line, event in enumerate([{"history": 1, **header}, *events], 1):
        reader.take(event, line)
    return reader.finish(len(events) + 1)
