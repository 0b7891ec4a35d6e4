"""The linearizability checker: against brute force, against what others published, and what it says of failures."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.sim.check.history import NEVER, HistoryError
from rafka.sim.check.linear import Search, check_objects, gather, holds, search
from rafka.sim.check.models import IMPOSSIBLE, MODELS, chained, model_for
from rafka.sim.check.report import Findings
from tests.sim.check.oracle import linearizable
from tests.sim.check.world import history_of

ASKED = {
    "read": st.none(),
    "write": st.integers(0, 2),
    "cas": st.tuples(st.integers(0, 2), st.integers(0, 2)).map(list),
    "add": st.integers(0, 2),
    "enqueue": st.integers(0, 2),
    "dequeue": st.none(),
    "acquire": st.none(),
    "release": st.none(),
    "tail": st.none(),
    "fence": st.sampled_from(["t", "u"]),
    "append": st.fixed_dictionaries(
        {"records": st.lists(st.integers(0, 1), min_size=1, max_size=2)},
        optional={"if-tail": st.integers(0, 2), "token": st.sampled_from(["t", "u"])},
    ),
}
TOLD = {
    ("register", "read"): st.one_of(st.none(), st.integers(0, 2)),
    ("register", "cas"): st.booleans(),
    ("set", "read"): st.lists(st.integers(0, 2), unique=True),
    ("queue", "dequeue"): st.one_of(st.none(), st.integers(0, 2)),
    ("stream", "append"): st.one_of(st.just(False), st.integers(1, 4)),
    ("stream", "tail"): st.integers(0, 4),
    ("stream", "read"): st.lists(st.integers(0, 1), max_size=3),
}


@st.composite
def calls(draw, name):
    """Up to six overlapping operations of a model with arbitrary answers."""
    model = MODELS[name]
    waiting, events = {}, []
    todo = draw(st.integers(1, 6))
    while todo or waiting:
        process = draw(st.integers(0, 3))
        if process not in waiting and todo:
            todo -= 1
            f = draw(st.sampled_from(sorted(model.functions)))
            waiting[process] = f
            events.append({"process": process, "type": "invoke", "f": f, "value": draw(ASKED[f])})
            continue
        process = process if process in waiting else next(iter(waiting))
        f = waiting.pop(process)
        kind = draw(st.sampled_from(["ok"] * 5 + ["info", "fail"]))
        told = draw(TOLD.get((name, f), st.none()))
        events.append({"process": process, "type": kind, "f": f, "value": told if kind == "ok" else None})
    return events


def judge(events, name, **limits):
    history, found = history_of(events), Findings()
    check_objects(history, MODELS[name], found, **limits)
    return found


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_agrees_with_trying_everything(name):
    @settings(max_examples=200)
    @given(calls(name))
    def agrees(events):
        history = history_of(events)
        (each,) = history.calls.values()
        o = gather(history, MODELS[name], each)

        def step(state, i, _):
            after = o.model.step(state, o.f[i], o.asked[i], o.told[i])
            return None if after is IMPOSSIBLE else (after,)

        rows = [(o.begin[i], None if o.end[i] == NEVER else o.end[i], i, None) for i in range(len(o.ops))]
        truth = linearizable(rows, lambda state, i, told: step(state[0], i, told), (o.model.start,))
        assert search(o).linearizable is truth
        answer = Search(o, 1 << 20).run()
        assert answer.linearizable is truth
        if truth:
            assert holds(o, answer.order)

    agrees()


def say(process, kind, f, value=None, **fields):
    return {"process": process, "type": kind, "f": f, "value": value, **fields}


def test_a_read_of_what_was_never_written():
    """The shape of a minimal failure that Knossos keeps: a write of 4 is open while 3 is read after 0."""
    events = [
        say(0, "invoke", "write", 0), say(0, "ok", "write"),
        say(1, "invoke", "read"), say(2, "invoke", "write", 4),
        say(1, "ok", "read", 3), say(2, "ok", "write"),
        say(3, "invoke", "read"), say(3, "ok", "read", 4),
    ]  # fmt: skip
    found = judge(events, "register")
    assert found.valid is False
    (finding,) = found.found
    assert finding.name == "not-linearizable"
    assert "read None → 3" in finding.cases[0].words
    assert finding.cases[0].ops[-1] == 1


def test_a_crashed_write_may_take_effect_late_or_never():
    open_write = [say(0, "invoke", "write", 1), say(0, "info", "write")]
    for reads in ([None, None, 1], [None, None, None], [1, 1, 1]):
        events = list(open_write)
        for value in reads:
            events += [say(1, "invoke", "read"), say(1, "ok", "read", value)]
        assert judge(events, "register").valid is True, reads
    events = list(open_write)
    for value in (1, None):
        events += [say(1, "invoke", "read"), say(1, "ok", "read", value)]
    assert judge(events, "register").valid is False


def test_a_failed_operation_had_no_effect_and_a_failed_cas_tells_nothing():
    events = [
        say(0, "invoke", "write", 1),
        say(0, "fail", "write"),
        say(1, "invoke", "read"),
        say(1, "ok", "read", 1),
    ]
    assert judge(events, "register").valid is False


def test_two_holders_of_one_mutex():
    events = [say(0, "invoke", "acquire"), say(0, "ok", "acquire"), say(1, "invoke", "acquire")]
    assert judge([*events, say(1, "info", "acquire")], "mutex").valid is True
    assert judge([*events, say(1, "ok", "acquire")], "mutex").valid is False


def test_each_object_is_judged_by_itself():
    events = [
        say(0, "invoke", "write", 1, key="x"), say(0, "ok", "write", key="x"),
        say(0, "invoke", "read", key="y"), say(0, "ok", "read", 1, key="y"),
    ]  # fmt: skip
    found = judge(events, "register")
    assert found.valid is False
    assert "register y" in found.found[0].cases[0].words


def test_a_queue_that_gives_out_of_order():
    events = []
    for value in (1, 2):
        events += [say(0, "invoke", "enqueue", value), say(0, "ok", "enqueue")]
    assert judge([*events, say(1, "invoke", "dequeue"), say(1, "ok", "dequeue", 1)], "queue").valid is True
    assert judge([*events, say(1, "invoke", "dequeue"), say(1, "ok", "dequeue", 2)], "queue").valid is False
    assert (
        judge([*events, say(1, "invoke", "dequeue"), say(1, "ok", "dequeue", None)], "queue").valid is False
    )


def append(process, records, tail, **conditions):
    asked = {"records": records, **conditions}
    return [say(process, "invoke", "append", asked), say(process, "ok", "append", tail)]


def test_a_stream_is_fenced_and_read_whole_by_its_hash():
    chain = chained(chained("", "a"), "b")
    start = [*append(0, ["a"], 1), say(1, "invoke", "fence", "t"), say(1, "ok", "fence")]
    tail = {"tail": 2, "chain": chain}
    assert judge([*start, *append(0, ["b"], 2, token="t"), say(2, "invoke", "read"), say(2, "ok", "read", tail)],
                 "stream").valid is True  # fmt: skip
    assert judge([*start, *append(0, ["b"], 2, token="old")], "stream").valid is False
    assert judge([*start, *append(0, ["b"], False, token="old")], "stream").valid is True
    assert judge([*start, say(2, "invoke", "read"), say(2, "ok", "read", ["b"])], "stream").valid is False
    assert judge([*append(0, ["a"], 1), *append(1, ["b"], 2, **{"if-tail": 0})], "stream").valid is False


def many(seed, count, processes=8, broken=False):
    """A register with that many operations under way at a time; with `broken`, one late read is of an old value."""
    random, events, state, doing = Random(seed), [], None, {}
    written = [None]
    for place in range(count):
        process = random.randrange(processes)
        if process in doing:
            f, value = doing.pop(process)
            if f == "write":
                state = value
                written.append(value)
            told = state if f == "read" else None
            if broken and f == "read" and place > count * 0.9 and len(written) > 50:
                told, broken = written[3], False
            events.append(say(process, "ok", f, told))
        else:
            f = random.choice(["read", "write"])
            doing[process] = (f, place)
            events.append(say(process, "invoke", f, place if f == "write" else None))
    assert not broken, "no place was found"
    return events


def test_long_histories_are_judged():
    assert judge(many(1, 4000), "register").valid is True
    assert judge(many(2, 4000, broken=True), "register").valid is False


def test_a_spent_budget_is_no_verdict():
    found = judge(many(2, 4000, broken=True), "register", budget=50)
    assert found.valid is None
    assert found.unknown == ["register: not decided after 50 states"]


def test_an_operation_that_the_model_lacks_is_refused_with_its_line():
    with pytest.raises(HistoryError, match="line 2: a set has no 'write'"):
        judge([say(0, "invoke", "write", 1), say(0, "ok", "write")], "set")
    with pytest.raises(HistoryError, match=r"line 2: cas takes \[old, new\], not 3"):
        judge([say(0, "invoke", "cas", 3), say(0, "ok", "cas")], "register")


def test_the_model_is_known_by_its_operations():
    assert model_for({"read", "cas"}) is MODELS["register"]
    assert model_for({"dequeue"}) is MODELS["queue"]
    assert model_for({"add", "read"}) is MODELS["set"]
    assert model_for({"tail", "append"}) is MODELS["stream"]
    assert model_for({"write", "dequeue"}) is None
