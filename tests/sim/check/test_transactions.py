"""The transaction checker: each kind of cycle is found by its name, and only it; it agrees with trying all of them."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.sim.check.graph import (
    KINDS,
    components,
    find_cycle,
    some_cycle,
    stretches,
    untangled,
    with_variants,
)
from rafka.sim.check.judge import judge, model_of
from rafka.sim.check.orders import order_logs
from rafka.sim.check.transactions import ISOLATIONS, Dependencies, forbidden_by, read_edges, write_edges
from tests.sim.check.lists import CYCLES, OTHER, Lists, beside, final, read, write
from tests.sim.check.oracle import cycle_names
from tests.sim.check.world import World, history_of

STRICT = "strict-serializable"


@pytest.mark.parametrize("seeds", [range(n, n + 250) for n in range(0, 1000, 250)], ids=str)
def test_a_strictly_serializable_history_has_no_violation(seeds):
    for seed in seeds:
        found = judge(history_of(Lists(seed).events), isolation=STRICT)
        assert found.found == [], (seed, found.found)


@pytest.mark.parametrize("name", sorted(CYCLES))
def test_exactly_the_cycle_is_found(name):
    for seed in range(150):
        events = inserted(Lists(seed).events, CYCLES[name], Random(seed))
        history = history_of(events)
        found = judge(history, isolation=STRICT)
        assert found.violations == [name], (seed, found.found)
        ((case,),) = [each.cases for each in found.found]
        assert {history.process[op] for op in case.ops} <= {40, 41, 50, 51, 52, 53}, (
            "it proves itself by these"
        )
        assert case.words.count(" = lines ") == len(case.ops)
        assert " but T" in case.words


def inserted(events, parts, random):
    """Put events in a row into a history, at a random place."""
    place = random.randrange(len(events) - 1)
    return events[:place] + parts + events[place:]


@pytest.mark.parametrize("name", sorted(OTHER))
def test_what_is_wrong_without_a_cycle_is_found(name):
    for seed in range(100):
        events = inserted(Lists(seed).events, OTHER[name], Random(seed))
        found = judge(history_of(events), isolation="read-committed")
        assert found.violations == [name], (seed, found.found)


def test_a_level_allows_what_it_does_not_forbid():
    levels = [level for level in ISOLATIONS if level.startswith(("read", "snap", "serial"))]
    allowed_by = {
        "G0": [],
        "G1c": ["read-uncommitted"],
        "G-single": ["read-uncommitted", "read-committed"],
        "G-nonadjacent": ["read-uncommitted", "read-committed"],
        "G2": ["read-uncommitted", "read-committed", "snapshot-isolation"],
    }
    for name, allowing in allowed_by.items():
        history = history_of(CYCLES[name])
        assert [level for level in levels if judge(history, isolation=level).valid] == allowing, name
        for suffix, allows in {"process": ["", "strict"], "realtime": ["", "strong-session"]}.items():
            history = history_of(CYCLES[f"{name}-{suffix}"])
            assert judge(history, isolation="serializable").valid is True
            assert judge(history, isolation="strict-serializable").valid is False
            assert judge(history, isolation="strong-session-serializable").valid is (
                "strong-session" in allows
            )


def test_a_failed_append_may_be_read_where_that_is_allowed():
    assert judge(history_of(OTHER["G1a"]), isolation="read-uncommitted").valid is True


def test_the_example_of_the_paper_on_elle_is_a_single_antidependency():
    """Re-derived: a reader misses an append that another saw, whose own append comes before the reader's unread one."""
    seen = [
        [write("a", 8)],
        [write("b", 4), read("a", 5, 8), read("b", 1, 2, 4)],
        [write("b", 3), read("a", 5)],
    ]
    events = beside([write("a", 5)]) + beside([write("b", 1), write("b", 2)]) + beside(*seen)
    assert judge(history_of(events)).violations == ["G-single"]


def test_a_lost_update_is_two_antidependencies():
    events = beside([write("x", 0)]) + beside([read("x", 0), write("x", 1)], [read("x", 0), write("x", 2)])
    assert judge(history_of(events)).violations == ["G2"]
    assert judge(history_of(events), isolation="snapshot-isolation").valid is True


def test_adjacent_antidependencies_are_not_nonadjacent():
    events = beside(
        [read("x", 5), read("y")], [write("y", 1), read("z")], [write("z", 2), write("t", 3)],
        [read("t", 3), read("u")], [write("u", 4), write("x", 5)],
    )  # fmt: skip
    assert judge(history_of(events), isolation="snapshot-isolation").valid is True
    assert judge(history_of(events)).violations == ["G2"]


def test_logs_with_transactions_that_read_each_other_are_no_logs():
    for seed in range(150):
        world = World(seed)
        assert judge(history_of(world.events)).violations == []
        ends = world.logs["orders-0"].end + 10, world.logs["orders-1"].end + 10
        sends = [["send", "orders-0", [ends[0], 900]], ["send", "orders-1", [ends[1], 901]]]
        told = [
            [sends[0], ["poll", {"orders-1": [[ends[1], 901]]}]],
            [sends[1], ["poll", {"orders-0": [[ends[0], 900]]}]],
        ]
        events = world.events + [
            {"process": 80 + n, "type": kind, "f": "txn", "value": mops if kind == "ok" else mops[:1]}
            for kind in ("invoke", "ok")
            for n, mops in enumerate(told)
        ]
        for event in events[-4:-2]:
            event["value"] = [["send", event["value"][0][1], event["value"][0][2][1]], ["poll"]]
        history = history_of(events)
        assert model_of(history) == "log"
        assert judge(history).violations == ["G1c"], seed


def test_interleaved_writes_of_logs_are_told_and_allowed():
    def both(process, kind, at):
        mops = [["send", "a-0", [at[0], process]], ["send", "b-0", [at[1], process]]]
        value = mops if kind == "ok" else [["send", key, v] for _, key, (_, v) in mops]
        return {"process": process, "type": kind, "f": "txn", "value": value}

    events = [
        both(1, "invoke", (0, 1)),
        both(2, "invoke", (1, 0)),
        both(1, "ok", (0, 1)),
        both(2, "ok", (1, 0)),
    ]
    found = judge(history_of(events), allow=["unseen"])
    assert found.valid is True
    assert [(each.name, each.allowed) for each in found.found] == [("G0", True), ("unseen", True)]


@st.composite
def small(draw):
    """At most seven transactions over two lists, in any order of time; reads are prefixes of what came to be."""
    values = {key: draw(st.permutations(range(draw(st.integers(1, 3))))) for key in "xy"}
    todo = [["append", key, value] for key in "xy" for value in values[key]]
    todo = list(draw(st.permutations(todo)))
    transactions = []
    for _ in range(draw(st.integers(2, 7))):
        mops = []
        for _ in range(draw(st.integers(1, 2))):
            if todo and draw(st.booleans()):
                mops.append(todo.pop())
            else:
                key = draw(st.sampled_from("xy"))
                mops.append(["r", key, list(values[key][: draw(st.integers(0, len(values[key])))])])
        transactions.append(mops)
    transactions += [[mop] for mop in todo]
    events, doing, free = [], {}, list(range(3))
    while transactions or doing:
        if transactions and free and (not doing or draw(st.booleans())):
            process = free.pop(draw(st.integers(0, len(free) - 1)))
            doing[process] = transactions.pop(0)
            told = [[kind, key, None if kind == "r" else v] for kind, key, v in doing[process]]
            events.append({"process": process, "type": "invoke", "f": "txn", "value": told})
        else:
            process = draw(st.sampled_from(sorted(doing)))
            events.append({"process": process, "type": "ok", "f": "txn", "value": doing.pop(process)})
            free.append(process)
    return events + final(read("x", *values["x"]), read("y", *values["y"]))


@settings(max_examples=400)
@given(small())
def test_it_agrees_with_all_cycles_of_small_histories(events):
    history = history_of(events)
    found = judge(history, isolation=STRICT)
    names = {
        each.name for each in found.found if each.name.startswith("G") and each.name not in ("G1a", "G1b")
    }
    orders = order_logs(history)
    edges = Dependencies()
    write_edges(history, orders, edges)
    read_edges(history, orders, edges)
    assert names == cycle_names(history, edges)


def test_components_are_those_that_reach_each_other():
    for seed in range(200):
        random = Random(seed)
        count = random.randrange(2, 12)
        edges = [(random.randrange(count), random.randrange(count)) for _ in range(random.randrange(20))]
        reach = [{b for a, b in edges if a == n} for n in range(count)]
        for _ in range(count):
            for n in range(count):
                reach[n] |= {far for near in reach[n] for far in reach[near]}
        want = {frozenset(m for m in range(count) if m in reach[n] and n in reach[m]) for n in range(count)}
        got = components(count, [a for a, _ in edges], [b for _, b in edges])
        assert {frozenset(each) for each in got} == {each for each in want if len(each) > 1}


@st.composite
def in_time(draw):
    """Nodes with a begin and an end, and edges between any, to themselves and to nobody as well."""
    count = draw(st.integers(1, 8))
    instants = draw(st.permutations(range(2 * count)))
    spans = [sorted(instants[2 * n : 2 * n + 2]) for n in range(count)]
    edges = draw(st.lists(st.tuples(st.integers(-1, count - 1), st.integers(-1, count - 1)), max_size=12))
    return [begin for begin, _ in spans], [end for _, end in spans], edges


@settings(max_examples=600)
@given(in_time())
def test_edges_go_back_only_where_there_is_a_cycle(case):
    begins, ends, edges = case
    count = len(begins)
    every = {(a, b) for a, b in edges if a != b and -1 not in (a, b)}
    every |= {(a, b) for a in range(count) for b in range(count) if ends[a] < begins[b]}
    reach = [{b for a, b in every if a == n} for n in range(count)]
    for _ in range(count):
        for n in range(count):
            reach[n] |= {far for near in reach[n] for far in reach[near]}
    order, back = untangled(begins, ends, [a for a, _ in edges], [b for _, b in edges])
    assert bool(back) == any(n in reach[n] for n in range(count))
    assert sorted(order) == (list(range(count)) if back else [])
    place = {node: at for at, node in enumerate(order)}
    for a, b in every if back else ():
        assert (place[a] > place[b]) == ((a, b) in back)
        assert place[a] < place[b] or (a in reach[b] and ends[a] > begins[b]), "it is an edge of a cycle"


def test_stretches_are_what_edges_cover_and_nothing_else():
    assert stretches([]) == []
    assert stretches([(8, 7), (3, 1), (5, 2)]) == [(1, 5), (7, 8)]


def test_a_search_that_is_cut_short_still_names_a_cycle():
    ring = {n: {(n + 1) % 50: 1 if n else 4} for n in range(50)}
    single = next(kind for kind in KINDS if kind.name == "G-single")
    assert find_cycle(single, ring, visits=10) is None
    assert len(find_cycle(single, ring)) == 50
    assert len(some_cycle(ring)) == 50


def test_the_kinds_are_those_of_the_levels():
    names = {kind.name for kind in with_variants(KINDS)}
    assert names == forbidden_by("strict-serializable") - {
        n + s for n in ("G1a", "G1b") for s in ("", "-process", "-realtime")
    }
