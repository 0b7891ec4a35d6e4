"""What the metadata log says: topics, partitions, settings, brokers, features, as the fold of its records.

`apply` takes the committed records in order. It is total: a record that it does not know, or that does not fit what
came before, changes nothing. So replaying one log always gives the same image, and no bytes on disk can stop a node.
What a record changed stands in `changes` until the node takes it.

Kafka's records are absolute, but for PartitionChangeRecord and BrokerRegistrationChangeRecord: their fields, when
absent (null, -2, 0), leave the value as it is.

Sources: KIP-631; Kafka's `TopicsDelta`, `ConfigurationsDelta`, `ClusterDelta`, `FeaturesDelta`, `ProducerIdsDelta`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from rafka.core.config.broker import BROKER_SETTINGS
from rafka.core.config.cordoned import CORDONED, is_cordoned, names_of
from rafka.core.config.log import LogConfig
from rafka.core.config.resolve import Layers, broker_origins, log_config
from rafka.core.config.setting import Setting
from rafka.core.config.topic import TOPIC_SETTINGS
from rafka.core.errors import ConfigError
from rafka.core.message import Message
from rafka.core.metadata.names import unified
from rafka.core.shape import value
from rafka.core.stored.broker_registration_change_record import BrokerRegistrationChangeRecord
from rafka.core.stored.config_record import ConfigRecord
from rafka.core.stored.feature_level_record import FeatureLevelRecord
from rafka.core.stored.fence_broker_record import FenceBrokerRecord
from rafka.core.stored.partition_change_record import PartitionChangeRecord
from rafka.core.stored.partition_record import PartitionRecord
from rafka.core.stored.producer_ids_record import ProducerIdsRecord
from rafka.core.stored.register_broker_record import RegisterBrokerRecord
from rafka.core.stored.remove_topic_record import RemoveTopicRecord
from rafka.core.stored.topic_record import TopicRecord
from rafka.core.stored.unfence_broker_record import UnfenceBrokerRecord
from rafka.core.stored.unregister_broker_record import UnregisterBrokerRecord
from rafka.core.types import NodeId, Uuid

TOPIC: Final = 2
BROKER: Final = 4
"""Resource types of ConfigRecord and of the requests about settings (Kafka's `ConfigResource.Type`)."""
NO_LEADER: Final = -1
V = TypeVar("V")
_UNCHANGED_LEADER: Final = -2


@value
class PartitionImage:
    """One partition. leader: node id, -1 for none; the epochs count from 0."""

    index: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    removing_replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    directories: tuple[Uuid, ...]
    """Where each of `replicas` is, in its order; ZERO_UUID: not yet assigned."""


@attrs.define
class TopicImage:
    """One topic. partitions: a partition's index is its place; grows as partitions are added."""

    name: str
    topic_id: Uuid
    partitions: list[PartitionImage] = attrs.field(factory=list)


@value
class Endpoint:
    """One listener of a broker. name: upper case; security_protocol: 0 is PLAINTEXT."""

    name: str
    host: str
    port: int
    security_protocol: int = 0


@value
class BrokerImage:
    """One broker's registration. features: name to the lowest and highest level it supports."""

    node_id: int
    epoch: int
    incarnation_id: Uuid
    endpoints: tuple[Endpoint, ...]
    rack: str | None
    fenced: bool
    in_controlled_shutdown: bool
    directories: tuple[Uuid, ...]
    features: dict[str, tuple[int, int]]


@attrs.define
class Changes:
    """What records changed since the last `clear`.

    configured: names of topics, or "" for broker settings, which may change any topic's logs.
    """

    created: list[tuple[TopicImage, int]] = attrs.field(factory=list)
    """Topic and index of each new partition."""
    deleted: list[TopicImage] = attrs.field(factory=list)
    configured: list[str] = attrs.field(factory=list)
    led: list[tuple[TopicImage, int]] = attrs.field(factory=list)
    """Topic and index of each partition whose leader or in-sync replicas were changed."""

    def clear(self) -> None:
        """Forget them all."""
        for entries in (self.created, self.deleted, self.configured, self.led):
            entries.clear()


@attrs.define
class Image:
    """The cluster as this node knows it. Only `apply` changes it.

    node_id: this node's; static: the settings it was started with, canonical (`Settings.given`); data_dir: the path
    of its data directory, as DescribeLogDirs shows it.
    """

    node_id: NodeId
    static: Mapping[str, str]
    data_dir: str
    topics: dict[str, TopicImage] = attrs.field(factory=dict)
    topics_by_id: dict[Uuid, TopicImage] = attrs.field(factory=dict)
    topic_configs: dict[str, dict[str, str]] = attrs.field(factory=dict)
    """What topics set themselves, canonical; no entry for a topic that sets nothing."""
    broker_configs: dict[str, dict[str, str]] = attrs.field(factory=dict)
    """What was altered while running, by node id as text; "" for all brokers."""
    brokers: dict[int, BrokerImage] = attrs.field(factory=dict)
    features: dict[str, int] = attrs.field(factory=dict)
    """Finalized levels."""
    next_producer_id: int = 0
    """The first id that is in no block yet."""
    colliding: dict[str, list[str]] = attrs.field(factory=dict)
    """Topics whose names have a dot or an underscore, by the name with all dots made underscores."""
    applied: int = 0
    """How many records."""
    changes: Changes = attrs.field(factory=Changes, eq=False)
    _log_configs: dict[tuple[tuple[str, str], ...], LogConfig] = attrs.field(factory=dict, eq=False)

    # ---- questions -----------------------------------------------------------------------------

    def topic(self, name: str) -> TopicImage | None:
        """Return a topic by its name."""
        return self.topics.get(name)

    def topic_by_id(self, topic_id: Uuid) -> TopicImage | None:
        """Return a topic by its id."""
        return self.topics_by_id.get(topic_id)

    def own_config(self, topic: str) -> Mapping[str, str]:
        """Return what a topic sets itself."""
        return self.topic_configs.get(topic, {})

    def layers(self) -> Layers:
        """Return this broker's settings by layer."""
        this_broker = self.broker_configs.get(str(self.node_id), {})
        return Layers(this_broker, self.broker_configs.get("", {}), self.static)

    def data_dir_names(self) -> tuple[str, ...]:
        """Return what this broker's data directory may be called in its settings."""
        return names_of(self.data_dir, self.static)

    def is_cordoned(self, node_id: int) -> bool:
        """Whether a broker gets no new partitions, because its data directory is cordoned (KIP-1066).

        Known of this node alone: another says so once it registers, from metadata.version 4.3-IV0 on.
        """
        if node_id != self.node_id:
            return False
        (value, *_) = broker_origins(BROKER_SETTINGS[CORDONED], self.layers())
        return is_cordoned(value.value, self.data_dir_names())

    def log_config(self, topic: str) -> LogConfig:
        """Return what a topic's logs obey; the same object for topics that set the same."""
        own = self.own_config(topic)
        key = tuple(sorted(own.items()))
        found = self._log_configs.get(key)
        if found is None:
            found = self._log_configs[key] = log_config(own, self.layers())
        return found

    def check(self) -> None:
        """Assert what always holds of an image. For tests, and after a replay."""
        assert {t.topic_id: t for t in self.topics.values()} == self.topics_by_id
        assert all(name == topic.name for name, topic in self.topics.items())
        assert all(name in self.topics for name in self.topic_configs)
        assert all(self.topic_configs.values()), "an empty entry"
        assert all(self.broker_configs.values()), "an empty entry"
        for topic in self.topics.values():
            for index, partition in enumerate(topic.partitions):
                _check_partition(index, partition)
        colliding = [name for names in self.colliding.values() for name in names]
        assert sorted(colliding) == sorted(name for name in self.topics if unified(name) is not None)

    # ---- the fold ------------------------------------------------------------------------------

    def apply(self, record: Message) -> None:
        """Take the next committed record."""
        self.applied += 1
        fold = _FOLDS.get(record.__class__)
        if fold is not None:
            fold(self, record)

    def _topic(self, record: TopicRecord) -> None:
        if record.name in self.topics or record.topic_id in self.topics_by_id:
            return
        topic = TopicImage(record.name, record.topic_id)
        self.topics[record.name] = self.topics_by_id[record.topic_id] = topic
        key = unified(record.name)
        if key is not None:
            self.colliding.setdefault(key, []).append(record.name)

    def _remove_topic(self, record: RemoveTopicRecord) -> None:
        topic = self.topics_by_id.pop(record.topic_id, None)
        if topic is None:
            return
        del self.topics[topic.name]
        self.topic_configs.pop(topic.name, None)
        key = unified(topic.name)
        if key is not None:
            self.colliding[key].remove(topic.name)
            if not self.colliding[key]:
                del self.colliding[key]
        self.changes.deleted.append(topic)

    def _partition(self, record: PartitionRecord) -> None:
        topic = self.topics_by_id.get(record.topic_id)
        if topic is None or not 0 <= record.partition_id <= len(topic.partitions):
            return
        partition = _partition_image(record)
        if record.partition_id < len(topic.partitions):
            topic.partitions[record.partition_id] = partition
            self.changes.led.append((topic, record.partition_id))
        else:
            topic.partitions.append(partition)
            self.changes.created.append((topic, record.partition_id))

    def _partition_change(self, record: PartitionChangeRecord) -> None:
        topic = self.topics_by_id.get(record.topic_id)
        if topic is None or not 0 <= record.partition_id < len(topic.partitions):
            return
        topic.partitions[record.partition_id] = _changed(topic.partitions[record.partition_id], record)
        self.changes.led.append((topic, record.partition_id))

    def _config(self, record: ConfigRecord) -> None:
        if record.resource_type == TOPIC and record.resource_name in self.topics:
            if _fold_config(self.topic_configs, TOPIC_SETTINGS, record):
                self.changes.configured.append(record.resource_name)
        elif record.resource_type == BROKER and _fold_config(self.broker_configs, BROKER_SETTINGS, record):
            self._log_configs.clear()
            self.changes.configured.append("")

    def _register_broker(self, record: RegisterBrokerRecord) -> None:
        self.brokers[record.broker_id] = BrokerImage(
            node_id=record.broker_id,
            epoch=record.broker_epoch,
            incarnation_id=record.incarnation_id,
            endpoints=tuple(Endpoint(e.name, e.host, e.port, e.security_protocol) for e in record.end_points),
            rack=record.rack,
            fenced=record.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown,
            directories=tuple(record.log_dirs),
            features={f.name: (f.min_supported_version, f.max_supported_version) for f in record.features},
        )

    def _unregister_broker(self, record: UnregisterBrokerRecord) -> None:
        self.brokers.pop(record.broker_id, None)

    def _fence(self, record: FenceBrokerRecord) -> None:
        self._set_broker(record.id, fenced=True)

    def _unfence(self, record: UnfenceBrokerRecord) -> None:
        self._set_broker(record.id, fenced=False)

    def _registration_change(self, record: BrokerRegistrationChangeRecord) -> None:
        if record.fenced:
            self._set_broker(record.broker_id, fenced=record.fenced == 1)
        if record.in_controlled_shutdown:
            self._set_broker(record.broker_id, in_controlled_shutdown=True)
        if record.log_dirs:
            self._set_broker(record.broker_id, directories=tuple(record.log_dirs))

    def _set_broker(self, node_id: int, **fields: object) -> None:
        broker = self.brokers.get(node_id)
        if broker is not None:
            self.brokers[node_id] = _evolved(broker, **fields)

    def _feature(self, record: FeatureLevelRecord) -> None:
        if record.feature_level == 0:
            self.features.pop(record.name, None)
        else:
            self.features[record.name] = record.feature_level

    def _producer_ids(self, record: ProducerIdsRecord) -> None:
        self.next_producer_id = max(self.next_producer_id, record.next_producer_id)


_FOLDS: dict[type[Message], Callable[[Image, Any], None]] = {
    TopicRecord: Image._topic,  # noqa: SLF001 – the fold's own cases, by class
    RemoveTopicRecord: Image._remove_topic,  # noqa: SLF001
    PartitionRecord: Image._partition,  # noqa: SLF001
    PartitionChangeRecord: Image._partition_change,  # noqa: SLF001
    ConfigRecord: Image._config,  # noqa: SLF001
    RegisterBrokerRecord: Image._register_broker,  # noqa: SLF001
    UnregisterBrokerRecord: Image._unregister_broker,  # noqa: SLF001
    FenceBrokerRecord: Image._fence,  # noqa: SLF001
    UnfenceBrokerRecord: Image._unfence,  # noqa: SLF001
    BrokerRegistrationChangeRecord: Image._registration_change,  # noqa: SLF001
    FeatureLevelRecord: Image._feature,  # noqa: SLF001
    ProducerIdsRecord: Image._producer_ids,  # noqa: SLF001
}


def _evolved(before: V, **fields: object) -> V:
    """Return the value with some fields changed."""
    return attrs.evolve(before, **fields)  # type: ignore[misc]  # every @value is an attrs class


def _partition_image(record: PartitionRecord) -> PartitionImage:
    return PartitionImage(
        index=record.partition_id,
        replicas=tuple(record.replicas),
        isr=tuple(record.isr),
        removing_replicas=tuple(record.removing_replicas),
        adding_replicas=tuple(record.adding_replicas),
        leader=record.leader,
        leader_epoch=record.leader_epoch,
        partition_epoch=record.partition_epoch,
        directories=tuple(record.directories),
    )


def _changed(partition: PartitionImage, record: PartitionChangeRecord) -> PartitionImage:
    changed = _evolved(partition, partition_epoch=partition.partition_epoch + 1)
    for name in ("replicas", "isr", "removing_replicas", "adding_replicas", "directories"):
        given = getattr(record, name)
        if given is not None:
            changed = _evolved(changed, **{name: tuple(given)})
    if record.leader != _UNCHANGED_LEADER:
        changed = _evolved(changed, leader=record.leader, leader_epoch=partition.leader_epoch + 1)
    return changed


def _fold_config(
    configs: dict[str, dict[str, str]], settings: Mapping[str, Setting], record: ConfigRecord
) -> bool:
    """Set or (null) remove one setting. Return whether it is one that this version knows and can obey."""
    setting = settings.get(record.name)
    if setting is None:
        return False
    own = configs.get(record.resource_name, {})
    if record.value is None:
        own.pop(record.name, None)
    else:
        try:
            own[record.name] = setting.parse(record.value)
        except ConfigError:
            return False
        configs[record.resource_name] = own
    if not own:
        configs.pop(record.resource_name, None)
    return True


def _check_partition(index: int, partition: PartitionImage) -> None:
    assert partition.index == index
    assert all(replica in partition.replicas for replica in partition.isr)
    assert partition.leader == NO_LEADER or partition.leader in partition.isr
    assert partition.leader_epoch >= 0
    assert partition.partition_epoch >= 0
