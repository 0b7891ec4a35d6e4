"""Which partition a key belongs to: as the Java client says, so that all clients agree.

Java's default partitioner takes the 32-bit MurmurHash2 of the key with a fixed seed, clears the sign bit,
and takes the rest of the division by the number of partitions.
Source: `Utils.murmur2` and `BuiltInPartitioner.partitionForKey` of Kafka's clients.
"""

from struct import unpack_from
from typing import Final

SEED: Final = 0x9747_B28C
MULTIPLIER: Final = 0x5BD1_E995
SHIFT: Final = 24
UINT32: Final = 0xFFFF_FFFF


def murmur2(key: bytes) -> int:
    """Return the 32-bit MurmurHash2 of a key, in 0..2**32-1 (Java shows it signed)."""
    state = (SEED ^ len(key)) & UINT32
    whole = len(key) // 4
    for word in unpack_from(f"<{whole}I", key):
        mixed = word * MULTIPLIER & UINT32
        mixed ^= mixed >> SHIFT
        state = (state * MULTIPLIER & UINT32) ^ (mixed * MULTIPLIER & UINT32)
    rest = key[4 * whole :]
    if rest:
        state = (state ^ int.from_bytes(rest, "little")) * MULTIPLIER & UINT32
    state = (state ^ state >> 13) * MULTIPLIER & UINT32
    return state ^ state >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition, in 0..partitions-1, that a record with this key goes to."""
    assert partitions > 0
    return (murmur2(key) & 0x7FFF_FFFF) % partitions
