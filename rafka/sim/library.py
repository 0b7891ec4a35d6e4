"""Users of the shipped client library in the world: its own machines under faults, held against the ledger.

    LB1   a record that rafka.client was given is acknowledged in the end: nothing was damaged, so there is no reason
    TX1   an idempotent producer's records lie in the order in which they were given to it, and none twice
    LB2   a consumer is given every record of its partitions once and in order, until it loses its place by name
    GR5   a group's members are given every acknowledged record at least once, whoever they are by then

The rules of the ledger (LO1, LO2, LO3, LO7, GR1) hold besides.
"""

from bisect import insort
from collections.abc import Callable
from typing import Any

import attrs

from rafka.client.admin import Admin
from rafka.client.batches import Delivery
from rafka.client.consumer import Assigned, Consumer
from rafka.client.errors import BufferFull, ClientError, CommitFailed
from rafka.client.offsets import TopicPartition
from rafka.client.outputs import Pending
from rafka.client.producer import Producer
from rafka.client.reading import ConsumerRecord
from rafka.client.settings import LATEST, ClientSettings, ConsumerSettings, ProducerSettings
from rafka.core.record.compression import CODEC_NAMES
from rafka.sim.chance import Chance
from rafka.sim.driven import ADDRESS, Driven, User, Within
from rafka.sim.ledger import Violation
from rafka.sim.scene import Scene
from rafka.sim.talk import Wait
from rafka.sim.world import World

DELIVERY_MS = 60_000
"""So long a well broker has to take a record; longer than any trouble lasts."""
ROUNDS_AFTER = 12
FETCH_WAIT_MS = 100
"""The library fetches ahead, one fetch after the other: without a wait it would do nothing else."""
BUFFERS = (2_000, 1 << 20)
BATCHES = (1, 200, 16_000)


def settings_of(name: str, scene: Scene) -> ClientSettings:
    """Return what every client of the library is told here."""
    knobs = scene.knobs
    return ClientSettings(
        ADDRESS,
        client_id=name,
        request_timeout_ms=knobs.client_timeout_ms + knobs.fetch_wait_ms,
        connect_timeout_ms=knobs.client_timeout_ms,
        backoff_ms=20,
        backoff_max_ms=500,
        metadata_max_age_ms=2_000,
        operation_timeout_ms=DELIVERY_MS,
    )


@attrs.define(eq=False)
class Sent:
    """A record on its way. serial: how many were sent before it; process: of the history."""

    serial: int
    key: str
    value: str
    slot: int
    process: int
    delivery: Delivery


class LibraryProducer:
    """Somebody who sends records by rafka.client.Producer. wants_acks: else nobody tells what became of them."""

    def __init__(
        self, name: str, scene: Scene, chance: Chance, world: World, *, wants_acks: bool = True
    ) -> None:
        self.name = name
        self.scene = scene
        self.chance = chance
        self.wants_acks = wants_acks
        knobs = scene.knobs
        producing = ProducerSettings(
            acks="all" if wants_acks else 0,
            enable_idempotence=wants_acks,
            linger_ms=chance.one_of(0, 5, 100),
            batch_size=chance.one_of(*BATCHES),
            compression_type=CODEC_NAMES[knobs.codec] if knobs.codec else "none",
            max_in_flight=knobs.in_flight,
            delivery_timeout_ms=DELIVERY_MS,
            topic_timeout_ms=DELIVERY_MS,
            buffer_memory=chance.one_of(*BUFFERS),
            allow_auto_create_topics=False,
        )
        self.machine = Producer(settings_of(name, scene), producing, chance.fork("entropy"), scene.codecs)
        self.client = Driven(name, self.machine, self.user, world, chance)
        self.client.on_turn = self._settle
        self._under_way: list[Sent] = []
        self._serial = 0
        self._doubts = 0
        """How many records nobody can say of whether they were written; a process in doubt sends nothing more."""
        self._order: dict[str, list[tuple[int, int]]] = {}
        """By partition: (serial, offset) of all that was acknowledged, in the order of sending."""

    def user(self) -> User:
        """Send until the run is over, and see that all of it is acknowledged."""
        scene, chance = self.scene, self.chance
        while not scene.is_over:
            for _ in range(1 + chance.below(scene.knobs.batch_records)):
                size_bytes = self._send()
                if size_bytes:
                    yield self.machine.room(size_bytes)
            if chance.happens(0.1):
                yield self.machine.flush()
            else:
                yield Wait(chance.draw() * scene.knobs.think_ms)
        yield self.machine.close()
        if self._under_way:
            raise Violation("LB1", f"{self.name} is closed, and {self._under_way[0].delivery} is not settled")

    def _send(self) -> int:
        """Send one record; return its size if there is no room for it, else 0."""
        scene, chance, machine = self.scene, self.chance, self.machine
        topics = list(scene.topics.values())
        topic = topics[chance.below(len(topics))]
        by_hand, by_key = chance.happens(0.3), chance.happens(0.5)
        partition = chance.below(scene.knobs.partitions)
        padding = bytes(1 + chance.below(scene.knobs.value_bytes))
        known = machine.cluster.topology.topics.get(topic.name)
        is_placed = known is not None and not known.error and not by_hand  # as its key has it, or anywhere
        value = scene.value(self.name)
        key = f"key {chance.below(20)}".encode() if by_key else None
        try:
            delivery = machine.send(
                topic.name,
                value.encode() + b"\0" + padding,
                self.client.now,
                key=key,
                partition=None if is_placed else partition,
            )
        except BufferFull as full:
            scene.ledger.count("library: waits for room")
            return full.size_bytes
        index = delivery.partition if delivery.partition >= 0 else partition
        used = [sent.slot for sent in self._under_way]
        slot = next(slot for slot in range(len(used) + 1) if slot not in used)
        process = scene.process(f"{self.name}.{slot}.{self._doubts}")
        sent = Sent(self._serial, topic.key(index), value, slot, process, delivery)
        self._serial += 1
        self._under_way.append(sent)
        scene.ledger.sends(sent.key, [value])
        scene.note(process, "invoke", "send", [["send", sent.key, value]])
        return 0

    def _settle(self) -> None:
        """Take note of what is done."""
        done = [sent for sent in self._under_way if sent.delivery.is_done]
        self._under_way = [sent for sent in self._under_way if not sent.delivery.is_done]
        for sent in done:
            self._settled(sent)

    def _settled(self, sent: Sent) -> None:
        scene, ledger, key = self.scene, self.scene.ledger, sent.key
        error, offset = sent.delivery.error, sent.delivery.offset
        self._doubts += error is not None or not self.wants_acks
        if error is not None:
            scene.note(sent.process, "info", "send")
            ledger.count(f"library: not sent: {type(error).__name__}")
            # A partition that is damaged holds up the others: a new producer id waits for all that bears the old one.
            if self.wants_acks and not (ledger.damaged or ledger.book(key).is_gone):
                raise Violation("LB1", f"{key}: {sent.value} of {self.name}: {error}")
        elif not self.wants_acks:
            scene.note(sent.process, "info", "send")
            ledger.count("library: sent with acks=0")
        elif offset < 0:
            scene.note(sent.process, "ok", "send", [["send", key, [None, sent.value]]])
            ledger.is_somewhere(key, sent.value)
            ledger.count("library: acknowledged without an offset")
        else:
            scene.note(sent.process, "ok", "send", [["send", key, [offset, sent.value]]])
            ledger.count("library: acknowledged")
            ledger.acknowledged(key, [sent.value], offset, "")
            self._is_in_order(sent, offset)

    def _is_in_order(self, sent: Sent, offset: int) -> None:
        if self.scene.ledger.may_lose(sent.key):
            return
        order = self._order.setdefault(sent.key, [])
        insort(order, (sent.serial, offset))
        place = order.index((sent.serial, offset))
        around = [found for _, found in order[max(place - 1, 0) : place + 2]]
        if around != sorted(around):
            raise Violation("TX1", f"{sent.key}: {sent.value} of {self.name} is at {offset}, among {around}")


class LibraryReader:
    """Somebody who reads by rafka.client.Consumer, all partitions by hand."""

    def __init__(
        self, name: str, scene: Scene, chance: Chance, world: World, consuming: ConsumerSettings | None = None
    ) -> None:
        self.name = name
        self.scene = scene
        self.chance = chance
        self.process = scene.process(name)
        self.machine = Consumer(
            settings_of(name, scene),
            consuming or consuming_of(scene, chance),
            chance.fork("entropy"),
            scene.codecs,
        )
        self.client = Driven(name, self.machine, self.user, world, chance)
        self.positions: dict[TopicPartition, int] = {}

    def user(self) -> User:
        """Read until the run is over, and then to the end."""
        scene = self.scene
        self._assign([(topic.name, n) for topic in scene.topics.values() for n in range(topic.partitions)])
        while True:
            is_last = scene.is_over
            yield from self.poll()
            if is_last:
                yield from self._look_where_it_is()
                if all(self._is_at_end(place) for place in self.positions):
                    break
            yield self._rest()
        yield self.machine.close(self.client.now)

    def _rest(self) -> Wait:
        """Rest a while; hardly once there is only something left to finish."""
        rest_ms = self.chance.draw() * self.scene.knobs.think_ms
        return Wait(min(rest_ms, 2) if self.scene.is_over else rest_ms)

    def _assign(self, places: list[tuple[str, int]]) -> None:
        assigned = [TopicPartition(*place) for place in places]
        self.machine.assign(assigned)
        self.positions = dict.fromkeys(assigned, 0)
        self._note_assigned()

    def _note_assigned(self) -> None:
        keys = [str(place) for place in self.positions]
        self.scene.note(self.process, "invoke", "assign", keys)
        self.scene.note(self.process, "ok", "assign", keys)

    def _note_jump(self, key: str) -> None:
        self.scene.note(self.process, "invoke", "seek", [key])
        self.scene.note(self.process, "ok", "seek", [key])

    def poll(self) -> User:
        """Take what is there, or wait a little until there is something."""
        machine, client = self.machine, self.client
        records = self._polled()
        if not records:
            readable = machine.readable(client.now)
            yield Within(readable, FETCH_WAIT_MS + self.scene.knobs.fetch_wait_ms)
            machine.stop_waiting(readable)
            records = self._polled()
        by_place: dict[TopicPartition, list[ConsumerRecord]] = {}
        for record in records:
            by_place.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
        for place, some in by_place.items():
            self._take(place, some)
        if by_place:
            self._note_polled(by_place)

    def _polled(self) -> list[ConsumerRecord]:
        try:
            return self.machine.poll(self.client.now)
        except ClientError as error:
            ledger = self.scene.ledger
            ledger.count(f"library: poll raises {type(error).__name__}")
            if not ledger.damaged:
                raise Violation("LB2", f"{self.name}: {error}") from error
            return []

    def _take(self, place: TopicPartition, records: list[ConsumerRecord]) -> None:
        """Hold what was given of one partition against the ledger."""
        ledger, key = self.scene.ledger, str(place)
        pairs = [(r.offset, (r.value or b"").partition(b"\0")[0].decode()) for r in records]
        asked, first = self.positions.get(place, 0), records[0].offset
        if first < asked and not ledger.may_lose(key):
            raise Violation("LB2", f"{key}: {self.name} is given {first}, and had all up to {asked}")
        if first != asked:
            self._note_jump(key)
        ledger.count("library: read", len(pairs))
        self._hold(key, asked, pairs)
        self.positions[place] = records[-1].offset + 1

    def _hold(self, key: str, asked: int, pairs: list[tuple[int, str]]) -> None:
        first = pairs[0][0]
        ledger = self.scene.ledger
        if ledger.may_lose(key):  # what was fetched ahead may be gone by now, and something else be there
            for offset, value in pairs:
                if not ledger.was_sent(value):
                    raise Violation("LO3", f"{key}: {value!r} read at {offset}, and nobody sent it")
            return
        # A jump ahead says that the log begins there by now; whether it may, the ledger knows.
        ledger.read(key, min(asked, first), pairs, first if first > asked else -1)

    def _note_polled(self, by_place: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        if self.scene.records_history:
            polled = {
                str(place): [[r.offset, (r.value or b"").partition(b"\0")[0].decode()] for r in records]
                for place, records in by_place.items()
            }
            self.scene.note(self.process, "invoke", "poll", [["poll"]])
            self.scene.note(self.process, "ok", "poll", [["poll", polled]])

    def _look_where_it_is(self) -> User:
        """Ask for the positions of which no record tells: what is left may have been deleted."""
        for place in [place for place in self.positions if not self._is_at_end(place)]:
            position: Pending[int] = self.machine.position(place, self.client.now)
            yield Within(position, 200)
            ledger = self.scene.ledger
            is_known = position.is_done and position.error is None
            may_jump = ledger.deletes or ledger.book(str(place)).may_delete
            if is_known and may_jump and position.result() > self.positions[place]:
                self.positions[place] = position.result()
                self._note_jump(str(place))

    def _is_at_end(self, place: TopicPartition) -> bool:
        ledger, key = self.scene.ledger, str(place)
        return ledger.may_lose(key) or self.positions[place] >= ledger.book(key).acked_end


def consuming_of(scene: Scene, chance: Chance, group: str | None = None) -> ConsumerSettings:
    """Draw what a consumer is told."""
    knobs = scene.knobs
    return ConsumerSettings(
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=chance.happens(0.5),
        auto_commit_interval_ms=chance.one_of(50, 1000),
        session_timeout_ms=knobs.session_ms,
        heartbeat_interval_ms=knobs.session_ms // 3,
        max_poll_interval_ms=2 * knobs.session_ms + 4 * knobs.think_ms,
        max_poll_records=chance.one_of(1, 7, 500),
        fetch_max_wait_ms=max(knobs.fetch_wait_ms, FETCH_WAIT_MS),
        fetch_max_bytes=knobs.fetch_bytes,
        max_partition_fetch_bytes=knobs.partition_fetch_bytes,
    )


@attrs.define(eq=False)
class Shared:
    """What all members of one group, dead and alive, were given: offsets by partition."""

    group: str
    given: dict[str, set[int]] = attrs.field(factory=dict)

    def missing(self, scene: Scene, key: str, before: int) -> list[int]:
        """Return the offsets below one that hold acknowledged records which nobody was given, and that is a loss."""
        ledger = scene.ledger
        if ledger.may_lose(key) or ledger.deletes or ledger.book(key).may_delete:
            return []
        given = self.given.get(key, set())
        return [offset for offset in ledger.book(key).acked if offset < before and offset not in given]

    def is_through(self, scene: Scene) -> bool:
        """Say whether the group has all that it must have."""
        keys = [topic.key(n) for topic in scene.topics.values() for n in range(topic.partitions)]
        return not any(self.missing(scene, key, 1 << 62) for key in keys)


class LibraryMember(LibraryReader):
    """Somebody who reads by rafka.client.Consumer as a member of a group, with automatic commits or without."""

    def __init__(self, name: str, shared: Shared, scene: Scene, chance: Chance, world: World) -> None:
        super().__init__(name, scene, chance, world, consuming_of(scene, chance, shared.group))
        self.shared = shared
        self._is_new: set[TopicPartition] = set()
        """Partitions of which nothing was read since they were assigned."""

    def user(self) -> User:
        """Be a member until the run is over and the group has everything; then leave."""
        scene, chance, machine = self.scene, self.chance, self.machine
        machine.subscribe(sorted(scene.topics), self.client.now)
        rounds_after = 0
        while not (rounds_after > ROUNDS_AFTER and self.shared.is_through(scene)):
            rounds_after += scene.is_over
            yield from self.poll()
            if not machine.consuming.enable_auto_commit and chance.happens(0.3) and self.positions:
                yield from self._commit()
            if chance.happens(0.004) and not scene.is_over:
                machine.subscribe([], self.client.now)
                self._hear()
                yield Wait(chance.draw() * scene.knobs.think_ms)
                machine.subscribe(sorted(scene.topics), self.client.now)
            yield self._rest()
        yield machine.close(self.client.now)
        scene.ledger.released(self.name)

    def _polled(self) -> list[ConsumerRecord]:
        records = super()._polled()
        self._hear()
        return records

    def _hear(self) -> None:
        """Take what the group has done with this member's partitions."""
        ledger = self.scene.ledger
        notices = self.machine.notices()
        for notice in notices:
            ledger.released(self.name)
            ledger.count(f"library: {type(notice).__name__.lower()}")
            self.positions = {}
            self._is_new = set()
            if (
                isinstance(notice, Assigned) and notice is notices[-1]
            ):  # the others are of generations that are over
                member = self.machine._member  # noqa: SLF001 – users have no use for the number of a generation
                assert member is not None
                keys = [str(place) for place in notice.partitions]
                ledger.assigned(self.shared.group, member.generation, self.name, keys)
                self.positions = dict.fromkeys(notice.partitions, 0)
                self._is_new = set(notice.partitions)
                self.scene.on_moment("rebalance")
            self._note_assigned()

    def _take(self, place: TopicPartition, records: list[ConsumerRecord]) -> None:
        key, first = str(place), records[0].offset
        if place in self._is_new:
            self._is_new.remove(place)
            lost = self.shared.missing(self.scene, key, first)
            if lost:
                raise Violation(
                    "GR5", f"{self.shared.group}: {key} goes on at {first}, and nobody was given {lost[0]}"
                )
            self.positions[place] = first
            self._note_jump(key)
        self.shared.given.setdefault(key, set()).update(record.offset for record in records)
        super()._take(place, records)

    def _commit(self) -> User:
        ledger = self.scene.ledger
        known = {place: offset for place, offset in self.positions.items() if place not in self._is_new}
        if not known:
            return
        pending = self.machine.commit(self.client.now, known)
        yield pending
        try:
            pending.result()
        except CommitFailed:
            ledger.count("library: commit refused")
        except ClientError as error:
            ledger.count(f"library: commit fails: {type(error).__name__}")
            if not ledger.damaged:
                raise Violation("LB2", f"{self.name}: a commit fails: {error}") from error
        else:
            ledger.count("library: commits")


class LibraryAdmin:
    """An administrator with rafka.client.Admin: makes, looks, deletes, and is not told what cannot be."""

    def __init__(self, name: str, scene: Scene, chance: Chance, world: World) -> None:
        self.name = name
        self.scene = scene
        self.chance = chance
        self.machine = Admin(settings_of(name, scene), chance.fork("entropy"))
        self.client = Driven(name, self.machine, self.user, world, chance)
        self._own = f"a{scene.prefix}0"
        """A topic that nobody else makes or deletes."""

    def user(self) -> User:
        """Do something now and then until the run is over."""
        acts: list[Callable[[], User]] = [self._make_and_delete, self._look_at_topics, self._look_at_ends]
        while not self.scene.is_over:
            yield Wait(20 + self.chance.draw() * 400)
            yield from acts[self.chance.below(len(acts))]()
            self.scene.ledger.count("library: administration")
        yield self.machine.close()

    def _is_excused(self, pending: Pending[Any]) -> bool:
        """Say whether there is no answer; that needs damage, for a well broker is there again in time."""
        if pending.error is None:
            return False
        ledger = self.scene.ledger
        ledger.count(f"library: admin fails: {type(pending.error).__name__}")
        if not (ledger.damaged or ledger.lies or not ledger.fsync):
            raise Violation("LB1", f"{self.name}: {pending.error}")
        return True

    def _make_and_delete(self) -> User:
        made = self.machine.create_topic(self._own, self.client.now, partitions=2)
        yield made  # that it exists already is told to who made it, and was not told so
        described = self.machine.describe_topic(self._own, self.client.now)
        yield described
        if self._is_excused(described):
            return
        found = described.result()
        if len(found.partitions) != 2:
            raise Violation("LB1", f"{self._own} was made with 2 partitions, and has {found.partitions}")
        deleted = self.machine.delete_topic(self._own, self.client.now)
        yield deleted  # that it is not there is told to who deleted it, and was not told so
        listed = self.machine.list_topics(self.client.now)
        yield listed
        if not self._is_excused(listed) and self._own in listed.result():
            raise Violation("LB1", f"{self._own} was deleted ({deleted.error}), and is listed")

    def _look_at_topics(self) -> User:
        listed = self.machine.list_topics(self.client.now)
        yield listed
        if not self._is_excused(listed):
            missing = set(self.scene.topics) - set(listed.result())
            if missing and not self.scene.ledger.is_broken:
                raise Violation("LB1", f"{sorted(missing)} are not listed, and nobody deleted them")

    def _look_at_ends(self) -> User:
        ledger = self.scene.ledger
        topic = self.chance.one_of(*self.scene.topics.values())
        places = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
        least = {place: ledger.book(str(place)).acked_end for place in places}
        listed = self.machine.list_offsets(dict.fromkeys(places, LATEST), self.client.now)
        yield listed
        if self._is_excused(listed):
            return
        for place, told in listed.result().items():
            if told.offset < least[place] and not ledger.may_lose(str(place)):
                raise Violation("LO7", f"{place} ends at {told.offset}, and {least[place]} was acknowledged")
