"""What an admin is told, as plain values."""

from rafka.client.membership import read_assignment
from rafka.client.offsets import TopicPartition
from rafka.core.api.describe_groups_response import DescribedGroup
from rafka.core.api.metadata_response import MetadataResponseTopic
from rafka.core.shape import value
from rafka.core.types import Uuid

DEFAULT_SOURCE = 5


@value
class PartitionDescription:
    """leader: -1 for none; replicas, isr: node ids."""

    partition: int
    leader: int
    replicas: list[int]
    isr: list[int]


@value
class TopicDescription:
    name: str
    topic_id: Uuid
    is_internal: bool
    partitions: list[PartitionDescription]


@value
class ConfigEntry:
    """value: None if it is sensitive, or null; source: Kafka's number, 1 for set on the topic, 5 for the default."""

    name: str
    value: str | None
    source: int
    is_read_only: bool
    is_sensitive: bool

    @property
    def is_default(self) -> bool:
        """Whether nobody set it."""
        return self.source == DEFAULT_SOURCE


@value
class GroupListing:
    group_id: str
    protocol_type: str
    state: str
    type: str


@value
class MemberDescription:
    """partitions: assigned to it; none for groups that are not of consumers."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    partitions: list[TopicPartition]


@value
class GroupDescription:
    group_id: str
    state: str
    protocol_type: str
    assignor: str
    members: list[MemberDescription]


@value
class BrokerAddress:
    node_id: int
    host: str
    port: int
    rack: str | None


@value
class ClusterDescription:
    """controller_id: in KRaft clusters, any broker, which passes on what is for the controller."""

    cluster_id: str | None
    controller_id: int
    brokers: list[BrokerAddress]


def describe_topic(told: MetadataResponseTopic) -> TopicDescription:
    """Make a plain value of what metadata says."""
    partitions = [
        PartitionDescription(p.partition_index, p.leader_id, list(p.replica_nodes), list(p.isr_nodes))
        for p in sorted(told.partitions, key=lambda p: p.partition_index)
    ]
    return TopicDescription(told.name or "", Uuid(bytes(told.topic_id)), told.is_internal, partitions)


def describe_group(told: DescribedGroup, *, is_consumers: bool) -> GroupDescription:
    """Make a plain value of what a coordinator says. Raises RemoteProtocolError if an assignment cannot be read."""
    members = []
    for one in told.members:
        assignment = read_assignment(one.member_assignment) if is_consumers else {}
        places = [TopicPartition(topic, n) for topic, indexes in assignment.items() for n in indexes]
        members.append(
            MemberDescription(one.member_id, one.group_instance_id, one.client_id, one.client_host, places)
        )
    return GroupDescription(told.group_id, told.group_state, told.protocol_type, told.protocol_data, members)
