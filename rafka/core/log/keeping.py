"""What is kept beside a log's batches, so that a start reads little: indexes, links, snapshots, leader epochs.

Nothing here is needed to get the log back, and nothing is trusted before it is checked: each file is a function of the
batches. What counts is the order. A link (see `chain.py`) says that what lies before it is durable, so it is written
only after the Sync that made it so, and after the files it names: the producers' snapshot, the leader epochs, and the
entries of the two indexes.

A mark is what is to be saved: taken when a Sync is asked for, because then all that the log has in memory is what the
Sync will cover, and saved once it is answered. There is one at the end of every segment, and one after SAVE_BYTES,
SAVE_NS or a new leader epoch. When a segment ends its files are synced too. If they cannot be written the log goes on:
the next start reads more, and the mark is tried again.
"""

import attrs

from rafka.core.config import LogConfig
from rafka.core.effects import Rename, Sync, SyncDir, Unlink, Write
from rafka.core.errors import StorageError
from rafka.core.log.chain import CHAIN, LINK_BYTES, NO_PRODUCERS, UNKNOWN, Link, encode, interim, seed
from rafka.core.log.checkpoint import EPOCHS, TEMPORARY, epochs_text, replace
from rafka.core.log.directory import ensure
from rafka.core.log.epochs import Epochs
from rafka.core.log.errand import Errand
from rafka.core.log.index import (
    INDEX,
    OFFSET_ENTRY_BYTES,
    TIME_ENTRY_BYTES,
    TIME_INDEX,
    offset_entries,
    time_entries,
)
from rafka.core.log.producers import Producers, State
from rafka.core.log.restored import Restored
from rafka.core.log.segment import Segment
from rafka.core.log.snapshot import SNAPSHOT, crc_of, snapshot_of
from rafka.core.machine import Outbox
from rafka.core.record.crc32c import crc32c_from
from rafka.core.script import Script
from rafka.core.types import NO_ANSWER, File, Now, Uuid

SAVE_BYTES = 4 << 20
"""After so many bytes a segment's files are brought up to date: so much is read at the start after a crash."""
SAVE_NS = 10_000_000_000
"""… and after so much time, if anything was appended."""


@attrs.define(eq=False)
class Mark:
    """What is known of a segment when it ended at `end_offset`.

    producers: None if the last snapshot has them. is_end: the segment has ended there. is_newest: the log had, too;
    otherwise the producers at that offset are not known.
    """

    segment: Segment
    end_offset: int
    position: int
    chain: int
    links: int
    index_entries: int
    time_entries: int
    max_timestamp: int
    max_timestamp_offset: int
    latest_time: int
    epoch: tuple[int, int]
    producers: dict[int, State] | None
    is_end: bool
    is_newest: bool


class Keeper:
    """A log in `directory` (`orders-0`) as what is beside it; identity: topic id and partition.

    restored: shared by all logs of a node.
    """

    __slots__ = (
        "_attempts",
        "_epochs_saved",
        "_is_saving",
        "_marks",
        "_out",
        "_restored",
        "_save_at",
        "_saving",
        "_snapshot",
        "_to_save",
        "config",
        "directory",
        "epochs",
        "identity",
        "producers",
        "seed",
        "segments",
    )

    def __init__(
        self,
        directory: File,
        out: Outbox,
        config: LogConfig,
        identity: tuple[Uuid, int],
        restored: Restored | None = None,
    ) -> None:
        self.directory = directory
        self.config = config
        self.identity = identity
        self.seed = seed(*identity)
        self.segments: list[Segment] = []
        self.epochs = Epochs()
        self.producers = Producers()
        self._out = out
        self._restored = Restored() if restored is None else restored
        self._attempts = 0
        self._epochs_saved: list[tuple[int, int]] = []
        """What `leader-epoch-checkpoint` says."""
        self._snapshot = (NO_PRODUCERS, 0)
        """Offset and CRC of the newest snapshot."""
        self._marks: list[Mark] = []
        """What is to be saved once it is durable."""
        self._to_save: list[Mark] = []
        self._is_saving = False
        self._saving: Errand[None] | None = None
        self._save_at = -1
        """When a mark is due for the time that has passed; -1: nothing was appended."""

    def attempt(self) -> int:
        """Return a number that no other temporary file of this process has."""
        self._attempts += 1
        return self._attempts

    # ---- marks -------------------------------------------------------------------------------------

    def _is_mark_due(self, segment: Segment, now: Now) -> bool:
        if self._save_at < 0:
            self._save_at = now.mono + SAVE_NS
        return segment.size_bytes - segment.saved_position >= SAVE_BYTES or now.mono >= self._save_at

    def _mark(self, segment: Segment, end_offset: int, *, is_end: bool, is_newest: bool = True) -> Mark:
        """Take a mark: all that is in memory is what there is below `end_offset`, where the segment now ends."""
        if is_end:
            segment.mark_time()
        segment.link(end_offset)
        epoch = next((entry for entry in reversed(self.epochs.entries) if entry[1] < end_offset), (-1, -1))
        producers = None
        if is_newest:
            self._save_at = -1
            if self.producers.is_changed:
                producers = self.producers.states()
                self.producers.is_changed = False
        return Mark(
            segment,
            end_offset,
            segment.size_bytes,
            segment.chain,
            segment.first_link + len(segment.link_positions),
            segment.first_entry + len(segment.offsets),
            segment.first_time + len(segment.times),
            segment.max_timestamp,
            segment.max_timestamp_offset,
            segment.latest_time,
            epoch,
            producers,
            is_end,
            is_newest,
        )

    def _unmark(self, end_offset: int) -> None:
        """Forget marks above `end_offset`: what they say was taken back."""
        self._marks = [mark for mark in self._marks if mark.end_offset <= end_offset]
        self.producers.is_changed = True

    def _save_marks(self, synced_offset: int, now: Now) -> None:
        """Begin to save what is durable now."""
        while self._marks and self._marks[0].end_offset <= synced_offset:
            self._to_save.append(self._marks.pop(0))
        if not self._is_saving and self._to_save:
            self._saving = errand = Errand(self._save_all(), self._out, self._on_saved)
            errand.start(now)

    def _on_saved(self, result: None, now: Now) -> None:
        del result, now
        self._saving = None

    def _stop_saving(self, end_offset: int) -> None:
        """Save nothing of what was marked so far, but of segments that have ended before `end_offset`."""
        marks = [*self._to_save, *self._marks]
        self._stop_errand()
        self._marks.clear()
        self._to_save = [mark for mark in marks if mark.is_end and mark.end_offset < end_offset]
        self.producers.is_changed = True

    def _stop_errand(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None

    # ---- saving ------------------------------------------------------------------------------------

    def _save_all(self, *, durably: bool = True) -> Script[None]:
        """Save what is to be saved; nothing is done if somebody else is at it, who will do it."""
        if self._is_saving:
            return
        self._is_saving = True
        try:
            while self._to_save:
                mark = self._to_save[0]
                if any(
                    segment is mark.segment for segment in self.segments
                ):  # else its names may be another's now
                    yield from self._save(mark, durably=durably)
                if mark in self._to_save:  # unless somebody has said meanwhile that nothing is to be saved
                    self._to_save.remove(mark)
        except StorageError as error:
            self._out.note("warning", "indexes not saved", log=self.directory, reason=str(error))
        finally:
            self._is_saving = False

    def _saved(self) -> Script[None]:
        """Wait until nobody saves, but for an errand, which can be stopped."""
        while self._is_saving and self._saving is None:
            yield SyncDir(self.directory)

    def _save(self, mark: Mark, *, durably: bool) -> Script[None]:
        """Bring the files of a segment up to a mark. durably: if it has ended, it is not read again at a start."""
        segment = mark.segment
        former, _ = self._snapshot
        if mark.producers is not None:
            yield from self._save_producers(mark.end_offset, mark.producers, durably=mark.is_end)
        if self._epochs_saved != self.epochs.entries and (durably or len(self.epochs.entries) > 1):
            yield from self._save_epochs(durably=durably)
        link = yield from self._save_indexes(mark)
        at = segment.links_saved
        content = b"".join(encode(one, self.seed, segment.base_offset) for one in _links(mark, link))
        ensure((yield Write(self._beside(segment, CHAIN), at * LINK_BYTES, [content])))
        segment.keep(link, mark.links)
        if mark.is_end:
            if durably:
                counts = {INDEX: mark.index_entries, TIME_INDEX: mark.time_entries, CHAIN: mark.links}
                for suffix in [suffix for suffix, count in counts.items() if count]:
                    ensure((yield Sync(self._beside(segment, suffix), NO_ANSWER)))
                ensure((yield SyncDir(self.directory)))
            segment.is_kept = True  # only now: from here on the cleaner may take its files away
        segment.forget_saved()
        if former not in (self._snapshot[0], NO_PRODUCERS, UNKNOWN) and not self._begins_at(former):
            ensure((yield Unlink(self._file(former, SNAPSHOT))))

    def _save_producers(self, offset: int, states: dict[int, State], *, durably: bool) -> Script[None]:
        """Write a snapshot. durably: it is what a start begins with once all segments before `offset` are gone."""
        file, content = self._file(offset, SNAPSHOT), snapshot_of(states)
        if durably:
            yield from replace(file, content, self.attempt())
        else:
            ensure((yield Unlink(file)))
            ensure((yield Write(file, 0, [content])))
        self._snapshot = (offset, crc_of(content))

    def _save_epochs(self, *, durably: bool) -> Script[None]:
        entries = list(self.epochs.entries)
        file, text = File(f"{self.directory}/{EPOCHS}"), epochs_text(entries)
        if durably:
            yield from replace(file, text, self.attempt())
        else:
            beside = File(f"{file}.{self.attempt()}{TEMPORARY}")
            ensure((yield Write(beside, 0, [text])))
            ensure((yield Rename(beside, file)))
        self._epochs_saved = entries

    def _save_indexes(self, mark: Mark) -> Script[Link]:
        """Append to both indexes what a mark has more than they; return the link that says so."""
        segment, saved = mark.segment, mark.segment.saved
        is_known = mark.is_newest and self._snapshot[0] <= mark.end_offset
        first, last = (saved.index_entries if saved else 0), mark.index_entries
        part = slice(first - segment.first_entry, last - segment.first_entry)
        entries = offset_entries(segment.offsets[part], segment.positions[part])
        if entries or (
            first == 0 and mark.time_entries
        ):  # Kafka's tools want one beside a time index, if empty
            ensure((yield Write(self._beside(segment, INDEX), first * OFFSET_ENTRY_BYTES, [entries])))
        first, last = (saved.time_entries if saved else 0), mark.time_entries
        part = slice(first - segment.first_time, last - segment.first_time)
        times = time_entries(segment.times[part], segment.time_offsets[part])
        if times:
            ensure((yield Write(self._beside(segment, TIME_INDEX), first * TIME_ENTRY_BYTES, [times])))
        return Link(
            flags=segment.flags,
            start=segment.start,
            end_offset=mark.end_offset,
            position=mark.position,
            chain=mark.chain,
            first_timestamp=segment.first_timestamp,
            max_timestamp=mark.max_timestamp,
            max_timestamp_offset=mark.max_timestamp_offset,
            latest_time=mark.latest_time,
            snapshot_offset=self._snapshot[0] if is_known else UNKNOWN,
            epoch_start=mark.epoch[1],
            epoch=mark.epoch[0],
            snapshot_crc=self._snapshot[1],
            index_entries=mark.index_entries,
            index_crc=crc32c_from(saved.index_crc if saved else 0, entries),
            time_entries=mark.time_entries,
            time_crc=crc32c_from(saved.time_crc if saved else 0, times),
        )

    # ---- names -------------------------------------------------------------------------------------

    def _file(self, offset: int, suffix: str) -> File:
        return File(f"{self.directory}/{offset:020d}{suffix}")

    def _beside(self, segment: Segment, suffix: str) -> File:
        return self._file(segment.base_offset, suffix)

    def _begins_at(self, offset: int) -> bool:
        return any(segment.base_offset == offset for segment in self.segments)


def _links(mark: Mark, last: Link) -> list[Link]:
    """Make the links that a segment has in memory and not in its file; the last is whole, others are interim."""
    segment = mark.segment
    first = segment.links_saved - segment.first_link
    links = [
        interim(
            last,
            segment.link_offsets[index] + segment.base_offset,
            segment.link_positions[index],
            segment.link_chains[index],
        )
        for index in range(first, mark.links - segment.first_link - 1)
    ]
    return [*links, last]
