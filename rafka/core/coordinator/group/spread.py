"""Requests that name groups of several shards: cut into one request a shard, and their answers made one again.

Also what is answered when a shard cannot serve: every request has its own place for the error.
"""

from collections.abc import Iterable

from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.delete_groups_response import DeletableGroupResult, DeleteGroupsResponse
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
from rafka.core.api.describe_groups_response import DescribedGroup, DescribeGroupsResponse
from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.heartbeat_response import HeartbeatResponse
from rafka.core.api.join_group_request import JoinGroupRequest
from rafka.core.api.leave_group_request import LeaveGroupRequest
from rafka.core.api.leave_group_response import LeaveGroupResponse
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListGroupsResponse
from rafka.core.api.offset_commit_request import OffsetCommitRequest
from rafka.core.api.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from rafka.core.api.offset_delete_request import OffsetDeleteRequest
from rafka.core.api.offset_delete_response import OffsetDeleteResponse
from rafka.core.api.offset_fetch_request import OffsetFetchRequest
from rafka.core.api.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
)
from rafka.core.api.sync_group_request import SyncGroupRequest
from rafka.core.coordinator.group.rebalance import join_refused, sync_refused
from rafka.core.errors import ErrorCode
from rafka.core.message import Message

OneGroup = (
    JoinGroupRequest
    | SyncGroupRequest
    | HeartbeatRequest
    | LeaveGroupRequest
    | OffsetCommitRequest
    | OffsetDeleteRequest
)


def groups_of(request: object, version: int) -> list[str] | None:
    """Return the groups that a request names, each once; None: it is about all of them."""
    match request:
        case ListGroupsRequest():
            return None
        case DescribeGroupsRequest():
            return list(dict.fromkeys(request.groups))
        case DeleteGroupsRequest():
            return list(dict.fromkeys(request.groups_names))
        case OffsetFetchRequest() if version >= 8:
            return list(dict.fromkeys(group.group_id for group in request.groups))
        case OffsetFetchRequest():
            return [request.group_id]
        case _:
            assert isinstance(request, OneGroup), f"not a request of groups: {request!r}"
            return [request.group_id]


def cut(request: object, names: list[str]) -> Message:
    """Return the part of a request that is about some of its groups."""
    match request:
        case DescribeGroupsRequest():
            flag = request.include_authorized_operations
            return DescribeGroupsRequest(groups=names, include_authorized_operations=flag)
        case DeleteGroupsRequest():
            return DeleteGroupsRequest(groups_names=names)
        case OffsetFetchRequest():
            groups = [group for group in request.groups if group.group_id in names]
            return OffsetFetchRequest(groups=groups, require_stable=request.require_stable)
        case _:
            assert isinstance(request, ListGroupsRequest), "every other request names one group"
            return request


def merged(request: object, parts: Iterable[object]) -> Message:
    """Return one answer to a request from the answers to its parts."""
    match request:
        case DescribeGroupsRequest():
            described = [g for part in parts if isinstance(part, DescribeGroupsResponse) for g in part.groups]
            return DescribeGroupsResponse(groups=described)
        case DeleteGroupsRequest():
            results = [r for part in parts if isinstance(part, DeleteGroupsResponse) for r in part.results]
            return DeleteGroupsResponse(results=results)
        case OffsetFetchRequest():
            fetched = [g for part in parts if isinstance(part, OffsetFetchResponse) for g in part.groups]
            return OffsetFetchResponse(groups=fetched)
        case _:
            lists = [part for part in parts if isinstance(part, ListGroupsResponse)]
            code = next((part.error_code for part in lists if part.error_code), 0)
            return ListGroupsResponse(groups=[g for part in lists for g in part.groups], error_code=code)


def unavailable(request: object, version: int, code: ErrorCode) -> Message:
    """Answer a request whose shard does not serve now, or not here."""
    match request:
        case JoinGroupRequest():
            return join_refused(code, request.member_id)
        case SyncGroupRequest():
            return sync_refused(code)
        case HeartbeatRequest():
            # A member of a group that is being loaded is not to be worried: it may well be one still.
            is_loading = code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            return HeartbeatResponse(error_code=ErrorCode.NONE if is_loading else code)
        case LeaveGroupRequest():
            return LeaveGroupResponse(error_code=code)
        case OffsetCommitRequest():
            return _commit_refused(request, code)
        case OffsetDeleteRequest():
            return OffsetDeleteResponse(error_code=code)
        case OffsetFetchRequest():
            return _fetch_refused(request, version, code)
        case DescribeGroupsRequest():
            described = [DescribedGroup(error_code=code, group_id=name) for name in request.groups]
            return DescribeGroupsResponse(groups=described)
        case DeleteGroupsRequest():
            results = [DeletableGroupResult(group_id=name, error_code=code) for name in request.groups_names]
            return DeleteGroupsResponse(results=results)
        case _:
            assert isinstance(request, ListGroupsRequest), f"not a request of groups: {request!r}"
            return ListGroupsResponse(error_code=code)


def _commit_refused(request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    topics = [
        OffsetCommitResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            partitions=[
                OffsetCommitResponsePartition(partition_index=p.partition_index, error_code=code)
                for p in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetCommitResponse(topics=topics)


def _fetch_refused(request: OffsetFetchRequest, version: int, code: ErrorCode) -> OffsetFetchResponse:
    if version >= 8:
        groups = [OffsetFetchResponseGroup(group_id=g.group_id, error_code=code) for g in request.groups]
        return OffsetFetchResponse(groups=groups)
    if version >= 2:
        return OffsetFetchResponse(error_code=code)
    topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(partition_index=index, committed_offset=-1, error_code=code)
                for index in topic.partition_indexes
            ],
        )
        for topic in request.topics or ()
    ]
    return OffsetFetchResponse(topics=topics)
