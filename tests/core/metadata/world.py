"""One controller and its image, without a node: what it decides is committed at once, through the stored bytes."""

from rafka.core.api import APIS as KAFKA_APIS
from rafka.core.config.settings import Settings
from rafka.core.coordinator.group.routing import partition_for
from rafka.core.events import Requested
from rafka.core.message import decode, encode
from rafka.core.metadata import records
from rafka.core.metadata.controller import APIS, Controller
from rafka.core.metadata.image import Image
from rafka.core.types import ConnId, MonoNs, Now, Uuid, WallMs

NOW = Now(MonoNs(0), WallMs(1_700_000_000_000))
DIRECTORY = Uuid(b"directory-of-one")
DATA_DIR = "/var/lib/rafka"
KEYS = {api.name: key for key, api in KAFKA_APIS.items()}


class Chance:
    """Entropy that counts: no two draws are alike."""

    def __init__(self):
        self.drawn = 0

    def below(self, bound):
        self.drawn += 1
        return self.drawn % bound

    def bytes(self, count):
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


class World:
    """Answers requests as a node would. log: the values of every record so far."""

    def __init__(self, boot=True, node_id=1, **settings):
        self.settings = Settings.from_pairs(
            {"node.id": str(node_id)} | {k.replace("_", "."): v for k, v in settings.items()}
        )
        self.image = Image(node_id, self.settings.given, DATA_DIR)
        self.controller = self.new_controller(self.image)
        self.log = []
        self.correlation = 0
        if boot:
            self.commit(self.controller.boot(NOW))

    def new_controller(self, image):
        return Controller(
            image, self.settings, Chance(), image.node_id, "cluster", APIS, partition_for, DIRECTORY
        )

    def replayed(self):
        """The image of a node that starts on the same log."""
        image = Image(self.image.node_id, self.settings.given, DATA_DIR)
        for value in self.log:
            image.apply(records.decode(value))
        return image

    def decide(self, request, version=None):
        """Decide a request as it comes off the wire; nothing is committed."""
        key = KEYS[type(request).__name__.removesuffix("Request")]
        version = APIS[key][1] if version is None else version
        self.correlation += 1
        body = decode(type(request), version, encode(request, version))
        event = Requested(ConnId(7), self.correlation, key, version, "test", body)
        return self.controller.handle(event, NOW, ("dialled", 9092))

    def commit(self, decision):
        for record in decision.records:
            self.log.append(records.encode(record))
            self.image.apply(records.decode(self.log[-1]))

    def ask(self, request, version=None):
        """Decide, commit, and return the response as the client reads it."""
        decision = self.decide(request, version)
        self.commit(decision)
        (reply,) = decision.replies
        assert (reply.conn, reply.correlation) == (7, self.correlation)
        return self.wire(reply.body, request, version)

    def wire(self, body, request, version=None):
        key = KEYS[type(request).__name__.removesuffix("Request")]
        version = APIS[key][1] if version is None else version
        return decode(KAFKA_APIS[key].response, version, encode(body, version))
