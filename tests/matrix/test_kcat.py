"""kcat, the command-line client on librdkafka, against the broker: -L, -P, -C, -Q and -G."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions

from tests.clients.support import CODECS, PATIENCE, admin_of, create, only, read, until
from tests.matrix.conftest import Broker
from tests.matrix.support import MARKS, TIME, VALUES, content, needs

pytestmark = [*MARKS, needs("kcat")]
PLACES = {number: range(number * 100, number * 100 + 100) for number in range(3)}  # what each partition gets


def command(broker: Broker, *words: str) -> list[str]:
    return ["kcat", "-b", broker.address, "-X", "client.id=matrix", *words]


def kcat(broker: Broker, *words: str, given: bytes = b"", code: int = 0) -> bytes:
    done = subprocess.run(command(broker, *words), input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == code, (words, done.stderr)
    return done.stdout + (done.stderr if code else b"")


def produce(broker: Broker, topic: str, lines: Sequence[bytes], *words: str) -> None:
    settings = ["-X", "acks=all", "-X", "enable.idempotence=true", *words]
    kcat(broker, "-P", "-t", topic, *settings, given=b"".join(line + b"\n" for line in lines))


def test_what_kcat_lists(broker: Broker, name: str) -> None:
    create(broker.direct, name, 3)
    seen = json.loads(kcat(broker, "-L", "-J", "-t", name))
    assert seen["brokers"] == [{"id": 1, "name": broker.address}]
    (topic,) = seen["topics"]
    assert topic == {
        "topic": name,
        "partitions": [
            {"partition": number, "leader": 1, "replicas": [{"id": 1}], "isrs": [{"id": 1}]}
            for number in range(3)
        ],
    }
    assert b"Unknown topic or partition" in kcat(broker, "-L", "-t", f"{name}-unknown")


def test_what_kcat_compresses(broker: Broker, name: str) -> None:
    for codec in CODECS:
        topic = create(broker.direct, f"{name}-{codec}")
        produce(broker, topic, VALUES, "-z", codec)
        assert broker.codec(topic) == codec
        assert [message.value() for message in read(broker.direct, topic, 60)] == VALUES, codec
        assert kcat(broker, "-C", "-t", topic, "-e").splitlines() == VALUES, codec


def test_keys_headers_tombstones_and_times(broker: Broker, name: str) -> None:
    topic = create(broker.direct, f"{name}-content")
    produce(broker, topic, [b"k=v"], "-K=", "-H", "trace=one", "-H", "trace=two")
    produce(broker, topic, [b"gone="], "-K=", "-Z")
    produce(broker, topic, [b"="], "-K=")
    produce(broker, topic, [b"no key"])
    lines = [json.loads(line) for line in kcat(broker, "-C", "-J", "-t", topic, "-e").splitlines()]
    seen = [[one.get("headers", []), one["key"], one["payload"]] for one in lines]
    assert seen == [
        [["trace", "one", "trace", "two"], "k", "v"],
        [[], "gone", None],
        [[], "", ""],  # as librdkafka gives them; they are empty, not null
        [[], None, "no key"],
    ]
    others = content(broker, name)
    assert [one[1:] for one in others] == [
        ["k", "v", [["trace", "one"], ["trace", "two"]]],
        ["gone", None, []],
        ["", "", []],
        [None, "no key", []],
    ]
    times = [one["ts"] - TIME for one in lines]
    assert times == [one[0] for one in others]
    for number, time in enumerate(times):
        if time not in times[:number]:
            assert kcat(broker, "-Q", "-t", f"{topic}:0:{time + TIME}").split()[-1] == b"%d" % number
            assert kcat(broker, "-C", "-t", topic, "-o", f"s@{time + TIME}", "-e", "-f", "%o\n").split() == [
                b"%d" % later for later in range(number, 4)
            ]


def test_what_the_broker_refuses_kcat(broker: Broker, name: str) -> None:
    create(broker.direct, name, max_message_bytes=2000)
    large = ["-P", "-t", name, "-X", "enable.idempotence=true"]
    assert b"Message size too large" in kcat(broker, *large, given=b"x" * 5000 + b"\n", code=1)
    # It would wait for the topic to appear for half a minute.
    unknown = ["-P", "-t", f"{name}-unknown", "-X", "topic.metadata.propagation.max.ms=100"]
    assert b"Unknown topic or partition" in kcat(broker, *unknown, given=b"v\n", code=1)


class Member:
    """A process that reads in a group, line by line: partition, offset, value."""

    def __init__(self, broker: Broker, name: str, output: Path) -> None:
        self.output = output
        settings = ["auto.offset.reset=earliest", "heartbeat.interval.ms=200", "session.timeout.ms=6000"]
        words = [word for setting in settings for word in ("-X", setting)]
        with output.open("wb") as lines:
            self.process = subprocess.Popen(
                command(broker, *words, "-u", "-f", "%p %o %s\n", "-G", name, name),
                stdout=lines,
                stderr=subprocess.DEVNULL,
            )

    def seen(self) -> list[list[int]]:
        whole = self.output.read_bytes().rpartition(b"\n")[0]
        return [[int(word) for word in line.split()] for line in whole.splitlines()]

    def leave(self) -> None:
        """Ask it to end: it commits what it has read, and says goodbye."""
        assert self.process.poll() is None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0


def committed(broker: Broker, name: str) -> dict[int, int]:
    asked = [ConsumerGroupTopicPartitions(name)]
    admin = admin_of(broker.direct)  # held: its futures fail when it is collected
    found: Any = only(admin.list_consumer_group_offsets(asked))
    return {one.partition: one.offset for one in found.topic_partitions}


def shares(broker: Broker, name: str) -> list[list[int]]:
    admin = admin_of(broker.direct)
    found = only(admin.describe_consumer_groups([name]))
    return sorted(
        sorted(one.partition for one in member.assignment.topic_partitions) for member in found.members
    )


def test_a_group_of_kcat_goes_on_after_a_restart(broker: Broker, name: str, tmp_path: Path) -> None:
    create(broker.direct, name, 3)
    members = [Member(broker, name, tmp_path / f"member-{number}") for number in range(2)]
    try:
        two = until(
            lambda: (sh := shares(broker, name)) in ([[0], [1, 2]], [[0, 1], [2]]) and sh, "two share"
        )
        for partition, numbers in PLACES.items():
            produce(broker, name, [b"%d" % number for number in numbers], "-p", str(partition))
        until(lambda: sum(len(one.seen()) for one in members) >= 300, "all is read")
        assert sorted(sorted({line[0] for line in one.seen()}) for one in members) == two
        for one in members:
            one.leave()
        lines = sorted(line for one in members for line in one.seen())
        assert lines == [
            [p, at, number] for p, numbers in PLACES.items() for at, number in enumerate(numbers)
        ]
        assert committed(broker, name) == {0: 100, 1: 100, 2: 100}
        broker.restart()
        produce(broker, name, [b"%d" % number for number in range(30)], "-p", "1")
        members.append(Member(broker, name, tmp_path / "late"))
        until(lambda: len(members[-1].seen()) >= 30, "the rest is read", PATIENCE)
        members[-1].leave()
        assert members[-1].seen() == [[1, 100 + number, number] for number in range(30)]
        assert committed(broker, name) == {0: 100, 1: 130, 2: 100}
    finally:
        for one in members:
            one.process.kill()
            one.process.wait()
