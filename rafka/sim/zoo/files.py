"""Bugs of what is beside a log, and of what is done to its files: the cleaner, retention, indexes, checkpoints."""

from typing import Any

from rafka.core.effects import Sync, SyncDir
from rafka.core.errors import CorruptRecord
from rafka.core.log import beside, checkpoint, cleaner, compaction, opening, swap, upkeep
from rafka.core.log.append import Appender
from rafka.core.log.log import Log
from rafka.core.log.opening import Opening
from rafka.core.log.retention import expired
from rafka.core.node.housekeeping import Housekeeping
from rafka.core.types import Now
from rafka.sim.zoo.registry import Plant, family, without
from rafka.sim.zoo.storage import KEEPER

BUGS, bug = family("files")

OFFSETS_CLEANED = {
    "groups": 2,
    "members": 2,
    "roll_ms": 150,
    "cleaner_backoff_ms": 100,
    "flush_os": False,
}
"""Knobs under which the log of committed offsets is compacted all the time."""


# ---- the cleaner ---------------------------------------------------------------------------------------


@bug(
    "S14",
    "here",
    "the cleaner keeps the first value of a key instead of the last",
    "GR1",
    "GR3",
    **OFFSETS_CLEANED,
)
def _keeps_first(plant: Plant) -> None:
    def add(original: Any, offsets: Any, batch: Any, header: Any, codecs: Any) -> bool:
        known = dict(offsets.by_key)
        is_added = bool(original(offsets, batch, header, codecs))
        if any(offsets.by_key[key] != offset for key, offset in known.items()):
            plant.hit()
            offsets.by_key.update(known)
        return is_added

    def kept(original: Any, records: Any, header: Any, offsets: Any, *, is_over: bool) -> Any:
        base, first = header.base_offset, offsets.by_key
        del original, is_over
        return [r for r in records if r[5] is None or base + r[4] <= first.get(r[5], 1 << 62)]

    plant.patch(compaction.OffsetMap, "add", add)
    plant.patch(compaction, "_kept", kept)


@bug(
    "L15",
    "KAFKA-13194",
    "the segment that is appended to is compacted too",
    "assertion",
    "LO6",
    "LO1",
    **OFFSETS_CLEANED,
)
def _cleans_active(plant: Plant) -> None:
    def closed(original: Any, log: Any) -> Any:
        if log.segments and len(original(log)) < len(log.segments):
            plant.hit()
        return list(log.segments)

    def check(original: Any, cleaning: Any, segments: Any) -> None:
        original(cleaning, [segment for segment in segments if segment.is_kept])

    plant.patch(upkeep.Upkeep, "closed_segments", closed)
    plant.patch(cleaner._Cleaning, "check", check)


@bug(
    "S15",
    "ALICE",
    "a compacted segment takes the place of the old ones without any sync",
    "LO1",
    "GR1",
    "GR3",
    "LV",
    **OFFSETS_CLEANED,
)
def _swaps_without_sync(plant: Plant) -> None:
    def swapped(original: Any, log: Any, old: Any, new: Any, still: Any) -> Any:
        plant.hit()
        return without(original(log, old, new, still), Sync, SyncDir)

    plant.patch(cleaner, "swap", swapped)


@bug(
    "S16",
    "here",
    "a start throws away the compacted segment and the old ones with it",
    "LO1",
    "GR1",
    "GR3",
    "LV",
    **OFFSETS_CLEANED,
)
def _loses_swap(plant: Plant) -> None:
    def complete(original: Any, directory: Any, name: str, names: Any) -> Any:
        plant.hit()
        yield from original(directory, name, names)
        yield from swap._remove(directory, [name.removesuffix(".swap")])

    plant.patch(swap, "_complete", complete)


# ---- what is beside a log --------------------------------------------------------------------------------


@bug(
    "L01",
    "KAFKA-16541",
    "leader epochs are what their file says, which is not synced",
    "LO5",
    faults=("proc.power",),
)
def _epochs_of_file(plant: Plant) -> None:
    def read_epochs(original: Any, log: Any, link: Any, sizes: Any, start: int) -> Any:
        try:
            yield from original(log, link, sizes, start)
        except opening._Untrusted:
            plant.hit()
        if not sizes.get(checkpoint.EPOCHS) and log.epochs.entries:
            plant.hit()
            log.epochs.cut(0)

    def save_epochs(original: Any, log: Any, *, durably: bool) -> Any:
        return without(original(log, durably=durably), Sync, SyncDir)

    plant.patch(Opening, "_read_epochs", read_epochs)
    plant.patch(KEEPER, "_save_epochs", save_epochs)


@bug(
    "L23",
    "textbook",
    "an index is used whatever its checksum says",
    "LO3",
    "LO7",
    "LV",
    "crash",
    profile="storage",
    index_interval_bytes=0,
    segment_bytes=1000,
)
def _index_believed(plant: Plant) -> None:
    def is_sound(original: Any, data: bytes, length: int, crc: int) -> bool:
        if not original(data, length, crc):
            plant.hit()
        return len(data) >= length

    plant.patch(beside, "is_sound", is_sound)


@bug(
    "L09",
    "PAR, TigerBeetle",
    "damage in the middle of a log is cut off, with all that follows",
    "LO9",
    profile="storage",
    faults=("disk.rot",),
    segment_bytes=500,
)
def _cuts_in_the_middle(plant: Plant) -> None:
    def check(original: Any, log: Any, segment: Any, link: Any) -> None:
        try:
            original(log, segment, link)
        except CorruptRecord:
            plant.hit()

    def read_one(original: Any, log: Any, found: Any, following: Any) -> Any:
        try:
            yield from original(log, found, following)
        except CorruptRecord:
            plant.hit()

    plant.patch(Opening, "_check_chain", check)
    plant.patch(Opening, "_read_one", read_one)


@bug(
    "S17",
    "here",
    "retention lets go of the empty segment that is appended to",
    "LV",
    "LO1",
    "LO3",
    "crash",
    "assertion",
    faults=("proc.boundary", "proc.power", "disk.full"),
    segment_bytes=1000,
    retention_ms=1500,
    file_delete_delay_ms=10,
)
def _drops_empty(plant: Plant) -> None:
    def all_of(log: Any, now: Now) -> Any:
        yield from log.delete_before(log.log_end_offset, now)
        return 0

    def retain(original: Any, log: Any, high_watermark: int, now: Now) -> Any:
        active, end_offset = log._active, log.log_end_offset
        is_empty = active is not None and active.size_bytes == 0 and log.log_start_offset < end_offset
        over = expired(log.segments, high_watermark, end_offset, log.config, now.wall) if is_empty else 0
        if is_empty and over == len(log.segments):
            plant.hit()
            log._active = None
            return all_of(log, now)
        return original(log, high_watermark, now)

    plant.patch(Log, "retain", retain)


@bug(
    "S18",
    "here",
    "retention takes what is not committed",
    "assertion",
    "LO1",
    "LO7",
    "crash",
    retention_ms=1500,
)
def _retains_too_little(plant: Plant) -> None:
    def retain(original: Any, log: Any, high_watermark: int, now: Now) -> Any:
        if log.log_end_offset > high_watermark:
            plant.hit()
            log.durable_offset = log.log_end_offset
        return original(log, log.log_end_offset, now)

    plant.patch(Log, "retain", retain)


@bug(
    "S19",
    "ALICE",
    "a compacted segment's old files are removed before the new one has its name",
    "LO1",
    "GR1",
    "GR3",
    "LV",
    "LB1",
    **OFFSETS_CLEANED,
)
def _removes_first(plant: Plant) -> None:
    def committed(original: Any, log: Any, old: Any, new: Any, still: Any) -> Any:
        plant.hit()
        yield from swap._clear(log, old)
        yield from original(log, old, new, still)

    plant.patch(swap, "_commit", committed)


@bug(
    "S20",
    "here",
    "a sync whose answer overtakes that of a failing write vouches for what was not written",
    "LV",
    "LO1",
    "crash",
    "assertion",
    faults=("disk.eio-write", "disk.slow"),
    segment_bytes=300,
    in_flight=5,
    flush_os=False,
)
def _vouches_early(plant: Plant) -> None:
    def named_offset(original: Any, log: Any) -> Any:
        told = original(log)
        synced = (
            log._synced_offset if log._unnamed is None else min(log._synced_offset, log._unnamed.base_offset)
        )
        if synced > told:
            plant.hit()
        return synced

    plant.patch(Appender, "_named_offset", named_offset)


@bug(
    "S21",
    "here",
    "what producers did goes with the segments that are deleted",
    "LO2",
    "TX1",
    faults=("proc.power", "net.reset", "net.stall"),
    segment_bytes=500,
    retention_ms=300,
    flush_os=False,
)
def _forgets_producers(plant: Plant) -> None:
    def keep(original: Any, log: Any, offset: int) -> Any:
        if next(original(log, offset), None) is not None:
            plant.hit()
        return ()  # nothing to do

    plant.patch(Log, "_keep_producers", keep)


@bug(
    "S22",
    "here",
    "a cleaning is forgotten when the node stops, and ends after that",
    "assertion",
    faults=("proc.shutdown", "disk.slow"),
    compacts=True,
    segment_bytes=250,
    cleaner_backoff_ms=1,
)
def _forgets_cleaning(plant: Plant) -> None:
    def end(original: Any, house: Any) -> None:
        if house._cleaning is not None:
            plant.hit()
            house._cleaning = None
        original(house)

    plant.patch(Housekeeping, "end", end)
