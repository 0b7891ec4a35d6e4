"""Retention and compaction in a whole broker, in the simulator: clients, crashes, and what they may see meanwhile."""

import pytest

from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.fetch_request import FetchPartition, FetchRequest, FetchTopic
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.events import Terminated
from rafka.core.record.batch import check, size_at
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.sim.broker import broker
from rafka.sim.talk import Lost, Wait
from rafka.sim.world import World
from tests.core.node.world import World as ByHand

TOPIC = "prices"
KEYS = 5
SETTINGS = {
    "log.cleaner.backoff.ms": "3",
    "log.cleaner.min.cleanable.ratio": "0.2",
    "log.retention.check.interval.ms": "10",
    "log.segment.delete.delay.ms": "5",
    "offsets.topic.num.partitions": "1",
    "auto.create.topics.enable": "false",
}
SMALL = {"log.segment.bytes": "2000", "log.index.interval.bytes": "300"}


class House:
    """A world with the real broker, of which every life's node is kept."""

    def __init__(self, seed, settings=None, beyond=None):
        self.nodes = []
        inner = broker({**SETTINGS, **(settings or {})}, beyond=SMALL if beyond is None else beyond)

        def boot(entropy, now):
            made = inner(entropy, now)
            self.nodes.append(made.core)
            return made

        self.world = World(seed, boot)

    @property
    def cleanings(self):
        return sum(node.housekeeping.cleanings for node in self.nodes)


def ask(*requests):
    """Ask until it is answered."""
    while True:
        try:
            return (yield list(requests))
        except Lost:
            yield Wait(5)


def created(name, **configs):
    settings = [CreatableTopicConfig(name=key.replace("_", "."), value=text) for key, text in configs.items()]
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=settings)
    (answer,) = yield from ask(CreateTopicsRequest(topics=[topic], timeout_ms=5000))
    assert answer.topics[0].error_code in (0, 36)


def topic_id_of(name):
    while True:
        (answer,) = yield from ask(MetadataRequest(topics=[MetadataRequestTopic(name=name)]))
        if answer.topics[0].error_code == 0:
            return answer.topics[0].topic_id
        yield Wait(5)


def produce(topic_id, batch):
    data = PartitionProduceData(index=0, records=bytearray(batch))
    topic = TopicProduceData(topic_id=topic_id, partition_data=[data])
    return ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic])


def fetch(topic_id, offset):
    partition = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=700)
    topic = FetchTopic(topic_id=topic_id, partitions=[partition])
    return FetchRequest(max_bytes=1 << 20, topics=[topic])


def writer(acked, rounds, producer_id):
    """An idempotent producer of every key in turn; acked: key -> (offset, value) of the last."""
    yield from created(TOPIC, cleanup_policy="compact")
    topic_id = yield from topic_id_of(TOPIC)
    for number in range(rounds):
        key = b"%d/%d" % (producer_id, number % KEYS)
        value = b"%d" % number + bytes(80)
        batch = build_batch(
            [Record(key, value)], timestamp=1000 + number, producer_id=producer_id, producer_epoch=0,
            base_sequence=number,
        )  # fmt: skip
        while True:
            (answer,) = yield from ask(produce(topic_id, batch))
            (told,) = answer.responses[0].partition_responses
            if told.error_code == 0:
                break
            assert told.error_code in (5, 6), told.error_code
            yield Wait(2)
        acked[key] = (told.base_offset, value)


def sweep(topic_id, seen):
    """Read all there is, from the earliest offset; seen: offset -> (key, value), which never changes."""
    asked = ListOffsetsTopic(name=TOPIC, partitions=[ListOffsetsPartition(partition_index=0, timestamp=-2)])
    (answer,) = yield from ask(ListOffsetsRequest(topics=[asked]))
    offset = max(answer.topics[0].partitions[0].offset, 0)
    last = {}
    while True:
        (answer,) = yield from ask(fetch(topic_id, offset))
        (found,) = answer.responses[0].partitions
        assert found.error_code in (0, 5, 6), found.error_code
        data = bytes(found.records or b"")
        while len(data) > 12 and size_at(data, 0)[1] <= len(data):
            size = size_at(data, 0)[1]
            header = check(memoryview(data[:size]))
            for record in records_of(data[:size]):
                if record.offset >= offset:
                    assert seen.setdefault(record.offset, (record.key, record.value)) == (
                        record.key,
                        record.value,
                    )
                    last[record.key] = (record.offset, record.value)
            offset = max(offset, header.last_offset + 1)
            data = data[size:]
        if found.error_code == 0 and offset >= found.high_watermark:
            return last
        if found.error_code:
            yield Wait(2)


def reader(acked, is_over):
    """Sweep again and again: whatever was acknowledged before a sweep, it finds that or something newer."""
    seen = {}
    yield from created(TOPIC, cleanup_policy="compact")
    topic_id = yield from topic_id_of(TOPIC)
    while True:
        over = is_over()
        known = dict(acked)
        last = yield from sweep(topic_id, seen)
        for key, (offset, value) in known.items():
            assert key in last, (key, offset)
            assert last[key][0] >= offset
            assert not over or last[key] == (offset, value)
        if over:
            return
        yield Wait(1)


@pytest.mark.parametrize("seed", range(6))
def test_a_compacted_topic_keeps_the_last_value_of_every_key_through_crashes(seed):
    house = House(seed)
    acked = {}
    talkers = [house.world.talk(f"writer-{n}", writer(acked, 120, 7 + n)) for n in range(2)]
    house.world.talk("reader", reader(acked, lambda: all(talker.is_done for talker in talkers)))
    house.world.break_down(4, within_ms=400)
    house.world.run()
    for _ in range(40):  # the last segments, too, are cleaned
        house.world.run(until=after(house.world, 20))
    assert house.cleanings > 0
    log = house.nodes[-1].partitions.find(TOPIC, 0).log
    assert log.size_bytes < 240 * 170 / 2
    assert len(acked) == 2 * KEYS
    assert house.world.slices_missed == 0, "what was to be sent was there"


def after(world, ms):
    until = world.time_ns + ms * 1_000_000
    is_over = []
    world.at(until, lambda _: is_over.append(True), None)
    return lambda: bool(is_over)


def committer(group, count, told):
    """Commit one offset after the other, each until it is acknowledged."""
    yield from created(TOPIC, cleanup_policy="compact")
    topic_id = yield from topic_id_of(TOPIC)
    while True:
        (found,) = yield from ask(FindCoordinatorRequest(key_type=0, coordinator_keys=[group]))
        if found.coordinators[0].error_code == 0:
            break
        yield Wait(5)
    for offset in range(count):
        partition = OffsetCommitRequestPartition(
            partition_index=0, committed_offset=offset, committed_metadata="m" * 60
        )
        topic = OffsetCommitRequestTopic(name=TOPIC, topic_id=topic_id, partitions=[partition])
        commit = OffsetCommitRequest(
            group_id=group, generation_id_or_member_epoch=-1, member_id="", topics=[topic]
        )
        while True:
            (answer,) = yield from ask(commit)
            code = answer.topics[0].partitions[0].error_code
            if code == 0:
                break
            assert code in (14, 15, 16), code
            yield Wait(3)
        told[group] = offset
    told[group] = yield from committed(group, topic_id)
    assert told[group] == count - 1


def committed(group, topic_id):
    """Ask for the committed offset until the coordinator knows."""
    topics = [OffsetFetchRequestTopics(name=TOPIC, topic_id=topic_id, partition_indexes=[0])]
    asked = OffsetFetchRequestGroup(group_id=group, topics=topics)
    while True:
        (answer,) = yield from ask(OffsetFetchRequest(groups=[asked]))
        found = answer.groups[0]
        if found.error_code == 0:
            return found.topics[0].partitions[0].committed_offset
        yield Wait(3)


@pytest.mark.parametrize("seed", range(4))
def test_committed_offsets_survive_compaction_and_crashes(seed):
    house = House(seed, {"log.roll.ms": "30"})
    told = {}
    for n in range(3):
        house.world.talk(f"group-{n}", committer(f"g{n}", 60, told))
    house.world.break_down(4, within_ms=500)
    house.world.run()
    house.world.run(until=after(house.world, 300))
    log = house.nodes[-1].partitions.find("__consumer_offsets", 0).log
    assert house.cleanings > 0
    assert log.first_dirty_offset > 0
    assert told == dict.fromkeys(("g0", "g1", "g2"), 59)
    house.world.crash(power=True)
    house.world.start()
    house.world.talk("again", again(told))
    house.world.run()


def again(told):
    topic_id = yield from topic_id_of(TOPIC)
    for group, offset in told.items():
        assert (yield from committed(group, topic_id)) == offset


# ---- retention ---------------------------------------------------------------------------------------


def feeder(topic, count, wall_of):
    """Produce to a topic with delete as its policy, with the timestamps given."""
    topic_id = yield from topic_id_of(topic)
    for number in range(count):
        batch = build_batch([Record(None, bytes(300))], timestamp=wall_of(number))
        (answer,) = yield from ask(produce(topic_id, batch))
        assert answer.responses[0].partition_responses[0].error_code in (0, 5, 6)


def follower(topic, is_over):
    """Read from the earliest on; when that is gone, from the new earliest: never less than was there before."""
    topic_id = yield from topic_id_of(topic)
    offset = earliest = 0
    while True:
        over = is_over()
        (answer,) = yield from ask(fetch(topic_id, offset))
        (found,) = answer.responses[0].partitions
        if found.error_code == 0:
            assert found.log_start_offset >= earliest, "the log start does not go back"
            earliest = found.log_start_offset
            data = bytes(found.records or b"")
            while len(data) > 12 and size_at(data, 0)[1] <= len(data):
                size = size_at(data, 0)[1]
                offset = check(memoryview(data[:size])).last_offset + 1
                data = data[size:]
        elif found.error_code == 1:
            asked = ListOffsetsTopic(
                name=topic, partitions=[ListOffsetsPartition(partition_index=0, timestamp=-2)]
            )
            (answer,) = yield from ask(ListOffsetsRequest(topics=[asked]))
            offset = max(answer.topics[0].partitions[0].offset, offset)
        if over and found.error_code == 0 and offset >= found.high_watermark:
            return
        yield Wait(1)


@pytest.mark.parametrize("seed", range(4))
def test_old_segments_go_while_they_are_read_and_the_log_start_never_goes_back(seed):
    house = House(seed)
    setup = house.world.talk("setup", created("events", retention_bytes="5000"))
    house.world.run(lambda: setup.is_done)
    writing = house.world.talk("feeder", feeder("events", 150, lambda n: 1_700_000_000_000 + n))
    house.world.talk("follower", follower("events", lambda: writing.is_done))
    house.world.break_down(3, within_ms=300)
    house.world.run()
    house.world.run(until=after(house.world, 200))
    partition = house.nodes[-1].partitions.find("events", 0)
    log = partition.log
    assert 5000 <= log.size_bytes <= 5000 + 2000
    assert log.log_start_offset == log.segments[0].base_offset > 0
    names = [
        name for name in house.world.disk.files if name.startswith("events-0/") and name.endswith(".log")
    ]
    assert len(names) == len(log.segments), "their files are gone, too"


def test_what_is_wholly_over_goes_and_offsets_go_on():
    house = House(1)
    setup = house.world.talk("setup", created("events", retention_ms="60000"))
    house.world.run(lambda: setup.is_done)
    house.world.talk("feeder", feeder("events", 20, lambda n: 1_600_000_000_000 + n))
    house.world.run()
    house.world.run(until=after(house.world, 200))
    log = house.nodes[-1].partitions.find("events", 0).log
    assert (log.log_start_offset, log.log_end_offset, log.size_bytes) == (20, 20, 0)
    house.world.crash(power=True)
    house.world.start()
    house.world.talk("feeder", feeder("events", 1, lambda _: 1_700_000_000_000))
    house.world.run()
    house.world.run(until=after(house.world, 100))
    log = house.nodes[-1].partitions.find("events", 0).log
    assert (log.log_start_offset, log.log_end_offset) == (20, 21)


def test_an_empty_policy_keeps_everything():
    house = House(2)
    setup = house.world.talk("setup", created("events", retention_ms="1", cleanup_policy=""))
    house.world.run(lambda: setup.is_done)
    house.world.talk("feeder", feeder("events", 20, lambda n: 1_600_000_000_000 + n))
    house.world.run()
    house.world.run(until=after(house.world, 200))
    log = house.nodes[-1].partitions.find("events", 0).log
    assert (log.log_start_offset, log.log_end_offset) == (0, 20)


# ---- a log that cannot be cleaned --------------------------------------------------------------------


def test_a_damaged_log_is_left_alone_and_the_others_are_cleaned():
    house = House(3, {"log.cleaner.backoff.ms": "60000"})
    world = house.world
    acked = {}
    world.talk("writer", writer(acked, 120, 7))
    setup = world.talk("setup", created("other", cleanup_policy="compact"))
    world.run()
    assert setup.is_done
    topic = world.talk("more", keyed_feeder("other", 60))
    world.run()
    assert topic.is_done
    node = house.nodes[-1]
    damaged = node.partitions.find(TOPIC, 0).log
    world.disk.files[damaged.segments[1].file].data[90] ^= 1
    world.run(until=after(world, 70_000))
    assert list(node.housekeeping.uncleanable) == [damaged]
    assert node.partitions.find("other", 0).log.first_dirty_offset > 0
    assert not [name for name in world.disk.files if name.endswith((".cleaned", ".swap"))]


def keyed_feeder(topic, count):
    topic_id = yield from topic_id_of(topic)
    for number in range(count):
        batch = build_batch([Record(b"%d" % (number % 3), bytes(80))], timestamp=1000 + number)
        (answer,) = yield from ask(produce(topic_id, batch))
        assert answer.responses[0].partition_responses[0].error_code == 0


def test_a_stop_in_the_turn_in_which_a_cleaning_ends_is_no_accident():
    world = ByHand(log_cleaner_backoff_ms="10")
    topic = world.create(
        "t", cleanup_policy="compact", segment_bytes="1048576", min_cleanable_dirty_ratio="0"
    )
    client = world.connect()
    for _ in range(3):
        batch = build_batch([Record(b"k", bytes(700_000))], timestamp=1000)
        (answer,) = client.ask(produce(topic, batch)).responses
        assert answer.partition_responses[0].error_code == 0
    house = world.node.housekeeping
    while not (house._cleaning is not None and house._cleaning.finished):
        world.mono_ns += 1_000_000
        world.server.tick(world.now)
        for effect in world.server.drain():
            world.perform(effect)
    world.server.handle(Terminated("SIGTERM"), world.now)
    world.run()
    assert (world.stopped, house.cleanings) == (0, 1)
