"""Committed offsets: who may commit, what is stored, what is read back, and when it is forgotten.

Only `Offsets.fold` changes what is committed, from records; a commit is decided as records first. An offset expires
`offsets.retention.minutes` after its group became empty (KIP-211); a group that never had members (a consumer that
assigns itself) counts from each commit instead, and so does a topic that a stable group no longer consumes.
Sources: KIP-211, KIP-496 (OffsetDelete), KIP-709 (many groups); Kafka's OffsetMetadataManager.
"""

import attrs

from rafka.core.api.offset_commit_request import OffsetCommitRequest, OffsetCommitRequestPartition
from rafka.core.api.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from rafka.core.api.offset_delete_request import OffsetDeleteRequest
from rafka.core.api.offset_delete_response import (
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from rafka.core.coordinator.group.classic import Group, State
from rafka.core.coordinator.group.rebalance import Turn
from rafka.core.coordinator.group.records import Row, offset_row
from rafka.core.coordinator.group.settings import GroupSettings, Topics
from rafka.core.errors import ErrorCode
from rafka.core.stored.offset_commit_value import OffsetCommitValue
from rafka.core.types import ZERO_UUID, Uuid

Partition = tuple[str, int]


@attrs.define(eq=False)
class Offsets:
    """What is committed in one shard: group id to (topic, partition) to the record's value."""

    of: dict[str, dict[Partition, OffsetCommitValue]] = attrs.field(factory=dict)

    def fold(self, group_id: str, place: Partition, committed: OffsetCommitValue | None) -> None:
        """Apply one record."""
        if committed is not None:
            self.of.setdefault(group_id, {})[place] = committed
            return
        kept = self.of.get(group_id, {})
        kept.pop(place, None)
        if not kept:
            self.of.pop(group_id, None)

    def find(self, group_id: str, place: Partition) -> OffsetCommitValue | None:
        """Return what is committed for a partition."""
        return self.of.get(group_id, {}).get(place)


def refusal_of_commit(group: Group | None, request: OffsetCommitRequest, version: int) -> ErrorCode:
    """Say whether the sender may commit: group and generation as they are now, or no membership at all."""
    generation, member_id = request.generation_id_or_member_epoch, request.member_id
    if group is None:
        # A consumer that assigns itself may create the group; a member of no group may not.
        unknown = ErrorCode.GROUP_ID_NOT_FOUND if version >= 9 else ErrorCode.ILLEGAL_GENERATION
        return ErrorCode.NONE if generation < 0 else unknown
    if generation < 0 and group.state is State.EMPTY:
        return ErrorCode.NONE
    if generation < 0 and member_id == "" and request.group_instance_id is None:
        return ErrorCode.UNKNOWN_MEMBER_ID
    code = group.validate(member_id, request.group_instance_id)
    if code is not ErrorCode.NONE:
        return code
    if generation != group.generation:
        return ErrorCode.ILLEGAL_GENERATION
    return ErrorCode.REBALANCE_IN_PROGRESS if group.state is State.COMPLETING else ErrorCode.NONE


def commit(
    request: OffsetCommitRequest,
    version: int,
    refusal: ErrorCode,
    topics: Topics,
    settings: GroupSettings,
    turn: Turn,
) -> OffsetCommitResponse:
    """Decide every partition of a commit; refusal: the error of all of them, or NONE."""
    answers = []
    for topic in request.topics:
        name = topics.name_of(topic.topic_id) if version >= 10 else topic.name
        topic_id = topic.topic_id if version >= 10 else topics.id_of(topic.name)
        unknown = ErrorCode.UNKNOWN_TOPIC_ID if version >= 10 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        code = refusal
        if code is ErrorCode.NONE and (name is None or topic_id is None):
            code = unknown
        answer = OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id)
        for partition in topic.partitions:
            metadata = partition.committed_metadata or ""
            verdict = code
            if verdict is ErrorCode.NONE and len(metadata.encode()) > settings.offset_metadata_max_bytes:
                verdict = ErrorCode.OFFSET_METADATA_TOO_LARGE
            if verdict is ErrorCode.NONE:
                committed = _committed(request, partition, metadata, topic_id or ZERO_UUID, turn.now.wall)
                turn.rows.append(
                    offset_row(request.group_id, name or "", partition.partition_index, committed)
                )
            answer.partitions.append(
                OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=verdict)
            )
        answers.append(answer)
    return OffsetCommitResponse(topics=answers)


def _committed(
    request: OffsetCommitRequest,
    partition: OffsetCommitRequestPartition,
    metadata: str,
    topic_id: Uuid,
    wall_ms: int,
) -> OffsetCommitValue:
    if request.retention_time_ms == -1:
        return OffsetCommitValue(
            offset=partition.committed_offset,
            leader_epoch=partition.committed_leader_epoch,
            metadata=metadata,
            commit_timestamp=wall_ms,
            topic_id=topic_id,
        )
    # The version of the record that has an expiry has neither leader epoch nor topic id.
    return OffsetCommitValue(
        offset=partition.committed_offset,
        metadata=metadata,
        commit_timestamp=wall_ms,
        expire_timestamp=wall_ms + request.retention_time_ms,
    )


def delete(
    request: OffsetDeleteRequest, group: Group | None, offsets: Offsets, topics: Topics, turn: Turn
) -> OffsetDeleteResponse:
    """Decide an OffsetDelete (KIP-496): never of a topic that the group consumes."""
    if group is None:
        return OffsetDeleteResponse(error_code=ErrorCode.GROUP_ID_NOT_FOUND)
    subscribed = [] if group.state is State.EMPTY else group.subscribed_topics()
    if subscribed is None:
        return OffsetDeleteResponse(error_code=ErrorCode.NON_EMPTY_GROUP)
    answers = []
    for topic in request.topics:
        code = ErrorCode.NONE
        if topics.id_of(topic.name) is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        elif topic.name in subscribed:
            code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
        indexes = [partition.partition_index for partition in topic.partitions]
        for index in indexes:
            if code is ErrorCode.NONE and offsets.find(request.group_id, (topic.name, index)) is not None:
                turn.rows.append(offset_row(request.group_id, topic.name, index, None))
        rows = [OffsetDeleteResponsePartition(partition_index=i, error_code=code) for i in indexes]
        answers.append(OffsetDeleteResponseTopic(name=topic.name, partitions=rows))
    return OffsetDeleteResponse(topics=answers)


def all_tombstones(group_id: str, offsets: Offsets) -> list[Row]:
    """Return the records that remove every offset of a group."""
    return [offset_row(group_id, topic, index, None) for topic, index in offsets.of.get(group_id, {})]


def expired(group: Group, offsets: Offsets, settings: GroupSettings, wall_ms: int) -> list[Partition]:
    """Return the partitions whose offsets are due to be forgotten (KIP-211)."""
    subscribed: list[str] = []
    if group.state is State.STABLE:
        consumed = group.subscribed_topics()
        if consumed is None:
            return []
        subscribed = consumed
    elif group.state is not State.EMPTY:
        return []
    retention_ms = settings.offsets_retention_minutes * 60_000
    counts_from_empty = (
        group.state is State.EMPTY and group.protocol_type is not None and group.state_timestamp != -1
    )
    due = []
    for place, committed in offsets.of.get(group.group_id, {}).items():
        since = group.state_timestamp if counts_from_empty else committed.commit_timestamp
        at = since + retention_ms if committed.expire_timestamp == -1 else committed.expire_timestamp
        if place[0] not in subscribed and at <= wall_ms:
            due.append(place)
    return due
