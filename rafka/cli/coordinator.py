"""Talking to the coordinator of a consumer group: which node that is, and what it knows of the group."""

from typing import TypeVar

from rafka.cli.address import join_address
from rafka.cli.cluster import Cluster
from rafka.cli.offsets import Place
from rafka.cli.patience import until_ready
from rafka.cli.refusal import check
from rafka.cli.wire import Wire
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
from rafka.core.api.describe_groups_response import DescribedGroup, DescribeGroupsResponse
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.find_coordinator_response import Coordinator, FindCoordinatorResponse
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.offset_commit_response import OffsetCommitResponse
from rafka.core.api.offset_fetch_request import OffsetFetchRequest, OffsetFetchRequestGroup
from rafka.core.api.offset_fetch_response import OffsetFetchResponse, OffsetFetchResponseGroup
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.types import ZERO_UUID

R = TypeVar("R", bound=Message)

GROUP_KEY = 0
NO_GENERATION = -1
DEAD = "Dead"


class GroupCoordinator:
    """A group, through the node that keeps it. node, address: that node's number and where it says it is."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        """Find the coordinator. Raises RafkaError when there is none, or it cannot be reached."""
        self.cluster = cluster
        self.group = group
        found = until_ready(self._find, lambda coordinator: coordinator.error_code)
        check(found.error_code, group, found.error_message)
        self.node = found.node_id
        self.address = join_address(found.host, found.port)
        self.wire: Wire = cluster.at(self.node, self.address)

    def _find(self) -> Coordinator:
        request = FindCoordinatorRequest(key_type=GROUP_KEY, coordinator_keys=[self.group])
        answer = self.cluster.any.call(request, FindCoordinatorResponse)
        return answer.coordinators[0]

    def describe(self) -> DescribedGroup:
        """Return the group's state and members; one that does not exist is Dead. Raises RafkaError."""
        request = DescribeGroupsRequest(groups=[self.group])
        found = until_ready(
            lambda: self.wire.call(request, DescribeGroupsResponse).groups[0], lambda group: group.error_code
        )
        if found.error_code == ErrorCode.GROUP_ID_NOT_FOUND and "not a classic" not in (
            found.error_message or ""
        ):
            return DescribedGroup(group_id=self.group, group_state=DEAD)
        check(found.error_code, self.group, found.error_message)
        return found

    def committed(self) -> dict[Place, int]:
        """Return every offset that the group has committed, of topics that still exist. Raises RafkaError."""
        group = OffsetFetchRequestGroup(group_id=self.group, topics=None)
        request = OffsetFetchRequest(groups=[group])

        def ask() -> OffsetFetchResponseGroup:
            return self.wire.call(request, OffsetFetchResponse).groups[0]

        answer = until_ready(ask, lambda group: group.error_code)
        check(answer.error_code, self.group, None)
        offsets: dict[Place, int] = {}
        for topic in answer.topics:
            name = topic.name or self.cluster.names.get(topic.topic_id)
            if name is None:
                continue
            for one in topic.partitions:
                check(one.error_code, f"{name}-{one.partition_index}", None)
                if one.committed_offset >= 0:
                    offsets[name, one.partition_index] = one.committed_offset
        return offsets

    def commit(self, offsets: dict[Place, int], member_id: str = "", generation: int = NO_GENERATION) -> int:
        """Commit offsets, as a member or as an administrator of an empty group; return the first error code.

        Raises RafkaError when the connection breaks.
        """
        if not offsets:
            return ErrorCode.NONE
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for (name, partition), offset in sorted(offsets.items()):
            known = self.cluster.topics.get(name)
            topic_id = ZERO_UUID if known is None else known.topic_id
            topic = topics.setdefault(
                name, OffsetCommitRequestTopic(name=name, topic_id=topic_id, partitions=[])
            )
            topic.partitions.append(
                OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
            )
        request = OffsetCommitRequest(
            group_id=self.group,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            topics=list(topics.values()),
        )
        return until_ready(lambda: first_error(self.wire.call(request, OffsetCommitResponse)), int)


def first_error(answer: OffsetCommitResponse) -> int:
    """Return the first error code in an answer to a commit."""
    codes = (one.error_code for topic in answer.topics for one in topic.partitions)
    return next(filter(None, codes), ErrorCode.NONE)
