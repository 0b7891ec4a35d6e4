"""Readers of the simulated world: they choose their partitions, follow them, and now and then go back.

The bounds of a fetch (bytes in all, bytes of a partition, how long to wait) are knobs; a reader checks every batch's
CRC, as clients do, and hands what it reads to the ledger.
"""

from collections.abc import Generator
from typing import Any

from rafka.client.fetched import records_from
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from rafka.core.api.fetch_response import FetchResponse, PartitionData
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from rafka.core.api.list_offsets_response import ListOffsetsResponse
from rafka.core.errors import CorruptRecord, ErrorCode
from rafka.core.message import Message
from rafka.sim.chance import Chance
from rafka.sim.scene import Scene
from rafka.sim.talk import Lost, Script, Step, Wait

EARLIEST, LATEST = -2, -1
NO_SESSION = (0, 0)
NO_EPOCH = -1
PLENTY = (1 << 20, 1 << 20)
"""Bounds for those who want to see everything soon: readers at work have shown that small fetches come to the end."""
POLLED = 3
"""Partitions in one fetch."""
Place = tuple[str, int]
"""A topic's name and a partition."""
Steps = Generator[Step, list[Message], Any]


class Reader:
    """One reader. `positions`: what it reads next, of each partition."""

    def __init__(self, name: str, scene: Scene, chance: Chance, *, is_modest: bool = True) -> None:
        self.name = name
        self.scene = scene
        self.chance = chance
        self.process = scene.process(name)
        knobs = scene.knobs
        self._bytes = (knobs.fetch_bytes, knobs.partition_fetch_bytes) if is_modest else PLENTY
        """The bounds of a fetch and of a partition in it."""
        self.positions: dict[Place, int] = {}
        self.ends: dict[Place, int] = {}
        """High watermark of each partition, as last heard."""
        self.read_back: dict[Place, dict[int, str]] | None = None
        """If not None, everything read."""
        self.starts: dict[Place, int] = {}
        self._session = NO_SESSION
        """The id and the next epoch of the fetch session; the epoch is -1 if there is to be none."""
        self._told: dict[Place, int] = {}
        """What the session was told to read next, of each partition."""
        self.stuck: dict[Place, int] = {}
        """Fetches in a row that failed, by partition."""

    def script(self) -> Script:
        """Read until the run is over, and then to the end."""
        scene, chance = self.scene, self.chance
        self.assign(self.all_places())
        while True:
            is_last = scene.is_over
            if is_last:
                self._bytes = PLENTY
            yield from self.poll()
            if is_last and self.is_at_end():
                return
            yield Wait(chance.draw() * scene.knobs.think_ms)
            if not is_last and chance.happens(0.03):
                self.wander()

    def all_places(self) -> list[Place]:
        """Return every partition known."""
        return [(t.name, i) for t in self.scene.topics.values() for i in range(t.partitions)]

    def assign(self, places: list[Place]) -> None:
        """Read these from now on; those that are new from the start."""
        scene = self.scene
        self.positions = {place: self.positions.get(place, 0) for place in places}
        keys = [f"{name}-{index}" for name, index in places]
        scene.note(self.process, "invoke", "assign", keys)
        scene.note(self.process, "ok", "assign", keys)

    def wander(self) -> None:
        """Go somewhere else in a partition, or take up those that are new."""
        if self.chance.happens(0.3):
            known = self.all_places()
            if len(known) > len(self.positions):
                self.assign(known)
            return
        places = list(self.positions)
        place = places[self.chance.below(len(places))]
        self.seek(place, self.chance.below(self.positions[place] + 1))

    def seek(self, place: Place, offset: int) -> None:
        """Read on from an offset."""
        self.positions[place] = offset
        key = f"{place[0]}-{place[1]}"
        self.scene.note(self.process, "invoke", "seek", [key])
        self.scene.note(self.process, "ok", "seek", [key])

    def is_at_end(self) -> bool:
        """Say whether everything known to be committed was read, or cannot be had."""
        return all(
            self.positions[place] >= max(self.ends.get(place, 1 << 62), self._known_end(place))
            or self._is_excused(place)
            for place in self.positions
        )

    def _known_end(self, place: Place) -> int:
        """Return up to where there are records for certain: whoever is told of an earlier end is told too late."""
        ledger = self.scene.ledger
        key = f"{place[0]}-{place[1]}"
        if ledger.lies or not ledger.fsync or ledger.is_damaged(key) or ledger.book(key).is_gone:
            return 0
        return ledger.book(key).acked_end

    def _is_excused(self, place: Place) -> bool:
        ledger = self.scene.ledger
        key = f"{place[0]}-{place[1]}"
        return self.stuck.get(place, 0) > 5 and (ledger.is_damaged(key) or ledger.book(key).is_gone)

    # ---- polling -------------------------------------------------------------------------------------

    def poll(self) -> Steps:
        """Fetch once from all partitions, or some."""
        scene = self.scene
        places = list(self.positions)
        if not places:
            return
        if len(places) > POLLED and not scene.knobs.has_sessions:  # some, beginning somewhere
            first = self.chance.below(len(places))
            places = (places + places)[first : first + POLLED]
        asked = dict(self.positions)
        scene.note(self.process, "invoke", "poll", [["poll"]])
        try:
            (answer,) = yield [self._request(places)]
        except Lost:
            scene.ledger.count("connections lost")
            scene.note(self.process, "info", "poll")
            self._session = NO_SESSION
            yield Wait(5 + self.chance.draw() * 20)
            return
        assert isinstance(answer, FetchResponse)
        if answer.error_code:
            scene.ledger.count(f"fetch refused: {ErrorCode(answer.error_code).name}")
            scene.note(self.process, "info", "poll")
            self._session = NO_SESSION
            return
        if scene.knobs.has_sessions:
            self._session = (answer.session_id, self._session[1] + 1) if answer.session_id else NO_SESSION
            self._told = asked
        polled: dict[str, list[list[Any]]] = {}
        out_of_range: list[Place] = []
        for topic in answer.responses:
            found = scene.named(topic.topic_id) if not topic.topic else scene.topics.get(topic.topic)
            for data in topic.partitions:
                place = ("" if found is None else found.name, data.partition_index)
                if place in asked:
                    self._take(place, asked[place], data, polled, out_of_range)
        scene.note(self.process, "ok", "poll", [["poll", polled]])
        for place in out_of_range:
            yield from self.reset(place)

    def _request(self, places: list[Place]) -> FetchRequest:
        knobs = self.scene.knobs
        topics: dict[str, FetchTopic] = {}
        is_incremental = knobs.has_sessions and self._session != NO_SESSION
        for name, index in places:
            if is_incremental and self._told.get((name, index)) == self.positions[name, index]:
                continue
            topic = topics.get(name)
            if topic is None:
                topic = topics[name] = FetchTopic(topic=name, topic_id=self.scene.topics[name].topic_id)
            topic.partitions.append(
                FetchPartition(
                    partition=index,
                    fetch_offset=self.positions[name, index],
                    partition_max_bytes=self._bytes[1],
                )
            )
        return FetchRequest(
            max_wait_ms=knobs.fetch_wait_ms,
            min_bytes=1,
            max_bytes=self._bytes[0],
            session_id=self._session[0],
            session_epoch=self._session[1] if knobs.has_sessions else NO_EPOCH,
            topics=list(topics.values()),
            forgotten_topics_data=self._forgotten() if is_incremental else [],
        )

    def _forgotten(self) -> list[ForgottenTopic]:
        gone = [place for place in self._told if place not in self.positions]
        return [
            ForgottenTopic(topic=name, topic_id=self.scene.topics[name].topic_id, partitions=[index])
            for name, index in gone
        ]

    def _take(
        self,
        place: Place,
        asked: int,
        data: PartitionData,
        polled: dict[str, list[list[Any]]],
        out_of_range: list[Place],
    ) -> None:
        key = f"{place[0]}-{place[1]}"
        ledger = self.scene.ledger
        if data.error_code:
            ledger.count(f"fetch refused: {ErrorCode(data.error_code).name}")
            self.stuck[place] = self.stuck.get(place, 0) + 1
            if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                out_of_range.append(place)
            return
        try:
            content = data.records or b""
            assert isinstance(content, bytes | bytearray | memoryview)
            records, after = records_from(memoryview(bytes(content)), asked, self.scene.codecs)
        except CorruptRecord as error:
            self._found_corrupt(place, error)
            return
        self.stuck.pop(place, None)
        self.ends[place] = data.high_watermark
        self.starts[place] = data.log_start_offset
        if not records:
            self.positions[place] = after
            return
        pairs = [(r.offset, (r.value or b"").partition(b"\0")[0].decode()) for r in records]
        polled[key] = [list(pair) for pair in pairs]
        self.positions[place] = after
        if self.read_back is not None:
            self.read_back.setdefault(place, {}).update(pairs)
        ledger.read(key, asked, pairs, data.log_start_offset)

    def _found_corrupt(self, place: Place, error: CorruptRecord) -> None:
        """Bytes that fail their CRC: noticed, so not served silently; but somebody must have damaged them."""
        key = f"{place[0]}-{place[1]}"
        self.stuck[place] = self.stuck.get(place, 0) + 1
        self.scene.ledger.count("corrupt batches noticed")
        self.scene.ledger.corrupt(key, error.reason)

    def reset(self, place: Place) -> Steps:
        """Find out where a partition begins and ends, and read on within."""
        bounds = []
        for timestamp in (EARLIEST, LATEST):
            partition = ListOffsetsPartition(partition_index=place[1], timestamp=timestamp)
            topic = ListOffsetsTopic(name=place[0], partitions=[partition])
            try:
                (answer,) = yield [ListOffsetsRequest(replica_id=-1, topics=[topic])]
            except Lost:
                return
            assert isinstance(answer, ListOffsetsResponse)
            result = answer.topics[0].partitions[0]
            if result.error_code:
                return
            bounds.append(result.offset)
        if place in self.positions:
            start, end = bounds
            self.starts[place] = max(self.starts.get(place, 0), start)
            self.seek(place, start if self.positions[place] < start else min(self.positions[place], end))
