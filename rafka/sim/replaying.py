"""A flight recording re-executed: the same code, told the same things in the same order, must do the same again.

    chain = lives_in(directory)[-1]            # one life of a node, as far as it is still there
    replay = Replay(chain)
    for turn, effects in replay.turns(): …     # each was held against the recording, and its invariants checked

A life whose first segments are gone begins with a frozen machine instead of a new one; where the recording has a gap,
the machine that was frozen after it goes on. What can be found: `Diverged`, another effect than the recorded one (the
code is not the same, or something in it is not determined), and `Violated`, a broken invariant or an exception.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from struct import pack

import attrs

from rafka.core.config.settings import Settings
from rafka.core.effects import Effect, Fill
from rafka.core.errors import RafkaError
from rafka.core.events import Disconnected, Filled, Received
from rafka.core.machine import Entropy
from rafka.core.node.node import Identity, Node
from rafka.core.recording.digest import digests, said
from rafka.core.recording.format import (
    SUFFIX,
    Entries,
    Header,
    RecordingError,
    Turn,
    read_header,
    stream_of,
)
from rafka.core.recording.frozen import thaw
from rafka.core.shape import value
from rafka.core.types import ConnId, Uuid
from rafka.net.compression import Compression
from rafka.net.server import Server
from rafka.net.serving import limits_of, protocol_of
from rafka.sim.broker import Broker

HEADER_BYTES_MAX = 4 << 20
Draw = int | bytes


class Found(RafkaError):
    """What a replay is there to find. turn: where; words: what."""

    def __init__(self, turn: int, words: str) -> None:
        super().__init__(f"turn {turn}: {words}")
        self.turn = turn
        self.words = words


class Diverged(Found):
    """The machine did something else than the recorded one."""


class Violated(Found):
    """The machine broke an invariant, or raised."""


@value
class Segment:
    """A file of a recording, whose header has been read."""

    path: Path
    header: Header
    start: int
    """Where its blocks begin."""


@value
class Chain:
    """The segments of one life that are there, in order; never none."""

    segments: list[Segment]

    @property
    def header(self) -> Header:
        """What the first of them says."""
        return self.segments[0].header


def lives_in(directory: str) -> list[Chain]:
    """Find the lives in a recording, the oldest first. Raises: RecordingError."""
    root = Path(directory)
    try:
        paths = sorted(path for path in root.iterdir() if path.name.endswith(SUFFIX))
    except OSError as error:
        raise RecordingError(f"{directory}: {error.strerror}") from error
    if not paths:
        raise RecordingError(f"{directory} holds no flight recording (`rafka run --record` makes one)")
    lives: dict[int, list[Segment]] = {}
    for path in paths:
        segment = _opened(path)
        lives.setdefault(segment.header.life, []).append(segment)
    return [
        Chain(sorted(segments, key=lambda one: one.header.segment)) for _, segments in sorted(lives.items())
    ]


def _opened(path: Path) -> Segment:
    try:
        with path.open("rb") as file:
            header, start = read_header(file.read(HEADER_BYTES_MAX))
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error
    except RecordingError as error:
        raise RecordingError(f"{path} {error}") from error
    return Segment(path, header, start)


class Recorded:
    """Chance as it was drawn: `draws` are those of one turn. successor: who takes over, once there is one."""

    def __init__(self) -> None:
        self.draws: deque[Draw] = deque()
        self.successor: Entropy | None = None

    def below(self, bound: int) -> int:
        """Give what was drawn then."""
        if self.successor is not None:
            return self.successor.below(bound)
        drawn = self._next()
        if not isinstance(drawn, int) or drawn >= bound:
            raise Diverged(0, f"draws a number below {bound}, and {drawn!r} was drawn when it was recorded")
        return drawn

    def bytes(self, count: int) -> bytes:
        """Give what was drawn then."""
        if self.successor is not None:
            return self.successor.bytes(count)
        drawn = self._next()
        if not isinstance(drawn, bytes) or len(drawn) != count:
            raise Diverged(0, f"draws {count} bytes, and {drawn!r} was drawn when it was recorded")
        return drawn

    def _next(self) -> Draw:
        if not self.draws:
            raise Diverged(0, "draws, and nothing was drawn when it was recorded")
        return self.draws.popleft()


@attrs.define(eq=False)
class Replay:
    """Re-executes a life. checks: whether invariants are on. What it has come to is in its fields.

    ending: how the recording ends, once it has: "stopped", "torn", "raised".
    """

    chain: Chain
    checks: bool = True
    first: int = 0
    turn: int = 0
    events: int = 0
    effects: int = 0
    wall_ms: int = 0
    ending: str = ""
    unfinished: int = 0
    """Events of a last turn that the recording does not finish."""
    gaps: list[tuple[int, int]] = attrs.field(factory=list)
    """First and last turn of each stretch that was not recorded."""
    broker: Broker = attrs.field(init=False)
    chance: Recorded = attrs.field(factory=Recorded)
    _lent: dict[ConnId, memoryview] = attrs.field(factory=dict)
    _hash: "blake2b" = attrs.field(factory=lambda: blake2b(digest_size=16))

    @property
    def trace(self) -> str:
        """The hash of every effect so far, in hexadecimal."""
        return self._hash.hexdigest()

    def turns(
        self, *, until_turn: int | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[Turn, list[Effect]]]:
        """Re-execute turn after turn, to the end or to the last one within the bounds.

        until_ms: wall time. Raises: Found, RecordingError.
        """
        for segment in self.chain.segments:
            yield from self._segment(segment, until_turn, until_ms)
            if self.ending == "until":
                self.ending = ""
                return
        self.ending = self.ending or "torn"

    def _segment(
        self, segment: Segment, until_turn: int | None, until_ms: int | None
    ) -> Iterator[tuple[Turn, list[Effect]]]:
        entries = self._entries(segment)
        is_new = True
        while True:
            try:
                turn = entries.next()
            except RecordingError as error:
                raise RecordingError(f"{segment.path} {error}") from error
            if turn is None:
                break
            if (until_turn is not None and turn.number > until_turn) or (
                until_ms is not None and turn.now.wall > until_ms
            ):
                self.ending = "until"
                return
            if is_new:
                self._enter(segment, entries, turn)
                is_new = False
            yield turn, self._step(turn)
        self.unfinished = entries.rest
        if entries.ended:
            self.ending = "stopped"

    def _entries(self, segment: Segment) -> Entries:
        try:
            data = memoryview(segment.path.read_bytes())
        except OSError as error:
            raise RecordingError(f"{segment.path}: {error.strerror}") from error
        try:
            stream, is_cut = stream_of(data, segment.start)
        except RecordingError as error:
            raise RecordingError(f"{segment.path} {error}") from error
        if is_cut and segment is not self.chain.segments[-1]:
            raise RecordingError(
                f"{segment.path} is damaged: its end is missing, and other segments follow it"
            )
        return Entries(stream, segment.header.turn)

    # ---- the machine -----------------------------------------------------------------------------

    def _enter(self, segment: Segment, entries: Entries, turn: Turn) -> None:
        """Make the machine that the segment goes on with, unless it is there already."""
        header = segment.header
        if not self.turn:
            self.first = turn.number
        elif turn.number == self.turn + 1:
            return
        else:
            self.gaps.append((self.turn + 1, turn.number - 1))
        if not header.frozen:
            self.chance.draws.extend(turn.draws)
            self.broker = broker_of(header, self.chance)
            turn.draws.clear()
            return
        if entries.frozen is None:
            raise RecordingError(f"{segment.path} lacks the machine that it begins with")
        server = thaw(entries.frozen, self.chance)
        if not isinstance(server, Server) or not isinstance(server.node, Node):
            raise RecordingError(f"{segment.path} begins with something else than a broker")
        self.broker = _checked(server, server.node)
        self._lent = _lent_by(server)

    def _step(self, turn: Turn) -> list[Effect]:
        """Let the machine take one turn, and hold what it does against the recording."""
        self.chance.draws.extend(turn.draws)
        self.turn, self.wall_ms = turn.number, turn.now.wall
        self.events += len(turn.events)
        try:
            effects = self._taken(turn)
        except Diverged as found:
            raise Diverged(turn.number, f"it {found.words}") from None
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            self.ending = "raised"
            same = turn.raised == words
            raise Violated(
                turn.number, f"the machine raises {words}{'' if same else _unlike(turn)}"
            ) from error
        self._compare(turn, effects)
        if self.checks:
            try:
                self.broker.check()
            except AssertionError as error:
                raise Violated(turn.number, f"an invariant is broken: {error}") from error
        return effects

    def _taken(self, turn: Turn) -> list[Effect]:
        broker, now, lent = self.broker, turn.now, self._lent
        filled = iter(turn.filled)
        for event in turn.events:
            if isinstance(event, Filled):
                buffer, data = lent.pop(event.conn, memoryview(b"")), next(filled)
                if len(buffer) != len(data):
                    raise Diverged(0, f"has lent {len(buffer)} bytes to {event.conn}, and {len(data)} came")
                buffer[:] = data
            elif isinstance(event, Disconnected):
                lent.pop(event.conn, None)
            broker.handle(event, now)
        broker.tick(now)
        effects = broker.drain()
        for effect in effects:
            if isinstance(effect, Fill):
                lent[effect.conn] = effect.buffer
        return effects

    def _compare(self, turn: Turn, effects: Sequence[Effect]) -> None:
        if turn.raised is not None:
            raise Diverged(
                turn.number, f"the machine raised {turn.raised} when it was recorded, and does not now"
            )
        sums = digests(effects)
        self.effects += len(sums)
        self._hash.update(pack(f"<{len(sums) + 1}I", turn.number & 0xFFFF_FFFF, *sums))
        if tuple(sums) != turn.sums:
            raise Diverged(turn.number, _difference(turn, sums, effects))
        if self.chance.draws:
            raise Diverged(
                turn.number, f"it draws {len(self.chance.draws)} times less than when it was recorded"
            )


def broker_of(header: Header, chance: Entropy) -> Broker:
    """Make the machine of a new life."""
    who = header.identity
    identity = Identity(
        int(who["node_id"]),
        str(who["cluster_id"]),
        Uuid(bytes.fromhex(str(who["directory_id"]))),
        str(who["data_dir"]),
    )
    settings = Settings.from_pairs(header.settings)
    node = Node(settings, identity, chance, Compression())
    return Broker(node, protocol_of(node.served), limits_of(settings))


def _checked(server: Server, node: Node) -> Broker:
    """Put the invariants around a server that has none."""
    broker = Broker(node, server.protocol, server.limits)
    for field in attrs.fields(Server):
        setattr(broker, field.name, getattr(server, field.name))
    return broker


def _lent_by(server: Server) -> dict[ConnId, memoryview]:
    """Find the buffers that were being filled when a machine was frozen."""
    frames = {conn: one.session.frames.lent for conn, one in server._connections.items()}  # noqa: SLF001 – frozen state
    return {conn: buffer for conn, buffer in frames.items() if buffer is not None}


def _unlike(turn: Turn) -> str:
    return ", not so when it was recorded" if turn.raised is None else f"; it was {turn.raised} when recorded"


def _difference(turn: Turn, sums: Sequence[int], effects: Sequence[Effect]) -> str:
    pairs = zip(sums, turn.sums, strict=False)
    index = next(
        (i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(sums), len(turn.sums))
    )
    if index == len(sums):
        return f"{len(sums)} effects, and {len(turn.sums)} when it was recorded"
    more = f" of {len(turn.sums)}" if index < len(turn.sums) else f", and only {len(turn.sums)} were recorded"
    return f"effect {index + 1}{more} is another one: {clipped(said(effects[index]))}"


def clipped(text: str, width: int = 300) -> str:
    """Shorten what is long."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def told(event: object) -> str:
    """Say an event in one line."""
    if isinstance(event, Received):
        return f"Received({event.conn}, {len(event.data)} bytes)"
    return clipped(f"{event!r}")
