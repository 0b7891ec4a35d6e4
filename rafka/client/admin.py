"""The admin's machine: each operation is a script that ends with a plain value, or with one error.

An operation goes to whoever can do it: any broker, the leader of a partition, or the coordinator of a group. What may
get better is tried again until `operation_timeout_ms`; that a topic or group is not there is told at once.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from rafka.client.described import (
    BrokerAddress,
    ClusterDescription,
    ConfigEntry,
    GroupDescription,
    GroupListing,
    TopicDescription,
    describe_group,
    describe_topic,
)
from rafka.client.errors import BrokerError, ClientError, NotThere, check
from rafka.client.group import Group
from rafka.client.machine import ClientMachine
from rafka.client.membership import PROTOCOL_TYPE
from rafka.client.offsets import OffsetAndTimestamp, TopicPartition, list_offsets
from rafka.client.outputs import Pending
from rafka.client.script import Ask, Steps, call, persist
from rafka.core.api.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from rafka.core.api.create_partitions_response import CreatePartitionsResponse
from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreateTopicsResponse
from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.delete_groups_response import DeleteGroupsResponse
from rafka.core.api.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from rafka.core.api.delete_records_response import DeleteRecordsResponse
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.api.delete_topics_response import DeleteTopicsResponse
from rafka.core.api.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from rafka.core.api.describe_configs_response import DescribeConfigsResponse
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
from rafka.core.api.describe_groups_response import DescribeGroupsResponse
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from rafka.core.api.incremental_alter_configs_response import IncrementalAlterConfigsResponse
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListGroupsResponse
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.types import Now

R = TypeVar("R", bound=Message)
TOPIC: Final = 2
"""Kafka's number for configs of topics; 4: of brokers."""
BROKER: Final = 4
SET, DELETE = 0, 1
REQUEST_MS: Final = 30_000
"""How long a broker may take for what it does not answer at once."""
DEAD: Final = "Dead"
"""The state in which a broker describes a group that is not there."""


class Admin(ClientMachine):
    """See the file's header. Every method returns a result that will be there."""

    # ---- topics --------------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        now: Now,
        *,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
    ) -> Pending[None]:
        """Make a topic; -1: as the broker's settings say."""
        pairs = [CreatableTopicConfig(name=key, value=text) for key, text in (configs or {}).items()]
        wanted = CreatableTopic(
            name=name, num_partitions=partitions, replication_factor=replication_factor, configs=pairs
        )
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=REQUEST_MS)

        def once() -> Steps[None]:
            answer = yield from call(request, CreateTopicsResponse)
            (result,) = answer.topics
            check(result.error_code, name, result.error_message)

        return self.run(persist(once), now, f"making topic {name}")

    def delete_topic(self, name: str, now: Now) -> Pending[None]:
        """Delete a topic with all its records."""
        request = DeleteTopicsRequest(
            topics=[DeleteTopicState(name=name)], topic_names=[name], timeout_ms=REQUEST_MS
        )

        def once() -> Steps[None]:
            answer = yield from call(request, DeleteTopicsResponse)
            (result,) = answer.responses
            _check_now(result.error_code, name, result.error_message)

        return self.run(persist(once), now, f"deleting topic {name}")

    def create_partitions(self, name: str, count: int, now: Now) -> Pending[None]:
        """Let a topic have so many partitions in all."""
        topic = CreatePartitionsTopic(name=name, count=count, assignments=None)
        request = CreatePartitionsRequest(topics=[topic], timeout_ms=REQUEST_MS)

        def once() -> Steps[None]:
            answer = yield from call(request, CreatePartitionsResponse)
            (result,) = answer.results
            _check_now(result.error_code, name, result.error_message)

        return self.run(persist(once), now, f"giving topic {name} partitions")

    def list_topics(self, now: Now, *, internal: bool = False) -> Pending[list[str]]:
        """Tell the names of all topics. internal: those that Kafka keeps for itself, too."""

        def once() -> Steps[list[str]]:
            answer = yield from _metadata(None)
            return sorted(t.name for t in answer.topics if t.name and (internal or not t.is_internal))

        return self.run(persist(once), now, "listing topics")

    def describe_topic(self, name: str, now: Now) -> Pending[TopicDescription]:
        """Tell a topic's id and partitions."""

        def once() -> Steps[TopicDescription]:
            answer = yield from _metadata([name])
            (told,) = answer.topics
            _check_now(told.error_code, name)
            return describe_topic(told)

        return self.run(persist(once), now, f"describing topic {name}")

    # ---- configs -------------------------------------------------------------------------------------

    def describe_configs(self, name: str, now: Now, *, kind: int = TOPIC) -> Pending[dict[str, ConfigEntry]]:
        """Tell the configs of a topic, or (kind=BROKER) of the broker with this id."""

        def once() -> Steps[dict[str, ConfigEntry]]:
            resource = DescribeConfigsResource(
                resource_type=kind, resource_name=name, configuration_keys=None
            )
            request = DescribeConfigsRequest(resources=[resource])
            answer = yield from self._at_resource(kind, name, request, DescribeConfigsResponse)
            (result,) = answer.results
            _check_now(result.error_code, name, result.error_message)
            return {
                c.name: ConfigEntry(c.name, c.value, c.config_source, c.read_only, c.is_sensitive)
                for c in result.configs
            }

        return self.run(persist(once), now, f"describing the configs of {name}")

    def alter_configs(
        self, name: str, changes: Mapping[str, str | None], now: Now, *, kind: int = TOPIC
    ) -> Pending[None]:
        """Set configs, all or none; None: to what holds without them."""
        configs = [
            AlterableConfig(name=key, config_operation=DELETE if text is None else SET, value=text)
            for key, text in changes.items()
        ]
        resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)

        def once() -> Steps[None]:
            request = IncrementalAlterConfigsRequest(resources=[resource])
            answer = yield from self._at_resource(kind, name, request, IncrementalAlterConfigsResponse)
            (result,) = answer.responses
            _check_now(result.error_code, name, result.error_message)

        return self.run(persist(once), now, f"altering the configs of {name}")

    def _at_resource(self, kind: int, name: str, request: Message, answer: type[R]) -> Steps[R]:
        """Ask the broker that is asked about; any, about a topic."""
        if kind != BROKER or not name.isdecimal():
            return (yield from call(request, answer))
        if int(name) not in self.cluster.topology.addresses:
            self.cluster.topology.learn((yield from _metadata([])))
        return (yield from call(request, answer, node=int(name)))

    # ---- records and offsets -------------------------------------------------------------------------

    def delete_records(
        self, before: Mapping[TopicPartition, int], now: Now
    ) -> Pending[dict[TopicPartition, int]]:
        """Delete the records before these offsets (-1: all that there are); tell where each partition begins now."""
        return self.run(persist(lambda: self._delete_records(before)), now, "deleting records")

    def _delete_records(self, before: Mapping[TopicPartition, int]) -> Steps[dict[TopicPartition, int]]:
        yield from self._must_exist([place[0] for place in before])
        by_node: dict[int, dict[str, DeleteRecordsTopic]] = {}
        for (name, partition), offset in before.items():
            leader = self.cluster.topology.leader(name, partition)
            if leader < 0:
                self.cluster.refresh()
                raise BrokerError(ErrorCode.LEADER_NOT_AVAILABLE, f"{name}-{partition}")
            topic = by_node.setdefault(leader, {}).setdefault(name, DeleteRecordsTopic(name=name))
            topic.partitions.append(DeleteRecordsPartition(partition_index=partition, offset=offset))
        replies = yield [
            Ask(DeleteRecordsRequest(topics=list(topics.values()), timeout_ms=REQUEST_MS), node)
            for node, topics in by_node.items()
        ]
        starts: dict[TopicPartition, int] = {}
        for reply in replies:
            if isinstance(reply, ClientError):
                raise reply
            assert isinstance(reply, DeleteRecordsResponse)
            for told in reply.topics:
                for part in told.partitions:
                    place = TopicPartition(told.name, part.partition_index)
                    if part.error_code:
                        self.cluster.refresh()
                    check(part.error_code, str(place))
                    starts[place] = part.low_watermark
        return starts

    def list_offsets(
        self, times: Mapping[TopicPartition, int], now: Now
    ) -> Pending[dict[TopicPartition, OffsetAndTimestamp]]:
        """Tell the first offset whose record's time is this or later, ms; -1 if there is none. EARLIEST, LATEST too."""
        wanted = {TopicPartition(*place): time for place, time in times.items()}

        def steps() -> Steps[dict[TopicPartition, OffsetAndTimestamp]]:
            yield from self._must_exist([place.topic for place in wanted])
            return (yield from list_offsets(self.cluster, wanted))

        return self.run(persist(steps), now, "a look-up of offsets")

    def _must_exist(self, names: Iterable[str]) -> Steps[None]:
        """Learn of topics; raise NotThere at once if one is not there."""
        answer = yield from _metadata(dict.fromkeys(names))
        for told in answer.topics:
            _check_now(told.error_code, told.name or "")
        self.cluster.topology.learn(answer)

    # ---- groups --------------------------------------------------------------------------------------

    def list_groups(self, now: Now) -> Pending[list[GroupListing]]:
        """Tell all groups of all brokers."""

        def once() -> Steps[list[GroupListing]]:
            self.cluster.topology.learn((yield from _metadata([])))
            replies = yield [Ask(ListGroupsRequest(), node) for node in self.cluster.topology.addresses]
            found: list[GroupListing] = []
            for reply in replies:
                if isinstance(reply, ClientError):
                    raise reply
                assert isinstance(reply, ListGroupsResponse)
                check(reply.error_code, "the groups")
                found += [
                    GroupListing(g.group_id, g.protocol_type, g.group_state, g.group_type)
                    for g in reply.groups
                ]
            return sorted(found, key=lambda group: group.group_id)

        return self.run(persist(once), now, "listing groups")

    def describe_group(self, group_id: str, now: Now) -> Pending[GroupDescription]:
        """Tell a group's state and members. Fails with GROUP_ID_NOT_FOUND if there is none."""
        group = Group(self.cluster, group_id)

        def once() -> Steps[GroupDescription]:
            node = yield from group.coordinator()
            answer = yield from call(
                DescribeGroupsRequest(groups=[group_id]), DescribeGroupsResponse, node=node
            )
            (told,) = answer.groups
            check(told.error_code, f"group {group_id}", told.error_message)
            if told.group_state == DEAD:
                raise BrokerError(ErrorCode.GROUP_ID_NOT_FOUND, f"group {group_id}")
            return describe_group(told, is_consumers=told.protocol_type == PROTOCOL_TYPE)

        return self.run(group.persist(once), now, f"describing group {group_id}")

    def delete_group(self, group_id: str, now: Now) -> Pending[None]:
        """Delete a group without members, and its offsets."""
        group = Group(self.cluster, group_id)

        def once() -> Steps[None]:
            node = yield from group.coordinator()
            request = DeleteGroupsRequest(groups_names=[group_id])
            answer = yield from call(request, DeleteGroupsResponse, node=node)
            (result,) = answer.results
            check(result.error_code, f"group {group_id}", result.error_message)

        return self.run(group.persist(once), now, f"deleting group {group_id}")

    def group_offsets(self, group_id: str, now: Now) -> Pending[dict[TopicPartition, int]]:
        """Tell all that a group has committed."""
        group = Group(self.cluster, group_id)

        def once() -> Steps[dict[TopicPartition, int]]:
            self.cluster.topology.learn((yield from _metadata(None)))  # newer answers name topics by id
            return (yield from group.committed(None))

        return self.run(persist(once), now, f"the offsets of group {group_id}")

    def alter_group_offsets(
        self, group_id: str, offsets: Mapping[TopicPartition, int], now: Now
    ) -> Pending[None]:
        """Commit offsets for a group without members."""
        wanted = {TopicPartition(*place): offset for place, offset in offsets.items()}

        def once() -> Steps[None]:
            yield from self._must_exist([place.topic for place in wanted])
            yield from Group(self.cluster, group_id).commit(wanted)

        return self.run(persist(once), now, f"the offsets of group {group_id}")

    # ---- the cluster ---------------------------------------------------------------------------------

    def describe_cluster(self, now: Now) -> Pending[ClusterDescription]:
        """Tell the cluster's id and brokers."""

        def once() -> Steps[ClusterDescription]:
            answer = yield from _metadata([])
            brokers = [BrokerAddress(b.node_id, b.host, b.port, b.rack) for b in answer.brokers]
            return ClusterDescription(answer.cluster_id, answer.controller_id, brokers)

        return self.run(persist(once), now, "describing the cluster")

    def close(self) -> Pending[None]:
        """End; what is under way fails with Closed."""
        pending = Pending[None]()
        self.abandon()
        self.out.settle(pending, None)
        return pending


def _metadata(names: Iterable[str] | None) -> Steps[MetadataResponse]:
    topics = None if names is None else [MetadataRequestTopic(name=name) for name in names]
    request = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
    answer = yield from call(request, MetadataResponse)
    check(answer.error_code, "metadata")
    return answer


def _check_now(code: int, about: str, message: str | None = None) -> None:
    if code in (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID):
        raise NotThere(code, about, message)
    check(code, about, message)
