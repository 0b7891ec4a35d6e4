"""A broker's refusal as one sentence."""

from rafka.core.errors import ErrorCode, RafkaError

PLAIN = {
    ErrorCode.OFFSET_OUT_OF_RANGE: "there is no such offset (any more, or yet)",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "there is no such topic or partition",
    ErrorCode.UNKNOWN_TOPIC_ID: "there is no such topic any more",
    ErrorCode.LEADER_NOT_AVAILABLE: "it has no leader now",
    ErrorCode.NOT_LEADER_OR_FOLLOWER: "it has another leader now; try again",
    ErrorCode.MESSAGE_TOO_LARGE: "the batch is larger than the topic takes (max.message.bytes)",
    ErrorCode.KAFKA_STORAGE_ERROR: "the broker cannot use the disk of this partition",
    ErrorCode.NON_EMPTY_GROUP: "the group has active members; stop them first",
    ErrorCode.GROUP_ID_NOT_FOUND: "there is no such group",
    ErrorCode.INVALID_GROUP_ID: "that is no name for a group",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "its coordinator is not there now; try again",
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: "its coordinator is still starting; try again",
}
"""What an operator meets, when the broker itself says no more than a code."""


def check(error_code: int, name: str, message: str | None) -> None:
    """Raise RafkaError with the broker's own words, or else the error's name, unless the code is 0."""
    if error_code != ErrorCode.NONE:
        raise RafkaError(f"{name}: {message or meaning(error_code)}")


def meaning(error_code: int) -> str:
    """Say what a code means: a sentence when it is a usual one, else Kafka's name, else the number."""
    if error_code not in ErrorCode.__members__.values():
        return f"error {error_code}"
    code = ErrorCode(error_code)
    return PLAIN.get(code, code.name)
