r"""A flight recording, byte by byte: what it is written as, and the way back. All numbers are little-endian.

A recording is a directory. Each process that wrote into it is a life, each life a chain of segments, and each segment
a file `LIFE-SEGMENT.flight`, both decimal and zero-padded so that names sort by age:

    RAFKA-FLIGHT\\n       magic, 13 bytes
    u32 version          of this format
    u32 length, u32 crc  of the JSON object that follows: `Header`
    …                    the JSON object
    blocks until the end of the file, each:
        u32 length, u32 crc32c of the bytes that follow, u32 crc32c of these eight, then a part of the stream of entries

The process may be killed at any byte, so a life may end with a block that is cut short; that is its end, and no damage.
Anything else that does not fit its sums is damage. Entries go on from one block to the next. An entry is a byte that
says what it is, and then:

    TURN       i64 monotonic ns, i64 wall ms, u32 count, count × u32: the turn is over, this was its time, and these
               are the sums of its effects (digest.py). All events and draws before it belong to the turn.
    RAISED     i64 monotonic ns, i64 wall ms, text: the machine raised instead of finishing its turn; nothing follows
    ENDED      nothing: the machine asked to Stop, or the recording was ended on purpose
    FROZEN     u64 number of the last turn, data: the whole machine as it was after that turn (frozen.py)
    BELOW      u64 bound, u64 drawn: what chance gave
    BYTES      data: the same
    RECEIVED   u64 conn, data                 FILLED   u64 conn, data: what its Fill's buffer holds
    LOADED     u64 token, text file, data
    WRITTEN, SYNCED, DONE   u64 token, text file
    OTHER      data: a JSON array of the event's name and fields, for what is rare

data is u32 length and bytes, text the same in UTF-8. A turn has no number of its own: the header names the first of
its segment, 1 being the first of a life.
"""

import json
from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception by its usual spelling

import attrs

from rafka.core.errors import RafkaError
from rafka.core.events import (
    Connected,
    Disconnected,
    Done,
    Entry,
    Event,
    Failed,
    Filled,
    Listed,
    Listening,
    Loaded,
    Measured,
    Received,
    Synced,
    Terminated,
    Written,
)
from rafka.core.record.crc32c import crc32c
from rafka.core.shape import value
from rafka.core.types import Buffer, ConnId, File, MonoNs, Now, Token, WallMs

MAGIC = b"RAFKA-FLIGHT\n"
VERSION = 2
"""2: the buffers of a Write are summed as one. A recording of 1 has other sums, so it is refused."""
SUFFIX = ".flight"

TURN, RAISED, ENDED, FROZEN, BELOW, BYTES, RECEIVED, FILLED, LOADED, WRITTEN, SYNCED, DONE, OTHER = range(
    1, 14
)

START = Struct("<III")
"""version, length and crc of the header."""
BLOCK = Struct("<III")
_BLOCK_SUMMED = Struct("<II")
TURN_HEAD = Struct("<BqqI")
NUMBER_DATA = Struct("<BQI")
"""kind, a connection, token or turn, length of the data that follows."""
NUMBER_DATA_DATA = Struct("<BQII")
"""kind, token, length of the file's name, length of the data."""
DATA = Struct("<BI")
DRAWN = Struct("<BQQ")
_U32 = Struct("<I")

ANSWERS: dict[type, int] = {Written: WRITTEN, Synced: SYNCED, Done: DONE}
_ANSWERED: dict[int, type[Written | Synced | Done]] = {WRITTEN: Written, SYNCED: Synced, DONE: Done}
_OTHERS: dict[str, type] = {
    kind.__name__: kind for kind in (Connected, Disconnected, Listed, Listening, Measured, Failed, Terminated)
}


class RecordingError(RafkaError):
    """What is no recording, is damaged, or was made by something else than what reads it."""


@value
class Header:
    """What a segment says of itself.

    source: the hash of the code that ran; python, codecs: versions of what its bytes may depend on. life, segment:
    its place, 1 and up; turn: the first in it; frozen: whether it starts from a frozen machine, instead of from a new
    one; settings: Kafka's names and their text; identity: the node's; wall_ms: when it was begun.
    """

    rafka: str
    source: str
    python: str
    codecs: str
    life: int
    segment: int
    turn: int
    frozen: bool
    wall_ms: int
    settings: dict[str, str]
    identity: dict[str, str | int]


def file_name(life: int, segment: int) -> str:
    """Name a segment's file."""
    return f"{life:06}-{segment:08}{SUFFIX}"


def header_bytes(header: Header) -> bytes:
    """Write the start of a segment."""
    text = json.dumps(attrs.asdict(header), sort_keys=True).encode()  # type: ignore[arg-type]  # a value is an attrs class
    return MAGIC + START.pack(VERSION, len(text), crc32c(text)) + text


def read_header(data: Buffer) -> tuple[Header, int]:
    """Read the start of a segment; give it and where the blocks begin. Raises: RecordingError."""
    head = len(MAGIC) + START.size
    if bytes(data[: len(MAGIC)]) != MAGIC or len(data) < head:
        raise RecordingError("is no flight recording")
    version, length, crc = START.unpack_from(data, len(MAGIC))
    if version != VERSION:
        raise RecordingError(f"has format {version}, and this version of rafka reads format {VERSION}")
    text = bytes(data[head : head + length])
    if len(text) < length or crc32c(text) != crc:
        raise RecordingError("has a damaged header")
    try:
        return Header(**json.loads(text)), head + length
    except (TypeError, ValueError) as error:
        raise RecordingError(f"has a header that cannot be: {error}") from error


# ---- events --------------------------------------------------------------------------------------


def event_bytes(event: Event) -> bytes:
    """Write an event as an entry; Received and Filled are written by the recorder, who knows their bytes."""
    code = ANSWERS.get(type(event))
    if code is not None:
        name = event.file.encode()  # type: ignore[union-attr]
        return NUMBER_DATA.pack(code, event.token, len(name)) + name  # type: ignore[union-attr]
    if isinstance(event, Loaded):
        name = event.file.encode()
        return NUMBER_DATA_DATA.pack(LOADED, event.token, len(name), len(event.data)) + name + event.data
    assert type(event).__name__ in _OTHERS, f"no driver gives {event!r}"
    fields = [_plain(getattr(event, field)) for field in event.__match_args__]
    text = json.dumps([type(event).__name__, *fields]).encode()
    return DATA.pack(OTHER, len(text)) + text


def _plain(field: object) -> object:
    if isinstance(field, list):
        return [[one.name, one.size, one.is_dir, one.modified_ms] for one in field]
    return field


def _other(text: bytes) -> Event:
    name, *fields = json.loads(text)
    kind = _OTHERS[name]
    if kind is Listed:
        fields[2] = [Entry(*one) for one in fields[2]]
    event: Event = kind(*fields)
    return event


# ---- the way back --------------------------------------------------------------------------------


@value
class Turn:
    """One turn as it was recorded. raised: what the machine raised in it; sums: of its effects.

    events: a Received with its bytes; a Filled comes with its bytes in `filled`, in order. draws: what chance gave.
    """

    number: int
    now: Now
    events: list[Event]
    filled: list[memoryview]
    draws: list[int | bytes]
    sums: tuple[int, ...]
    raised: str | None = None


class Entries:
    """Reads the entries of one segment's stream. `frozen`, `ended`: seen so far; `turn`: of the last turn read.

    A stream may break off anywhere: what is not whole is not there. What cannot be at all raises RecordingError.
    """

    def __init__(self, stream: memoryview, first_turn: int) -> None:
        self.frozen: memoryview | None = None
        self.ended = False
        self.turn = first_turn - 1
        self._stream = stream
        self._at = 0
        self._draws: list[int | bytes] = []
        self._events: list[Event] = []
        self._filled: list[memoryview] = []

    @property
    def rest(self) -> int:
        """How many events and draws were read that belong to a turn which was never finished."""
        return len(self._events) + len(self._draws)

    def next(self) -> Turn | None:
        """Read to the end of the next turn; None at the end of the stream."""
        stream = self._stream
        while self._at < len(stream):
            try:
                turn = self._entry(stream[self._at])
            except (IndexError, StructError):  # it breaks off within the entry
                return None
            except (KeyError, TypeError, ValueError) as error:
                raise RecordingError(f"has an entry that cannot be, at byte {self._at}: {error}") from error
            if turn is not None:
                return turn
        return None

    def _entry(self, code: int) -> Turn | None:
        if code in (TURN, RAISED):
            return self._turn(code)
        if code in (RECEIVED, FILLED):
            conn, data = self._number_data()
            if code == RECEIVED:
                self._events.append(Received(ConnId(conn), memoryview(bytearray(data))))
            else:
                self._events.append(Filled(ConnId(conn)))
                self._filled.append(data)
        elif code in _ANSWERED:
            token, name = self._number_data()
            self._events.append(_ANSWERED[code](File(str(name, "utf-8")), Token(token)))
        elif code == LOADED:
            self._loaded()
        elif code == BELOW:
            _, _, drawn = self._unpack(DRAWN)
            self._draws.append(drawn)
        elif code == BYTES:
            self._draws.append(bytes(self._data()))
        elif code == OTHER:
            self._events.append(_other(bytes(self._data())))
        elif code == FROZEN:
            _, self.frozen = self._number_data()
        elif code == ENDED:
            self._at += 1
            self.ended = True
        else:
            raise ValueError(f"kind {code}")
        return None

    def _turn(self, code: int) -> Turn:
        at = self._at
        _, mono, wall, count = TURN_HEAD.unpack_from(self._stream, at)
        at += TURN_HEAD.size
        end = at + (4 * count if code == TURN else count)
        if end > len(self._stream):
            raise IndexError
        rest = self._stream[at:end]
        self._at = end
        self.turn += 1
        turn = Turn(
            self.turn,
            Now(MonoNs(mono), WallMs(wall)),
            self._events,
            self._filled,
            self._draws,
            Struct(f"<{count}I").unpack(rest) if code == TURN else (),
            str(rest, "utf-8") if code == RAISED else None,
        )
        self._events, self._filled, self._draws = [], [], []
        return turn

    def _unpack(self, struct: Struct) -> tuple[int, ...]:
        found = struct.unpack_from(self._stream, self._at)
        self._at += struct.size
        return found

    def _number_data(self) -> tuple[int, memoryview]:
        _, number, length = NUMBER_DATA.unpack_from(self._stream, self._at)
        return number, self._take(self._at + NUMBER_DATA.size, length)

    def _data(self) -> memoryview:
        _, length = DATA.unpack_from(self._stream, self._at)
        return self._take(self._at + DATA.size, length)

    def _take(self, at: int, length: int) -> memoryview:
        if at + length > len(self._stream):
            raise IndexError
        self._at = at + length
        return self._stream[at : at + length]

    def _loaded(self) -> None:
        _, token, name_length, length = NUMBER_DATA_DATA.unpack_from(self._stream, self._at)
        at = self._at + NUMBER_DATA_DATA.size
        both = self._take(at, name_length + length)
        file = File(str(both[:name_length], "utf-8"))
        self._events.append(Loaded(file, Token(token), bytes(both[name_length:])))


def block_head(part: memoryview) -> bytes:
    """Write what precedes a part of the stream."""
    summed = _BLOCK_SUMMED.pack(len(part), crc32c(part))
    return summed + _U32.pack(crc32c(summed))


def stream_of(data: memoryview, at: int) -> tuple[memoryview, bool]:
    """Join the blocks of a segment from byte `at`; give the stream, and whether its last block is cut short.

    Raises: RecordingError for damage.
    """
    parts: list[memoryview] = []
    while at < len(data):
        end = at + BLOCK.size
        if end > len(data):
            return _joined(parts), True
        length, crc, head_crc = BLOCK.unpack_from(data, at)
        if crc32c(data[at : at + _BLOCK_SUMMED.size]) != head_crc:
            raise RecordingError(f"is damaged at byte {at}")
        if end + length > len(data):
            return _joined(parts), True
        part = data[end : end + length]
        if crc32c(part) != crc:
            raise RecordingError(f"is damaged at byte {at}")
        parts.append(part)
        at = end + length
    return _joined(parts), False


def _joined(parts: list[memoryview]) -> memoryview:
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
