"""The log checker: it finds what is broken, only that, and agrees with its definitions on small histories."""

from copy import deepcopy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.sim.check.anomalies import ANOMALIES
from rafka.sim.check.history import HistoryError
from rafka.sim.check.judge import judge as judge_as
from rafka.sim.check.report import say_op
from tests.sim.check.injuries import HEADER, INJURIES, PLAIN, expected
from tests.sim.check.oracle import log_anomalies
from tests.sim.check.world import World, history_of

NEEDS_NO_ORDER = {"inconsistent-offsets", "duplicate", "unwritten-read", "precommitted-read", "G1a"}
NOT_IN_ORACLE = {"sequence-order", "fenced-ack", "hole"}


def judge(events, **header):
    history = history_of(events, **header)
    return history, judge_as(history, "log")


@pytest.mark.parametrize("seeds", [range(n, n + 250) for n in range(0, 1000, 250)], ids=str)
def test_a_valid_history_has_no_violation(seeds):
    for seed in seeds:
        _, found = judge(World(seed).events)
        assert found.violations == [], (seed, found.found)


@pytest.mark.parametrize("injury", INJURIES, ids=lambda injury: injury.__name__)
def test_exactly_the_injury_is_found(injury):
    violations, allowed = expected(injury)
    injured = 0
    for seed in range(150):
        world = World(seed, plain=injury.__name__ in PLAIN)
        events = deepcopy(world.events)
        if injury(world, events, Random(seed)) is False:
            continue
        injured += 1
        history, found = judge(events, **HEADER.get(injury.__name__, {}))
        assert found.violations == violations, (seed, found.found)
        names = {each.name for each in found.found if each.allowed}
        assert allowed is None or allowed in names, seed
        assert ANOMALIES.issuperset(each.name for each in found.found), "so that each can be allowed"
        for finding in found.found:
            assert finding.cases, finding.name
            for case in finding.cases:
                assert case.ops, case.words
                assert all(say_op(history, op) for op in case.ops)
    assert injured >= 25, "the worlds hardly offer a place for it"


@st.composite
def small(draw):
    """At most eight operations of two or three processes on one or two keys, with anything for answers."""
    keys = ["a", "b"][: draw(st.integers(1, 2))]
    count = draw(st.integers(1, 8))
    value, waiting, events = 0, {}, []
    sent = {key: [] for key in keys}
    place = st.integers(0, 6)
    todo = count
    while todo or waiting:
        process = draw(st.integers(0, 2))
        if process in waiting:
            f, mops = waiting.pop(process)
            kind = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
            told = []
            for mop in mops:
                if mop[0] == "poll":
                    pairs = {}
                    for key in keys:
                        known = [v for v, _ in sent[key]]
                        values = draw(st.lists(st.sampled_from([*known, *known, *known, 99]), max_size=4))
                        if values:
                            at = dict(sent[key])
                            wild = draw(st.sampled_from([False] * 5 + [True]))
                            pairs[key] = [[draw(place) if wild else at.get(v, 6), v] for v in values]
                    told.append(["poll", pairs])
                else:
                    offset = dict(sent[mop[1]])[mop[2]]
                    told.append(["send", mop[1], [draw(st.sampled_from([offset] * 6 + [None])), mop[2]]])
            events.append({"process": process, "type": kind, "f": f, "value": told})
        elif todo:
            todo -= 1
            f = draw(st.sampled_from(["send", "poll", "poll", "txn"]))
            mops = []
            for kind in {"send": ["send"] * draw(st.integers(1, 2)), "poll": ["poll"]}.get(
                f, ["send", "poll"]
            ):
                if kind == "send":
                    value += 1
                    key = draw(st.sampled_from(keys))
                    sent[key].append((value, draw(place)))
                    mops.append(["send", key, value])
                else:
                    mops.append(["poll"])
            waiting[process] = (f, mops)
            events.append({"process": process, "type": "invoke", "f": f, "value": mops})
        else:
            process = next(iter(waiting))
            if draw(st.booleans()):
                del waiting[process]
            else:
                waiting = {process: waiting[process], **waiting}
                f, mops = waiting.pop(process)
                events.append({"process": process, "type": "info", "f": f})
    return events


@settings(max_examples=600)
@given(small())
def test_it_agrees_with_the_definitions_on_small_histories(events):
    try:
        _, found = judge(events)
    except HistoryError as error:
        pytest.fail(f"a history of ours cannot be read: {error}")
    names, ordered = log_anomalies(events)
    said = {
        each.name for each in found.found if each.name[:2] not in ("G0", "G1") or each.name == "G1a"
    } - NOT_IN_ORACLE
    assert (said if ordered else said & NEEDS_NO_ORDER) == names
