"""A topic that is to be: checked, placed and named before a record of it is written.

A plan knows everything that the answer must say, so answers can be made before the records are applied. Placement
is simple while brokers are few: replicas go round the brokers that are neither fenced nor cordoned, in the order of
their ids, each partition starting one further.

Sources: `ReplicationControlManager.createTopic`, `validateManualPartitionAssignment` and `StripedReplicaPlacer` of
Kafka 4.4, for the order of the checks and what is said.
"""

from collections.abc import Mapping, Sequence

from rafka.core.api.create_topics_request import CreatableReplicaAssignment, CreatableTopic
from rafka.core.config.topic import TOPIC_SETTINGS
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import Ask, Refusal
from rafka.core.metadata.image import TOPIC, Image, PartitionImage, TopicImage
from rafka.core.metadata.names import unified, wrong_with
from rafka.core.metadata.topic_configs import checked
from rafka.core.shape import value
from rafka.core.stored.config_record import ConfigRecord
from rafka.core.stored.partition_record import PartitionRecord
from rafka.core.stored.topic_record import TopicRecord
from rafka.core.types import ZERO_UUID, Uuid

Replicas = tuple[int, ...]
PARTITIONS_MAX = 10_000
"""How many partitions one request may create."""
USE_DEFAULT = -1


@value
class TopicPlan:
    """A topic to create. configs: what it sets itself, canonical."""

    topic: TopicImage
    configs: Mapping[str, str]

    def records(self) -> list[Message]:
        """Return its records: the topic, its settings, its partitions."""
        topic = self.topic
        records: list[Message] = [TopicRecord(name=topic.name, topic_id=topic.topic_id)]
        records += (
            ConfigRecord(resource_type=TOPIC, resource_name=topic.name, name=name, value=self.configs[name])
            for name in TOPIC_SETTINGS
            if name in self.configs
        )
        records += (partition_record(topic.topic_id, partition) for partition in topic.partitions)
        return records


def plan_topic(wanted: CreatableTopic, ask: Ask) -> TopicPlan | Refusal:
    """Check one topic of a CreateTopics, and plan it."""
    refusal = refusal_of_name(wanted.name, ask.image)
    if refusal is not None:
        return refusal
    nulls = [config.name for config in wanted.configs if config.value is None]
    if nulls:
        return Refusal(
            ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(nulls)}"
        )
    given = {config.name: config.value for config in wanted.configs if config.value is not None}
    configs = checked(given, ask.image.layers())
    if isinstance(configs, Refusal):
        return configs
    placed = _manual(wanted, ask.image) if wanted.assignments else _automatic(wanted, ask)
    if isinstance(placed, Refusal):
        return placed
    partitions = [new_partition(index, replicas, ask) for index, replicas in enumerate(placed)]
    return TopicPlan(TopicImage(wanted.name, _new_topic_id(ask), partitions), configs)


def refusal_of_name(name: str, image: Image) -> Refusal | None:
    """Say why no topic of that name can be created."""
    if name in image.topics:
        return Refusal(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    wrong = wrong_with(name)
    if wrong is not None:
        return Refusal(ErrorCode.INVALID_TOPIC_EXCEPTION, wrong)
    key = unified(name)
    if key is not None and key in image.colliding:
        other = image.colliding[key][0]
        return Refusal(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {other}"
        )
    return None


def place(count: int, replication_factor: int, image: Image) -> list[Replicas] | Refusal:
    """Choose the brokers of `count` new partitions. replication_factor: 1 and up."""
    usable = sorted(
        broker.node_id
        for broker in image.brokers.values()
        if not broker.fenced and not image.is_cordoned(broker.node_id)
    )
    if not usable:
        return Refusal(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "All brokers are currently fenced, or have all their log directories cordoned.",
        )
    if replication_factor > len(usable):
        return Refusal(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The target replication factor of {replication_factor} cannot be reached because only {len(usable)} "
            "broker(s) are registered or some brokers have all their log directories cordoned.",
        )
    rows = [
        tuple(usable[(first + place) % len(usable)] for place in range(replication_factor))
        for first in range(len(usable))
    ]
    return [rows[index % len(rows)] for index in range(count)]


def refusal_of_replicas(replicas: Sequence[int], expected: int | None, image: Image) -> Refusal | None:
    """Check a partition's replicas as an operator gave them. expected: how many the others have."""
    seen: list[int] = sorted(replicas)
    if not seen:
        return _bad_assignment("The manual partition assignment includes an empty replica list.")
    for place, node_id in enumerate(seen):
        if node_id not in image.brokers:
            return _bad_assignment(
                f"The manual partition assignment includes broker {node_id}, but no such broker is registered."
            )
        if image.is_cordoned(node_id):
            return _bad_assignment(
                f"The manual partition assignment includes broker {node_id}, but all its log directories are "
                "cordoned."
            )
        if place and seen[place - 1] == node_id:
            return _bad_assignment(
                f"The manual partition assignment includes the broker {node_id} more than once."
            )
    if expected is not None and len(seen) != expected:
        return _bad_assignment(
            f"The manual partition assignment includes a partition with {len(seen)} replica(s), but this is not "
            f"consistent with previous partitions, which have {expected} replica(s)."
        )
    return None


def alive_of(replicas: Sequence[int], image: Image) -> Replicas:
    """Return those of the replicas whose brokers are not fenced."""
    return tuple(r for r in replicas if r in image.brokers and not image.brokers[r].fenced)


def new_partition(index: int, replicas: Replicas, ask: Ask) -> PartitionImage:
    """Return a partition as it begins: its first replica that is alive leads, all that are alive are in sync."""
    isr = alive_of(replicas, ask.image)
    assert isr, "checked by who chose the replicas"
    return PartitionImage(
        index=index,
        replicas=replicas,
        isr=isr,
        removing_replicas=(),
        adding_replicas=(),
        leader=isr[0],
        leader_epoch=0,
        partition_epoch=0,
        directories=tuple(_directory_of(replica, ask.image) for replica in replicas),
    )


def partition_record(topic_id: Uuid, partition: PartitionImage) -> PartitionRecord:
    """Return the record that creates the partition."""
    return PartitionRecord(
        partition_id=partition.index,
        topic_id=topic_id,
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        leader=partition.leader,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        directories=list(partition.directories),
    )


def _directory_of(node_id: int, image: Image) -> Uuid:
    """Return a broker's only directory; with several the broker itself chooses, and reports it."""
    directories = image.brokers[node_id].directories
    return directories[0] if len(directories) == 1 else ZERO_UUID


def _automatic(wanted: CreatableTopic, ask: Ask) -> list[Replicas] | Refusal:
    factor, count = wanted.replication_factor, wanted.num_partitions
    if factor < USE_DEFAULT or factor == 0:
        return Refusal(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if count < USE_DEFAULT or count == 0:
        return Refusal(
            ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
        )
    factor = ask.settings.default_replication_factor if factor == USE_DEFAULT else factor
    placed = place(partition_count(wanted, ask), factor, ask.image)
    if isinstance(placed, Refusal):
        return Refusal(placed.code, f"Unable to replicate the partition {factor} time(s): {placed.message}")
    return placed


def partition_count(wanted: CreatableTopic, ask: Ask) -> int:
    """Return how many partitions a topic of a request would have."""
    if wanted.assignments:
        return len(wanted.assignments)
    return ask.settings.num_partitions if wanted.num_partitions == USE_DEFAULT else wanted.num_partitions


def _manual(wanted: CreatableTopic, image: Image) -> list[Replicas] | Refusal:
    for field, given in (
        ("replication factor", wanted.replication_factor),
        ("numPartitions", wanted.num_partitions),
    ):
        if given != USE_DEFAULT:
            return Refusal(
                ErrorCode.INVALID_REQUEST,
                f"A manual partition assignment was specified, but {field} was not set to -1.",
            )
    placed: dict[int, Replicas] = {}
    for assignment in wanted.assignments:
        refusal = _refusal_of_assignment(assignment, placed, image)
        if refusal is not None:
            return refusal
        placed[assignment.partition_index] = tuple(assignment.broker_ids)
    if any(index not in placed for index in range(len(placed))):
        return _bad_assignment("partitions should be a consecutive 0-based integer sequence")
    return [placed[index] for index in range(len(placed))]


def _refusal_of_assignment(
    assignment: CreatableReplicaAssignment, placed: Mapping[int, Replicas], image: Image
) -> Refusal | None:
    index = assignment.partition_index
    if index in placed:
        return _bad_assignment(f"Found multiple manual partition assignments for partition {index}")
    expected = next((len(replicas) for replicas in placed.values()), None)
    refusal = refusal_of_replicas(assignment.broker_ids, expected, image)
    return refusal or refusal_of_fenced(assignment.broker_ids, index, image)


def refusal_of_fenced(replicas: Sequence[int], index: int, image: Image) -> Refusal | None:
    """Say that a partition could not be led by anybody, if so."""
    if alive_of(replicas, image):
        return None
    return _bad_assignment(
        f"All brokers specified in the manual partition assignment for partition {index} are fenced or in "
        "controlled shutdown."
    )


def _bad_assignment(message: str) -> Refusal:
    return Refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)


def _new_topic_id(ask: Ask) -> Uuid:
    """Draw an id as Kafka does: a random UUID (version 4), never one that is taken."""
    while True:
        drawn = bytearray(ask.entropy.bytes(16))
        drawn[6] = drawn[6] & 0x0F | 0x40
        drawn[8] = drawn[8] & 0x3F | 0x80
        topic_id = Uuid(bytes(drawn))
        if topic_id not in ask.image.topics_by_id:
            return topic_id
