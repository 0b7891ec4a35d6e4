"""Compression through the whole broker: what is passed through is never unpacked, and a topic's level is obeyed."""

import pytest

from rafka.core.record.builder import Record, build_batch
from rafka.net.compression import Compression
from tests.core.node.test_fetch import Topic, rows, values
from tests.core.node.test_produce import only, producing
from tests.core.node.world import WALL_MS

CODECS = ["uncompressed", "gzip", "snappy", "lz4", "zstd"]
PLACE = 16
"""The first bytes of a batch are its place in the log, and the broker's."""
VALUES = [b"%d:" % number + b"some words that repeat, some words that do not " * 20 for number in range(200)]


def batch(codec):
    records = [Record(b"%d" % (n % 7), value) for n, value in enumerate(VALUES)]
    return bytes(build_batch(records, timestamp=WALL_MS, codec=codec, codecs=Compression()))


def codecs_of(topic):
    """What the broker itself has packed and unpacked."""
    return topic.world.node.produces.codecs


@pytest.mark.parametrize("codec", range(5))
def test_what_a_producer_packed_is_stored_and_sent_as_it_came(codec):
    topic = Topic()
    sent = batch(codec)
    assert only(topic.writer.ask(producing(topic.id, sent))).error_code == 0
    (row,) = rows(topic.fetch((0, 0)))
    assert bytes(row.records)[PLACE:] == sent[PLACE:]
    assert values(row) == VALUES
    assert (codecs_of(topic).compressed, codecs_of(topic).decompressed) == (0, 0)


@pytest.mark.parametrize(("codec", "low", "high"), [("gzip", 1, 9), ("lz4", 1, 12), ("zstd", 1, 19)])
def test_a_topics_level_is_that_of_what_it_stores(codec, low, high):
    sizes = []
    for level in (low, high):
        topic = Topic(compression_type=codec, **{f"compression_{codec}_level": str(level)})
        assert only(topic.writer.ask(producing(topic.id, batch(0)))).error_code == 0
        (row,) = rows(topic.fetch((0, 0)))
        assert values(row) == VALUES
        expected = Compression().compress(CODECS.index(codec), records_in(batch(0)), level)
        assert bytes(row.records)[61:] == expected
        sizes.append(len(expected))
    assert sizes[0] != sizes[1]


def records_in(plain):
    """The records of a batch that is not compressed."""
    return plain[61:]
