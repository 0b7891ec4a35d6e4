"""`rafka consume`: print a topic's records, without a group: nothing is committed, nobody else is disturbed.

Partitions are read in turn, each in order. Values are printed as the bytes they are, one a line; with
`--json` each record is one JSON object, and bytes that are no UTF-8 are shown as backslash escapes.
"""

import json
import time

import click

from rafka.cli.leaders import Leaders
from rafka.cli.options import with_broker
from rafka.cli.refusal import check
from rafka.client.fetched import records_from
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.fetch_response import FetchResponse
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from rafka.core.api.list_offsets_response import ListOffsetsResponse
from rafka.core.record.builder import Record
from rafka.net.compression import Compression

LATEST = -1
EARLIEST = -2
CONSUMER = -1
PARTITION_BYTES = 1 << 20
WAIT_MS = 500


@click.command(short_help="Print the records of a topic.")
@click.argument("topic")
@click.option("--from-beginning", is_flag=True, help="Start at the oldest record, not at the end.")
@click.option("--offset", type=click.IntRange(min=0), help="Start here; needs --partition.")
@click.option("--partition", type=click.IntRange(min=0), help="Only this one.")
@click.option("--max", "limit", type=click.IntRange(min=1), help="Stop after that many records.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), help="Stop after that many seconds without a record."
)
@with_broker
def consume(
    *,
    topic: str,
    from_beginning: bool,
    offset: int | None,
    partition: int | None,
    limit: int | None,
    timeout: float | None,
    bootstrap: str,
    as_json: bool,
) -> None:
    """Print the records of TOPIC as they come, until --max, --timeout or Ctrl-C."""
    if offset is not None and (partition is None or from_beginning):
        raise click.UsageError("--offset needs --partition, and no --from-beginning")
    with Leaders(bootstrap, topic) as leaders:
        if partition is not None:
            leaders.check_partition(partition)
        chosen = range(leaders.partitions) if partition is None else [partition]
        start = EARLIEST if from_beginning else LATEST
        places = {p: find(leaders, p, start) if offset is None else offset for p in chosen}
        follow(leaders, places, limit, timeout, as_json=as_json)


def follow(
    leaders: Leaders, places: dict[int, int], limit: int | None, timeout: float | None, *, as_json: bool
) -> None:
    """Fetch and print in turn. places: the next offset of each partition, moved on as records are printed."""
    left = limit
    quiet_since = time.monotonic()
    while True:
        for partition, place in places.items():
            records, places[partition] = fetch(leaders, partition, place, WAIT_MS // len(places))
            for record in records[:left]:
                show(record, partition, as_json=as_json)
            if records:
                quiet_since = time.monotonic()
            if left is not None:
                left -= len(records[:left])
                if left == 0:
                    return
        if timeout is not None and time.monotonic() - quiet_since >= timeout:
            return


def find(leaders: Leaders, partition: int, timestamp: int) -> int:
    """Ask the leader for the offset that a special timestamp means. Raises RafkaError."""
    asked = ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
    topic = ListOffsetsTopic(name=leaders.topic, partitions=[asked])
    request = ListOffsetsRequest(replica_id=CONSUMER, topics=[topic])
    (found,) = leaders.wire(partition).call(request, ListOffsetsResponse).topics[0].partitions
    check(found.error_code, f"{leaders.topic}-{partition}", None)
    return found.offset


def fetch(leaders: Leaders, partition: int, offset: int, wait_ms: int) -> tuple[list[Record], int]:
    """Fetch from an offset; return the records and the offset that comes next. Raises RafkaError."""
    asked = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=PARTITION_BYTES)
    topic = FetchTopic(topic=leaders.topic, topic_id=leaders.topic_id, partitions=[asked])
    request = FetchRequest(max_wait_ms=wait_ms, min_bytes=1, topics=[topic])
    answer = leaders.wire(partition).call(request, FetchResponse)
    check(answer.error_code, leaders.topic, None)
    if not answer.responses:
        return [], offset
    (data,) = answer.responses[0].partitions
    check(data.error_code, f"{leaders.topic}-{partition} at offset {offset}", None)
    if data.records is None:
        return [], offset
    assert isinstance(data.records, bytes | bytearray | memoryview)
    return records_from(memoryview(data.records), offset, Compression())


def show(record: Record, partition: int, *, as_json: bool) -> None:
    """Print one record."""
    if not as_json:
        click.echo(record.value or b"")
        return
    fields = {
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": text(record.key),
        "value": text(record.value),
        "headers": [[name, text(value)] for name, value in record.headers],
    }
    click.echo(json.dumps(fields))


def text(data: bytes | None) -> str | None:
    """Show bytes as text; null stays null."""
    return None if data is None else data.decode("utf-8", "backslashreplace")
