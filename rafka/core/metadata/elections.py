"""ElectLeaders (KIP-183, KIP-460), and ListPartitionReassignments (KIP-455), of which there are never any.

A preferred election makes the first replica the leader, if it is in sync; an unclean one makes any live replica the
leader of a partition that has none.

Source: `ReplicationControlManager.electLeaders` of Kafka 4.4.
"""

from typing import Final

from rafka.core.api.elect_leaders_request import ElectLeadersRequest
from rafka.core.api.elect_leaders_response import (
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from rafka.core.api.list_partition_reassignments_request import ListPartitionReassignmentsRequest
from rafka.core.api.list_partition_reassignments_response import ListPartitionReassignmentsResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import Answer, Ask, Refusal
from rafka.core.metadata.image import PartitionImage, TopicImage
from rafka.core.stored.partition_change_record import PartitionChangeRecord

PREFERRED: Final = 0
UNCLEAN: Final = 1
_RECOVERING: Final = 1
"""LeaderRecoveryState of a leader that was not in sync (KIP-704)."""


def elect_leaders(request: ElectLeadersRequest, ask: Ask) -> Answer:
    """Answer an ElectLeaders: for the partitions that are named, or for all that need an election."""
    election = request.election_type if ask.version >= 1 else PREFERRED
    if election not in (PREFERRED, UNCLEAN):
        return Answer(ElectLeadersResponse(error_code=ErrorCode.INVALID_REQUEST), [])
    records: list[Message] = []
    results: list[ReplicaElectionResult] = []
    every = request.topic_partitions is None
    for name, indexes in _wanted(request, ask):
        outcomes = [(index, _elected(name, index, election, records, ask)) for index in indexes]
        partitions = [
            _result(index, refusal)
            for index, refusal in outcomes
            if not (every and refusal is not None and refusal.code is ErrorCode.ELECTION_NOT_NEEDED)
        ]
        if partitions or not every:
            results.append(ReplicaElectionResult(topic=name, partition_result=partitions))
    return Answer(ElectLeadersResponse(replica_election_results=results), records)


def _wanted(request: ElectLeadersRequest, ask: Ask) -> list[tuple[str, list[int]]]:
    if request.topic_partitions is None:
        return [(topic.name, list(range(len(topic.partitions)))) for topic in ask.image.topics.values()]
    return [(one.topic, one.partitions) for one in request.topic_partitions]


def _elected(name: str, index: int, election: int, records: list[Message], ask: Ask) -> Refusal | None:
    """Add the record that makes a partition's new leader; return why there is none."""
    topic = ask.image.topic(name)
    if topic is None:
        return Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
    if not 0 <= index < len(topic.partitions):
        return Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{index}")
    partition = topic.partitions[index]
    is_led = partition.leader == partition.replicas[0] if election == PREFERRED else partition.leader >= 0
    if is_led:
        return Refusal(ErrorCode.ELECTION_NOT_NEEDED)
    record = _change(topic, partition, election, ask)
    if record is None:
        missing = (
            ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
            if election == PREFERRED
            else ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
        )
        return Refusal(missing)
    records.append(record)
    return None


def _change(topic: TopicImage, partition: PartitionImage, election: int, ask: Ask) -> Message | None:
    live = [r for r in partition.replicas if r in ask.image.brokers and not ask.image.brokers[r].fenced]
    in_sync = [replica for replica in live if replica in partition.isr]
    record = PartitionChangeRecord(partition_id=partition.index, topic_id=topic.topic_id)
    if election == PREFERRED:
        if partition.replicas[0] not in in_sync:
            return None
        record.leader = partition.replicas[0]
    elif in_sync:
        record.leader = in_sync[0]
    elif live:
        record.leader = live[0]
        record.isr = [live[0]]
        record.leader_recovery_state = _RECOVERING
    else:
        return None
    return record


def _result(index: int, refusal: Refusal | None) -> PartitionResult:
    if refusal is None:
        return PartitionResult(partition_id=index, error_message=None)
    return PartitionResult(partition_id=index, error_code=refusal.code, error_message=refusal.message)


def list_partition_reassignments(request: ListPartitionReassignmentsRequest, ask: Ask) -> Answer:
    """Answer a ListPartitionReassignments: partitions stay where they were made."""
    del request, ask
    return Answer(ListPartitionReassignmentsResponse(error_message=None), [])
