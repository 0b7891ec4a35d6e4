"""Compacted topics in the world: keys that are written, deleted and written again while the cleaner works.

    CO1   an offset keeps its record: compaction takes records away, and moves none
    CO2   the newest record of a key is there, unless it deletes the key and has had its time
    CO3   what was deleted does not come back: whoever reads everything within delete.retention.ms of having begun,
          and finds an older record of a key, finds its deletion, too
    LO3   what is read was sent, with that key, to that partition
    TX1   an idempotent producer's record is there once

Each record says in a header who it is: a deletion has no value to say it in. The clients are those of rafka.client.
"""

import attrs

from rafka.client.batches import Delivery
from rafka.client.consumer import Consumer
from rafka.client.errors import ClientError
from rafka.client.offsets import TopicPartition
from rafka.client.producer import Producer
from rafka.client.reading import ConsumerRecord
from rafka.client.settings import EARLIEST, ConsumerSettings, ProducerSettings
from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig
from rafka.sim.chance import Chance
from rafka.sim.driven import Driven, User, Within
from rafka.sim.ledger import Violation
from rafka.sim.library import DELIVERY_MS, FETCH_WAIT_MS, settings_of
from rafka.sim.scene import Scene
from rafka.sim.talk import MS, Wait
from rafka.sim.world import World

KEYS = 5
PARTITIONS = 2
POLLS_MAX = 300
"""After so many polls a reader gives up on a partition that is damaged or has lost records."""
CLOCKS = ("clock.step", "clock.offset", "clock.drift")


@attrs.define(eq=False)
class KeyedBook:
    """One partition. at: offset → record; of: the reverse; acked: offsets that were acknowledged, by key."""

    at: dict[int, str] = attrs.field(factory=dict)
    of: dict[str, int] = attrs.field(factory=dict)
    acked: dict[str, int] = attrs.field(factory=dict)
    """The highest offset of each key that was acknowledged."""


@attrs.define(eq=False)
class Keyed:
    """The compacted topic of a run, and what is known of it. meaning: of each record its key, and if it deletes."""

    name: str
    scene: Scene
    delete_retention_ms: int
    clock_is_right: bool
    books: dict[TopicPartition, KeyedBook] = attrs.field(factory=dict)
    meaning: dict[str, tuple[TopicPartition, str, bool]] = attrs.field(factory=dict)

    @property
    def places(self) -> list[TopicPartition]:
        """Its partitions."""
        return [TopicPartition(self.name, index) for index in range(PARTITIONS)]

    def creatable(self) -> CreatableTopic:
        """Return what makes it."""
        configs = {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": str(self.delete_retention_ms),
            "segment.ms": "200",
        }
        pairs = [CreatableTopicConfig(name=name, value=text) for name, text in configs.items()]
        return CreatableTopic(name=self.name, num_partitions=PARTITIONS, replication_factor=1, configs=pairs)

    def book(self, place: TopicPartition) -> KeyedBook:
        """Return the book of a partition."""
        return self.books.setdefault(place, KeyedBook())

    def is_at(self, place: TopicPartition, offset: int, record: str) -> None:
        """Take note that a record was acknowledged at an offset, or read there."""
        if self.scene.ledger.may_lose(str(place)):
            return
        book = self.book(place)
        there = book.at.setdefault(offset, record)
        if there != record:
            raise Violation("CO1", f"{place}: offset {offset} is {record}, and was {there}")
        first = book.of.setdefault(record, offset)
        if first != offset:
            raise Violation("TX1", f"{place}: {record} is at {offset}, and at {first}")

    def acknowledged(self, place: TopicPartition, offset: int, record: str) -> None:
        """Take an acknowledgement."""
        self.scene.ledger.count("compacted: acknowledged")
        self.is_at(place, offset, record)
        key = self.meaning[record][1]
        acked = self.book(place).acked
        acked[key] = max(acked.get(key, -1), offset)

    def read(self, place: TopicPartition, begun: dict[str, int], found: dict[int, str], ms: float) -> None:
        """Take what one reading from start to end has found. begun: what `acked` was before; ms: how long it took."""
        if self.scene.ledger.may_lose(str(place)):
            return
        book = self.book(place)
        newest: dict[str, int] = {}
        for offset, record in book.at.items():
            key = self.meaning[record][1]
            newest[key] = max(newest.get(key, -1), offset)
        for key, offset in begun.items():
            if offset in found or newest[key] > offset:
                continue
            record = book.at[offset]
            if not self.meaning[record][2]:
                raise Violation("CO2", f"{place}: {record} is gone, the newest of {key} (at {offset})")
            older = [o for o, r in found.items() if self.meaning[r][1] == key]
            if older and self.clock_is_right and ms < self.delete_retention_ms:
                words = (
                    f"{found[older[-1]]} of {key} is there at {older[-1]}, and its deletion {record} is not"
                )
                raise Violation("CO3", f"{place}: {words}")
        self.scene.ledger.count("compacted: read to the end")
        self.scene.ledger.count("compacted: records gone", len(book.at) - len(found.keys() & book.at.keys()))


class KeyedProducer:
    """Somebody who writes and deletes keys, by rafka.client.Producer."""

    def __init__(self, name: str, keyed: Keyed, scene: Scene, chance: Chance, world: World) -> None:
        self.name = name
        self.keyed = keyed
        self.scene = scene
        self.chance = chance
        producing = ProducerSettings(
            linger_ms=chance.one_of(0, 20),
            max_in_flight=scene.knobs.in_flight,
            delivery_timeout_ms=DELIVERY_MS,
            topic_timeout_ms=DELIVERY_MS,
            allow_auto_create_topics=False,
        )
        self.machine = Producer(settings_of(name, scene), producing, chance.fork("entropy"), scene.codecs)
        self.client = Driven(name, self.machine, self.user, world, chance)
        self.client.on_turn = self._settle
        self._under_way: list[tuple[TopicPartition, str, Delivery]] = []

    def user(self) -> User:
        """Write until the run is over, and see that all of it is acknowledged."""
        while not self.scene.is_over:
            for _ in range(1 + self.chance.below(self.scene.knobs.batch_records)):
                self._send()
            yield Wait(self.chance.draw() * self.scene.knobs.think_ms)
        yield self.machine.close()

    def _send(self) -> None:
        chance = self.chance
        place = self.keyed.places[chance.below(PARTITIONS)]
        key, deletes = f"key {chance.below(KEYS)}", chance.happens(0.2)
        padding = bytes(chance.below(self.scene.knobs.value_bytes))
        record = self.scene.value(self.name)
        self.keyed.meaning[record] = (place, key, deletes)
        delivery = self.machine.send(
            place.topic,
            None if deletes else padding,
            self.client.now,
            key=key.encode(),
            headers=[("record", record.encode())],
            partition=place.partition,
        )
        self._under_way.append((place, record, delivery))

    def _settle(self) -> None:
        done = [one for one in self._under_way if one[2].is_done]
        self._under_way = [one for one in self._under_way if not one[2].is_done]
        ledger = self.scene.ledger
        for place, record, delivery in done:
            if delivery.error is not None:
                if not ledger.is_damaged(str(place)):
                    raise Violation("LB1", f"{place}: {record} of {self.name}: {delivery.error}")
            elif delivery.offset >= 0:
                self.keyed.acknowledged(place, delivery.offset, record)


class KeyedReader:
    """Somebody who reads everything again and again, by rafka.client.Consumer. rounds: how often; None: to the end."""

    def __init__(
        self,
        name: str,
        keyed: Keyed,
        scene: Scene,
        chance: Chance,
        world: World,
        rounds: int | None = None,
    ) -> None:
        self.name = name
        self.keyed = keyed
        self.scene = scene
        self.chance = chance
        self.rounds = rounds
        consuming = ConsumerSettings(auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS)
        self.machine = Consumer(settings_of(name, scene), consuming, chance.fork("entropy"), scene.codecs)
        self.client = Driven(name, self.machine, self.user, world, chance)

    def user(self) -> User:
        """Read all of it, rest, and again; and once more when everything else is done."""
        rounds = 0
        while True:
            is_last = self.scene.is_over if self.rounds is None else rounds + 1 >= self.rounds
            for place in self.keyed.places:
                yield from self._read(place)
            rounds += 1
            if is_last:
                break
            yield Wait(20 + 4 * self.chance.draw() * self.scene.knobs.think_ms)
        yield self.machine.close(self.client.now)

    def _read(self, place: TopicPartition) -> User:
        """Read one partition from its start to its end."""
        machine, client = self.machine, self.client
        begun, begun_ns = dict(self.keyed.book(place).acked), self.scene.clock.time_ns
        end = max(begun.values(), default=-1) + 1
        found: dict[int, str] = {}
        machine.assign([place])
        machine.seek_to([place], EARLIEST)
        polls = 0
        while True:
            polls += 1
            if polls > POLLS_MAX and self.scene.ledger.may_lose(str(place)):
                return
            try:
                records = machine.poll(client.now)
            except ClientError as error:
                if not self.scene.ledger.damaged:
                    raise Violation("LB2", f"{self.name}: {error}") from error
                records = []
            for record in records:
                self._take(place, record, found)
            position = machine.position(place, client.now)
            yield Within(position, 1000)
            is_known = position.is_done and position.error is None
            # What hides a record that is not there any more lies before the end as it was told with that.
            if is_known and position.result() >= max(end, machine.high_watermark(place)) >= 0:
                break
            if not records:
                readable = machine.readable(client.now)
                yield Within(readable, FETCH_WAIT_MS)
                machine.stop_waiting(readable)
        self.keyed.read(place, begun, found, (self.scene.clock.time_ns - begun_ns) / MS)

    def _take(self, place: TopicPartition, record: ConsumerRecord, found: dict[int, str]) -> None:
        name = dict(record.headers).get("record") or b""
        known = self.keyed.meaning.get(name.decode())
        if known != (place, (record.key or b"").decode(), record.value is None):
            words = f"{name!r} with {record.key!r} read at {record.offset}, and it is {known}"
            raise Violation("LO3", f"{place}: {words}")
        if found and record.offset <= next(reversed(found)):
            if not self.scene.ledger.may_lose(str(place)):
                raise Violation("LO7", f"{place}: {record.offset} is read after {next(reversed(found))}")
            found.clear()  # its position was lost with the end of the log, and it begins again
        found[record.offset] = name.decode()
        self.keyed.is_at(place, record.offset, name.decode())


def keyed_of(scene: Scene, world: World, chance: Chance) -> Keyed | None:
    """Return the compacted topic of a run, if it has one."""
    if not scene.knobs.compacts:
        return None
    clock_is_right = not any(world.book.is_on(kind) for kind in CLOCKS)
    delete_retention_ms = chance.one_of(0, 300, 5000)
    return Keyed(f"c{scene.prefix}0", scene, delete_retention_ms, clock_is_right)
