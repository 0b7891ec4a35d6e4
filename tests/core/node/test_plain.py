"""Plain produces and all others are one thing to the world: the same effects, and the same bytes to every client.

Two brokers get the same bytes in the same turns over disks that fail alike. One has sessions that know plain produces,
the other has not, so that each request is taken apart into messages and waits for itself.
"""

import errno
import struct
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.effects import Send, Write
from rafka.core.errors import ErrorCode
from rafka.core.events import Failed
from rafka.core.node.produce import Cohort
from rafka.core.plain import PlainProduce
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.crc32c import crc32c
from rafka.core.types import ConnId
from rafka.net.kafka.session import request_bytes
from tests.core.node.test_produce import batch, only, producing
from tests.core.node.world import WALL_MS, World

DAY_MS = 86_400_000
TOPICS = {
    "plain": {},
    "os": {"flush": "os"},
    "small": {"max_message_bytes": "150"},
    "timely": {"message_timestamp_before_max_ms": str(DAY_MS), "message_timestamp_after_max_ms": "1000"},
    "stamped": {"message_timestamp_type": "LogAppendTime"},
    "keyed": {"cleanup_policy": "compact"},
    "packed": {"compression_type": "gzip"},
    "strict": {"min_insync_replicas": "2"},
    "rolling": {"segment_ms": "2000", "flush": "os"},
    "indexed": {"segment_bytes": "1048576", "index_interval_bytes": "0"},
}


class Twin(World):
    """A broker whose appends are held back, or fail, when a test says so; heard: all that it has asked for."""

    def __init__(self, *, has_plain):
        self.has_plain = has_plain
        self.held = None
        self.failing = 0
        self.heard = []
        super().__init__()

    def perform(self, effect):
        is_append = (
            isinstance(effect, Write)
            and effect.file.endswith(".log")
            and effect.file.partition("-")[0] in TOPICS
        )
        if isinstance(effect, Write):
            joined = b"".join(map(bytes, effect.buffers))
            self.heard.append((effect.file, effect.position, joined, effect.token))
        elif not isinstance(effect, Send):
            self.heard.append(effect)
        held = self.held or ()
        if (is_append and self.held is not None) or getattr(effect, "file", 0) in [one.file for one in held]:
            self.held.append(effect)  # what is asked of a file is done in order
        elif is_append and self.failing:
            failure = Failed(effect.file, effect.token, "write", self.failing, "as the test wants")
            self.server.handle(failure, self.now)
        else:
            super().perform(effect)

    def hold(self):
        self.held = self.held or []

    def let_go(self):
        held, self.held = self.held or [], None
        for effect in held:
            self.perform(effect)

    def sent(self):
        return {conn: bytes(client.sent) for conn, client in self.clients.items()}


def twins():
    """Two brokers with the same topics; the first has plain produces."""
    pair = Twin(has_plain=True), Twin(has_plain=False)
    for twin in pair:
        topics = [
            CreatableTopic(
                name=name,
                num_partitions=2,
                replication_factor=1,
                configs=[
                    CreatableTopicConfig(name=key.replace("_", "."), value=text)
                    for key, text in configs.items()
                ],
            )
            for name, configs in TOPICS.items()
        ]
        answer = twin.connect().ask(CreateTopicsRequest(topics=topics, timeout_ms=1000))
        assert [topic.error_code for topic in answer.topics] == [0] * len(TOPICS)
        for _ in range(3):
            twin.connect()
        twin.wait(1000)  # a clock at 0 is one at which everything is due
    return pair


def made(values, timestamp=WALL_MS, **fields):
    return bytes(build_batch([Record(None, value) for value in values], timestamp=timestamp, **fields))


def damaged(data, at, by):
    return bytes(byte ^ by if n == at else byte for n, byte in enumerate(data))


def doctored(data, edit):
    """Another header, with the sum that it should have."""
    position, form, number = edit
    changed = bytearray(data)
    struct.pack_into(form, changed, position, number)
    changed[17:21] = crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)


NOW = [WALL_MS, WALL_MS, WALL_MS, -1, WALL_MS - 2 * DAY_MS, WALL_MS + DAY_MS, WALL_MS + 3000]
EDITS = [
    (0, ">q", 1),  # base offset
    (8, ">i", 48),  # length
    (12, ">i", 9),  # leader epoch
    (16, ">b", 1),  # magic
    *((21, ">h", attributes) for attributes in (-1, 4, 5, 7, 8, 16, 32, 64, 128)),
    (23, ">i", 1),  # last offset delta
    (23, ">i", -1),
    (57, ">i", 0),  # count
    (57, ">i", -1),
    (27, ">q", WALL_MS - 2 * DAY_MS),  # the first timestamp
    (35, ">q", WALL_MS + DAY_MS),  # the largest
    (43, ">q", 5),  # producer id, of sequence -1
]
values = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=3)
sound = st.builds(lambda values: made(values), values)
timed = st.builds(lambda values, at: made(values, timestamp=at), values, st.sampled_from(NOW))
idempotent = st.builds(
    lambda producer, epoch, sequence: made(
        [b"v"], producer_id=producer, producer_epoch=epoch, base_sequence=sequence
    ),
    st.integers(0, 1),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0, 0, 1, 1, 2, 3]),
)
broken = st.builds(damaged, sound, st.integers(0, 80), st.integers(1, 255))
other = st.builds(doctored, sound, st.sampled_from(EDITS))
odd = st.sampled_from([b"", b"no batch", made([b"1"]) + made([b"2"]), None])
anything = st.one_of(sound, timed, idempotent, broken, other, other, odd)
requests = st.tuples(
    st.integers(1, 3),
    st.sampled_from([3, 6, 7, 8, 9, 12, 13]),
    st.sampled_from([*TOPICS, "absent", "__consumer_offsets"]),
    st.sampled_from([0, 1, 7]),
    anything,
    st.sampled_from([-1, 1, 0, 2]),
    st.sampled_from([1000, 50, 0, -1]),
    st.sampled_from(["me", "", None, "__admin_client"]),
)
usual = st.builds(
    lambda version, topic, index, timeouts, batches, conn: [
        (1 + (conn + n) % 3, version, topic, index, one, -1, timeouts[n % len(timeouts)], "me")
        for n, one in enumerate(batches)
    ],
    st.sampled_from([7, 8, 9, 12, 13]),
    st.sampled_from([*TOPICS, "plain", "os"]),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([[1000], [1000], [50], [1000, 1000, 50]]),
    st.lists(st.one_of(sound, sound, sound, sound, anything), min_size=1, max_size=5),
    st.integers(0, 2),
)
"""What most producers do in one turn: a few batches for one partition, nearly all of them in order."""
turns = st.tuples(
    st.sampled_from(["", "", "", "hold", "let go", "let go", "full", "broken"]),
    st.lists(st.one_of(usual, usual, usual, st.lists(requests, min_size=1, max_size=2)), max_size=4),
    st.sampled_from([0, 0, 1, 60, 1500, 4000]),
)


@settings(max_examples=200)
@given(st.lists(turns, min_size=1, max_size=6))
def test_whatever_is_produced_the_world_sees_no_difference(program):
    pair = twins()
    numbers = count(1)
    for trouble, bursts, wait_ms in program:
        frames = [(conn, framed(pair[0], next(numbers), *how)) for burst in bursts for conn, *how in burst]
        for twin in pair:
            if trouble == "hold":
                twin.hold()
            for n, (conn, frame) in enumerate(frames):
                if (
                    n == len(frames) // 2 and trouble == "let go"
                ):  # a log writes on at once when it is answered
                    twin.let_go()
                if twin.clients[ConnId(1 + conn)].closed is None:
                    twin.clients[ConnId(1 + conn)].raw(frame)
            twin.failing = {"full": errno.ENOSPC, "broken": errno.EIO}.get(trouble, 0)
            twin.run()
            twin.failing = 0
            twin.wait(wait_ms)
        assert pair[0].heard == pair[1].heard
        assert pair[0].sent() == pair[1].sent()
    for twin in pair:
        twin.let_go()
        twin.wait(5000)
    assert pair[0].heard == pair[1].heard
    assert pair[0].sent() == pair[1].sent()
    assert pair[0].notes == pair[1].notes


def framed(world, correlation, version, topic, index, records, acks, timeout_ms, client_id):
    known = world.node.image.topic(topic)
    which = topic if version < 13 else (known.topic_id if known else bytes(16))
    request = producing(which, records, acks=acks, index=index, timeout_ms=timeout_ms)
    return request_bytes(request, api_key=0, version=version, correlation_id=correlation, client_id=client_id)


# ---- the short way is taken ----------------------------------------------------------------------


def seen(world):
    """Every event that the node gets from now on."""
    events = []
    handle = world.node.handle

    def spy(event, now):
        events.append(event)
        handle(event, now)

    world.node.handle = spy
    return events


@pytest.mark.parametrize("version", range(7, 14))
def test_the_usual_produce_is_plain_from_the_first_on(version):
    world = World()
    topic = world.create("t") if version >= 13 else world.create("t") and "t"
    client = world.connect()
    events = seen(world)
    for offset in range(3):
        records = batch(b"x" * 100 * offset)
        assert only(client.ask(producing(topic, records), version)).base_offset == offset
        assert isinstance(events[0], PlainProduce)
        assert events[0].records == world.disk.files["t-0/" + "0" * 20 + ".log"].data[-len(records) :]
        events.clear()


def test_produces_of_one_turn_wait_together_and_leave_in_one_write():
    world = World()
    world.create("t", flush="os")
    clients = [world.connect() for _ in range(5)]
    warm = world.connect()
    assert only(warm.ask(producing("t", batch(b"0")), 8)).base_offset == 0
    for client in clients:
        client.send(producing("t", batch(b"v")), 8)
    partition = world.node.partitions.find("t", 0)
    assert len(partition.acks) == len(world.node.parking) == 1
    (cohort,) = world.node.parking.all()
    assert isinstance(cohort, Cohort)
    assert len(cohort.members) == 5
    world.run()
    offsets = [only(answer).base_offset for client in clients for answer in client.answers().values()]
    assert offsets == [1, 2, 3, 4, 5]


def test_a_prefix_that_is_known_does_not_hide_what_follows_it():
    world = World()
    world.create("t")
    client = world.connect()
    assert only(client.ask(producing("t", batch(b"a")), 9)).error_code == 0
    frame = bytearray(
        request_bytes(producing("t", batch(b"b")), api_key=0, version=9, correlation_id=2, client_id="test")
    )
    client.asked[2] = (0, 9)
    longer = frame + b"\0"  # one byte more than the request: ignored, as by Kafka
    longer[:4] = (len(longer) - 4).to_bytes(4, "big")
    events = seen(world)
    client.raw(longer)
    world.run()
    (answer,) = client.answers().values()
    assert only(answer).base_offset == 1
    assert not isinstance(events[0], PlainProduce)


# ---- who waits together, and who does not --------------------------------------------------------


def serving_one(**configs):
    """A plain broker with a topic that has a record, and three clients."""
    twin = Twin(has_plain=True)
    twin.create("os", flush="os", **configs)
    clients = [twin.connect() for _ in range(3)]
    assert only(clients[0].ask(producing("os", made([b"0"])), 8)).base_offset == 0
    return twin, clients


def codes(client):
    return [only(answer).error_code for answer in client.answers().values()]


def test_each_timeout_is_its_own():
    twin, (hasty, patient, _) = serving_one()
    twin.hold()
    hasty.send(producing("os", made([b"1"]), timeout_ms=50), 8)
    patient.send(producing("os", made([b"2"]), timeout_ms=1000), 8)
    twin.wait(60)
    assert (codes(hasty), codes(patient)) == ([ErrorCode.REQUEST_TIMED_OUT], [])
    twin.let_go()
    twin.run()
    assert (codes(hasty), codes(patient)) == ([], [0])


def test_what_leaves_in_another_write_is_not_lost_with_it():
    twin, (first, second, third) = serving_one()
    twin.hold()
    first.send(producing("os", made([b"1"])), 8)
    twin.run()
    second.send(producing("os", made([b"2"])), 8)
    (one,) = twin.held
    twin.held = []
    World.perform(twin, one)  # the log writes on at once: what has come in this turn so far
    third.send(producing("os", made([b"3"])), 8)
    twin.run()
    two, three = twin.held
    twin.held = []
    World.perform(twin, two)
    twin.run()
    assert (codes(first), codes(second), codes(third)) == ([0], [0], [])
    twin.server.handle(Failed(three.file, three.token, "write", errno.ENOSPC, "full"), twin.now)
    twin.held = None
    twin.run()
    assert codes(third) == [ErrorCode.KAFKA_STORAGE_ERROR]


def test_what_lies_in_the_next_segment_is_waited_for_by_nobody_else():
    twin, (first, second, _) = serving_one(segment_ms="2000")
    twin.hold()
    first.send(producing("os", made([b"1"])), 8)
    second.send(producing("os", made([b"2"], timestamp=WALL_MS + 3000)), 8)
    twin.run()
    one, *twin.held = twin.held
    World.perform(twin, one)
    twin.run()
    assert (codes(first), codes(second)) == ([0], [])
    twin.let_go()
    twin.run()
    assert codes(second) == [0]
