"""What is answered when the records of a decision could not be written.

Source: Kafka's CoordinatorOperationExceptionHelper.
"""

from rafka.core.api.delete_groups_response import DeleteGroupsResponse
from rafka.core.api.join_group_response import JoinGroupResponse
from rafka.core.api.offset_commit_response import OffsetCommitResponse
from rafka.core.api.offset_delete_response import OffsetDeleteResponse
from rafka.core.api.sync_group_response import SyncGroupResponse
from rafka.core.coordinator.group.rebalance import join_refused, sync_refused
from rafka.core.errors import ErrorCode


def refused(body: object, code: ErrorCode) -> object:
    """Return `body` with `code` wherever it said success; other answers promised nothing and stay."""
    match body:
        case JoinGroupResponse():
            return join_refused(code, body.member_id)
        case SyncGroupResponse():
            return sync_refused(code)
        case OffsetCommitResponse() | OffsetDeleteResponse():
            for topic in body.topics:
                for partition in topic.partitions:
                    partition.error_code = partition.error_code or code
        case DeleteGroupsResponse():
            for result in body.results:
                result.error_code = result.error_code or code
        case _:
            pass
    return body


def told(code: ErrorCode) -> ErrorCode:
    """Return what a member is told when its record could not be written, so that it finds its coordinator."""
    match code:
        case ErrorCode.NOT_LEADER_OR_FOLLOWER | ErrorCode.KAFKA_STORAGE_ERROR:
            return ErrorCode.NOT_COORDINATOR
        case (
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION | ErrorCode.NOT_ENOUGH_REPLICAS | ErrorCode.REQUEST_TIMED_OUT
        ):
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        case ErrorCode.MESSAGE_TOO_LARGE | ErrorCode.RECORD_LIST_TOO_LARGE | ErrorCode.INVALID_FETCH_SIZE:
            return ErrorCode.UNKNOWN_SERVER_ERROR
        case _:
            return code
