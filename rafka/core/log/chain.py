"""The chain of a log, and `<base offset>.chain`, the file beside a segment that says how far it can be trusted.

The chain is a running CRC-64 over the first 21 bytes of every batch, in order: base offset, length, leader epoch,
magic and CRC-32C. It begins, at offset 0, with a seed of topic id and partition. So it is a function of what was
appended and of nothing else: not of where segments end, nor of when anything was synced. A batch that is missing,
stale, misdirected or out of place changes it, and by its CRC-32C every batch's content is held to it as well.

The file is a row of links of 112 bytes, appended as the segment grows. A link says of the batches before `position`
that they were synced when it was written. That stays true whatever happens to the process, so no marker of a clean
end is needed: the last link is the recovery point, and only what lies after it is read at a start. A truncation
first replaces the file. Links need no sync of their own: without the last one, more is read.

      0  crc                   uint32  CRC-32C of seed (int64), base offset (int64), and the bytes from 4 on
      4  version               uint16  0
      6  flags                 uint16  1: begins anew; 2: was rewritten; 4: interim
      8  start                 uint64  the chain before the segment's first batch
     16  end_offset            int64   the offset after the last batch before `position`
     24  position              int64
     32  chain                 uint64  … after that batch
     40  first_timestamp       int64   the largest of the first batch; -1: none
     48  max_timestamp         int64   the largest before `position`; -1: none
     56  max_timestamp_offset  int64   the last offset of the batch that has it
     64  latest_time           int64   of the last entry of `.timeindex`; -1: none
     72  snapshot_offset       int64   whose snapshot has the producers at end_offset; -1: there were none; -2: unknown
     80  epoch_start           int64   where `epoch` began
     88  epoch                 int32   the newest leader epoch before end_offset; -1: none
     92  snapshot_crc          uint32  the CRC-32C in that snapshot
     96  index_entries         uint32  of `.index`, for batches before `position`
    100  index_crc             uint32  CRC-32C of that many entries
    104  time_entries          uint32  of `.timeindex`
    108  time_crc              uint32

BEGINS_ANEW: it does not continue the segment before it (what that ended with was not known). REWRITTEN: compaction
has left other batches than were chained, so what follows does not continue it. INTERIM: only end_offset, position
and chain count; it says nothing of what is synced.
"""

from struct import Struct

from rafka.core.record.crc32c import crc32c
from rafka.core.record.crc64 import crc64_from
from rafka.core.shape import value
from rafka.core.types import Buffer, Uuid

CHAIN = ".chain"
LINK_BYTES = 112
PREFIX_BYTES = 21
"""What of a batch is chained."""
VERSION = 0
BEGINS_ANEW = 1
REWRITTEN = 2
INTERIM = 4
NO_PRODUCERS = -1
UNKNOWN = -2

_link = Struct(">HHQqqQqqqqqqiIIIII")
_bound = Struct(">Qq")
assert _link.size == LINK_BYTES - 4


@value
class Link:
    """One entry of the file; the fields are those above."""

    flags: int
    start: int
    end_offset: int
    position: int
    chain: int
    first_timestamp: int
    max_timestamp: int
    max_timestamp_offset: int
    latest_time: int
    snapshot_offset: int
    epoch_start: int
    epoch: int
    snapshot_crc: int
    index_entries: int
    index_crc: int
    time_entries: int
    time_crc: int


def interim(link: Link, end_offset: int, position: int, chain: int) -> Link:
    """Make a link that lies before `link` and only holds the chain."""
    return Link(
        link.flags | INTERIM,
        link.start,
        end_offset,
        position,
        chain,
        link.first_timestamp,
        link.max_timestamp,
        link.max_timestamp_offset,
        link.latest_time,
        UNKNOWN,
        link.epoch_start,
        link.epoch,
        0,
        link.index_entries,
        link.index_crc,
        link.time_entries,
        link.time_crc,
    )


def seed(topic_id: Uuid, partition: int) -> int:
    """Return the chain of an empty log."""
    return crc64_from(0, topic_id + partition.to_bytes(4, "big"))


def chained(chain: int, batch: Buffer) -> int:
    """Return the chain after a batch, patched as it is in the file."""
    return crc64_from(chain, memoryview(batch)[:PREFIX_BYTES])


def encode(link: Link, seed: int, base_offset: int) -> bytes:
    """Write a link of the segment at `base_offset` in the log with that seed."""
    content = _link.pack(
        VERSION,
        link.flags,
        link.start,
        link.end_offset,
        link.position,
        link.chain,
        link.first_timestamp,
        link.max_timestamp,
        link.max_timestamp_offset,
        link.latest_time,
        link.snapshot_offset,
        link.epoch_start,
        link.epoch,
        link.snapshot_crc,
        link.index_entries,
        link.index_crc,
        link.time_entries,
        link.time_crc,
    )
    return _crc(content, seed, base_offset) + content


def decode(data: bytes, seed: int, base_offset: int) -> list[Link | None]:
    """Read every link; None for one that is not what was written, or not for here."""
    links: list[Link | None] = []
    for at in range(0, len(data) - LINK_BYTES + 1, LINK_BYTES):
        content = data[at + 4 : at + LINK_BYTES]
        fields = _link.unpack(content)
        is_whole = fields[0] == VERSION and data[at : at + 4] == _crc(content, seed, base_offset)
        links.append(Link(*fields[1:]) if is_whole else None)
    return links


def _crc(content: bytes, seed: int, base_offset: int) -> bytes:
    return crc32c(_bound.pack(seed, base_offset) + content).to_bytes(4, "big")
