"""A consumer group seen from a client: its coordinator, and the offsets committed to it."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from rafka.client.cluster import Cluster
from rafka.client.errors import (
    COORDINATOR_MOVED,
    BrokerError,
    ClientError,
    CommitFailed,
    Unanswered,
    check,
)
from rafka.client.offsets import TopicPartition, know
from rafka.client.script import Steps, call, persist
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.find_coordinator_response import FindCoordinatorResponse
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.offset_commit_response import OffsetCommitResponse
from rafka.core.api.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from rafka.core.api.offset_fetch_response import OffsetFetchResponse, OffsetFetchResponseGroup
from rafka.core.errors import ErrorCode

T = TypeVar("T")
GROUP_LANE = "group"
"""Where members join, sync and beat."""
MOVED_ON = frozenset(
    (
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.FENCED_INSTANCE_ID,
        ErrorCode.GROUP_ID_NOT_FOUND,
    )
)
"""Answers to a commit of a member that the group does not know so any more."""


class Group:
    """A group by its id. node: its coordinator, None while unknown; member_id, generation: ours, as a member."""

    def __init__(self, cluster: Cluster, group_id: str, instance_id: str | None = None) -> None:
        self.cluster = cluster
        self.group_id = group_id
        self.instance_id = instance_id
        self.node: int | None = None
        self.member_id = ""
        self.generation = -1

    def coordinator(self) -> Steps[int]:
        """Return the coordinator's node; ask for it if it is unknown. Raises ClientError."""
        if self.node is None or self.node not in self.cluster.topology.addresses:
            request = FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group_id])
            answer = yield from call(request, FindCoordinatorResponse)
            (found,) = answer.coordinators
            check(found.error_code, f"the coordinator of group {self.group_id}", found.error_message)
            self.cluster.topology.addresses.setdefault(found.node_id, (found.host, found.port))
            self.node = found.node_id
        return self.node

    def heard(self, error: ClientError) -> None:
        """Forget the coordinator if an error says that it may be another."""
        is_elsewhere = isinstance(error, BrokerError) and error.code in COORDINATOR_MOVED
        if is_elsewhere or isinstance(error, Unanswered):
            self.node = None

    def persist(self, attempt: Callable[[], Steps[T]]) -> Steps[T]:
        """Repeat a script while it may succeed, at whoever is the coordinator then."""
        return persist(lambda: self.once(attempt))

    def once(self, attempt: Callable[[], Steps[T]]) -> Steps[T]:
        """Run a script; what it raises may tell that the coordinator moved."""
        try:
            return (yield from attempt())
        except ClientError as error:
            self.heard(error)
            raise

    # ---- offsets ---------------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[TopicPartition, int], *, is_final: bool = False) -> Steps[None]:
        """Commit offsets, as the member that we are. Raises CommitFailed if the group has moved on.

        is_final: try once only.
        """
        if not offsets:
            return
        repeat = self.once if is_final else self.persist
        yield from repeat(lambda: self._commit_once(offsets))

    def _commit_once(self, offsets: Mapping[TopicPartition, int]) -> Steps[None]:
        yield from know(self.cluster, [place.topic for place in offsets])
        node = yield from self.coordinator()
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for place, offset in offsets.items():
            topic_id = self.cluster.topology.topic_id(place.topic)
            topic = topics.setdefault(
                place.topic, OffsetCommitRequestTopic(name=place.topic, topic_id=topic_id)
            )
            part = OffsetCommitRequestPartition(partition_index=place.partition, committed_offset=offset)
            topic.partitions.append(part)
        request = OffsetCommitRequest(
            group_id=self.group_id,
            generation_id_or_member_epoch=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id if self.generation >= 0 else None,
            topics=list(topics.values()),
        )
        answer = yield from call(request, OffsetCommitResponse, node=node)
        for told in answer.topics:
            name = self.cluster.topology.name_of(told.name, told.topic_id)
            for result in told.partitions:
                if result.error_code in MOVED_ON:
                    raise CommitFailed(
                        f"group {self.group_id} has moved on: {ErrorCode(result.error_code).name}"
                    )
                check(result.error_code, f"the offset of {name}-{result.partition_index}")

    def committed(self, places: Iterable[TopicPartition] | None) -> Steps[dict[TopicPartition, int]]:
        """Return what is committed of these partitions, or of all; those of which nothing is are left out."""
        wanted = None if places is None else list(places)
        if wanted is not None and not wanted:
            return {}
        return (yield from self.persist(lambda: self._committed_once(wanted)))

    def _committed_once(self, places: list[TopicPartition] | None) -> Steps[dict[TopicPartition, int]]:
        topics: dict[str, OffsetFetchRequestTopics] = {}
        if places is not None:
            yield from know(self.cluster, [place.topic for place in places])
            for place in places:
                topic_id = self.cluster.topology.topic_id(place.topic)
                topic = topics.setdefault(
                    place.topic, OffsetFetchRequestTopics(name=place.topic, topic_id=topic_id)
                )
                topic.partition_indexes.append(place.partition)
        node = yield from self.coordinator()
        asked = OffsetFetchRequestGroup(
            group_id=self.group_id, topics=None if places is None else list(topics.values())
        )
        answer = yield from call(OffsetFetchRequest(groups=[asked]), OffsetFetchResponse, node=node)
        (group,) = answer.groups
        check(group.error_code, f"the offsets of group {self.group_id}")
        return self._read(group)

    def _read(self, group: OffsetFetchResponseGroup) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        for told in group.topics:
            name = self.cluster.topology.name_of(told.name, told.topic_id)
            if not name:
                continue  # its topic is gone, or unknown here
            for part in told.partitions:
                place = TopicPartition(name, part.partition_index)
                check(part.error_code, f"the offset of {place}")
                if part.committed_offset >= 0:
                    found[place] = part.committed_offset
        return found
