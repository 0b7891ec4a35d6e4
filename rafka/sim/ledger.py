"""What was promised, and whether it is kept: the online checker, and what makes a loss legal.

Every send, acknowledgement and read of every client comes here as it happens, and is held against the run so far:

    LO2   an offset holds one record and a record has one offset, for ever
    LO3   what is read was sent, and sent to that partition
    TX1   a producer's records lie in the order in which it sent them, and none twice
    LO1   an acknowledged record is on the disk when the client learns of it (flush=fsync), under a durable name;
          after each crash, before anybody has a chance to repair anything, it is there still
    LO7   log start and high watermark do not go back; a reader meets every offset, none is left out
    GR1   in one generation of a group a partition has one owner
    GR3   an acknowledged commit is what is fetched later, or a later commit is; who commits is of the newest generation
    GR4   a commit does not expire while its group has members

Each loss is excused by name or it is a bug. A run's model says what may be lost: with flush=os, what a power loss
took off the disk (looked up on the disk itself, at that moment); of a file that a fault has damaged, anything in
its partition, but never may a record be served that nobody sent.
"""

import attrs

from rafka.core.errors import CorruptRecord
from rafka.core.log.segment import base_offset_of
from rafka.core.record.batch import check
from rafka.sim.disk import Disk

ASKED, UNTOLD = "asked", "untold"
"""A static member waits for the answer to its join; or it has that, and does not know for good who it is."""


class Violation(AssertionError):
    """A promise that was not kept. name: of the invariant."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name
        self.words = words


@attrs.define(eq=False)
class Book:
    """One partition. at: offset → value; of: value → offset; sent: values that may be there."""

    key: str
    sent: set[str] = attrs.field(factory=set)
    at: dict[int, str] = attrs.field(factory=dict)
    of: dict[str, int] = attrs.field(factory=dict)
    acked: dict[int, str] = attrs.field(factory=dict)
    """What must be there: offset → value."""
    forgiven: set[str] = attrs.field(factory=set)
    """Values whose loss is excused: they may be missing, or be sent again."""
    acked_somewhere: set[str] = attrs.field(factory=set)
    """What must be there, too; its producer was not told where."""
    acked_end: int = 0
    order: dict[str, int] = attrs.field(factory=dict)
    """Producer → its last offset."""
    log_start: int = 0
    may_delete: int = 0
    """The highest offset that anybody asked to delete before."""
    is_gone: bool = False
    """The topic was deleted, or may have been."""
    scan_file: str = ""
    scan_at: int = 0
    scan_next: int = 0
    """The durable batches up to here have been looked at: in which file, at which byte, up to which offset."""


@attrs.define(eq=False)
class Commit:
    """One attempt to commit. began, done: instants; done 0: no answer yet, or none ever."""

    offset: int
    began: int
    done: int = 0
    is_late: bool = False
    """Its generation was over when it was sent."""


@attrs.define(eq=False)
class Ledger:
    """All partitions of a run. fsync: whether an acknowledgement means synced; damaged: file names, see World."""

    disk: Disk
    damaged: dict[str, int]
    fsync: bool = True
    deletes: bool = False
    lies: bool = False
    """Whether syncs may be reported that did not happen: then a power loss excuses as with flush=os."""
    expires: bool = False
    """Whether committed offsets expire within a run, once their group is empty."""
    regroups: bool = False
    """Whether empty groups are forgotten within a run: then their generations begin anew."""
    counts: dict[str, int] = attrs.field(factory=dict)
    excused: dict[str, int] = attrs.field(factory=dict)
    """Records whose loss was legal, by the reason."""
    grown: dict[str, int] = attrs.field(factory=dict)
    """How many partitions a topic was granted."""
    _books: dict[str, Book] = attrs.field(factory=dict)
    _held: dict[tuple[str, str], tuple[int, frozenset[str]]] = attrs.field(factory=dict)
    _commits: dict[tuple[str, str], list[Commit]] = attrs.field(factory=dict)
    _generations: dict[str, int] = attrs.field(factory=dict)
    """The newest generation of each group that anybody was told of."""
    _statics: dict[tuple[str, str], str | None] = attrs.field(factory=dict)
    """Group and instance → the member id that it was told is its own, ASKED or UNTOLD; None: nobody can say."""
    _instant: int = 0
    _has_lost_commits: bool = False

    def book(self, key: str) -> Book:
        """Return the book of a partition."""
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Book(key)
        return book

    @property
    def books(self) -> list[Book]:
        """Every partition that was ever written to or read."""
        return list(self._books.values())

    def count(self, what: str, number: int = 1) -> None:
        """Count operations that were checked."""
        self.counts[what] = self.counts.get(what, 0) + number

    def is_damaged(self, directory: str) -> bool:
        """Say whether faults have changed what lies in a directory, or what decides over all of them."""
        return any(file.startswith((directory + "/", "__cluster_metadata-0")) for file in self.damaged)

    @property
    def is_broken(self) -> bool:
        """Whether the broker may be unable to start."""
        return self.is_damaged("__cluster_metadata-0")

    # ---- producers -----------------------------------------------------------------------------------

    def sends(self, key: str, values: list[str]) -> None:
        """Take note that these are about to be sent."""
        self.book(key).sent.update(values)

    def acknowledged(self, key: str, values: list[str], base_offset: int, producer: str) -> None:
        """Take an acknowledgement. producer: one incarnation, "" for one that promises no order."""
        book = self.book(key)
        self.count("acknowledged", len(values))
        damaged = bool(self.damaged) and self.is_damaged(key)
        for offset, value in enumerate(values, base_offset):
            if not damaged:
                self._place(book, offset, value, "acknowledged")
            book.acked[offset] = value
        end = base_offset + len(values)
        if producer and not damaged:
            last = book.order.get(producer, -1)
            if last >= base_offset and not book.forgiven:
                raise Violation(
                    "TX1", f"{key}: {values[0]} of {producer} is at {base_offset}, after one at {last}"
                )
            book.order[producer] = end - 1
        book.acked_end = max(book.acked_end, end)
        if self.fsync and not damaged and not self.lies and not book.is_gone:
            durable = self.durable_end(book, end)
            if durable < end and not (book.may_delete >= end or self.deletes):
                raise Violation(
                    "LO1", f"{key}: {values} acknowledged at {base_offset}, but durable is only {durable}"
                )

    def is_somewhere(self, key: str, value: str) -> None:
        """Take an acknowledgement without an offset: the broker has the record, and has forgotten where."""
        self.count("acknowledged")
        self.book(key).acked_somewhere.add(value)

    def may_lose(self, key: str) -> bool:
        """Say whether losses in a partition are legal in this run, so that offsets may be given twice."""
        return not self.fsync or self.lies or self.book(key).is_gone or self.is_damaged(key)

    def refused_sequence(self, key: str, values: list[str]) -> None:
        """Take the news that a producer's next sequence was out of order: it knows what it sent."""
        book = self.book(key)
        if not book.forgiven and not self.may_lose(key):
            raise Violation("TX1", f"{key}: {values} refused as out of order, and they were the next")

    def _place(self, book: Book, offset: int, value: str, how: str) -> None:
        there = book.at.get(offset)
        if there is None:
            known = book.of.get(value)
            if known is not None and known != offset and value not in book.forgiven:
                if (self.deletes or book.may_delete) and self.may_lose(book.key):
                    return  # a log that has lost what it was emptied of does not know its producers
                raise Violation("LO2", f"{book.key}: {value} is {how} at {offset}, and was at {known}")
            book.at[offset] = value
            book.of[value] = offset
        elif there != value:
            raise Violation("LO2", f"{book.key}: offset {offset} is {how} as {value}, and was {there}")

    # ---- readers -------------------------------------------------------------------------------------

    def read(self, key: str, asked: int, records: list[tuple[int, str]], log_start: int) -> None:
        """Take what one fetch at `asked` brought of one partition."""
        book = self.book(key)
        self.count("read", len(records))
        damaged = bool(self.damaged) and self.is_damaged(key)
        expected = asked
        for offset, value in records:
            if value not in book.sent and not (damaged and self.was_sent(value)):
                raise Violation("LO3", f"{key}: {value!r} read at {offset}, and nobody sent it")
            if damaged:
                continue
            if offset != expected and not (expected < log_start and offset <= log_start):
                raise Violation(
                    "LO7", f"{key}: read {offset} where {expected} was due (log start {log_start})"
                )
            expected = offset + 1
            self._place(book, offset, value, "read")
        if not damaged and log_start >= 0:
            self._started(book, log_start)

    def corrupt(self, key: str, reason: str) -> None:
        """Take the news that a batch failed its CRC at a client: that needs a fault that damages bytes."""
        if not self.is_damaged(key):
            raise Violation("LO3", f"{key}: corrupt bytes served, and nothing has damaged them: {reason}")

    def was_sent(self, value: str) -> bool:
        """Say whether anybody has sent a value, anywhere."""
        return any(value in book.sent for book in self._books.values())

    def _started(self, book: Book, log_start: int) -> None:
        # An answer may be older than one that came before it on another connection: going back proves nothing here.
        if log_start > max(book.may_delete, 0) and not self.deletes and log_start > book.log_start:
            raise Violation("LO7", f"{book.key}: the log starts at {log_start}, and nobody deleted so much")
        book.log_start = max(book.log_start, log_start)

    def ended(self, key: str, log_start: int, end: int, found: dict[int, str]) -> None:
        """Take a partition as it is once everything is quiet: nothing acknowledged may be missing.

        found: all that was read of it, from its start to its end.
        """
        book = self.book(key)
        if self.is_damaged(key):
            self.excuse("damage", sum(o not in found for o in book.acked if o >= log_start))
            return
        missing = [offset for offset in book.acked if offset >= log_start and offset not in found]
        if missing:
            first = missing[0]
            raise Violation(
                "LO1", f"{key}: {book.acked[first]} acknowledged at {first} is gone ({log_start}–{end})"
            )
        if not (self.may_lose(key) or self.deletes or book.may_delete):
            unseen = sorted(book.acked_somewhere.difference(found.values()))
            if unseen:
                raise Violation("LO1", f"{key}: {unseen[0]} acknowledged is gone ({log_start}–{end})")
        self._started(book, log_start)

    def excuse(self, reason: str, number: int) -> None:
        """Count losses that were legal."""
        if number:
            self.excused[reason] = self.excused.get(reason, 0) + number

    # ---- crashes -------------------------------------------------------------------------------------

    def crashed(self, how: str) -> None:
        """Look at what a crash has left, before the broker starts again."""
        for book in self._books.values():
            if book.is_gone or not book.at:
                continue
            book.scan_file, book.scan_at, book.scan_next = "", 0, 0
            if self.is_damaged(book.key):
                continue
            end = self._stored_end(book)
            lost = [offset for offset in book.at if offset >= end]
            if lost and self.fsync and not self.lies and not (self.deletes or book.may_delete > lost[0]):
                known = "acknowledged" if lost[0] in book.acked else "read"
                raise Violation("LO1", f"{book.key}: {how} took {book.at[lost[0]]}, {known} at {lost[0]}")
            if not self.fsync or self.lies:
                self._forgive(book, lost)
        if how == "power" and not (self.fsync and not self.lies):
            self._has_lost_commits = True

    def _forgive(self, book: Book, lost: list[int]) -> None:
        for offset in lost:
            value = book.at.pop(offset)
            book.of.pop(value, None)
            book.forgiven.add(value)
            if book.acked.pop(offset, None) is not None:
                self.excuse("power loss with flush=os" if not self.fsync else "a disk that lies", 1)
        if lost:
            book.order.clear()
            # What was acknowledged by nobody may be there or not, and be sent again: it is forgiven too.
            book.forgiven |= book.sent - book.of.keys()

    def _stored_end(self, book: Book) -> int:
        """Return the end of the log as a start would find it: the last whole batch of the last file."""
        end = 0
        for file, data in self._segments(book.key, durable=False):
            end = max(end, base_offset_of(file.rpartition("/")[2]) or 0)
            end = _walk(memoryview(data), 0, end)[1]
        return end

    def durable_end(self, book: Book, wanted: int) -> int:
        """Return up to which offset the log would survive anything; no more is looked at than `wanted` needs."""
        if book.scan_file:
            data = self.disk.durable(book.scan_file)
            if data is not None and len(data) > book.scan_at:
                book.scan_at, book.scan_next = _walk(memoryview(data), book.scan_at, book.scan_next)
        if book.scan_next >= wanted:
            return book.scan_next
        for file, data in self._segments(book.key, durable=True):
            base = base_offset_of(file.rpartition("/")[2]) or 0
            if base < book.scan_next or file == book.scan_file:
                continue
            may_be_gone = (
                self.deletes or base <= book.may_delete
            )  # what lies below is left of what was deleted
            if book.scan_file and base != book.scan_next and not may_be_gone:
                break
            book.scan_file = file
            book.scan_at, book.scan_next = _walk(memoryview(data), 0, base)
        return book.scan_next

    def _segments(self, directory: str, *, durable: bool) -> list[tuple[str, bytearray]]:
        found = []
        for name in self.disk.names_in(directory):
            if name.endswith(".log"):
                inode = self.disk.files[name]
                data = self.disk.durable(name) if durable else None if inode is None else inode.data
                if data is not None:
                    found.append((name, data))
        return found

    # ---- groups --------------------------------------------------------------------------------------

    def assigned(self, group: str, generation: int, client: str, keys: list[str]) -> None:
        """Take what a client was given in one generation; it holds that until it is `released`."""
        self.count("assignments")
        if self.regroups or generation > self._generations.get(group, -1):
            self._generations[group] = generation
        if self.is_damaged("__consumer_offsets-0") or self._has_lost_commits or self.regroups:
            return
        for (of, other), (held_in, held) in self._held.items():
            if of == group and other != client and held_in == generation and held.intersection(keys):
                both = sorted(held.intersection(keys))
                raise Violation(
                    "GR1", f"{group} generation {generation}: {both} are {other}'s and {client}'s"
                )
        self._held[group, client] = (generation, frozenset(keys))

    def released(self, client: str) -> None:
        """Take note that a client holds nothing any more: it joins anew, leaves, or has died."""
        for key in [key for key in self._held if key[1] == client]:
            del self._held[key]

    def joins(self, group: str, instance_id: str) -> None:
        """Take note that a static member joins: until it is told, its member id may be the old one or a new one."""
        known = self._statics.get((group, instance_id), UNTOLD)
        # A join that was never answered may be yet to come: nobody can say any more.
        self._statics[group, instance_id] = None if known in (None, ASKED) else ASKED

    def joined(self, group: str, instance_id: str, member_id: str = "") -> None:
        """Take note that a static member's join is answered, and, if it is told so for good, under which id."""
        if self._statics.get((group, instance_id)) is not None:
            self._statics[group, instance_id] = member_id or UNTOLD

    @property
    def generations(self) -> dict[str, int]:
        """The newest generation of each group that must not be forgotten."""
        lost = self._has_no_say_on_groups() or not self.fsync or self.lies or self.regroups
        return {} if lost else self._generations

    @property
    def static_ids(self) -> dict[tuple[str, str], str]:
        """The member ids that static members know to be theirs, by group and instance id."""
        if self._has_no_say_on_groups() or not self.fsync or self.lies:
            return {}
        return {key: known for key, known in self._statics.items() if known not in (None, ASKED, UNTOLD)}

    def commits(self, group: str, offsets: dict[str, int], generation: int) -> list[Commit]:
        """Take note that these are about to be committed, by a member of a generation."""
        self._instant += 1
        is_late = generation < self._generations.get(group, -1) and not self.regroups
        attempts = []
        for key, offset in offsets.items():
            attempt = Commit(offset, self._instant, is_late=is_late)
            self._commits.setdefault((group, key), []).append(attempt)
            attempts.append(attempt)
        return attempts

    def committed(self, attempts: list[Commit]) -> None:
        """Take the acknowledgement of a commit."""
        self._instant += 1
        self.count("commits", len(attempts))
        for attempt in attempts:
            attempt.done = self._instant
            if attempt.is_late and not self._has_no_say_on_groups():
                raise Violation("GR3", f"offset {attempt.offset} committed by a generation that is over")

    def uncommitted(self, group: str, key: str, attempt: Commit) -> None:
        """Take the refusal of a commit."""
        self._commits[group, key].remove(attempt)

    def instant(self) -> int:
        """Return the present instant, for `fetched`."""
        self._instant += 1
        return self._instant

    def _has_no_say_on_groups(self) -> bool:
        return self._has_lost_commits or any(
            f.startswith(("__consumer_offsets", "__cluster")) for f in self.damaged
        )

    def fetched(self, group: str, key: str, offset: int, since: int) -> int:
        """Take a committed offset as fetched, by a request made at `since`; -1: none.

        Returns 0, or the instant at which a commit began that has expired: it may have, if its group was empty since.
        """
        self.count("commits fetched")
        if self._has_no_say_on_groups():
            return 0
        attempts = self._commits.get((group, key), [])
        newest = max((a.began for a in attempts if a.done and a.done < since), default=0)
        legal = [a for a in attempts if not a.done or a.done > newest]
        if (offset == -1 and newest == 0) or any(a.offset == offset for a in legal):
            return 0
        if offset == -1 and self.expires:
            return newest
        wanted = sorted({a.offset for a in legal})
        raise Violation(
            "GR3", f"{group}: the committed offset of {key} is {offset}, expected one of {wanted}"
        )

    def forget_commits(self) -> None:
        """Let commits go: a topic they were about has gone."""
        self._has_lost_commits = True


def _walk(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """Go over whole batches from a byte on; return where they end, and the offset after the last."""
    while at < len(data):
        try:
            header = check(data, at)
        except CorruptRecord:
            break
        if header.base_offset < end:
            break
        at += header.size_bytes
        end = header.last_offset + 1
    return at, end
