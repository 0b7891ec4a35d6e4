"""What is known of the cluster: where brokers are, and who leads which partition."""

from collections.abc import Iterable

import attrs

from rafka.client.errors import RETRIABLE
from rafka.core.api.metadata_response import MetadataResponse, MetadataResponseTopic
from rafka.core.shape import value
from rafka.core.types import ZERO_UUID, Uuid


@value
class Topic:
    """A topic as last heard. error: its error code, 0 when all is well; leaders: node by partition, -1 for none."""

    name: str
    topic_id: Uuid
    error: int
    leaders: dict[int, int]
    epochs: dict[int, int]

    @property
    def is_settled(self) -> bool:
        """Whether asking again would tell nothing new for now: it is well, or refused for good."""
        if self.error:
            return self.error not in RETRIABLE
        return all(leader >= 0 for leader in self.leaders.values())


@attrs.define(eq=False)
class Topology:
    """Brokers and topics. version: counts the answers taken, so that others see when it has changed."""

    version: int = 0
    cluster_id: str | None = None
    controller_id: int = -1
    addresses: dict[int, tuple[str, int]] = attrs.field(factory=dict)
    topics: dict[str, Topic] = attrs.field(factory=dict)
    names: dict[Uuid, str] = attrs.field(factory=dict)

    def learn(self, answer: MetadataResponse) -> None:
        """Take what a broker says; topics it does not speak of stay as they are."""
        self.version += 1
        self.cluster_id = answer.cluster_id
        self.controller_id = answer.controller_id
        if answer.brokers:  # a broker that is starting may know of none yet
            self.addresses = {broker.node_id: (broker.host, broker.port) for broker in answer.brokers}
        for told in answer.topics:
            if told.name is not None:
                self._learn_topic(told.name, told)

    def leader(self, name: str, partition: int) -> int:
        """Return the node that leads a partition; -1 if nobody does, or nobody knows."""
        topic = self.topics.get(name)
        return -1 if topic is None else topic.leaders.get(partition, -1)

    def topic_id(self, name: str) -> Uuid:
        """Return a topic's id; zeros if it is unknown."""
        topic = self.topics.get(name)
        return ZERO_UUID if topic is None else topic.topic_id

    def name_of(self, name: str, topic_id: Uuid) -> str:
        """Return the name of a topic in an answer, which newer versions identify only by id; "" if it is unknown."""
        return name or self.names.get(Uuid(bytes(topic_id)), "")

    def counts(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many partitions topics have; those that are not there are left out."""
        return {name: len(self.topics[name].leaders) for name in names if self._is_there(name)}

    def _is_there(self, name: str) -> bool:
        return name in self.topics and not self.topics[name].error

    def _learn_topic(self, name: str, told: MetadataResponseTopic) -> None:
        topic_id = Uuid(bytes(told.topic_id))
        leaders = {part.partition_index: part.leader_id for part in told.partitions}
        epochs = {part.partition_index: part.leader_epoch for part in told.partitions}
        self.topics[name] = Topic(name, topic_id, told.error_code, leaders, epochs)
        if topic_id != ZERO_UUID:
            self.names[topic_id] = name
