"""What one run looks like from outside: who said what to whom and when, what the disk did, how the logs grew.

A `Recorder` looks over the shoulder of the broker (each event and effect) and of the clients (each request and
answer). It takes notes and changes nothing: the run has the same hash with it and without. The notes are:

    spans    something of one lane that lasted: a life of the broker, a write, a sync, a request and its answer
    marks    something of one lane that happened: a fault, a crash, a warning, an operation of the history
    arrows   a request on its way to the broker, or an answer on its way to a client
    series   per partition: log start, high watermark and log end, whenever one of them moved
"""

from typing import Any

import attrs

from rafka.core.effects import (
    Effect,
    MakeDir,
    Note,
    Read,
    Rename,
    Send,
    Stop,
    Sync,
    SyncDir,
    Truncate,
    Unlink,
    Write,
)
from rafka.core.errors import ErrorCode
from rafka.core.events import Done, Event, Failed, Loaded, Received, Synced, Written
from rafka.core.machine import Entropy
from rafka.core.message import Message
from rafka.core.types import MonoNs, Now
from rafka.sim.broker import Broker
from rafka.sim.life import Boot, Checked
from rafka.sim.run import Outcome, Run, Wrap
from rafka.sim.shrink import Case, entity_of, kind_of
from rafka.sim.talk import Lost, Script, Wait
from rafka.sim.world import World

NOTES_MAX = 120_000
"""Spans, marks and arrows each: of more, the first are forgotten."""
WORDS_MAX = 220
EMPTY: tuple[object, ...] = (None, -1, 0, "", [], b"", bytes(16), (1 << 63) - 1)
BROKER, FAULTS, WRITES, SYNCS, NAMES, READS = range(6)
LANES = ("broker", "faults", "disk: writes", "disk: syncs", "disk: names", "disk: reads")
LANE_OF = {
    Write: WRITES, Sync: SYNCS, Read: READS, SyncDir: NAMES, Rename: NAMES, Unlink: NAMES, MakeDir: NAMES,
    Truncate: NAMES,
}  # fmt: skip
ANSWERS = (Written, Synced, Loaded, Done, Failed)
Span = tuple[int, int, int, str, str]
"""Lane, begin and end in ns, kind, words."""
Mark = tuple[int, int, str, str]
"""Lane, ns, kind, words."""
Arrow = tuple[int, int, int, int, str, str]
"""Lane and ns of one end, lane and ns of the other, kind, words."""
Level = tuple[int, int, int, int]
"""Time (ns), log start, high watermark, log end; all -1 while the broker is down."""


@attrs.define(eq=False)
class Recording:
    """The notes of a run, and its outcome. points: per partition, (ns, offset, value) of each acknowledgement."""

    outcome: Outcome
    lanes: list[str] = attrs.field(factory=lambda: list(LANES))
    spans: list[Span] = attrs.field(factory=list)
    marks: list[Mark] = attrs.field(factory=list)
    arrows: list[Arrow] = attrs.field(factory=list)
    series: dict[str, list[Level]] = attrs.field(factory=dict)
    points: dict[str, list[tuple[int, int, str]]] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Exchange:
    """Requests sent together, and their answers. arrived: when the broker first saw of it; answered: sent last."""

    lane: int
    asked_ns: int
    words: str
    arrived_ns: int = -1
    answered_ns: int = -1


def record(case: Case, wrap: Wrap | None = None) -> Recording:
    """Run a case, and take notes."""
    recorder = Recorder(wrap)
    outcome = case.run(keep_trace=True, history=True, wrap=recorder.wrap, prepare=recorder.prepare)
    return recorder.recording(outcome)


class Recorder:
    """Takes the notes of one run. wrap: what else is done to what is booted, for planted bugs."""

    def __init__(self, wrap: Wrap | None = None) -> None:
        self._wrap = wrap
        self._run: Run | None = None
        self._world: World | None = None
        self._broker: Broker | None = None
        self._lanes: dict[str, int] = {name: number for number, name in enumerate(LANES)}
        self._spans: list[Span] = []
        self._marks: list[Mark] = []
        self._arrows: list[Arrow] = []
        self._series: dict[str, list[Level]] = {}
        self._open: dict[int, _Exchange] = {}
        self._operations: dict[tuple[str, int], tuple[int, int, str]] = {}
        self._born_ns = -1

    def prepare(self, run: Run) -> None:
        """Be shown the run before it begins."""
        self._run = run
        self._world = run.world
        run.world.overhear = self._overheard
        crashed = run.world.on_crash

        def on_crash(how: str) -> None:
            self.died(how)
            crashed(how)

        run.world.on_crash = on_crash

    def wrap(self, boot: Boot) -> Boot:
        """Look over the shoulder of what is booted."""

        def kept(entropy: Entropy, now: Now) -> Checked:
            machine = boot(entropy, now)
            self._broker = machine if isinstance(machine, Broker) else None
            return machine

        inner = kept if self._wrap is None else self._wrap(kept)

        def booted(entropy: Entropy, now: Now) -> Checked:
            machine = inner(entropy, now)
            self._born_ns = self.time_ns
            return _Seen(machine, self)

        return booted

    @property
    def time_ns(self) -> int:
        """The world's time; the first boot is before there is one."""
        return 0 if self._world is None else self._world.time_ns

    # ---- the broker ----------------------------------------------------------------------------------

    def took(self, event: Event) -> None:
        """Note an event that the broker is about to be given."""
        if isinstance(event, Received):
            exchange = self._exchange_of(event.conn)
            if exchange is not None and exchange.arrived_ns < 0:
                exchange.arrived_ns = self.time_ns
        elif isinstance(event, ANSWERS):
            began = self._operations.pop((event.file, event.token), None)
            if isinstance(event, Failed):
                self._marks.append((WRITES, self.time_ns, "error", f"{event.op} {event.file}: {event.text}"))
            if began is not None:
                lane, at, words = began
                kind = "failed" if isinstance(event, Failed) else "disk"
                self._spans.append((lane, at, self.time_ns, kind, words))

    def gave(self, effect: Effect) -> None:
        """Note an effect."""
        lane = LANE_OF.get(type(effect))
        if lane is not None:
            words = _disk_words(effect)
            token: int = effect.token  # type: ignore[union-attr]  # those of LANE_OF have one
            if token:
                file: str = effect.file  # type: ignore[union-attr]
                self._operations[file, token] = (lane, self.time_ns, words)
            else:
                self._marks.append((lane, self.time_ns, "disk", words))
        elif isinstance(effect, Send):
            exchange = self._exchange_of(effect.conn)
            if exchange is not None:
                exchange.answered_ns = self.time_ns
        elif isinstance(effect, Note) and effect.level in ("warning", "error"):
            self._marks.append(
                (BROKER, self.time_ns, effect.level, f"{effect.name} {effect.fields}"[:WORDS_MAX])
            )
        elif isinstance(effect, Stop):
            self.died(f"it stops with {effect.code}")

    def turned(self) -> None:
        """Look at the logs after a turn."""
        broker = self._broker
        if broker is None or self._born_ns < 0:
            return
        for partition in broker.core.partitions:
            log = partition.log
            key = f"{partition.topic}-{partition.index}"
            level = (log.log_start_offset, partition.high_watermark, log.log_end_offset)
            known = self._series.setdefault(key, [])
            if not known or known[-1][1:] != level:
                known.append((self.time_ns, *level))

    def died(self, how: str) -> None:
        """End the life that is."""
        if self._born_ns < 0:
            return
        now = self.time_ns
        life = 1 if self._world is None else self._world.lives
        self._spans.append((BROKER, self._born_ns, now, "life", f"life {life}, ended by: {how}"))
        self._marks.append((BROKER, now, "crash", how))
        self._born_ns = -1
        for lane, at, words in self._operations.values():
            self._spans.append((lane, at, now, "cut", words + " – cut off"))
        self._operations.clear()
        for known in self._series.values():
            if known[-1][3] >= 0:
                known.append((now, -1, -1, -1))

    def _exchange_of(self, conn: int) -> _Exchange | None:
        life = None if self._world is None else self._world.life
        wire = None if life is None else life.network.wires.get(conn)  # type: ignore[call-overload]
        return None if wire is None else self._open.get(self._lane(wire.peer.entity))

    # ---- clients -------------------------------------------------------------------------------------

    def _lane(self, name: str) -> int:
        return self._lanes.setdefault(name, len(self._lanes))

    def _overheard(self, name: str, script: Script) -> Script:
        """Pass a script's steps and their answers on, and note them."""
        lane = self._lane(entity_from(name))
        try:
            step = next(script)
            while True:
                if isinstance(step, list):
                    words = " + ".join(map(words_of, step))[:WORDS_MAX]
                    self._open[lane] = _Exchange(lane, self.time_ns, words)
                try:
                    answers = yield step
                except Lost:
                    self._close(lane, "lost", "no answer")
                    step = script.throw(Lost())
                    continue
                if isinstance(step, Wait) or answers is None:
                    step = next(script)
                else:
                    self._close(lane, "request", " + ".join(map(words_of, answers))[:WORDS_MAX])
                    step = script.send(answers)
        except StopIteration:
            return

    def _close(self, lane: int, kind: str, words: str) -> None:
        exchange = self._open.pop(lane, None)
        if exchange is None:
            return
        now = self.time_ns
        told = f"{exchange.words}  ⟶  {words}"
        self._spans.append((lane, exchange.asked_ns, now, kind, told))
        if exchange.arrived_ns >= 0:
            self._arrows.append(
                (lane, exchange.asked_ns, BROKER, exchange.arrived_ns, "request", exchange.words)
            )
        if exchange.answered_ns >= 0 and kind == "request":
            self._arrows.append((BROKER, exchange.answered_ns, lane, now, "answer", words))

    # ---- the end -------------------------------------------------------------------------------------

    def recording(self, outcome: Outcome) -> Recording:
        """Return the notes, once the run is over."""
        for lane in list(self._open):
            self._close(lane, "open", "the run ends here")
        if self._born_ns >= 0:
            self._spans.append(
                (BROKER, self._born_ns, self.time_ns, "life", "its last life: the run ends here")
            )
        for struck in outcome.decisions:
            words = f"{struck.key}, strength {struck.strength:.3f}"
            self._marks.append((FAULTS, struck.time_ns, "fault", words))
            number = self._lanes.get(entity_of(struck.key), FAULTS)
            if number == FAULTS and kind_of(struck.key).startswith("proc."):
                number = BROKER
            if number != FAULTS:
                self._marks.append((number, struck.time_ns, "fault", words))
        points = self._told(outcome)
        return Recording(
            outcome,
            list(self._lanes),
            sorted(self._spans, key=lambda s: s[1])[-NOTES_MAX:],
            sorted(self._marks, key=lambda m: m[1])[-NOTES_MAX:],
            sorted(self._arrows, key=lambda a: a[1])[-NOTES_MAX:],
            self._series,
            points,
        )

    def _told(self, outcome: Outcome) -> dict[str, list[tuple[int, int, str]]]:
        """Mark the operations of the history in the lanes of their clients; return what was acknowledged."""
        assert self._run is not None
        names = self._run.scene.process_names()
        points: dict[str, list[tuple[int, int, str]]] = {}
        for line in outcome.history:
            lane = self._lane(entity_from(names.get(line["process"], str(line["process"]))))
            words = f"{line['type']} {line['f']} {line['value']}"[:WORDS_MAX]
            self._marks.append((lane, line["time"], line["type"], words))
            if line["type"] == "ok" and line["f"] == "send":
                for _, key, (offset, sent) in line["value"]:
                    points.setdefault(key, []).append((line["time"], offset, str(sent)))
        return points


class _Seen:
    """A machine whose events and effects are noted."""

    def __init__(self, machine: Checked, recorder: Recorder) -> None:
        self._machine = machine
        self._recorder = recorder
        self.core: Any = getattr(machine, "core", None)

    def handle(self, event: Event, now: Now) -> None:
        self._recorder.took(event)
        self._machine.handle(event, now)

    def tick(self, now: Now) -> None:
        self._machine.tick(now)

    def drain(self) -> list[Effect]:
        effects = self._machine.drain()
        for effect in effects:
            self._recorder.gave(effect)
        return effects

    def deadline(self) -> MonoNs | None:
        return self._machine.deadline()

    def check(self) -> None:
        self._recorder.turned()
        self._machine.check()


def entity_from(name: str) -> str:
    """Return the client of an incarnation ("producer-0.2") or of a process of the history ("producer-0.2.0.1")."""
    return name.partition(".")[0]


def words_of(message: Message) -> str:
    """Say a message in few words: its fields that are not empty."""
    return f"{type(message).__name__.removesuffix('Request').removesuffix('Response')} {_fields(message)}"


def _fields(thing: object) -> str:
    if isinstance(thing, Message):
        named = ((name, getattr(thing, name)) for name in type(thing).__slots__ if name != "topic_id")
        said = [_field(name, found) for name, found in named if found not in EMPTY]
        return "(" + ", ".join(filter(None, said)) + ")"
    if isinstance(thing, list):
        return "[" + ", ".join(map(_fields, thing[:8])) + ("…" if len(thing) > 8 else "") + "]"
    if isinstance(thing, bytes | bytearray | memoryview):
        return f"‹{len(thing)} bytes›"
    return str(thing)[:60]


def _field(name: str, found: object) -> str:
    if name == "error_code" and isinstance(found, int):
        return ErrorCode(found).name
    text = _fields(found)
    return "" if text == "()" else f"{name} {text}"


def _disk_words(effect: Any) -> str:
    name = type(effect).__name__
    if isinstance(effect, Write):
        return f"Write {effect.file} at {effect.position}, {sum(map(len, effect.buffers))} bytes"
    if isinstance(effect, Read):
        return f"Read {effect.file} at {effect.position}, {effect.length} bytes"
    if isinstance(effect, Rename):
        return f"Rename {effect.file} to {effect.to}"
    if isinstance(effect, Truncate):
        return f"Truncate {effect.file} to {effect.length} bytes"
    return f"{name} {effect.file}"
