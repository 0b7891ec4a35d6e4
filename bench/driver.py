"""What a driver costs: an echo machine, some connections with one request in flight each, CPU per request.

    python bench/driver.py [uring|trio] [--connections 32] [--size 100] [--seconds 3] [--rounds 3] [--idle 0] [--gc]

The client is a separate process on the other core. CPU is the server process's own user and system time from the
kernel's accounts; a "request" is one frame received and one of 4 bytes sent back. --idle: connections that do
nothing, and what each adds to the server's memory. --gc: with Python's own thresholds for its collector.
"""

import argparse
import os
import resource
import select
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rafka.core.effects import Effect, Listen, Send, Stop
from rafka.core.events import Connected, Disconnected, Event, Listening, Received
from rafka.core.types import MonoNs, Now, Token
from rafka.io import driver as driver_module
from rafka.io.choose import choose
from rafka.io.driver import raise_descriptor_limit

PIECE = b"\0\0\0\0"


class Echo:
    """Answers each whole frame of `size` bytes with four bytes; stops when the last connection has left."""

    def __init__(self, size: int, connections: int, port_to: int) -> None:
        self.all = connections
        self.effects: list[Effect] = [Listen("127.0.0.1", 0, Token(1))]
        self.size = size
        self.have: dict[int, int] = {}
        self.port_to = port_to
        self.requests = 0
        self.memory: tuple[int, ...] = (0, 0)
        """Resident bytes when the first connection has come, and when all have."""

    def handle(self, event: Event, now: Now) -> None:
        if type(event) is Received:
            have = self.have[event.conn] + len(event.data)
            while have >= self.size:
                have -= self.size
                self.requests += 1
                self.effects.append(Send(event.conn, [PIECE]))
            self.have[event.conn] = have
        elif isinstance(event, Connected):
            self.have[event.conn] = 0
            if len(self.have) in (1, self.all):
                self.memory = (*self.memory[-1:], resident())
        elif isinstance(event, Disconnected):
            del self.have[event.conn]
            if not self.have:
                self.effects.append(Stop(0))
        elif isinstance(event, Listening):
            os.write(self.port_to, f"{event.port}\n".encode())

    def tick(self, now: Now) -> None:
        pass

    def drain(self) -> list[Effect]:
        effects = self.effects
        self.effects = []
        return effects

    def deadline(self) -> MonoNs | None:
        return None


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def client(port: int, connections: int, size: int, seconds: float, idle: int) -> None:
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(idle)]
    frame = bytes(size)
    socks = {}
    epoll = select.epoll()
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        epoll.register(sock.fileno(), select.EPOLLIN)
    for sock in socks.values():
        sock.sendall(frame)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in epoll.poll():
            sock = socks[fd]
            sock.recv(4096)
            sock.sendall(frame)
    for sock in [*socks.values(), *waiting]:
        sock.close()


def run(driver: str, connections: int, size: int, seconds: float, idle: int) -> None:
    raise_descriptor_limit()
    port_from, port_to = os.pipe()
    child = os.fork()
    if child == 0:
        client(int(os.read(port_from, 16)), connections, size, seconds, idle)
        os._exit(0)
    machine = Echo(size, connections + idle, port_to)
    choice = choose(driver)
    with tempfile.TemporaryDirectory() as directory:
        before = resource.getrusage(resource.RUSAGE_SELF)
        choice.driver(lambda note: print(note)).run(machine, directory)
        after = resource.getrusage(resource.RUSAGE_SELF)
    os.waitpid(child, 0)
    user = (after.ru_utime - before.ru_utime) * 1e6 / machine.requests
    system = (after.ru_stime - before.ru_stime) * 1e6 / machine.requests
    print(
        f"{choice.name:6} {connections:4} x {size:6} B  {machine.requests / seconds:9.0f} requests/s  "
        f"{user + system:6.2f} us CPU  ({user:.2f} user, {system:.2f} system)"
    )
    if idle:
        before, after_all = machine.memory
        print(f"       {idle} idle: {(after_all - before) / (idle + connections - 1):.0f} bytes each")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("driver", nargs="?", default="both")
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--size", type=int, default=100)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--idle", type=int, default=0)
    options.add_argument("--gc", action="store_true")
    given = options.parse_args()
    if given.gc:
        driver_module.GC_THRESHOLD = 700
    for _ in range(given.rounds):
        for driver in ("uring", "trio") if given.driver == "both" else (given.driver,):
            run(driver, given.connections, given.size, given.seconds, given.idle)


if __name__ == "__main__":
    main()
