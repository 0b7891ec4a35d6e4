"""Every face against a real broker, which is slow, silent, gone and back when the test says so."""

import threading

import confluent_kafka
import pytest

import rafka.testing
from rafka.client.consumer import Assigned, Lost, Revoked
from rafka.client.errors import BrokerError, ClientError, Closed, CommitFailed, NoOffset, TimedOut
from rafka.client.offsets import TopicPartition
from rafka.core.errors import ConfigError, ErrorCode
from tests.client.faces import Face

QUICK = {"backoff_ms": 5, "backoff_max_ms": 50}
GROUP = {"heartbeat_interval_ms": 20, "fetch_max_wait_ms": 20, "auto_offset_reset": "earliest", **QUICK}
PATIENCE = 10.0


@pytest.fixture(params=["asyncio", "trio", "blocking"])
def face(request):
    return Face(request.param)


@pytest.fixture
def b():
    with rafka.testing.broker(topics={"orders": 2, "one": 1}) as running:
        yield running


async def read(consumer, count):
    """Poll until so many records are there."""
    records = []
    while len(records) < count:
        batch = await consumer.poll(PATIENCE)
        assert batch, f"{len(records)} of {count} records came"
        records += batch
    return records


def test_what_is_sent_is_read(face, b):
    async def steps():
        async with face.Producer(b.bootstrap) as producer:
            sent = await producer.send(
                "one", b"v", key=b"k", headers=[("h", b"x"), ("n", None)], timestamp=1_234
            )
            assert (sent.topic, sent.partition, sent.offset, sent.timestamp) == ("one", 0, 0, 1_234)
            await producer.send("one", None, key=b"k")
        async with face.Consumer(b.bootstrap, "one", auto_offset_reset="earliest") as consumer:
            found = []
            async for record in consumer:
                found.append(record)
                if len(found) == 2:
                    break
        assert [(r.topic, r.partition, r.offset, r.key, r.value) for r in found] == [
            ("one", 0, 0, b"k", b"v"),
            ("one", 0, 1, b"k", None),
        ]
        assert found[0].headers == (("h", b"x"), ("n", None))
        assert found[0].timestamp == 1_234

    face.run(steps)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_confluent_reads_what_we_send_and_we_read_what_it_sends(face, b, codec):
    theirs = confluent_kafka.Producer(
        {"bootstrap.servers": b.bootstrap, "compression.type": codec, "linger.ms": 50}
    )
    for n in range(100):
        theirs.produce("one", b"theirs %d" % n, key=b"k", headers=[("h", b"x")])
    theirs.flush(PATIENCE)

    async def steps():
        async with face.Producer(b.bootstrap, compression_type=codec) as producer:
            for n in range(100):
                await producer.enqueue("one", b"ours %d" % n, key=b"k", headers=[("h", b"x")])
        async with face.Consumer(b.bootstrap, "one", auto_offset_reset="earliest") as consumer:
            return await read(consumer, 200)

    records = face.run(steps)
    expected = [b"theirs %d" % n for n in range(100)] + [b"ours %d" % n for n in range(100)]
    assert [r.value for r in records] == expected
    assert {(r.key, r.headers) for r in records} == {(b"k", (("h", b"x"),))}
    reader = confluent_kafka.Consumer(
        {"bootstrap.servers": b.bootstrap, "group.id": "x", "auto.offset.reset": "earliest"}
    )
    reader.assign([confluent_kafka.TopicPartition("one", 0, 0)])
    found = []
    while len(found) < 200:
        found += reader.consume(200 - len(found), PATIENCE)
    reader.close()
    assert [m.value() for m in found] == expected
    assert {(m.key(), tuple(m.headers())) for m in found} == {(b"k", (("h", b"x"),))}


def test_each_record_is_written_once_though_answers_are_lost(face, b):
    dropped = b.drop_acks(times=3)
    closed = b.close("Produce", times=2)

    async def steps():
        async with face.Producer(b.bootstrap, batch_size=200, **QUICK) as producer:
            sent = [await producer.enqueue("one", b"%03d" % n) for n in range(300)]
            await producer.flush()
            return [d.offset for d in sent]

    assert face.run(steps) == list(range(300))
    assert b.records("one") == [(None, b"%03d" % n) for n in range(300)]
    assert (dropped.fired, closed.fired) == (3, 2)


def test_refusals_that_pass_are_waited_out(face, b):
    faults = [
        b.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=2),
        b.fail("Fetch", "NOT_LEADER_OR_FOLLOWER", times=2),
    ]
    faults += [b.fail("ListOffsets", "LEADER_NOT_AVAILABLE", times=1), b.close("Metadata", times=1)]
    faults += [b.slow("Fetch", ms=30, times=1)]

    async def steps():
        async with face.Producer(b.bootstrap, **QUICK) as producer:
            await producer.send("one", b"late")
        async with face.Consumer(b.bootstrap, "one", **GROUP) as consumer:
            return await read(consumer, 1)

    assert [r.value for r in face.run(steps)] == [b"late"]
    assert [fault.fired for fault in faults] == [2, 2, 1, 1, 1]


def test_a_refusal_for_good_is_raised(face, b):
    async def steps():
        async with face.Producer(b.bootstrap, **QUICK) as producer:
            b.fail("Produce", "TOPIC_AUTHORIZATION_FAILED", times=1)
            with pytest.raises(BrokerError) as refused:
                await producer.send("one", b"no")
            assert refused.value.code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
            assert (await producer.send("one", b"yes")).offset == 0
        async with face.Consumer(b.bootstrap, "one", **GROUP) as consumer:
            b.fail("Fetch", "TOPIC_AUTHORIZATION_FAILED", times=1)
            with pytest.raises(BrokerError):
                await consumer.poll(PATIENCE)
            assert [r.value for r in await read(consumer, 1)] == [b"yes"]

    face.run(steps)


def test_a_broker_that_is_restarted_is_found_again_by_all(face, b):
    async def steps():
        async with (
            face.Producer(b.bootstrap, **QUICK) as producer,
            face.Consumer(b.bootstrap, "one", group_id="g", **GROUP) as consumer,
            face.Admin(b.bootstrap, **QUICK) as admin,
        ):
            await producer.send("one", b"before")
            found = await read(consumer, 1)
            await consumer.commit()
            b.stop()
            on_its_way = await producer.enqueue("one", b"meanwhile")
            b.start()
            await producer.confirmed(on_its_way)
            await producer.send("one", b"after")
            found += await read(consumer, 2)
            await consumer.commit()
            offsets = await admin.group_offsets("g")
            return [r.value for r in found], offsets

    values, offsets = face.run(steps)
    assert values == [b"before", b"meanwhile", b"after"]
    assert offsets == {TopicPartition("one", 0): 3}


async def settled(consumers, sizes):
    """Poll in turn until the members have so many partitions each."""
    for _ in range(500):
        for consumer in consumers:
            await consumer.poll(0.01)
        if sorted(len(consumer.assignment()) for consumer in consumers) == sizes:
            return
    raise AssertionError([consumer.assignment() for consumer in consumers])


def test_two_members_share_and_what_one_leaves_the_other_takes(face, b):
    async def steps():
        async with face.Consumer(b.bootstrap, "orders", group_id="g", **GROUP) as first:
            await settled([first], [2])
            async with face.Consumer(b.bootstrap, "orders", group_id="g", **GROUP) as second:
                await settled([first, second], [1, 1])
                assert set(first.assignment()) != set(second.assignment())
                async with face.Admin(b.bootstrap) as admin:
                    described = await admin.describe_group("g")
                    assert described.state == "Stable"
                    assert sorted(len(member.partitions) for member in described.members) == [1, 1]
                    with pytest.raises(BrokerError, match="NON_EMPTY_GROUP"):
                        await admin.delete_group("g")
            await settled([first], [2])
            kinds = [type(notice) for notice in first.notices()]
            assert kinds == [Assigned, Revoked, Assigned, Revoked, Assigned]
            b.create_topic("more", 1)
            first.subscribe(["orders", "more"])
            await settled([first], [3])

    face.run(steps)


def test_a_group_goes_on_where_it_was(face, b):
    async def steps():
        async with face.Producer(b.bootstrap) as producer:
            for n in range(10):
                await producer.enqueue("one", b"%d" % n)
        seen = []
        for limit in (3, 4, 3):
            async with face.Consumer(b.bootstrap, "one", group_id="g", **GROUP) as consumer:
                count = 0
                async for record in consumer:
                    seen.append(record.value)
                    count += 1
                    if count == limit:
                        break
        assert seen == [b"%d" % n for n in range(10)]
        with pytest.raises(ZeroDivisionError):
            async with face.Consumer(b.bootstrap, "one", group_id="h", **GROUP) as consumer:
                async for record in consumer:
                    if record.value == b"4":
                        raise ZeroDivisionError
        async with face.Consumer(b.bootstrap, "one", group_id="h", **GROUP) as consumer:
            assert [r.value for r in await read(consumer, 6)] == [b"4", b"5", b"6", b"7", b"8", b"9"]

    face.run(steps)


def test_a_manual_commit_is_what_the_next_member_begins_at(face, b):
    place = TopicPartition("one", 0)

    async def steps():
        async with face.Producer(b.bootstrap) as producer:
            for n in range(5):
                await producer.enqueue("one", b"%d" % n)
        manual = {"group_id": "g", "enable_auto_commit": False, **GROUP}
        async with face.Consumer(b.bootstrap, "one", **manual) as consumer:
            assert await consumer.committed([place]) == {}
            await read(consumer, 5)
            await consumer.commit({place: 2})
            assert await consumer.committed([place]) == {place: 2}
            assert await consumer.position(place) == 5
        async with face.Consumer(b.bootstrap, "one", **manual) as consumer:
            assert [r.value for r in await read(consumer, 3)] == [b"2", b"3", b"4"]
            b.fail("OffsetCommit", "ILLEGAL_GENERATION", times=1)
            with pytest.raises(CommitFailed):
                await consumer.commit()
            b.fail("OffsetCommit", "NOT_COORDINATOR", times=1)
            await consumer.commit()
            assert await consumer.committed([place]) == {place: 5}

    face.run(steps)


def test_a_member_that_the_group_has_thrown_out_comes_back(face):
    async def steps():
        named = {"group_id": "g", "session_timeout_ms": 200, **GROUP}
        async with (
            face.Consumer(b.bootstrap, "orders", **named) as consumer,
            face.Admin(b.bootstrap) as admin,
        ):
            await settled([consumer], [2])
            assert [type(notice) for notice in consumer.notices()] == [Assigned]
            b.close("Heartbeat")
            while (await admin.describe_group("g")).members:
                await consumer.poll(0.02)
            b.heal()
            notices = []
            while Assigned not in map(type, notices):
                await consumer.poll(0.02)
                notices += consumer.notices()
            assert [type(notice) for notice in notices] == [Lost, Assigned]
            assert len(consumer.assignment()) == 2

    with rafka.testing.broker(topics={"orders": 2}, settings={"group.min.session.timeout.ms": 100}) as b:
        face.run(steps)


def test_seeking_pausing_and_the_bounds_of_partitions(face, b):
    place, other = TopicPartition("orders", 0), TopicPartition("orders", 1)

    async def steps():
        async with face.Producer(b.bootstrap) as producer:
            for n in range(6):
                await producer.send("orders", b"%d" % n, partition=0, timestamp=1_000 + n)
        async with face.Consumer(b.bootstrap, fetch_max_wait_ms=20) as consumer:
            assert await consumer.partitions_for("orders") == [place, other]
            consumer.assign([place, other])
            assert await consumer.beginning_offsets([place, other]) == {place: 0, other: 0}
            assert await consumer.end_offsets([place, other]) == {place: 6, other: 0}
            assert await consumer.position(place) == 6, "latest is where it begins"
            found = await consumer.offsets_for_times({place: 1_003, other: 0})
            assert (found[place].offset, found[place].timestamp, found[other].offset) == (3, 1_003, -1)
            consumer.seek(place, 4)
            assert [r.value for r in await read(consumer, 2)] == [b"4", b"5"]
            consumer.seek_to_beginning(place)
            assert [r.offset for r in await read(consumer, 6)] == [0, 1, 2, 3, 4, 5]
            consumer.pause([place])
            consumer.seek(place, 2)
            assert await consumer.poll(0.1) == []
            consumer.resume([place])
            assert [r.offset for r in await read(consumer, 4)] == [2, 3, 4, 5]
            with pytest.raises(ClientError, match="orders-9 is not assigned"):
                consumer.seek(TopicPartition("orders", 9), 0)
            with pytest.raises(ClientError, match="group_id"):
                await consumer.commit()

    face.run(steps)


@pytest.mark.parametrize("reset", ["earliest", "latest", "none"])
def test_an_offset_that_is_gone_is_reset_as_told(face, b, reset):
    place = TopicPartition("one", 0)

    async def steps():
        async with (
            face.Producer(b.bootstrap) as producer,
            face.Admin(b.bootstrap) as admin,
            face.Consumer(b.bootstrap, auto_offset_reset=reset, fetch_max_wait_ms=20) as consumer,
        ):
            for n in range(5):
                await producer.send("one", b"%d" % n)
            assert await admin.delete_records({place: 3}) == {place: 3}
            consumer.assign([place])
            consumer.seek(place, 1)
            if reset == "none":
                with pytest.raises(NoOffset, match="one-0"):
                    await consumer.poll(PATIENCE)
                return
            if reset == "latest":
                while await consumer.position(place) != 5:
                    assert await consumer.poll(0.02) == []
                await producer.send("one", b"5")
            expected = [3, 4] if reset == "earliest" else [5]
            assert [r.offset for r in await read(consumer, len(expected))] == expected

    face.run(steps)


def test_an_admin_makes_changes_and_removes(face, b):
    async def steps():
        async with face.Admin(b.bootstrap, **QUICK) as admin:
            await admin.create_topic("made", 3, configs={"retention.ms": "60000"})
            with pytest.raises(BrokerError, match="made") as refused:
                await admin.create_topic("made")
            assert refused.value.code == ErrorCode.TOPIC_ALREADY_EXISTS
            assert await admin.list_topics() == ["made", "one", "orders"]
            described = await admin.describe_topic("made")
            assert [(p.partition, p.leader, p.replicas, p.isr) for p in described.partitions] == [
                (n, 1, [1], [1]) for n in range(3)
            ]
            await admin.create_partitions("made", 5)
            assert len((await admin.describe_topic("made")).partitions) == 5
            configs = await admin.describe_configs("made")
            assert (configs["retention.ms"].value, configs["retention.ms"].is_default) == ("60000", False)
            assert configs["cleanup.policy"].is_default
            await admin.alter_configs("made", {"retention.ms": None, "cleanup.policy": "compact"})
            configs = await admin.describe_configs("made")
            assert configs["retention.ms"].is_default
            assert configs["cleanup.policy"].value == "compact"
            with pytest.raises(BrokerError) as refused:
                await admin.alter_configs("made", {"no.such": "1"})
            assert refused.value.code == ErrorCode.INVALID_CONFIG
            cluster = await admin.describe_cluster()
            assert [broker.port for broker in cluster.brokers] == [b.port]
            place = TopicPartition("made", 4)
            assert (await admin.list_offsets({place: -1}))[place].offset == 0
            await admin.alter_group_offsets("g", {place: 0})
            assert await admin.group_offsets("g") == {place: 0}
            assert [(g.group_id, g.state) for g in await admin.list_groups()] == [("g", "Empty")]
            await admin.delete_group("g")
            assert await admin.list_groups() == []
            with pytest.raises(BrokerError, match="group g"):
                await admin.describe_group("g")
            await admin.delete_topic("made")
            for gone in (
                admin.describe_topic("made"),
                admin.delete_topic("made"),
                admin.list_offsets({place: -1}),
                admin.delete_records({place: -1}),
            ):
                with pytest.raises(BrokerError) as refused:
                    await gone
                assert refused.value.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    face.run(steps)


def test_where_nobody_listens_operations_end_when_their_time_is_up(face):
    async def steps():
        async with face.Admin("127.0.0.1:1", operation_timeout_ms=200, **QUICK) as admin:
            with pytest.raises(TimedOut, match="listing topics took too long"):
                await admin.list_topics()
        async with face.Producer("localhost:1", topic_timeout_ms=200, **QUICK) as producer:
            with pytest.raises(ClientError):
                await producer.send("one", b"x")

    face.run(steps)


def test_what_cannot_be_is_refused_at_once(face, b):
    with pytest.raises(ConfigError, match="linger"):
        face.Producer(b.bootstrap, linger=5)
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        face.Admin("nowhere")
    with pytest.raises(ConfigError, match="auto_offset_reset"):
        face.Consumer(b.bootstrap, auto_offset_reset="middle")

    async def steps():
        async with face.Producer(b.bootstrap) as producer:
            pass
        with pytest.raises(Closed):
            await producer.send("one", b"x")

    face.run(steps)


def test_a_full_buffer_holds_up_who_enqueues_and_nothing_is_lost(face, b):
    async def steps():
        async with face.Producer(
            b.bootstrap, buffer_memory=4_000, batch_size=1_000, linger_ms=1_000
        ) as producer:
            for n in range(300):
                await producer.enqueue("one", b"%03d" % n + b"." * 50)

    face.run(steps)
    assert [value[:3] for _, value in b.records("one")] == [b"%03d" % n for n in range(300)]


def test_nothing_is_left_behind(face, b):
    before = threading.active_count()

    async def steps():
        async with (
            face.Producer(b.bootstrap) as producer,
            face.Consumer(b.bootstrap, "one", group_id="g", **GROUP) as consumer,
        ):
            await producer.send("one", b"x")
            await read(consumer, 1)

    face.run(steps)
    assert threading.active_count() == before


def test_threads_share_a_blocking_producer(b):
    from rafka.client.blocking import Producer

    with Producer(b.bootstrap) as producer:
        threads = [
            threading.Thread(
                target=lambda n=n: [producer.enqueue("one", b"%d-%d" % (n, i)) for i in range(200)]
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        producer.flush()
    found = [value.split(b"-") for _, value in b.records("one")]
    for n in range(4):
        assert [int(i) for who, i in found if int(who) == n] == list(range(200))


def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(face, b):
    async def steps():
        named = {"group_id": "g", "group_instance_id": "me", **GROUP}
        async with face.Consumer(b.bootstrap, "orders", **named) as consumer:
            await settled([consumer], [2])
        async with face.Admin(b.bootstrap) as admin:
            assert len((await admin.describe_group("g")).members) == 1, "it did not leave"
        async with face.Consumer(b.bootstrap, "orders", **named) as consumer:
            await settled([consumer], [2])

    face.run(steps)
