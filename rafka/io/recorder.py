"""The flight recorder: a machine around a machine that writes down all that goes into it.

The core is pure, so what it was told (events, the time, what chance gave) is all that a replay needs; what it did is
kept as one number an effect. The format is `rafka.core.recording.format`'s. Entries gather in a buffer that goes to
the file at the end of a turn, when it is full or `FLUSH_NS` old, and when the machine raises or stops: a killed
process loses that much of its end. Nothing is synced: the page cache outlives the process, and a recording that a
power loss cuts short is a shorter recording.

At most `bytes_max` are kept: a segment is an eighth of that, and the oldest go. A new segment begins with the whole
machine, frozen, so that what is left can be replayed without what is gone. A machine that runs a script cannot be
frozen; then the segment goes on, and takes the room of all others if it has to. Once it alone has three quarters of the
room, the recording pauses until the machine can be frozen.

Trouble with the recording never stops the broker: it ends the recording, with a note.
"""

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Mapping
from io import BytesIO
from queue import SimpleQueue
from struct import Struct, pack

import attrs

from rafka.core.config.settings import Settings
from rafka.core.effects import Effect, Fill, Note, Stop
from rafka.core.errors import RafkaError
from rafka.core.events import Disconnected, Event, Filled, Received
from rafka.core.machine import Entropy, Machine
from rafka.core.node.node import Identity
from rafka.core.recording.digest import digests
from rafka.core.recording.format import (
    ANSWERS,
    BELOW,
    BLOCK,
    BYTES,
    DATA,
    DRAWN,
    ENDED,
    FILLED,
    FROZEN,
    NUMBER_DATA,
    RAISED,
    RECEIVED,
    SUFFIX,
    TURN,
    TURN_HEAD,
    Header,
    block_head,
    event_bytes,
    file_name,
    header_bytes,
)
from rafka.core.recording.frozen import Unfrozen, freeze
from rafka.core.types import Buffer, ConnId, MonoNs, Now, WallMs
from rafka.io.clock import now as read_clock

BYTES_MAX = 1 << 30
BYTES_MIN = 1 << 20
SHARE = 8
SEGMENT_BYTES_MAX = 64 << 20
OVERRUN = 2
REST = 50
"""After a machine was frozen it runs at least so many times as long as that took, if the segment has the room."""
FROZEN_SHARE = 4
"""A segment takes at least this many times what its frozen machine takes."""
TRIES = 16
"""Tries to freeze come this many to a segment's length."""
BUFFER_BYTES = 1 << 20
"""The file system likes large writes: a quarter of this costs a third more."""
BUFFERS = 4
LARGE = 4
"""A buffer that has grown to more than so many times its size, for a turn of that length, is not kept."""
FLUSH_NS = 50_000_000
TURNS = [Struct(f"<BqqI{count}I") for count in range(256)]
"""A turn with so many effects, whole."""
HAS_WRITEV = hasattr(os, "writev")
Room = BytesIO
"""A buffer. It is written to from its start again and again: a file in memory takes an entry in fewer steps than a
bytearray or a view, whose parts are objects."""
Task = tuple[Room] | tuple[int, bytes, int]
"""A buffer, which is a block up to where it was written; or a new segment, its start, and the room it needs."""
_number_data = NUMBER_DATA.pack
NAME = re.compile(r"(\d{6,})-(\d{8,})" + re.escape(SUFFIX))


class JournalledEntropy:
    """Chance whose every draw is written down. Satisfies `rafka.core.machine.Entropy`."""

    __slots__ = ("_entropy", "_put")

    def __init__(self, entropy: Entropy, put: Callable[[bytes], None]) -> None:
        self._entropy = entropy
        self._put = put

    def below(self, bound: int) -> int:
        """Draw an int in [0, bound)."""
        drawn = self._entropy.below(bound)
        self._put(DRAWN.pack(BELOW, bound, drawn))
        return drawn

    def bytes(self, count: int) -> bytes:
        """Draw `count` random bytes."""
        drawn = self._entropy.bytes(count)
        self._put(DATA.pack(BYTES, count) + drawn)
        return drawn


class Files:
    """The segments in a directory: the newest is written to, the oldest go when all are more than `bytes_max`.

    Raises RafkaError when the directory cannot be used, at construction; OSError later.
    """

    def __init__(self, directory: str, bytes_max: int) -> None:
        self.directory = directory
        self.bytes_max = max(bytes_max, BYTES_MIN)
        self.segment_bytes = min(self.bytes_max // SHARE, SEGMENT_BYTES_MAX)
        self.size = 0
        """Of the segment that is written to."""
        self._fd = -1
        try:
            os.makedirs(directory, exist_ok=True)
            self._lock = os.open(
                os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise RafkaError(
                f"cannot record into {directory}: {error.strerror}; choose another with --record"
            ) from error
        try:
            _lock(self._lock)
            self._sizes = self._found()
        except OSError as error:
            os.close(self._lock)
            raise RafkaError(
                f"another broker records into {directory}; choose another with --record"
            ) from error
        self.life = 1 + max((int(name.partition("-")[0]) for name in self._sizes), default=0)

    def _found(self) -> dict[str, int]:
        names = sorted(name for name in os.listdir(self.directory) if NAME.fullmatch(name))
        return {name: os.path.getsize(os.path.join(self.directory, name)) for name in names}

    def begin(self, segment: int, head: bytes, need: int) -> None:
        """Begin the next segment, and make room for `need` bytes."""
        self._end_segment()
        if need > self.bytes_max:
            raise OSError(errno.EFBIG, f"{self.bytes_max} bytes are too few: a segment needs {need}")
        self._leave(need)
        name = file_name(self.life, segment)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(os.path.join(self.directory, name), flags, 0o644)
        self._name = name
        self.size = 0
        self._write([head])

    def block(self, part: memoryview) -> None:
        """Append one block that holds these bytes."""
        self._write([block_head(part), part])
        self._leave(self.size)

    def _leave(self, room: int) -> None:
        """Let the oldest go until the newest has so much room."""
        while self._sizes and sum(self._sizes.values()) > self.bytes_max - room:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.directory, oldest))

    def _write(self, parts: list[Buffer]) -> None:
        wanted = sum(map(len, parts))
        written = os.writev(self._fd, parts) if HAS_WRITEV else os.write(self._fd, b"".join(parts))
        self.size += written
        if written < wanted:  # the volume is full, or the process may not write more
            raise OSError(errno.ENOSPC, f"only {written} of {wanted} bytes were written")

    def _end_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._sizes[self._name] = self.size

    def close(self) -> None:
        """Give the descriptors back."""
        self._end_segment()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Writer:
    """A thread that writes buffers into files, so that the broker's turns do not wait for the page cache.

    It never has more than `BUFFERS` of them; when all wait to be written, so does whoever brings one more. failed: why
    it writes no more.
    """

    def __init__(self, files: Files) -> None:
        self.failed: OSError | None = None
        self._files = files
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._free: SimpleQueue[Room] = SimpleQueue()
        for _ in range(BUFFERS - 1):
            self._free.put(new_room())
        self._thread = threading.Thread(target=self._run, name="flight recorder", daemon=True)
        self._thread.start()

    def block(self, room: Room) -> Room:
        """Take a buffer that is a block up to where it was written; give another one."""
        self._tasks.put((room,))
        return self._free.get()

    def begin(self, segment: int, head: bytes, need: int) -> None:
        """Go on in a new segment."""
        self._tasks.put((segment, head, need))

    def finish(self) -> None:
        """Write all that waits; nothing may come after."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                if self.failed is None:
                    self._perform(task)
            except OSError as error:
                self.failed = error
            if len(task) == 1:
                room = task[0]
                if room.tell() > LARGE * BUFFER_BYTES:
                    room = new_room()
                room.seek(0)
                self._free.put(room)

    def _perform(self, task: Task) -> None:
        if len(task) == 1:
            with task[0].getbuffer() as whole, whole[: task[0].tell()] as part:
                self._files.block(part)
        else:
            self._files.begin(*task)


def nowhere(entry: Buffer) -> int:
    """Write an entry of a recording that is over."""
    return len(entry)


def new_room() -> Room:
    """Make a buffer that need not grow."""
    return BytesIO(bytes(BUFFER_BYTES))


class Recorder:
    """Records one life of a machine. Make it, give `entropy` to the machine, then run `around(machine)`.

    header: of the first segment; notes: takes a Note when the recording ends early. Raises OSError.
    """

    def __init__(self, files: Files, header: Header, entropy: Entropy, notes: Callable[[Note], None]) -> None:
        self.entropy: Entropy = JournalledEntropy(entropy, self._put)
        self.turn_number = 0
        self._files = files
        self._header = header
        self._notes = notes
        self._machine: Machine
        self._take(new_room())
        self._limit = min(BUFFER_BYTES * 3 // 4, files.segment_bytes // 2)
        """With so many bytes the buffer goes to the writer."""
        self._size = 0
        """Of the segment, as far as it was handed to the writer."""
        self._lent: dict[ConnId, memoryview] = {}
        self._now = Now(MonoNs(0), WallMs(0))
        self._flush_at: MonoNs | None = None
        self._span = files.segment_bytes
        self._try_at = self._span
        self._rest_until = 0
        self._is_on = True
        self._is_paused = False
        files.begin(1, header_bytes(header), OVERRUN * files.segment_bytes)
        self._writer = Writer(files)

    def _take(self, room: Room) -> None:
        """Go on in a buffer."""
        self._room, self._tell = room, room.tell
        self._write: Callable[[Buffer], int] = room.write
        self._quiet_at = 0
        """Where the last turn ended: if the buffer still ends there, nothing has happened since."""

    def around(self, machine: Machine) -> Machine:
        """Return the machine that the driver is to run."""
        self._machine = machine
        self._handle, self._tick, self._drain = machine.handle, machine.tick, machine.drain
        return self

    # ---- the machine ---------------------------------------------------------------------------------

    def handle(self, event: Event, now: Now) -> None:
        """Write an event down, then let the machine take it (it may change the bytes that came)."""
        if event.__class__ is Received:
            data = event.data
            write = self._write
            write(_number_data(RECEIVED, event.conn, len(data)))
            write(data)
        else:
            self._other(event)
        try:
            self._handle(event, now)
        except BaseException as error:
            self._raised(error, now)
            raise

    def _other(self, event: Event) -> None:
        code = ANSWERS.get(event.__class__)
        if code is not None:
            name = event.file.encode()  # type: ignore[union-attr]  # answers have both
            self._write(_number_data(code, event.token, len(name)) + name)  # type: ignore[union-attr]
            return
        if isinstance(event, Filled):
            buffer = self._lent.pop(event.conn)
            self._write(_number_data(FILLED, event.conn, len(buffer)))
            self._write(buffer)
        else:
            if isinstance(event, Disconnected):
                self._lent.pop(event.conn, None)
            self._write(event_bytes(event))
        if self._tell() >= self._limit:  # what was filled or loaded may be much, and there may be more of it
            self._flush()
            self._quiet_at = -1

    def tick(self, now: Now) -> None:
        """Let the machine do what is due."""
        self._now = now
        try:
            self._tick(now)
        except BaseException as error:
            self._raised(error, now)
            raise

    def drain(self) -> list[Effect]:
        """End the turn: write down when it was, and the sums of what the machine asked for."""
        now = self._now
        try:
            effects = self._drain()
        except BaseException as error:
            self._raised(error, now)
            raise
        self.turn_number += 1
        if not self._is_on:
            return effects
        rare: list[Effect] = []
        is_quiet = not effects and self._tell() == self._quiet_at
        sums = digests(effects, rare)
        count = len(sums)
        if count < len(TURNS):
            self._write(TURNS[count].pack(TURN, now.mono, now.wall, count, *sums))
        else:
            self._write(TURN_HEAD.pack(TURN, now.mono, now.wall, count) + pack(f"<{count}I", *sums))
        self._quiet_at = self._tell()
        if rare:
            self._look_at(rare)
        if not is_quiet or self._quiet_at >= self._limit:
            self._after(now.mono)
        elif self._flush_at is not None and now.mono >= self._flush_at:
            self._flush()
        return effects

    def deadline(self) -> MonoNs | None:
        """Say when the machine is due, or the buffer is."""
        due, flush_at = self._machine.deadline(), self._flush_at
        if flush_at is None or (due is not None and due < flush_at):
            return due
        return flush_at

    def close(self) -> None:
        """End the recording, if the machine has not."""
        self._end()
        self._files.close()

    # ---- what is written -----------------------------------------------------------------------------

    def _look_at(self, effects: list[Effect]) -> None:
        """Take note of buffers that are lent, and of the end."""
        for effect in effects:
            if isinstance(effect, Fill):
                self._lent[effect.conn] = effect.buffer
            elif isinstance(effect, Stop):
                self._end()

    def _after(self, mono: MonoNs) -> None:
        """Look after the age of the buffer and the size of the segment."""
        if not self._is_on:
            return
        if self._quiet_at >= self._limit:
            self._flush()
        elif self._flush_at is None:
            self._flush_at = MonoNs(mono + FLUSH_NS)
        elif mono >= self._flush_at:
            self._flush()
        if self._size >= self._try_at and (mono >= self._rest_until or self._size >= OVERRUN * self._span):
            self._roll()

    def _put(self, entry: bytes) -> None:
        """Append an entry, to whichever buffer there is."""
        self._write(entry)

    def _flush(self) -> None:
        """Hand the buffer to the writer, and go on with another."""
        self._flush_at = None
        at = self._tell()
        if self._is_paused:
            self._size += at  # so that another try to freeze comes
            self._room.seek(0)
            self._quiet_at = 0
            return
        if not at or not self._is_on:
            return
        if self._writer.failed is not None:
            self._leave_off()
            error = self._writer.failed
            why = error.strerror or str(error)
            self._notes(Note("error", "recording ended", {"turn": self.turn_number, "why": why}))
            return
        self._size += at + BLOCK.size
        self._take(self._writer.block(self._room))

    def _leave_off(self) -> None:
        """Keep nothing from now on."""
        self._is_on = False
        self._write = nowhere

    def _raised(self, error: BaseException, now: Now) -> None:
        text = f"{type(error).__name__}: {error}".encode()[: self._limit]
        self._write(TURN_HEAD.pack(RAISED, now.mono, now.wall, len(text)) + text)
        self._finish()

    def _end(self) -> None:
        if self._is_on:
            self._write(bytes([ENDED]))
        self._finish()

    def _finish(self) -> None:
        """Write all that there is, and wait for it."""
        self._flush()
        self._leave_off()
        self._writer.finish()

    # ---- segments ------------------------------------------------------------------------------------

    def _roll(self) -> None:
        """Begin a new segment with the frozen machine; later, if it cannot be frozen now."""
        if not self._is_on:
            return
        self._flush()
        began = read_clock().mono
        try:
            frozen = freeze(self._machine, self.entropy)
        except Unfrozen as reason:
            self._try_at = self._size + self._span // TRIES
            if self._size >= self._files.bytes_max * 3 // 4 and not self._is_paused:
                self._is_paused = True
                self._notes(
                    Note("warning", "recording paused", {"turn": self.turn_number, "why": str(reason)})
                )
            return
        self._is_paused = False
        ended = read_clock().mono
        self._rest_until = ended + REST * (ended - began)
        header = self._header = attrs.evolve(  # type: ignore[misc]  # a value is an attrs class
            self._header,
            segment=self._header.segment + 1,
            turn=self.turn_number + 1,
            frozen=True,
            wall_ms=self._now.wall,
        )
        span = max(self._files.segment_bytes, FROZEN_SHARE * len(frozen))
        self._writer.begin(header.segment, header_bytes(header), OVERRUN * span + len(frozen))
        self._size = 0
        self._span = span
        self._try_at = len(frozen) + span
        self._write(_number_data(FROZEN, self.turn_number, len(frozen)))
        self._write(frozen)
        self._quiet_at = self._tell()


def begin(
    directory: str,
    bytes_max: int,
    about: Mapping[str, str],
    settings: Settings,
    identity: Identity,
    entropy: Entropy,
    notes: Callable[[Note], None],
) -> Recorder:
    """Begin to record a new life. about: rafka, source, python and codecs, see Header. Raises: RafkaError."""
    files = Files(directory, bytes_max)
    header = Header(
        rafka=about.get("rafka", ""),
        source=about.get("source", ""),
        python=about.get("python", ""),
        codecs=about.get("codecs", ""),
        life=files.life,
        segment=1,
        turn=1,
        frozen=False,
        wall_ms=read_clock().wall,
        settings=dict(settings.given),
        identity={
            "node_id": identity.node_id,
            "cluster_id": identity.cluster_id,
            "directory_id": identity.directory_id.hex(),
            "data_dir": identity.data_dir,
        },
    )
    try:
        return Recorder(files, header, entropy, notes)
    except OSError as error:
        files.close()
        raise _unusable(directory, error) from error


def _unusable(directory: str, error: OSError) -> RafkaError:
    why = error.strerror or str(error)
    return RafkaError(f"cannot record into {directory}: {why}; choose another with --record")


def _lock(fd: int) -> None:
    """Lock a file for this process, or raise OSError."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
