"""One connection's side of the Kafka protocol: frames to requests, answers to bytes in the requests' order.

Requests are handed on as they come, so that a slow one does not hold up the work of those behind it, but
their answers leave in the order in which the requests came, as Kafka promises. Until its turn an answer waits
here; `unanswered` says how many requests are open, so that whoever drives the session can stop reading.

A request that cannot be understood has no answer that its sender could understand either: the session raises
RemoteProtocolError and the connection is to be closed (Kafka's SocketServer does the same). Requests that
came in the same receive as the violation are dropped with it; none of them was acknowledged. One exception:
an ApiVersions request of a version unknown here is answered in version 0 with the versions of ApiVersions
alone (KIP-511). Bytes after the end of a request are ignored, as Kafka ignores them: some clients send them.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception by its usual spelling

from rafka.core.api import APIS, request_header_version, response_header_version
from rafka.core.errors import ErrorCode, RemoteProtocolError
from rafka.core.events import Requested
from rafka.core.message import Message, codec, decode_prefix, encode
from rafka.core.message.wire import skip_tags
from rafka.core.plain import PLAIN_FROM, PRODUCE, PlainProduce
from rafka.core.types import ConnId, FileSlice, MonoNs, Piece
from rafka.net.frame import SIZE, Frames
from rafka.net.kafka.meter import Meter
from rafka.net.kafka.plain import Form, Plains

FETCH = 1
API_VERSIONS = 18
_HEADER = Struct(">hhih")
"""api key, api version, correlation id, length of the client id (-1: none)."""
_ANSWER = Struct(">ii")
"""size, correlation id: what precedes an answer with response header 0 …"""
_TAGGED_ANSWER = Struct(">iiB")
"""… and with response header 1, which has a section of tagged fields."""
_JOIN_BYTES = 1 << 10
"""Answers up to this size that leave together leave as one buffer: a copy costs less than one more of them."""

Decoder = Callable[[int, memoryview], Message]
"""From a version and a request's body to the request."""
Encoder = Callable[[int, Message], Sequence[Piece]]
"""From a version and a response to the pieces of its body."""


class _Dialect:
    """How one API is spoken in one version: looked up once, used for every request of it.

    decode: hand-written, or None for the compiled codec of `request`; encode likewise. plains: see `plain.py`.
    """

    __slots__ = (
        "decode", "encode", "has_tags", "head", "head_tags", "key", "meter", "plains", "request", "version",
    )  # fmt: skip

    def __init__(
        self, key: int, version: int, decode: Decoder | None, encode: Encoder | None, meter: Meter
    ) -> None:
        self.key = key
        self.meter = meter
        self.version = version
        self.decode = decode
        self.encode = encode
        self.request: type[Message] | None = None if decode is not None else APIS[key].request
        self.has_tags = request_header_version(key, version) >= 2
        is_tagged = response_header_version(key, version) >= 1
        self.head = _TAGGED_ANSWER if is_tagged else _ANSWER
        self.head_tags = (0,) if is_tagged else ()
        self.plains: Plains | None = None


class Protocol:
    """What a broker speaks; one for all of its sessions.

    served: for each API key the lowest and highest version, what ApiVersions advertises.
    decoders, encoders: hand-written codecs by API key (Produce, Fetch); all others use the compiled ones.
    meters: what is counted of each API that was used; left: answers that left and are not counted yet.
    """

    __slots__ = ("_dialects", "decoders", "encoders", "has_plain", "left", "meters", "served")

    def __init__(
        self,
        served: Mapping[int, tuple[int, int]],
        decoders: Mapping[int, Decoder] | None = None,
        encoders: Mapping[int, Encoder] | None = None,
        *,
        has_plain: bool = False,
    ) -> None:
        assert API_VERSIONS in served, "no client can start without ApiVersions"
        assert all(key in APIS for key in served)
        self.served = served
        self.decoders = decoders or {}
        self.encoders = encoders or {}
        self.has_plain = has_plain
        self._dialects: dict[tuple[int, int], _Dialect] = {}
        self.meters: dict[int, Meter] = {}
        self.left: list[_Slot | _PlainSlot] = []

    def dialect(self, api_key: int, version: int) -> _Dialect | None:
        """Return how to speak an API in a version; None if it is not served."""
        found = self._dialects.get((api_key, version))
        if found is None:
            versions = self.served.get(api_key)
            if versions is None or not versions[0] <= version <= versions[1]:
                return None
            found = self.speak(api_key, version)
            self._dialects[api_key, version] = found
        return found

    def speak(self, api_key: int, version: int) -> _Dialect:
        """Return how to speak an API in a version, served or not."""
        decode, encode = self.decoders.get(api_key), self.encoders.get(api_key)
        dialect = _Dialect(api_key, version, decode, encode, self.meters.setdefault(api_key, Meter()))
        if self.has_plain and api_key == PRODUCE and version >= PLAIN_FROM:
            dialect.plains = Plains(version)
        return dialect

    def settle(self, ended: MonoNs) -> None:
        """Count how long the answers that left since the last call have taken, up to `ended`."""
        begun, dialect, alike = MonoNs(0), None, 0
        for slot in self.left:
            if slot.begun == begun and slot.dialect is dialect:
                alike += 1  # nearly always: what came in one turn leaves in one
                continue
            if dialect is not None:
                dialect.meter.durations.add(ended - begun, alike)
            begun, dialect, alike = slot.begun, slot.dialect, 1
        if dialect is not None:
            dialect.meter.durations.add(ended - begun, alike)
        self.left.clear()


class _Slot:
    """The place of one request in the order of answers. begun: when it was received."""

    __slots__ = ("begun", "correlation_id", "dialect", "pieces")

    def __init__(self, dialect: _Dialect, correlation_id: int, begun: MonoNs) -> None:
        self.dialect = dialect
        self.correlation_id = correlation_id
        self.begun = begun
        self.pieces: Sequence[Piece] | None = None
        """The whole answer, framed; empty for a request that wants none; None until it is known."""


class _PlainSlot(PlainProduce):
    """A plain produce, and its place in the order of answers as well. Made slot by slot: one for most requests."""

    __slots__ = ("begun", "correlation_id", "dialect", "form", "pieces")

    begun: MonoNs
    correlation_id: int
    dialect: _Dialect
    form: Form
    pieces: Sequence[Piece] | None


class Session:
    """One connection: `receive`, `filled` take bytes in, `answer` takes responses, `drain` gives bytes out.

    The `correlation` of a Requested is the session's own count, not the client's correlation id, which a
    client may use twice. now: the time of the turn, set before bytes are taken in; only durations are made of it.
    """

    __slots__ = ("_conn", "_count", "_order", "_protocol", "_slots", "frames", "has_answers", "now")

    def __init__(self, conn: ConnId, protocol: Protocol, frame_bytes_max: int) -> None:
        self.frames = Frames(frame_bytes_max)
        self._conn = conn
        self._protocol = protocol
        self._count = 0
        self._order: deque[_Slot | _PlainSlot] = deque()
        self._slots: dict[int, _Slot] = {}
        """The slots without an answer, by correlation, but for plain ones."""
        self.has_answers = False
        """Whether something was answered since the last drain."""
        self.now = MonoNs(0)

    @property
    def unanswered(self) -> int:
        """How many requests wait for their answer, or for the answers before theirs."""
        return len(self._order)

    def receive(self, data: memoryview) -> list[Requested | PlainProduce]:
        """Take bytes and return the requests that became whole.

        Raises: RemoteProtocolError for what is no request that is served here.
        """
        return self._requests(self.frames.receive(data))

    def filled(self) -> list[Requested | PlainProduce]:
        """Take back the buffer that `frames.wanted` lent, now full; otherwise like receive."""
        return self._requests(self.frames.filled())

    def answer(self, correlation: int, body: object) -> int:
        """Give the answer to a request: its response, or None for a request that wants none (acks=0).

        Returns the request's API key. Raises: LocalProtocolError if the response cannot be said in its version.
        """
        slot = self._slots.pop(correlation, None) or self._plain_slot(correlation)
        slot.pieces = () if body is None else _framed(slot, body)
        self.has_answers = True
        key = slot.dialect.key
        if key > FETCH and isinstance(body, Message):  # Produce and Fetch count where they make them
            slot.dialect.meter.failed(body)
        return key

    def acknowledge(self, produce: PlainProduce) -> None:
        """Give the answer to a plain produce whose batch is committed."""
        assert isinstance(produce, _PlainSlot)
        assert produce.pieces is None, "a request is answered once"
        answer = produce.form.answer(produce.correlation_id, produce.base_offset, produce.log_start_offset)
        produce.pieces = (answer,)
        self.has_answers = True

    def _plain_slot(self, correlation: int) -> _PlainSlot:
        """Find the place of a plain produce that was served like any other; it is one of the first."""
        for slot in self._order:
            if isinstance(slot, _PlainSlot) and slot.correlation == correlation:
                assert slot.pieces is None, "a request is answered once"
                return slot
        raise AssertionError(f"nobody asked for {correlation}")

    def drain(self) -> Sequence[Piece]:
        """Give up the pieces that may leave: answers whose requests have no unanswered one before them."""
        if not self.has_answers:
            return ()
        self.has_answers = False
        order = self._order
        left = self._protocol.left
        if len(order) == 1 and (only := order[0].pieces) is not None and len(only) == 1:
            left.append(order.popleft())
            return only  # one request, one buffer: there is nothing to join
        pieces: list[Piece] = []
        small = 0
        while order and (answer := order[0].pieces) is not None:
            left.append(order.popleft())
            for piece in answer:
                if isinstance(piece, FileSlice) or len(piece) > _JOIN_BYTES:
                    _join(pieces, small)
                    small = 0
                else:
                    small += 1
                pieces.append(piece)
        _join(pieces, small)
        return pieces

    def _requests(self, frames: Sequence[memoryview]) -> list[Requested | PlainProduce]:
        """Read frames: requests, but for those to which the session itself has the answer."""
        requests: list[Requested | PlainProduce] = []
        dialect_of = self._protocol.dialect
        for frame in frames:
            try:
                api_key, version, correlation_id, id_length = _HEADER.unpack_from(frame, 0)
            except StructError:
                raise RemoteProtocolError(f"a request of {len(frame)} bytes has no whole header") from None
            dialect = dialect_of(api_key, version)
            if dialect is None:
                self._refuse(api_key, version, correlation_id)
                continue
            plains = dialect.plains
            found = None if plains is None else plains.read(frame, id_length)
            if found is not None:
                requests.append(
                    self._plain(dialect, correlation_id, found)
                )  # nearly always, for those who produce
            else:
                requests.append(self._any(dialect, correlation_id, frame, id_length))
        return requests

    def _any(
        self, dialect: _Dialect, correlation_id: int, frame: memoryview, id_length: int
    ) -> Requested | PlainProduce:
        """Read a request by its codec."""
        version = dialect.version
        client_id, position = _client_id(frame, id_length)
        if dialect.has_tags:
            position = _after_tags(frame, position)
        if dialect.decode is not None:
            body = dialect.decode(version, frame[position:])
        else:
            assert dialect.request is not None
            body = decode_prefix(dialect.request, version, frame[position:])
        plains = dialect.plains
        if plains is not None and plains.learn(frame, position, client_id, body):
            found = plains.read(frame, id_length)
            assert found is not None, "what was learnt is known"
            return self._plain(dialect, correlation_id, found)
        self._count = count = self._count + 1
        slot = _Slot(dialect, correlation_id, self.now)
        self._order.append(slot)
        self._slots[count] = slot
        return Requested(self._conn, count, dialect.key, version, client_id, body)

    def _plain(self, dialect: _Dialect, correlation_id: int, found: tuple[Form, memoryview]) -> PlainProduce:
        """Make the request, and its place, of what was found."""
        self._count = count = self._count + 1
        plain = _PlainSlot()
        plain.conn = self._conn
        plain.correlation = count
        plain.form, plain.records = found
        plain.head = plain.form.head
        plain.begun = self.now
        plain.correlation_id = correlation_id
        plain.dialect = dialect
        plain.pieces = None
        self._order.append(plain)
        return plain

    def _refuse(self, api_key: int, version: int, correlation_id: int) -> None:
        if api_key != API_VERSIONS:
            raise RemoteProtocolError(f"API {api_key} version {version} is not served here")
        slot = _Slot(self._protocol.speak(api_key, 0), correlation_id, self.now)
        answer = _unsupported(self._protocol.served[API_VERSIONS])
        slot.pieces = _framed(slot, answer)
        slot.dialect.meter.failed(answer)
        self._order.append(slot)
        self.has_answers = True


def _framed(slot: _Slot | _PlainSlot, body: object) -> list[Piece]:
    """Say an answer whole: size, header, body. Its first piece is bytes."""
    assert isinstance(body, Message), "an answer is a message or None"
    dialect = slot.dialect
    head = dialect.head
    if dialect.encode is None:
        out = bytearray(head.size)
        codec(body.__class__, dialect.version).encode(body, out)
        head.pack_into(out, 0, len(out) - SIZE.size, slot.correlation_id, *dialect.head_tags)
        return [out]
    pieces = dialect.encode(dialect.version, body)
    size = head.size - SIZE.size
    for piece in pieces:
        size += piece.length if isinstance(piece, FileSlice) else len(piece)
    first = pieces[0]
    assert not isinstance(first, FileSlice), "a body begins with bytes"
    answer: list[Piece] = [head.pack(size, slot.correlation_id, *dialect.head_tags) + first]
    if len(pieces) > 1:
        answer += pieces[1:]
    return answer


def _join(pieces: list[Piece], small: int) -> None:
    """Make one buffer of the last `small` pieces."""
    if small > 1:
        joined = b"".join(pieces[-small:])  # type: ignore[arg-type]  # no slice is among them
        pieces[-small:] = [joined]


def _client_id(frame: memoryview, length: int) -> tuple[str | None, int]:
    """Read the client id, a string with a two-byte length in every header version; return what follows it."""
    if length < 0:
        return None, _HEADER.size
    end = _HEADER.size + length
    if end > len(frame):
        raise RemoteProtocolError(f"a client id of {length} bytes goes past the end of the request")
    try:
        return str(frame[_HEADER.size : end], "utf-8"), end
    except UnicodeDecodeError:
        raise RemoteProtocolError("a client id that is not UTF-8") from None


def _after_tags(frame: memoryview, position: int) -> int:
    try:
        first = frame[position]
        return skip_tags(frame, position + 1, first) if first else position + 1
    except IndexError:
        raise RemoteProtocolError("the request ends in its header") from None


def _unsupported(versions: tuple[int, int]) -> Message:
    from rafka.core.api.api_versions_response import ApiVersion, ApiVersionsResponse

    ours = ApiVersion(api_key=API_VERSIONS, min_version=versions[0], max_version=versions[1])
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[ours])


def request_bytes(
    request: Message, *, api_key: int, version: int, correlation_id: int, client_id: str | None
) -> bytes:
    """Say a request as a client does: size, header, body."""
    name = client_id.encode() if client_id is not None else b""
    out = _HEADER.pack(api_key, version, correlation_id, len(name) if client_id is not None else -1) + name
    if request_header_version(api_key, version) >= 2:
        out += b"\0"
    out += encode(request, version)
    return SIZE.pack(len(out)) + out
