"""One connection's side of the Kafka protocol: frames to requests, answers to bytes in the requests' order.

Requests are handed on as they come, so that a slow one does not hold up the work of those behind it, but
their answers leave in the order in which the requests came, as Kafka promises. Until its turn an answer waits
here; `unanswered` says how many requests are open, so that whoever drives the session can stop reading.

A request that cannot be understood has no answer that its sender could understand either: the session raises
RemoteProtocolError and the connection is to be closed (Kafka's SocketServer does the same). Requests that
came in the same receive as the violation are dropped with it; none of them was acknowledged. One exception:
an ApiVersions request of a version unknown here is answered in version 0 with the versions of ApiVersions
alone (KIP-511).
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception by its usual spelling

from rafka.core.api import APIS, request_header_version, response_header_version
from rafka.core.errors import ErrorCode, RemoteProtocolError
from rafka.core.events import Requested
from rafka.core.message import Message, codec, decode, encode
from rafka.core.message.wire import skip_tags
from rafka.core.types import ConnId, FileSlice, Piece
from rafka.net.frame import SIZE, Frames

API_VERSIONS = 18
_HEADER = Struct(">hhih")
"""api key, api version, correlation id, length of the client id (-1: none)."""
_CORRELATION = Struct(">i")

Decoder = Callable[[int, memoryview], Message]
"""From a version and a request's body to the request."""
Encoder = Callable[[int, Message], Sequence[Piece]]
"""From a version and a response to the pieces of its body."""


class Protocol:
    """What a broker speaks; one for all of its sessions.

    served: for each API key the lowest and highest version, what ApiVersions advertises.
    decoders, encoders: hand-written codecs by API key (Produce, Fetch); all others use the compiled ones.
    """

    __slots__ = ("decoders", "encoders", "served")

    def __init__(
        self,
        served: Mapping[int, tuple[int, int]],
        decoders: Mapping[int, Decoder] | None = None,
        encoders: Mapping[int, Encoder] | None = None,
    ) -> None:
        assert API_VERSIONS in served, "no client can start without ApiVersions"
        assert all(key in APIS for key in served)
        self.served = served
        self.decoders = decoders or {}
        self.encoders = encoders or {}


class _Slot:
    """The place of one request in the order of answers."""

    __slots__ = ("api_key", "correlation_id", "pieces", "version")

    def __init__(self, api_key: int, version: int, correlation_id: int) -> None:
        self.api_key = api_key
        self.version = version
        self.correlation_id = correlation_id
        self.pieces: Sequence[Piece] | None = None
        """The whole answer, framed; empty for a request that wants none; None until it is known."""


class Session:
    """One connection: `receive`, `filled` take bytes in, `answer` takes responses, `drain` gives bytes out.

    The `correlation` of a Requested is the session's own count, not the client's correlation id, which a
    client may use twice.
    """

    __slots__ = ("_answered", "_conn", "_count", "_order", "_protocol", "_slots", "frames")

    def __init__(self, conn: ConnId, protocol: Protocol, frame_bytes_max: int) -> None:
        self.frames = Frames(frame_bytes_max)
        self._conn = conn
        self._protocol = protocol
        self._count = 0
        self._order: deque[_Slot] = deque()
        self._slots: dict[int, _Slot] = {}
        """The slots without an answer, by correlation."""
        self._answered = False
        """Whether something was answered since the last drain."""

    @property
    def unanswered(self) -> int:
        """How many requests wait for their answer, or for the answers before theirs."""
        return len(self._order)

    def receive(self, data: memoryview) -> list[Requested]:
        """Take bytes and return the requests that became whole.

        Raises: RemoteProtocolError for what is no request that is served here.
        """
        return [request for frame in self.frames.receive(data) for request in self._requests(frame)]

    def filled(self) -> list[Requested]:
        """Take back the buffer that `frames.wanted` lent, now full; otherwise like receive."""
        return [request for frame in self.frames.filled() for request in self._requests(frame)]

    def answer(self, correlation: int, body: object) -> None:
        """Give the answer to a request: its response, or None for a request that wants none (acks=0).

        Raises: LocalProtocolError if the response cannot be said in the request's version.
        """
        slot = self._slots.pop(correlation)
        slot.pieces = [] if body is None else self._framed(slot, body)
        self._answered = True

    def drain(self) -> list[Piece]:
        """Give up the pieces that may leave: answers whose requests have no unanswered one before them."""
        pieces: list[Piece] = []
        if not self._answered:
            return pieces
        order = self._order
        while order and order[0].pieces is not None:
            pieces += order.popleft().pieces or ()
        self._answered = False
        return pieces

    def _requests(self, frame: memoryview) -> list[Requested]:
        """Cut one frame: a request, or nothing when the session itself has the answer."""
        try:
            api_key, version, correlation_id, id_length = _HEADER.unpack_from(frame, 0)
        except StructError:
            raise RemoteProtocolError(f"a request of {len(frame)} bytes has no whole header") from None
        slot = _Slot(api_key, version, correlation_id)
        if not self._is_served(api_key, version):
            self._refuse(slot)
            return []
        client_id, position = _client_id(frame, id_length)
        if request_header_version(api_key, version) >= 2:
            position = _after_tags(frame, position)
        body = self._decode(api_key, version, frame[position:])
        self._count += 1
        self._order.append(slot)
        self._slots[self._count] = slot
        return [Requested(self._conn, self._count, api_key, version, client_id, body)]

    def _is_served(self, api_key: int, version: int) -> bool:
        versions = self._protocol.served.get(api_key)
        return versions is not None and versions[0] <= version <= versions[1]

    def _refuse(self, slot: _Slot) -> None:
        if slot.api_key != API_VERSIONS:
            raise RemoteProtocolError(f"API {slot.api_key} version {slot.version} is not served here")
        slot.version = 0
        slot.pieces = self._framed(slot, _unsupported(self._protocol.served[API_VERSIONS]))
        self._order.append(slot)
        self._answered = True

    def _decode(self, api_key: int, version: int, body: memoryview) -> Message:
        decoder = self._protocol.decoders.get(api_key)
        if decoder is not None:
            return decoder(version, body)
        return decode(APIS[api_key].request, version, body)

    def _framed(self, slot: _Slot, body: object) -> list[Piece]:
        assert isinstance(body, Message), "an answer is a message or None"
        head = bytearray(SIZE.size)
        head += _CORRELATION.pack(slot.correlation_id)
        if response_header_version(slot.api_key, slot.version) >= 1:
            head.append(0)  # no tagged fields
        encoder = self._protocol.encoders.get(slot.api_key)
        if encoder is None:
            codec(body.__class__, slot.version).encode(body, head)
            SIZE.pack_into(head, 0, len(head) - SIZE.size)
            return [head]
        pieces = encoder(slot.version, body)
        SIZE.pack_into(head, 0, len(head) - SIZE.size + sum(map(_length, pieces)))
        return [head, *pieces]


def _length(piece: Piece) -> int:
    return piece.length if isinstance(piece, FileSlice) else len(piece)


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
