"""KIP-227: incremental fetch sessions, claim by claim and against a model."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from rafka.core.errors import ErrorCode
from rafka.core.replication.fetch_session import INT32_MAX, FetchContext, FetchSessions
from rafka.core.types import MonoNs, Now, WallMs


class Counting:
    """Chance that counts, unless told what to draw first."""

    def __init__(self, *first: int) -> None:
        self.first = list(first)
        self.drawn = 0

    def below(self, bound: int) -> int:
        if self.first:
            return self.first.pop(0)
        self.drawn += 1
        return self.drawn % bound

    def bytes(self, count: int) -> bytes:
        return bytes(count)


def at(ms: int) -> Now:
    return Now(MonoNs(ms * 1_000_000), WallMs(ms))


def fetch(
    offsets: dict[int, int], *, session_id: int = 0, epoch: int = 0, forget: Sequence[int] = ()
) -> FetchRequest:
    wanted = [FetchPartition(partition=p, fetch_offset=offset) for p, offset in offsets.items()]
    return FetchRequest(
        session_id=session_id,
        session_epoch=epoch,
        topics=[FetchTopic(topic="orders", partitions=wanted)] if wanted else [],
        forgotten_topics_data=[ForgottenTopic(topic="orders", partitions=list(forget))] if forget else [],
    )


def opened(sessions: FetchSessions, request: FetchRequest, ms: int = 0) -> FetchContext:
    context = sessions.open(request, at(ms), uses_topic_ids=False)
    assert isinstance(context, FetchContext)
    sessions.check()
    return context


def offsets_of(context: FetchContext) -> dict[int, int]:
    return {partition: wanted.fetch_offset for (_, partition), wanted in context.partitions.items()}


def answered(
    context: FetchContext, *, records: Sequence[int] = (), hw: int = 0, errors: Sequence[int] = ()
) -> list[int]:
    return [
        key[1]
        for key in list(context.partitions)
        if context.is_answered(
            key,
            error_code=3 if key[1] in errors else 0,
            records_size=100 if key[1] in records else 0,
            high_watermark=hw,
            log_start_offset=0,
        )
    ]


def test_a_fetch_without_a_session_names_and_answers_everything() -> None:
    sessions = FetchSessions(Counting())
    context = opened(sessions, fetch({0: 5, 1: 6}, epoch=-1))
    assert (context.session_id, len(sessions)) == (0, 0)
    assert offsets_of(context) == {0: 5, 1: 6}
    assert answered(context) == [0, 1]


def test_an_incremental_fetch_names_only_what_changed_and_is_answered_only_with_news() -> None:
    sessions = FetchSessions(Counting())
    first = opened(sessions, fetch({0: 5, 1: 6, 2: 7}))
    assert first.session_id > 0
    assert answered(first, hw=10) == [0, 1, 2], "a full fetch is answered in full"
    second = opened(sessions, fetch({1: 16}, session_id=first.session_id, epoch=1, forget=[2]))
    assert offsets_of(second) == {0: 5, 1: 16}
    assert answered(second, hw=10) == []
    third = opened(sessions, fetch({}, session_id=first.session_id, epoch=2))
    assert answered(third, hw=11) == [0, 1], "a new high watermark is news"


def test_the_first_good_result_after_an_error_is_told_though_nothing_else_changed() -> None:
    sessions = FetchSessions(Counting())
    first = opened(sessions, fetch({0: 5}))
    assert answered(first, hw=10) == [0]
    assert answered(opened(sessions, fetch({}, session_id=first.session_id, epoch=1)), hw=10, errors=[0]) == [
        0
    ]
    assert answered(opened(sessions, fetch({}, session_id=first.session_id, epoch=2)), hw=10) == [0]
    assert answered(opened(sessions, fetch({}, session_id=first.session_id, epoch=3)), hw=10) == []


def test_a_partition_that_returned_records_goes_to_the_end_of_the_line() -> None:
    sessions = FetchSessions(Counting())
    first = opened(sessions, fetch({0: 0, 1: 0, 2: 0}))
    answered(first, records=[0])
    assert list(offsets_of(opened(sessions, fetch({}, session_id=first.session_id, epoch=1)))) == [1, 2, 0]


def test_a_session_never_gets_the_id_of_another() -> None:
    sessions = FetchSessions(Counting(7, 7, 7, 8))
    assert [opened(sessions, fetch({0: 0})).session_id for _ in range(2)] == [8, 9]


def test_an_unknown_session_and_a_wrong_epoch_are_refused_and_change_nothing() -> None:
    sessions = FetchSessions(Counting())
    session_id = opened(sessions, fetch({0: 5})).session_id
    refused = [
        sessions.open(fetch({0: 9}, session_id=session_id + 1, epoch=1), at(0), uses_topic_ids=False),
        sessions.open(fetch({0: 9}, session_id=session_id, epoch=2), at(0), uses_topic_ids=False),
        sessions.open(fetch({}, session_id=session_id, epoch=1), at(0), uses_topic_ids=True),
    ]
    assert refused == [
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
    ]
    assert offsets_of(opened(sessions, fetch({}, session_id=session_id, epoch=1))) == {0: 5}


def test_the_epoch_after_the_largest_is_1() -> None:
    sessions = FetchSessions(Counting())
    session_id = opened(sessions, fetch({0: 5})).session_id
    sessions._sessions[session_id].epoch = INT32_MAX
    opened(sessions, fetch({}, session_id=session_id, epoch=INT32_MAX))
    opened(sessions, fetch({}, session_id=session_id, epoch=1))


def test_a_session_ends_by_its_final_epoch_by_a_new_one_or_by_forgetting_everything() -> None:
    sessions = FetchSessions(Counting())
    first = opened(sessions, fetch({0: 5})).session_id
    assert opened(sessions, fetch({0: 5}, session_id=first, epoch=-1)).session_id == 0
    assert len(sessions) == 0
    second = opened(sessions, fetch({0: 5})).session_id
    third = opened(sessions, fetch({0: 5}, session_id=second, epoch=0)).session_id
    assert third not in (0, second)
    assert len(sessions) == 1
    assert opened(sessions, fetch({}, session_id=third, epoch=1, forget=[0])).session_id == 0
    assert len(sessions) == 0


def test_when_all_slots_are_taken_only_a_session_long_unused_gives_way() -> None:
    sessions = FetchSessions(Counting(), slots_max=2, eviction_ms=1000)
    first = opened(sessions, fetch({0: 0}), ms=0).session_id
    second = opened(sessions, fetch({0: 0}), ms=10).session_id
    opened(sessions, fetch({}, session_id=first, epoch=1), ms=500)
    assert opened(sessions, fetch({0: 0}), ms=1009).session_id == 0
    assert opened(sessions, fetch({0: 0}), ms=1010).session_id > 0
    gone = sessions.open(fetch({}, session_id=second, epoch=1), at(1011), uses_topic_ids=False)
    assert gone == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert offsets_of(opened(sessions, fetch({}, session_id=first, epoch=2), ms=1012)) == {0: 0}


class SessionsAgainstAModel(RuleBasedStateMachine):
    """A client's session is a dictionary; what is answered is what it does not know yet."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = FetchSessions(Counting())
        self.session_id = 0
        self.epoch = 0
        self.wanted: dict[int, int] = {}
        self.told: dict[int, int] = {}
        self.watermarks = dict.fromkeys(range(4), 0)

    @rule(partition=st.integers(0, 3))
    def append(self, partition: int) -> None:
        self.watermarks[partition] += 1

    @rule(offsets=st.dictionaries(st.integers(0, 3), st.integers(0, 9), min_size=1))
    def fetch_in_full(self, offsets: dict[int, int]) -> None:
        context = opened(self.sessions, fetch(offsets, session_id=self.session_id, epoch=0))
        self.session_id, self.epoch = context.session_id, 1
        self.wanted, self.told = dict(offsets), {}
        assert sorted(self._answer(context)) == sorted(offsets)

    @precondition(lambda self: self.session_id)
    @rule(offsets=st.dictionaries(st.integers(0, 3), st.integers(0, 9)), forget=st.sets(st.integers(0, 3)))
    def fetch_what_changed(self, offsets: dict[int, int], forget: set[int]) -> None:
        request = fetch(offsets, session_id=self.session_id, epoch=self.epoch, forget=sorted(forget))
        context = opened(self.sessions, request)
        self.wanted = {p: o for p, o in (self.wanted | offsets).items() if p not in forget}
        self.told = {p: hw for p, hw in self.told.items() if p in self.wanted}
        assert offsets_of(context) == self.wanted
        self.epoch += 1
        self.session_id = context.session_id
        assert bool(self.session_id) == bool(self.wanted)
        news = [p for p in self.wanted if self.told.get(p) != self.watermarks[p]]
        assert sorted(self._answer(context)) == sorted(news)

    @invariant()
    def holds(self) -> None:
        self.sessions.check()

    def _answer(self, context: FetchContext) -> list[int]:
        told = []
        for key in list(context.partitions):
            hw = self.watermarks[key[1]]
            if context.is_answered(key, error_code=0, records_size=0, high_watermark=hw, log_start_offset=0):
                told.append(key[1])
                self.told[key[1]] = hw
        return told


TestSessionsAgainstAModel = SessionsAgainstAModel.TestCase
