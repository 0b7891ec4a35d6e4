"""The two sparse indexes of a segment as files: Kafka's `.index` and `.timeindex`.

    .index      entries of 8 bytes:   last offset of a batch less the base offset  uint32, its position  uint32
    .timeindex  entries of 12 bytes:  largest timestamp so far  int64, last offset of its batch less base  uint32

Both rise strictly from entry to entry. They are functions of the log and can be made anew from it. Kafka's format
has no checksum, so the segment's chain keeps one for each: a file that is not byte for byte what was written is not
used. Sources: Kafka's `OffsetIndex`, `TimeIndex`.
"""

import sys
from array import array

from rafka.core.record.crc32c import crc32c

INDEX, TIME_INDEX = ".index", ".timeindex"
OFFSET_ENTRY_BYTES = 8
TIME_ENTRY_BYTES = 12


def offset_entries(offsets: "array[int]", positions: "array[int]") -> bytes:
    """Write entries of an offset index."""
    words = array("I", bytes(OFFSET_ENTRY_BYTES * len(offsets)))
    words[0::2], words[1::2] = offsets, positions
    return _big(words)


def offsets_in(data: bytes) -> "tuple[array[int], array[int]]":
    """Read the entries of an offset index: relative offsets and positions."""
    words = _words(data)
    return words[0::2], words[1::2]


def time_entries(times: "array[int]", offsets: "array[int]") -> bytes:
    """Write entries of a time index."""
    halves = _words(_big(times))
    words = array("I", bytes(TIME_ENTRY_BYTES * len(times)))
    words[0::3], words[1::3], words[2::3] = halves[0::2], halves[1::2], offsets
    return _big(words)


def times_in(data: bytes) -> "tuple[array[int], array[int]]":
    """Read the entries of a time index: timestamps and relative offsets."""
    words = _words(data)
    halves = array("I", bytes(8 * (len(data) // TIME_ENTRY_BYTES)))
    halves[0::2], halves[1::2] = words[0::3], words[1::3]
    times = array("q")
    times.frombytes(_big(halves))
    if sys.byteorder == "little":
        times.byteswap()
    return times, words[2::3]


def is_sound(data: bytes, length: int, crc: int) -> bool:
    """Say whether a file still begins with the `length` bytes that were written to it."""
    return len(data) >= length and crc32c(memoryview(data)[:length]) == crc


def _big(numbers: "array[int]") -> bytes:
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _words(data: bytes) -> "array[int]":
    words = array("I")
    words.frombytes(data)
    if sys.byteorder == "little":
        words.byteswap()
    return words
