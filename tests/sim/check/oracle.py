"""The definitions once more, word by word and without a thought for time: what the fast checkers must agree with."""

from itertools import combinations, pairwise, permutations


class Op:
    """An invocation and its completion, from events; end is None if nobody knows when it ended."""

    def __init__(self, line, invoke, done, end):
        self.begin, self.process, self.f = line, invoke["process"], invoke["f"]
        self.type = done["type"] if done else "info"
        self.end = end if self.type != "info" else None
        told = (done or {}).get("value")
        self.sends = [(m[1], m[2]) for m in invoke["value"] or [] if m[0] == "send"]
        self.offsets = {}
        self.reads = []
        for mop in told or []:
            if mop[0] == "send" and isinstance(mop[2], list) and mop[2][0] is not None:
                self.offsets[mop[1], mop[2][1]] = mop[2][0]
            if mop[0] == "poll" and len(mop) == 2:
                self.reads += [(key, o, v) for key, pairs in mop[1].items() for o, v in pairs]

    def read_of(self, key):
        return [(o, v) for k, o, v in self.reads if k == key]


def ops_of(events):
    ops, waiting = [], {}
    for line, event in enumerate(events, 1):
        if event["type"] == "invoke":
            waiting[event["process"]] = (line, event, len(ops))
            ops.append(Op(line, event, None, None))
        else:
            begin, invoke, place = waiting.pop(event["process"])
            ops[place] = Op(begin, invoke, event, line)
    return ops


def log_anomalies(events):
    """The names of the anomalies of sends and polls; if offsets are in conflict, only what does not need an order."""
    ops = ops_of(events)
    names = set()
    ok_reads = {(k, v) for op in ops if op.type == "ok" for k, _, v in op.reads}
    reads = {(k, v) for op in ops for k, _, v in op.reads}
    writer = {send: op for op in ops for send in op.sends}
    happened = {op for op in ops if op.type == "ok" or (op.type == "info" and ok_reads & set(op.sends))}
    log = {}
    for op in ops:
        for key, offset, v in op.reads:
            log.setdefault((key, offset), set()).add(v)
        for (key, v), offset in op.offsets.items():
            if op in happened:
                log.setdefault((key, offset), set()).add(v)
    places = {}
    for (key, offset), values in log.items():
        if len(values) > 1:
            names.add("inconsistent-offsets")
        for v in values:
            places.setdefault((key, v), set()).add(offset)
    if any(len(offsets) > 1 for offsets in places.values()):
        names.add("duplicate")
    for op in ops:
        for key, _, v in op.reads:
            of = writer.get((key, v))
            if of is None or (op.end is not None and of.begin > op.end):
                names.add("unwritten-read")
            if (key, v) in op.sends:
                names.add("precommitted-read")
            if op.type == "ok" and of is not None and of.type == "fail":
                names.add("G1a")
    if names & {"inconsistent-offsets", "duplicate"}:
        return names, False
    index = {}
    for key in {key for key, _ in log}:
        for place, offset in enumerate(sorted(o for k, o in log if k == key)):
            (v,) = log[key, offset]
            index[key, v] = place
    names |= losses(ops, ok_reads, reads, happened, index)
    names |= walks(ops, index) | orders(ops, happened, index)
    return names, True


def losses(ops, ok_reads, reads, happened, index):
    names = set()
    for op in ops:
        for key, v in op.sends:
            if (key, v) in reads:
                continue
            bound = max((index[k, w] for k, w in ok_reads if k == key), default=-1)
            if op in happened and (key, v) in index and index[key, v] <= bound:
                names.add("lost-write")
            elif op.type == "ok":
                names.add("unseen")
            elif op in happened and op.f == "txn" and op.type == "info":
                names.add("torn-transaction")
    return names


def walks(ops, index):
    names = set()
    for process in {op.process for op in ops}:
        last = {}
        for op in (op for op in ops if op.process == process):
            for key in {key for key, _, _ in op.reads}:
                path = [index[key, v] for _, v in op.read_of(key)]
                for a, b in pairwise(path):
                    names |= (
                        {"int-poll-skip"} if b > a + 1 else {"int-nonmonotonic-poll"} if b <= a else set()
                    )
                if key in last:
                    a, b = last[key], path[0]
                    names |= {"poll-skip"} if b > a + 1 else {"nonmonotonic-poll"} if b <= a else set()
                if op.type == "ok":
                    last[key] = path[-1]
    return names


def orders(ops, happened, index):
    names = set()
    for a, b in permutations(ops, 2):
        for (key, v), (other, w) in ((s, t) for s in a.sends for t in b.sends):
            if (
                (
                    key == other
                    and (key, v) in index
                    and (key, w) in index
                    and a.type == "ok"
                    and a.end < b.begin
                )
                and index[key, w] < index[key, v]
                and a.process != b.process
            ):
                names.add("realtime-order")
    for process in {op.process for op in ops}:
        mine = [op for op in ops if op.process == process and op in happened]
        for key in {key for op in mine for key, _ in op.sends}:
            senders = [op for op in mine if any(k == key for k, _ in op.sends)]
            for a, b in pairwise(senders):
                v, w = [v for k, v in a.sends if k == key][-1], next(w for k, w in b.sends if k == key)
                if (key, v) in index and (key, w) in index and index[key, w] <= index[key, v]:
                    names.add("nonmonotonic-send")
            for op in senders:
                path = [index.get((key, v)) for k, v in op.sends if k == key]
                for a, b in pairwise(path):
                    if a is not None and b is not None:
                        names |= {"int-send-skip"} if b > a + 1 else set()
                        names |= {"int-nonmonotonic-send"} if b <= a else set()
    return names


def linearizable(calls, step, start):
    """Try every order of every subset that holds all operations with an answer.

    calls: (begin, end or None, asked, told); step(state, asked, told) → the next state, or None if it cannot be.
    """
    optional = [c for c in calls if c[1] is None]
    must = [c for c in calls if c[1] is not None]
    for count in range(len(optional) + 1):
        for extra in combinations(optional, count):
            for order in permutations([*must, *extra]):
                if respects(order) and runs(order, step, start):
                    return True
    return False


def respects(order):
    return all(
        not (b[1] is not None and b[1] < a[0]) for place, a in enumerate(order) for b in order[place + 1 :]
    )


def runs(order, step, state):
    for _, _, asked, told in order:
        state = step(state, asked, told)
        if state is None:
            return False
    return True


# Cycles of dependencies: all of them, by walking every way.

RANK = ["G0", "G1c", "G-single", "G-nonadjacent", "G2"]


def cycle_names(history, dependencies):
    """What must be named: per component, the least tolerable cycle, and one of time if it is less tolerable yet."""
    edges = {}
    for a, b, kind in zip(dependencies.sources, dependencies.targets, dependencies.kinds, strict=True):
        if a != b and -1 not in (a, b):
            edges.setdefault((a, b), set()).add(kind)
    ops = range(len(history.f))
    for a, b in permutations(ops, 2):
        if history.outcome[a] == 0 and history.end[a] < history.begin[b]:
            edges.setdefault((a, b), set()).add(16)
            if history.process[a] == history.process[b]:
                edges[a, b].add(8)
    names = set()
    for members in components_by_reach(ops, edges):
        least = dict.fromkeys(("", "-process", "-realtime"), len(RANK))
        for kinds in cycles_within(members, edges):
            base, suffix = name_of(kinds)
            least[suffix] = min(least[suffix], RANK.index(base))
        reached = len(RANK)
        for suffix, rank in least.items():
            if rank < reached:
                reached = rank
                names.add(RANK[rank] + suffix)
    return names


def components_by_reach(ops, edges):
    reach = {n: {b for a, b in edges if a == n} for n in ops}
    for _ in ops:
        for n in ops:
            reach[n] |= {far for near in reach[n] for far in reach[near]}
    found = {frozenset(m for m in ops if m in reach[n] and n in reach[m]) for n in ops}
    return [each for each in found if len(each) > 1]


def cycles_within(members, edges):
    """The kinds along every simple cycle, with every choice where an edge has several."""
    for start in members:
        ways = [([start], ())]
        while ways:
            nodes, kinds = ways.pop()
            for kind in [(b, k) for (a, b), all_ in edges.items() if a == nodes[-1] for k in all_]:
                if kind[0] == start:
                    yield (*kinds, kind[1])
                elif kind[0] in members and kind[0] > start and kind[0] not in nodes:
                    ways.append(([*nodes, kind[0]], (*kinds, kind[1])))


def name_of(kinds):
    anti = kinds.count(4)
    suffix = "-realtime" if 16 in kinds else "-process" if 8 in kinds else ""
    if anti == 0:
        return ("G1c" if 2 in kinds else "G0"), suffix
    if anti == 1:
        return "G-single", suffix
    apart = all(not (a == b == 4) for a, b in zip(kinds, [*kinds[1:], kinds[0]], strict=True))
    return ("G-nonadjacent" if apart else "G2"), suffix
