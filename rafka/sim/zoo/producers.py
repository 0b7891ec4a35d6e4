"""Bugs of idempotent producers: SIMULATION 3.4, without the transactions that a single node does not serve."""

from typing import Any

from rafka.core.errors import ErrorCode
from rafka.core.log import producers as module
from rafka.core.log import snapshot
from rafka.core.log.producers import SEQUENCES, Duplicate, Producers
from rafka.core.metadata.producer_ids import BLOCK, ProducerIds
from rafka.core.node.produce import Produces
from rafka.core.types import Now
from rafka.sim.zoo.registry import Plant, family

BUGS, bug = family("producers")


@bug(
    "T01", "Redpanda #3039", "a repeated batch is refused as out of order instead of recognised", "TX1", "LO2"
)
def _no_duplicates(plant: Plant) -> None:
    def check(original: Any, producers: Any, header: Any) -> Any:
        found = original(producers, header)
        if isinstance(found, Duplicate):
            plant.hit()
            return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        return found

    plant.patch(Producers, "check", check)


@bug(
    "T02",
    "Redpanda #3038",
    "only the last batch of a producer is remembered, not the last five",
    "TX1",
    "LO2",
)
def _narrow_window(plant: Plant) -> None:
    def update(original: Any, producers: Any, header: Any, base_offset: int, wall_ms: int) -> None:
        original(producers, header, base_offset, wall_ms)
        state = producers._states.get(header.producer_id)
        if state is not None and len(state[1]) > 1:
            plant.hit()
            producers._states[header.producer_id] = (state[0], state[1][-1:], state[2])

    plant.patch(Producers, "update", update)


@bug("T04", "KAFKA-7692", "the sequence after 2^31 - 1 is expected to be 2^31", "TX1", "LO2")
def _no_wrap(plant: Plant) -> None:
    def check(original: Any, producers: Any, header: Any) -> Any:
        found = original(producers, header)
        state = producers._states.get(header.producer_id)
        if found is None and state is not None and state[1] and state[1][-1][1] == SEQUENCES - 1:
            plant.hit()
            return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        return found

    plant.patch(Producers, "check", check)


@bug("T05", "Redpanda #5355", "the offset of a remembered batch is off after a start", "LO2", "LO5")
def _offset_after_reload(plant: Plant) -> None:
    def states_in(original: Any, data: bytes) -> Any:
        states = original(data)
        if not states:
            return states
        plant.hit()
        return {
            producer: (epoch, tuple((a, b, offset + (b - a) % SEQUENCES) for a, b, offset in batches), at)
            for producer, (epoch, batches, at) in states.items()
        }

    from rafka.core.log import opening

    plant.patch(opening, "states_in", states_in)


@bug("T26", "here", "any sequence is taken: gaps and steps back", "TX1", "LO2", "duplicate", "sequence-order")
def _takes_gaps(plant: Plant) -> None:
    def check(original: Any, producers: Any, header: Any) -> Any:
        found = original(producers, header)
        if found is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER or isinstance(found, Duplicate):
            plant.hit()
            return None
        return found

    plant.patch(Producers, "check", check)


@bug("T27", "here", "the former batches of a producer are not in its snapshot", "TX1", "LO5", "LO2")
def _snapshot_of_last(plant: Plant) -> None:
    def add(original: Any, states: Any, content: Any, at: int) -> None:
        known = dict(states)
        original(states, content, at)
        if states != known:
            plant.hit()
            states.update(known)

    plant.patch(snapshot, "_add_former", add)


@bug("T28", "here", "after a start, producer ids are given that were given before", "TX1", "LO2", "TX2")
def _ids_twice(plant: Plant) -> None:
    def next_block(original: Any, ids: Any, ask: Any) -> Any:
        known = ask.image.next_producer_id
        if known:
            plant.hit()
            ask.image.next_producer_id = known - BLOCK
        try:
            return original(ids, ask)
        finally:
            ask.image.next_producer_id = known

    plant.patch(ProducerIds, "_next_block", next_block)


@bug(
    "T29",
    "here",
    "a repeated batch is acknowledged although the first one is not committed",
    "LO1",
    faults=("disk.slow", "net.reset", "client.hang-up"),
    client_timeout_ms=300,
)
def _early_duplicate(plant: Plant) -> None:
    def append(
        original: Any, produces: Any, partition: Any, data: Any, event: Any, now: Now, part: Any
    ) -> Any:
        seen: list[Any] = []

        def check(producers: Any, header: Any) -> Any:
            seen.append(genuine(producers, header))
            return seen[0]

        genuine = Producers.check
        waited = len(partition.acks)
        Producers.check = check  # type: ignore[method-assign, assignment]
        try:
            original(produces, partition, data, event, now, part)
        finally:
            Producers.check = genuine  # type: ignore[method-assign]
        if seen and isinstance(seen[0], Duplicate) and len(partition.acks) > waited:
            plant.hit()
            partition.acks._queue.pop()
            part.request.missing -= 1
            part.request.parts.remove(part)

    plant.patch(Produces, "_append", append)


@bug("T30", "here", "what is known of producers is lost with every segment that ends", "TX1", "LO2", "LO5")
def _forgets_at_roll(plant: Plant) -> None:
    from rafka.core.log.append import Appender

    def begin(original: Any, log: Any, offset: int) -> Any:
        if len(log.segments) and log.producers.states():
            plant.hit()
            log.producers.become({})
        return original(log, offset)

    plant.patch(Appender, "_begin_segment", begin)


@bug("T31", "here", "producers expire while they are at work", "TX1", "LO5", "LO2")
def _expires_active(plant: Plant) -> None:
    def expire(original: Any, producers: Any, before_ms: int) -> None:
        del before_ms
        if producers._states:
            plant.hit()
        original(producers, 1 << 62)

    plant.patch(Producers, "expire", expire)


assert module.BATCHES_KEPT == 5


@bug(
    "T32",
    "here; Kafka does so",
    "of batches in flight one overtakes another that a full disk refused",
    "TX1",
    "LO2",
    faults=("disk.full",),
    in_flight=5,
)
def _overtakes(plant: Plant) -> None:
    def check(original: Any, producers: Any, header: Any) -> Any:
        found = original(producers, header)
        if found is not None and header.producer_id not in producers._states:
            plant.hit()
            return None
        return found

    plant.patch(Producers, "check", check)
