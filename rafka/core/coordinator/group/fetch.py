"""OffsetFetch: one group up to version 7, many from 8 on (KIP-709), topics by id from 10 on.

A partition without a committed offset is answered with -1 and no error, so is a group that is not there. No topics at
all (null) means all that the group has. With require_stable the node waits for the commits under way before it asks;
a commit that belongs to an open transaction would be UNSTABLE_OFFSET_COMMIT, and nothing here is transactional.
"""

from rafka.core.api.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from rafka.core.api.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from rafka.core.coordinator.group.offsets import Offsets
from rafka.core.coordinator.group.settings import Topics
from rafka.core.errors import ErrorCode
from rafka.core.stored.offset_commit_value import OffsetCommitValue
from rafka.core.types import ZERO_UUID


def fetch(request: OffsetFetchRequest, version: int, offsets: Offsets, topics: Topics) -> OffsetFetchResponse:
    """Answer an OffsetFetch from what is committed."""
    if version >= 8:
        groups = [_group(asked, version, offsets, topics) for asked in request.groups]
        return OffsetFetchResponse(groups=groups)
    asked = (
        [OffsetFetchRequestTopics(name=t.name, partition_indexes=t.partition_indexes) for t in request.topics]
        if request.topics is not None
        else None
    )
    group = _group(OffsetFetchRequestGroup(group_id=request.group_id, topics=asked), version, offsets, topics)
    return OffsetFetchResponse(topics=[_old_topic(topic) for topic in group.topics])


def _group(
    asked: OffsetFetchRequestGroup, version: int, offsets: Offsets, topics: Topics
) -> OffsetFetchResponseGroup:
    wanted = _all_topics(asked.group_id, offsets) if asked.topics is None else asked.topics
    answers = []
    for topic in wanted:
        by_id = version >= 10 and asked.topics is not None
        name = topics.name_of(topic.topic_id) if by_id else topic.name
        topic_id = topic.topic_id if by_id else (topics.id_of(topic.name) or ZERO_UUID)
        if version >= 10 and not by_id and topic_id == ZERO_UUID:
            continue  # the topic is gone: it has no id to be named by
        code = ErrorCode.UNKNOWN_TOPIC_ID if name is None else ErrorCode.NONE
        rows = [
            _partition(index, offsets.find(asked.group_id, (name or "", index)), code)
            for index in topic.partition_indexes
        ]
        answers.append(
            OffsetFetchResponseTopics(
                name="" if version >= 10 else topic.name,
                topic_id=topic_id if version >= 10 else ZERO_UUID,
                partitions=rows,
            )
        )
    return OffsetFetchResponseGroup(group_id=asked.group_id, topics=answers)


def _all_topics(group_id: str, offsets: Offsets) -> list[OffsetFetchRequestTopics]:
    found: dict[str, list[int]] = {}
    for topic, index in offsets.of.get(group_id, {}):
        found.setdefault(topic, []).append(index)
    return [OffsetFetchRequestTopics(name=name, partition_indexes=indexes) for name, indexes in found.items()]


def _partition(
    index: int, committed: OffsetCommitValue | None, code: ErrorCode
) -> OffsetFetchResponsePartitions:
    if committed is None or code is not ErrorCode.NONE:
        return OffsetFetchResponsePartitions(partition_index=index, committed_offset=-1, error_code=code)
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
    )


def _old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic:
    rows = [
        OffsetFetchResponsePartition(
            partition_index=row.partition_index,
            committed_offset=row.committed_offset,
            committed_leader_epoch=row.committed_leader_epoch,
            metadata=row.metadata,
            error_code=row.error_code,
        )
        for row in topic.partitions
    ]
    return OffsetFetchResponseTopic(name=topic.name, partitions=rows)
