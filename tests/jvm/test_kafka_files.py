"""The log is Kafka's log: segments that Apache Kafka wrote are served by us, and ours by Apache Kafka."""

import shutil
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from tests.clients.support import create, offsets, producer_of, read, send
from tests.jvm.apache import kafka
from tests.jvm.support import MARKS
from tests.process.lives import Lives

pytestmark = MARKS

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BASE = 1_600_000_000_000
SEGMENTS = {"segment_bytes": 1 << 20, "retention_ms": -1, "file_delete_delay_ms": 0}


def write(bootstrap: str, topic: str) -> list[bytes | None]:
    """Create and fill a topic of one partition: every codec, keys, headers, tombstones, segments that roll; the values."""
    create(bootstrap, topic, 1, **SEGMENTS)
    values: list[bytes | None] = []
    for codec in CODECS:
        producer = producer_of(bootstrap, compression_type=codec, linger_ms=20, enable_idempotence=True)
        for number in range(60):
            value = b"%s %d " % (codec.encode(), number) * 5 if number % 10 else None
            place = {"partition": 0, "timestamp": BASE + 1000 * len(values)}
            producer.produce(topic, value, key=b"%d" % number, headers=[("h", b"v"), ("n", None)], **place)
            values.append(value)
        assert producer.flush(30) == 0
    large = [bytes([number]) * 50_000 for number in range(60)]
    offsets(send(producer_of(bootstrap), topic, large, partition=0, timestamp=BASE + 1000 * len(values)))
    return values + list(large)


def check(bootstrap: str, topic: str, values: list[bytes | None]) -> None:
    """Read all of it, some of it, by time; and write on."""
    messages = read(bootstrap, topic, len(values))
    assert [message.value() for message in messages] == values
    assert [message.offset() for message in messages] == list(range(len(values)))
    assert messages[7].key() == b"7"
    assert messages[7].headers() == [("h", b"v"), ("n", None)]
    assert [message.value() for message in read(bootstrap, topic, 3, offset=333)] == values[333:336]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic})
    wanted = [TopicPartition(topic, 0, BASE + 1000 * 123 - 1)]
    assert [place.offset for place in consumer.offsets_for_times(wanted, timeout=30)] == [123]
    consumer.close()
    assert offsets(send(producer_of(bootstrap), topic, [b"more"], partition=0)) == [len(values)]
    assert read(bootstrap, topic, 1, offset=len(values))[0].value() == b"more"


def move(source: Path, target: Path) -> None:
    """Put the files of one partition in place of another's; which topic it is stays the target's own."""
    for path in target.iterdir():
        if path.name != "partition.metadata":
            path.unlink()
    for path in source.iterdir():
        if path.name != "partition.metadata":
            shutil.copy(path, target / path.name)


def test_we_and_apache_kafka_serve_each_others_files(java: None, tmp_path: Path) -> None:
    theirs = tmp_path / "kafka"
    theirs.mkdir()
    rafka = Lives(tmp_path, {})
    try:
        ours_values = write(rafka.serve("auto"), "ours")
        create(rafka.address, "theirs", 1, **SEGMENTS)
        offsets(send(producer_of(rafka.address), "theirs", [b"goes"], partition=0))
        rafka.stop()
        with kafka(theirs) as bootstrap:
            theirs_values = write(bootstrap, "theirs")
            create(bootstrap, "ours", 1, **SEGMENTS)
        logs = len(list((theirs / "data" / "theirs-0").glob("*.log")))
        assert logs > 2, "segments have rolled"
        move(theirs / "data" / "theirs-0", rafka.directory / "data" / "theirs-0")
        check(rafka.serve("auto"), "theirs", theirs_values)
        rafka.stop()
        move(rafka.directory / "data" / "ours-0", theirs / "data" / "ours-0")
        (theirs / "data" / ".kafka_cleanshutdown").unlink(missing_ok=True)  # Kafka is to look at every byte
        with kafka(theirs) as bootstrap:
            check(bootstrap, "ours", ours_values)
    finally:
        rafka.end()
