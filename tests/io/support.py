"""A machine that is a script, so that a test reads from top to bottom and every driver can run it.

The script is a generator: each `yield` ends a turn. It runs inside the driver's loop and works the clients' sockets
itself, without ever blocking, so there are no threads and nothing to wait for but the driver. Its deadline is a
millisecond away, which only matters when nothing else happens; `quiet` takes even that away.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from random import Random

import attrs

from rafka.core.effects import Effect, Listen, Note, Send, Stop
from rafka.core.events import Connected, Disconnected, Event, Listening, Received
from rafka.core.types import ConnId, MonoNs, Now, Token
from rafka.io.choose import choose
from rafka.io.driver import Driver
from rafka.io.portable import PortableDriver, Tasks
from rafka.io.ring import Ring, probe
from rafka.io.sockets import Connection
from rafka.io.uring import UringDriver
from rafka.sim.chance import Chance
from rafka.sim.disk import Disk
from rafka.sim.ring import Habits, Kernel
from rafka.sim.storage import Storage

REAL = ("trio", "uring") if probe() is None else ("trio",)
"""The drivers that work here."""
DRIVERS = (*REAL, "tasks", "ring")
"""And the trio driver without epoll, and the io_uring driver over a simulated kernel with every bad habit."""
DISKS = (*DRIVERS, "sim")
MANY_TURNS = 30_000
"""At a millisecond each: when to give up."""
TICK_NS = 1_000_000

KIB, MIB = 1 << 10, 1 << 20

Script = Generator[None, None, None]


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes that are nowhere alike, the same every time."""
    return Random(seed).randbytes(size)


class Client:
    """A peer of the driver: a socket that never blocks."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.data = bytearray()
        self.has_seen_end = False
        self.was_reset = False

    def pull(self, limit: int = 1 << 22) -> int:
        """Receive what is there, up to limit bytes; give how many."""
        before = len(self.data)
        with contextlib.suppress(BlockingIOError):
            while (left := limit - (len(self.data) - before)) > 0:
                try:
                    piece = self.sock.recv(min(left, 1 << 20))
                except ConnectionResetError:
                    self.was_reset = self.has_seen_end = True
                    break
                if not piece:
                    self.has_seen_end = True
                    break
                self.data += piece
        return len(self.data) - before

    def send(self, data: bytes) -> int:
        """Send what the socket takes now; give how much."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def reset(self) -> None:
        """Go away without a word: the other side gets ECONNRESET."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Scenario:
    """The machine. events: everything that came, oldest first; react: called with each event as it comes."""

    def __init__(self, script: Callable[["Scenario"], Script]) -> None:
        self.events: list[Event] = []
        self.effects: list[Effect] = []
        self.clients: list[Client] = []
        self.notes: list[Note] = []
        self.turns = 0
        self.now = Now(MonoNs(0), 0)
        self.react: Callable[[Event], None] = lambda event: None
        self.is_quiet = False
        self.code = 0
        self.runner: Driver | None = None
        self.kernel: Kernel | None = None
        self._last_token = 0
        self._script = script(self)

    def handle(self, event: Event, now: Now) -> None:
        self.events.append(event)
        self.react(event)

    def tick(self, now: Now) -> None:
        self.now = now
        self.turns += 1
        try:
            next(self._script)
        except StopIteration:
            self.do(Stop(self.code))

    def drain(self) -> list[Effect]:
        effects, self.effects = self.effects, []
        return effects

    def deadline(self) -> MonoNs | None:
        return None if self.is_quiet else MonoNs(self.now.mono + TICK_NS)

    # ---- what scripts say -----------------------------------------------------------------------

    def do(self, *effects: Effect) -> None:
        self.effects += effects

    def token(self) -> Token:
        self._last_token += 1
        return Token(self._last_token)

    def until(self, condition: Callable[[], object], turns: int = MANY_TURNS) -> Script:
        """Take turns until the condition holds."""
        for _ in range(turns):
            if condition():
                return
            yield
        raise AssertionError(f"it did not happen; the last events: {self.events[-5:]}")

    def answers(self, token: Token) -> list[Event]:
        return [event for event in self.events if getattr(event, "token", None) == token]

    def ask(self, effect: Effect) -> Generator[None, None, Event]:
        """Ask for one thing and give its answer."""
        token = self.token()
        self.do(attrs.evolve(effect, token=token))
        yield from self.until(lambda: self.answers(token))
        return self.answers(token)[0]

    def ask_all(self, *effects: Effect) -> Generator[None, None, list[Event]]:
        """Ask for many things in one turn and give their answers, in the order of the asking."""
        tokens = [self.token() for _ in effects]
        self.do(*(attrs.evolve(e, token=t) for e, t in zip(effects, tokens, strict=True)))
        yield from self.until(lambda: all(self.answers(t) for t in tokens))
        return [self.answers(t)[0] for t in tokens]

    def listen(self) -> Generator[None, None, int]:
        """Listen on a free port of the loopback and give its number."""
        found = yield from self.ask(Listen("127.0.0.1", 0, Token(0)))
        assert isinstance(found, Listening), found
        return found.port

    def connect(self, port: int, receive_buffer: int = 0) -> Generator[None, None, tuple[Client, ConnId]]:
        """Connect, and give the client and what the machine calls it."""
        client = Client(port, receive_buffer)
        self.clients.append(client)
        yield from self.until(lambda: self.conn_of(client))
        conn = self.conn_of(client)
        assert conn is not None
        return client, conn

    def conn_of(self, client: Client) -> ConnId | None:
        return next((e.conn for e in self.events if isinstance(e, Connected) and e.peer == client.name), None)

    def received(self, conn: ConnId) -> bytes:
        return b"".join(e.data for e in self.events if isinstance(e, Received) and e.conn == conn)

    def ends(self, conn: ConnId) -> list[str]:
        return [e.reason for e in self.events if isinstance(e, Disconnected) and e.conn == conn]

    def pull(self, client: Client, count: int) -> Script:
        """Let a client receive until it has `count` bytes."""
        yield from self.until(lambda: client.pull() < 0 or len(client.data) >= count)

    def pull_to_end(self, client: Client) -> Script:
        """Let a client receive until the connection ends."""
        yield from self.until(lambda: client.pull() < 0 or client.has_seen_end)

    def push(self, client: Client, data: bytes) -> Script:
        """Let a client send all of it."""
        view = memoryview(data)
        while view:
            view = view[client.send(view) :]
            if view:
                yield

    @property
    def connections(self) -> list[Connection]:
        """What the driver knows of each connection."""
        return list(self.runner._engine.connections.values())

    def close(self) -> None:
        self._script.close()
        for client in self.clients:
            client.sock.close()


class SimulatedDriver:
    """The simulated disk as a driver: a turn after each of its moments, in virtual time."""

    def __init__(self, seed: int = 0) -> None:
        self.disk = Disk()
        self.time_ns = 0
        self._chance = Chance(seed)
        self._due: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0

    def at(self, time_ns: int, action: Callable[..., None], *subject: object) -> None:
        """Be the clock of `Storage`."""
        self._count += 1
        heappush(self._due, (time_ns, self._count, action, subject))

    def run(self, machine: Scenario, data_dir: str) -> int:
        answers: list[Event] = []
        storage = Storage(self.disk, self, self._chance, TICK_NS, answers.append)
        for turn in range(MANY_TURNS):
            now = Now(MonoNs(self.time_ns), turn)
            events = answers[:]
            answers.clear()
            for event in events:
                machine.handle(event, now)
            machine.tick(now)
            for effect in machine.drain():
                if isinstance(effect, Stop):
                    return effect.code
                storage.submit(effect)
            self.time_ns = max(self.time_ns, self._due[0][0]) if self._due else self.time_ns + TICK_NS
            while self._due and self._due[0][0] <= self.time_ns:
                _, _, action, subject = heappop(self._due)
                action(*subject)
        raise AssertionError("the script does not end")


def play(
    driver: str, script: Callable[[Scenario], Script], data_dir: os.PathLike[str], seed: int = 0
) -> Scenario:
    """Run a script under a driver; give the scenario with all that happened. seed: of the simulated ones."""
    scenario = Scenario(script)
    scenario.runner = runner = made(driver, scenario, seed)
    try:
        code = runner.run(scenario, os.fspath(data_dir))
    finally:
        scenario.close()
    assert code == scenario.code
    return scenario


def made(driver: str, scenario: Scenario, seed: int) -> Driver:
    if driver == "sim":
        return SimulatedDriver(seed)
    if driver == "tasks":
        return PortableDriver(scenario.notes.append, Tasks)
    if driver == "ring":
        scenario.kernel = Kernel(Chance(seed), Habits())
        return UringDriver(scenario.notes.append, lambda: Ring(8, 16, scenario.kernel))
    return choose(driver).driver(scenario.notes.append)


def echo(scenario: Scenario) -> None:
    """Let the machine send back whatever it receives."""

    def react(event: Event) -> None:
        if isinstance(event, Received):
            scenario.do(Send(event.conn, [event.data]))

    scenario.react = react
