"""Cycles in big graphs of ints: where they can be, which nodes are in them, and a shortest one of a wanted kind.

A graph of a history is nearly acyclic, and mostly forward in time. So time decides first: nodes are put in an order in
which an edge goes back only if it is part of a cycle. A cycle must come back over every place between its first and
its last node, hence lies wholly within a stretch that backward edges cover. Only there are components looked for
(Tarjan's algorithm, iterative, over adjacency in two flat lists), and only within components are cycles named, by
breadth-first search.
"""

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import lt
from typing import Final

import attrs

WW: Final = 1
"""a wrote, then b overwrote."""
WR: Final = 2
"""b read what a wrote."""
RW: Final = 4
"""b overwrote what a read."""
PROCESS: Final = 8
"""a was before b in one process."""
REALTIME: Final = 16
"""a ended before b began."""

BITS: Final = (WW, WR, RW, PROCESS, REALTIME)
BITS_OF: Final = [[bit for bit in BITS if bit & mask] for mask in range(2 * REALTIME)]

FOREVER: Final = 1 << 63

VISITS: Final = 500_000
"""Edges that the search for one kind of cycle in one component may look at."""


def untangled(
    begins: Sequence[int], ends: Sequence[int], sources: Sequence[int], targets: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Put nodes in an order that agrees with real time, and in which edges go forward, but for some of a cycle's.

    begins, ends: by node, all different. An edge may be to or from no node, -1. Gives the order, and the edges that go
    back in it; nothing if there is no cycle, not even one with real time.

    Nodes come in the order in which they end, each after those that have an edge to it. One of these that ends
    later comes before its time, if it has begun: were it put off, so would be what waits for it. Edges between nodes
    that do not overlap are forward anyway, so only the others are looked at one by one.
    """
    # The number of no node is -1, the place of the last: it begins after everything, and has ended before.
    begin, end = [*begins, FOREVER], [*ends, -1]
    overlaps = list(map(lt, map(begin.__getitem__, targets), map(end.__getitem__, sources)))
    if True not in overlaps:
        return [], []
    # The edges to a node, each with the number of the one before: lists of its own would have to be looked after.
    last: dict[int, int] = {}
    earlier: list[int] = []
    waits_for = list(compress(sources, overlaps))
    late: dict[int, None] = {}
    for number, (source, target) in enumerate(zip(waits_for, compress(targets, overlaps), strict=True)):
        earlier.append(last.get(target, -1))
        last[target] = number
        if end[source] > end[target]:
            late[target] = None
    early: dict[int, int] = {}
    back: list[tuple[int, int]] = []
    for root in sorted(late, key=end.__getitem__):
        if root in early:
            continue
        limit = end[root]
        node, path = root, {root: last[root]}
        while path:
            edge = path[node]
            while edge >= 0:
                other = waits_for[edge]
                edge = earlier[edge]
                if end[other] < limit or other in early or other == node:
                    continue
                if other not in path and begin[other] < limit:
                    path[node] = edge
                    path[other] = last.get(other, -1)
                    node = other
                    break
                back.append((other, node))
            else:
                del path[node]
                early[node] = limit
                node = next(reversed(path), -1)
    if not back:
        return [], []
    order = [*early, *(node for node in range(len(ends)) if node not in early)]
    order.sort(key=lambda node: early.get(node, end[node]))
    return order, back


def stretches(back: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give the stretches [first, last] that edges cover, ascending and disjoint. back: from where, back to where."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((first, last) for last, first in back):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def components(count: int, sources: Sequence[int], targets: Sequence[int]) -> list[list[int]]:
    """Give the strongly connected components of more than one node. Nodes are 0…count-1."""
    starts, heads = adjacency(count, sources, targets)
    index = [0] * count
    low = [0] * count
    on_stack = bytearray(count)
    at = starts[:-1]
    stack: list[int] = []
    found: list[list[int]] = []
    clock = 0
    for root in range(count):
        if index[root]:
            continue
        path = [root]
        while path:
            node = path[-1]
            if not index[node]:
                clock += 1
                index[node] = low[node] = clock
                stack.append(node)
                on_stack[node] = 1
            place, end, child = at[node], starts[node + 1], -1
            while place < end:
                head = heads[place]
                place += 1
                if not index[head]:
                    child = head
                    break
                if on_stack[head] and index[head] < low[node]:
                    low[node] = index[head]
            at[node] = place
            if child >= 0:
                path.append(child)
                continue
            path.pop()
            if path and low[node] < low[path[-1]]:
                low[path[-1]] = low[node]
            if low[node] == index[node]:
                start = len(stack) - 1
                while stack[start] != node:
                    start -= 1
                members = stack[start:]
                del stack[start:]
                for member in members:
                    on_stack[member] = 0
                if len(members) > 1:
                    found.append(members)
    return found


def adjacency(count: int, sources: Sequence[int], targets: Sequence[int]) -> tuple[list[int], list[int]]:
    """Put edges by their source: the heads of node n are heads[starts[n]:starts[n + 1]]."""
    starts = [0] * (count + 1)
    for source in sources:
        starts[source + 1] += 1
    for node in range(count):
        starts[node + 1] += starts[node]
    heads = [0] * len(sources)
    free = starts[:-1]
    for source, target in zip(sources, targets, strict=True):
        heads[free[source]] = target
        free[source] += 1
    return starts, heads


@attrs.frozen
class Kind:
    """A kind of cycle. first: what its first edge may be; rest: what others may be.

    anti: how many RW edges it has (2: two or more); apart: no two of them follow each other; also: an edge of these
    must be in it.
    """

    name: str
    first: int
    rest: int
    anti: int = 0
    apart: bool = False
    also: int = 0


def with_variants(kinds: Sequence[Kind]) -> list[Kind]:
    """Give the kinds, and each also with edges of process order and of real time."""
    every = list(kinds)
    for suffix, mask, also in (("process", PROCESS, PROCESS), ("realtime", PROCESS | REALTIME, REALTIME)):
        for kind in kinds:
            first = kind.first | mask if kind.apart else kind.first
            name = f"{kind.name}-{suffix}"
            every.append(attrs.evolve(kind, name=name, first=first, rest=kind.rest | mask, also=also))
    return every


KINDS: Final = (
    Kind("G0", WW, WW),
    Kind("G1c", WR, WW | WR),
    Kind("G-single", RW, WW | WR, anti=1),
    Kind("G-nonadjacent", WW | WR, WW | WR | RW, anti=2, apart=True),
    Kind("G2", RW, WW | WR | RW, anti=2),
)
"""The cycles of Adya's theory as Elle names them, the least tolerable first."""

Edges = dict[int, dict[int, int]]
"""node → node → the kinds of edge between them, as a mask."""
Cycle = list[tuple[int, int]]
"""Nodes, each with the kind of the edge that leads to the next; the last leads to the first."""


ANTI: Final = 4
"""In a state of the search: the unit of the count of RW edges, up to 2."""
LAST: Final = 2
"""The last edge was one."""
ALSO: Final = 1
"""An edge of `also` was there."""
STATES: Final = 16


def find_cycle(kind: Kind, edges: Edges, visits: int = VISITS) -> Cycle | None:
    """Find a shortest cycle of a kind; None if there is none, or none was found in so many visits of edges."""
    best: Cycle | None = None
    for start, heads in edges.items():
        if any(mask & kind.first for mask in heads.values()):
            cycle, visited = search_from(kind, edges, start, visits)
            visits -= visited
            if cycle is not None and (best is None or len(cycle) < len(best)):
                best = cycle
            if visits <= 0 or (best is not None and len(best) == 2):
                break
    return best


def search_from(kind: Kind, edges: Edges, start: int, visits: int) -> tuple[Cycle | None, int]:
    """Search breadth first for a cycle of a kind through a node whose first edge leaves from there.

    A state is a node and what the way to it had of what the kind asks, as one int. Gives the number of visits as well.
    """
    root = start * STATES
    came: dict[int, tuple[int, int]] = {}
    queue = [root]
    visited = 0
    for state in queue:
        allowed = kind.first if state == root else kind.rest
        heads = edges.get(state // STATES, {})
        visited += len(heads)
        if visited > visits:
            break
        for head, mask in heads.items():
            if not mask & allowed:
                continue
            for bit in BITS_OF[mask & allowed]:
                flags = follow(kind, state % STATES, bit)
                after = head * STATES + flags
                if flags < 0 or after in came:
                    continue
                came[after] = state, bit
                if head != start:
                    queue.append(after)
                elif flags // ANTI == kind.anti and (flags & ALSO or not kind.also):
                    cycle = walk_back(came, root, after)
                    if len({node for node, _ in cycle}) == len(cycle):
                        return cycle, visited
    return None, visited


def follow(kind: Kind, flags: int, bit: int) -> int:
    """Give what a way has after one more edge; -1 if a cycle of the kind cannot have it there."""
    also = flags & ALSO | bool(bit & kind.also)
    anti = flags // ANTI
    if bit != RW:
        return anti * ANTI | also
    if (kind.apart and flags & LAST) or anti >= kind.anti < 2:
        return -1
    return min(2, anti + 1) * ANTI | LAST | also


def walk_back(came: dict[int, tuple[int, int]], root: int, state: int) -> Cycle:
    """Give the way from the root to a state."""
    cycle: Cycle = []
    while True:
        state, bit = came[state]
        cycle.append((state // STATES, bit))
        if state == root:
            return cycle[::-1]


def any_kind_of(cycle: Cycle) -> str:
    """Name a cycle by its edges."""
    bits = [bit for _, bit in cycle]
    anti = bits.count(RW)
    apart = all(not (a == RW == b) for a, b in zip(bits, [*bits[1:], bits[0]], strict=True))
    if anti == 0:
        base = "G1c" if WR in bits else "G0"
    else:
        base = "G-single" if anti == 1 else "G-nonadjacent" if apart else "G2"
    return base + ("-realtime" if REALTIME in bits else "-process" if PROCESS in bits else "")


def some_cycle(edges: Edges) -> Cycle:
    """Find a cycle through the first node of a component, a shortest one, of whatever kind."""
    start = next(iter(edges))
    came: dict[int, tuple[int, int]] = {}
    queue = [start]
    for node in queue:
        for head, mask in edges.get(node, {}).items():
            bit = mask & -mask
            if head == start:
                cycle = [(node, bit)]
                while node != start:
                    node, bit = came[node]  # noqa: PLW2901 – the queue is done with
                    cycle.append((node, bit))
                return cycle[::-1]
            if head not in came:
                came[head] = node, bit
                queue.append(head)
    raise ValueError("these nodes are not strongly connected")
