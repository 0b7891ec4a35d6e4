"""Where partitions begin and end, asked of their leaders: one request to each."""

from collections import defaultdict
from collections.abc import Mapping

from rafka.cli.cluster import Cluster
from rafka.cli.refusal import check
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from rafka.core.api.list_offsets_response import ListOffsetsResponse

LATEST = -1
EARLIEST = -2
CONSUMER = -1
"""The replica id of somebody who is no replica."""

Place = tuple[str, int]
"""A topic's name and a partition."""


def list_offsets(cluster: Cluster, asked: Mapping[Place, int]) -> dict[Place, int]:
    """Return the offset of each place at a timestamp (ms, LATEST or EARLIEST); -1: no record is that young.

    Raises RafkaError when a place does not exist or its leader refuses.
    """
    found: dict[Place, int] = {}
    for node, places in by_leader(cluster, asked).items():
        topics: dict[str, ListOffsetsTopic] = {}
        for name, partition in places:
            topic = topics.setdefault(name, ListOffsetsTopic(name=name, partitions=[]))
            stamp = asked[name, partition]
            topic.partitions.append(ListOffsetsPartition(partition_index=partition, timestamp=stamp))
        request = ListOffsetsRequest(replica_id=CONSUMER, topics=list(topics.values()))
        answer = cluster.node(node).call(request, ListOffsetsResponse)
        for result in answer.topics:
            for one in result.partitions:
                check(one.error_code, f"{result.name}-{one.partition_index}", None)
                found[result.name, one.partition_index] = one.offset
    return found


def by_leader(cluster: Cluster, places: Mapping[Place, int]) -> dict[int, list[Place]]:
    """Return the places by the node that leads them. Raises RafkaError for one without a leader."""
    nodes: dict[int, list[Place]] = defaultdict(list)
    for name, partition in places:
        nodes[cluster.leader(name, partition)].append((name, partition))
    return nodes
