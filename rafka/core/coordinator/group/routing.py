"""Which shard a group lives in, for every node and every client alike.

partition = (hash of the group id, sign bit cleared) mod the partitions of __consumer_offsets, where the hash
is Java's String.hashCode: s[0]*31^(n-1) + … + s[n-1] over UTF-16 code units, wrapping at 32 bits.
Source: Kafka's GroupCoordinatorService.partitionFor and Utils.abs.
"""

from typing import Final

OFFSETS_TOPIC: Final = "__consumer_offsets"


def java_hash(text: str) -> int:
    """Return Java's String.hashCode of `text`, in [-2^31, 2^31)."""
    units = text.encode("utf-16-be", "surrogatepass")
    total = 0
    for index in range(0, len(units), 2):
        total = (31 * total + (units[index] << 8) + units[index + 1]) & 0xFFFFFFFF
    return total - (1 << 32) if total >> 31 else total


def partition_for(group_id: str, count: int) -> int:
    """Return the partition of __consumer_offsets that owns `group_id`; count: how many there are, > 0."""
    assert count > 0
    return (java_hash(group_id) & 0x7FFFFFFF) % count
