"""Hostile record batches: whatever they are, they are taken, refused or corrupt, and unpack to bounded memory.

A case: one batch, true or damaged, its CRC often made right again so that what lies behind the CRC is reached, goes
the way of a produced batch (split, prepare under random topic settings) and the way of a stored one (read,
compacted). Nothing but CorruptRecord comes out, and what `prepare` takes is a whole batch that `check` accepts.
"""

from contextlib import suppress
from random import Random
from struct import pack_into

from fuzz.memory import bounded
from rafka.core.config import LogConfig
from rafka.core.errors import CorruptRecord
from rafka.core.log.compaction import OffsetMap, compact
from rafka.core.record.batch import HEADER_BYTES, check, split
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.record.compression import CODEC_NAMES, ZSTD
from rafka.core.record.crc32c import crc32c
from rafka.core.record.validate import EXPANSION, Refused, prepare
from rafka.core.record.varint import write_varint
from rafka.core.types import Buffer, WallMs
from rafka.net.compression import Compression
from tests.core.message.fill import damaged

NOW = WallMs(1_700_000_000_000)
CODECS = Compression()
STORED_LIMIT = 1 << 20
"""What a stored batch may unpack to here, so that the buffer for it does not hide what else is taken."""
FIXED_BYTES = 16 << 20
"""Codec libraries loaded at first use, and the case itself."""
AMPLIFICATION = 512
"""Bytes of memory for one byte of records: a Record with its headers for the least that stands for one."""
FIELDS = (
    (8, ">i"),
    (12, ">i"),
    (16, ">b"),
    (21, ">h"),
    (23, ">i"),
    (27, ">q"),
    (35, ">q"),
    (43, ">q"),
    (51, ">h"),
    (53, ">i"),
    (57, ">i"),
)
"""Place and form of the header's fields behind the base offset, without the CRC."""
BITS = {">b": 8, ">h": 16, ">i": 32, ">q": 64}
BOMB_BYTES = 8 << 20
MESSAGE_BYTES_MAX = 64 << 10


class SmallCodecs(Compression):
    """Those that read stored batches here."""

    def decompress(self, codec: int, data: Buffer, limit: int, topic: str = "") -> bytes:
        return super().decompress(codec, data, min(limit, STORED_LIMIT), topic)


SMALL_CODECS = SmallCodecs()


def a_batch(rng: Random) -> bytearray:
    """A true batch of random records."""
    records = [a_record(rng) for _ in range(rng.choice((1, 1, 2, 5, 40)))]
    return build_batch(
        records,
        timestamp=NOW - rng.choice((0, 1, 10**6)),
        codec=rng.randrange(ZSTD + 1),
        codecs=CODECS,
        producer_id=rng.choice((-1, 7)),
        producer_epoch=rng.choice((-1, 0, 3)),
        base_sequence=rng.choice((-1, 0, 2**31 - 1)),
        transactional=rng.random() < 0.2,
        control=rng.random() < 0.1,
    )


def a_record(rng: Random) -> Record:
    def some() -> bytes | None:
        return rng.choice((None, b"", b"k", rng.randbytes(rng.choice((1, 64, 2000)))))

    headers = tuple(("h", some()) for _ in range(rng.choice((0, 0, 1, 3))))
    return Record(some(), some(), headers, rng.choice((None, NOW, 0, -1, 2**62)))


def a_bomb(rng: Random) -> bytearray:
    """A small batch that says or unpacks to a large one: zeros, or the records of a true batch again and again."""
    codec = rng.randrange(1, ZSTD + 1)
    body = bytes(BOMB_BYTES) if rng.random() < 0.5 else b"\x0c\x00\x00\x00\x01\x01\x00" * (BOMB_BYTES // 7)
    return with_body(CODECS.compress(codec, body), codec, rng.choice((1, BOMB_BYTES // 7, 2**31 - 1)))


def records_that_lie(rng: Random) -> bytearray:
    """Records whose varints are anything, packed as a true body."""
    body = bytearray()
    for _ in range(rng.randrange(1, 30)):
        number = rng.choice((0, 1, 2, -1, -2, 7, 100, 2**31, 2**62, -(2**63), rng.getrandbits(20)))
        write_varint(body, number)
        body += rng.choice((b"", b"", b"\x00", b"\xff" * 11, b"k"))
    codec = rng.randrange(ZSTD + 1)
    packed = CODECS.compress(codec, body) if codec else bytes(body)
    return with_body(packed, codec, rng.choice((0, 1, 2, 5, 2**31 - 1)))


def with_body(body: bytes, codec: int, count: int) -> bytearray:
    """A batch of which only the body is odd."""
    batch = build_batch([Record(None, None)], timestamp=NOW)[:HEADER_BYTES] + body
    pack_into(">i", batch, 8, len(batch) - 12)
    pack_into(">h", batch, 21, codec)
    pack_into(">i", batch, 23, max(0, count - 1))
    pack_into(">i", batch, 57, count)
    return sealed(batch)


def sealed(batch: bytearray) -> bytearray:
    """Make the CRC right."""
    if len(batch) >= HEADER_BYTES:
        pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return batch


def hurt(batch: bytearray, rng: Random) -> bytearray:
    """Damage a batch: one header field, or bytes anywhere; its length and CRC are often made to fit again."""
    if rng.random() < 0.5:
        place, form = rng.choice(FIELDS)
        top = 1 << BITS[form] - 1
        number = rng.choice((-top, -1, 0, 1, 5, top - 1, rng.randrange(-top, top)))
        pack_into(form, batch, place, number)
    else:
        batch = bytearray(damaged(bytes(batch), rng))
        if rng.random() < 0.7 and len(batch) >= HEADER_BYTES:
            pack_into(">i", batch, 8, len(batch) - 12)
    return sealed(batch) if rng.random() < 0.8 else batch


def a_config(rng: Random) -> LogConfig:
    """A topic's settings."""
    compression = rng.choice(
        ("producer", "producer", *(name for name in CODEC_NAMES if name != "none"), "uncompressed")
    )
    return LogConfig(
        max_message_bytes=MESSAGE_BYTES_MAX,
        compression_type=compression,
        cleanup_compact=rng.random() < 0.5,
        message_timestamp_type=rng.choice(("CreateTime", "LogAppendTime")),
    )


def produced(data: bytearray, config: LogConfig) -> None:
    """The way in."""
    for view, header in split(memoryview(data)):
        taken = prepare(view, header, config, CODECS, NOW)
        if isinstance(taken, Refused):
            assert taken.error_code != 0
            continue
        batch, claimed = taken
        found = check(batch)
        assert found.size_bytes == len(batch) <= config.max_message_bytes
        assert (claimed.count, claimed.codec) == (found.count, found.codec)


def stored(data: bytearray, rng: Random) -> None:
    """The ways of a batch that is in a log, where only its CRC vouches for it."""
    view = memoryview(data)
    header = check(view)
    view = view[: header.size_bytes]
    offsets = OffsetMap(1 << 20)
    offsets.add(view, header, SMALL_CODECS)
    left = compact(
        view,
        header,
        offsets,
        SMALL_CODECS,
        NOW,
        rng.choice((0, 1, 10**10)),
        last_of_producer=rng.random() < 0.5,
    )
    if left is not None:
        assert check(memoryview(left)).last_offset == header.last_offset, "compaction moves no offset"
    records_of(view, SMALL_CODECS)


def attack(seed: int) -> None:
    """One case."""
    rng = Random(seed)
    make = rng.choice(
        (a_batch, a_batch, a_batch, records_that_lie, records_that_lie, a_bomb if seed % 8 == 0 else a_batch)
    )
    data = make(rng)
    for _ in range(rng.choice((0, 1, 1, 3))):
        data = hurt(data, rng) if len(data) >= HEADER_BYTES else data
    config = a_config(rng)
    is_bomb = make is a_bomb
    unpacked = EXPANSION * MESSAGE_BYTES_MAX if is_bomb else 0
    with bounded(
        FIXED_BYTES + 4 * unpacked + AMPLIFICATION * len(data), f"a produced batch of {len(data):,} bytes"
    ):
        quietly(lambda: produced(bytearray(data), config))
    if not is_bomb:  # one in a log came in once, under the bounds of `prepare`
        with bounded(FIXED_BYTES + AMPLIFICATION * len(data), f"a stored batch of {len(data):,} bytes"):
            quietly(lambda: stored(bytearray(data), rng))


def quietly(action) -> None:
    """Do it; CorruptRecord is an answer."""
    with suppress(CorruptRecord):
        action()
