"""What a client could not do, and whether trying again may help."""

from typing import Final

from rafka.core.errors import ErrorCode, RafkaError

RETRIABLE: Final = frozenset(
    (
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.LISTENER_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
        ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.THROTTLING_QUOTA_EXCEEDED,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    )
)
"""The codes whose exceptions Kafka's own client derives from RetriableException."""
COORDINATOR_MOVED: Final = frozenset(
    (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR, ErrorCode.REQUEST_TIMED_OUT)
)
"""Find the coordinator again; COORDINATOR_LOAD_IN_PROGRESS means the right one, which needs time."""


class ClientError(RafkaError):
    """The root of what a client raises."""


class Unanswered(ClientError):
    """A request without an answer: not sent, or lost on the way, or done and the answer lost: nobody knows."""


class TimedOut(ClientError):
    """It was tried for as long as the settings allow. The message ends with the last thing that went wrong."""


class Unsupported(ClientError):
    """The broker serves no version of a request that can say this."""


class Closed(ClientError):
    """The client is closed."""


class BufferFull(ClientError):
    """The producer holds as many bytes as its settings allow. size_bytes: what there is no room for."""

    def __init__(self, held_bytes: int, size_bytes: int) -> None:
        super().__init__(f"{held_bytes} bytes are on their way, and {size_bytes} more are too many")
        self.size_bytes = size_bytes


class NoOffset(ClientError):
    """There is no offset to begin at, or the one there was is gone, and `auto_offset_reset` is "none"."""


class CommitFailed(ClientError):
    """The group has moved on without this member: its partitions may belong to others, who read them again."""


class BrokerError(ClientError):
    """The broker said no. code: its error code; about: what was asked for."""

    def __init__(self, code: int, about: str, message: str | None = None) -> None:
        self.code = known(code)
        self.about = about
        super().__init__(f"{about}: {message or self.code.name}")


class NotThere(BrokerError):
    """A topic that does not exist, said to somebody who does not wait for it to be made."""


class Fenced(BrokerError):
    """Somebody else goes on under our name: this client must not."""


def known(code: int) -> ErrorCode:
    """Return a code as one of ours; a number that we do not know is UNKNOWN_SERVER_ERROR."""
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.UNKNOWN_SERVER_ERROR


def check(code: int, about: str, message: str | None = None) -> None:
    """Raise BrokerError unless the code says that all is well."""
    if code:
        raise BrokerError(code, about, message)


def is_retriable(error: ClientError) -> bool:
    """Say whether the same request may succeed later."""
    if isinstance(error, BrokerError):
        return error.code in RETRIABLE and not isinstance(error, NotThere)
    return isinstance(error, Unanswered)
