import json

import pytest
from click.testing import CliRunner

from rafka.cli.main import rafka
from rafka.cli.produce import BATCH_BYTES, batches, size_of
from rafka.client.partitioner import partition_of
from rafka.core.api.fetch_response import FetchableTopicResponse, FetchResponse, PartitionData
from rafka.core.api.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from rafka.core.api.metadata_response import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from rafka.core.api.produce_response import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.net.compression import Compression

TOPIC_ID = bytes(range(16))
KEYS = [b"k%d" % n for n in range(20)]


@pytest.fixture
def orders(scripted):
    """A broker that leads the three partitions of orders; refusal: what it says to every produce and fetch."""
    host, _, port = scripted.bootstrap.partition(":")
    partitions = [MetadataResponsePartition(partition_index=p, leader_id=1) for p in range(3)]
    topic = MetadataResponseTopic(name="orders", topic_id=TOPIC_ID, partitions=partitions)
    brokers = [MetadataResponseBroker(node_id=1, host=host, port=int(port))]
    scripted.answers["MetadataRequest"] = MetadataResponse(brokers=brokers, topics=[topic])
    scripted.answers["ProduceRequest"] = lambda request: accept(scripted, request)
    scripted.answers["ListOffsetsRequest"] = lambda request: offsets(request.topics[0].partitions)
    scripted.answers["FetchRequest"] = lambda request: fetched(scripted, request.topics[0].partitions)
    scripted.refusal = 0
    scripted.produced = []
    return scripted


def accept(broker, request):
    assert request.acks == -1
    assert request.topic_data[0].topic_id == TOPIC_ID
    (data,) = request.topic_data[0].partition_data
    records = records_of(bytes(data.records), Compression())
    broker.produced += [(data.index, r.key, r.value, r.headers) for r in records]
    result = PartitionProduceResponse(index=data.index, error_code=broker.refusal)
    return ProduceResponse(responses=[TopicProduceResponse(topic_id=TOPIC_ID, partition_responses=[result])])


def offsets(asked):
    """Each partition p holds the offsets 10p and 10p + 1."""
    found = [
        ListOffsetsPartitionResponse(
            partition_index=one.partition_index,
            offset=10 * one.partition_index + {-2: 0, -1: 2}[one.timestamp],
        )
        for one in asked
    ]
    return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="orders", partitions=found)])


def fetched(broker, asked):
    data = [partition_data(broker, one) for one in asked]
    return FetchResponse(responses=[FetchableTopicResponse(topic_id=TOPIC_ID, partitions=data)])


def partition_data(broker, asked):
    base = 10 * asked.partition
    records = [
        Record(key=None, value=b"p%d-a" % asked.partition, timestamp=5),
        Record(key=b"\xff", value=None, headers=(("h", b"1"),), timestamp=6),
    ]
    some = (
        bytes(build_batch(records, timestamp=5, base_offset=base)) if asked.fetch_offset < base + 2 else None
    )
    return PartitionData(partition_index=asked.partition, error_code=broker.refusal, records=some)


def ask(broker, command, *arguments, stdin=None):
    line = [command, "orders", *arguments, "--bootstrap", broker.bootstrap]
    return CliRunner().invoke(rafka, line, input=stdin)


def test_values_on_the_line_are_records_without_keys(orders):
    answer = ask(orders, "produce", "a", "b", "--header", "h=1")
    assert (answer.exit_code, answer.stdout) == (0, "sent 2 record(s) to orders\n")
    assert orders.produced == [(0, None, b"a", (("h", b"1"),)), (0, None, b"b", (("h", b"1"),))]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_keys_decide_the_partition_as_in_java(orders, codec):
    lines = b"".join(key + b":v:1\n" for key in KEYS)
    answer = ask(orders, "produce", "--key-separator", ":", "--compression", codec, "--json", stdin=lines)
    assert json.loads(answer.stdout) == {"topic": "orders", "records": 20}
    assert sorted(orders.produced) == sorted((partition_of(key, 3), key, b"v:1", ()) for key in KEYS)


def test_a_chosen_partition_takes_all_and_must_exist(orders):
    ask(orders, "produce", "--partition", "2", "--key-separator", ":", "a:1", "b:2")
    assert [where for where, *_ in orders.produced] == [2, 2]
    answer = ask(orders, "produce", "--partition", "3", "x")
    assert (answer.exit_code, answer.stderr) == (1, "Error: orders has no partition 3: it has 3\n")


def test_a_file_is_read_by_lines_of_bytes(orders, tmp_path):
    (tmp_path / "lines").write_bytes(b"one\r\n\xff\n\nlast")
    ask(orders, "produce", "--file", str(tmp_path / "lines"))
    assert [value for _, _, value, _ in orders.produced] == [b"one", b"\xff", b"", b"last"]


def test_one_key_can_be_that_of_all_records(orders):
    ask(orders, "produce", "--key", "k", "a", "b")
    assert orders.produced == [(partition_of(b"k", 3), b"k", value, ()) for value in (b"a", b"b")]
    assert ask(orders, "produce", "--key", "k", "--key-separator", ":", "a:b").exit_code == 2


def test_a_line_without_its_key_is_a_usage_error(orders):
    assert ask(orders, "produce", "--key-separator", ":", "no key").exit_code == 2
    assert orders.produced == []


def test_a_refused_batch_fails_the_command(orders):
    orders.refusal = 10
    answer = ask(orders, "produce", "x")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: orders-0: the batch is larger than the topic takes")


@pytest.mark.parametrize(
    "sizes",
    [[], [1] * (BATCH_BYTES // 8), [BATCH_BYTES * 2, 1, BATCH_BYTES, 1, 1]],
    ids=["none", "small", "large"],
)
def test_batches_are_bounded_and_lose_nothing(sizes):
    cut = list(batches(Record(key=None, value=bytes(size)) for size in sizes))
    assert [len(record.value) for batch in cut for record in batch] == sizes
    assert all(sum(map(size_of, batch)) <= BATCH_BYTES or len(batch) == 1 for batch in cut)


def test_every_partition_is_read_from_its_beginning(orders):
    answer = ask(orders, "consume", "--from-beginning", "--max", "6", "--json")
    records = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [(r["partition"], r["offset"]) for r in records] == [
        (0, 0),
        (0, 1),
        (1, 10),
        (1, 11),
        (2, 20),
        (2, 21),
    ]
    assert records[3] == {
        "partition": 1,
        "offset": 11,
        "timestamp": 6,
        "key": "\\xff",
        "value": None,
        "headers": [["h", "1"]],
    }


def test_values_are_printed_a_line_each(orders):
    assert ask(orders, "consume", "--from-beginning", "--max", "3").stdout == "p0-a\n\np1-a\n"


def test_without_from_beginning_only_what_comes_later_is_shown(orders):
    answer = ask(orders, "consume", "--timeout", "0")
    assert (answer.exit_code, answer.stdout) == (0, "")


def test_an_offset_is_where_one_partition_starts(orders):
    answer = ask(orders, "consume", "--partition", "1", "--offset", "11", "--max", "1", "--json")
    assert json.loads(answer.stdout)["offset"] == 11


@pytest.mark.parametrize("extra", [[], ["--partition", "1", "--from-beginning"]])
def test_an_offset_without_its_partition_is_a_usage_error(orders, extra):
    assert ask(orders, "consume", "--offset", "1", *extra).exit_code == 2


def test_a_refused_fetch_names_the_place(orders):
    orders.refusal = 1
    answer = ask(orders, "consume", "--partition", "0", "--offset", "99")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: orders-0 at offset 99: there is no such offset")


def test_a_partition_without_a_leader_is_named(orders):
    orders.answers["MetadataRequest"].brokers.clear()
    answer = ask(orders, "produce", "x")
    assert (answer.exit_code, answer.stderr) == (1, "Error: orders-0 has no leader now\n")
