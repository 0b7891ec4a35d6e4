"""Where a consumer starts in each partition, when nothing else says."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rafka.cli.cluster import Cluster
from rafka.cli.offsets import EARLIEST, LATEST, Place, list_offsets


class Start(NamedTuple):
    """timestamp: at the first record not older, in ms, or EARLIEST, LATEST; last: so many records before the end."""

    timestamp: int = LATEST
    last: int | None = None


def start_of(cluster: Cluster, topic: str, partitions: Iterable[int], start: Start) -> dict[int, int]:
    """Return the offset at which each partition is read first; the end, when no record is so young.

    Raises RafkaError when a partition does not exist or its leader refuses.
    """
    places = [(topic, partition) for partition in partitions]
    if start.last is not None:
        earliest, latest = at(cluster, places, EARLIEST), at(cluster, places, LATEST)
        return {place[1]: max(earliest[place], latest[place] - start.last) for place in places}
    found = at(cluster, places, start.timestamp)
    latest = at(cluster, [place for place in places if found[place] < 0], LATEST)
    return {place[1]: latest.get(place, found[place]) for place in places}


def at(cluster: Cluster, places: Iterable[Place], timestamp: int) -> Mapping[Place, int]:
    """Return the offset of each place at one timestamp."""
    return list_offsets(cluster, dict.fromkeys(places, timestamp))
