"""Talking to a topic's partitions: where each one's leader is, and a connection to every leader in use."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rafka.cli.address import join_address
from rafka.cli.refusal import check
from rafka.cli.wire import Wire
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.errors import RafkaError
from rafka.core.types import Uuid


class Leaders:
    """One topic as its leaders serve it. Use it in a `with` statement.

    topic_id: the topic's id; partitions: how many it has.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Ask the bootstrap broker for the topic. Raises RafkaError when there is none, or no broker."""
        asked = MetadataRequest(topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False)
        with Wire(bootstrap) as wire:
            answer = wire.call(asked, MetadataResponse)
        (found,) = answer.topics
        check(found.error_code, topic, None)
        self.topic = topic
        self.topic_id = Uuid(bytes(found.topic_id))
        self.partitions = len(found.partitions)
        self._leaders = {p.partition_index: p.leader_id for p in found.partitions}
        self._addresses = {b.node_id: join_address(b.host, b.port) for b in answer.brokers}
        self._wires: dict[int, Wire] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def check_partition(self, partition: int) -> None:
        """Raise RafkaError unless the topic has that partition."""
        if partition not in self._leaders:
            raise RafkaError(f"{self.topic} has no partition {partition}: it has {self.partitions}")

    def wire(self, partition: int) -> Wire:
        """Return the connection to the partition's leader. Raises RafkaError when it has none now."""
        leader = self._leaders[partition]
        address = self._addresses.get(leader)
        if address is None:
            raise RafkaError(f"{self.topic}-{partition} has no leader now")
        if leader not in self._wires:
            self._wires[leader] = self._open.enter_context(Wire(address))
        return self._wires[leader]
