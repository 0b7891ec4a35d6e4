"""A broker killed again and again under load, with SIGKILL, loses nothing that it acknowledged and repeats nothing.

One run of a workload over many lives of a real process: sockets, files, signals, both drivers in turn. What no test
with real processes can do (lose the page cache, tear a write) is the simulator's to do.
"""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from tests.clients.support import admin_of, create, only, until
from tests.process.lives import Lives
from tests.process.workload import Member, OnceProducer, RawProducer, read_all

SEED = 20
KILLS = 20
DRIVERS = ["auto", "trio"]  # auto is io_uring wherever a ring works
PARTITIONS = 4
SETTINGS = {"offsets.topic.num.partitions": "4", "group.initial.rebalance.delay.ms": "0"}


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    one = Lives(tmp_path, SETTINGS)
    yield one
    one.end()


class Work:
    """The whole workload against one broker, and what must hold of it in the end."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        # Segments of 1 MiB, the smallest that Kafka allows: they roll many times under this load.
        create(bootstrap, "once", PARTITIONS, segment_bytes=1 << 20)
        create(bootstrap, "raw", 1, segment_bytes=1 << 20)
        self.producers = [OnceProducer(bootstrap, "once", PARTITIONS, name) for name in ("left", "right")]
        self.raw = RawProducer(bootstrap, "raw")
        self.committed: dict[int, int] = {}
        self.members: list[Member] = []
        self.past: list[Member] = []
        self.join()
        self.join()

    def join(self) -> None:
        self.members.append(Member(self.bootstrap, "once", "readers", self.committed))

    def replace_a_member(self) -> None:
        """One member leaves and another joins: it must go on from what was committed."""
        old = self.members.pop(0)
        old.stop()
        self.past.append(old)
        self.join()

    def starts(self) -> int:
        """How often a member began to read a partition."""
        return sum(len(one.starts) for one in (*self.past, *self.members))

    def hand_over(self) -> None:
        """With the broker alive, let partitions go on in other hands: between quick kills a group may never settle."""
        before = self.starts()
        self.replace_a_member()
        until(
            lambda: self.starts() > max(before, PARTITIONS) or self.check(),
            "others go on from what was committed",
        )

    def check(self) -> None:
        for worker in (*self.producers, self.raw, *self.members):
            worker.check()

    def finish(self) -> None:
        """Stop sending, let the group read to the end, stop it."""
        for producer in (*self.producers, self.raw):
            producer.stop()
        ends = {p: sum(len(one.sent[p]) for one in self.producers) for p in range(PARTITIONS)}
        until(
            lambda: self.committed == ends or self.check(), f"the group has read and committed all of {ends}"
        )
        for member in self.members:
            member.stop()

    def verify(self) -> None:
        self.verify_once()
        self.verify_raw()
        self.verify_group()

    def verify_once(self) -> None:
        found = read_all(self.bootstrap, "once", PARTITIONS)
        for producer in self.producers:
            assert producer.refused == []
            assert len(producer.acknowledged) == sum(map(len, producer.sent.values()))
            for (partition, offset), value in producer.acknowledged.items():
                assert found[partition].get(offset) == value, (partition, offset)
            mark = producer.name.encode() + b":"
            for partition, records in found.items():
                assert [v for v in records.values() if v.startswith(mark)] == producer.sent[partition]
        for partition, records in found.items():
            assert len(records) == sum(len(one.sent[partition]) for one in self.producers)

    def verify_raw(self) -> None:
        found = read_all(self.bootstrap, "raw", 1)[0]
        numbers = {offset: int(value.split(b":")[1]) for offset, value in found.items()}
        assert {offset: numbers.get(offset) for offset in self.raw.acknowledged} == self.raw.acknowledged
        in_order = list(numbers.values())
        assert in_order == sorted(set(in_order)), "in the order sent, none twice"
        assert in_order[-1] < self.raw.sent, "none invented"
        assert set(self.raw.errors) <= {0}, dict(self.raw.errors)

    def verify_group(self) -> None:
        everyone = [*self.past, *self.members]
        for member in everyone:
            assert [start for start in member.starts if start[2] < start[1]] == [], (
                "(partition, committed, read)"
            )
        for partition in range(PARTITIONS):
            seen = {offset for member in everyone for offset in member.seen.get(partition, ())}
            assert seen == set(range(self.committed[partition])), partition
        wanted = [TopicPartition("once", partition) for partition in range(PARTITIONS)]
        admin = admin_of(self.bootstrap)
        answer = only(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("readers", wanted)]))
        assert {one.partition: one.offset for one in answer.topic_partitions} == self.committed


@pytest.mark.timeout(300)  # a loaded machine is slow, not wrong
def test_nothing_acknowledged_is_lost_or_repeated_by_twenty_kills(lives: Lives) -> None:
    chance = random.Random(SEED)
    work = Work(lives.serve(DRIVERS[0]))
    for kill in range(1, KILLS + 1):
        time.sleep(chance.uniform(0.1, 0.6))
        work.check()
        lives.kill()
        driver = DRIVERS[kill % 2]
        if kill % 5 == 0:  # die once more, while starting: recovery is interrupted
            lives.spawn(driver)
            time.sleep(chance.uniform(0.05, 0.4))
            lives.end()
        lives.serve(driver)
        if kill % 4 == 0:
            work.replace_a_member()
    work.hand_over()
    work.finish()
    work.verify()
    lives.stop()
    assert len(work.raw.acknowledged) > KILLS
    assert work.starts() > PARTITIONS
    lives.serve(DRIVERS[0])  # and a stop in good order keeps it all as well
    work.verify()
    lives.stop()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_broker_that_was_frozen_goes_on_where_it_was(lives: Lives, driver: str) -> None:
    chance = random.Random(SEED)
    work = Work(lives.serve(driver))
    for _ in range(3):
        time.sleep(chance.uniform(0.2, 0.5))
        lives.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.2, 1.0))
        lives.signal(signal.SIGCONT)
        lives.still_alive()
    work.finish()
    work.verify()
    lives.stop()
