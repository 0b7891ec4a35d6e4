"""Fetch (key 1): give what there is, or wait until there is enough, or until the client's time is up.

Records are never looked at: an answer is a list of slices of segment files. Where the wanted batch lies is known
from memory for the newest ones; for older ones a script reads batch headers from the nearest index entry, and the
fetch goes on when all its scripts are done.

Limits, in the request's order of partitions: `partition_max_bytes` each, `max_bytes` (at most fetch.max.bytes) in
all; but the first partition with anything to give gives one whole batch, however large, so that no client is stuck.

A fetch that finds less than `min_bytes`, and no error, waits in every partition it reads. A partition that was not
there when the fetch came does not end the wait of the others, or a consumer of a deleted topic would ask again and
again. Partitions that move mark a fetch, and marked fetches are looked at once a turn.
Sources: KIP-74, KIP-227, KIP-320, KIP-392, KIP-516, KIP-595; Kafka's `ReplicaManager.readFromLog`, `DelayedFetch`.
"""

from collections import Counter

import attrs

from rafka.core.api.fetch_request import FetchPartition, FetchRequest
from rafka.core.api.fetch_response import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchResponse,
    PartitionData,
)
from rafka.core.effects import Reply
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested
from rafka.core.log.segment import Place
from rafka.core.machine import Outbox
from rafka.core.node.parking import Parking
from rafka.core.node.partitions import Partitions
from rafka.core.replication.fetch_session import FetchContext, FetchSessions, Key
from rafka.core.replication.partition import Partition
from rafka.core.script import Running, run
from rafka.core.types import ZERO_UUID, ConnId, FileSlice, Now, Ticket

IDS_FROM = 13
READ_COMMITTED = 1
STORAGE_ERROR_FROM = 6
"""Clients of older versions do not know the code, and look for another leader instead."""


class Fetch:
    """A fetch under way. places: where lookups found a partition's offset, or why they did not."""

    __slots__ = (
        "conn",
        "context",
        "correlation",
        "lookups",
        "missing",
        "places",
        "request",
        "ticket",
        "until_ns",
        "uses_ids",
        "version",
    )

    def __init__(self, event: Requested, request: FetchRequest, context: FetchContext, until_ns: int) -> None:
        self.conn: ConnId = event.conn
        self.correlation = event.correlation
        self.version = event.api_version
        self.uses_ids = event.api_version >= IDS_FROM
        self.request = request
        self.context = context
        self.places: dict[Key, Place | ErrorCode] = {}
        self.lookups: list[Running[Place | ErrorCode]] = []
        self.until_ns = until_ns
        self.missing: dict[Key, None] | None = None
        """Partitions that were not there when it came; None: not looked yet."""
        self.ticket = Ticket(0)
        """Not 0 while it waits for more."""


class Lookup:
    """Why a lookup runs: for which partition of which fetch."""

    __slots__ = ("fetch", "key")

    def __init__(self, fetch: Fetch, key: Key) -> None:
        self.fetch = fetch
        self.key = key


@attrs.define(eq=False)
class _Taken:
    """What one look at all partitions gave."""

    rows: list[tuple[Key, PartitionData]] = attrs.field(factory=list)
    size_bytes: int = 0
    is_urgent: bool = False
    """Whether something is to be said at once: an error, or an epoch that parted from ours."""


@attrs.define(eq=False)
class Fetches:
    """Serves Fetch over the node's partitions. bytes_max: fetch.max.bytes."""

    out: Outbox
    partitions: Partitions
    parking: Parking
    sessions: FetchSessions
    bytes_max: int
    errors: Counter[int] = attrs.field(factory=Counter)
    """How often each error code was in an answer."""
    _marked: dict[Ticket, None] = attrs.field(factory=dict)
    _of_conn: dict[ConnId, dict[Fetch, None]] = attrs.field(factory=dict)
    """Fetches without an answer, by connection, so that none outlives it."""

    def handle(self, event: Requested, now: Now) -> None:
        """Begin a fetch, and answer it if it need not wait."""
        request = event.body
        assert isinstance(request, FetchRequest)
        opened = self.sessions.open(request, now, uses_topic_ids=event.api_version >= IDS_FROM)
        if isinstance(opened, ErrorCode):
            self.errors[opened] += 1
            self.out.effects.append(Reply(event.conn, event.correlation, FetchResponse(error_code=opened)))
            return
        fetch = Fetch(event, request, opened, now.mono + max(request.max_wait_ms, 0) * 1_000_000)
        self._look(fetch, now)

    def moved(self, partition: Partition) -> None:
        """Mark the fetches that wait in a partition: there may be enough to give now."""
        self._marked.update(partition.readers)

    def look_again(self, now: Now) -> None:
        """Look at every fetch that was marked; once a turn."""
        while self._marked:
            marked, self._marked = self._marked, {}
            for ticket in marked:
                fetch = self.parking.find(ticket)
                if isinstance(fetch, Fetch):
                    self._unpark(fetch)
                    self._look(fetch, now)

    def found(self, running: Running[object], lookup: Lookup, now: Now) -> None:
        """Take the result of a lookup; go on when it was the last."""
        fetch = lookup.fetch
        result = running.result
        fetch.lookups = [other for other in fetch.lookups if other is not running]
        fetch.places[lookup.key] = result if isinstance(result, Place | ErrorCode) else _FAILED
        if not fetch.lookups:
            self._look(fetch, now)

    def timed_out(self, fetch: Fetch, now: Now) -> None:
        """Answer a fetch with what there is."""
        self._leave_readers(fetch)
        fetch.ticket = Ticket(0)
        self._look(fetch, now)

    def disconnected(self, conn: ConnId) -> None:
        """Forget the fetches of a connection that has ended."""
        for fetch in self._of_conn.pop(conn, {}):
            for lookup in fetch.lookups:
                lookup.cancel()
            if fetch.ticket:
                self._unpark(fetch)

    def answer_all(self, now: Now) -> None:
        """Answer every fetch that waits: the node stops."""
        for parked in self.parking.all():
            if isinstance(parked, Fetch):
                parked.until_ns = now.mono
                self._unpark(parked)
                self._look(parked, now)

    # ---- looking -----------------------------------------------------------------------------------

    def _look(self, fetch: Fetch, now: Now) -> None:
        """Take what there is; look it up, answer, or wait."""
        taken = self._take(fetch)
        if fetch.lookups:
            self._of_conn.setdefault(fetch.conn, {})[fetch] = None
            return
        enough = taken.is_urgent or taken.size_bytes >= fetch.request.min_bytes
        is_hopeless = fetch.missing is not None and len(fetch.missing) == len(taken.rows)
        if enough or now.mono >= fetch.until_ns or is_hopeless:
            self._answer(fetch, taken)
        else:
            self._wait(fetch, now)

    def _take(self, fetch: Fetch) -> _Taken:
        taken = _Taken()
        is_first_look = fetch.missing is None
        missing: dict[Key, None] = fetch.missing or {}
        fetch.missing = missing
        room = min(max(fetch.request.max_bytes, 0), self.bytes_max)
        for key, wanted in fetch.context.partitions.items():
            partition = self._partition(key)
            if isinstance(partition, ErrorCode):
                data = _refused(wanted.partition, partition)
                if is_first_look:
                    missing[key] = None
            else:
                data = self._read(fetch, key, partition, wanted, room - taken.size_bytes, taken)
            has_news = data.error_code != 0 or data.diverging_epoch.epoch != -1
            taken.is_urgent = taken.is_urgent or (has_news and key not in missing)
            taken.rows.append((key, data))
            taken.size_bytes += _size_of(data)
        return taken

    def _partition(self, key: Key) -> Partition | ErrorCode:
        topic, index = key
        if isinstance(topic, str):
            found = self.partitions.by_name(topic)
        else:
            found = self.partitions.by_id(topic)  # type: ignore[arg-type]  # bytes of a request are an id
            if found is None:
                return ErrorCode.UNKNOWN_TOPIC_ID
        partition = None if found is None else found.get(index)
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if partition is None else partition

    def _read(
        self, fetch: Fetch, key: Key, partition: Partition, wanted: FetchPartition, room: int, taken: _Taken
    ) -> PartitionData:
        log = partition.log
        refusal = _refusal(partition, wanted)
        if refusal is not None:
            return _refused(wanted.partition, refusal)
        data = PartitionData(
            partition_index=wanted.partition,
            high_watermark=partition.high_watermark,
            last_stable_offset=partition.last_stable_offset,
            log_start_offset=log.log_start_offset,
            aborted_transactions=[] if fetch.request.isolation_level == READ_COMMITTED else None,
            records=b"",
        )
        if wanted.last_fetched_epoch >= 0:
            epoch, end = log.epoch_end(wanted.last_fetched_epoch)
            if epoch < 0:  # the reader knows an epoch that this log never had
                return _refused(wanted.partition, ErrorCode.OFFSET_OUT_OF_RANGE)
            if epoch < wanted.last_fetched_epoch or end < wanted.fetch_offset:
                data.diverging_epoch = EpochEndOffset(epoch=epoch, end_offset=end)
                return data
        if wanted.fetch_offset >= partition.high_watermark:
            return data
        place = log.find(wanted.fetch_offset) or self._place(fetch, key, partition, wanted)
        if isinstance(place, ErrorCode):
            return _refused(wanted.partition, place)
        if place is not None:
            is_first = taken.size_bytes == 0
            bytes_max = min(wanted.partition_max_bytes, room)
            # A later partition gives no part of a batch: with it alone its reader could do nothing.
            if is_first or bytes_max >= place.size_bytes:
                end = partition.high_watermark
                data.records = log.slices(place, max(bytes_max, 0), end, at_least_one=is_first) or b""
        return data

    def _place(
        self, fetch: Fetch, key: Key, partition: Partition, wanted: FetchPartition
    ) -> Place | ErrorCode | None:
        """Return what a lookup found earlier, or begin one."""
        place = fetch.places.get(key)
        if isinstance(place, Place) and not partition.log.has(place):
            del fetch.places[key]  # the log was cleaned or truncated since
            place = None
        if place is None:
            running = run(partition.log.lookup(wanted.fetch_offset), self.out, Lookup(fetch, key))
            fetch.lookups.append(running)
        return place

    # ---- answering and waiting ---------------------------------------------------------------------

    def _answer(self, fetch: Fetch, taken: _Taken) -> None:
        context = fetch.context
        topics: list[FetchableTopicResponse] = []
        for key, data in taken.rows:
            if data.error_code:
                if data.error_code == ErrorCode.KAFKA_STORAGE_ERROR and fetch.version < STORAGE_ERROR_FROM:
                    data.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER
                self.errors[data.error_code] += 1
            size_bytes = _size_of(data)
            if size_bytes and isinstance(partition := self._partition(key), Partition):
                partition.log.traffic.fetched_bytes += size_bytes
            told = context.is_answered(
                key,
                error_code=data.error_code,
                records_size=size_bytes,
                high_watermark=data.high_watermark,
                log_start_offset=data.log_start_offset,
            )
            if told:
                _topic_of(topics, key).partitions.append(data)
        self._forget(fetch)
        response = FetchResponse(session_id=context.session_id, responses=topics)
        self.out.effects.append(Reply(fetch.conn, fetch.correlation, response))

    def _wait(self, fetch: Fetch, now: Now) -> None:
        left_ms = -(-(fetch.until_ns - now.mono) // 1_000_000)
        ticket = self.parking.park(fetch, now, left_ms)
        self._of_conn.setdefault(fetch.conn, {})[fetch] = None
        for key in fetch.context.partitions:
            partition = self._partition(key)
            if isinstance(partition, Partition):
                partition.readers[ticket] = None

    def _unpark(self, fetch: Fetch) -> None:
        self.parking.finish(fetch.ticket)
        self._leave_readers(fetch)
        fetch.ticket = Ticket(0)

    def _leave_readers(self, fetch: Fetch) -> None:
        for key in fetch.context.partitions:
            partition = self._partition(key)
            if isinstance(partition, Partition):
                partition.readers.pop(fetch.ticket, None)

    def _forget(self, fetch: Fetch) -> None:
        fetches = self._of_conn.get(fetch.conn)
        if fetches is not None:
            fetches.pop(fetch, None)
            if not fetches:
                del self._of_conn[fetch.conn]


_FAILED = ErrorCode.KAFKA_STORAGE_ERROR


def _refusal(partition: Partition, wanted: FetchPartition) -> ErrorCode | None:
    log = partition.log
    refusal = partition.epoch_refusal(wanted.current_leader_epoch)
    if refusal is not None:
        return refusal
    if log.is_offline and wanted.fetch_offset >= partition.high_watermark:
        return ErrorCode.KAFKA_STORAGE_ERROR
    if not log.log_start_offset <= wanted.fetch_offset <= log.log_end_offset:
        return ErrorCode.OFFSET_OUT_OF_RANGE
    return None


def _refused(index: int, code: ErrorCode) -> PartitionData:
    return PartitionData(partition_index=index, error_code=code, high_watermark=-1, records=b"")


def _size_of(data: PartitionData) -> int:
    records = data.records
    if not isinstance(records, list):
        return 0
    return sum(piece.length for piece in records if isinstance(piece, FileSlice))


def _topic_of(topics: list[FetchableTopicResponse], key: Key) -> FetchableTopicResponse:
    """Return the entry of a partition's topic; partitions of one topic that follow each other share it."""
    name = key[0] if isinstance(key[0], str) else ""
    topic_id = ZERO_UUID if isinstance(key[0], str) else key[0]
    if not topics or topics[-1].topic != name or topics[-1].topic_id != topic_id:
        topics.append(FetchableTopicResponse(topic=name, topic_id=topic_id))  # type: ignore[arg-type]
    return topics[-1]
