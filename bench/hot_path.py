"""What a Produce and a Fetch cost in the pure core and its sessions, without sockets and files.

    python bench/hot_path.py [--connections 32] [--pipelined 1] [--size 100] [--seconds 2] [--flush os] [--profile]
    valgrind --tool=callgrind python bench/hot_path.py --rounds 20      # and 40: the difference is exact

A world that answers every disk effect at once drives Server + Node as a driver would: so many connections, each with
so many requests of one batch per turn. Prints CPU per request; --profile prints where it goes.
"""

import argparse
import cProfile
import pstats
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.config.settings import Settings
from rafka.core.effects import Fill, Listen, Send, Stop
from rafka.core.events import Connected, Filled, Listening, Received
from rafka.core.node.node import Identity, Node
from rafka.core.record.builder import Record, build_batch
from rafka.core.types import ConnId, MonoNs, Now, Uuid, WallMs
from rafka.io.broker import serving
from rafka.io.driver import calm_collector
from rafka.io.entropy import SystemEntropy
from rafka.io.observed import Observed
from rafka.net.compression import Compression
from rafka.net.kafka.session import request_bytes
from rafka.observe.pages import Pages
from rafka.observe.tally import Tally
from rafka.sim.disk import Disk

DISK = ("Write", "Sync", "Read", "Truncate", "Rename", "Unlink", "MakeDir", "SyncDir", "List")


class World:
    """A disk of no latency that forgets appended bytes, so that memory stays flat."""

    def __init__(self, flush: str, *, is_observed: bool = False) -> None:
        settings = Settings.from_pairs({"listeners": "PLAINTEXT://127.0.0.1:9092", "flush": flush})
        identity = Identity(1, "bench", Uuid(b"b" * 16), "/bench")
        self.node = Node(settings, identity, SystemEntropy(), Compression())
        self.machine = server = serving(self.node, settings)
        if is_observed:
            pages = Pages(self.node, server, Tally(), {}, ("", "", ""), 200)
            self.machine = Observed(server, server.protocol, pages, ("127.0.0.1", 9644))
        self.disk = Disk()
        self.events: list = []
        self.sent = 0
        self.is_fast = False
        self.mono = 1

    def turn(self) -> None:
        self.mono += 50_000
        now = Now(MonoNs(self.mono), WallMs(1_700_000_000_000 + self.mono // 1_000_000))
        events, self.events = self.events, []
        for event in events:
            self.machine.handle(event, now)
        self.machine.tick(now)
        for effect in self.machine.drain():
            self.perform(effect)

    def perform(self, effect) -> None:
        kind = type(effect).__name__
        if kind in DISK:
            if self.is_fast and kind == "Write":
                effect.buffers = ()
            answer = self.disk.perform(effect)
            if getattr(effect, "token", 0):
                self.events.append(answer)
        elif isinstance(effect, Listen):
            self.events.append(Listening(effect.token, effect.host, effect.port))
        elif isinstance(effect, Send):
            self.sent += 1
        elif isinstance(effect, Fill):
            effect.buffer[:] = self.rest[-len(effect.buffer) :]
            self.events.append(Filled(effect.conn))
        elif isinstance(effect, Stop):
            raise SystemExit("the node stopped")

    def settle(self, turns: int = 60) -> None:
        for _ in range(turns):
            self.turn()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--pipelined", type=int, default=1)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--flush", default="os")
    parser.add_argument("--version", type=int, default=8)
    parser.add_argument("--idempotent", action="store_true")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--observed", action="store_true", help="with the pages of metrics around it")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, help="so many rounds and no clock: for counting instructions")
    args = parser.parse_args()
    with calm_collector():
        measure(args)


def measure(args: argparse.Namespace) -> None:
    world = World(args.flush, is_observed=args.observed)
    world.settle()
    for conn in range(1, args.connections + 1):
        world.events.append(Connected(ConnId(conn), f"127.0.0.1:{40000 + conn}", "127.0.0.1", 9092))
    create = CreateTopicsRequest(
        topics=[CreatableTopic(name="bench", num_partitions=1, replication_factor=1)], timeout_ms=1000
    )
    world.events.append(
        received(1, request_bytes(create, api_key=19, version=5, correlation_id=1, client_id="b"))
    )
    world.settle()
    topic_id = world.node.image.topic("bench").topic_id
    batch = bytes(build_batch([Record(None, b"v" * args.size)], timestamp=1_700_000_000_000))
    produce = ProduceRequest(
        acks=-1,
        timeout_ms=30_000,
        topic_data=[
            TopicProduceData(
                name="bench", topic_id=topic_id, partition_data=[PartitionProduceData(index=0, records=batch)]
            )
        ],
    )
    frame = request_bytes(produce, api_key=0, version=args.version, correlation_id=7, client_id="bench")
    if args.fetch:
        world.events.append(received(1, frame))
        world.settle()
        fetch = FetchRequest(
            max_wait_ms=500,
            min_bytes=1,
            max_bytes=1 << 20,
            session_epoch=-1,
            topics=[
                FetchTopic(
                    topic="bench",
                    topic_id=topic_id,
                    partitions=[FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)],
                )
            ],
        )
        frame = request_bytes(
            fetch, api_key=1, version=11 if args.version < 13 else 16, correlation_id=7, client_id="bench"
        )
    world.is_fast = True
    message = frame * args.pipelined
    profile = cProfile.Profile() if args.profile else None
    for _ in range(200 if args.rounds is None else args.rounds):
        round_of(world, args, message)
    if args.rounds is not None:
        return
    best = None
    began = time.process_time()
    while time.process_time() < began + args.seconds:  # many short slices: the best one was disturbed least
        requests, since = 0, time.process_time()
        if profile:
            profile.enable()
        while time.process_time() < since + 0.02:
            requests += round_of(world, args, message)
        if profile:
            profile.disable()
        spent = (time.process_time() - since) / requests * 1e6
        best = spent if best is None else min(best, spent)
    print(
        f"{best:.2f} us CPU a request ({args.connections} connections x {args.pipelined}, flush={args.flush})"
    )
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


def received(conn: int, data: bytes) -> Received:
    return Received(ConnId(conn), memoryview(bytearray(data)))


def round_of(world: World, args, message: bytes) -> int:
    for conn in range(1, args.connections + 1):
        world.events.append(received(conn, message))
    world.sent = 0
    while world.sent < args.connections:
        world.turn()
    return args.connections * args.pipelined


if __name__ == "__main__":
    main()
