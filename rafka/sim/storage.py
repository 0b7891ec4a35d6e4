"""A disk that takes its time: what the laws of rafka.core.effects leave open, chance decides.

Operations on one file are performed in the order given, each at a time of its own; those on different files in any
order. An answer comes some time after the performance, and answers overtake each other, except that the syncs
of one file are answered in order. When the process dies, of each file some of the first unperformed operations are
performed all the same: they were with the kernel already.

Faults (`disk.*`) strike when an operation is performed. Those that change what is stored are told to `damaged`.
"""

import errno
from collections.abc import Callable
from typing import Any, Protocol

from rafka.core.effects import DiskEffect, MakeDir, Read, Rename, Sync, Write
from rafka.core.events import DiskEvent, Failed, Loaded, Synced, Written
from rafka.core.types import NO_ANSWER
from rafka.sim.chance import Chance
from rafka.sim.disk import SECTOR_BYTES, Disk
from rafka.sim.faults import Book, Source, no_faults

MS = 1_000_000
FULL_NS = 1_500 * MS
"""For how long at most the disk is full."""
LYING_NS = 2_000 * MS
SLOW_NS = 40 * MS
STUCK_NS = 4_000 * MS


class Clock(Protocol):
    """Whoever keeps the virtual time."""

    @property
    def time_ns(self) -> int:
        """Say what time it is."""

    def at(self, time_ns: int, action: Callable[[Any], None], subject: Any) -> None:
        """Call `action` with `subject` at a time that has not passed."""


class _Operation:
    __slots__ = ("effect", "event")

    def __init__(self, effect: DiskEffect) -> None:
        self.effect = effect
        self.event: DiskEvent | None = None


class Storage:
    """Performs effects on `disk` over time and hands each answer to `answer`. One for each life of the process."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        chance: Chance,
        mean_ns: int,
        answer: Callable[[DiskEvent], None],
        faults: "DiskFaults | None" = None,
    ) -> None:
        self.is_alive = True
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._mean_ns = mean_ns
        self._answer = answer
        self._performed_at: dict[str, int] = {}
        self._synced_at: dict[str, int] = {}
        self._unperformed: dict[_Operation, None] = {}
        self._unanswered = 0
        self._faults = faults or DiskFaults(no_faults(), disk)

    @property
    def pending(self) -> int:
        """Operations not yet performed, or performed and not yet answered."""
        return self._unanswered

    def submit(self, effect: DiskEffect) -> None:
        """Let an operation be performed, and answered if it asks for that or fails."""
        now = self._clock.time_ns
        at = now + self._chance.around(self._mean_ns) + self._faults.delay_ns(self._mean_ns)
        performed_at = self._performed_at
        name = effect.file
        last = performed_at.get(name, 0)
        if last < now and type(effect) is Read:
            self._read(effect, at)
            return
        at = max(at, last)
        performed_at[name] = at
        if type(effect) is Rename:
            at = max(at, performed_at.get(effect.to, 0))
            performed_at[name] = performed_at[effect.to] = at
        operation = _Operation(effect)
        self._unperformed[operation] = None
        self._unanswered += 1
        self._clock.at(at, self._perform, operation)

    def _read(self, effect: Read, at: int) -> None:
        """Perform a read of a file on which nothing is under way: whenever that is done, it brings the same."""
        operation = _Operation(effect)
        operation.event = self._faults.perform(effect, self._clock.time_ns)
        self._unanswered += 1
        self._clock.at(at + self._chance.around(self._mean_ns), self._answered, operation)

    def kill(self) -> None:
        """The process has died: some of what it asked for is performed, nothing is answered."""
        self.is_alive = False
        kept: dict[str, bool] = {}
        for operation in self._unperformed:
            name = operation.effect.file
            if kept.get(name, True):
                kept[name] = self._chance.happens(0.5)
                if kept[name]:
                    self._disk.perform(operation.effect)
        self._unperformed.clear()

    def _perform(self, operation: _Operation) -> None:
        if not self.is_alive:
            return
        del self._unperformed[operation]
        effect = operation.effect
        event = operation.event = self._faults.perform(effect, self._clock.time_ns)
        at = self._clock.time_ns + self._chance.around(self._mean_ns)
        if type(effect) is Sync:
            at = self._synced_at[effect.file] = max(at, self._synced_at.get(effect.file, 0))
        if event.token == NO_ANSWER and type(event) is not Failed:
            self._unanswered -= 1
        else:
            self._clock.at(at, self._answered, operation)

    def _answered(self, operation: _Operation) -> None:
        if self.is_alive:
            self._unanswered -= 1
            assert operation.event is not None
            self._answer(operation.event)


class DiskFaults:
    """What goes wrong with a disk; belongs to the disk, and outlives the process.

    damaged: called with the name of a file whose bytes are no longer what was written, or cannot be read.
    """

    def __init__(
        self,
        book: Book,
        disk: Disk,
        chance: Chance | None = None,
        damaged: Callable[[str], None] | None = None,
    ) -> None:
        def source(kind: str) -> Source | None:
            return book.source(f"disk.{kind}", "disk")

        self._disk = disk
        self._chance = chance or Chance(0, "faults of a disk")
        self._damaged = damaged or _ignore
        self._slow, self._stuck = source("slow"), source("stuck")
        self._full, self._full_until = source("full"), 0
        self._eio = {Write: source("eio-write"), Sync: source("eio-sync"), Read: source("eio-read")}
        self._writing = [(source(kind), act) for kind, act in self._write_faults().items()]
        self._reading = [(source(kind), act) for kind, act in self._read_faults().items()]
        self._lies, self._lies_until = source("lies"), 0
        self._any = any(book.is_on(f"disk.{kind}") for kind in _STORED)

    def heal(self) -> None:
        """End what goes on by itself: the disk has room again, and says the truth."""
        self._full_until = self._lies_until = 0

    def delay_ns(self, mean_ns: int) -> int:
        """Decide by how much an operation is late: not at all, slow, or stuck."""
        slow = self._slow.strikes() if self._slow is not None else 0.0
        stuck = self._stuck.strikes() if self._stuck is not None else 0.0
        return int(slow * (100 * mean_ns + SLOW_NS) + stuck * STUCK_NS)

    def perform(self, effect: DiskEffect, time_ns: int) -> DiskEvent:
        """Perform an effect as the disk is today."""
        if not self._any:
            return self._disk.perform(effect)
        kind = type(effect)
        if kind is Write or kind is MakeDir:
            refused = self._is_full(effect, time_ns)
            if refused is not None:
                return refused
        source = self._eio.get(kind)
        strength = source.strikes() if source is not None else 0.0
        if strength:
            return self._disk.fail_now(effect, errno.EIO, strength)
        if isinstance(effect, Write):
            return self._strike_write(effect)
        if isinstance(effect, Read):
            return self._strike_read(effect)
        if isinstance(effect, Sync) and self._is_lying(time_ns):
            return Synced(effect.file, effect.token)
        return self._disk.perform(effect)

    def _is_full(self, effect: DiskEffect, time_ns: int) -> Failed | None:
        strength = self._full.strikes() if self._full is not None else 0.0
        if strength:
            self._full_until = time_ns + int(strength * FULL_NS)
        if time_ns >= self._full_until:
            return None
        return self._disk.fail_now(effect, errno.ENOSPC, self._chance.draw())

    def _is_lying(self, time_ns: int) -> bool:
        strength = self._lies.strikes() if self._lies is not None else 0.0
        if strength:
            self._lies_until = time_ns + int(strength * LYING_NS)
        return time_ns < self._lies_until

    def _strike_write(self, effect: Write) -> DiskEvent:
        share = 1.0 if effect.file in self._disk.files else 0.0  # what is not there yet cannot be hit
        for source, act in self._writing:
            strength = source.strikes(share) if source is not None else 0.0
            if strength:
                act(effect, strength)
                return Written(effect.file, effect.token)
        return self._disk.perform(effect)

    def _strike_read(self, effect: Read) -> DiskEvent:
        inode = self._disk.files.get(effect.file)
        share = 1.0 if inode is not None and len(inode.data) > effect.position else 0.0
        for source, act in self._reading:
            strength = source.strikes(share) if source is not None else 0.0
            if strength:
                answer = act(effect, strength)
                if answer is not None:
                    return answer
        return self._disk.perform(effect)

    # ---- what they do --------------------------------------------------------------------------------

    def _write_faults(self) -> dict[str, Callable[[Write, float], None]]:
        return {"misdirect-write": self._misdirect_write, "lost-write": self._lose_write}

    def _read_faults(self) -> dict[str, Callable[[Read, float], DiskEvent | None]]:
        return {"latent": self._spoil, "rot": self._rot, "misdirect-read": self._misdirect_read}

    def _misdirect_write(self, effect: Write, strength: float) -> None:
        """Write to another place of the file, or to the same place of another."""
        data = b"".join(effect.buffers)
        others = sorted(n for n, inode in self._disk.files.items() if inode is not None and n != effect.file)
        self._damaged(effect.file)
        if others and self._chance.happens(0.5):
            other = others[self._chance.below(len(others))]
            self._damaged(other)
            self._disk.inode(other).apply(effect.position, data)
            return
        self._disk.inode(effect.file).apply(int(strength * effect.position), data)

    def _lose_write(self, effect: Write, _: float) -> None:
        self._damaged(effect.file)

    def _spoil(self, effect: Read, strength: float) -> None:
        position = effect.position + int((1 - strength) * self._length(effect))
        self._damaged(effect.file)
        self._disk.inode(effect.file).bad.add(position // SECTOR_BYTES)

    def _rot(self, effect: Read, strength: float) -> None:
        self._damaged(effect.file)
        position = effect.position + int((1 - strength) * self._length(effect))
        self._disk.inode(effect.file).flip(position, self._chance.below(8))

    def _misdirect_read(self, effect: Read, strength: float) -> DiskEvent | None:
        self._damaged(effect.file)
        elsewhere = int(strength * effect.position) // 2 if effect.position else SECTOR_BYTES
        other = Read(effect.file, elsewhere, effect.length, effect.token)
        event = self._disk.perform(other)
        return Loaded(effect.file, effect.token, event.data) if isinstance(event, Loaded) else None

    def _length(self, effect: Read) -> int:
        return min(effect.length, len(self._disk.inode(effect.file).data) - effect.position)


_STORED = (
    "full",
    "eio-write",
    "eio-sync",
    "eio-read",
    "latent",
    "rot",
    "misdirect-write",
    "misdirect-read",
    "lost-write",
    "lies",
)


def _ignore(file: str) -> None:
    del file
