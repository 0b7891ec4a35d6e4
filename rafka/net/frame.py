"""Length-prefixed framing: bytes in, whole frames out, copied at most once and never allocated on a promise.

A Kafka frame is a big-endian int32 size followed by that many bytes. Frames that lie whole in what was
received are views into it. A frame that goes on beyond it is gathered in a buffer of its own; when much of it
is missing, the driver is asked to receive straight into that buffer (`wanted`, the effect Fill), so a large
batch is copied only for its first part.

A size is only a promise. The buffer for it is never larger than `GROWTH` times the bytes that really came (or
`START_BYTES`), and is doubled as they come, so a peer that announces 100 MiB and stays silent costs 64 KiB.
Source: the Kafka protocol guide, "Network"; the limit is `socket.request.max.bytes`.
"""

from struct import Struct

from rafka.core.errors import RemoteProtocolError

SIZE = Struct(">i")
START_BYTES = 64 << 10
GROWTH = 8
FILL_BYTES_MIN = 16 << 10
"""Ask for a Fill only when at least this much is missing: smaller rests come with the next receive."""


class Frames:
    """The receiving side of one connection.

    receive and filled return the frames that became whole, in order, without their size prefix. Each view
    belongs to the caller from then on. Both raise RemoteProtocolError for a size that is negative, or over
    `frame_bytes_max`; the connection cannot be used after that, because what follows has no boundary.
    """

    __slots__ = (
        "_body", "_frame_bytes", "_frame_bytes_max", "_have", "_head", "_lent", "is_mid_frame",
    )  # fmt: skip

    def __init__(self, frame_bytes_max: int) -> None:
        assert frame_bytes_max > 0
        self._frame_bytes_max = frame_bytes_max
        self._head = b""
        """The first bytes of a size, when it came in parts: 0 to 3 of them."""
        self._body: bytearray | None = None
        """The buffer of the frame under way, `_frame_bytes` long in the end; None between frames."""
        self._frame_bytes = 0
        self._have = 0
        self._lent = 0
        """How many bytes the driver was asked to fill; 0 when it was not."""
        self.is_mid_frame = False
        """Whether a frame has begun that is not whole: a peer that stops here is slow, or hostile."""

    @property
    def held_bytes(self) -> int:
        """How much memory the frame under way holds, in bytes."""
        return len(self._body) if self._body is not None else 0

    @property
    def lent(self) -> memoryview | None:
        """What the driver was asked to fill, and has not filled yet."""
        if not self._lent:
            return None
        return memoryview(self._body or b"")[self._have : self._have + self._lent]

    def receive(self, data: memoryview) -> list[memoryview]:
        """Take what came and cut it into frames."""
        end = len(data)
        if not self.is_mid_frame and end >= SIZE.size:
            (frame_bytes,) = SIZE.unpack_from(data)
            if frame_bytes == end - SIZE.size <= self._frame_bytes_max:
                return [data[SIZE.size :]]  # one frame and no more: nearly always
        frames = self._cut(data)
        self.is_mid_frame = self._body is not None or bool(self._head)
        return frames

    def _cut(self, data: memoryview) -> list[memoryview]:
        assert not self._lent, "the driver receives into the lent buffer until it is full"
        frames: list[memoryview] = []
        position = self._go_on(data, frames) if self._body is not None or self._head else 0
        end = len(data)
        while self._body is None and end - position >= SIZE.size:
            (frame_bytes,) = SIZE.unpack_from(data, position)
            if not 0 <= frame_bytes <= self._frame_bytes_max:
                self._checked(frame_bytes)
            position += SIZE.size
            if end - position < frame_bytes:
                self._begin(frame_bytes, data[position:])
                return frames
            frames.append(data[position : position + frame_bytes])
            position += frame_bytes
        if position < end:
            self._head = bytes(data[position:])
        return frames

    def wanted(self) -> memoryview | None:
        """Lend the driver the rest of the buffer to fill, if that saves a copy; answered by `filled`."""
        if self._body is None or self._frame_bytes - self._have < FILL_BYTES_MIN or self._lent:
            return None
        if self._have == len(self._body):
            self._grow()
        self._lent = len(self._body) - self._have
        return memoryview(self._body)[self._have :]

    def filled(self) -> list[memoryview]:
        """Take back the lent buffer, now full."""
        assert self._lent, "nothing was lent"
        self._have += self._lent
        self._lent = 0
        frames = self._finished()
        self.is_mid_frame = self._body is not None
        return frames

    def _checked(self, frame_bytes: int) -> int:
        if frame_bytes < 0:
            raise RemoteProtocolError(
                f"a frame of {frame_bytes} bytes: this does not look like Kafka's protocol"
            )
        if frame_bytes > self._frame_bytes_max:
            raise RemoteProtocolError(
                f"a frame of {frame_bytes} bytes is over socket.request.max.bytes={self._frame_bytes_max}"
            )
        return frame_bytes

    def _begin(self, frame_bytes: int, first: memoryview) -> None:
        have = len(first)
        self._body = bytearray(min(frame_bytes, max(START_BYTES, GROWTH * have)))
        self._body[:have] = first
        self._frame_bytes = frame_bytes
        self._have = have

    def _go_on(self, data: memoryview, frames: list[memoryview]) -> int:
        """Give the frame under way what it misses; return how much of `data` that took."""
        position = 0
        if self._body is None:
            position = min(SIZE.size - len(self._head), len(data))
            self._head += bytes(data[:position])
            if len(self._head) < SIZE.size:
                return position
            frame_bytes = self._checked(SIZE.unpack(self._head)[0])
            self._head = b""
            self._begin(frame_bytes, data[:0])
        taken = min(self._frame_bytes - self._have, len(data) - position)
        self._put(data[position : position + taken])
        frames += self._finished()
        return position + taken

    def _put(self, part: memoryview) -> None:
        assert self._body is not None
        while len(self._body) < self._have + len(part):
            self._grow()
        self._body[self._have : self._have + len(part)] = part
        self._have += len(part)

    def _grow(self) -> None:
        """Double the buffer, as far as the frame goes. A new one, because views of the old may still live."""
        body = self._body
        assert body is not None
        assert len(body) < self._frame_bytes
        larger = bytearray(min(self._frame_bytes, 2 * len(body)))
        larger[: self._have] = memoryview(body)[: self._have]
        self._body = larger

    def _finished(self) -> list[memoryview]:
        if self._body is None or self._have < self._frame_bytes:
            return []
        assert len(self._body) >= self._have == self._frame_bytes
        frame = memoryview(self._body)[: self._frame_bytes]
        self._body = None
        self._have = self._frame_bytes = 0
        return [frame]


def frame_of(payload: bytes) -> bytes:
    """Put the size in front of a payload."""
    return SIZE.pack(len(payload)) + payload
