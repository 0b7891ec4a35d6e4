"""Producers of the simulated world: real bytes, several batches under way, retries, and no illusions.

An idempotent producer sends a window of batches, each to a partition of its own choice, and repeats what was not
answered, in order, with the same sequences, until each is acknowledged. A plain producer never repeats: what was
not answered may be there or not, and nobody can say.
"""

from collections.abc import Generator

import attrs

from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.init_producer_id_response import InitProducerIdResponse
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.record.builder import Record, build_batch
from rafka.sim.chance import Chance
from rafka.sim.knobs import SEQUENCES
from rafka.sim.ledger import Violation
from rafka.sim.scene import Scene, Topic, ask_for, learn
from rafka.sim.talk import HangUp, Lost, Script, Step, Wait

FATAL = frozenset(
    (
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.UNKNOWN_PRODUCER_ID,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    )
)
"""The producer's state is lost: it goes on as another producer."""
REFUSED = frozenset((ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE))
"""Nothing was appended, and nothing ever will be."""
UNKNOWN_TOPIC = frozenset((ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
PATIENCE_NS = 30_000_000_000
ATTEMPTS = 60
"""So often a batch is sent before its producer gives up on it, once the run is over and something is damaged."""


@attrs.define(eq=False)
class Sending:
    """A batch on its way. slot: its place among those under way, each a process of the history of its own."""

    slot: int
    process: int
    topic: Topic
    index: int
    values: list[str]
    sequence: int
    request: ProduceRequest
    attempts: int = 0

    @property
    def key(self) -> str:
        """The partition, as the history calls it."""
        return self.topic.key(self.index)


class Producer:
    """One producer. name: of the client; it is one incarnation after the other when its state is lost."""

    def __init__(self, name: str, scene: Scene, chance: Chance, *, is_plain: bool) -> None:
        self.name = name
        self.scene = scene
        self.chance = chance
        self.is_plain = is_plain
        self._id, self._epoch = -1, -1
        self._incarnation = 0
        self._sequences: dict[str, int] = {}
        self._window: list[Sending] = []
        self._begun_ns = 0
        """When the run was last seen not to be over."""

    def script(self) -> Script:
        """Send until the run is over."""
        if not self.is_plain:
            yield from self._introduce()
        while not self.scene.is_over or self._window:
            if not self.scene.is_over:
                self._fill_up()
            if self._window:
                yield from self._send()
            yield Wait(self.chance.draw() * self.scene.knobs.think_ms)
            if self.chance.happens(0.01):
                yield HangUp()

    def _introduce(self) -> Generator[Step, list[Message], None]:
        """Ask for a producer id until there is one."""
        while True:
            try:
                (answer,) = yield [
                    InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
                ]
            except Lost:
                yield Wait(20)
                continue
            assert isinstance(answer, InitProducerIdResponse)
            if answer.error_code == 0:
                self._id, self._epoch = answer.producer_id, answer.producer_epoch
                self._incarnation += 1
                self._sequences = {}
                return
            yield Wait(20)

    def _fill_up(self) -> None:
        knobs = self.scene.knobs
        while len(self._window) < 1 + self.chance.below(knobs.in_flight):
            used = [sending.slot for sending in self._window]
            self._window.append(self._sending(next(slot for slot in range(9) if slot not in used)))

    def _sending(self, slot: int) -> Sending:
        scene, chance, knobs = self.scene, self.chance, self.scene.knobs
        topics = [topic for topic in scene.topics.values() if topic.partitions]
        topic = topics[chance.below(len(topics))]
        index = chance.below(topic.partitions)
        key = topic.key(index)
        values = [scene.value(self.name) for _ in range(1 + chance.below(knobs.batch_records))]
        sequence = -1
        if not self.is_plain:
            sequence = self._sequences.get(key, knobs.first_sequence)
            self._sequences[key] = (sequence + len(values)) % SEQUENCES
        padding = bytes(1 + chance.below(knobs.value_bytes))
        now_ms = 1_700_000_000_000 + scene.clock.time_ns // 1_000_000
        batch = build_batch(
            [Record(None, value.encode() + b"\0" + padding) for value in values],
            timestamp=now_ms,
            codec=knobs.codec,
            codecs=scene.codecs,
            producer_id=self._id,
            producer_epoch=self._epoch,
            base_sequence=sequence,
        )
        data = PartitionProduceData(index=index, records=batch)
        asked = TopicProduceData(name=topic.name, topic_id=topic.topic_id, partition_data=[data])
        acks = 1 if chance.happens(0.2) else -1
        request = ProduceRequest(acks=acks, timeout_ms=knobs.client_timeout_ms, topic_data=[asked])
        process = scene.process(f"{self.name}.{slot}.{self._incarnation}")
        scene.ledger.sends(key, values)
        self._note_invoked(process, key, values, sequence)
        return Sending(slot, process, topic, index, values, sequence, request)

    def _note_invoked(self, process: int, key: str, values: list[str], sequence: int) -> None:
        scene = self.scene
        if not scene.records_history:
            return
        if self.is_plain:
            scene.note(process, "invoke", "send", [["send", key, value] for value in values])
            return
        sent = [["send", key, value, (sequence + n) % SEQUENCES] for n, value in enumerate(values)]
        scene.note(process, "invoke", "send", sent, producer=[self._id, self._epoch])

    def _send(self) -> Generator[Step, list[Message], None]:
        """Send the window, and settle what is answered."""
        window = self._window
        for sending in window:
            sending.attempts += 1
        try:
            answers = yield [sending.request for sending in window]
        except Lost:
            self.scene.ledger.count("connections lost")
            self._give_up_some()
            yield Wait(5 + self.chance.draw() * 30)
            return
        left: list[Sending] = []
        blocked: set[str] = set()
        fatal = False
        stale = False
        for sending, answer in zip(window, answers, strict=True):
            assert isinstance(answer, ProduceResponse)
            (result,) = answer.responses[0].partition_responses
            code = result.error_code
            if code == 0:
                self._acknowledged(sending, result.base_offset)
            elif self._goes_on(sending, code, blocked):
                left.append(sending)
                blocked.add(sending.key)
                stale |= code in UNKNOWN_TOPIC
            else:  # the sequences of what follows would leave a gap
                fatal |= not self.is_plain
        self._window = left
        if fatal:
            yield from self._start_anew()
        if stale:
            yield from self._look_up()
        self._give_up_some()

    def _goes_on(self, sending: Sending, code: int, blocked: set[str]) -> bool:
        """Say whether a batch that was refused is to be sent again."""
        self.scene.ledger.count(f"produce refused: {ErrorCode(code).name}")
        if self.is_plain or code in REFUSED:
            self._ended(sending, "fail" if code in REFUSED else "info")
            return False
        if code in FATAL:
            if sending.key in blocked:
                return True  # what it follows was refused too: this was to be expected
            self.scene.ledger.refused_sequence(sending.key, sending.values)
            self._ended(sending, "info")
            return False
        return True

    def _acknowledged(self, sending: Sending, base_offset: int) -> None:
        producer = "" if self.is_plain else f"{self.name}.{self._incarnation}"
        scene = self.scene
        if scene.records_history:
            done = [["send", sending.key, [o, v]] for o, v in enumerate(sending.values, base_offset)]
            scene.note(sending.process, "ok", "send", done)
        scene.ledger.acknowledged(sending.key, sending.values, base_offset, producer)

    def _ended(self, sending: Sending, kind: str) -> None:
        self.scene.note(sending.process, kind, "send")

    def _give_up_some(self) -> None:
        """Let go what cannot be sent again, or has been too often."""
        kept = []
        is_over = self.scene.is_over
        if not is_over:
            self._begun_ns = self.scene.clock.time_ns
        for sending in self._window:
            gone = self.scene.topics.get(sending.topic.name) is not sending.topic
            is_hopeless = is_over and sending.attempts > ATTEMPTS
            if is_hopeless and not (self.is_plain or gone or self.scene.ledger.damaged):
                if self._begun_ns < self.scene.clock.time_ns - PATIENCE_NS:
                    words = f"{sending.values} not taken in {sending.attempts} attempts"
                    raise Violation("LV", f"{sending.key}: {words}")
                is_hopeless = False  # a disk that was full may take a while
            if self.is_plain or gone or is_hopeless:
                self._ended(sending, "info")
            else:
                kept.append(sending)
        self._window = kept

    def _start_anew(self) -> Generator[Step, list[Message], None]:
        for sending in self._window:
            self._ended(sending, "info")
        self._window = []
        yield from self._introduce()

    def _look_up(self) -> Generator[Step, list[Message], None]:
        names = sorted({sending.topic.name for sending in self._window})
        try:
            (answer,) = yield ask_for(names)
        except Lost:
            return
        learn(self.scene, answer)
