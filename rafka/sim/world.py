"""A broker, its clients, a disk and a network in one process and one thread, under a virtual clock, from one seed.

    world = World(seed, boot)                  # boot makes the machine: a Server around a node
    world.talk("producer", script)             # scripted clients, see talk.py
    world.break_down(3, within_ms=2000)        # kills and power losses at random times, each with a restart
    world.run()                                # until every script is done
    world.trace.digest                         # the same for the same seed, everywhere

The seed also draws the weather (how slow disk, network and turns are), so that seeds differ in more than order.
A kill loses the process and keeps what the kernel has; a power loss also tears the disk. Any exception that
comes out of `run` names the seed.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from rafka.core.types import ConnId
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk
from rafka.sim.life import MS, Boot, Life, Weather
from rafka.sim.network import Wire
from rafka.sim.talk import Script, Talker
from rafka.sim.trace import Trace

HAPPENINGS_MAX = 5_000_000


class Stuck(Exception):
    """Not everything was done in the time allowed."""


class World:
    """Everything there is. `life` is the broker's process, None while it is down."""

    def __init__(self, seed: int, boot: Boot, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.time_ns = 0
        self.disk = Disk()
        self.trace = Trace(keep=keep_trace)
        self.life: Life | None = None
        self.lives = 0
        self.crashes: list[str] = []
        """What has happened to the broker: "kill", "power"."""
        self.talkers: list[Talker] = []
        self._chance = Chance(seed, "world")
        self.weather = _drawn(self._chance.fork("weather"))
        self._boot = boot
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._conns = 0
        self.start()

    # ---- time ----------------------------------------------------------------------------------------

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Run `action` at a time; of equal times the first given goes first."""
        assert time_ns >= self.time_ns, "time does not go back"
        self._count += 1
        heappush(self._heap, (time_ns, self._count, action))

    def run(self, until: Callable[[], bool] | None = None, *, limit_ms: int = 600_000) -> None:
        """Let time pass until the condition holds (none: every script is done); Stuck if it does not in time."""
        done = until or (lambda: all(talker.is_done for talker in self.talkers))
        limit_ns = self.time_ns + limit_ms * MS
        try:
            while not done():
                self._go_on(limit_ns)
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.time_ns} ns, crashes: {self.crashes}")
            raise

    def _go_on(self, limit_ns: int) -> None:
        if not self._heap or self._heap[0][0] > limit_ns or self._count > HAPPENINGS_MAX:
            waiting = [talker.name for talker in self.talkers if not talker.is_done]
            raise Stuck(f"after {self.time_ns // MS} ms, waiting: {waiting}")
        self.time_ns, _, action = heappop(self._heap)
        action()

    # ---- clients -------------------------------------------------------------------------------------

    def talk(self, name: str, script: Script) -> Talker:
        """Add a client; it begins in a moment."""
        talker = Talker(name, script, self)
        self.talkers.append(talker)
        self.at(self.time_ns + self._chance.around(MS), talker.start)
        return talker

    def dial(self, talker: Talker) -> Wire | None:
        """Connect a client; None if the broker is down or does not listen yet."""
        if self.life is None or not self.life.port:
            return None
        self._conns += 1
        return self.life.accept(ConnId(self._conns), talker)

    # ---- the broker ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the broker's process."""
        assert self.life is None or not self.life.is_alive
        self.lives += 1
        chance = self._chance.fork(f"life {self.lives}")
        self.life = Life(self._boot, self, self.disk, chance, self.weather, self.trace)

    def crash(self, *, power: bool) -> None:
        """Kill the broker now; with `power`, what was not synced may be lost, torn or out of order."""
        assert self.life is not None
        self.crashes.append("power" if power else "kill")
        self.trace.note(self.time_ns, self.crashes[-1])
        life, self.life = self.life, None
        life.kill()
        if power:
            self.disk.crash(self._chance.fork(f"crash {len(self.crashes)}").random)

    def break_down(self, times: int, *, within_ms: int, power: float = 0.5) -> None:
        """Crash so many times at random moments from now, and start again each time a little later.

        power: the share of crashes that are power losses.
        """
        moments = sorted(self._chance.below(within_ms * MS) for _ in range(times))
        for moment in moments:
            self.at(self.time_ns + moment, lambda: self._break_down(power))

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
        self.at(self.time_ns + 1 + self._chance.around(30 * MS), self.start)


def _drawn(chance: Chance) -> Weather:
    """Draw the means: each from its own order of magnitude."""

    def one_of(*means_us: int) -> int:
        return 1000 * means_us[chance.below(len(means_us))]

    return Weather(
        disk_ns=one_of(10, 100, 1000, 5000), net_ns=one_of(10, 100, 2000), turn_ns=one_of(1, 20, 300)
    )
