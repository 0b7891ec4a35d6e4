"""FindCoordinator: who keeps a group, which is the leader of its partition of `__consumer_offsets`.

The first question creates that topic, and is answered once it is there. Transactions and share groups have no
coordinator here, and the answer says so.

Source: `KafkaApis.getCoordinator` of Kafka 4.4.
"""

from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.find_coordinator_response import Coordinator, FindCoordinatorResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import Answer, Ask, Refusal
from rafka.core.metadata.automatic import plan_automatic
from rafka.core.metadata.cluster import Address, address_of
from rafka.core.metadata.image import TopicImage
from rafka.core.metadata.names import CONSUMER_OFFSETS


def find_coordinator(request: FindCoordinatorRequest, ask: Ask) -> Answer:
    """Answer a FindCoordinator: one key up to version 3, then any number."""
    records: list[Message] = []
    offsets = _offsets_topic(request, ask, records)
    keys = request.coordinator_keys if ask.version >= 4 else [request.key]
    found = [_coordinator(key, offsets, ask) for key in keys]
    if ask.version >= 4:
        return Answer(FindCoordinatorResponse(coordinators=found), records)
    only = found[0]
    return Answer(
        FindCoordinatorResponse(
            error_code=only.error_code,
            error_message=only.error_message,
            node_id=only.node_id,
            host=only.host,
            port=only.port,
        ),
        records,
    )


def _offsets_topic(request: FindCoordinatorRequest, ask: Ask, records: list[Message]) -> TopicImage | Refusal:
    """Return the topic that has the coordinators, planned if it is missing."""
    refusal = _refusal_of_type(request.key_type, ask.version)
    if refusal is not None:
        return refusal
    topic = ask.image.topic(CONSUMER_OFFSETS)
    if topic is not None:
        return topic
    plan = plan_automatic(CONSUMER_OFFSETS, ask)
    if isinstance(plan, Refusal):
        return Refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE, plan.message)
    records += plan.records()
    return plan.topic


def _refusal_of_type(key_type: int, version: int) -> Refusal | None:
    """Groups are type 0, transactions 1, share groups 2."""
    match key_type:
        case 0:
            return None
        case 1:
            # The one code that ends every client's attempt: librdkafka asks again for ever after any other.
            return Refusal(
                ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "This broker has no transactions."
            )
        case 2 if version >= 6:
            return Refusal(ErrorCode.UNSUPPORTED_VERSION, "This broker has no share groups.")
        case _:
            return Refusal(ErrorCode.INVALID_REQUEST, f"There is no coordinator of type {key_type}.")


def _coordinator(key: str, offsets: TopicImage | Refusal, ask: Ask) -> Coordinator:
    if isinstance(offsets, Refusal):
        return _nobody(key, offsets)
    leader = _leader_of(key, offsets, ask)
    if leader is None:
        return _nobody(key, Refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE, "The coordinator has no leader."))
    return Coordinator(
        key=key, node_id=leader.node_id, host=leader.host, port=leader.port, error_message=None
    )


def _leader_of(key: str, offsets: TopicImage, ask: Ask) -> Address | None:
    if not offsets.partitions:
        return None
    partition = offsets.partitions[ask.group_partition(key, len(offsets.partitions))]
    return address_of(partition.leader, ask)


def _nobody(key: str, refusal: Refusal) -> Coordinator:
    return Coordinator(
        key=key, node_id=-1, host="", port=-1, error_code=refusal.code, error_message=refusal.message
    )
