"""What the clients of one run share: the topics they know, the history they write, and how far the run has come."""

from collections.abc import Callable
from typing import Any

import attrs

from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.message import Message
from rafka.core.types import Uuid
from rafka.net.compression import Compression
from rafka.sim.chance import Chance
from rafka.sim.knobs import Knobs
from rafka.sim.ledger import Ledger
from rafka.sim.storage import Clock

LINES_MAX = 2_000_000


@attrs.define(eq=False)
class Topic:
    """A topic as clients know it. name: what the history calls it, `name` of the broker or one made anew."""

    name: str
    topic_id: Uuid
    partitions: int

    def key(self, index: int) -> str:
        """Name a partition."""
        return f"{self.name}-{index}"


@attrs.define(eq=False)
class Scene:
    """One run. `is_over`: no new load, finish what is under way."""

    clock: Clock
    ledger: Ledger
    knobs: Knobs
    chance: Chance
    records_history: bool = False
    prefix: str = ""
    """What the names of topics and groups have in them, so that they are nobody else's."""
    topics: dict[str, Topic] = attrs.field(factory=dict)
    is_over: bool = False
    history: list[dict[str, Any]] = attrs.field(factory=list)
    codecs: Compression = attrs.field(factory=Compression)
    on_moment: Callable[[str], None] = attrs.field(default=lambda _: None)
    """Told of moments at which trouble is most telling: "rebalance"."""
    _processes: dict[str, int] = attrs.field(factory=dict)
    _values: dict[str, int] = attrs.field(factory=dict)

    def note(self, process: int | str, kind: str, f: str, content: object = None, **fields: object) -> None:
        """Write a line of the history, in the form of docs/history.md."""
        if self.records_history and len(self.history) < LINES_MAX:
            line = {"process": process, "type": kind, "f": f, "value": content, "time": self.clock.time_ns}
            self.history.append({**line, **fields})

    def process(self, name: str) -> int:
        """Give a process of the history its number."""
        return self._processes.setdefault(name, len(self._processes))

    def process_names(self) -> dict[int, str]:
        """Return who every process of the history is."""
        return {number: name for name, number in self._processes.items()}

    def value(self, producer: str) -> str:
        """Give a value that was never given before."""
        number = self._values[producer] = self._values.get(producer, -1) + 1
        return f"{producer}/{number}"

    def named(self, topic_id: Uuid) -> Topic | None:
        """Return the topic of an id."""
        return next((topic for topic in self.topics.values() if topic.topic_id == topic_id), None)


def ask_for(names: list[str]) -> list[Message]:
    """Return the request that asks about topics."""
    return [MetadataRequest(topics=[MetadataRequestTopic(name=name) for name in names])]


def learn(scene: Scene, answer: Message) -> None:
    """Take what a broker says of topics."""
    assert isinstance(answer, MetadataResponse)
    for found in answer.topics:
        topic = scene.topics.get(found.name or "")
        if found.error_code == 0 and found.name is not None:
            if topic is None or topic.topic_id != found.topic_id:
                scene.topics[found.name] = Topic(found.name, found.topic_id, len(found.partitions))
            else:
                topic.partitions = max(topic.partitions, len(found.partitions))
