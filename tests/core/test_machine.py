"""The shared pieces of every machine, against models of a few lines."""

from hypothesis import given
from hypothesis import strategies as st

from rafka.core.effects import Note
from rafka.core.events import DiskEvent, Done, Failed
from rafka.core.machine import Alarms, OffsetWaiters, Outbox, Timeouts
from rafka.core.types import NO_ANSWER, File, MonoNs, Now, Offset, Ticket, Token, WallMs

NOW = Now(MonoNs(5), WallMs(7))
MS = 1_000_000


class Recorder:
    def __init__(self) -> None:
        self.answers: list[DiskEvent] = []

    def completed(self, event: DiskEvent, now: Now) -> None:
        assert now is NOW
        self.answers.append(event)


def test_an_answer_goes_once_to_the_owner_of_its_token() -> None:
    out = Outbox()
    first, second = Recorder(), Recorder()
    one, two = out.token(first), out.token(second)
    assert one != two
    answer = Done(File("a"), two)
    assert out.route(answer, NOW)
    assert (first.answers, second.answers) == ([], [answer])
    assert not out.route(answer, NOW), "the token was already answered"
    assert second.answers == [answer]


def test_a_failure_of_an_operation_that_asked_for_no_answer_has_no_owner() -> None:
    assert not Outbox().route(Failed(File("a"), NO_ANSWER, "write", 28, "No space left"), NOW)


def test_draining_gives_up_the_effects_in_order_and_leaves_none() -> None:
    out = Outbox()
    out.note("info", "first", offset=1)
    out.note("warning", "second")
    assert out.drain() == [Note("info", "first", {"offset": 1}), Note("warning", "second", {})]
    assert out.drain() == []


def test_tokens_are_never_the_one_that_asks_for_no_answer() -> None:
    assert Outbox().token(Recorder()) == Token(1) != NO_ANSWER


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 4), st.integers(0, 50)),
            st.tuples(st.just("clear"), st.integers(0, 4), st.just(0)),
            st.tuples(st.just("due"), st.just(0), st.integers(0, 50)),
        ),
        max_size=300,
    )
)
def test_alarms_agree_with_a_dictionary_of_deadlines(steps: list[tuple[str, int, int]]) -> None:
    alarms, model = Alarms(), {}
    for action, key, at in steps:
        if action == "set":
            alarms.set(key, MonoNs(at))
            model[key] = at
        elif action == "clear":
            alarms.clear(key)
            model.pop(key, None)
        else:
            due = alarms.pop_due(MonoNs(at))
            expected = {k for k, deadline in model.items() if deadline <= at}
            assert set(due) == expected
            assert len(due) == len(expected)
            assert [model[k] for k in due] == sorted(model[k] for k in due)
            model = {k: v for k, v in model.items() if k not in expected}
        assert alarms.next() == (min(model.values()) if model else None)


def test_alarms_that_are_moved_for_ever_keep_a_bounded_heap() -> None:
    alarms = Alarms()
    for at in range(10_000):
        alarms.set("session", MonoNs(at))
    assert len(alarms._heap) <= 65
    assert alarms.pop_due(MonoNs(9_998)) == []
    assert alarms.pop_due(MonoNs(9_999)) == ["session"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("start"), st.sampled_from([1, 10, 500])),
            st.tuples(st.just("finish"), st.integers(0, 40)),
            st.tuples(st.just("advance"), st.integers(0, 300)),
        ),
        max_size=200,
    )
)
def test_timeouts_agree_with_a_dictionary_of_deadlines(steps: list[tuple[str, int]]) -> None:
    timeouts, model, now, last = Timeouts(), {}, 0, 0
    for action, number in steps:
        if action == "start":
            last += 1
            timeouts.start(Ticket(last), MonoNs(now), timeout_ms=number)
            model[last] = now + number * MS
        elif action == "finish":
            timeouts.finish(Ticket(number))
            model.pop(number, None)
        else:
            now += number * MS
            due = timeouts.pop_due(MonoNs(now))
            assert sorted(due) == sorted(t for t, at in model.items() if at <= now)
            model = {t: at for t, at in model.items() if at > now}
        assert timeouts.next() == (min(model.values()) if model else None)


def test_finished_timeouts_leave_nothing_behind() -> None:
    timeouts = Timeouts()
    for ticket in range(10_000):
        timeouts.start(Ticket(ticket), MonoNs(0), timeout_ms=30_000)
        timeouts.finish(Ticket(ticket))
    assert timeouts._queues == {}
    assert timeouts._live == {}


@given(st.lists(st.integers(0, 3), max_size=50), st.integers(0, 160))
def test_reaching_an_offset_releases_exactly_those_who_waited_for_it_or_less(
    steps: list[int], reached: int
) -> None:
    waiters, offset, model = OffsetWaiters(), 0, []
    for ticket, step in enumerate(steps):
        offset += step
        waiters.wait(Offset(offset), Ticket(ticket))
        model.append((offset, ticket))
    assert waiters.reach(Offset(reached)) == [t for at, t in model if at <= reached]
    assert waiters.abandon() == [t for at, t in model if at > reached]
    assert waiters.abandon() == []
