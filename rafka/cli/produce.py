"""`rafka produce`: send records, from arguments, a file or standard input, one a line.

What can be read at once is sent at once, so a slow pipe is not held up and a file goes in large batches. Each
request is acknowledged before the next is sent: an error is about what was just sent, and everything
counted before it is in the log. A key decides the partition as it does in the Java client; records without one
go to one partition a batch, round robin.
"""

import os
import stat
import time
from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, cast

import click

from rafka.cli.cluster import Cluster, Topic
from rafka.cli.options import with_broker
from rafka.cli.progress import Progress
from rafka.cli.refusal import check
from rafka.cli.run import read_pairs
from rafka.cli.show import show_json
from rafka.client.partitioner import partition_of
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import CODEC_NAMES
from rafka.net.compression import Compression

BATCH_BYTES = 512 << 10
"""Half of what a topic takes by default, for records before compression."""
RECORD_OVERHEAD = 16
"""About what a record takes besides its contents."""
TIMEOUT_MS = 30_000
ACKS = {"1": 1, "all": -1}
COMPRESSIONS = ("none", *CODEC_NAMES[1:])
"""By their numbers; no compression is called as producers call it, not as topics do."""

Headers = tuple[tuple[str, bytes | None], ...]


@click.command(short_help="Send records to a topic.")
@click.argument("topic")
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--file", "source", type=click.File("rb"), default="-", help="Read lines here, not from stdin.")
@click.option("--key", help="The key of every record.")
@click.option("--key-separator", help="What stands between the key and the value of each line.")
@click.option("--null", help="The value that stands for null: with a key, a tombstone.")
@click.option("--header", "pairs", multiple=True, metavar="NAME=VALUE", help="A header of every record.")
@click.option("--partition", type=click.IntRange(min=0), help="The partition for all; else keys decide.")
@click.option("--acks", type=click.Choice(list(ACKS)), default="all", show_default=True)
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="none", show_default=True)
@with_broker
def produce(  # noqa: PLR0913 – one parameter for each option
    *,
    topic: str,
    values: tuple[str, ...],
    source: BinaryIO,
    key: str | None,
    key_separator: str | None,
    null: str | None,
    pairs: tuple[str, ...],
    partition: int | None,
    acks: str,
    compression: str,
    bootstrap: str,
    as_json: bool,
) -> None:
    """Send each VALUE to TOPIC as a record; without values, each line of standard input."""
    headers = tuple((name, os.fsencode(text)) for name, text in read_pairs(pairs, "--header"))
    if key is not None and key_separator is not None:
        raise click.UsageError("--key gives all records one key: no --key-separator with it")
    if not values and source.isatty():
        click.echo("each line is a record; Ctrl-D ends", err=True)
    form = LineForm(key, key_separator, null, headers)
    lots = iter([[os.fsencode(value) for value in values]]) if values else lines_of(source)
    with Cluster(bootstrap, [topic], may_create=True) as cluster, Progress("sent") as progress:
        sender = Sender(cluster, cluster.topics[topic], ACKS[acks], COMPRESSIONS.index(compression))
        if partition is not None:
            cluster.leader(topic, partition)
        for lot in lots:
            for batch in batches(form.record(line) for line in lot):
                sender.send(batch, partition)
                progress.advance(len(batch), None if values else fraction_read(source))
    if as_json:
        show_json({"topic": topic, "records": progress.records})
    else:
        click.echo(f"sent {progress.records} record(s) to {topic}")


class LineForm:
    """How a line becomes a record."""

    def __init__(self, key: str | None, separator: str | None, null: str | None, headers: Headers) -> None:
        self.key = None if key is None else os.fsencode(key)
        self.separator = os.fsencode(separator) if separator else None
        self.null = None if null is None else os.fsencode(null)
        self.headers = headers

    def record(self, line: bytes) -> Record:
        """Make a record of a line; raise a usage error when it should have a key and has none."""
        key, value = self.key, line
        if self.separator is not None:
            key, found, value = line.partition(self.separator)
            if not found:
                raise click.UsageError(f"no key separator in the line {line.decode(errors='replace')!r}")
        return Record(key=key, value=None if value == self.null else value, headers=self.headers)


def lines_of(source: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, as many at a time as can be read without waiting for more."""
    rest = b""
    # click's files are buffered; what standard input is in tests can do this too.
    read = cast("BufferedReader", source).read1
    while data := read(BATCH_BYTES):
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest]


def fraction_read(source: BinaryIO) -> float | None:
    """Return how much of a file was read, 0 to 1; None for what has no size."""
    try:
        status = os.fstat(source.fileno())
        return source.tell() / status.st_size if stat.S_ISREG(status.st_mode) and status.st_size else None
    except (OSError, ValueError):  # no descriptor behind it
        return None


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Cut a stream into lists of, but for one that is too large alone, a bounded number of bytes."""
    batch: list[Record] = []
    total = 0
    for record in records:
        size = size_of(record)
        if batch and total + size > BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(record)
        total += size
    if batch:
        yield batch


def size_of(record: Record) -> int:
    """Return about how many bytes a record takes."""
    headers = sum(len(name) + len(content or b"") + 2 for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_OVERHEAD


class Sender:
    """Sends batches to the leaders of a topic, one request at a time."""

    def __init__(self, cluster: Cluster, topic: Topic, acks: int, codec: int) -> None:
        self.cluster = cluster
        self.topic = topic
        self.acks = acks
        self.codec = codec
        self.codecs = Compression()
        self.turn = 0

    def send(self, batch: list[Record], chosen: int | None) -> None:
        """Send records to the chosen partition, or where their keys belong, and wait for the acknowledgements.

        Raises RafkaError when a part is refused.
        """
        parts: dict[int, list[Record]] = {}
        for record in batch:
            partition = self.place(record) if chosen is None else chosen
            parts.setdefault(partition, []).append(record)
        for partition, records in parts.items():
            self.send_to(partition, records)
        self.turn += 1

    def place(self, record: Record) -> int:
        """Return the partition of a record: by its key, or else the turn's."""
        count = len(self.topic.leaders)
        return self.turn % count if record.key is None else partition_of(record.key, count)

    def send_to(self, partition: int, records: list[Record]) -> None:
        """Send one batch and wait until it is acknowledged. Raises RafkaError when it is refused."""
        stamp = time.time_ns() // 1_000_000
        batch = build_batch(records, timestamp=stamp, codec=self.codec, codecs=self.codecs)
        data = TopicProduceData(
            name=self.topic.name,
            topic_id=self.topic.topic_id,
            partition_data=[PartitionProduceData(index=partition, records=bytes(batch))],
        )
        request = ProduceRequest(acks=self.acks, timeout_ms=TIMEOUT_MS, topic_data=[data])
        wire = self.cluster.node(self.cluster.leader(self.topic.name, partition))
        (result,) = wire.call(request, ProduceResponse).responses[0].partition_responses
        check(result.error_code, f"{self.topic.name}-{partition}", result.error_message)
