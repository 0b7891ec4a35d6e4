"""Bugs of requests, answers and waiting: what a client sees of a broker, and what it would wait for for ever."""

from typing import Any

from rafka.core.effects import Reply, Resume
from rafka.core.machine import Decision, OffsetWaiters
from rafka.core.node.control import Control
from rafka.core.node.fetch import Fetches
from rafka.core.node.produce import Produces, requested
from rafka.core.replication.fetch_session import FetchSessions
from rafka.core.types import Now
from rafka.net.kafka.session import Session
from rafka.net.server import Server
from rafka.sim.zoo.registry import Plant, family

BUGS, bug = family("protocol")


@bug(
    "P01",
    "textbook",
    "answers of one connection leave in the order in which they are ready",
    "crash",
    "assertion",
    in_flight=5,
)
def _answers_out_of_order(plant: Plant) -> None:
    def first(session: Any, slot: Any) -> None:
        if session._order[0] is not slot:
            plant.hit()
            session._order.remove(slot)
            session._order.appendleft(slot)

    def answer(original: Any, session: Any, correlation: int, body: Any) -> Any:
        first(session, session._slots.get(correlation) or session._plain_slot(correlation))
        return original(session, correlation, body)

    def acknowledge(original: Any, session: Any, produce: Any) -> Any:
        first(session, produce)
        return original(session, produce)

    plant.patch(Session, "answer", answer)
    plant.patch(Session, "acknowledge", acknowledge)


@bug("P02", "here", "one in ten commits of a produce is never told to its client", "LV")
def _never_answers(plant: Plant) -> None:
    def wait(original: Any, waiters: Any, reached: int, waiter: Any) -> None:
        if reached % 10 == 7:
            plant.hit()
            return
        original(waiters, reached, waiter)

    plant.patch(OffsetWaiters, "wait", wait)


@bug("P03", "textbook", "an answer is given twice", "crash", "assertion")
def _answers_twice(plant: Plant) -> None:
    def committed(original: Any, produces: Any, pending: Any) -> None:
        count = len(produces.out.effects)
        original(produces, pending)
        if len(produces.out.effects) > count:
            plant.hit()
            produces.out.effects.append(produces.out.effects[-1])

    plant.patch(Produces, "committed", committed)
    plant.patch(Produces, "committed_together", committed)


@bug(
    "P04",
    "KIP-227",
    "a fetch session forgets a partition that has once returned records",
    "LV",
    has_sessions=True,
)
def _session_forgets(plant: Plant) -> None:
    def go_on(original: Any, sessions: Any, session: Any, request: Any, now: Now) -> Any:
        context = original(sessions, session, request, now)
        if len(context.partitions) > 1:
            plant.hit()
            context.partitions.pop(next(iter(context.partitions)))
        return context

    plant.patch(FetchSessions, "_go_on", go_on)


@bug("P05", "KAFKA-13091 class", "a fetch that waits is not woken by new records", "assertion", "LV")
def _not_woken(plant: Plant) -> None:
    def moved(original: Any, fetches: Any, partition: Any) -> None:
        del original, fetches
        if partition.readers:
            plant.hit()

    plant.patch(Fetches, "moved", moved)


@bug("P06", "here", "acks=1 is answered once the batch is in memory", "LO1")
def _acks_one_early(plant: Plant) -> None:
    def handle(original: Any, produces: Any, event: Any, now: Now) -> None:
        if event.body.acks != 1:
            original(produces, event, now)
            return
        count = produces.parking.last if hasattr(produces.parking, "last") else None
        del count
        parked = produces.parking.all()
        original(produces, event, now)
        for request in produces.parking.all():
            if request not in parked:
                plant.hit()
                produces.parking.finish(request.ticket)
                produces.out.effects.append(Reply(request.conn, request.correlation, request.response))

    def plain(original: Any, produces: Any, one: Any, now: Now) -> None:
        if one.head.acks == 1:
            produces.handle(requested(one), now)
        else:
            original(produces, one, now)

    plant.patch(Produces, "handle", handle)
    plant.patch(Produces, "plain", plain)


@bug("P07", "here", "a batch that is larger than a client's limit is never given", "LV", fetch_bytes=1)
def _large_batch(plant: Plant) -> None:
    from rafka.core.log.read import Reader

    def slices(
        original: Any, log: Any, place: Any, max_bytes: int, end_offset: int, *, at_least_one: bool
    ) -> Any:
        if at_least_one and place.size_bytes > max_bytes:
            plant.hit()
        return original(log, place, max_bytes, end_offset, at_least_one=False)

    plant.patch(Reader, "slices", slices)


@bug("P08", "here", "the last record that is waited for is not counted as reached", "LV")
def _off_by_one(plant: Plant) -> None:
    def reach(original: Any, waiters: Any, offset: int) -> Any:
        plant.hit()
        return original(waiters, offset - 1)

    plant.patch(OffsetWaiters, "reach", reach)


@bug("P09", "here", "the start of a log is told as one less than it is", "LV", "LO7", deletes_records=True)
def _earliest_off(plant: Plant) -> None:
    from rafka.core.node import listing

    def special(original: Any, partition: Any, timestamp: int, result: Any) -> None:
        original(partition, timestamp, result)
        if timestamp == listing.EARLIEST and result.offset > 0:
            plant.hit()
            result.offset -= 1

    plant.patch(listing, "_special", special)


@bug(
    "P10",
    "KAFKA-14457",
    "a decision about metadata is told before its records are committed",
    "MD1",
    has_admin=True,
    faults=("proc.kill", "proc.boundary"),
)
def _told_early(plant: Plant) -> None:
    def decide(original: Any, control: Any, decision: Any, now: Now) -> None:
        if decision.records and decision.replies:
            plant.hit()
            control.out.effects += decision.replies
            decision = Decision(decision.records, [])
        original(control, decision, now)

    plant.patch(Control, "_decide", decide)


@bug("P11", "here", "partitions that were added are forgotten at a start", "LV", "MD1", has_admin=True)
def _forgets_partitions(plant: Plant) -> None:
    from rafka.core.node import control

    def decode(original: Any, data: bytes) -> Any:
        message = original(data)
        if type(message).__name__ == "PartitionRecord" and message.partition_id > 2:
            plant.hit()
            return None
        return message

    plant.patch(control, "decode", decode)


@bug(
    "V02",
    "TB#2437 class",
    "a fetch gives the first partition first, always, and others wait for it",
    "LV",
    "assertion",
    fetch_bytes=1,
)
def _starves(plant: Plant) -> None:
    def take(original: Any, fetches: Any, fetch: Any) -> Any:
        taken = original(fetches, fetch)
        if len(taken.rows) > 1 and not taken.rows[0][1].records:
            for _, data in taken.rows[1:]:
                if data.records:
                    plant.hit()
                    data.records = b""
            taken.size_bytes = 0
        return taken

    plant.patch(Fetches, "_take", take)


@bug(
    "V07",
    "TB June 2025 class",
    "a client that was held back is never read again",
    "LV",
    in_flight=5,
    requests_max=2,
)
def _never_resumes(plant: Plant) -> None:
    def drain(original: Any, server: Any) -> Any:
        effects = original(server)
        kept = [effect for effect in effects if type(effect) is not Resume]
        plant.hits += len(effects) - len(kept)
        return kept

    plant.patch(Server, "drain", drain)


@bug("V08", "here", "what arrives while a sync is under way is synced only when more comes", "LV")
def _no_second_sync(plant: Plant) -> None:
    from rafka.core.log.append import Appender

    def completed(original: Any, log: Any, event: Any, now: Now) -> None:
        flush = Appender.flush
        Appender.flush = lambda *_: plant.hit()  # type: ignore[method-assign]
        try:
            original(log, event, now)
        finally:
            Appender.flush = flush  # type: ignore[method-assign]

    plant.patch(Appender, "completed", completed)
