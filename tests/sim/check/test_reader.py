"""Histories as text: what is written is read, and what cannot have happened is refused with its line."""

import json

import pytest

from rafka.sim.check.history import FAIL, INFO, NEVER, OK, HistoryError
from rafka.sim.check.judge import judge, model_of
from rafka.sim.check.reader import Recorder, read
from tests.sim.check.world import World, history_of

ASK = {"process": 0, "type": "invoke", "f": "send", "value": [["send", "a-0", 1]]}
GOT = {"process": 0, "type": "ok", "f": "send", "value": [["send", "a-0", [0, 1]]]}
POLL = {"process": 1, "type": "invoke", "f": "poll", "value": [["poll"]]}


def polled(value):
    return {"process": 1, "type": "ok", "f": "poll", "value": value}


def read_all(*events):
    return read(json.dumps(event) for event in events)


REFUSED = [
    ([7], "line 1: an object is expected, not 7"),
    ([{"type": "ok", "f": "send"}], "line 1: 'process' is missing"),
    ([ASK, GOT | {"type": "done"}], "line 2: unknown type 'done'"),
    ([GOT], "line 1: process 0 completes send (ok) without having invoked it"),
    ([ASK, ASK], "line 2: process 0 invokes send, but its send of line 1 is open"),
    ([ASK, GOT | {"f": "poll"}], "line 2: process 0 completes poll, but invoked send on line 1"),
    ([ASK | {"time": 5}, GOT | {"time": 4}], "line 2: time 4 is before the line before it (5): impossible"),
    ([ASK | {"time": -1}], "line 1: time -1 is not a number of nanoseconds"),
    ([ASK | {"time": 1.5}], "line 1: time 1.5 is not a number of nanoseconds"),
    ([ASK | {"time": 1}, GOT], "line 2: 'time' is missing, which earlier lines have"),
    ([ASK, GOT | {"time": 1}], "line 2: 'time' is given, which earlier lines lack"),
    ([ASK | {"f": "flush"}], "line 1: unknown f 'flush'"),
    ([ASK | {"value": [["sent", "a-0", 1]]}], "line 1: unknown micro-operation 'sent'"),
    ([ASK | {"value": [["send", "a-0"]]}], "line 1: a send is"),
    ([ASK | {"value": 3}], "line 1: a list of micro-operations is expected, not 3"),
    ([ASK | {"value": [["send", "a-0", True]]}], "line 1: a value is a number or a string, not True"),
    ([ASK | {"value": [["send", "a-0", 1, "x"]]}], "line 1: a sequence is a number, not 'x'"),
    ([ASK | {"producer": [1]}], "line 1: a producer is [id, epoch], not [1]"),
    ([ASK, GOT, ASK], "line 3: 1 is sent to a-0 a second time (first: line 1)"),
    ([ASK, GOT | {"value": [["send", "a-0", [0, 2]]]}], "line 2: 2 to a-0 is not what line 1 sends in this place"),
    ([ASK, GOT | {"value": []}], "line 2: 1 value(s) were sent on line 1, 0 are here"),
    ([ASK, GOT | {"value": [["send", "a-0", [-3, 1]]]}], "line 2: -3 is not an offset"),
    ([POLL, polled([["poll", {"a-0": [[0]]}]])], "line 2: records are [[offset, value], …]"),
    ([POLL, polled([["poll", {"a-0": [["x", 1]]}]])], "line 2: an offset of a-0 is not a number"),
    ([POLL, polled([["poll", {"a-0": [[0, None]]}]])], "line 2: a value of a-0 is neither a number nor a string"),
    ([POLL, polled([["poll", {"a-0": [[0, [1]]]}]])], "line 2: a value of a-0 is neither a number nor a string"),
    ([POLL, polled([["poll", 3]])], "line 2: an object by key is expected, not 3"),
    ([POLL, polled(None)], "line 2: a list of micro-operations is expected, not None"),
    ([{"process": 0, "type": "invoke", "f": "commit", "value": {"g": 1}}], "line 1: group offsets are"),
    ([{"history": 2}], "line 1: history version 2 is not known"),
    ([{"history": 1, "deny": []}], "line 1: the header has no 'deny'"),
    ([ASK, {"history": 1}], "line 2: the header belongs on the first line"),
    ([{"process": "b", "type": "info", "f": "hole", "value": {"a": [[1]]}}], "line 1: a hole is [first, last]"),
]  # fmt: skip


@pytest.mark.parametrize(("events", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_is_refused_with_its_line(events, words):
    with pytest.raises(HistoryError) as caught:
        read_all(*events)
    assert str(caught.value).startswith(words)


def test_what_is_not_json_is_refused_with_its_line():
    with pytest.raises(HistoryError, match="line 3: this is not JSON"):
        read([json.dumps(ASK), "", "{nonsense"])


def test_a_completion_names_the_object_of_its_invocation():
    asked = {"process": 0, "type": "invoke", "f": "read", "key": "x"}
    with pytest.raises(HistoryError, match="line 2: the completion names another key"):
        read_all(asked, {"process": 0, "type": "ok", "f": "read", "key": "y", "value": 1})


def test_every_outcome_has_its_end():
    asks = [ASK | {"process": p, "value": [["send", "a-0", p]]} for p in range(4)]
    ends = [GOT | {"process": p, "type": kind, "value": None} for p, kind in ((1, "fail"), (2, "info"))]
    history = read_all(*asks, GOT | {"value": [["send", "a-0", [0, 0]]]}, *ends)
    assert history.outcome == [OK, FAIL, INFO, INFO]
    assert history.end == [5, 6, NEVER, NEVER]
    assert history.begin == [1, 2, 3, 4]


def test_lines_of_others_are_notes():
    nemesis = {"process": "nemesis", "type": "info", "f": "partition", "value": "whatever"}
    history = read_all(nemesis, ASK, nemesis, GOT)
    assert history.f == ["send"]


def test_a_subscription_to_a_topic_is_one_to_its_partitions():
    subscribe = {"process": 1, "f": "subscribe", "value": ["a"]}
    events = [subscribe | {"type": "invoke"}, subscribe | {"type": "ok"}, ASK, GOT]
    events += [ASK | {"value": [["send", "b-0", 2]]}]
    history = read_all(*events)
    (row,) = history.assignments
    assert {history.keys[key] for key in row.keys} == {"a-0"}


def test_recorded_and_read_are_the_same():
    for seed in range(30):
        world = World(seed)
        recorder = Recorder(allow=["unseen"])
        for time, event in enumerate(world.events):
            fields = {name: value for name, value in event.items() if name == "producer"}
            recorder.note(event["process"], event["type"], event["f"], event["value"], time=time, **fields)
        one, other = recorder.history(), read(recorder.lines())
        assert vars(one) == vars(other)
        assert one.allow == {"unseen"}
        assert vars(history_of(world.events)).keys() == vars(one).keys()


def test_what_the_header_allows_is_no_violation():
    events = [{"history": 1, "allow": ["unseen"]}, ASK, GOT]
    assert judge(read_all(*events)).valid is True
    assert judge(read_all(*events[1:])).violations == ["unseen"]
    assert judge(read_all(*events[1:]), allow=["unseen"]).valid is True


def test_holes_that_are_told_are_no_loss():
    asks = [ASK, GOT, ASK | {"value": [["send", "a-0", 2]]}, GOT | {"value": [["send", "a-0", [1, 2]]]}]
    poll = [POLL, polled([["poll", {"a-0": [[1, 2]]}]])]
    assert judge(read_all(*asks, *poll)).violations == ["lost-write"]
    retention = {"process": "broker", "type": "info", "f": "hole", "value": {"a-0": [[0, 0]]}}
    assert judge(read_all(*asks, retention, *poll)).valid is True


def test_subscribers_who_tell_of_every_rebalance_are_held_to_it():
    consumer = {"process": 1, "f": "subscribe", "value": ["a"]}
    asks = [ASK | {"value": [["send", "a-0", n] for n in range(3)]}]
    asks += [GOT | {"value": [["send", "a-0", [n, n]] for n in range(3)]}]
    start = [*asks, consumer | {"type": "invoke"}, consumer | {"type": "ok"}]
    first = [POLL, polled([["poll", {"a-0": [[0, 0]]}]])]
    last = [POLL, polled([["poll", {"a-0": [[2, 2]]}]])]
    other = [POLL | {"process": 2}, polled([["poll", {"a-0": [[n, n] for n in range(3)]}]]) | {"process": 2}]
    rebalance = {"process": 1, "type": "info", "f": "rebalance", "value": ["a-0"]}
    promise = {"history": 1, "rebalances": True}
    assert judge(read_all(*start, *first, *last, *other)).valid is True
    assert judge(read_all(promise, *start, *first, *last, *other)).violations == ["poll-skip"]
    assert judge(read_all(promise, *start, *first, rebalance, *last, *other)).valid is True
    assert judge(read_all(promise, *start, *first, POLL, rebalance, *last[1:], *other)).valid is True


def test_what_a_history_is_of_is_seen_from_its_operations():
    assert model_of(read_all(ASK, GOT)) == "log"
    assert model_of(read_all(ASK | {"f": "txn", "value": [["append", "x", 1]]})) == "txn"
    assert model_of(read_all(ASK | {"f": "enqueue", "value": 1})) == "queue"
    with pytest.raises(HistoryError, match="no model has all of add, enqueue"):
        model_of(read_all(ASK | {"f": "enqueue", "value": 1}, POLL | {"f": "add", "value": 1}))
    with pytest.raises(HistoryError, match="there are no operations"):
        model_of(read_all())
