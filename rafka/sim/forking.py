"""A recorded node goes on in the simulator: from any turn of a replay, with new clients, and faults from a seed.

The machine is the replayed one, as it was after that turn, in the middle of whatever it was doing. Its disk is a
simulated one that holds what the recording says of the real: every write since it began, what of it was synced and
what was not (so that a power loss tears what it would have torn), and what was read. What was asked of the disk and
not yet answered is asked of the simulated one. Connections are lost. The clocks go on.

Bytes that were there before the recording and that the node has not read are not in it. Where a file has such bytes,
the node's data directory (or a copy of it) must be there too: logs are only appended to, so they still hold them.

The clients are those of `rafka sim`, with topics and groups of their own. Of what the node had before, all that was
durable at the fork must be so at the end.
"""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from rafka.core.config.settings import Settings
from rafka.core.effects import DiskEffect, Effect, Listen, Read, Rename, Stop, Write
from rafka.core.events import Connected, Disconnected, DiskEvent, Event, Failed, Listed, Listening, Loaded
from rafka.core.machine import Entropy
from rafka.core.recording.format import RecordingError, Turn
from rafka.core.types import ConnId, Now
from rafka.sim.broker import Broker
from rafka.sim.disk import OPS, Disk, Inode
from rafka.sim.knobs import Knobs
from rafka.sim.ledger import Violation
from rafka.sim.life import WALL_MS, Boot, Checked, Life
from rafka.sim.profile import Profile
from rafka.sim.replaying import Replay, broker_of
from rafka.sim.run import Run
from rafka.sim.trace import STARTED
from rafka.sim.world import World

DISK_KINDS = frozenset(OPS)

Spans = list[tuple[int, int]]
"""Stretches of a file, from a first byte to the one after the last, in order."""


class Shadow:
    """What a recording says of the node's disk and connections: feed it every turn of a replay."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.conns: dict[ConnId, None] = {}
        self.last_conn = 0
        self.port = 0
        self.listens: list[Listen] = []
        self.has_stopped = False
        self.unknown: dict[Inode, Spans] = {}
        """What of each file is not known; files of which all is known are not there."""
        self._asked: dict[str, deque[DiskEffect]] = {}
        """What was asked of each file, and is not done as far as the node knows."""
        self.early: dict[int, DiskEvent] = {}
        """Answers to what is done, because something later of the file was answered, but not yet told: by token."""
        self.foreign = 0
        """Answers to what was asked before the recording began."""

    def took(self, turn: Turn, effects: Sequence[Effect]) -> None:
        """Take what happened in a turn: its events, and then its effects."""
        for event in turn.events:
            self._event(event)
        for effect in effects:
            kind = type(effect)
            if kind in DISK_KINDS:
                self._asked.setdefault(effect.file, deque()).append(effect)  # type: ignore[union-attr, arg-type]
            elif isinstance(effect, Listen):
                self.listens.append(effect)
            elif kind is Stop:
                self.has_stopped = True

    @property
    def pending(self) -> list[DiskEffect]:
        """What is to be done yet: of each file in order."""
        return [effect for queue in self._asked.values() for effect in queue]

    def _event(self, event: Event) -> None:
        if isinstance(event, Connected):
            self.conns[event.conn] = None
            self.last_conn = max(self.last_conn, event.conn)
        elif isinstance(event, Disconnected):
            self.conns.pop(event.conn, None)
        elif isinstance(event, Listening):
            self.port = self.port or event.port
            self.listens = [one for one in self.listens if one.token != event.token]
        elif hasattr(event, "token"):
            self._answered(event)

    def _answered(self, event: Any) -> None:
        """Do what was asked of the file up to what this answers."""
        queue = self._asked.get(event.file)
        if queue is None or not any(effect.token == event.token for effect in queue):
            if self.early.pop(event.token, None) is None:
                self.foreign += event.token != 0
            return
        while queue:
            effect = queue.popleft()
            is_it = effect.token == event.token
            self._do(effect, event if is_it else None)
            if is_it:
                break
        if not queue:
            del self._asked[event.file]

    def _do(self, effect: DiskEffect, answer: Event | None) -> None:
        if isinstance(answer, Failed):
            self.disk.fail_now(effect, answer.errno, 0.5)
        elif isinstance(answer, Loaded) and isinstance(effect, Read):
            self._loaded(effect, answer.data)
        elif isinstance(answer, Listed):
            self._listed(answer)
        elif isinstance(effect, Rename):
            for other in self._asked.pop(effect.to, ()):
                self._do(other, None)
            self._perform(effect, answer)
        elif type(effect) in DISK_KINDS:
            self._perform(effect, answer)
            if isinstance(effect, Write):
                self._known(effect.file, effect.position, sum(map(len, effect.buffers)))

    def _perform(self, effect: DiskEffect, answer: Event | None) -> None:
        found = self.disk.perform(effect)
        if answer is None and effect.token:
            self.early[effect.token] = found

    # ---- what was there before -----------------------------------------------------------------------

    def _listed(self, listed: Listed) -> None:
        for entry in listed.entries:
            name = f"{listed.file}/{entry.name}" if listed.file else entry.name
            if name in self.disk.files:
                continue
            if entry.is_dir:
                self.disk.plant(name, None)
                continue
            inode = Inode()
            inode.data = bytearray(entry.size)
            inode.synced = bytearray(entry.size)
            inode.modified_ms = entry.modified_ms
            self.disk.plant(name, inode)
            if entry.size and listed.file:  # the node reads nothing beside its logs' directories unlisted
                self.unknown[inode] = [(0, entry.size)]

    def _loaded(self, effect: Read, data: bytes) -> None:
        inode = self.disk.files.get(effect.file)
        if inode is None:
            inode = Inode()
            self.disk.plant(effect.file, inode)
        end = effect.position + len(data)
        for content in (inode.data, inode.synced):
            if len(content) < end and not inode.unsynced:
                content.extend(bytes(end - len(content)))
        if inode in self.unknown:
            for start, stop in _within(self.unknown[inode], effect.position, end):
                part = data[start - effect.position : stop - effect.position]
                inode.data[start:stop] = part
                inode.synced[start:stop] = part
        elif not inode.unsynced and len(data) and bytes(inode.data[effect.position : end]) != data:
            inode.data[effect.position : end] = data
            inode.synced[effect.position : end] = data
        self._known(effect.file, effect.position, len(data))

    def _known(self, file: str, position: int, length: int) -> None:
        inode = self.disk.files.get(file)
        spans = self.unknown.get(inode) if inode is not None else None
        if inode is None or spans is None:
            return
        left = [part for start, stop in spans for part in _without(start, stop, position, position + length)]
        if left:
            self.unknown[inode] = left
        else:
            del self.unknown[inode]

    def complete(self, data_dir: str | None) -> None:
        """Fill in what is not known, from the node's directory. Raises: RecordingError naming what is missing."""
        missing = []
        for name, inode in self.disk.files.items():
            spans = self.unknown.get(inode) if inode is not None else None
            if inode is None or spans is None:
                continue
            spans = [(start, min(stop, len(inode.data))) for start, stop in spans if start < len(inode.data)]
            if spans and not (data_dir is not None and _read_into(inode, spans, Path(data_dir) / name)):
                missing.append(name)
        self.unknown.clear()
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise RecordingError(
                f"the recording does not hold all of {missing[0]}{more}, which were there before it: name the node's "
                "data directory, or a copy of it, with --data-dir"
            )


def _read_into(inode: Inode, spans: Spans, path: Path) -> bool:
    """Copy stretches of a real file; False if they are not there."""
    try:
        with path.open("rb") as file:
            for start, stop in spans:
                part = os.pread(file.fileno(), stop - start, start)
                if len(part) < stop - start:
                    return False
                inode.data[start:stop] = part
                inode.synced[start:stop] = part
    except OSError:
        return False
    return True


def _within(spans: Spans, start: int, stop: int) -> Spans:
    both = [(max(a, start), min(b, stop)) for a, b in spans]
    return [(a, b) for a, b in both if a < b]


def _without(start: int, stop: int, cut: int, end: int) -> Spans:
    parts = [(start, min(stop, cut)), (max(start, end), stop)]
    return [(a, b) for a, b in parts if a < b]


# ---- going on ------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Fork:
    """Where a replay was left: everything that a world needs to go on from there."""

    replay: Replay
    shadow: Shadow
    now: Now

    def machine(self, entropy: Entropy, _: Now) -> Checked:
        """Give the machine as it is, with new chance."""
        self.replay.chance.successor = entropy
        return self.replay.broker

    def boot(self, entropy: Entropy, _: Now) -> Checked:
        """Make the machine of the node's next process."""
        return broker_of(self.replay.chain.header, entropy)


def fork_at(turns: Iterable[tuple[Turn, list[Effect]]], replay: Replay, data_dir: str | None) -> Fork:
    """Let a replay go to where its `turns` end, and stop there. Raises: Found, RecordingError."""
    shadow, now = Shadow(), None
    if replay.chain.header.frozen:
        raise RecordingError(
            "the start of this life is no longer in the recording, and with it which files the node had: only a life "
            "that was recorded from its start can be forked (--record-bytes says how much is kept)"
        )
    for turn, effects in turns:
        shadow.took(turn, effects)
        now = turn.now
    if now is None:
        raise RecordingError("the recording has no turn to go on from")
    if replay.gaps:
        raise RecordingError(
            "the recording has gaps, in which files may have changed: it cannot be forked behind one"
        )
    if shadow.has_stopped or replay.broker.core.shutdown.has_begun:
        raise RecordingError(
            f"in turn {replay.turn} the node is about to stop: go on from one before, with --until"
        )
    owed = (
        set(replay.broker.core.out.owners)
        - {e.token for e in (*shadow.pending, *shadow.listens)}
        - shadow.early.keys()
    )
    if owed:
        raise RecordingError(
            f"turn {replay.turn} waits for {len(owed)} operations that were begun before the recording: go on from a "
            "later one, with --until"
        )
    shadow.complete(data_dir)
    return Fork(replay, shadow, now)


class ForkedWorld(World):
    """A world whose first life is the forked one."""

    def __init__(self, seed: int, fork: Fork, **how: Any) -> None:
        self.fork = fork
        self.wall_offset_ms = fork.now.wall - WALL_MS
        super().__init__(seed, fork.boot, **how)

    def start(self, _: object = None) -> None:
        """Start the broker's process; the first one is under way."""
        if self.lives:
            super().start()
            return
        fork, shadow = self.fork, self.fork.shadow
        self.lives = 1
        self.trace.note(self.time_ns, STARTED, 1)
        for part in ("files", "_durable", "_children"):
            setattr(self.disk, part, getattr(shadow.disk, part))
        life = self.life = Life(fork.machine, self, self._chance.fork("life 1"))
        lost = [Disconnected(conn, "the fork has no such peer") for conn in shadow.conns]
        events: list[Event] = [*shadow.early.values(), *lost]
        life.resume(fork.now, shadow.port, events)
        for effect in (*shadow.pending, *shadow.listens):
            life.perform(effect)
        self._conns = shadow.last_conn


class ForkedRun(Run):
    """A run of `rafka sim` whose broker is a recorded one."""

    PREFIX = "fork"

    def __init__(self, seed: int, profile: Profile, fork: Fork, **how: Any) -> None:
        self.fork = fork
        defaults: dict[str, Any] = dict.fromkeys(("only", "time_ms", "clients", "wrap"))
        super().__init__(seed, profile, **{**defaults, "keep_trace": False, "history": False, **how})
        self._kept = {name: bytes(inode.synced) for name, inode in _logs(self.world.disk)}

    def _fitted(self, knobs: Knobs) -> Knobs:
        """Let clients, and what is checked, obey the settings of the node."""
        settings = Settings.from_pairs(self.fork.replay.chain.header.settings)
        rest_ms = settings.group_initial_rebalance_delay_ms
        session_ms = max(knobs.session_ms, settings.group_min_session_timeout_ms)
        return attrs.evolve(  # type: ignore[misc]  # a value is an attrs class
            knobs,
            flush_os=settings.flush == "os",
            session_ms=min(session_ms, settings.group_max_session_timeout_ms),
            rebalance_delay_ms=rest_ms,
            retention_ms=0,  # whatever the topics' retention is: what it deletes is excused
        )

    def _built(self, boot: Boot, *, keep_trace: bool, only: Iterable[str] | None) -> World:
        del boot
        return ForkedWorld(self.seed, self.fork, keep_trace=keep_trace, levels=self.levels, only=only)

    def _may_have_given_up(self) -> bool:
        """Take into account what the real disk did to the node before the fork."""
        machine = self.world.life and self.world.life.machine
        if isinstance(machine, Broker) and any(one.log.is_offline for one in machine.core.partitions):
            return True
        return super()._may_have_given_up()

    def _verify(self) -> None:
        super()._verify()
        self._phase = "compare"
        disk, ledger = self.world.disk, self.ledger
        machine = self.world.life and self.world.life.machine
        for name, kept in self._kept.items():
            directory = name.partition("/")[0]
            inode = disk.files.get(name)
            if (
                inode is None
                or ledger.is_damaged(directory)
                or ledger.lies
                or _is_rewritten(machine, directory)
            ):
                continue
            ledger.count("logs of the node kept")
            if bytes(inode.data[: len(kept)]) != kept:
                raise Violation(
                    "LO1", f"{name}: of {len(kept)} bytes that were durable at the fork not all are left"
                )


def _logs(disk: Disk) -> list[tuple[str, Inode]]:
    found = ((name, inode) for name, inode in sorted(disk.files.items()) if inode is not None)
    return [(name, inode) for name, inode in found if "/" in name and name.endswith(".log")]


def _is_rewritten(machine: object, directory: str) -> bool:
    """Say whether a log is compacted, or gone: then its files are not what they were."""
    if not isinstance(machine, Broker) or directory.startswith("__"):
        return True
    topic, _, index = directory.rpartition("-")
    partition = machine.core.partitions.find(topic, int(index)) if index.isdecimal() else None
    return partition is None or partition.log.config.cleanup_compact
