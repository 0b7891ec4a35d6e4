"""Scripts about offsets: where partitions begin and end, and what was written when."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rafka.client.cluster import Cluster
from rafka.client.errors import BrokerError, ClientError, check
from rafka.client.script import Ask, Sleep, Steps, persist
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from rafka.core.api.list_offsets_response import ListOffsetsResponse
from rafka.core.errors import ErrorCode
from rafka.core.shape import value

LOOK_MS, LOOK_MS_MAX = 4, 250
"""How soon to look again whether metadata has come."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@value
class OffsetAndTimestamp:
    """A record's offset and time, ms; -1 where there is none, as for the end of a partition."""

    offset: int
    timestamp: int


def know(cluster: Cluster, names: Iterable[str]) -> Steps[None]:
    """Wait until the metadata of topics is there. Raises BrokerError for one that is refused or, soon, not there."""
    wanted = list(dict.fromkeys(names))
    ours = cluster.want(wanted)
    missing = wanted
    looks = 0
    try:
        while True:
            known = cluster.topology.topics
            missing = [name for name in wanted if name not in known or known[name].error]
            if not missing:
                return
            for name in missing:
                if name in known and looks > 0:
                    check(known[name].error, name)
            yield Sleep(min(LOOK_MS << min(looks, 10), LOOK_MS_MAX))
            looks += 1
    finally:
        for name in missing:
            if name in ours:
                cluster.forget(name)  # nobody else asks, again and again, for what is not there


def list_offsets(
    cluster: Cluster, wanted: Mapping[TopicPartition, int]
) -> Steps[dict[TopicPartition, OffsetAndTimestamp]]:
    """Look up offsets by time, ms, EARLIEST or LATEST; repeated until each partition's leader has answered."""
    if not wanted:
        return {}
    return (yield from persist(lambda: _list_once(cluster, wanted)))


def _list_once(
    cluster: Cluster, wanted: Mapping[TopicPartition, int]
) -> Steps[dict[TopicPartition, OffsetAndTimestamp]]:
    yield from know(cluster, [place.topic for place in wanted])
    by_node: dict[int, dict[str, ListOffsetsTopic]] = {}
    for place, timestamp in wanted.items():
        leader = _leader(cluster, place)
        topics = by_node.setdefault(leader, {})
        topic = topics.setdefault(place.topic, ListOffsetsTopic(name=place.topic))
        topic.partitions.append(ListOffsetsPartition(partition_index=place.partition, timestamp=timestamp))
    replies = yield [
        Ask(ListOffsetsRequest(replica_id=-1, topics=list(topics.values())), node)
        for node, topics in by_node.items()
    ]
    found: dict[TopicPartition, OffsetAndTimestamp] = {}
    for reply in replies:
        if isinstance(reply, ClientError):
            cluster.refresh()
            raise reply
        assert isinstance(reply, ListOffsetsResponse)
        for told in reply.topics:
            for part in told.partitions:
                place = TopicPartition(told.name, part.partition_index)
                if part.error_code:
                    cluster.refresh()
                check(part.error_code, str(place))
                found[place] = OffsetAndTimestamp(part.offset, part.timestamp)
    return found


def _leader(cluster: Cluster, place: TopicPartition) -> int:
    topic = cluster.topology.topics[place.topic]
    leader = topic.leaders.get(place.partition)
    if leader is None:
        cluster.refresh()
        raise BrokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, str(place))
    if leader < 0:
        cluster.refresh()
        raise BrokerError(ErrorCode.LEADER_NOT_AVAILABLE, str(place))
    return leader
