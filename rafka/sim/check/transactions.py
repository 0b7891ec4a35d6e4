"""Are transactions isolated? Dependencies between them, and cycles of dependencies, as Elle finds them.

Offsets are the version order, so dependencies are known and not guessed: ww from each writer of a log to the next, wr
from a writer to whoever's highest read is its value, rw from a reader to the writer of what comes after its highest
read. Lists that are read whole work alike, an index standing for an offset. Process order and real time are part
of the graph too, but only where cycles can be (graph.py).

In a log, polls promise no snapshot, and writes of transactions may interleave: only G1c without ww counts there.
"""

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise, repeat
from operator import eq
from typing import Final

import attrs

from rafka.sim.check.graph import (
    KINDS,
    PROCESS,
    REALTIME,
    RW,
    WR,
    WW,
    Cycle,
    Edges,
    Kind,
    any_kind_of,
    components,
    find_cycle,
    some_cycle,
    stretches,
    untangled,
    with_variants,
)
from rafka.sim.check.history import NEVER, OK, UNKNOWN, History
from rafka.sim.check.orders import Orders
from rafka.sim.check.report import Findings, say_op

LEVELS: Final = {
    "read-uncommitted": ("G0",),
    "read-committed": ("G0", "G1a", "G1b", "G1c"),
    "snapshot-isolation": ("G0", "G1a", "G1b", "G1c", "G-single", "G-nonadjacent"),
    "serializable": ("G0", "G1a", "G1b", "G1c", "G-single", "G-nonadjacent", "G2"),
}
"""What each level of isolation forbids."""
PREFIXES: Final = {"": (), "strong-session-": ("-process",), "strict-": ("-process", "-realtime")}
ISOLATIONS: Final = tuple(prefix + level for level in LEVELS for prefix in PREFIXES)
"""Levels by name; `strong-session-` forbids cycles with process order as well, `strict-` those with real time too."""
WORDS: Final = {
    WW: "wrote before",
    WR: "was read by",
    RW: "read what was overwritten by",
    PROCESS: "came, in its process, before",
    REALTIME: "had ended before the beginning of",
}


UNREAD: Final = 64
"""Appends to one list that nobody read, of which dependencies are taken."""
Unread = dict[int, list[int]]
"""key → operations."""


@attrs.define(eq=False)
class Dependencies:
    """Edges between operations, as parallel lists: from, to, and the kind.

    Some may be to or from nobody, UNKNOWN, or from an operation to itself: they say nothing, and it takes less time to
    step over them than to sort them out.
    """

    sources: list[int] = attrs.field(factory=list)
    targets: list[int] = attrs.field(factory=list)
    kinds: list[int] = attrs.field(factory=list)

    def add(self, sources: list[int], targets: list[int], kind: int) -> None:
        """Take edges of a kind."""
        self.sources += sources
        self.targets += targets
        self.kinds += [kind] * len(sources)


def forbidden_by(isolation: str) -> frozenset[str]:
    """Give the names of the anomalies that a level of isolation forbids."""
    prefix = next(p for p in sorted(PREFIXES, key=len, reverse=True) if isolation.startswith(p))
    plain = LEVELS[isolation.removeprefix(prefix)]
    return frozenset(name + suffix for name in plain for suffix in ("", *PREFIXES[prefix]))


def check_transactions(history: History, orders: Orders, found: Findings, isolation: str) -> None:
    """Judge transactions by a level of isolation."""
    forbidden = forbidden_by(isolation)
    edges = Dependencies()
    write_edges(history, orders, edges)
    read_edges(history, orders, edges)
    found.stats["transactions"] = sum(orders.happened)
    found.stats["versions"] = sum(map(len, orders.logs))
    found.stats["reads"] = edges.kinds.count(WR)
    name_cycles(history, edges, with_variants(KINDS), found, forbidden)


def check_log_cycles(history: History, orders: Orders, found: Findings) -> None:
    """Judge transactions by what a log promises: G1c of reads alone is forbidden; G0 is told, and allowed."""
    if "txn" not in history.f:
        return
    edges = Dependencies()
    every_read_edge(history, orders, edges)
    kinds = [kind for kind in with_variants(KINDS) if kind.name.startswith("G1c")]
    name_cycles(history, edges, kinds, found, frozenset(kind.name for kind in kinds))
    writes = Dependencies()
    write_edges(history, orders, writes)
    name_cycles(history, writes, KINDS[:1], found, frozenset())


def write_edges(history: History, orders: Orders, edges: Dependencies) -> None:
    """Add ww: from each writer of a log to the next."""
    values = len(history.v_op)
    writers = [*history.v_op, UNKNOWN]
    edges.add(history.v_op, list(map(writers.__getitem__, orders.after[:values])), WW)
    for key in orders.doubled:
        ops = list(map(history.v_op.__getitem__, orders.vids[key]))
        edges.add(ops[:-1], ops[1:], WW)
    if history.lists:
        for key, unread in unread_appends(history, orders).items():
            if orders.vids[key]:
                edges.add([history.v_op[orders.vids[key][-1]]] * len(unread), unread, WW)


def read_edges(history: History, orders: Orders, edges: Dependencies) -> None:
    """Add wr and rw, for the highest that each operation read of each key."""
    values = len(history.v_op)
    readers, segments = highest_reads(history, orders)
    keys = list(map(history.s_key.__getitem__, segments))
    if orders.conflicts or orders.doubled:
        read_edges_by_place(history, orders, edges, readers, segments)
    else:
        tops = [
            vids[0] if len(vids) == 1 else vids[offsets.index(max(offsets))] if vids else values + key
            for vids, offsets, key in zip(
                map(history.s_vids.__getitem__, segments),
                map(history.s_offsets.__getitem__, segments),
                keys,
                strict=True,
            )
        ]
        writers = [*history.v_op, *repeat(UNKNOWN, len(history.keys) + 1)]
        edges.add(list(map(writers.__getitem__, tops)), readers, WR)
        edges.add(readers, list(map(writers.__getitem__, map(orders.after.__getitem__, tops))), RW)
    if history.lists and (unread := unread_appends(history, orders)):
        unordered_edges(history, orders, edges, zip(readers, keys, segments, strict=True), unread)


def highest_reads(history: History, orders: Orders) -> tuple[list[int], list[int]]:
    """Give who read, and the segment with the highest that it read, for every key that an operation read."""
    readers, segments = history.s_op, list(range(len(history.s_op)))
    if not all(orders.happened):
        segments = [segment for segment, op in enumerate(readers) if orders.happened[op]]
        readers = list(map(history.s_op.__getitem__, segments))
    # An operation's segments are side by side.
    if any(map(eq, readers, islice(readers, 1, None))):
        highest: dict[int, int] = {}
        keys = len(history.keys)
        for op, segment in zip(readers, segments, strict=True):
            place = op * keys + history.s_key[segment]
            other = highest.setdefault(place, segment)
            if other != segment and top_of(history, segment) > top_of(history, other):
                highest[place] = segment
        segments = list(highest.values())
        readers = list(map(history.s_op.__getitem__, segments))
    return readers, segments


def top_of(history: History, segment: int) -> int:
    """Give the highest offset of a segment; UNKNOWN if it has none."""
    return max(history.s_offsets[segment], default=UNKNOWN)


def read_edges_by_place(
    history: History, orders: Orders, edges: Dependencies, readers: list[int], segments: list[int]
) -> None:
    """Add wr and rw where a value does not tell its place: by the offset of the highest read."""
    # Beyond both ends of every log is nobody; index -1 is the last, so that one end serves both.
    writers = [[*map(history.v_op.__getitem__, vids), UNKNOWN] for vids in orders.vids]
    before, after = [], []
    for segment in segments:
        key, top = history.s_key[segment], top_of(history, segment)
        place = UNKNOWN if top == UNKNOWN else orders.place[key][top]
        before.append(writers[key][place])
        after.append(writers[key][place + 1])
    edges.add(before, readers, WR)
    edges.add(readers, after, RW)


def unordered_edges(
    history: History,
    orders: Orders,
    edges: Dependencies,
    reads: Iterable[tuple[int, int, int]],
    unread: Unread,
) -> None:
    """Add rw from who read all that anybody read of a list to those whose appends to it nobody read.

    reads: reader, key and segment.
    """
    for op, key, segment in reads:
        ops = unread.get(key)
        if ops and len(history.s_vids[segment]) == len(orders.vids[key]):
            edges.add([op] * len(ops), ops, RW)


def unread_appends(history: History, orders: Orders) -> Unread:
    """Find who appended to lists what nobody read: it comes after all that was read."""
    unread: Unread = {}
    for op, vids in enumerate(history.sends):
        if orders.happened[op]:
            for vid in vids:
                if orders.index[vid] == UNKNOWN:
                    ops = unread.setdefault(history.v_key[vid], [])
                    if op not in ops and len(ops) < UNREAD:
                        ops.append(op)
    return unread


def every_read_edge(history: History, orders: Orders, edges: Dependencies) -> None:
    """Add wr from every writer that an operation read from, unless it read what was not yet sent: that is told."""
    writer = history.v_op.__getitem__
    early = set(history.early)
    for op, vids in zip(history.s_op, history.s_vids, strict=True):
        if orders.happened[op]:
            known = vids if early.isdisjoint(vids) else [vid for vid in vids if vid not in early]
            writers = list(dict.fromkeys(map(writer, known)))
            edges.add(writers, [op] * len(writers), WR)


# Cycles.


def name_cycles(
    history: History, edges: Dependencies, kinds: Sequence[Kind], found: Findings, forbidden: frozenset[str]
) -> None:
    """Find the cycles of dependencies, process order and real time, and name the least tolerable of each component."""
    ends = history.end
    if history.outcome.count(OK) < len(ends):
        ends = [end if history.outcome[op] == OK else NEVER + op for op, end in enumerate(ends)]
    by_position, back = untangled(history.begin, ends, edges.sources, edges.targets)
    if not back:
        return
    positions = [0] * len(by_position)
    for place, op in enumerate(by_position):
        positions[op] = place
    spans = stretches((positions[source], positions[target]) for source, target in back)
    ops_of = [by_position[first : last + 1] for first, last in spans]
    stretch = {op: number for number, ops in enumerate(ops_of) for op in ops}
    graphs: list[Edges] = [{} for _ in spans]
    for place in [place for place, source in enumerate(edges.sources) if source in stretch]:
        source, target = edges.sources[place], edges.targets[place]
        if source != target and stretch.get(target) == stretch[source]:
            heads = graphs[stretch[source]].setdefault(source, {})
            heads[target] = heads.get(target, 0) | edges.kinds[place]
    timely = any(kind.also for kind in kinds)
    for graph, ops in zip(graphs, ops_of, strict=True):
        if timely:
            add_time(history, graph, ops)
        for members in components_of(graph, ops):
            name_component(history, restrict(graph, members), kinds, found, forbidden)


def add_time(history: History, graph: Edges, ops: list[int]) -> None:
    """Add process order and real time among the given operations, without what follows from the rest.

    A frontier holds the operations that have ended and that no later one has ended after beginning beyond them.
    """
    moments = [(history.begin[op], 0, op) for op in ops]
    moments += [(history.end[op], 1, op) for op in ops if history.outcome[op] == OK]
    moments.sort()
    frontier: list[int] = []
    before: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    for _, ended, op in moments:
        if not ended:
            before[op] = frontier
            for other in frontier:
                heads = graph.setdefault(other, {})
                heads[op] = heads.get(op, 0) | REALTIME
            if (other := last.get(history.process[op], UNKNOWN)) != UNKNOWN:
                heads = graph.setdefault(other, {})
                heads[op] = heads.get(op, 0) | PROCESS
        else:
            implied = set(before[op])
            frontier = [other for other in frontier if other not in implied]
            frontier.append(op)
            last[history.process[op]] = op


def components_of(graph: Edges, ops: list[int]) -> list[list[int]]:
    """Give the strongly connected components of a stretch."""
    number = {op: place for place, op in enumerate(ops)}
    sources, targets = [], []
    for source, heads in graph.items():
        sources += [number[source]] * len(heads)
        targets += [number[head] for head in heads]
    return [[ops[node] for node in members] for members in components(len(ops), sources, targets)]


def restrict(graph: Edges, members: list[int]) -> Edges:
    """Give the part of a graph between some nodes."""
    inside = set(members)
    return {
        node: {head: mask for head, mask in graph[node].items() if head in inside}
        for node in sorted(members)
        if node in graph
    }


def name_component(
    history: History, graph: Edges, kinds: Sequence[Kind], found: Findings, forbidden: frozenset[str]
) -> None:
    """Name the least tolerable cycle; and one of process order or real time only if it is less tolerable yet."""
    reached = len(KINDS)
    for suffix in ("", "-process", "-realtime"):
        for rank, base in enumerate(KINDS[:reached]):
            kind = next((kind for kind in kinds if kind.name == base.name + suffix), None)
            cycle = find_cycle(kind, graph) if kind is not None else None
            if cycle is not None:
                reached = rank
                add_cycle(history, cycle, base.name + suffix, found, forbidden)
                break
    if reached == len(KINDS):
        # There is a cycle, but the search did not get to the kinds asked for.
        cycle = some_cycle(graph)
        if any(kind.name == any_kind_of(cycle) for kind in kinds):
            add_cycle(history, cycle, any_kind_of(cycle), found, forbidden)


def add_cycle(history: History, cycle: Cycle, name: str, found: Findings, forbidden: frozenset[str]) -> None:
    """Report a cycle."""
    ops = [op for op, _ in cycle]
    found.add(name, ops, "{}", say_cycle(history, cycle), allowed=name not in forbidden)


def say_cycle(history: History, cycle: Cycle) -> str:
    """Put a cycle into words."""
    names = [f"T{place}" for place in range(1, len(cycle) + 1)]
    steps = [
        f"{name} {WORDS[bit]} {after}"
        for (name, after), (_, bit) in zip(pairwise([*names, names[0]]), cycle, strict=True)
    ]
    said = [f"{name} = {say_op(history, op)}" for name, (op, _) in zip(names, cycle, strict=True)]
    return "; ".join(["but ".join([", ".join(steps[:-1]) + ", ", steps[-1]]), *said])
