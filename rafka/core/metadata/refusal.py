"""What is answered when the records of a decision could not be written: what would have been true is not.

Topics that a Metadata or FindCoordinator meant to create are not there; clients are told what makes them ask again.
"""

from collections.abc import Sequence
from typing import Protocol

from rafka.core.api.alter_configs_response import AlterConfigsResponse
from rafka.core.api.create_partitions_response import CreatePartitionsResponse
from rafka.core.api.create_topics_response import CreatableTopicResult, CreateTopicsResponse
from rafka.core.api.delete_topics_response import DeleteTopicsResponse
from rafka.core.api.elect_leaders_response import ElectLeadersResponse
from rafka.core.api.find_coordinator_response import Coordinator, FindCoordinatorResponse
from rafka.core.api.incremental_alter_configs_response import IncrementalAlterConfigsResponse
from rafka.core.api.init_producer_id_response import InitProducerIdResponse
from rafka.core.api.metadata_response import MetadataResponse, MetadataResponseTopic
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.names import is_internal
from rafka.core.stored.topic_record import TopicRecord

FULL = "The disk of the metadata log is full or fails; nothing was changed."
"""What people are told with KAFKA_STORAGE_ERROR."""


def refused(body: object, records: Sequence[Message], code: ErrorCode) -> object:
    """Return the answer to a request whose records were not written, for the reason `code`."""
    match body:
        case MetadataResponse():
            lost = {record.name for record in records if isinstance(record, TopicRecord)}
            body.topics = [_absent(t.name, code) if t.name in lost else t for t in body.topics]
        case FindCoordinatorResponse():
            return _no_coordinator(body)
        case InitProducerIdResponse():
            # Producers without transactions take any other code but this one as the end.
            return InitProducerIdResponse(
                error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, producer_epoch=-1
            )
        case CreateTopicsResponse():
            body.topics = [_not_created(t, code) for t in body.topics]
        case DeleteTopicsResponse():
            for deleted in body.responses:
                deleted.error_code, deleted.error_message = _told(deleted, code)
        case CreatePartitionsResponse():
            for extended in body.results:
                extended.error_code, extended.error_message = _told(extended, code)
        case AlterConfigsResponse() | IncrementalAlterConfigsResponse():
            for altered in body.responses:
                altered.error_code, altered.error_message = _told(altered, code)
        case ElectLeadersResponse():
            for topic in body.replica_election_results:
                for elected in topic.partition_result:
                    elected.error_code, elected.error_message = _told(elected, code)
        case _:
            pass
    return body


class _Told(Protocol):
    """A part of an answer that says how it ended."""

    error_code: int
    error_message: str | None


def _told(result: _Told, code: ErrorCode) -> tuple[int, str | None]:
    """Return what a part is told: it may have failed for a reason of its own."""
    return (result.error_code, result.error_message) if result.error_code else (code, _words(code))


def _words(code: ErrorCode) -> str | None:
    return FULL if code is ErrorCode.KAFKA_STORAGE_ERROR else None


def _absent(name: str | None, code: ErrorCode) -> MetadataResponseTopic:
    assert name is not None, "a created topic has a name"
    return MetadataResponseTopic(error_code=code, name=name, is_internal=is_internal(name))


def _not_created(result: CreatableTopicResult, code: ErrorCode) -> CreatableTopicResult:
    if result.error_code:
        return result
    return CreatableTopicResult(name=result.name, error_code=code, error_message=_words(code))


def _no_coordinator(body: FindCoordinatorResponse) -> FindCoordinatorResponse:
    code = ErrorCode.COORDINATOR_NOT_AVAILABLE
    none = [
        Coordinator(key=one.key, node_id=-1, host="", port=-1, error_code=code, error_message=None)
        for one in body.coordinators
    ]
    if none:  # versions that name several say it of each, and of nothing else
        return FindCoordinatorResponse(coordinators=none)
    return FindCoordinatorResponse(error_code=code, error_message=None, node_id=-1, host="", port=-1)
