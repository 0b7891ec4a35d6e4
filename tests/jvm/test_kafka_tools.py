"""Kafka's console tools, as an operator runs them, against the broker and against its files."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

from tests.clients.support import create, offsets, producer_of, read, send, until
from tests.jvm.support import MARKS, tool
from tests.process.lives import Lives

pytestmark = MARKS

COMPLAINTS = re.compile(
    r"isvalid: false|Mismatches in|mismatch|out of order|Non-consecutive|corrupt|No data log|Exception|Error",
    re.I,
)


def test_kafka_topics_and_kafka_configs(bootstrap: str, name: str) -> None:
    at = ["--bootstrap-server", bootstrap]
    made = tool(
        "TopicCommand",
        *at,
        "--create",
        "--topic",
        name,
        "--partitions",
        "2",
        "--config",
        "retention.ms=1000000",
    )
    assert made == f"Created topic {name}.\n"
    again = tool("TopicCommand", *at, "--create", "--topic", name, expect=1)
    assert f"Topic '{name}' already exists" in again
    tool("TopicCommand", *at, "--alter", "--topic", name, "--partitions", "3")
    described = tool("TopicCommand", *at, "--describe", "--topic", name)
    assert "PartitionCount: 3\tReplicationFactor: 1\tConfigs: retention.ms=1000000" in described
    assert described.count("Leader: 1\tReplicas: 1\tIsr: 1") == 3
    assert name in tool("TopicCommand", *at, "--list").split()
    config = ["--entity-type", "topics", "--entity-name", name]
    tool(
        "kafka.admin.ConfigCommand",
        *at,
        *config,
        "--alter",
        "--add-config",
        "max.message.bytes=7777",
        "--delete-config",
        "retention.ms",
    )
    shown = tool("kafka.admin.ConfigCommand", *at, *config, "--describe")
    assert (
        "max.message.bytes=7777 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=7777"
        in shown
    )
    assert "retention.ms" not in shown
    tool("TopicCommand", *at, "--delete", "--topic", name)
    assert name not in tool("TopicCommand", *at, "--list").split()


def test_console_producer_consumer_and_consumer_groups(bootstrap: str, name: str) -> None:
    at = ["--bootstrap-server", bootstrap]
    create(bootstrap, name, 2)
    keyed = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    tool(
        "ConsoleProducer", *at, "--topic", name, *keyed, "--compression-codec", "lz4", given="a:1\nb:2\nc:3\n"
    )
    show = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"]
    until_three = ["--from-beginning", "--max-messages", "3", "--group", name, *show]
    read_back = tool("consumer.ConsoleConsumer", *at, "--topic", name, *until_three)
    assert sorted(read_back.split()) == ["a:1", "b:2", "c:3"]
    described = tool("consumer.group.ConsumerGroupCommand", *at, "--describe", "--group", name)
    rows = [line.split() for line in described.splitlines() if line.startswith(name)]
    assert sum(int(row[3]) for row in rows) == 3, described
    assert {row[5] for row in rows} == {"0"}, "no lag"
    reset = ["--reset-offsets", "--group", name, "--all-topics", "--to-earliest", "--execute"]
    tool("consumer.group.ConsumerGroupCommand", *at, *reset)
    described = tool("consumer.group.ConsumerGroupCommand", *at, "--describe", "--group", name)
    rows = [line.split() for line in described.splitlines() if line.startswith(name)]
    assert sum(int(row[5]) for row in rows) == 3, "all of it is lag again"
    assert name in tool("consumer.group.ConsumerGroupCommand", *at, "--list").split()
    deleted = tool("consumer.group.ConsumerGroupCommand", *at, "--delete", "--group", name)
    assert "was successful" in deleted


def test_offsets_records_directories_and_versions(bootstrap: str, name: str, tmp_path: Path) -> None:
    at = ["--bootstrap-server", bootstrap]
    create(bootstrap, name, 2)
    measured = tool(
        "ProducerPerformance",
        *at,
        "--topic",
        name,
        "--num-records",
        "4000",
        "--record-size",
        "500",
        "--throughput",
        "-1",
    )
    assert measured.startswith("4000 records sent")
    ends = dict(
        line.rsplit(":", 1) for line in tool("GetOffsetShell", *at, "--topic", name, "--time", "-1").split()
    )
    assert sum(map(int, ends.values())) == 4000
    wanted = tmp_path / "delete.json"
    wanted.write_text(
        json.dumps({"version": 1, "partitions": [{"topic": name, "partition": 0, "offset": 7}]})
    )
    assert "low_watermark: 7" in tool("DeleteRecordsCommand", *at, "--offset-json-file", str(wanted))
    starts = tool("GetOffsetShell", *at, "--topic", name, "--time", "-2").split()
    assert sorted(starts) == [f"{name}:0:7", f"{name}:1:0"]
    answer = tool("LogDirsCommand", *at, "--describe", "--topic-list", name).splitlines()[-1]
    (directory,) = json.loads(answer)["brokers"][0]["logDirs"]
    assert sum(one["size"] for one in directory["partitions"]) > 4000 * 500
    versions = tool("BrokerApiVersionsCommand", *at)
    for line in ("Produce(0): 0 to 13", "Fetch(1): 4 to 18", "ApiVersions(18): 0 to"):
        assert line in versions, versions
    assert re.search(r"Cluster ID: \S{22}", tool("ClusterTool", "cluster-id", *at))


def test_kafka_configs_cordons_the_directory(bootstrap: str, name: str) -> None:  # KIP-1066
    at = ["--bootstrap-server", bootstrap]
    broker = [*at, "--entity-type", "brokers", "--entity-name", "1"]
    tool("kafka.admin.ConfigCommand", *broker, "--alter", "--add-config", "cordoned.log.dirs=*")
    try:
        shown = tool("kafka.admin.ConfigCommand", *broker, "--describe")
        assert (
            "cordoned.log.dirs=* sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:cordoned.log.dirs=*" in shown
        )
        refused = tool("TopicCommand", *at, "--create", "--topic", name, expect=1)
        assert "or have all their log directories cordoned." in refused
    finally:
        tool("kafka.admin.ConfigCommand", *broker, "--alter", "--delete-config", "cordoned.log.dirs")
    create(bootstrap, name)


def test_kafka_dump_log_finds_nothing_wrong_with_the_files(lives: Lives, name: str) -> None:
    bootstrap = lives.address
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    create(bootstrap, name, 1, segment_bytes=1 << 20)
    create(bootstrap, f"{name}-zstd", 1, compression_type="zstd")
    values: dict[str, list[bytes | None]] = {}
    for codec in codecs:
        values[codec] = [b"%s %d" % (codec.encode(), number) for number in range(50)]
        producer = producer_of(bootstrap, compression_type=codec, linger_ms=20, enable_idempotence=True)
        offsets(send(producer, name, values[codec], key=b"k", headers=[("h", b"v")], partition=0))
        offsets(send(producer, f"{name}-zstd", values[codec], partition=0))
    offsets(send(producer_of(bootstrap, batch_num_messages=40), name, [b"x" * 1000] * 2500, partition=0))
    directory = lives.directory / "data" / f"{name}-0"
    logs = sorted(directory.glob("*.log"))
    assert len(logs) > 2, "segments have rolled"
    batches, records = dumped(dump(logs[0], "--deep-iteration", "--print-data-log"))
    assert {batch["compresscodec"] for batch in batches} == set(codecs)
    assert [r["payload"] for r in records[:250]] == [
        v.decode() for codec in codecs for v in values[codec] if v
    ]
    assert {r["key"] for r in records[:250]} == {"k"}
    assert [int(r["offset"]) for r in records] == list(range(len(records)))
    for log in logs[1:]:
        rolled, _ = dumped(dump(log))
        assert int(rolled[0]["baseOffset"]) == int(log.stem)
    batches, records = dumped(
        dump(lives.directory / "data" / f"{name}-zstd-0" / logs[0].name, "--deep-iteration")
    )
    assert {batch["compresscodec"] for batch in batches} == {"zstd"}
    assert len(records) == 250


def test_kafka_dump_log_reads_the_indexes_and_snapshots(lives: Lives, name: str) -> None:
    bootstrap = lives.address
    create(bootstrap, name, 1, segment_bytes=1 << 20)
    producer = producer_of(bootstrap, batch_num_messages=10, enable_idempotence=True)
    offsets(send(producer, name, [b"x" * 1000] * 4000, partition=0))
    directory = lives.directory / "data" / f"{name}-0"
    until(lambda: len(list(directory.glob("*.timeindex"))) > 2, "segments that are full have their indexes")
    indexes = sorted(directory.glob("*.index")) + sorted(directory.glob("*.timeindex"))
    assert len(indexes) > 4
    dump(*indexes)  # each entry against the batch that it points to
    assert dump(*indexes, "--index-sanity-check").count("passed sanity check") == len(indexes)
    snapshots = sorted(directory.glob("*.snapshot"))
    assert snapshots
    assert "producerId: " in dump(*snapshots)


def test_kafka_dump_log_finds_nothing_wrong_with_a_compacted_log(lives: Lives, name: str) -> None:
    bootstrap, random = lives.address, Random(5)
    settings = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": "0.0", "file_delete_delay_ms": 0}
    create(bootstrap, name, 1, segment_bytes=1 << 20, **settings)
    newest: dict[bytes, bytes] = {}
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        producer = producer_of(bootstrap, compression_type=codec, linger_ms=5, batch_num_messages=20)
        for number in range(800):
            key = b"%d" % (number % 37)
            newest[key] = random.randbytes(1000)
            producer.produce(name, newest[key], key=key, partition=0)
        assert producer.flush(30) == 0
    directory = lives.directory / "data" / f"{name}-0"
    last = sorted(directory.glob("*.log"))[-1]
    cleaned_to = directory / "cleaner-offset-checkpoint"
    # Once everything before the newest segment is clean, nobody touches the files any more.
    until(
        lambda: cleaned_to.exists() and cleaned_to.read_text().split()[-1] == str(int(last.stem)),
        "all is clean",
    )
    until(lambda: not list(directory.glob("*.swap")), "the clean segments are in their places")
    batches, records = dumped(dump(*sorted(directory.glob("*.log")), "--deep-iteration"))
    assert sum(int(batch["count"]) for batch in batches) == len(records) < 1500
    found = [int(record["offset"]) for record in records]
    assert found == sorted(set(found))
    messages = read(bootstrap, name, len(records))
    assert [message.offset() for message in messages] == found
    assert {message.key(): message.value() for message in messages} == newest


def test_kafka_dump_log_decodes_our_internal_topics(lives: Lives, name: str) -> None:
    bootstrap = lives.address
    create(bootstrap, name, 3, retention_ms=1234567)
    offsets(send(producer_of(bootstrap), name, [b"v"], partition=0))
    at = ["--bootstrap-server", bootstrap]
    tool(
        "consumer.ConsoleConsumer",
        *at,
        "--topic",
        name,
        "--from-beginning",
        "--max-messages",
        "1",
        "--group",
        name,
    )
    data = lives.directory / "data"
    metadata = payloads(dump(*data.glob("__cluster_metadata-0/*.log"), "--cluster-metadata-decoder"))
    mine = [one["data"] for one in metadata if one["type"] == "TOPIC_RECORD" and one["data"]["name"] == name]
    assert len(mine) == 1
    partitions = [one["data"] for one in metadata if one["type"] == "PARTITION_RECORD"]
    assert [one["partitionId"] for one in partitions if one["topicId"] == mine[0]["topicId"]] == [0, 1, 2]
    configs = [one["data"] for one in metadata if one["type"] == "CONFIG_RECORD"]
    wanted = {"resourceType": 2, "resourceName": name, "name": "retention.ms", "value": "1234567"}
    assert wanted in configs
    text = dump(*data.glob("__consumer_offsets-*/*.log"), "--offsets-decoder")
    committed = re.findall(r'key: (\{"type":"1".*\}) payload: (\{.*\})', text)
    values = [
        json.loads(value)["data"] for key, value in committed if json.loads(key)["data"]["group"] == name
    ]
    assert values
    assert values[-1]["topicId"] == mine[0]["topicId"]
    groups = re.findall(r'key: (\{"type":"2".*?\}\}) payload: (\{.*\})', text)
    assert name in [json.loads(key)["data"]["group"] for key, _ in groups]
    assert len(read(bootstrap, name, 1)) == 1


def dump(*words: Path | str) -> str:
    """What kafka-dump-log says of some files; it must not complain."""
    files = ",".join(str(word) for word in words if isinstance(word, Path))
    text = tool("DumpLogSegments", "--files", files, *(word for word in words if isinstance(word, str)))
    complaint = COMPLAINTS.search(text)
    assert complaint is None, text[max(0, complaint.start() - 500) : complaint.end() + 500]
    return text


def dumped(text: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The batches and the records of a dump, by the names that the tool gives their fields."""
    rows: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for line in text.splitlines():
        if line.startswith(("baseOffset:", "| offset:")):
            fields = dict(re.findall(r"(\w+): (.*?)(?= \w+: |$)", line))
            rows[line.startswith("|")].append(fields)
    assert rows[0], text
    assert {batch["isvalid"] for batch in rows[0]} == {"true"}
    return rows


def payloads(text: str) -> list[dict[str, Any]]:
    return [json.loads(found) for found in re.findall(r"payload: (\{.*\})", text)]
