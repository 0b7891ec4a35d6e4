"""Which faults strike, and when: decisions that can be listed, replayed and left out one by one.

Every decision point belongs to a kind ("net.reset") at an entity ("producer-1", "disk") and is counted there. It
takes two draws from a stream of its own, whether it strikes or not, so the key `kind/entity/count` names the same
decision in every run of the seed, and leaving one fault out moves no other. In each seed a kind is off, light or
heavy (swarm testing): what never happens in a run lets other things happen that it would have hidden.

`Book.struck` is the list of what did strike. Given back as `only`, nothing else strikes.
"""

from collections.abc import Callable, Iterable, Mapping

from rafka.core.shape import value
from rafka.sim.chance import Chance

OFF, LIGHT, HEAVY = 0, 1, 2
LEVELS = ("off", "light", "heavy")


@value
class Kind:
    """A kind of fault. rates: probability at one decision point, light and heavy; text: what it does."""

    name: str
    rates: tuple[float, float]
    text: str
    group: str


@value
class Struck:
    """A fault that happened. strength: in (0, 1], from its own draw."""

    time_ns: int
    key: str
    strength: float


def _kinds(group: str, rows: Iterable[tuple[str, float, float, str]]) -> dict[str, Kind]:
    return {f"{group}.{n}": Kind(f"{group}.{n}", (low, high), text, group) for n, low, high, text in rows}


KINDS: Mapping[str, Kind] = {
    # At each connection, at each transmission, or each NEMESIS_MS; see network.py and nemesis.py.
    **_kinds(
        "net",
        [
            ("delay", 0.2, 0.7, "a connection is slow for as long as it lives"),
            ("lopsided", 0.2, 0.6, "one direction of a connection is slow"),
            ("tail", 0.002, 0.02, "one transmission takes up to a second"),
            ("stall", 0.0005, 0.005, "one direction of a connection stands still for up to two seconds"),
            ("reset", 0.0003, 0.004, "a connection is reset, and what was under way is lost"),
            ("blackhole", 0.0002, 0.002, "nothing passes any more, and nobody is told"),
            ("half-open", 0.0002, 0.002, "the client has gone, and the broker is told much later"),
            ("partial", 0.1, 0.5, "a connection brings its first kilobytes by single bytes"),
            ("slow", 0.1, 0.4, "a connection has a bandwidth of some kilobytes a second"),
            ("refused", 0.05, 0.3, "connecting fails"),
            ("clog", 0.001, 0.008, "one client is cut off for up to three seconds"),
            ("swizzle", 0.005, 0.03, "half of the clients stall one by one and go on in another order"),
        ],
    ),
    **_kinds(
        "proc",
        [
            ("kill", 0.005, 0.03, "the broker is killed"),
            ("power", 0.004, 0.025, "the power fails: unsynced bytes are lost"),
            ("slow-reboot", 0.3, 0.8, "the next start comes seconds later"),
            ("crash-loop", 0.2, 0.6, "the next life is killed while it starts"),
            ("boundary", 0.05, 0.25, "the broker is killed between two effects of one turn"),
            ("pause", 0.01, 0.05, "the broker takes no turn for up to three seconds"),
            ("slow-cpu", 0.005, 0.03, "turns take fifty times as long for a while"),
            ("shutdown", 0.004, 0.02, "the operator stops the broker and starts it again"),
            ("trigger", 0.03, 0.15, "a kill or pause right at a roll, rename, truncation or rebalance"),
        ],
    ),
    **_kinds(
        "client",
        [
            ("crash", 0.0005, 0.004, "a client is gone without a word, and begins anew"),
            ("zombie", 0.0005, 0.004, "a client sleeps past its session and goes on as if nothing had been"),
            ("hang-up", 0.002, 0.02, "a client closes its connection and opens another"),
        ],
    ),
    # How each power loss treats unsynced bytes: one is drawn among those that are on.
    **_kinds(
        "loss",
        [
            ("suffix", 1.0, 1.0, "of each file's unsynced writes the last ones are lost"),
            ("pages", 1.0, 1.0, "any of the unsynced pages are lost"),
            ("torn", 1.0, 1.0, "pages are torn within a sector"),
            ("files", 1.0, 1.0, "one file loses everything unsynced, another nothing"),
            (
                "names",
                1.0,
                1.0,
                "new, renamed and removed names are undone where the directory was not synced",
            ),
        ],
    ),
    **_kinds(
        "disk",
        [
            ("slow", 0.002, 0.02, "an operation takes up to a hundred times as long"),
            ("stuck", 0.0003, 0.003, "an operation takes seconds"),
            ("full", 0.002, 0.01, "the disk is full for a while: writes end short with ENOSPC"),
            ("eio-write", 0.001, 0.008, "a write fails half way with EIO"),
            ("eio-sync", 0.0005, 0.004, "a sync fails, and the pages count as clean (fsyncgate)"),
            ("eio-read", 0.002, 0.02, "a read fails once"),
            ("latent", 0.002, 0.02, "a sector cannot be read until it is written again"),
            ("rot", 0.002, 0.02, "a bit of what is being read has flipped, for good"),
            (
                "misdirect-write",
                0.0002,
                0.002,
                "a write goes to another place of its file, or to another file",
            ),
            ("misdirect-read", 0.001, 0.01, "a read returns another place's bytes"),
            (
                "lost-write",
                0.0002,
                0.002,
                "a write is reported done and never happens: later reads are stale",
            ),
            ("lies", 0.002, 0.02, "for a while, syncs are reported done and are not"),
        ],
    ),
    **_kinds(
        "clock",
        [
            ("offset", 0.3, 0.8, "the wall clock is off by up to a day after a start"),
            ("drift", 0.3, 0.8, "the wall clock runs up to a tenth fast or slow"),
            ("step", 0.005, 0.03, "the wall clock steps forwards or back by up to an hour"),
        ],
    ),
}


class Source:
    """Where one kind strikes one entity: a stream of decisions."""

    __slots__ = ("_book", "_draw", "count", "entity", "kind", "rate")

    def __init__(self, kind: str, entity: str, rate: float, draw: Callable[[], float], book: "Book") -> None:
        self.kind = kind
        self.entity = entity
        self.rate = rate
        self.count = 0
        self._draw = draw
        self._book = book

    def reseed(self, chance: Chance) -> None:
        """Decide by another stream from now on."""
        self._draw = chance.fork(f"{self.kind}/{self.entity}").draw

    def strikes(self, share: float = 1.0) -> float:
        """Decide once: 0.0 is no; else how hard, in (0, 1]. share: of the rate, at this decision."""
        self.count += 1
        draw = self._draw
        chance, strength = draw(), 1.0 - draw()
        if chance >= self.rate * share:
            return 0.0
        return strength if self._book.admits(self, strength) else 0.0


class Book:
    """The faults of one run. levels: of each kind; only: the keys that may strike, None: any.

    `quiet` is true while nothing may strike: at the start of a run, and at its end.
    """

    def __init__(
        self, chance: Chance, levels: Mapping[str, int], only: Iterable[str] | None, clock: Callable[[], int]
    ) -> None:
        self.levels = levels
        self.quiet = True
        self.struck: list[Struck] = []
        self.fired: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.on_strike: Callable[[Struck], None] = lambda _: None
        self._only = None if only is None else frozenset(only)
        self._chance = chance
        self._clock = clock
        self._sources: list[Source] = []

    def source(self, kind: str, entity: str) -> Source | None:
        """Give the decisions of a kind at an entity; None if the kind is off in this run."""
        level = self.levels.get(kind, OFF)
        if level == OFF:
            return None
        draw = self._chance.fork(f"{kind}/{entity}").draw
        source = Source(kind, entity, KINDS[kind].rates[level - 1], draw, self)
        self._sources.append(source)
        return source

    def reseed(self, chance: Chance) -> None:
        """Let every decision from now on be another one."""
        self._chance = chance
        for source in self._sources:
            source.reseed(chance)

    def is_on(self, kind: str) -> bool:
        """Say whether a kind may strike in this run at all."""
        return self.levels.get(kind, OFF) != OFF

    def admits(self, source: Source, strength: float) -> bool:
        """Let a decision strike, unless it may not; write it down."""
        if self.quiet:
            return False
        key = f"{source.kind}/{source.entity}/{source.count}"
        if self._only is not None and key not in self._only:
            return False
        self.fired[source.kind] += 1
        struck = Struck(self._clock(), key, strength)
        self.struck.append(struck)
        self.on_strike(struck)
        return True


def no_faults() -> Book:
    """Give a book in which nothing is on."""
    return Book(Chance(0), {}, None, lambda: 0)
