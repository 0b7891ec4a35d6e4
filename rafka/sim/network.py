"""Virtual connections: bytes arrive in order, in pieces of any size, late; and every law of effects is kept.

The client's end is a `Peer`. A stream has no packets: what was sent in two goes may be received in one, and the
other way round. One Received a turn; a Fill that answers it is in force before the next. A file slice is opened
when it is sent, and read when the bytes go out.

Faults (`net.*`) are those of TCP: a stream is late, stands still, breaks, or goes nowhere, but never loses or swaps
bytes. Each connection of a client has decisions of its own, in the order of its connections.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from rafka.core.events import Filled, NetEvent, Received
from rafka.core.types import Buffer, ConnId, FileSlice, Piece
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk, Inode
from rafka.sim.faults import Book, Source, no_faults
from rafka.sim.storage import Clock
from rafka.sim.trace import RECEIVED, SENT, Trace

MS = 1_000_000
UNSENT_MAX = 1 << 20
"""A connection with more bytes waiting than this is not read."""
LATE_NS = 40 * MS
TAIL_NS = 1_000 * MS
STALL_NS = 2_000 * MS
GONE_NS = 8_000 * MS
"""After how long at most the broker learns that a client has gone without a word."""
PARTIAL_BYTES = 160
"""The greeting, and the first frame or two; every one is an event, and what they show they show soon."""
SLOW_BYTES = 400
PACE_NS = 10 * MS
"""A slow connection passes so many bytes at most, and then waits for this long."""


class Peer(Protocol):
    """A client's end of one connection."""

    entity: str
    """What its faults are counted under."""

    def received(self, wire: "Wire", data: bytes) -> None:
        """Take bytes from the broker."""

    def lost(self, wire: "Wire") -> None:
        """Learn that `wire` has ended; called once, and nothing after it."""


class _Part:
    """What of a piece is not out yet: bytes `position` to `end` of `data`, which is a file's where it is a slice."""

    __slots__ = ("data", "end", "inode", "position")

    def __init__(self, data: Buffer, position: int, end: int, inode: Inode | None) -> None:
        self.data = data
        self.position = position
        self.end = end
        self.inode = inode

    @property
    def is_whole(self) -> bool:
        """Whether the file holds (still) all that was promised, and can be read."""
        if self.inode is None:
            return True
        return self.end <= len(self.inode.data) and not (
            self.inode.bad and self.inode.is_bad(self.position, self.end - self.position)
        )

    def take(self, count: int) -> bytes:
        """Let `count` bytes go."""
        start = self.position
        self.position += count
        data = self.data if self.inode is None else self.inode.data
        return bytes(data[start : self.position])


class Wire:
    """One connection. Whoever ends it, `ended` is called once with the reason."""

    __slots__ = (
        "_delivering",
        "_down",
        "_fill",
        "_has_received",
        "_hung_up",
        "_network",
        "_transferring",
        "_unsent",
        "_up",
        "closing",
        "conn",
        "is_cut",
        "is_open",
        "is_paused",
        "peer",
        "quality",
    )

    def __init__(self, conn: ConnId, peer: Peer, network: "Network", quality: "Quality") -> None:
        self.conn = conn
        self.peer = peer
        self.quality = quality
        self.is_open = True
        self.is_paused = False
        self.is_cut = False
        """The client has gone, and the broker does not know."""
        self.closing: str | None = None
        """Why it is closed once everything sent before is out."""
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

    def vanish(self) -> None:
        """Let the client go without a word: what it sent may arrive, what it is sent goes nowhere."""
        self.is_cut = True
        self._network.later(self.end_cut, self, 1 + self._network.below(GONE_NS))

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
        if self._up or self._hung_up:
            self._deliver_soon()

    def end(self, reason: str) -> None:
        """End it at once, in both directions; the client learns of it, the broker if it still lives."""
        if self.is_open:
            self.is_open = False
            self._network.ended(self, reason)
            if not self.is_cut:
                self.peer.lost(self)

    def end_cut(self, _: "Wire") -> None:
        """End what the client left long ago."""
        self.end("the client has gone")

    # ---- what time does ----------------------------------------------------------------------------

    @property
    def _may_receive(self) -> bool:
        return (
            self.is_open
            and not self._has_received
            and not self.is_paused
            and self.closing is None
            and self._unsent <= UNSENT_MAX
            and (len(self._up) > 0 or self._hung_up)
        )

    def _deliver_soon(self) -> None:
        if not self._delivering and self._may_receive:
            self._delivering = True
            self._network.transmit(self, self.quality.up, Wire.deliver)

    def deliver(self) -> None:
        """Let some of what the client sent be received."""
        self._delivering = False
        if not self._may_receive:
            return
        if not self._up:
            self.end("closed by the peer")
            return
        count = self._network.some(len(self._up), self.quality.up)
        if self._fill is not None:
            self._deliver_into(self._fill, count)
            return
        if count == len(self._up):
            data, self._up = self._up, bytearray()
        else:
            data = self._up[:count]
            del self._up[:count]
        self._has_received = True
        self._network.received(self, data)

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
        if not self._transferring and self.is_open and (self._down or self.closing is not None):
            self._transferring = True
            self._network.transmit(self, self.quality.down, Wire.transfer)

    def transfer(self) -> None:
        """Let some of what the broker sent go out."""
        self._transferring = False
        if not self.is_open:
            return
        if not self._down:
            assert self.closing is not None
            self.end(self.closing)
            return
        left = self._network.some(self._unsent, self.quality.down)
        out: list[bytes] = []
        while left and self._down:
            first = self._down[0]
            if not first.is_whole:
                self._network.slices_missed += 1
                self.end("a file to be sent is shorter than the slice, or cannot be read")
                return
            count = min(left, first.end - first.position)
            out.append(first.take(count))
            if first.position == first.end:
                self._down.popleft()
            left -= count
            self._unsent -= count
        if not self.is_cut:
            self._network.sent(self, out[0] if len(out) == 1 else b"".join(out))
        self._transfer_soon()
        self._deliver_soon()


class Direction:
    """How one direction of a connection fares. late_ns: added to every delay; pace: bytes in one go, 0: any."""

    __slots__ = ("late_ns", "pace", "partial_left", "until")

    def __init__(self) -> None:
        self.late_ns = 0
        self.pace = 0
        self.partial_left = 0
        """So many bytes come one by one."""
        self.until = 0
        """Nothing passes before this time."""


class Quality:
    """How one connection fares; drawn when it is made, from its client's own decisions."""

    __slots__ = ("_sources", "down", "hazards", "up")

    def __init__(self, sources: dict[str, Source]) -> None:
        self.up, self.down = Direction(), Direction()
        self._sources = sources
        both = (self.up, self.down)
        if strength := self.struck("delay"):
            for direction in both:
                direction.late_ns += int(strength * LATE_NS)
        if strength := self.struck("lopsided"):
            both[int(strength * 2) % 2].late_ns += int(strength * 2 * LATE_NS)
        if self.struck("partial"):
            for direction in both:
                direction.partial_left = PARTIAL_BYTES
        if strength := self.struck("slow"):
            for direction in both:
                direction.pace = 20 + int(SLOW_BYTES * strength)
        self.hazards = [sources[name] for name in HAZARDS if name in sources]

    def struck(self, kind: str) -> float:
        """Decide whether a kind strikes now."""
        source = self._sources.get(kind)
        return source.strikes() if source is not None else 0.0


AT_DIAL = ("delay", "lopsided", "partial", "slow", "refused")
HAZARDS = ("tail", "stall", "reset", "blackhole", "half-open")


class Lines:
    """Every client's decisions about its connections; they outlive connections and the broker's lives."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._sources: dict[str, dict[str, Source]] = {}

    def dialled(self, client: str) -> Quality | None:
        """Draw how a client's next connection will fare; None: it is refused."""
        sources = self._sources.get(client)
        if sources is None:
            found = ((k, self._book.source(f"net.{k}", client)) for k in (*AT_DIAL, *HAZARDS))
            sources = self._sources[client] = {kind: source for kind, source in found if source is not None}
        quality = Quality(sources)
        return None if quality.struck("refused") else quality


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
        trace: Trace,
        lines: Lines | None = None,
    ) -> None:
        self.wires: dict[ConnId, Wire] = {}
        self.report = report
        self.slices_missed = 0
        """Slices whose file was gone, too short or unreadable when the bytes were to leave."""
        self.ended = ended
        self.below = chance.below
        self._lines = lines or Lines(no_faults())
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._mean_ns = mean_ns
        self._trace = trace
        self.turned: dict[ConnId, Wire] = {}
        """Connections that something was received from since the last turn."""

    def accept(self, conn: ConnId, peer: Peer) -> Wire | None:
        """Make a connection; None: it is refused."""
        quality = self._lines.dialled(peer.entity)
        if quality is None:
            return None
        wire = self.wires[conn] = Wire(conn, peer, self, quality)
        return wire

    def later(self, action: Callable[[Wire], None], wire: Wire, delay_ns: int) -> None:
        """Call `action` after a time."""
        self._clock.at(self._clock.time_ns + delay_ns, action, wire)

    def transmit(self, wire: Wire, direction: Direction, action: Callable[[Wire], None]) -> None:
        """Call `action` after a transmission's time, or let a fault have its way."""
        now = self._clock.time_ns
        at = now + self._chance.around(self._mean_ns) + direction.late_ns
        if direction.pace:
            at += PACE_NS
        for source in wire.quality.hazards:
            strength = source.strikes()
            if strength:
                at += self._strike(source.kind, strength, wire, direction)
        self._clock.at(max(at, direction.until), action, wire)

    def some(self, available: int, direction: Direction) -> int:
        """Draw how many of the available bytes go at once: often all, else any number."""
        draw = self._chance.draw
        all_of_it, part = draw() < 0.6, draw()
        if available < 2:
            return available
        if direction.partial_left > 0:
            direction.partial_left -= 1
            return 1
        if direction.pace:
            return min(available, direction.pace)
        return available if all_of_it else 1 + int(part * available)

    def received(self, wire: Wire, data: bytearray) -> None:
        """Hand what a client sent to the process."""
        self._trace.note(self._clock.time_ns, RECEIVED, wire.conn, data)
        self.turned[wire.conn] = wire
        self.report(Received(wire.conn, memoryview(data)))

    def sent(self, wire: Wire, data: bytes) -> None:
        """Hand what the process sent to the client."""
        self._trace.note(self._clock.time_ns, SENT, wire.conn, data)
        wire.peer.received(wire, data)

    def opened(self, piece: Piece) -> _Part | None:
        """Make ready what is to be sent; None if there is no such file."""
        if not isinstance(piece, FileSlice):
            return _Part(piece, 0, len(piece), None)
        inode = self._disk.files.get(piece.file)
        if inode is None:
            self.slices_missed += 1
            return None
        return _Part(b"", piece.position, piece.position + piece.length, inode)

    def _strike(self, kind: str, strength: float, wire: Wire, direction: Direction) -> int:
        """Let a fault happen to a connection; give what it adds to the delay."""
        match kind:
            case "net.tail":
                return int(strength * TAIL_NS)
            case "net.stall":
                direction.until = self._clock.time_ns + int(strength * STALL_NS)
            case "net.blackhole":
                wire.quality.up.until = wire.quality.down.until = self._clock.time_ns + 3600_000 * MS
            case "net.reset":
                self.later(_reset, wire, 1)
            case _:
                self.later(_leave, wire, 1)
        return 0


def _reset(wire: Wire) -> None:
    wire.end("reset by peer")


def _leave(wire: Wire) -> None:
    if wire.is_open and not wire.is_cut:
        wire.vanish()
        wire.peer.lost(wire)
