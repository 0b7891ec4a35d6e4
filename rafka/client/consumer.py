"""The consumer's machine: partitions assigned by hand or by a group, positions, fetches ahead of the user.

A record counts as processed when the user asks for more after having got it: only then may its offset be committed
automatically (`safe`), and only then may a rebalance take its partition away. So a member joins a rebalance when
its user polls, not before, as Kafka's does.

Fetches (`fetching.py`) run ahead of the user: at most one answer's bytes and `max_poll_records` records of a
partition wait here. Only uncommitted reads: the records of transactions that were aborted are not left out.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from rafka.client.cluster import MS
from rafka.client.errors import (
    ClientError,
    Closed,
    NoOffset,
    TimedOut,
    is_retriable,
)
from rafka.client.fetching import Fetcher
from rafka.client.machine import ClientMachine
from rafka.client.member import Member
from rafka.client.membership import Assignment
from rafka.client.offsets import OffsetAndTimestamp, TopicPartition, know, list_offsets
from rafka.client.outputs import Pending
from rafka.client.reading import ConsumerRecord, Reading
from rafka.client.script import Sleep, Steps
from rafka.client.settings import LATEST, RESETS, ClientSettings, ConsumerSettings, check_consumer
from rafka.core.machine import Entropy
from rafka.core.record.compression import Codecs
from rafka.core.shape import value
from rafka.core.types import MonoNs, Now

LOOK_MS = 5
CLOSE_MS = 10_000


@value
class Assigned:
    """The group gave this member partitions: all that it has."""

    partitions: list[TopicPartition]


@value
class Revoked:
    """The group rebalances: these partitions were given up, after their offsets were committed if that is automatic."""

    partitions: list[TopicPartition]


@value
class Lost:
    """The group has gone on without this member: others may have read from these partitions already."""

    partitions: list[TopicPartition]


Notice = Assigned | Revoked | Lost


class Consumer(ClientMachine):
    """See the file's header."""

    def __init__(
        self, settings: ClientSettings, consuming: ConsumerSettings, entropy: Entropy, codecs: Codecs
    ) -> None:
        check_consumer(consuming)
        super().__init__(settings, entropy, may_create=consuming.allow_auto_create_topics)
        self.consuming = consuming
        self._readings: dict[TopicPartition, Reading] = {}
        self._topics: list[str] = []
        """What is subscribed to; none if partitions are assigned by hand."""
        group = consuming.group_id
        self._member = None if group is None else Member(self.cluster, consuming, self.scripts)
        self._joining: Pending[Assignment] | None = None
        self._is_processing = False
        """Whether the user has records that it may not have processed yet."""
        self._polled_at = MonoNs(0)
        self._fetcher = Fetcher(self.cluster, consuming, codecs)
        self._locating: tuple[Pending[dict[TopicPartition, int]], dict[TopicPartition, int]] | None = None
        """The look-up under way, and the versions of the partitions that it is for."""
        self._readers: list[Pending[None]] = []
        self._notices: list[Notice] = []
        self._error: ClientError | None = None
        self._commit: Pending[None] | None = None
        self._commit_due = MonoNs(0)
        self._closing: Pending[None] | None = None
        self._closed = Pending[None]()
        self._worked_at = MonoNs(0)

    # ---- what to read --------------------------------------------------------------------------------

    def subscribe(self, topics: Iterable[str], now: Now) -> None:
        """Share these topics with the other members of the group; none: leave it. Raises ClientError."""
        self._must_be_open()
        if self._member is None:
            raise ClientError("a subscription needs a group_id")
        if isinstance(topics, str):
            raise ClientError("topics: a list of names")
        self._topics = list(dict.fromkeys(topics))
        if self._member.error is not None:
            raise self._member.error
        self._polled_at = now.mono
        self._must_work = True
        if self._topics:
            self.cluster.want(self._topics)
            self._member.must_rejoin = True
        else:
            self._stop_joining()
            self._give_up(Revoked)
            self.run(self._member.leave(), now, "leaving the group", CLOSE_MS)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, whatever a group may say. Raises ClientError if topics are subscribed to."""
        self._must_be_open()
        if self._topics:
            raise ClientError("partitions are assigned by the group: subscribe([]) first")
        self._set_readings(partitions)

    def subscription(self) -> list[str]:
        """Return the topics subscribed to."""
        return list(self._topics)

    def assignment(self) -> list[TopicPartition]:
        """Return the partitions that are read."""
        return list(self._readings)

    def notices(self) -> list[Notice]:
        """Return, once each, what the group has done with this member's partitions."""
        notices, self._notices = self._notices, []
        return notices

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Return no records of these until they are resumed. Raises ClientError if one is not assigned."""
        for place in partitions:
            self._reading(place).is_paused = True

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Return records of these again. Raises ClientError if one is not assigned."""
        for place in partitions:
            self._reading(place).is_paused = False

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Go on from an offset. Raises ClientError if the partition is not assigned."""
        self._reading(place).jump(offset)

    def seek_to(self, partitions: Iterable[TopicPartition], timestamp: int) -> None:
        """Go on from where these partitions begin (EARLIEST), end (LATEST), or from the first record of that time."""
        for place in partitions:
            self._reading(place).lose_place(timestamp, ignores_committed=True)

    def high_watermark(self, place: TopicPartition) -> int:
        """Return where a partition ended when it was last fetched; -1 before. Raises ClientError."""
        return self._reading(place).high_watermark

    # ---- reading -------------------------------------------------------------------------------------

    def poll(self, now: Now, max_records: int | None = None) -> list[ConsumerRecord]:
        """Return records that are there, if any; what was returned before counts as processed.

        Raises: NoOffset, BrokerError for what will not get better, CorruptRecord wrapped as ClientError.
        """
        self._asks_for_more(now)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        limit = self.consuming.max_poll_records if max_records is None else max_records
        given: list[ConsumerRecord] = []
        for place, reading in list(self._readings.items()):
            if len(given) >= limit:
                break
            if reading.records and not reading.is_paused:
                given += reading.give(limit - len(given))
                self._readings[place] = self._readings.pop(place)  # the others first, next time
        self._is_processing = bool(given)
        return given

    def readable(self, now: Now) -> Pending[None]:
        """Wait until `poll` has something to return, or to raise."""
        self._asks_for_more(now)
        pending = Pending[None]()
        self._readers.append(pending)
        self._wake_readers()
        return pending

    def stop_waiting(self, pending: Pending[None]) -> None:
        """Forget a `readable` that nobody waits for any more."""
        if pending in self._readers:
            self._readers.remove(pending)

    def _asks_for_more(self, now: Now) -> None:
        self._must_be_open()
        self._must_work = True
        self._polled_at = now.mono
        if self._is_processing:
            self._is_processing = False
            for reading in self._readings.values():
                reading.safe = reading.position
        self._work_in_group(now)

    def _wake_readers(self) -> None:
        is_there = self._error is not None or any(
            reading.records and not reading.is_paused for reading in self._readings.values()
        )
        if is_there and self._readers:
            for pending in self._readers:
                self.out.settle(pending, None)
            self._readers.clear()

    # ---- offsets -------------------------------------------------------------------------------------

    def position(self, place: TopicPartition, now: Now) -> Pending[int]:
        """Tell the offset of the next record that `poll` returns. Fails with ClientError if it is not assigned."""
        return self.run(self._position(place), now, f"the position in {place}")

    def commit(self, now: Now, offsets: Mapping[TopicPartition, int] | None = None) -> Pending[None]:
        """Commit offsets: of the next record to read, each; None: of all that `poll` has returned.

        Fails with CommitFailed if the group has moved on.
        """
        chosen = self._positions() if offsets is None else _by_place(offsets)
        return self.run(self._with_group().commit(chosen), now, "a commit")

    def committed(self, partitions: Iterable[TopicPartition], now: Now) -> Pending[dict[TopicPartition, int]]:
        """Tell what the group has committed; partitions of which it has nothing are left out."""
        places = [TopicPartition(*place) for place in partitions]
        return self.run(self._with_group().committed(places), now, "the committed offsets")

    def offsets_for(
        self, times: Mapping[TopicPartition, int], now: Now
    ) -> Pending[dict[TopicPartition, OffsetAndTimestamp]]:
        """Tell the first offset whose record's time is this or later, ms; -1 if there is none. EARLIEST, LATEST too."""
        return self.run(list_offsets(self.cluster, _by_place(times)), now, "a look-up of offsets")

    def partitions_for(self, topic: str, now: Now) -> Pending[list[TopicPartition]]:
        """Tell the partitions of a topic. Fails with BrokerError if there is no such topic."""
        return self.run(self._partitions(topic), now, f"the partitions of {topic}")

    # ---- its end -------------------------------------------------------------------------------------

    def close(self, now: Now, *, is_processed: bool = True) -> Pending[None]:
        """Commit if that is automatic, leave the group, end. is_processed: whether all that was polled counts."""
        self._must_work = True
        if self.is_closed:
            self.out.settle(self._closed, None)
        elif self._closing is None:
            if is_processed:
                for reading in self._readings.values():
                    reading.safe = reading.position
            self._stop_joining()
            steps = self._leave(self._offsets_to_commit())
            self._closing = self.scripts.run(steps, now, "closing the consumer", CLOSE_MS)
        return self._closed

    def abandon(self) -> None:
        """End at once: nothing is committed, and the group waits until the session times out."""
        super().abandon()
        for pending in self._readers:
            self.out.fail(pending, Closed("the consumer was closed"))
        self._readers.clear()
        self.out.settle(self._closed, None)

    def _leave(self, offsets: dict[TopicPartition, int]) -> Steps[None]:
        if self._member is None:
            return
        with suppress(ClientError):  # what was not committed will be read again
            yield from self._member.commit(offsets, is_final=True)
        with suppress(ClientError):  # the session will time out
            yield from self._member.leave()

    # ---- the turn --------------------------------------------------------------------------------------

    def _work(self, now: Now) -> None:
        self._worked_at = now.mono
        if self._closing is not None:
            if self._closing.is_done:
                self.abandon()
            return
        self._work_in_group(now)
        self._commit_now_and_then(now)
        self._locate(now)
        self._fetcher.fetch(self._readings.values(), now)
        if self._fetcher.error is not None:
            self._error, self._fetcher.error = self._fetcher.error, None
        self._wake_readers()

    def _due(self) -> MonoNs | None:
        if self._closing is not None:
            return None
        dues = [] if self._member is None else [self._member.deadline()]
        if self._readings and self._commits_automatically():
            dues.append(self._commit_due)
        if self._member is not None and self._member.is_in:
            dues.append(self._too_long_at())
        dues += [reading.retry_at for reading in self._readings.values() if reading.failures]
        # What was due at the last turn was done then, or waits for an answer.
        return min((due for due in dues if due is not None and due > self._worked_at), default=None)

    # ---- the group -------------------------------------------------------------------------------------

    def _work_in_group(self, now: Now) -> None:
        member = self._member
        if member is None or not self._topics or self._closing is not None:
            return
        if self._joining is not None:
            if self._joining.is_done:
                joining, self._joining = self._joining, None
                self._joined(joining, now)
            return
        member.tick(now)
        if member.is_in and self._too_long_at() <= now.mono and not self._readers:
            self.run(member.leave(), now, "leaving the group", CLOSE_MS)  # the user does not poll
            member.must_rejoin = member.is_lost = True
        if member.is_lost and self._readings:
            self._give_up(Lost)
        if member.error is not None:
            self._error, member.error = member.error, None
            self._topics = []
        elif member.must_rejoin and not self._is_processing and self._is_polled(now):
            offsets = {} if member.is_lost else self._offsets_to_commit()
            self._give_up(Revoked)
            self._joining = self.scripts.run(self._rejoin(member, offsets), now, "joining the group")

    def _rejoin(self, member: Member, offsets: dict[TopicPartition, int]) -> Steps[Assignment]:
        if member.generation >= 0:
            with suppress(ClientError):  # the group has moved on, or will tell when we join
                yield from member.commit(offsets, is_final=True)
        return (yield from member.join(self._topics))

    def _joined(self, joining: Pending[Assignment], now: Now) -> None:
        try:
            assignment = joining.result()
        except ClientError as error:
            self._error = error
            self._topics = []
            return
        places = [TopicPartition(topic, n) for topic, indexes in assignment.items() for n in indexes]
        self._set_readings(places)
        assert self._member is not None
        self._member.begin(now)
        self._commit_due = MonoNs(now.mono + self.consuming.auto_commit_interval_ms * MS)
        self._notices.append(Assigned(places))

    def _give_up(self, kind: type[Revoked] | type[Lost]) -> None:
        if self._readings:
            self._notices.append(kind(list(self._readings)))
            self._set_readings([])

    def _stop_joining(self) -> None:
        if self._joining is not None:
            self.scripts.stop(self._joining, Closed("not joining any more"))
            self._joining = None

    def _is_polled(self, now: Now) -> bool:
        return bool(self._readers) or self._too_long_at() > now.mono

    def _too_long_at(self) -> MonoNs:
        return MonoNs(self._polled_at + self._patience_ns())

    def _patience_ns(self) -> int:
        return self.consuming.max_poll_interval_ms * MS

    def _with_group(self) -> Member:
        if self._member is None:
            raise ClientError("offsets are committed to a group: set group_id")
        return self._member

    # ---- committing ------------------------------------------------------------------------------------

    def _commits_automatically(self) -> bool:
        return self._member is not None and self.consuming.enable_auto_commit

    def _positions(self) -> dict[TopicPartition, int]:
        return {place: r.position for place, r in self._readings.items() if r.position is not None}

    def _offsets_to_commit(self) -> dict[TopicPartition, int]:
        if not self._commits_automatically():
            return {}
        return {place: r.safe for place, r in self._readings.items() if r.safe is not None}

    def _commit_now_and_then(self, now: Now) -> None:
        if not self._readings or not self._commits_automatically() or self._commit_due > now.mono:
            return
        self._commit_due = MonoNs(now.mono + self.consuming.auto_commit_interval_ms * MS)
        offsets = self._offsets_to_commit()
        if offsets and (self._commit is None or self._commit.is_done):
            # What becomes of it is no news: the next one commits as much, and a lost group tells the heartbeat.
            self._commit = self.run(self._with_group().commit(offsets), now, "an automatic commit")

    # ---- positions -------------------------------------------------------------------------------------

    def _set_readings(self, places: Iterable[TopicPartition]) -> None:
        before = self._readings
        self._readings = {
            place: self._readings.get(place) or Reading(place)
            for place in (TopicPartition(*place) for place in places)
        }
        self._is_processing = False
        self._must_work = True
        for place, reading in before.items():
            if place not in self._readings:
                reading.lose_place(None, ignores_committed=False)  # what is under way is not for it any more
        topics = {place.topic for place in self._readings}
        for name in dict.fromkeys(place.topic for place in before):
            if name not in topics and name not in self._topics:
                self.cluster.forget(name)
        self.cluster.want(place.topic for place in self._readings)

    def _reading(self, place: TopicPartition) -> Reading:
        self._must_be_open()
        self._must_work = True
        reading = self._readings.get(place)
        if reading is None:
            raise ClientError(f"{place[0]}-{place[1]} is not assigned to this consumer")
        return reading

    def _locate(self, now: Now) -> None:
        """Look up the positions that are not known."""
        if self._locating is not None:
            pending, versions = self._locating
            if not pending.is_done:
                return
            self._locating = None
            self._located(pending, versions, now)
        lost = [
            reading
            for reading in self._readings.values()
            if reading.next_fetch is None and reading.retry_at <= now.mono
        ]
        if lost:
            versions = {reading.place: reading.version for reading in lost}
            pending = self.run(self._look_up(lost), now, "looking up where to begin")
            self._locating = pending, versions
            self._must_work = pending.is_done  # nothing else would come that makes us look

    def _look_up(self, lost: list[Reading]) -> Steps[dict[TopicPartition, int]]:
        policy = RESETS[self.consuming.auto_offset_reset]
        times = {reading.place: reading.reset for reading in lost}
        found: dict[TopicPartition, int] = {}
        if self._member is not None:
            asked = [r.place for r in lost if not r.ignores_committed and r.reset is None]
            found = yield from self._member.committed(asked)
        wanted: dict[TopicPartition, int] = {}
        for place, time in times.items():
            if place not in found:
                chosen = policy if time is None else time
                if chosen is None:
                    raise NoOffset(f"{place}: no offset to begin at, and auto_offset_reset is none")
                wanted[place] = chosen
        listed = yield from list_offsets(self.cluster, wanted)
        found |= {place: told.offset for place, told in listed.items() if told.offset >= 0}
        missing = [place for place in wanted if place not in found]  # no record of that time or later
        ends = yield from list_offsets(self.cluster, dict.fromkeys(missing, LATEST))
        return found | {place: told.offset for place, told in ends.items()}

    def _located(
        self, pending: Pending[dict[TopicPartition, int]], versions: dict[TopicPartition, int], now: Now
    ) -> None:
        try:
            found = pending.result()
        except ClientError as error:
            if not isinstance(error, TimedOut) and not is_retriable(error):
                self._error = error
            for place in versions:
                reading = self._readings.get(place)
                if reading is not None:
                    reading.failed(self.cluster, now)
            return
        for place, offset in found.items():
            reading = self._readings.get(place)
            if reading is not None and reading.version == versions[place] and reading.next_fetch is None:
                reading.jump(offset)
                reading.failures = 0

    def _position(self, place: TopicPartition) -> Steps[int]:
        while True:
            position = self._reading(place).position
            if position is not None:
                return position
            yield Sleep(LOOK_MS)

    def _partitions(self, topic: str) -> Steps[list[TopicPartition]]:
        yield from know(self.cluster, [topic])
        return [TopicPartition(topic, index) for index in sorted(self.cluster.topology.topics[topic].leaders)]


def _by_place(numbers: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Take plain tuples for partitions, too."""
    return {TopicPartition(*place): number for place, number in numbers.items()}
