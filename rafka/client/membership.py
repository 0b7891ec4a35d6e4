"""What the members of a consumer group tell each other, and how they share partitions.

A member's subscription and its assignment are opaque to the broker: an int16 version, then a message of that
version (ConsumerProtocolSubscription, ConsumerProtocolAssignment). A later version only adds to the end, so a
reader that knows fewer leaves the rest alone.
Source: Kafka's `ConsumerProtocol` and `RangeAssignor`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from rafka.core.errors import RemoteProtocolError
from rafka.core.message import codec, encode
from rafka.core.stored.consumer_protocol_assignment import ConsumerProtocolAssignment, TopicPartition
from rafka.core.stored.consumer_protocol_subscription import ConsumerProtocolSubscription
from rafka.core.types import Buffer

PROTOCOL_TYPE: Final = "consumer"
RANGE: Final = "range"
VERSION: Final = 0
"""The version written: the range assignor needs nothing that later ones add."""

Assignment = dict[str, list[int]]
"""Partitions by topic."""


def subscription_of(topics: Sequence[str]) -> bytes:
    """Return the bytes of a subscription to topics."""
    return VERSION.to_bytes(2) + encode(ConsumerProtocolSubscription(topics=list(topics)), VERSION)


def read_subscription(data: Buffer) -> list[str]:
    """Return the topics of a subscription. Raises RemoteProtocolError."""
    version, view = _version(data, ConsumerProtocolSubscription.VERSIONS)
    return codec(ConsumerProtocolSubscription, version).decode(view, 2)[0].topics


def assignment_of(partitions: Mapping[str, Sequence[int]]) -> bytes:
    """Return the bytes of an assignment."""
    assigned = [TopicPartition(topic=topic, partitions=list(some)) for topic, some in partitions.items()]
    return VERSION.to_bytes(2) + encode(ConsumerProtocolAssignment(assigned_partitions=assigned), VERSION)


def read_assignment(data: Buffer) -> Assignment:
    """Return the partitions of an assignment; none if it is empty. Raises RemoteProtocolError."""
    if not len(data):
        return {}
    version, view = _version(data, ConsumerProtocolAssignment.VERSIONS)
    message, _ = codec(ConsumerProtocolAssignment, version).decode(view, 2)
    return {one.topic: list(one.partitions) for one in message.assigned_partitions}


def share_by_range(
    subscriptions: Mapping[str, Sequence[str]], partitions: Mapping[str, int]
) -> dict[str, Assignment]:
    """Give each member a run of each topic's partitions; the first members get one more when they do not divide.

    subscriptions: topics by member id; partitions: how many each topic has; one that is missing has none.
    """
    shares: dict[str, Assignment] = {member: {} for member in subscriptions}
    for topic in sorted({topic for topics in subscriptions.values() for topic in topics}):
        readers = sorted(member for member, topics in subscriptions.items() if topic in topics)
        size, extra = divmod(partitions.get(topic, 0), len(readers))
        start = 0
        for index, member in enumerate(readers):
            end = start + size + (index < extra)
            if end > start:
                shares[member][topic] = list(range(start, end))
            start = end
    return shares


def _version(data: Buffer, known: range) -> tuple[int, memoryview]:
    view = memoryview(data)
    if len(view) < 2:
        raise RemoteProtocolError("a group's member sent less than a version")
    version = int.from_bytes(view[:2], signed=True)
    if version < 0:
        raise RemoteProtocolError(f"a group's member sent version {version}")
    return min(version, known.stop - 1), view
