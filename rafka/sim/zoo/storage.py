"""Bugs of the log and its files: SIMULATION 3.3, as far as one node can have them, and some that were met here."""

from itertools import count
from typing import Any

from rafka.core.effects import Rename, Sync, SyncDir, Unlink, Write
from rafka.core.errors import CorruptRecord
from rafka.core.log import append, opening, recovery
from rafka.core.log.append import Appender
from rafka.core.log.log import Log
from rafka.core.log.opening import Opening
from rafka.core.log.producers import Producers
from rafka.core.log.segment import Segment
from rafka.core.log.tail import Tail
from rafka.core.record.batch import Header
from rafka.core.replication.partition import Partition
from rafka.core.types import NO_ANSWER, File, Now
from rafka.sim.disk import Disk
from rafka.sim.zoo.registry import Plant, family, without

BUGS, bug = family("storage")
KEEPER: Any = Appender.__mro__[1]
"""The class that keeps marks, wherever it is."""

# ---- appending, syncing, promising ---------------------------------------------------------------------


@bug("L21", "etcd#14370", "a record is acknowledged once it is written, before it is synced", "LO1")
def _acks_before_sync(plant: Plant) -> None:
    def promise(original: Any, log: Any) -> None:
        original(log)
        if log.durable_offset < log.written_offset and not log.is_offline:
            plant.hit()
            log.durable_offset = log.written_offset
            log._out.moved.append(log)

    plant.patch(Appender, "_promise", promise)


@bug(
    "L11", "ALICE", "a new segment's name is not waited for: the directory's sync comes when it comes", "LO1"
)
def _name_not_waited_for(plant: Plant) -> None:
    def promise(original: Any, log: Any) -> None:
        unnamed, log._unnamed = log._unnamed, None
        if unnamed is not None:
            plant.hit()
        original(log)
        log._unnamed = unnamed

    plant.patch(Appender, "_promise", promise)


@bug("L03", "KAFKA-10778, fsyncgate", "a sync that failed is tried again, and the second one believed", "LO1")
def _retries_sync(plant: Plant) -> None:
    def fail(original: Any, log: Any, event: Any, now: Now) -> None:
        if event.op != "sync" or event.token != log._sync_token:
            original(log, event, now)
            return
        plant.hit()
        log._sync_token = NO_ANSWER
        log._syncing_offset = log._synced_offset

    plant.patch(Appender, "_fail", fail)


@bug(
    "L05",
    "KAFKA-6683",
    "producers keep what an append has told them though it was taken back",
    "TX1",
    "LO2",
    "LO1",
)
def _keeps_producers(plant: Plant) -> None:
    def take_back(original: Any, producers: Any, offset: int) -> None:
        states = producers.states()
        original(producers, offset)
        if producers.states() != states:
            plant.hit()
            producers._states = states

    plant.patch(Producers, "take_back", take_back)


@bug("L06", "KAFKA-17181", "a write that ended short is taken for whole", "LO1", "LV", "LO3")
def _short_write(plant: Plant) -> None:
    writes = count(1)

    def write(original: Any, disk: Any, effect: Any) -> Any:
        if effect.file.endswith(".log") and effect.position and next(writes) % 20 == 0:
            plant.hit()
            data = b"".join(effect.buffers)
            effect = Write(effect.file, effect.position, [data[: len(data) * 2 // 3]], effect.token)
        return original(disk, effect)

    plant.patch(Disk, "_write", write)


@bug(
    "L07",
    "KAFKA-15375",
    "a link vouches for batches before the sync that makes them durable",
    "LO1",
    "LV",
    "assertion",
)
def _links_too_early(plant: Plant) -> None:
    def flush(original: Any, log: Any, now: Now) -> None:
        original(log, now)
        if log._marks and log._marks[-1].end_offset > log._synced_offset:
            plant.hit()
            log._save_marks(log.log_end_offset, now)

    def is_due(original: Any, log: Any, segment: Any, now: Now) -> bool:
        return original(log, segment, now) or True

    plant.patch(Appender, "flush", flush)
    plant.patch(KEEPER, "_is_mark_due", is_due)


@bug(
    "L13",
    "Redpanda 8a4b612d",
    "what was synced is still counted after offsets were taken back",
    "LO1",
    faults=("disk.full", "proc.power"),
)
def _aba(plant: Plant) -> None:
    def take_back(original: Any, log: Any, now: Now) -> None:
        synced, syncing = log._synced_offset, log._syncing_offset
        original(log, now)
        if syncing > log._syncing_offset:
            plant.hit()
        log._synced_offset, log._syncing_offset = synced, syncing

    plant.patch(Appender, "_take_back", take_back)


@bug("S01", "here", "a segment is begun before the one before it is synced", "LO1", "LV")
def _rolls_early(plant: Plant) -> None:
    def may_write(original: Any, log: Any, chunk: Any, now: Now) -> bool:
        if original(log, chunk, now):
            return True
        if log._directory_made and log._unnamed is None and chunk.position == 0:
            plant.hit()
            log._unnamed = chunk.segment
            return True
        return False

    plant.patch(Appender, "_may_write", may_write)


@bug("S02", "here", "the first segment does not wait for its directory", "LO1", "LV")
def _directory_not_waited_for(plant: Plant) -> None:
    def make(original: Any, directory: Any, topic_id: Any) -> Any:
        plant.hit()
        return without(original(directory, topic_id), Sync, SyncDir)

    plant.patch(append, "make", make)


@bug(
    "L12",
    "Redpanda 189098d7",
    "a deletion of records puts back the log end that it saw when it began",
    "LO2",
    "assertion",
)
def _end_goes_back(plant: Plant) -> None:
    def raise_start(original: Any, log: Any, offset: int) -> Any:
        end = log.log_end_offset
        yield from original(log, offset)
        if log.log_end_offset != end:
            plant.hit()
            log.log_end_offset = end

    plant.patch(Log, "_raise_start", raise_start)


# ---- opening -------------------------------------------------------------------------------------------


@bug(
    "L08",
    "TB#2345 class",
    "a torn tail is taken for whole: the CRC is not checked at a start",
    "LO3",
    "LO2",
    "LV",
    faults=("proc.power", "loss.pages"),
    value_bytes=3000,
    flush_os=True,
)
def _takes_torn_tail(plant: Plant) -> None:
    def check(original: Any, batch: Any) -> Header:
        try:
            header: Header = original(batch)
        except CorruptRecord:
            plant.hit()
            header = Header(batch)
        return header

    plant.patch(recovery, "check", check)


@bug(
    "S04",
    "here",
    "a torn tail is left in the file when the log is opened",
    "LO1",
    "LO3",
    "LV",
    faults=("proc.power", "loss.suffix", "loss.torn"),
    value_bytes=3000,
    segment_bytes=4000,
    flush_os=True,
)
def _leaves_torn_tail(plant: Plant) -> None:
    def keep(original: Any, segment: Any, directory: Any, *, cut: bool) -> Any:
        if cut:
            plant.hit()
        return original(segment, directory, cut=False)

    plant.patch(opening, "keep", keep)


@bug("S05", "fsyncgate", "what a start finds is synced, but not written again", "LO1")
def _does_not_write_again(plant: Plant) -> None:
    def scan(original: Any, *args: Any, again: bool) -> Any:
        if again:
            plant.hit()
        return original(*args, again=False)

    plant.patch(opening, "scan", scan)


@bug("S06", "here", "what a start finds is promised without a sync", "LO1", "LO2")
def _promises_what_it_finds(plant: Plant) -> None:
    def keep(original: Any, segment: Any, directory: Any, *, cut: bool) -> Any:
        plant.hit()
        return without(original(segment, directory, cut=cut), Sync, SyncDir, Write)

    plant.patch(opening, "keep", keep)


@bug(
    "L02",
    "KAFKA-9892",
    "a snapshot of producers that a power loss took is taken for an empty one",
    "TX1",
    "LO2",
    "LO5",
)
def _lost_snapshot(plant: Plant) -> None:
    def snapshot_of(original: Any, log: Any, offset: int, sizes: Any, crc: Any) -> Any:
        states = yield from original(log, offset, sizes, crc)
        if states is None and crc is not None:
            plant.hit()
            return {}
        return states

    plant.patch(Opening, "_snapshot_of", snapshot_of)


@bug("S07", "here", "the cut of a torn batch header loses the whole batch before it", "LO1", "LO3")
def _cuts_too_much(plant: Plant) -> None:
    def keep(original: Any, segment: Any, directory: Any, *, cut: bool) -> Any:
        size = segment.size_bytes
        if cut and segment.positions:
            plant.hit()
            segment.size_bytes = segment.positions[-1]
        yield from original(segment, directory, cut=cut)
        segment.size_bytes = size

    plant.patch(opening, "keep", keep)


# ---- checkpoints ---------------------------------------------------------------------------------------


@bug("S08", "here", "the log start is shown before it is durable", "LO7", "LO2", "LV")
def _start_not_durable(plant: Plant) -> None:
    # LO2: if everything below the start was deleted, its file is all that says where offsets go on. A crash that takes
    # the file lets a log begin at 0 again, and an offset that was acknowledged is given to a second record.
    def raise_start(original: Any, log: Any, offset: int) -> Any:
        plant.hit()
        return without(original(log, offset), Sync, SyncDir)

    plant.patch(Log, "_raise_start", raise_start)


@bug("S09", "here", "the log start is shown, and files go, without being written down", "LO7", "LO1", "LV")
def _start_not_written(plant: Plant) -> None:
    def raise_start(original: Any, log: Any, offset: int) -> Any:
        del original
        if offset > log.log_start_offset:
            plant.hit()
            log.log_start_offset = offset
            log.epochs.advance(offset)
        yield from ()

    plant.patch(Log, "_raise_start", raise_start)


@bug(
    "L22",
    "textbook",
    "a checkpoint is written in place: a full disk or a crash leaves half of it",
    "LO7",
    "LV",
)
def _checkpoint_in_place(plant: Plant) -> None:
    def raise_start(original: Any, log: Any, offset: int) -> Any:
        script = original(log, offset)
        effect = next(script)
        try:
            while True:
                if isinstance(effect, Write):
                    yield Unlink(File(effect.file[: effect.file.index("-checkpoint") + len("-checkpoint")]))
                if isinstance(effect, Write | Sync):
                    plain = File(effect.file[: effect.file.index("-checkpoint") + len("-checkpoint")])
                    effect = (
                        Write(plain, effect.position, effect.buffers)
                        if isinstance(effect, Write)
                        else Sync(plain, NO_ANSWER)
                    )
                    plant.hit()
                while isinstance(effect, Rename):
                    effect = script.send(None)
                effect = script.send((yield effect))
        except StopIteration as stop:
            return stop.value

    plant.patch(Log, "_raise_start", raise_start)


# ---- reading -------------------------------------------------------------------------------------------


@bug(
    "S10", "here", "readers are given what is written, before it is durable", "LO2", "LO1", "LO7", "assertion"
)
def _reads_ahead(plant: Plant) -> None:
    def high_watermark(original: Any, partition: Any) -> int:
        durable = original(partition)
        if partition.log.written_offset > durable:
            plant.hit()
        return int(partition.log.written_offset)

    plant.patch_property(Partition, "high_watermark", high_watermark)


@bug(
    "S11",
    "here",
    "a fetch is not cut at the high watermark",
    "LO2",
    "LO1",
    "LO7",
    "assertion",
    "crash",
    faults=("proc.power", "disk.slow", "proc.boundary"),
)
def _reads_past_end(plant: Plant) -> None:
    def slices(
        original: Any, log: Any, place: Any, max_bytes: int, end_offset: int, *, at_least_one: bool
    ) -> Any:
        if log.written_offset > end_offset:
            plant.hit()
        return original(log, place, max_bytes, log.written_offset, at_least_one=at_least_one)

    plant.patch(Log.__mro__[3], "slices", slices)


@bug(
    "S12", "here", "the search for an offset in memory finds the batch after it", "LO7", "LO3", "LV", "crash"
)
def _finds_next(plant: Plant) -> None:
    def find(original: Any, tail: Any, offset: int) -> int:
        index = int(original(tail, offset))
        if 0 <= index < len(tail.offsets) - 1 and tail.offsets[index] < offset:
            plant.hit()
            return index + 1
        return index

    plant.patch(Tail, "find", find)


@bug("S13", "here", "the index is searched one entry too far", "LO7", "LV", "crash")
def _index_too_far(plant: Plant) -> None:
    def near(original: Any, segment: Any, offset: int) -> int:
        found = int(original(segment, offset))
        later = [p for p in segment.positions if p > found]
        if later:
            plant.hit()
            return int(later[0])
        return found

    plant.patch(Segment, "near", near)
