"""Talking to the right node: which brokers there are, who leads what, and one connection to each in use."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

from rafka.cli.address import join_address
from rafka.cli.patience import CREATION_S, until_ready
from rafka.cli.refusal import check
from rafka.cli.wire import Wire
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.errors import ErrorCode, RafkaError
from rafka.core.types import Uuid


class Topic(NamedTuple):
    """A topic: its name, its id, and the leader of each partition (-1: none now)."""

    name: str
    topic_id: Uuid
    leaders: dict[int, int]


class Cluster:
    """The brokers and some topics, as the first broker reached describes them. Use it in a `with` statement.

    topics: by name; names: of topic ids, for answers that name a topic only by its id.
    """

    def __init__(
        self, bootstrap: str, names: Sequence[str] | None = None, *, may_create: bool = False
    ) -> None:
        """Ask for the topics with these names; None: for all. Raises RafkaError when one is not there.

        may_create: let the broker make those that are missing, if its settings allow it.
        """
        self._wires: dict[int, Wire] = {}
        with ExitStack() as opened:
            self._bootstrap = opened.enter_context(Wire(bootstrap))
            answer = self._ask(names, may_create=may_create)
            for found in answer.topics if names is not None else ():
                check_there(found.error_code, found.name or "")
            self._open = opened.pop_all()
        self.topics = {
            found.name: Topic(
                found.name,
                Uuid(bytes(found.topic_id)),
                {p.partition_index: p.leader_id for p in found.partitions},
            )
            for found in answer.topics
            if found.name is not None
        }
        self.names = {topic.topic_id: topic.name for topic in self.topics.values()}
        self._addresses = {b.node_id: join_address(b.host, b.port) for b in answer.brokers}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def any(self) -> Wire:
        """The connection to the broker that answered first."""
        return self._bootstrap

    @property
    def nodes(self) -> list[int]:
        """The numbers of all brokers."""
        return sorted(self._addresses)

    def node(self, node: int) -> Wire:
        """Return the connection to a broker. Raises RafkaError when it cannot be reached."""
        return self.at(node, self._addresses[node])

    def at(self, node: int, address: str) -> Wire:
        """Return the connection to a broker that says it is at an address."""
        if node not in self._wires:
            same = address == self._bootstrap.address
            self._wires[node] = self._bootstrap if same else self._open.enter_context(Wire(address))
        return self._wires[node]

    def leader(self, topic: str, partition: int) -> int:
        """Return the number of the partition's leader. Raises RafkaError when there is no partition, or no leader."""
        leaders = self.topics[topic].leaders
        if partition not in leaders:
            raise RafkaError(f"{topic} has no partition {partition}: it has {len(leaders)}")
        if leaders[partition] not in self._addresses:
            raise RafkaError(f"{topic}-{partition} has no leader now")
        return leaders[partition]

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        """Ask how many partitions topics have now; one that is missing has none."""
        answer = self._bootstrap.call(question(names), MetadataResponse)
        return {topic.name or "": len(topic.partitions) for topic in answer.topics}

    def _ask(self, names: Sequence[str] | None, *, may_create: bool) -> MetadataResponse:
        request = question(names, may_create=may_create)

        def ask() -> MetadataResponse:
            return self._bootstrap.call(request, MetadataResponse)

        if names is None:
            return ask()
        if may_create:  # Kafka says that it is missing while it makes it
            until_ready(ask, trouble, {ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}, CREATION_S)
        return until_ready(ask, trouble)


def question(names: Sequence[str] | None, *, may_create: bool = False) -> MetadataRequest:
    """Ask about topics, None: all."""
    topics = None if names is None else [MetadataRequestTopic(name=name) for name in names]
    return MetadataRequest(topics=topics, allow_auto_topic_creation=may_create)


def check_there(error_code: int, name: str) -> None:
    """Raise RafkaError, saying how to go on, if there is no such topic, or whatever else is wrong with it."""
    if error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
        raise RafkaError(f"there is no topic {name}: `rafka topic list` shows which there are")
    check(error_code, name, None)


def trouble(answer: MetadataResponse) -> int:
    """Return the first error code of a topic, or else of a partition; 0 when there is none."""
    codes = [topic.error_code for topic in answer.topics]
    codes += [partition.error_code for topic in answer.topics for partition in topic.partitions]
    return next(filter(None, codes), ErrorCode.NONE)
