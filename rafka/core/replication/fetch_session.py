"""Incremental fetch sessions: a client names its partitions once and then only what changed (KIP-227).

A fetch carries a session id and an epoch that the client counts up:

    id 0, epoch -1      no session: every partition named, every partition answered
    any id, epoch 0     a full fetch that asks for a new session (an old one of that id ends)
    id, epoch -1        a full fetch that ends the session
    id, epoch n > 0     incremental: partitions named are added or changed, `forgotten` ones leave, all others
                        are fetched as before; only those with something to say are answered

After epoch n the next is n + 1, and 1 after the largest int32. A wrong epoch or an unknown id is refused, and the
client starts again with a full fetch. Partitions that returned records go to the end of the line, so that a
response that is full does not always serve the same ones.

Sessions cost memory, so there are at most `slots_max`. When all are taken, the one unused for longest gives way
if it was unused for `eviction_ms`; otherwise the newcomer gets no session (id 0), which every client copes with.
Source: KIP-227; Kafka's FetchSession, FetchManager (that a larger session may displace a smaller one is left out).
"""

from collections.abc import Iterable

import attrs

from rafka.core.api.fetch_request import FetchPartition, FetchRequest
from rafka.core.errors import ErrorCode
from rafka.core.machine import Entropy
from rafka.core.types import ZERO_UUID, MonoNs, Now

MS = 1_000_000
INT32_MAX = (1 << 31) - 1
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
NO_SESSION = 0

Key = tuple[str | bytes, int]
"""A topic's name, or its id where the request's version has ids, and the partition."""


@attrs.define(eq=False)
class _Cached:
    """One partition of a session: what was asked for, and what was last answered (-1: nothing yet)."""

    wanted: FetchPartition
    high_watermark: int = -1
    log_start_offset: int = -1


@attrs.define(eq=False)
class _Session:
    session_id: int
    uses_topic_ids: bool
    partitions: dict[Key, _Cached]
    used: MonoNs
    epoch: int = 1
    """The epoch that the next request must carry."""


@attrs.define(eq=False)
class FetchContext:
    """One fetch: what to read, in order, and which results belong into the answer."""

    partitions: dict[Key, FetchPartition]
    session_id: int
    """For the response; 0: no session."""
    _session: _Session | None = None
    _is_incremental: bool = False

    def is_answered(
        self, key: Key, *, error_code: int, records_size: int, high_watermark: int, log_start_offset: int
    ) -> bool:
        """Say whether a partition's result belongs into the response, and remember it as answered.

        Call it once for each partition of the fetch. In a full fetch every result belongs; in an incremental
        one those with records, an error, or another high watermark or log start offset than last time.
        """
        if self._session is None:
            return True
        cached = self._session.partitions.get(key)
        if cached is None:
            return True  # a later fetch of this session, sent before our answer, has let go of it
        is_new = error_code != 0 or records_size > 0
        is_new = is_new or (cached.high_watermark, cached.log_start_offset) != (
            high_watermark,
            log_start_offset,
        )
        # After an error nothing counts as answered: the next good result is told whatever it is.
        failed = error_code != 0
        cached.high_watermark = -1 if failed else high_watermark
        cached.log_start_offset = -1 if failed else log_start_offset
        if records_size > 0:
            self._session.partitions[key] = self._session.partitions.pop(key)
        return is_new or not self._is_incremental


@attrs.define(eq=False)
class FetchSessions:
    """Every incremental fetch session of a broker.

    slots_max: max.incremental.fetch.session.cache.slots; eviction_ms: how long a session must be unused
    before another may take its place (Kafka: min.incremental.fetch.session.eviction.ms).
    """

    entropy: Entropy
    slots_max: int = 1000
    eviction_ms: int = 120_000
    _sessions: dict[int, _Session] = attrs.field(factory=dict)
    """By id, the one unused for longest first."""

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, request: FetchRequest, now: Now, *, uses_topic_ids: bool) -> FetchContext | ErrorCode:
        """Begin a fetch. uses_topic_ids: whether the request's version names topics by id (13 and later).

        Returns FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR for an
        incremental fetch that fits no session; the session, if there is one, stays as it was.
        """
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._sessions.pop(request.session_id, None)
            wanted = dict(_wanted(request, uses_topic_ids=uses_topic_ids))
            if request.session_epoch == FINAL_EPOCH or not wanted:
                return FetchContext(wanted, NO_SESSION)
            return self._create(wanted, now, uses_topic_ids=uses_topic_ids)
        session = self._sessions.get(request.session_id)
        if session is None:
            return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        if session.epoch != request.session_epoch:
            return ErrorCode.INVALID_FETCH_SESSION_EPOCH
        if session.uses_topic_ids != uses_topic_ids:
            return ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
        return self._go_on(session, request, now)

    def check(self) -> None:
        """Assert what must always hold."""
        assert len(self._sessions) <= self.slots_max
        used = [session.used for session in self._sessions.values()]
        assert used == sorted(used), "the one unused for longest comes first"
        for session_id, session in self._sessions.items():
            assert session_id == session.session_id != NO_SESSION
            assert 1 <= session.epoch <= INT32_MAX
            assert session.partitions, "an empty session is no session"

    def _create(self, wanted: dict[Key, FetchPartition], now: Now, *, uses_topic_ids: bool) -> FetchContext:
        if not self._has_room(now):
            return FetchContext(wanted, NO_SESSION)
        session_id = NO_SESSION
        while session_id == NO_SESSION or session_id in self._sessions:
            session_id = 1 + self.entropy.below(INT32_MAX)
        cached = {key: _Cached(partition) for key, partition in wanted.items()}
        session = _Session(session_id, uses_topic_ids, cached, now.mono)
        self._sessions[session_id] = session
        return FetchContext(wanted, session_id, session)

    def _has_room(self, now: Now) -> bool:
        if len(self._sessions) < self.slots_max:
            return True
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None or now.mono - oldest.used < self.eviction_ms * MS:
            return False
        del self._sessions[oldest.session_id]
        return True

    def _go_on(self, session: _Session, request: FetchRequest, now: Now) -> FetchContext:
        for key, partition in _wanted(request, uses_topic_ids=session.uses_topic_ids):
            cached = session.partitions.get(key)
            if cached is None:
                session.partitions[key] = _Cached(partition)
            else:
                cached.wanted = partition
        for key in _forgotten(request, uses_topic_ids=session.uses_topic_ids):
            session.partitions.pop(key, None)
        del self._sessions[session.session_id]
        if not session.partitions:
            return FetchContext({}, NO_SESSION)
        session.epoch = session.epoch + 1 if session.epoch < INT32_MAX else 1
        session.used = now.mono
        self._sessions[session.session_id] = session  # at the end: the most recently used
        wanted = {key: cached.wanted for key, cached in session.partitions.items()}
        return FetchContext(wanted, session.session_id, session, is_incremental=True)


def _wanted(request: FetchRequest, *, uses_topic_ids: bool) -> Iterable[tuple[Key, FetchPartition]]:
    for topic in request.topics:
        assert uses_topic_ids or topic.topic_id == ZERO_UUID
        name: str | bytes = topic.topic_id if uses_topic_ids else topic.topic
        for partition in topic.partitions:
            yield (name, partition.partition), partition


def _forgotten(request: FetchRequest, *, uses_topic_ids: bool) -> Iterable[Key]:
    for topic in request.forgotten_topics_data:
        name: str | bytes = topic.topic_id if uses_topic_ids else topic.topic
        for partition in topic.partitions:
            yield name, partition
