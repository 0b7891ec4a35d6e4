"""Trouble on purpose: decides, every NEMESIS_MS and at telling moments, what the world does to broker and clients.

Faults of connections and of the disk strike where they happen (network.py, storage.py); here are those that need a
view of the whole: kills, power losses, pauses, restarts, clock steps, clients that die or sleep, and cuts.
"""

from collections.abc import Callable

from rafka.core.effects import Effect, Listen, Rename, Send, Sync, SyncDir, Truncate, Unlink, Write
from rafka.core.node.startup import CANNOT_START
from rafka.sim.chance import Chance
from rafka.sim.faults import Source
from rafka.sim.life import MS, Watch
from rafka.sim.talk import Client
from rafka.sim.world import World

NEMESIS_MS = 50
DOWN_NS = 30 * MS
SLOW_REBOOT_NS = 4_000 * MS
PAUSE_NS = 3_000 * MS
CUT_NS = 3_000 * MS
SLEEP_NS = 6_000 * MS
SLOW_CPU_NS = 2_000 * MS
STEP_MS = 3_600_000
SITES_ACTIVE = 0.25
SITE_RATE = 0.25
KILLS_MAX = 40
"""No more crashes than that in one run: a broker that never comes up shows nothing."""
SITE_KINDS = (Write, Sync, SyncDir, Rename, Truncate, Unlink, Send)
TELLING = (Rename, Truncate, Unlink)
OF_CLIENTS = ("client.crash", "client.zombie", "client.hang-up", "net.clog")


class Nemesis(Watch):
    """One run's. `clients`: names to talkers that may be killed, with what makes the next one."""

    def __init__(self, world: World, chance: Chance) -> None:
        self.world = world
        self.clients: dict[str, Client] = {}
        self.is_active = False
        self.reborn: list[str] = []
        """Names of clients that were killed, to be started anew by whoever made them."""
        self.may_lose_power = True
        self.on_listen: Callable[[], None] = lambda: None
        """Told when the broker is about to listen: all its logs are open, and nothing is new in them."""
        self._chance = chance
        self._broker = {
            kind: world.book.source(f"proc.{kind}", "broker")
            for kind in (
                "kill",
                "power",
                "slow-reboot",
                "crash-loop",
                "pause",
                "slow-cpu",
                "shutdown",
                "trigger",
            )
        }
        self._step = world.book.source("clock.step", "broker")
        self._swizzle = world.book.source("net.swizzle", "clients")
        self._sites: dict[str, Source | None] = {}
        self._hits: dict[str, int] = {}
        self._of_clients: dict[str, list[Source]] = {}
        """By client those of its kinds that are on."""
        world.watch = self

    def begin(self) -> None:
        """Let trouble start."""
        self.is_active = True
        self.world.at(self.world.time_ns + NEMESIS_MS * MS, self._look, None)

    def _strikes(self, kind: str) -> float:
        source = self._broker[kind]
        return source.strikes() if source is not None else 0.0

    # ---- every so often ------------------------------------------------------------------------------

    def _look(self, _: None) -> None:
        if not self.is_active:
            return
        world = self.world
        world.at(world.time_ns + NEMESIS_MS * MS, self._look, None)
        strengths = {kind: self._strikes(kind) for kind in ("kill", "power", "pause", "slow-cpu", "shutdown")}
        step = self._step.strikes() if self._step is not None else 0.0
        life = world.life
        if life is not None:
            if strengths["pause"]:
                life.stall(int(strengths["pause"] * PAUSE_NS))
            if strengths["slow-cpu"]:
                life.turn_factor = 50
                world.at(world.time_ns + int(strengths["slow-cpu"] * SLOW_CPU_NS), self._recover_cpu, life)
            if step:
                life.step_wall(int((step - 0.5) * 2 * STEP_MS))
            if strengths["shutdown"]:
                life.terminate()
                world.at(world.time_ns + MS, self._await_exit, life)
        if strengths["power"]:
            self.crash(power=True)
        elif strengths["kill"]:
            self.crash(power=False)
        self._look_at_clients()

    def _look_at_clients(self) -> None:
        world = self.world
        for name in list(self.clients):
            struck = {
                source.kind: strength
                for source in self._client_sources(name)
                if (strength := source.strikes())
            }
            talker = self.clients[name]
            if talker.is_done or not struck:
                continue
            crash, zombie, hang_up, clog = (struck.get(kind, 0.0) for kind in OF_CLIENTS)
            if crash:
                talker.kill()
                self.reborn.append(name)
            elif zombie:
                talker.sleep(int(zombie * SLEEP_NS))
            elif hang_up:
                talker.hang_up()
            if clog:
                self._cut(talker, int(clog * CUT_NS))
        swizzle = self._swizzle.strikes() if self._swizzle is not None else 0.0
        if swizzle:
            for talker in self.clients.values():
                stopped, length = self._chance.draw(), self._chance.draw()
                if stopped < 0.5:
                    world.at(world.time_ns + int(stopped * 2 * CUT_NS / 3), self._swizzled, (talker, length))

    def _client_sources(self, name: str) -> list[Source]:
        found = self._of_clients.get(name)
        if found is None:
            sources = (self.world.book.source(kind, name) for kind in OF_CLIENTS)
            found = self._of_clients[name] = [source for source in sources if source is not None]
        return found

    def _swizzled(self, what: tuple[Client, float]) -> None:
        self._cut(what[0], int(what[1] * CUT_NS / 2))

    def _cut(self, talker: Client, duration_ns: int) -> None:
        until = self.world.time_ns + duration_ns
        for wire in talker.wires:
            for direction in (wire.quality.up, wire.quality.down):
                direction.until = max(direction.until, until)

    # ---- the broker ----------------------------------------------------------------------------------

    def crash(self, *, power: bool) -> bool:
        """Crash the broker, if it is up and has not crashed too often; it starts again later."""
        world = self.world
        if world.life is None or len(world.crashes) >= KILLS_MAX:
            return False
        world.crash(power=power and self.may_lose_power)
        slow = self._strikes("slow-reboot")
        down = 1 + (int(slow * SLOW_REBOOT_NS) if slow else self._chance.below(DOWN_NS))
        world.at(world.time_ns + down, self.start, None)
        return True

    def start(self, _: None = None) -> None:
        """Start the broker if it is down."""
        world = self.world
        if world.life is not None:
            return
        world.start()
        loop = self._strikes("crash-loop")
        if loop:
            span = 40 * (world.weather.disk_ns + world.weather.turn_ns)
            world.at(world.time_ns + 1 + int(loop**3 * span), self._crash_again, world.life)

    def _crash_again(self, life: object) -> None:
        if self.world.life is life:
            self.crash(power=self._chance.happens(0.5))

    def _recover_cpu(self, life: object) -> None:
        if self.world.life is life and self.world.life is not None:
            self.world.life.turn_factor = 1

    def _await_exit(self, life: object) -> None:
        world = self.world
        if world.life is not life or world.life is None:
            return  # it was killed meanwhile
        if world.life.exit_code is None:
            world.at(world.time_ns + 5 * MS, self._await_exit, life)
            return
        if any(note.name == CANNOT_START for note in world.life.notes):
            return  # it was still starting, and has given up: whoever supervises it judges that
        assert world.life.exit_code == 0, f"a controlled shutdown exits with {world.life.exit_code}"
        world.life = None
        world.at(world.time_ns + 1 + self._chance.below(DOWN_NS), self.start, None)

    # ---- telling moments -----------------------------------------------------------------------------

    def before(self, effect: Effect) -> bool:
        """Say whether the process dies just before this effect."""
        kind = type(effect)
        if kind is Listen:
            self.on_listen()
        if kind not in SITE_KINDS or not self.is_active:
            return False
        site = kind.__name__
        if kind is not Send:
            site += " " + _role(effect.file)  # type: ignore[union-attr]  # all other SITE_KINDS have a file
        if self._dies_at(site):
            return self.crash(power=self._chance.happens(0.5))
        rolls = kind is Write and effect.position == 0  # type: ignore[union-attr]
        if kind in TELLING or rolls:
            self.moment("roll" if rolls else site)
        return False

    def moment(self, name: str) -> None:
        """Take note of a moment at which trouble is most telling."""
        source = self._broker["trigger"]
        if source is None or not self.is_active:
            return
        hits = self._hits[name] = self._hits.get(name, 0) + 1
        strength = source.strikes(1 / (1 + hits / 20))
        if strength:
            self.world.at(self.world.time_ns + 1 + int(strength * 2 * MS), self._trigger, strength)

    def _trigger(self, strength: float) -> None:
        life = self.world.life
        if life is None:
            return
        if strength < 0.3:
            life.stall(int(strength * PAUSE_NS))
        else:
            self.crash(power=strength > 0.65)

    def _dies_at(self, site: str) -> bool:
        """Decide at a site; each is active in a quarter of the runs, and strikes less the more it has."""
        if site in self._sites:
            source = self._sites[site]
        else:
            is_active = self._chance.fork(f"site {site}").happens(SITES_ACTIVE)
            source = self._sites[site] = self.world.book.source("proc.boundary", site) if is_active else None
        if source is None:
            return False
        hits = self._hits[site] = self._hits.get(site, 0) + 1
        return source.strikes(1 / (1 + hits / 50)) > 0


def _role(file: str) -> str:
    """Say what a file is for: the directory's kind, and the suffix."""
    directory, _, name = file.partition("/")
    kind = directory.partition("-")[0] if directory.startswith("__") else "log"
    return f"{kind} {name.rpartition('.')[2] if name else 'directory'}"
