"""CreateTopics, DeleteTopics and CreatePartitions.

Every topic of a request stands or falls alone; what stands is written in one batch. Topics that a request names twice
are refused, whichever way they are named.

Source: `ControllerApis` and `ReplicationControlManager` of Kafka 4.4.
"""

from collections.abc import Sequence

from rafka.core.api.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from rafka.core.api.create_partitions_response import CreatePartitionsResponse, CreatePartitionsTopicResult
from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreatableTopicResult, CreateTopicsResponse
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.api.delete_topics_response import DeletableTopicResult, DeleteTopicsResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import Answer, Ask, Refusal
from rafka.core.metadata.image import PartitionImage, TopicImage
from rafka.core.metadata.names import CLUSTER_METADATA
from rafka.core.metadata.plan import (
    PARTITIONS_MAX,
    TopicPlan,
    new_partition,
    partition_count,
    partition_record,
    place,
    plan_topic,
    refusal_of_fenced,
    refusal_of_replicas,
)
from rafka.core.metadata.topic_configs import created_configs
from rafka.core.stored.remove_topic_record import RemoveTopicRecord
from rafka.core.types import ZERO_UUID, Uuid

DUPLICATE = Refusal(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
TOO_MANY = Refusal(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that come more than once, each once."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count > 1]


# ---- create ------------------------------------------------------------------------------------


def create_topics(request: CreateTopicsRequest, ask: Ask) -> Answer:
    """Answer a CreateTopics."""
    twice = repeated([topic.name for topic in request.topics])
    topics = [topic for topic in request.topics if topic.name not in twice]
    results: list[CreatableTopicResult] = []
    records: list[Message] = []
    too_many = sum(max(partition_count(topic, ask), 0) for topic in topics) > PARTITIONS_MAX
    for topic in topics:
        plan = TOO_MANY if too_many else _planned(topic, ask)
        if isinstance(plan, TopicPlan):
            records += plan.records()
            results.append(_created(plan, ask))
        else:
            results.append(_not_created(topic.name, plan))
    results += (_not_created(name, DUPLICATE) for name in twice)
    return Answer(CreateTopicsResponse(topics=results), [] if request.validate_only else records)


def _planned(topic: CreatableTopic, ask: Ask) -> TopicPlan | Refusal:
    if topic.name == CLUSTER_METADATA:
        return Refusal(
            ErrorCode.INVALID_REQUEST, f"Creation of internal topic {CLUSTER_METADATA} is prohibited."
        )
    return plan_topic(topic, ask)


def _created(plan: TopicPlan, ask: Ask) -> CreatableTopicResult:
    partitions = plan.topic.partitions
    return CreatableTopicResult(
        name=plan.topic.name,
        topic_id=plan.topic.topic_id,
        error_message=None,
        num_partitions=len(partitions),
        replication_factor=len(partitions[0].replicas),
        # Forty settings, which only version 5 and up can say.
        configs=created_configs(plan.configs, ask.image.layers()) if ask.version >= 5 else [],
    )


def _not_created(name: str, refusal: Refusal) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=refusal.code, error_message=refusal.message)


# ---- delete ------------------------------------------------------------------------------------


def delete_topics(request: DeleteTopicsRequest, ask: Ask) -> Answer:
    """Answer a DeleteTopics: by names up to version 5, then by name or id."""
    states = [*request.topics, *(DeleteTopicState(name=name) for name in request.topic_names)]
    if not ask.settings.delete_topic_enable:
        refusal = _deletion_disabled(ask.version)
        return Answer(
            DeleteTopicsResponse(responses=[_kept(s.name, s.topic_id, refusal) for s in states]), []
        )
    results: list[DeletableTopicResult] = []
    names: dict[str, int] = {}
    ids: dict[Uuid, int] = {}
    for state in states:
        if (state.name is None) == (state.topic_id == ZERO_UUID):
            results.append(_kept(state.name, state.topic_id, _unclear(state)))
        elif state.name is not None:
            names[state.name] = names.get(state.name, 0) + 1
        else:
            ids[state.topic_id] = ids.get(state.topic_id, 0) + 1
    chosen: list[TopicImage] = []
    results += _chosen_by_id(ids, ask, chosen)
    results += _chosen_by_name(names, ids, ask, chosen)
    results += (DeletableTopicResult(name=topic.name, topic_id=topic.topic_id) for topic in chosen)
    return Answer(
        DeleteTopicsResponse(responses=results),
        [RemoveTopicRecord(topic_id=topic.topic_id) for topic in chosen],
    )


def _deletion_disabled(version: int) -> Refusal:
    if version < 3:
        return Refusal(ErrorCode.INVALID_REQUEST, "Topic deletion is disabled.")
    return Refusal(ErrorCode.TOPIC_DELETION_DISABLED, "Topic deletion is disabled.")


def _unclear(state: DeleteTopicState) -> Refusal:
    if state.name is None:
        return Refusal(ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified.")
    return Refusal(ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id.")


def _chosen_by_id(ids: dict[Uuid, int], ask: Ask, chosen: list[TopicImage]) -> list[DeletableTopicResult]:
    """Add the topics that are named by id alone and once to `chosen`; return the refusals."""
    kept: list[DeletableTopicResult] = []
    for topic_id, count in ids.items():
        topic = ask.image.topic_by_id(topic_id)
        if count > 1:
            kept.append(_kept(None, topic_id, Refusal(ErrorCode.INVALID_REQUEST, "Duplicate topic id.")))
        elif topic is None:
            message = "This server does not host this topic ID."
            kept.append(_kept(None, topic_id, Refusal(ErrorCode.UNKNOWN_TOPIC_ID, message)))
        else:
            chosen.append(topic)
    return kept


def _chosen_by_name(
    names: dict[str, int], ids: dict[Uuid, int], ask: Ask, chosen: list[TopicImage]
) -> list[DeletableTopicResult]:
    """Do the same for names; a topic that is named by its id as well is not deleted."""
    kept: list[DeletableTopicResult] = []
    for name, count in names.items():
        topic = ask.image.topic(name)
        if count > 1:
            kept.append(_kept(name, ZERO_UUID, DUPLICATE))
        elif topic is None:
            kept.append(_kept(name, ZERO_UUID, _unknown_topic()))
        elif topic.topic_id in ids:
            message = "The provided topic name maps to an ID that was already supplied."
            kept.append(_kept(name, topic.topic_id, Refusal(ErrorCode.INVALID_REQUEST, message)))
            if topic in chosen:
                chosen.remove(topic)
        else:
            chosen.append(topic)
    return kept


def _kept(name: str | None, topic_id: Uuid, refusal: Refusal) -> DeletableTopicResult:
    return DeletableTopicResult(
        name=name, topic_id=topic_id, error_code=refusal.code, error_message=refusal.message
    )


def _unknown_topic() -> Refusal:
    return Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")


# ---- more partitions ---------------------------------------------------------------------------


def create_partitions(request: CreatePartitionsRequest, ask: Ask) -> Answer:
    """Answer a CreatePartitions."""
    twice = repeated([topic.name for topic in request.topics])
    wanted = [topic for topic in request.topics if topic.name not in twice]
    results = [_partitions_result(name, DUPLICATE) for name in twice]
    records: list[Message] = []
    too_many = sum(_additional(topic, ask) for topic in wanted) > PARTITIONS_MAX
    for more in wanted:
        added = TOO_MANY if too_many else _added(more, ask)
        if isinstance(added, Refusal):
            results.append(_partitions_result(more.name, added))
            continue
        topic_id = ask.image.topics[more.name].topic_id
        records += (partition_record(topic_id, partition) for partition in added)
        results.append(CreatePartitionsTopicResult(name=more.name))
    return Answer(CreatePartitionsResponse(results=results), [] if request.validate_only else records)


def _additional(more: CreatePartitionsTopic, ask: Ask) -> int:
    topic = ask.image.topic(more.name)
    return 0 if topic is None else max(more.count - len(topic.partitions), 0)


def _added(more: CreatePartitionsTopic, ask: Ask) -> list[PartitionImage] | Refusal:
    """Return the partitions that a topic is to get."""
    topic = ask.image.topic(more.name)
    if topic is None:
        return _unknown_topic()
    have = len(topic.partitions)
    if more.count <= have:
        return Refusal(ErrorCode.INVALID_PARTITIONS, _no_increase(more, have))
    additional = more.count - have
    factor = len(topic.partitions[0].replicas) if topic.partitions else 1
    manual = more.assignments is not None
    placed = _assigned(more, have, factor, ask) if manual else place(additional, factor, ask.image)
    if isinstance(placed, Refusal):
        return placed
    return [new_partition(have + number, replicas, ask) for number, replicas in enumerate(placed)]


def _no_increase(more: CreatePartitionsTopic, have: int) -> str:
    if more.count == have:
        return f"Topic already has {have} partition(s)."
    return f"The topic {more.name} currently has {have} partition(s); {more.count} would not be an increase."


def _assigned(
    more: CreatePartitionsTopic, have: int, factor: int, ask: Ask
) -> list[tuple[int, ...]] | Refusal:
    """Check the replicas that the request gives each new partition."""
    assert more.assignments is not None
    additional = more.count - have
    if len(more.assignments) != additional:
        return Refusal(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {additional} additional partition(s), but only {len(more.assignments)} "
            "assignment(s) were specified.",
        )
    placed: list[tuple[int, ...]] = []
    for number, assignment in enumerate(more.assignments):
        refusal = refusal_of_replicas(assignment.broker_ids, factor, ask.image)
        refusal = refusal or refusal_of_fenced(assignment.broker_ids, have + number, ask.image)
        if refusal is not None:
            return refusal
        placed.append(tuple(assignment.broker_ids))
    return placed


def _partitions_result(name: str, refusal: Refusal) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(name=name, error_code=refusal.code, error_message=refusal.message)
