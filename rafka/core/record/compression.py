"""The port through which the core compresses and decompresses: the codecs' numbers, and what is asked.

The codec of a batch is bits 0–2 of its attributes. Sources: Kafka's protocol guide, "Record Batch"; KIP-110
(zstd). The implementation over native libraries is `rafka.net.compression`.
"""

from typing import Protocol

from rafka.core.types import Buffer

NONE = 0
GZIP = 1
SNAPPY = 2
LZ4 = 3
ZSTD = 4

CODEC_NAMES = ("uncompressed", "gzip", "snappy", "lz4", "zstd")
"""The values of the setting `compression.type`, by codec number (without `producer`)."""


class Codecs(Protocol):
    """Compress and decompress whole buffers; deterministic for one version of the libraries.

    topic: for which topic the work is done, "" for none in particular; it only names the account that it goes to.
    """

    def compress(self, codec: int, data: Buffer, level: int | None = None, topic: str = "") -> bytes:
        """Compress `data` as codec 1–4 at `level` (None: the codec's default; snappy has no levels)."""

    def decompress(self, codec: int, data: Buffer, limit: int, topic: str = "") -> bytes:
        """Decompress `data`; raises CorruptRecord if it is damaged or larger than `limit` bytes."""
