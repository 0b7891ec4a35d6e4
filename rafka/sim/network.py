"""Virtual connections: bytes arrive in order, in pieces of any size, late; and every law of effects is kept.

The client's end is a `Peer`. A stream has no packets: what was sent in two goes may be received in one, and the
other way round. One Received a turn; a Fill that answers it is in force before the next. A file slice is opened
when it is sent, and read when the bytes go out.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from rafka.core.events import Filled, NetEvent, Received
from rafka.core.types import Buffer, ConnId, FileSlice, Piece
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk
from rafka.sim.storage import Clock

UNSENT_MAX = 1 << 20
"""A connection with more bytes waiting than this is not read."""


class Peer(Protocol):
    """A client's end of one connection."""

    def received(self, wire: "Wire", data: bytes) -> None:
        """Take bytes from the broker."""

    def lost(self, wire: "Wire") -> None:
        """Learn that `wire` has ended; called once, and nothing after it."""


class _Part:
    """What of a piece is not out yet: bytes `position` to `end` of `data`, which is a file's where it is a slice."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: Buffer, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    @property
    def is_whole(self) -> bool:
        """Whether the file holds (still) all that was promised."""
        return self.end <= len(self.data)

    def take(self, count: int) -> bytes:
        """Let `count` bytes go."""
        start = self.position
        self.position += count
        return bytes(self.data[start : self.position])


class Wire:
    """One connection. Whoever ends it, `ended` is called once with the reason."""

    def __init__(self, conn: ConnId, peer: Peer, network: "Network") -> None:
        self.conn = conn
        self.is_open = True
        self.is_paused = False
        self.closing: str | None = None
        """Why it is closed once everything sent before is out."""
        self._peer = peer
        self._network = network
        self._up = bytearray()
        """From the client, not yet received."""
        self._down: deque[_Part] = deque()
        """To the client, not yet out."""
        self._unsent = 0
        self._fill: memoryview | None = None
        self._has_received = False
        """Whether something was received in the turn that is to come."""
        self._delivering = self._transferring = False
        self._hung_up = False

    # ---- the client's side -------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes to the broker."""
        self._up += data
        self._deliver_soon()

    def hang_up(self) -> None:
        """Close the client's end once everything sent is received."""
        self._hung_up = True
        self._deliver_soon()

    # ---- the broker's side -------------------------------------------------------------------------

    def push(self, pieces: Sequence[Piece]) -> None:
        """Send pieces to the client, in order."""
        if self.closing is not None or not self.is_open:
            return
        for piece in pieces:
            part = self._network.opened(piece)
            if part is None:
                self.end("a file to be sent is not there")
                return
            self._down.append(part)
            self._unsent += part.end - part.position
        self._transfer_soon()

    def fill(self, buffer: memoryview) -> None:
        """Receive into `buffer` until it is full."""
        assert self._fill is None
        assert len(buffer) > 0
        self._fill = buffer

    def resume(self) -> None:
        """Read again."""
        self.is_paused = False
        self._deliver_soon()

    def close(self, reason: str) -> None:
        """End it once everything sent before is out."""
        if self.closing is None:
            self.closing = reason
            self._transfer_soon()

    def turned(self) -> None:
        """Learn that what was received has been handled, and its effects performed."""
        self._has_received = False
        self._deliver_soon()

    def end(self, reason: str) -> None:
        """End it at once, in both directions; the client learns of it, the broker if it still lives."""
        if self.is_open:
            self.is_open = False
            self._network.ended(self, reason)
            self._peer.lost(self)

    # ---- what time does ----------------------------------------------------------------------------

    @property
    def _may_receive(self) -> bool:
        waits = self._has_received or self.is_paused or self._unsent > UNSENT_MAX
        return self.is_open and self.closing is None and not waits and bool(self._up or self._hung_up)

    def _deliver_soon(self) -> None:
        if self._may_receive and not self._delivering:
            self._delivering = True
            self._network.later(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        if not self._may_receive:
            return
        if not self._up:
            self.end("closed by the peer")
            return
        count = self._network.some(len(self._up))
        if self._fill is not None:
            self._deliver_into(self._fill, count)
        else:
            data = self._up[:count]
            del self._up[:count]
            self._has_received = True
            self._network.report(Received(self.conn, memoryview(data)))

    def _deliver_into(self, buffer: memoryview, count: int) -> None:
        count = min(count, len(buffer))
        buffer[:count] = self._up[:count]
        del self._up[:count]
        self._fill = buffer[count:]
        if not self._fill:
            self._fill = None
            self._has_received = True
            self._network.report(Filled(self.conn))
        self._deliver_soon()

    def _transfer_soon(self) -> None:
        if self.is_open and not self._transferring and (self._down or self.closing is not None):
            self._transferring = True
            self._network.later(self._transfer)

    def _transfer(self) -> None:
        self._transferring = False
        if not self.is_open:
            return
        if not self._down:
            assert self.closing is not None
            self.end(self.closing)
            return
        first = self._down[0]
        if not first.is_whole:
            self._network.slices_missed += 1
            self.end("a file to be sent is shorter than the slice")
            return
        count = self._network.some(first.end - first.position)
        self._peer.received(self, first.take(count))
        if first.position == first.end:
            self._down.popleft()
        self._unsent -= count
        self._transfer_soon()
        self._deliver_soon()


class Network:
    """All connections of one life of the process."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        chance: Chance,
        mean_ns: int,
        report: Callable[[NetEvent], None],
        ended: Callable[[Wire, str], None],
    ) -> None:
        self.wires: dict[ConnId, Wire] = {}
        self.report = report
        self.slices_missed = 0
        """Slices whose file was gone, or too short when the bytes were to leave."""
        self.ended = ended
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._mean_ns = mean_ns

    def later(self, action: Callable[[], None]) -> None:
        """Run `action` after a transmission's time."""
        self._clock.at(self._clock.time_ns + self._chance.around(self._mean_ns), action)

    def some(self, available: int) -> int:
        """Draw how many of the available bytes go at once: often all, else any number."""
        return available if available < 2 or self._chance.happens(0.6) else 1 + self._chance.below(available)

    def opened(self, piece: Piece) -> _Part | None:
        """Make ready what is to be sent; None if there is no such file."""
        if not isinstance(piece, FileSlice):
            return _Part(bytes(piece), 0, len(piece))
        inode = self._disk.files.get(piece.file)
        if inode is None:
            self.slices_missed += 1
            return None
        return _Part(inode.data, piece.position, piece.position + piece.length)
