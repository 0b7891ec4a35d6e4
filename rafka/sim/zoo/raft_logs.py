"""Bugs of what the Raft machine does with its log: appending, acknowledging, counting, cutting. See `raft.py`."""

from typing import Any

from rafka.core.errors import ErrorCode
from rafka.core.raft import follower, leader
from rafka.core.raft.effects import Apply
from rafka.core.raft.messages import UNKNOWN_OFFSET
from rafka.core.raft.roles import Follower, Leader
from rafka.core.raft.state import Replica
from rafka.sim.zoo.registry import Plant, family

BUGS, bug = family("raft log")
CHURNING = ("churn",)


# ---- logs and counting ---------------------------------------------------------------------------------


@bug("R03", "KAFKA-10533", "a follower acknowledges what it has not synced", "RA9")
def _acks_early(plant: Plant) -> None:
    def waits(original: Any, raft: Any) -> bool:
        if original(raft) and not raft.is_installing:
            plant.hit()
        return bool(raft.is_installing)

    def request(original: Any, raft: Any, to: int, correlation: int) -> Any:
        made = original(raft, to, correlation)
        made.fetch_offset, made.last_epoch = raft.log.end_offset, raft.log.last_epoch
        return made

    plant.patch(follower, "waits_for_disk", waits)
    plant.patch(follower, "fetch_request", request)


@bug("R04", "RaftFsync", "a leader counts what it has not synced itself", "RA8", "RA3")
def _counts_unsynced(plant: Plant) -> None:
    def advance(original: Any, raft: Any, role: Any, now: int) -> None:
        log = raft.log
        durable = log.durable_offset
        if durable < log.end_offset:
            plant.hit()
        log.durable_offset = log.end_offset
        try:
            original(raft, role, now)
        finally:
            log.durable_offset = durable

    plant.patch(leader, "advance", advance)


def _with_start(plant: Plant, moved: Any) -> None:
    def advance(original: Any, raft: Any, role: Any, now: int) -> None:
        start = role.start_offset
        role.start_offset = moved(start)
        before = role.high_watermark
        try:
            original(raft, role, now)
        finally:
            role.start_offset = start
        if before < role.high_watermark <= start:
            plant.hit()

    plant.patch(leader, "advance", advance)


@bug(
    "R05",
    "PySyncObj#169",
    "records of an earlier epoch are committed by counting (Figure 8)",
    "RA10",
    "RA3",
    "RA8",
)
def _figure_eight(plant: Plant) -> None:
    _with_start(plant, lambda _: -1)


@bug("R20", "KAFKA-12619", "the high watermark is shown at the leader change, not behind it", "RA10")
def _shown_too_early(plant: Plant) -> None:
    _with_start(plant, lambda start: start - 1)


@bug("R07", "KAFKA-16531", "a majority is one less than that", "RA8")
def _small_majority(plant: Plant) -> None:
    def majority_offset(original: Any, offsets: list[int]) -> int:
        fewer = sorted(offsets, reverse=True)[max(len(offsets) // 2 - 1, 0)]
        if fewer != original(offsets):
            plant.hit()
        return fewer

    plant.patch(leader, "majority_offset", majority_offset)


@bug(
    "R08",
    "RaftOS#26",
    "an answer to an older fetch is taken, and the log cut to where it begins",
    "RA5",
    "RA7",
)
def _takes_old_answers(plant: Plant) -> None:
    def expected(original: Any, raft: Any, sender: int, epoch: int, correlation: int) -> bool:
        del original, correlation
        role = raft.role
        return isinstance(role, Follower) and epoch == raft.epoch and sender == role.leader_id

    def append(original: Any, raft: Any, message: Any) -> None:
        if raft.log.start_offset <= message.fetch_offset < raft.log.end_offset:
            plant.hit()
            raft.log.truncate(message.fetch_offset)
        original(raft, message)

    plant.patch(follower, "is_expected", expected)
    plant.patch(follower, "append", append)


@bug("R09", "WRaft PR118", "a follower takes the leader's high watermark as it is", "RA6", "assertion", "RA4")
def _unclamped(plant: Plant) -> None:
    def advance(original: Any, raft: Any, high_watermark: int) -> None:
        del original
        if high_watermark > raft.log.end_offset:
            plant.hit()
        raft.commit(high_watermark)

    plant.patch(follower, "advance", advance)


@bug("R11", "textbook", "a fetch is answered without looking at its epoch", "RA2", "RA7", "RA4", "RA8")
def _no_previous_epoch(plant: Plant) -> None:
    def place_of(original: Any, log: Any, offset: int, epoch: int) -> Any:
        found = original(log, offset, epoch)
        if (
            found is not None
            and not isinstance(found, ErrorCode)
            and found[1] is None
            and log.is_batch_end(offset)
        ):
            plant.hit()
            return None
        return found

    plant.patch(leader, "place_of", place_of)


@bug("R12", "Redpanda d0e45c0b", "a fetch whose log differs counts as far as it reaches", "RA7", "RA8", "RA3")
def _counts_diverging(plant: Plant) -> None:
    def answer(original: Any, raft: Any, role: Any, message: Any, diverging: Any, name: Any) -> None:
        if diverging is not None:
            plant.hit()
            progress = leader.progress_of(role, message.replica)
            leader.acknowledge(raft, role, progress, min(message.fetch_offset, raft.log.end_offset), 0)
        original(raft, role, message, diverging, name)

    plant.patch(leader, "answer_fetch", answer)


@bug("R14", "PySyncObj#167", "a fetch of an earlier epoch counts", "RA7", "RA8")
def _old_fetches(plant: Plant) -> None:
    def refusal(original: Any, raft: Any, epoch: int) -> ErrorCode:
        code: ErrorCode = original(raft, epoch)
        if code is ErrorCode.FENCED_LEADER_EPOCH and isinstance(raft.role, Leader):
            plant.hit()
            return ErrorCode.NONE
        return code

    plant.patch(leader, "refusal", refusal)


@bug(
    "R16",
    "RaftOS#25",
    "what a replica has is what its last fetch says, though an older one comes late",
    "RA6",
)
def _progress_falls(plant: Plant) -> None:
    def acknowledge(original: Any, raft: Any, role: Any, progress: Any, offset: int, now: int) -> None:
        if offset < progress.end_offset:
            plant.hit()
            progress.end_offset = offset
        original(raft, role, progress, offset, now)

    plant.patch(leader, "acknowledge", acknowledge)


@bug("R17", "PySyncObj#166", "a follower's high watermark is what the leader last said", "RA6", "assertion")
def _watermark_falls(plant: Plant) -> None:
    def expected(original: Any, raft: Any, sender: int, epoch: int, correlation: int) -> bool:
        del original, correlation
        role = raft.role
        return isinstance(role, Follower) and epoch == raft.epoch and sender == role.leader_id

    def advance(original: Any, raft: Any, high_watermark: int) -> None:
        if raft.log.start_offset <= high_watermark < raft.high_watermark:
            plant.hit()
            raft.high_watermark = high_watermark
        original(raft, high_watermark)

    plant.patch(follower, "is_expected", expected)
    plant.patch(follower, "advance", advance)


@bug("R18", "PySyncObj#167", "an answer that says where logs part lowers what a replica has", "RA6")
def _progress_parts(plant: Plant) -> None:
    def answer(original: Any, raft: Any, role: Any, message: Any, diverging: Any, name: Any) -> None:
        progress = leader.progress_of(role, message.replica)
        if diverging is not None and progress.end_offset > diverging[1]:
            plant.hit()
            progress.end_offset = diverging[1]
        original(raft, role, message, diverging, name)

    plant.patch(leader, "answer_fetch", answer)


@bug("R21", "KAFKA-12460", "a log is cut wherever a leader says, and leaders say too little", "RA5")
def _cuts_committed(plant: Plant) -> None:
    def truncate(original: Any, raft: Any, role: Any, diverging: Any, now: int) -> None:
        del original, role, now
        log = raft.log
        own_epoch, own_end = log.end_of_epoch(diverging[0])
        fits = min(own_end, diverging[1]) if own_epoch == diverging[0] else own_end
        target = max(fits - 3, log.start_offset)
        if target < raft.high_watermark:
            plant.hit()
        log.truncate(min(target, log.end_offset))

    plant.patch(follower, "truncate", truncate)


@bug("R35", "etcd 8ecce32", "of many committed batches the first ones are applied, the rest forgotten", "RA4")
def _forgets_pages(plant: Plant) -> None:
    def commit(original: Any, raft: Any, high_watermark: int) -> None:
        batches = (
            raft.log.read(raft.applied_offset, 9, high_watermark)
            if high_watermark > raft.applied_offset
            else ()
        )
        if len(batches) <= 2 or high_watermark <= raft.high_watermark:
            original(raft, high_watermark)
            return
        plant.hit()
        raft.out.extend(Apply(batch) for batch in batches[:2])
        raft.high_watermark = raft.applied_offset = high_watermark

    plant.patch(Replica, "commit", commit)


@bug("R36", "KAFKA-16530", "a leader counts itself though it is no voter any more", "RA8", faults=CHURNING)
def _counts_itself(plant: Plant) -> None:
    def advance(original: Any, raft: Any, role: Any, now: int) -> None:
        was = role.is_voter
        if not was:
            plant.hit()
            role.is_voter = True
        original(raft, role, now)
        if raft.role is role:
            role.is_voter = was

    plant.patch(leader, "advance", advance)


@bug(
    "R37",
    "openraft 6d53aa12",
    "where logs part is said to be the end of the leader's",
    "LV",
    fetch_batches_max=1,
)
def _no_hint(plant: Plant) -> None:
    def place_of(original: Any, log: Any, offset: int, epoch: int) -> Any:
        found = original(log, offset, epoch)
        if found is not None and not isinstance(found, ErrorCode) and found[0] is not None:
            plant.hit()
            return (log.last_epoch, log.end_offset), None
        return found

    plant.patch(leader, "place_of", place_of)


@bug("R41", "Redpanda 1aaf98fc", "a leader applies what its own disk has", "RA8", "RA10", "RA4", "assertion")
def _applies_own(plant: Plant) -> None:
    def advance(original: Any, raft: Any, role: Any, now: int) -> None:
        if raft.log.durable_offset > raft.high_watermark and role.high_watermark != UNKNOWN_OFFSET:
            plant.hit()
            raft.commit(raft.log.durable_offset)
        original(raft, role, now)

    plant.patch(leader, "advance", advance)


@bug(
    "R42",
    "Redpanda eaad8411",
    "all requests have one correlation id",
    "RA5",
    "RA7",
    "RA11",
    "RA4",
    "RA2",
    "LV",
    "RA13",
    "assertion",
)
def _one_correlation(plant: Plant) -> None:
    def next_correlation(original: Any, raft: Any) -> int:
        original(raft)
        plant.hit()
        return 1

    plant.patch(Replica, "next_correlation", next_correlation)
