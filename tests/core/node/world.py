"""A whole broker without a process: server, sessions and node over a disk in memory, turn by turn, with a clock by hand.

Requests go in as bytes and answers come out as bytes, so what a test sees is what a client sees.
"""

from rafka.core.api import APIS, response_header_version
from rafka.core.api.create_topics_request import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from rafka.core.config.settings import Settings
from rafka.core.effects import Close, Fill, Listen, Note, Pause, Resume, Send, Stop
from rafka.core.events import Connected, Disconnected, Failed, Listening, Received
from rafka.core.message import decode
from rafka.core.node.node import Identity, Node
from rafka.core.types import NO_ANSWER, ConnId, FileSlice, MonoNs, Now, Uuid, WallMs
from rafka.net.compression import Compression
from rafka.net.kafka.session import request_bytes
from rafka.net.server import Limits, Server
from rafka.net.serving import protocol_of
from rafka.sim.disk import Disk
from tests.core.metadata.world import Chance

KEYS = {api.name: key for key, api in APIS.items()}
PORT = 9092
WALL_MS = 1_700_000_000_000
MS = 1_000_000


def key_of(request):
    return KEYS[type(request).__name__.removesuffix("Request")]


class Client:
    """One connection: `send` and `answers`, or both with `ask`."""

    def __init__(self, world, conn):
        self.world = world
        self.conn = conn
        self.sent = bytearray()
        self.asked = {}
        self.count = 0
        self.closed = None
        self.is_paused = False

    def send(self, request, version=None, client_id="test"):
        """Send a request; its correlation id."""
        key = key_of(request)
        version = self.world.node.served[key][1] if version is None else version
        self.count += 1
        self.asked[self.count] = (key, version)
        data = request_bytes(
            request, api_key=key, version=version, correlation_id=self.count, client_id=client_id
        )
        self.raw(data)
        return self.count

    def raw(self, data):
        self.world.server.handle(Received(self.conn, memoryview(bytearray(data))), self.world.now)

    def answers(self):
        """Every answer that has come since the last call, by correlation id, in the order they came."""
        found = {}
        while len(self.sent) >= 4:
            size = int.from_bytes(self.sent[:4], "big")
            frame = bytes(self.sent[4 : 4 + size])
            assert len(frame) == size, "an answer in part"
            del self.sent[: 4 + size]
            correlation = int.from_bytes(frame[:4], "big")
            key, version = self.asked.pop(correlation)
            start = 4 + response_header_version(key, version)
            found[correlation] = decode(APIS[key].response, version, frame[start:])
        return found

    def ask(self, request, version=None, wait_ms=0, client_id="test"):
        """Send a request and return its answer, which must come within `wait_ms`."""
        correlation = self.send(request, version, client_id)
        self.world.run()
        answers = self.answers()
        if not answers and wait_ms:
            self.world.wait(wait_ms)
            answers = self.answers()
        assert self.closed is None, self.closed
        assert list(answers) == [correlation], "one answer, to this request"
        return answers[correlation]

    def close(self):
        """Hang up."""
        self.world.server.handle(Disconnected(self.conn, "the client hung up"), self.world.now)
        self.world.run()


class World:
    """A broker that serves. disk: kept over `restart`; notes: what it said, as (level, name).

    has_plain: whether its sessions know plain produces.
    """

    has_plain = True

    def __init__(self, **settings):
        self.pairs = {"offsets.topic.num.partitions": "2"}
        self.pairs |= {name.replace("_", "."): text for name, text in settings.items()}
        self.disk = Disk()
        self.chance = Chance()
        self.mono_ns = 0
        self.boot()

    @property
    def now(self):
        return Now(MonoNs(self.mono_ns), WallMs(WALL_MS + self.mono_ns // MS))

    def boot(self):
        settings = Settings.from_pairs(self.pairs)
        identity = Identity(1, "cluster", Uuid(b"directory-of-one"), "/data")
        self.node = Node(settings, identity, self.chance, Compression())
        protocol = protocol_of(self.node.served, has_plain=self.has_plain)
        limits = Limits(frame_bytes_max=settings.socket_request_max_bytes)
        self.server = Server(self.node, protocol, limits)
        self.clients = {}
        self.notes = []
        self.stopped = None
        self.run()
        assert ("info", "serving") in self.notes, self.notes

    def restart(self, rng=None):
        """Begin again on the same disk; rng: after a crash that loses what was not synced."""
        if rng is not None:
            self.disk.crash(rng)
        self.boot()

    def connect(self):
        conn = ConnId(1 + len(self.clients))
        client = self.clients[conn] = Client(self, conn)
        self.server.handle(Connected(conn, f"127.0.0.1:{50_000 + conn}", "127.0.0.1", PORT), self.now)
        self.run()
        return client

    def wait(self, ms):
        """Let time pass, with a turn at every deadline on the way."""
        until = self.mono_ns + ms * MS
        while True:
            self.run()
            due = self.server.deadline()
            if due is None or due > until:
                break
            self.mono_ns = max(due, self.mono_ns + 1)
        self.mono_ns = until
        self.run()

    def run(self):
        """Take turns until nothing happens any more."""
        for _ in range(10_000):
            self.server.tick(self.now)
            effects = self.server.drain()
            self.server.check()
            for effect in effects:
                self.perform(effect)
            if not effects and self.node.deadline() != 0:
                return
        raise AssertionError("the node does not come to rest")

    def perform(self, effect):
        match effect:
            case Send():
                self.clients[effect.conn].sent += b"".join(map(self.bytes_of, effect.pieces))
            case Close():
                self.clients[effect.conn].closed = effect.reason
            case Listen():
                self.server.handle(Listening(effect.token, effect.host, PORT), self.now)
            case Note():
                self.notes.append((effect.level, effect.name))
            case Stop():
                self.stopped = effect.code
            case Pause() | Resume():
                self.clients[effect.conn].is_paused = isinstance(effect, Pause)
            case Fill():
                raise AssertionError("requests are sent whole")
            case _:
                event = self.disk.perform(effect)
                if event.token != NO_ANSWER or isinstance(event, Failed):
                    self.server.handle(event, self.now)

    def bytes_of(self, piece):
        if not isinstance(piece, FileSlice):
            return bytes(piece)
        data = self.disk.files[piece.file].data[piece.position : piece.position + piece.length]
        assert len(data) == piece.length, "a slice beyond the end of its file"
        return bytes(data)

    def create(self, name, partitions=1, **configs):
        """Create a topic; its id."""
        settings = [CreatableTopicConfig(name=k.replace("_", "."), value=v) for k, v in configs.items()]
        topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, configs=settings)
        (result,) = self.connect().ask(CreateTopicsRequest(topics=[topic])).topics
        assert result.error_code == 0, result
        return result.topic_id
