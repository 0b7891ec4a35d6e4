"""A broker, its clients, a disk and a network in one process and one thread, under a virtual clock, from one seed.

    world = World(seed, boot)                  # boot makes the machine: a Server around a node
    world.talk("producer", script)             # scripted clients, see talk.py
    world.break_down(3, within_ms=2000)        # kills and power losses at random times, each with a restart
    world.run()                                # until every script is done
    world.trace.digest                         # the same for the same seed, everywhere

The seed also draws the weather (how slow disk, network and turns are), so that seeds differ in more than order.
A kill loses the process and keeps what the kernel has; a power loss also tears the disk. Any exception that
comes out of `run` names the seed. `levels` turns on kinds of faults, see faults.py.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

from rafka.core.types import ConnId
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk
from rafka.sim.faults import Book, Struck
from rafka.sim.life import DAY_MS, DRIFT, MS, Boot, Life, Watch, Weather
from rafka.sim.network import Lines, Peer, Wire
from rafka.sim.storage import DiskFaults
from rafka.sim.talk import Client, Script, Talker
from rafka.sim.trace import CRASHED, STARTED, STRUCK, Trace

HAPPENINGS_MAX = 20_000_000
LOSSES = ("suffix", "pages", "torn", "files")


class Stuck(Exception):
    """Not everything was done in the time, or the number of events, allowed."""


class World:
    """Everything there is. `life` is the broker's process, None while it is down."""

    wall_offset_ms = 0
    """By how much the broker's wall clock is ahead of the simulator's usual one."""

    def __init__(
        self,
        seed: int,
        boot: Boot,
        *,
        keep_trace: bool = False,
        levels: Mapping[str, int] | None = None,
        only: Iterable[str] | None = None,
        weather: Weather | None = None,
    ) -> None:
        self.seed = seed
        self.time_ns = 0
        self.disk = Disk()
        self.trace = Trace(keep=keep_trace)
        self.life: Life | None = None
        self.lives = 0
        self.crashes: list[str] = []
        """What has happened to the broker: "kill", "power"."""
        self.talkers: list[Client] = []
        self._busy: list[Client] = []
        """All that may not be done."""
        self.handed = 0
        self.popped = 0
        """Entries taken from the heap."""
        self.slices_missed = 0
        self.damaged: dict[str, int] = {}
        """Files whose bytes faults have changed, and when (ns)."""
        self.on_crash: Callable[[str], None] = lambda _: None
        """Told of each crash, after the disk has had its share of it."""
        self.watch = Watch()
        self.overhear: Callable[[str, Script], Script] = lambda _, script: script
        """Given each client's name and script; may return one that says the same and takes notes."""
        self._chance = Chance(seed, "world")
        self.weather = weather or _drawn(self._chance.fork("weather"))
        self.book = Book(self._chance.fork("faults"), levels or {}, only, lambda: self.time_ns)
        self.book.on_strike = self._struck
        self.lines = Lines(self.book)
        self.disk_faults = DiskFaults(self.book, self.disk, self._chance.fork("harm"), self._damage)
        self._losses = {name: self.book.source(f"loss.{name}", "disk") for name in (*LOSSES, "names")}
        self._has_losses = any(self._losses.values())
        self._clocks = {name: self.book.source(f"clock.{name}", "broker") for name in ("offset", "drift")}
        self._boot = boot
        self._heap: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._count = 0
        self._conns = 0
        self.start()

    # ---- time ----------------------------------------------------------------------------------------

    def at(self, time_ns: int, action: Callable[[Any], None], subject: Any) -> None:
        """Call `action` with `subject` at a time; of equal times the first given goes first."""
        assert time_ns >= self.time_ns, "time does not go back"
        self._count = count = self._count + 1
        heappush(self._heap, (time_ns, count, action, subject))

    def run(
        self,
        until: Callable[[], bool] | None = None,
        *,
        limit_ms: int = 600_000,
        events_max: int = HAPPENINGS_MAX,
    ) -> None:
        """Let time pass until the condition holds (none: every script is done); Stuck if it does not in time."""
        done = until or self._all_done
        heap = self._heap
        limit_ns = self.time_ns + limit_ms * MS
        popped_max = self.popped + events_max
        try:
            while not done():
                if not heap or heap[0][0] > limit_ns or self.popped >= popped_max:
                    self._is_stuck()
                self.popped += 1
                self.time_ns, _, action, subject = heappop(heap)
                action(subject)
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.time_ns} ns, crashes: {self.crashes}")
            raise

    def pass_time(self, duration_ms: int) -> None:
        """Let so much time pass."""
        until = self.time_ns + duration_ms * MS
        heap = self._heap
        try:
            while heap and heap[0][0] <= until:
                self.popped += 1
                self.time_ns, _, action, subject = heappop(heap)
                action(subject)
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.time_ns} ns, crashes: {self.crashes}")
            raise
        self.time_ns = until

    def _is_stuck(self) -> None:
        waiting = [talker.name for talker in self.talkers if not talker.is_done]
        raise Stuck(f"after {self.time_ns // MS} ms, waiting: {waiting}")

    def _all_done(self) -> bool:
        """Say whether nobody has anything to do any more; asked before each event, so the done are looked at once."""
        busy = self._busy
        while busy and busy[-1].is_done:
            busy.pop()
        return not busy

    # ---- clients -------------------------------------------------------------------------------------

    def talk(self, name: str, script: Script, *, timeout_ms: int = 0) -> Talker:
        """Add a client; it begins in a moment. timeout_ms: how long it waits for answers; 0: for ever."""
        talker = Talker(name, self.overhear(name, script), self, timeout_ms=timeout_ms)
        self.join(talker)
        return talker

    def join(self, client: Client) -> None:
        """Add a client of any kind; it begins in a moment."""
        self.talkers.append(client)
        self._busy.append(client)
        self.at(self.time_ns + self._chance.around(MS), _start, client)

    def dial(self, talker: Peer) -> Wire | None:
        """Connect a client; None if the broker is down or does not listen yet, or the network refuses."""
        if self.life is None or not self.life.port:
            return None
        self._conns += 1
        return self.life.accept(ConnId(self._conns), talker)

    # ---- the broker ----------------------------------------------------------------------------------

    def start(self, _: object = None) -> None:
        """Start the broker's process."""
        assert self.life is None or not self.life.is_alive
        self.lives += 1
        self.trace.note(self.time_ns, STARTED, self.lives)
        struck = {k: source.strikes() if source is not None else 0.0 for k, source in self._clocks.items()}
        offset_ms = self.wall_offset_ms
        offset_ms += int((struck["offset"] - 0.5) * 2 * DAY_MS) if struck["offset"] else 0
        rate = 1.0 + 2 * DRIFT * (struck["drift"] - 0.5) if struck["drift"] else 1.0
        chance = self._chance.fork(f"life {self.lives}")
        self.life = Life(self._boot, self, chance, wall_offset_ms=offset_ms, wall_rate=rate)

    def crash(self, *, power: bool) -> None:
        """Kill the broker now; with `power`, what was not synced may be lost, torn or out of order."""
        assert self.life is not None
        self.crashes.append("power" if power else "kill")
        self.trace.note(self.time_ns, CRASHED, power)
        life, self.life = self.life, None
        life.kill()
        self.slices_missed += life.network.slices_missed
        if power:
            self._lose_power()
        self.on_crash(self.crashes[-1])

    def break_down(self, times: int, *, within_ms: int, power: float = 0.5) -> None:
        """Crash so many times at random moments from now, and start again each time a little later.

        power: the share of crashes that are power losses.
        """
        moments = sorted(self._chance.below(within_ms * MS) for _ in range(times))
        for moment in moments:
            self.at(self.time_ns + moment, self._break_down, power)

    def stop(self) -> int:
        """Ask the broker to end, wait until it has, and give its exit code."""
        life = self.life
        assert life is not None
        life.terminate()
        self.run(lambda: life.exit_code is not None)
        self.life = None
        assert life.exit_code is not None
        return life.exit_code

    def _break_down(self, power: float) -> None:
        if self.life is None:
            return  # it is down already
        self.crash(power=self._chance.happens(power))
        self.at(self.time_ns + 1 + self._chance.around(30 * MS), self.start, None)

    def _lose_power(self) -> None:
        random = self._chance.fork(f"crash {len(self.crashes)}").random
        if not self._has_losses and not self.book.levels:
            self.disk.crash(random)
            return
        modes = [name for name in LOSSES if self._losses[name] is not None]
        mode = "nothing"
        if modes:
            source = self._losses[modes[int(random.random() * len(modes))]]
            if source is not None and source.strikes():
                mode = source.kind.removeprefix("loss.")
        names = self._losses["names"]
        self.disk.crash(random, mode, names=names is not None and names.strikes() > 0)

    def _damage(self, file: str) -> None:
        self.damaged.setdefault(file, self.time_ns)

    def _struck(self, struck: Struck) -> None:
        self.trace.note(self.time_ns, STRUCK, len(self.book.struck) & 0xFFFF_FFFF)
        if self.trace.keeps:
            self.trace.tell("faults", struck.key)


def _start(client: Client) -> None:
    client.start()


def _drawn(chance: Chance) -> Weather:
    """Draw the means: each from its own order of magnitude."""

    def one_of(*means_us: int) -> int:
        return 1000 * means_us[chance.below(len(means_us))]

    return Weather(
        disk_ns=one_of(10, 100, 1000, 5000), net_ns=one_of(10, 100, 2000), turn_ns=one_of(1, 20, 300)
    )
