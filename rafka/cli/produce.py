"""`rafka produce`: send records, from arguments, a file or standard input, one a line.

Records are sent in batches, one request at a time, and each is acknowledged before the next is sent: an error
is about what was just sent, and everything counted before it is in the log. A key decides the partition as
it does in the Java client; records without one go to one partition a batch, round robin.
"""

import time
from collections.abc import Iterable, Iterator

import click

from rafka.cli.leaders import Leaders
from rafka.cli.options import with_broker
from rafka.cli.refusal import check
from rafka.cli.run import read_pairs
from rafka.cli.show import show_json
from rafka.client.partitioner import partition_of
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import CODEC_NAMES
from rafka.net.compression import Compression

BATCH_RECORDS = 500
BATCH_BYTES = 512 << 10
TIMEOUT_MS = 30_000
ACKS = {"1": 1, "all": -1}


@click.command(short_help="Send records to a topic.")
@click.argument("topic")
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--file", "source", type=click.File("rb"), default="-", help="Read lines here, not from stdin.")
@click.option("--key-separator", help="What stands between key and value; without it there are no keys.")
@click.option("--header", "pairs", multiple=True, metavar="NAME=VALUE", help="A header of every record.")
@click.option("--partition", type=click.IntRange(min=0), help="The partition for all; else keys decide.")
@click.option("--acks", type=click.Choice(list(ACKS)), default="all", show_default=True)
@click.option("--compression", type=click.Choice(CODEC_NAMES), default="uncompressed", show_default=True)
@with_broker
def produce(  # noqa: PLR0913 – one parameter for each option
    *,
    topic: str,
    values: tuple[str, ...],
    source: Iterable[bytes],
    key_separator: str | None,
    pairs: tuple[str, ...],
    partition: int | None,
    acks: str,
    compression: str,
    bootstrap: str,
    as_json: bool,
) -> None:
    """Send each VALUE to TOPIC as a record; without values, each line of standard input."""
    headers = tuple((name, text.encode()) for name, text in read_pairs(pairs, "--header"))
    separator = key_separator.encode() if key_separator else None
    lines = (value.encode() for value in values) if values else (line.rstrip(b"\r\n") for line in source)
    records = (record_of(line, separator, headers) for line in lines)
    sent = 0
    with Leaders(bootstrap, topic) as leaders:
        if partition is not None:
            leaders.check_partition(partition)
        for number, batch in enumerate(batches(records)):
            for target, some in by_partition(batch, partition, number, leaders.partitions).items():
                send(leaders, target, some, ACKS[acks], CODEC_NAMES.index(compression))
                sent += len(some)
    if as_json:
        show_json({"topic": topic, "records": sent})
    else:
        click.echo(f"sent {sent} record(s) to {topic}")


def record_of(line: bytes, separator: bytes | None, headers: tuple[tuple[str, bytes | None], ...]) -> Record:
    """Make a record of a line; raise a usage error when it should have a key and has none."""
    if separator is None:
        return Record(key=None, value=line, headers=headers)
    key, found, value = line.partition(separator)
    if not found:
        raise click.UsageError(f"no key separator in the line {line.decode(errors='replace')!r}")
    return Record(key=key, value=value, headers=headers)


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Cut a stream into lists of a bounded number of records and, but for one that is too large alone, bytes."""
    batch: list[Record] = []
    total = 0
    for record in records:
        size = size_of(record)
        if batch and (len(batch) == BATCH_RECORDS or total + size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(record)
        total += size
    if batch:
        yield batch


def size_of(record: Record) -> int:
    """Return about how many bytes a record takes."""
    return len(record.key or b"") + len(record.value or b"")


def by_partition(
    batch: list[Record], chosen: int | None, number: int, partitions: int
) -> dict[int, list[Record]]:
    """Say which records go where; number: the batch's, which keyless records take turns by."""
    parts: dict[int, list[Record]] = {}
    for record in batch:
        keyed = number % partitions if record.key is None else partition_of(record.key, partitions)
        parts.setdefault(keyed if chosen is None else chosen, []).append(record)
    return parts


def send(leaders: Leaders, partition: int, records: list[Record], acks: int, codec: int) -> None:
    """Send one batch and wait until it is acknowledged. Raises RafkaError when it is refused."""
    batch = build_batch(records, timestamp=time.time_ns() // 1_000_000, codec=codec, codecs=Compression())
    data = TopicProduceData(
        name=leaders.topic,
        topic_id=leaders.topic_id,
        partition_data=[PartitionProduceData(index=partition, records=bytes(batch))],
    )
    request = ProduceRequest(acks=acks, timeout_ms=TIMEOUT_MS, topic_data=[data])
    answer = leaders.wire(partition).call(request, ProduceResponse)
    (result,) = answer.responses[0].partition_responses
    check(result.error_code, f"{leaders.topic}-{partition}", result.error_message)
