"""Kafka's Java producer, consumer and admin client against the broker; each suite is one JVM that prints what it saw."""

import base64
import json
import subprocess
import sys

from tests.clients.support import create, offsets, producer_of, read, send
from tests.jvm.support import MARKS, facts

pytestmark = MARKS

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
VALUES: list[bytes | None] = [bytes([number]) * (number * 37 % 2000) for number in range(120)]


def consumed(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """What `rafka consume` reads."""
    command = [
        sys.executable,
        "-m",
        "rafka",
        "consume",
        topic,
        "--bootstrap",
        bootstrap,
        "--json",
        "--base64",
    ]
    done = subprocess.run(
        [*command, "--from-beginning", "--max", str(count)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [base64.b64decode(json.loads(line)["value"]) for line in done.stdout.splitlines()]


def test_the_java_producer(bootstrap: str, name: str) -> None:
    for codec in CODECS:
        for kind, config in (
            ("python-", {}),
            ("remade-", {"compression_type": codec.replace("none", "uncompressed")}),
        ):
            topic = create(bootstrap, f"{name}-{kind}{codec}", **config)
            own = {"compression_type": codec} if kind == "python-" else {"compression_type": "gzip"}
            offsets(send(producer_of(bootstrap, linger_ms=20, **own), topic, VALUES))
    seen = facts(bootstrap, "producing", f"{name}-")
    assert seen["idempotent"] == {"offsets": [list(range(500))] * 2, "values": list(range(0, 1000, 2))}
    assert seen["acks-0"] == seen["acks-1"] == {"same": True}
    for codec in CODECS:
        assert seen[f"from-python-{codec}"] == {"python-same": True, "remade-same": True}, codec
        for kind, times in (("codec", 1), ("recompressed", 5)):
            found = seen[f"{kind}-{codec}"]
            assert found["same"], (kind, codec)
            messages = read(bootstrap, found["topic"], len(VALUES) * times)
            assert [message.value() for message in messages] == VALUES * times, (kind, codec)
            assert consumed(bootstrap, found["topic"], len(VALUES) * times) == VALUES * times, (kind, codec)
    assert seen["content"] == {
        "records": [
            [
                "k",
                "v",
                [["trace", "00ff"], ["none", None], ["empty", ""], ["trace", "616761696e"]],
                "CreateTime",
            ],
            ["gone", None, [], "CreateTime"],
            ["", "", [], "CreateTime"],
        ],
        "timestamp": 1_600_000_000_123,
        "leader_epoch": 0,
    }
    assert seen["append-time"] == {"type": "LogAppendTime", "same": True, "now": True}
    assert seen["large"] == {"offsets": [0, 1], "same": True, "same_with_small_limits": True}
    assert seen["refusals"] == {
        "too large": "RecordTooLargeException",
        "in the future": "InvalidTimestampException",
        "no key": "InvalidRecordException",
        "with key": "none",
        "too few in sync": "NotEnoughReplicasException",
        "bad name": "InvalidTopicException",
        "made by itself": "none",
        "split": list(range(12)),
    }


def test_the_java_consumer(bootstrap: str, name: str) -> None:
    assert facts(bootstrap, "consuming", f"{name}-") == {
        "places": {
            "beginning": 0,
            "end": 100,
            "partitions": 3,
            "leader": 1,
            "listed": True,
            "position": 0,
            "lag": 0,
        },
        "times": {
            "before": [0, 0],
            "exact": [5, 5000],
            "between": [6, 6000],
            "last": [99, 99_000],
            "after": None,
        },
        "seeks": {
            "at 50": "50",
            "at 3": "3",
            "at 99": "99",
            "at 0": "0",
            "end": 100,
            "nothing": 0,
            "paused": 0,
            "resumed": "0",
        },
        "out of range": {"error": "OffsetOutOfRangeException", "reset": 0},
        "isolation": {"committed": 100, "end": 100},
        "unknown": {"partitions": "none", "listed": False},
        "many partitions": {"seen": 180},
    }


def test_groups_of_java_consumers(bootstrap: str, name: str) -> None:
    seen = facts(bootstrap, "groups", f"{name}-")
    for assignor in ("RangeAssignor", "RoundRobinAssignor", "StickyAssignor"):
        assert seen[assignor]["two"] == [0, 1, 2, 3]
        # Eager: everything is given up at each rebalance (4 before the second joined, 2 before it had left).
        assert (seen[assignor]["assigned"], seen[assignor]["revoked"]) == ([4, 2, 4], [4, 2]), assignor
        assert seen[assignor]["read"] == [400, 400], (
            "all records, and each once: commits are kept over rebalances"
        )
    assert seen["cooperative"] == {"revoked": [2], "disjoint": True, "lost": []}
    assert seen["static"] == {
        "same": True,
        "rebalances of the other": 0,
        "new member id": True,
        "fenced": "FencedInstanceIdException",
    }
    assert seen["commits"] == {"before": None, "after": [42, "why", 0], "asynchronous": "null", "resumes": 43}
    assert seen["late"] == {"commit": "CommitFailedException", "lost or revoked": 1}
    assert seen["offsets of nobody"] == {"committed": 7, "position": 7}
    assert seen["new protocol"] == {"error": "UnsupportedVersionException"}


def test_topics_by_the_java_admin_client(bootstrap: str, name: str) -> None:
    seen = facts(bootstrap, "topics", f"{name}-")
    assert seen["create"] == {
        "trial": "none",
        "only a trial": True,
        "partitions": 3,
        "replicas": 1,
        "retention": "1234567",
        "source": "DYNAMIC_TOPIC_CONFIG",
        "has id": True,
        "listed": True,
        "defaults": "none",
        "assigned": "none",
    }
    assert seen["refused"] == {
        "exists": "TopicExistsException",
        "no partitions": "InvalidPartitionsException",
        "three replicas": "InvalidReplicationFactorException",
        "no replicas": "InvalidReplicationFactorException",
        "bad name": "InvalidTopicException",
        "dot": "InvalidTopicException",
        "unknown setting": "InvalidConfigurationException",
        "bad value": "InvalidConfigurationException",
        "unknown broker": "InvalidReplicaAssignmentException",
        "gap": "InvalidReplicaAssignmentException",
        "one of two": ["TopicExistsException", "none"],
    }
    assert seen["describe"] == {
        "partitions": 2,
        "internal": False,
        "leader": True,
        "isr": 1,
        "operations": True,
        "by id": True,
        "unknown id": "UnknownTopicIdException",
        "unknown name": "UnknownTopicOrPartitionException",
        "bad name": "InvalidTopicException",
        "ids agree": True,
    }
    assert seen["grow"] == {
        "trial": "none",
        "after trial": 2,
        "grown": "none",
        "now": 5,
        "fewer": "InvalidPartitionsException",
        "same": "InvalidPartitionsException",
        "unknown": "UnknownTopicOrPartitionException",
        "assigned": "none",
        "badly assigned": "InvalidReplicaAssignmentException",
    }
    assert seen["delete"] == {
        "by name": "none",
        "again": "UnknownTopicOrPartitionException",
        "listed": False,
        "another id": True,
        "old id": "UnknownTopicIdException",
        "by id": "none",
        "gone": "UnknownTopicOrPartitionException",
    }
    configured = seen["configure"]
    assert configured.pop("count") >= 30
    assert configured.pop("synonyms")[0] == "retention.ms=1000000"
    assert configured == {
        "set": "none",
        "retention": "1000000",
        "policy": ["compact", "delete"],
        "source": "DYNAMIC_TOPIC_CONFIG",
        "type": "LONG",
        "documented": True,
        "default": True,
        "removed": "none",
        "after": {"cleanup.policy": "compact", "retention.ms": True},
        "bad value": "InvalidConfigurationException",
        "unknown setting": "InvalidConfigurationException",
        "append to a number": "InvalidConfigurationException",
        "unknown topic": "UnknownTopicOrPartitionException",
        "unknown topic described": "UnknownTopicOrPartitionException",
    }
    some = seen["broker configs"]["some"]
    assert (some["message.max.bytes"], some["node.id"], some["num.partitions"]) == ("1048588", "1", "1")
    assert some["log.dirs"]
    assert seen["broker configs"]["read only"]
    # The client asks the node it is about, and there is none of that number.
    assert seen["broker configs"]["elsewhere"] == "TimeoutException"
    assert (
        seen["broker configs"]["alter"] == "InvalidRequestException"
    )  # settings are of the file: said, not ignored


def test_the_java_admin_client(bootstrap: str, name: str) -> None:
    seen = facts(bootstrap, "administering", f"{name}-")
    assert seen["cluster"] == {"nodes": 1, "address": bootstrap, "controller": True, "cluster id": 22}
    assert "metadata.version" in seen["features"]["finalized"]
    assert seen["list offsets"] == {
        "earliest": [0, -1],
        "latest": [4, -1],
        "largest time": [1, 9],
        "time": [1, 9],
        "too late": [-1, -1],
        "local": [0, -1],
        "tiered": [-1, -1],
        "pending": [-1, -1],
        "unknown": "TimeoutException",
    }
    assert seen["producers"] == {
        "count": 1,
        "epoch": 0,
        "last sequence": 3,
        "time": True,
        "transaction": False,
        "unknown": "TimeoutException",
    }
    assert {key: seen["log dirs"][key] for key in ("dirs", "size", "lag", "error")} == {
        "dirs": 1,
        "size": True,
        "lag": 0,
        "error": True,
    }
    assert seen["elect"] == {
        "preferred": "ElectionNotNeededException",
        "unclean": "ElectionNotNeededException",
        "unknown": "UnknownTopicOrPartitionException",
        "all": "none",
    }
    assert seen["groups"] == {
        "state": "Stable",
        "type": "Classic",
        "assignor": "range",
        "member": ["me", "me", 2],
        "host": "/127.0.0.1",
        "coordinator": True,
        "classic": "Stable",
        "listed": True,
        "stable": True,
        "empty": False,
        "of type consumer": False,
        "delete": "GroupNotEmptyException",
        "delete offsets": "GroupSubscribedToTopicException",
        "alter offsets": "UnknownMemberIdException",
        "unknown": "GroupIdNotFoundException",
        "delete unknown": "GroupIdNotFoundException",
    }
    assert seen["group offsets"] == {
        "alter": "none",
        "found": [2, "note"],
        "elsewhere": "UnknownTopicOrPartitionException",
        "several": 2,
        "delete offsets": "none",
        "after": 0,
        "delete": "none",
        "gone": False,
    }
    assert seen["remove members"] == {"unknown": "UnknownMemberIdException", "known": "none", "members": 0}
    assert seen["delete records"] == {
        "low": 2,
        "earliest": 2,
        "first": 2,
        "past the end": "OffsetOutOfRangeException",
        "all": 4,
        "compacted": "PolicyViolationException",
    }
    refused = seen["not served"]
    assert refused.pop("reassignments") in ("none", "UnsupportedVersionException")
    assert refused.pop("transactional producer") != "none"
    assert set(refused.values()) == {"UnsupportedVersionException"}, refused
