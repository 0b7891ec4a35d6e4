"""One accepted connection: what is to be received, what waits to be sent, and the system calls for both.

Sockets never block. Receiving goes into a slab shared by all connections: `recv_into` at the slab's end, and the
event gets a view of exactly what came, so nothing is copied and the bytes are writable. A slab dies with the last
view of it. Sending gathers buffers into one `sendmsg`; a slice of a file below `SENDFILE_MIN` is read and
gathered with them, a longer one goes by `sendfile`, announced by MSG_MORE so that header and data share packets.
"""

import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Sequence

from rafka.core.types import Buffer, ConnId, FileSlice, Piece
from rafka.io.files import Files, OpenFile, after, read_some

SLAB_SIZE = 256 * 1024
SLAB_ROOM_MIN = 64 * 1024
"""With less room than this a slab is given up: a receive that ends for want of room cuts a request in two, which costs
a copy of its beginning and a turn more."""
SENDFILE_MIN = 32 * 1024
"""Below, one read and one send cost less than sendfile and a header of its own."""
GATHER_MAX = 64
GATHER_BYTES_MAX = 256 * 1024
TURN_BYTES = 1 << 20
"""What one connection may send, or receive into a Fill, in one turn: others want theirs."""

HAS_SENDFILE = hasattr(os, "sendfile") and sys.platform == "linux"
MSG_MORE: int = getattr(socket, "MSG_MORE", 0)

SENT, BLOCKED, MORE = 0, 1, 2
"""What `flush` found: all is out; the socket is full; this turn's share is used up."""


FILE_ERRORS = (errno.EIO, errno.EINVAL, errno.ESTALE, errno.ENODATA)
"""What sendfile reports of the file, not of the socket."""


class SliceError(Exception):
    """A slice of a file cannot be sent, or not all of it. The text ends a sentence: "a file to be sent is …"."""


class Slab:
    """Room for what is received next, shared by the connections of a driver. is_full: the last receive took all."""

    __slots__ = ("_end", "_view", "is_full")

    def __init__(self) -> None:
        self._view = memoryview(bytearray(SLAB_SIZE))
        self._end = 0
        self.is_full = False

    def receive(self, sock: socket.socket) -> memoryview:
        """Receive once; an empty view is the end of the stream. Raises OSError, BlockingIOError among them."""
        start = self._end
        if SLAB_SIZE - start < SLAB_ROOM_MIN:
            self._view = memoryview(bytearray(SLAB_SIZE))
            start = 0
        view = self._view
        end = self._end = start + sock.recv_into(view[start:])
        self.is_full = end == SLAB_SIZE
        return view[start:end]


class Slice:
    """A part of an open file that waits to be sent."""

    __slots__ = ("length", "opened", "position")

    def __init__(self, opened: OpenFile, position: int, length: int) -> None:
        self.opened = opened
        self.position = position
        self.length = length


class Connection:
    """One accepted socket and all that is known about it.

    is_paused: the core said so. is_choked: too much waits unsent. is_readable: the poller said so, and nobody
    has read since. fill, filled: the buffer of a Fill and how much of it is there. closing: why, once the core
    asked for the end. is_queued, is_blocked: waits for its turn to flush, for room in the socket.
    """

    __slots__ = (
        "closing", "fd", "fill", "filled", "has_ended", "id", "is_blocked", "is_choked", "is_paused", "is_queued",
        "is_readable", "outgoing", "poll", "sock", "unsent",
    )  # fmt: skip

    def __init__(self, conn: ConnId, sock: socket.socket) -> None:
        self.id = conn
        self.sock = sock
        self.fd = sock.fileno()
        self.outgoing: deque[Buffer | Slice] = deque()
        self.unsent = 0
        self.fill: memoryview | None = None
        self.filled = 0
        self.closing: str | None = None
        self.is_paused = False
        self.is_choked = False
        self.is_readable = False
        self.is_queued = False
        self.is_blocked = False
        self.has_ended = False
        self.poll: object = None
        """The poller's own."""

    def push(self, pieces: Sequence[Piece], files: Files) -> None:
        """Take pieces to be sent. Raises OSError if the file of a slice cannot be opened."""
        for piece in pieces:
            if isinstance(piece, FileSlice):
                opened = files.existing(piece.file)
                files.hold(opened)
                self.outgoing.append(Slice(opened, piece.position, piece.length))
                self.unsent += piece.length
            elif len(piece):
                self.outgoing.append(piece)
                self.unsent += len(piece)

    def flush(self, files: Files) -> int:
        """Send what can be sent, TURN_BYTES at most: SENT, BLOCKED or MORE. Raises OSError, SliceError."""
        outgoing = self.outgoing
        share = TURN_BYTES
        try:
            if len(outgoing) == 1:
                only = outgoing[0]
                if not isinstance(only, Slice) and len(only) <= TURN_BYTES:
                    return self._send_one(only)  # the common case: one small response
            while outgoing:
                if share <= 0:
                    return MORE
                first = outgoing[0]
                if isinstance(first, Slice) and first.length >= SENDFILE_MIN and HAS_SENDFILE:
                    share -= self._send_slice(first, min(share, first.length), files)
                else:
                    share -= self._send_gathered(share, files)
        except BlockingIOError:
            return BLOCKED
        return SENT

    def _send_one(self, buffer: Buffer) -> int:
        sent = self.sock.send(buffer)
        self.unsent -= sent
        if sent == len(buffer):
            self.outgoing.clear()
            return SENT
        self.outgoing[0] = memoryview(buffer)[sent:]
        return BLOCKED

    def _send_slice(self, piece: Slice, count: int, files: Files) -> int:
        try:
            sent = os.sendfile(self.fd, piece.opened.fd, piece.position, count)
        except OSError as error:
            if error.errno in FILE_ERRORS:
                raise SliceError(f"unreadable: {error.strerror}") from error
            raise
        if sent == 0:
            raise SliceError("shorter than the slice")
        self.unsent -= sent
        piece.position += sent
        piece.length -= sent
        if piece.length == 0:
            self.outgoing.popleft()
            files.release(piece.opened)
        return sent

    def _send_gathered(self, share: int, files: Files) -> int:
        """Send buffers and short slices at the front, `share` bytes at most, in one call.

        Gives how much that was; raises BlockingIOError unless all of it went.
        """
        outgoing = self.outgoing
        buffers: list[Buffer] = []
        size = 0
        while outgoing and len(buffers) < GATHER_MAX and size < share:
            first = outgoing[0]
            if isinstance(first, Slice):
                if (first.length >= SENDFILE_MIN and HAS_SENDFILE) or size >= GATHER_BYTES_MAX:
                    break
                first = self._read_slice(first, min(GATHER_BYTES_MAX, share - size), files)
            elif len(first) <= share - size:
                outgoing.popleft()
            else:
                whole = memoryview(first)
                first, outgoing[0] = whole[: share - size], whole[share - size :]
            buffers.append(first)
            size += len(first)
        sent = 0
        try:
            sent = self.sock.sendmsg(buffers, [], MSG_MORE if outgoing else 0)
        finally:
            self.unsent -= sent
            if sent < size:
                outgoing.extendleft(reversed(after(buffers, sent)))
        if sent < size:
            raise BlockingIOError
        return sent

    def _read_slice(self, piece: Slice, limit: int, files: Files) -> bytes:
        count = min(piece.length, limit)
        try:
            data = read_some(piece.opened.fd, count, piece.position)
        except OSError as error:
            raise SliceError(f"unreadable: {error.strerror}") from error
        if len(data) < count:
            raise SliceError("shorter than the slice")
        piece.position += count
        piece.length -= count
        if piece.length == 0:
            self.outgoing.popleft()
            files.release(piece.opened)
        return data

    def discard(self, files: Files) -> None:
        """Forget what waits to be sent."""
        for piece in self.outgoing:
            if isinstance(piece, Slice):
                files.release(piece.opened)
        self.outgoing.clear()
        self.unsent = 0


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind and listen; host may be a name, an IPv4 or an IPv6 address, "" or "*" for all. Raises OSError."""
    wanted = None if host in ("", "*") else host
    found = socket.getaddrinfo(wanted, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Set up an accepted socket: it neither blocks nor waits for more to send."""
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, getattr(socket, "AF_INET6", socket.AF_INET)):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
