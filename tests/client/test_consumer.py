"""The consumer's machine against a cluster in memory: positions, fetches, resets, commits."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rafka.client.consumer import Consumer
from rafka.client.errors import BrokerError, ClientError, NoOffset
from rafka.client.offsets import TopicPartition
from rafka.client.settings import EARLIEST, LATEST, ClientSettings, ConsumerSettings
from rafka.core.errors import ConfigError, ErrorCode
from rafka.core.record.builder import Record, build_batch
from rafka.net.compression import Compression
from tests.client.model import Cluster, Luck, Net

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def reading(cluster, fate=lambda api: "ok", luck=None, **options):
    options = {"auto_offset_reset": "earliest", **options}
    machine = Consumer(
        ClientSettings("node1:9092", request_timeout_ms=700),
        ConsumerSettings(**options),
        luck or Luck(),
        Compression(),
    )
    return machine, Net(machine, cluster, fate)


def write(cluster, place, *values, **how):
    batch = build_batch([Record(None, value) for value in values], timestamp=1, **how)
    assert cluster.logs[place].append(bytes(batch), 1 << 20)[0] == 0


def poll(net, count):
    records = []
    while len(records) < count:
        readable = net.machine.readable(net.now)
        net.run(120_000, until=lambda pending=readable: pending.is_done)
        assert readable.is_done, f"{len(records)} of {count} came"
        records += net.machine.poll(net.now)
    return records


def asked(cluster, api):
    return [request for _, name, request in cluster.asked if name == api]


def test_assigned_partitions_are_read_in_order_from_where_the_policy_says():
    cluster = Cluster({"t": 2})
    write(cluster, T0, b"a", b"b")
    write(cluster, T1, b"c")
    machine, net = reading(cluster)
    machine.assign([T0, T1])
    records = poll(net, 3)
    assert sorted((r.partition, r.offset, r.value) for r in records) == [
        (0, 0, b"a"),
        (0, 1, b"b"),
        (1, 0, b"c"),
    ]
    assert machine.high_watermark(T0) == 2
    latest, net = reading(cluster, auto_offset_reset="latest")
    latest.assign([T0])
    net.run(100)
    write(cluster, T0, b"new")
    assert [r.value for r in poll(net, 1)] == [b"new"]


def test_one_fetch_a_leader_is_under_way_and_all_its_partitions_are_in_it():
    cluster = Cluster({"t": 2}, nodes=(1, 2))
    machine, net = reading(cluster)
    machine.assign([T0, T1])
    net.run(50)
    assert len(asked(cluster, "Fetch")[-1].topics[0].partitions) == 2
    cluster.logs[T1].leader = 2
    write(cluster, T1, b"moved")
    assert [r.value for r in poll(net, 1)] == [b"moved"]
    assert {node for node, api, _ in cluster.asked if api == "Fetch"} == {1, 2}


def test_no_more_is_fetched_of_a_partition_than_waits_to_be_polled():
    cluster = Cluster({"t": 1})
    for n in range(20):
        write(cluster, T0, *[b"%d" % n] * 10)
    machine, net = reading(cluster, max_poll_records=15, max_partition_fetch_bytes=150)
    machine.assign([T0])
    net.run(1_000)
    waiting = len(machine._readings[T0].records)
    assert 15 <= waiting < 40
    assert len(machine.poll(net.now)) == 15
    assert len(machine.poll(net.now, 3)) == 3
    assert [r.offset for r in poll(net, 182)] == list(range(18, 200))


def test_a_seek_drops_what_waits_and_what_is_under_way():
    cluster = Cluster({"t": 1})
    write(cluster, T0, *[b"%d" % n for n in range(10)])
    machine, net = reading(cluster, fetch_max_wait_ms=0)
    machine.assign([T0])
    assert poll(net, 1)[0].offset == 0
    for ms in range(1, 6):
        machine.seek(T0, 7)
        net.run(ms)  # a fetch from 7 is on its way, or there
        machine.seek(T0, 4)
        assert [r.offset for r in poll(net, 6)] == [4, 5, 6, 7, 8, 9]
    machine.seek_to([T0], LATEST)
    assert net.result(machine.position(T0, net.now)) == 10
    machine.seek_to([T0], EARLIEST)
    assert poll(net, 1)[0].offset == 0


def test_a_paused_partition_gives_nothing_and_keeps_what_it_has():
    cluster = Cluster({"t": 2})
    write(cluster, T0, b"a")
    write(cluster, T1, b"b")
    machine, net = reading(cluster)
    machine.assign([T0, T1])
    net.run(100)
    machine.pause([T0])
    assert [r.value for r in machine.poll(net.now)] == [b"b"]
    machine.resume([T0])
    assert [r.value for r in machine.poll(net.now)] == [b"a"]


def test_an_offset_out_of_range_is_reset_and_not_to_what_was_committed():
    cluster = Cluster({"t": 1})
    write(cluster, T0, b"a", b"b", b"c")
    cluster.logs[T0].start = 2
    cluster.committed["g", "t", 0] = 1
    machine, net = reading(cluster, group_id="g")
    machine.assign([T0])
    assert [r.offset for r in poll(net, 1)] == [2]
    strict, net = reading(cluster, group_id="g", auto_offset_reset="none")
    strict.assign([T0])
    net.run(100)
    with pytest.raises(NoOffset, match="t-0"):
        strict.poll(net.now)


def test_a_group_begins_at_what_it_committed_and_commits_what_was_processed():
    cluster = Cluster({"t": 1})
    write(cluster, T0, *[b"%d" % n for n in range(10)])
    cluster.committed["g", "t", 0] = 3
    machine, net = reading(cluster, group_id="g", auto_commit_interval_ms=1_000, max_poll_records=2)
    machine.assign([T0])
    assert [r.offset for r in poll(net, 2)] == [3, 4]
    net.run(3_000)
    assert cluster.committed["g", "t", 0] == 3, "what was polled is not processed yet"
    machine.poll(net.now)
    net.run(3_000)
    assert cluster.committed["g", "t", 0] == 5
    net.result(machine.close(net.now))
    assert cluster.committed["g", "t", 0] == 7


def test_a_consumer_that_ends_in_trouble_commits_nothing_of_the_last_poll():
    cluster = Cluster({"t": 1})
    write(cluster, T0, b"a", b"b")
    machine, net = reading(cluster, group_id="g", max_poll_records=1)
    machine.assign([T0])
    poll(net, 2)
    net.result(machine.close(net.now, is_processed=False))
    assert cluster.committed["g", "t", 0] == 1


def test_commits_are_repeated_while_the_coordinator_is_not_there():
    cluster = Cluster({"t": 1})
    machine, net = reading(cluster, group_id="g")
    machine.assign([T0])
    cluster.errors["OffsetCommit"] = [ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS]
    cluster.errors["FindCoordinator"] = [ErrorCode.COORDINATOR_NOT_AVAILABLE]
    net.result(machine.commit(net.now, {T0: 5}))
    assert cluster.committed["g", "t", 0] == 5
    assert net.result(machine.committed([T0], net.now)) == {T0: 5}
    cluster.errors["OffsetCommit"] = [ErrorCode.OFFSET_METADATA_TOO_LARGE]
    with pytest.raises(BrokerError, match="OFFSET_METADATA_TOO_LARGE"):
        net.result(machine.commit(net.now, {T0: 6}))


def test_a_batch_that_was_damaged_is_told_and_not_skipped():
    cluster = Cluster({"t": 1})
    write(cluster, T0, b"good")
    cluster.logs[T0].batches[0][1][-1] ^= 1
    machine, net = reading(cluster)
    machine.assign([T0])
    net.run(100)
    with pytest.raises(ClientError, match=r"t-0 at 0: .*CRC"):
        machine.poll(net.now)
    assert net.result(machine.position(T0, net.now)) == 0


def test_markers_of_transactions_are_passed_over():
    cluster = Cluster({"t": 1})
    write(cluster, T0, b"a")
    write(cluster, T0, b"\0\0\0\1", control=True, transactional=True)
    write(cluster, T0, b"b")
    machine, net = reading(cluster)
    machine.assign([T0])
    assert [(r.offset, r.value) for r in poll(net, 2)] == [(0, b"a"), (2, b"b")]
    assert net.result(machine.position(T0, net.now)) == 3


def test_what_cannot_be_is_refused():
    machine, net = reading(Cluster({"t": 1}))
    with pytest.raises(ClientError, match="group_id"):
        machine.subscribe(["t"], net.now)
    with pytest.raises(ClientError, match="not assigned"):
        machine.pause([T0])
    with pytest.raises(ConfigError, match="heartbeat_interval_ms"):
        reading(Cluster({}), heartbeat_interval_ms=45_000)
    with pytest.raises(ConfigError, match="group_instance_id"):
        reading(Cluster({}), group_instance_id="me")
    grouped, net = reading(Cluster({"t": 1}), group_id="g")
    with pytest.raises(ClientError, match="a list"):
        grouped.subscribe("t", net.now)
    grouped.subscribe(["t"], net.now)
    with pytest.raises(ClientError, match="by the group"):
        grouped.assign([T0])


def test_a_topic_that_is_not_there_is_asked_about_once_and_forgotten():
    cluster = Cluster({"t": 1})
    machine, net = reading(cluster)
    with pytest.raises(BrokerError, match="nowhere"):
        net.result(machine.partitions_for("nowhere", net.now))
    before = len(asked(cluster, "Metadata"))
    net.run(30_000)
    assert len(asked(cluster, "Metadata")) <= before + 1
    machine.assign([T0])
    net.run(1_000)
    machine.assign([TopicPartition("nowhere", 0)])
    net.run(3_000)
    assert [topic.name for topic in asked(cluster, "Metadata")[-1].topics] == ["nowhere"]


def test_plain_tuples_are_partitions_too():
    cluster = Cluster({"t": 1})
    write(cluster, T0, b"a", b"b")
    machine, net = reading(cluster, group_id="g")
    machine.assign([("t", 0)])
    net.result(machine.commit(net.now, {("t", 0): 1}))
    assert net.result(machine.committed([("t", 0)], net.now)) == {T0: 1}
    assert net.result(machine.offsets_for({("t", 0): LATEST}, net.now))[T0].offset == 2


def is_due(machine, net):
    due = machine.deadline()
    return due is not None and due <= net.time


def test_whatever_the_user_changes_the_machine_wants_a_turn_for_it():
    cluster = Cluster({"t": 1})
    machine, net = reading(cluster, group_id="g")
    machine.assign([T0])
    net.run(100)
    for change in (
        lambda: machine.seek(T0, 0),
        lambda: machine.seek_to([T0], LATEST),
        lambda: machine.resume([T0]),
        lambda: machine.assign([]),
        lambda: machine.subscribe(["t"], net.now),
        lambda: machine.commit(net.now, {T0: 1}),
        lambda: machine.close(net.now),
    ):
        net.turn()
        assert not is_due(machine, net)
        change()
        assert is_due(machine, net)
    alone, net = reading(cluster)
    closed = alone.close(net.now)
    assert is_due(alone, net)
    net.turn()
    assert closed.is_done


@pytest.mark.parametrize("trouble", ["none", "paused", "down", "refused", "no topic"])
def test_a_consumer_with_nothing_to_do_takes_few_turns(trouble):
    cluster = Cluster({} if trouble == "no topic" else {"t": 1})
    machine, net = reading(cluster, group_id="g", auto_commit_interval_ms=1_000)
    machine.assign([T0])
    net.run(1_000)
    if trouble == "paused":
        machine.pause([T0])
    elif trouble == "down":
        net.down = {1}
        net.cut_all()
    elif trouble == "refused":
        cluster.errors["Fetch"] = [ErrorCode.NOT_LEADER_OR_FOLLOWER] * 1_000
    turns = []
    turn = net.turn
    net.turn = lambda: (turns.append(net.time), turn())
    net.run(10_000)
    assert len(turns) < 700
    assert net.time == 12_000_000_000


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 4), st.integers(0, 900), st.booleans()),
        min_size=3,
        max_size=25,
    ),
    st.integers(0, 1 << 32),
    st.sampled_from([0.0, 0.1, 0.4]),
)
def test_whatever_is_lost_each_record_is_read_once_and_in_order(steps, seed, trouble):
    random = Random(seed)
    cluster = Cluster({"t": 2}, nodes=(1, 2))
    is_over = False
    passing = [
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.KAFKA_STORAGE_ERROR,
    ]

    def fate(api):
        if is_over or random.random() >= trouble:
            return "ok"
        if api in ("Fetch", "ListOffsets") and random.random() < 0.3:
            cluster.errors[api] = [random.choice(passing)]
            return "ok"
        return random.choice(["lost", "unheard", "never"])

    machine, net = reading(cluster, fate, Luck(random), max_poll_records=3, fetch_max_wait_ms=50)
    machine.assign([T0, T1])
    written, found = {T0: [], T1: []}, {T0: [], T1: []}

    def take():
        for record in machine.poll(net.now):
            found[TopicPartition(record.topic, record.partition)].append((record.offset, record.value))

    for index, size, pause_ms, moves in steps:
        place = (T0, T1)[index]
        values = [b"%d-%d" % (index, len(written[place]) + n) for n in range(size)]
        write(cluster, place, *values)
        written[place] += values
        if moves:
            cluster.logs[place].leader = 3 - cluster.logs[place].leader
        net.run(pause_ms)
        take()
    is_over = True
    for _ in range(400):
        net.run(100)
        take()
        if all(len(found[place]) == len(written[place]) for place in written):
            break
    assert found == {place: list(enumerate(values)) for place, values in written.items()}
