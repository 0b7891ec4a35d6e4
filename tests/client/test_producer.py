"""The producer's machine against a cluster in memory: what is written, how often, in which order, and what is told."""

from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rafka.client.errors import BrokerError, BufferFull, Closed, Fenced, TimedOut
from rafka.client.partitioner import partition_of
from rafka.client.producer import Producer
from rafka.client.settings import ClientSettings, ProducerSettings
from rafka.core.errors import ConfigError, ErrorCode
from rafka.core.record.batch import Header
from rafka.net.compression import Compression
from tests.client.model import Cluster, Luck, Net


def produced(cluster, **options):
    return producer_on(cluster, Luck(), **options)


def producer_on(cluster, luck, fate=lambda api: "ok", **options):
    general = {
        name: options.pop(name) for name in ("request_timeout_ms", "backoff_max_ms") if name in options
    }
    machine = Producer(
        ClientSettings("node1:9092", **general), ProducerSettings(**options), luck, Compression()
    )
    return machine, Net(machine, cluster, fate)


def send(net, topic, *values, **how):
    return [net.machine.send(topic, value, net.now, **how) for value in values]


def requests(cluster, api="Produce"):
    return [request for _, name, request in cluster.asked if name == api]


def headers(cluster):
    return [
        Header(part.records)
        for request in requests(cluster)
        for topic in request.topic_data
        for part in topic.partition_data
    ]


def test_records_that_come_together_travel_in_one_batch_and_are_acknowledged():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster)
    sent = send(net, "t", b"a", b"b", b"c")
    net.result(machine.flush())
    assert cluster.values("t", 0) == [b"a", b"b", b"c"]
    assert [(d.partition, d.offset, d.error) for d in sent] == [(0, 0, None), (0, 1, None), (0, 2, None)]
    assert len(requests(cluster)) == 1
    assert machine.held_bytes == 0


def test_a_lone_record_lingers_and_a_full_batch_does_not():
    cluster = Cluster({"t": 1})
    _machine, net = produced(cluster, linger_ms=1_000, batch_size=200)
    send(net, "t", b"first")
    net.run(900)
    assert cluster.values("t", 0) == []
    net.run(200)
    assert cluster.values("t", 0) == [b"first"]
    send(net, "t", b"x" * 150, b"y" * 150)
    net.run(20)
    assert cluster.values("t", 0) == [b"first", b"x" * 150]
    net.run(1_000)
    assert cluster.values("t", 0) == [b"first", b"x" * 150, b"y" * 150]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_are_compressed(codec):
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, compression_type=codec)
    send(net, "t", b"long " * 1000, b"longer " * 1000)
    net.result(machine.flush())
    assert cluster.values("t", 0) == [b"long " * 1000, b"longer " * 1000]
    (header,) = headers(cluster)
    assert header.size_bytes < 2000
    assert header.codec == ["gzip", "snappy", "lz4", "zstd"].index(codec) + 1


def test_keys_decide_as_javas_do_and_records_without_one_stay_together():
    cluster = Cluster({"t": 4})
    machine, net = produced(cluster)
    keyed = [net.machine.send("t", b"v", net.now, key=b"%d" % n) for n in range(20)]
    plain = send(net, "t", *[b"v"] * 20)
    net.result(machine.flush())
    assert [d.partition for d in keyed] == [partition_of(b"%d" % n, 4) for n in range(20)]
    assert len({d.partition for d in plain}) == 1


def test_a_partition_that_is_not_there_is_refused_and_others_go_on():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster)
    (wrong,) = send(net, "t", b"x", partition=7)
    (right,) = send(net, "t", b"y", partition=0)
    net.result(machine.flush())
    assert wrong.error.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert right.offset == 0
    assert machine.held_bytes == 0


def test_records_wait_for_a_topic_that_is_made_late():
    cluster = Cluster({})
    _machine, net = produced(cluster)
    (sent,) = send(net, "late", b"x")
    net.run(3_000)
    assert not sent.is_done
    cluster.create("late", 1)
    net.result(sent)
    assert sent.offset == 0


def test_records_for_a_topic_that_never_comes_fail():
    machine, net = produced(Cluster({}), topic_timeout_ms=2_000)
    (sent,) = send(net, "never", b"x")
    with pytest.raises(BrokerError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        net.result(sent)
    assert machine.held_bytes == 0


@pytest.mark.parametrize("fate", ["lost", "unheard", "never"])
@pytest.mark.parametrize("batches", [1, 5])
def test_an_idempotent_producer_writes_once_whatever_becomes_of_the_request(fate, batches):
    cluster = Cluster({"t": 1})
    fates = iter([fate])
    machine, net = producer_on(
        cluster,
        Luck(),
        lambda api: next(fates, "ok") if api == "Produce" else "ok",
        request_timeout_ms=500,
        batch_size=40,
    )
    values = [b"%d" % n + b"." * 30 for n in range(batches)]
    sent = send(net, "t", *values)
    net.result(machine.flush())
    assert cluster.values("t", 0) == values
    assert [d.offset for d in sent] == list(range(batches))
    assert {(h.producer_id, h.producer_epoch) for h in headers(cluster)} == {(1000, 0)}


def test_five_batches_are_in_flight_and_not_six():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, batch_size=40)
    net.delay = 50_000_000
    send(net, "t", *[b"%02d" % n + b"." * 30 for n in range(8)])
    most = 0
    while cluster.logs["t", 0].end < 8:
        net.run(5)
        most = max(most, sum(len(queue.in_flight) for queue in machine._queues.values()))
    assert most == 5
    assert cluster.values("t", 0) == [b"%02d" % n + b"." * 30 for n in range(8)]


def test_a_refused_batch_is_not_overtaken_by_those_that_follow():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, batch_size=40)
    cluster.errors["Produce"] = [ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.NONE, ErrorCode.REQUEST_TIMED_OUT]
    values = [b"%d" % n + b"." * 30 for n in range(5)]
    sent = send(net, "t", *values)
    net.result(machine.flush())
    assert cluster.values("t", 0) == values
    assert [d.offset for d in sent] == [0, 1, 2, 3, 4]
    assert {h.producer_id for h in headers(cluster)} == {1000}, "no gap was found where there is none"


def test_after_a_refusal_nothing_is_sent_until_all_that_was_in_flight_has_come_back():
    cluster = Cluster({"t": 1}, nodes=(1, 2))
    machine, net = produced(cluster, batch_size=40)
    net.delay = 200_000_000  # longer than the pause before a retry
    cluster.errors["Produce"] = [ErrorCode.NOT_ENOUGH_REPLICAS]
    values = [b"%d" % n + b"." * 30 for n in range(5)]
    send(net, "t", *values)
    net.result(machine.flush())
    assert cluster.values("t", 0) == values
    assert len(requests(cluster)) == 10


def test_a_refused_batch_waits_for_those_behind_it_before_it_is_sent_again():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, linger_ms=0)
    send(net, "t", b"zero")
    net.run(50)
    net.delay = 200_000_000
    cluster.errors["Produce"] = [ErrorCode.NOT_ENOUGH_REPLICAS]
    send(net, "t", b"one")
    net.run(100)
    send(net, "t", b"two")
    net.run(
        385
    )  # the refusal is there since 85 ms, its pause is over, and the answer to the other is not there
    assert len(machine._requests) == 1
    net.result(machine.flush())
    assert cluster.values("t", 0) == [b"zero", b"one", b"two"]


def test_a_gap_found_when_later_batches_wait_or_are_lost_holds_none_of_them_up():
    for fates in (["lost"], ["ok", "lost"]):
        cluster = Cluster({"t": 1})
        script = iter(fates)
        is_on = []
        machine, net = producer_on(
            cluster,
            Luck(),
            lambda api, script=script, is_on=is_on: (
                next(script, "ok") if is_on and api == "Produce" else "ok"
            ),
            batch_size=40,
            max_in_flight=2,
            delivery_timeout_ms=20_000,
        )
        send(net, "t", b"first" + b"." * 30)
        net.result(machine.flush())
        is_on.append(True)
        cluster.logs["t", 0].producers.clear()
        values = [b"%d" % n + b"." * 30 for n in range(2)]
        sent = send(net, "t", *values)
        if fates == ["lost"]:  # both come back, and only one may go again: the other waits with its numbers
            net.run(
                until=lambda queue=machine._queues["t", 0]: len(queue.batches) == 2 and queue.is_recovering
            )
            machine.producing.max_in_flight = 1
        start = net.time
        net.result(machine.flush())
        assert [d.error for d in sent] == [None, None]
        assert cluster.values("t", 0)[1:] == values
        assert net.time - start < 2_000_000_000


def test_no_new_numbers_are_given_while_an_old_one_is_in_doubt():
    cluster = Cluster({"t": 1})
    is_deaf = False
    machine, net = producer_on(
        cluster,
        Luck(),
        lambda api: "lost" if is_deaf and api == "Produce" else "ok",
        delivery_timeout_ms=3_000,
        linger_ms=0,
        backoff_max_ms=100,
    )
    send(net, "t", b"zero")
    net.result(machine.flush())
    is_deaf = True
    (expired,) = send(net, "t", b"one")
    net.run(1_500)
    (doubtful,) = send(net, "t", b"two")
    net.run(until=lambda: expired.is_done)
    net.run(200)
    assert machine._identity[0] == 1000
    assert not doubtful.is_done
    is_deaf = False
    cluster.errors["Produce"] = [ErrorCode.NOT_ENOUGH_REPLICAS]
    send(net, "t", b"three")
    net.result(machine.flush())
    assert cluster.values("t", 0) == [b"zero", b"two", b"three"]


def test_nothing_is_sent_to_a_new_leader_while_the_old_one_has_not_answered():
    cluster = Cluster({"t": 1}, nodes=(1, 2))
    machine, net = produced(cluster, batch_size=40)
    send(net, "t", b"first" + b"." * 30)
    net.run(50)
    net.delay = 200_000_000
    send(net, "t", b"second" + b"." * 30)
    net.run(250)  # it is in the log, and the answer under way
    cluster.logs["t", 0].leader = 2
    machine.cluster.topology.topics["t"].leaders[0] = 2
    send(net, "t", b"third" + b"." * 30)
    net.run(1)
    assert [node for node, api, _ in cluster.asked if api == "Produce"] == [1, 1]
    assert 2 not in net.dialled
    net.result(machine.flush())
    assert [value[:5] for value in cluster.values("t", 0)] == [b"first", b"secon", b"third"]


def test_a_plain_producer_keeps_the_order_too_with_one_batch_in_flight():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, batch_size=40, enable_idempotence=False, acks="1")
    cluster.errors["Produce"] = [ErrorCode.NOT_LEADER_OR_FOLLOWER]
    values = [b"%d" % n + b"." * 30 for n in range(5)]
    send(net, "t", *values)
    net.result(machine.flush())
    assert cluster.values("t", 0) == values
    assert {h.producer_id for h in headers(cluster)} == {-1}


def test_without_acks_nothing_is_awaited():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, enable_idempotence=False, acks=0)
    sent = send(net, "t", b"a", b"b")
    net.result(machine.flush())
    assert [(d.offset, d.error) for d in sent] == [(-1, None), (-1, None)]
    net.run(10)
    assert cluster.values("t", 0) == [b"a", b"b"]
    send(net, "t", b"c")
    net.result(machine.flush())
    net.run(10)
    assert cluster.values("t", 0) == [b"a", b"b", b"c"]


def test_a_batch_that_is_too_large_is_split():
    cluster = Cluster({"t": 1}, max_bytes=400)
    machine, net = produced(cluster, batch_size=4000)
    values = [b"%02d" % n + b"." * 60 for n in range(16)]
    sent = send(net, "t", *values)
    net.result(machine.flush())
    assert cluster.values("t", 0) == values
    assert [d.offset for d in sent] == list(range(16))
    assert machine.held_bytes == 0


def test_a_record_that_is_too_large_fails_alone():
    cluster = Cluster({"t": 1}, max_bytes=400)
    machine, net = produced(cluster, batch_size=4000)
    sent = send(net, "t", b"small", b"." * 600, b"also small")
    net.result(machine.flush())
    assert cluster.values("t", 0) == [b"small", b"also small"]
    assert [d.error is None for d in sent] == [True, False, True]
    assert sent[1].error.code == ErrorCode.MESSAGE_TOO_LARGE
    with pytest.raises(BrokerError, match="a record of 1048597 bytes"):
        send(net, "t", b"." * (1 << 20))


def test_a_broker_that_has_lost_what_it_acknowledged_gets_the_rest_under_a_new_producer_id():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, batch_size=40)
    send(net, "t", b"first" + b"." * 30)
    net.result(machine.flush())
    cluster.logs["t", 0].producers.clear()
    values = [b"%d" % n + b"." * 30 for n in range(4)]
    sent = send(net, "t", *values)
    net.result(machine.flush())
    assert cluster.values("t", 0)[1:] == values
    assert [d.offset for d in sent] == [1, 2, 3, 4]
    assert {h.producer_id for h in headers(cluster)} == {1000, 1001}


def test_a_fenced_producer_ends():
    cluster = Cluster({"t": 1})
    _machine, net = produced(cluster)
    cluster.errors["Produce"] = [ErrorCode.INVALID_PRODUCER_EPOCH]
    (sent,) = send(net, "t", b"x")
    with pytest.raises(Fenced):
        net.result(sent)
    with pytest.raises(Fenced):
        send(net, "t", b"y")


def test_a_refusal_for_good_is_told_and_what_follows_is_written():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster)
    cluster.errors["Produce"] = [ErrorCode.TOPIC_AUTHORIZATION_FAILED]
    (refused,) = send(net, "t", b"x")
    net.run(20)
    (taken,) = send(net, "t", b"y")
    net.result(machine.flush())
    assert refused.error.code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert (taken.error, taken.offset) == (None, 0)
    assert cluster.values("t", 0) == [b"y"]


def test_what_is_not_acknowledged_in_time_fails_and_leaves_no_gap():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, delivery_timeout_ms=3_000)
    send(net, "t", b"before")
    net.result(machine.flush())
    net.cut_all()
    net.down = {1}
    (lost,) = send(net, "t", b"lost")
    with pytest.raises(TimedOut, match="refused"):
        net.result(lost)
    net.down = set()
    sent = send(net, "t", b"after", b"that")
    net.result(machine.flush())
    assert [d.error for d in sent] == [None, None]
    assert cluster.values("t", 0) == [b"before", b"after", b"that"]


def test_a_full_buffer_refuses_and_says_when_there_is_room():
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster, buffer_memory=300, linger_ms=60_000)
    sent = send(net, "t", b"." * 100, b"." * 100)
    with pytest.raises(BufferFull) as full:
        send(net, "t", b"." * 100)
    net.result(machine.room(full.value.size_bytes))
    assert any(d.is_done for d in sent)
    send(net, "t", b"." * 100)
    net.result(machine.close())
    assert len(cluster.values("t", 0)) == 3
    with pytest.raises(Closed):
        send(net, "t", b"x")


def test_a_leader_that_moves_is_followed():
    cluster = Cluster({"t": 2}, nodes=(1, 2))
    machine, net = produced(cluster)
    for leader in (1, 2, 1, 2):
        cluster.logs["t", 0].leader = leader
        send(net, "t", b"%d" % leader, partition=0)
        net.result(machine.flush())
    assert cluster.values("t", 0) == [b"1", b"2", b"1", b"2"]


@pytest.mark.parametrize(
    "options",
    [{"acks": "two"}, {"acks": 1}, {"compression_type": "rar"}, {"max_in_flight": 6}],
)
def test_settings_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        produced(Cluster({}), **options)


@pytest.mark.parametrize("trouble", ["idle", "down", "refused", "no topic"])
def test_a_producer_with_nothing_to_do_takes_few_turns(trouble):
    cluster = Cluster({"t": 1})
    machine, net = produced(cluster)
    send(net, "t", b"x")
    net.result(machine.flush())
    if trouble == "down":
        net.down = {1}
        net.cut_all()
    elif trouble == "refused":
        cluster.errors["Produce"] = [ErrorCode.NOT_ENOUGH_REPLICAS] * 1_000
    if trouble != "idle":
        send(net, "none" if trouble == "no topic" else "t", b"y")
    turns = []
    turn = net.turn
    net.turn = lambda: (turns.append(net.time), turn())
    net.run(10_000)
    assert len(turns) < (5 if trouble == "idle" else 700)


@pytest.mark.parametrize(
    "how",
    [
        {"value": "text"},
        {"value": b"", "key": 1},
        {"value": b"", "headers": [("h", "text")]},
        {"value": b"", "headers": [(1, b"")]},
    ],
)
def test_what_is_not_bytes_is_refused_before_it_is_taken(how):
    machine, net = produced(Cluster({"t": 1}))
    with pytest.raises(TypeError, match="bytes or None"):
        machine.send("t", now=net.now, **how)
    assert machine.held_bytes == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(0, 1_500), st.just(0)),
        st.tuples(st.just("cut"), st.just(0), st.just(0)),
        st.tuples(st.just("move"), st.integers(0, 2), st.integers(1, 2)),
        st.tuples(st.just("down"), st.integers(0, 2), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)
TROUBLE = [
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.CORRUPT_MESSAGE,
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A batch whose answer was lost, and which the broker forgot when five later ones were acknowledged.
@example(
    [
        ("send", 0, 4),
        ("send", 2, 4),
        ("down", 2, 0),
        ("send", 2, 3),
        ("move", 2, 2),
        ("wait", 201, 0),
        ("cut", 0, 0),
        ("send", 0, 1),
        ("send", 1, 1),
        ("down", 1, 0),
        ("wait", 827, 0),
    ],
    45630,
    2_500,
    0.4,
)
@given(STEPS, st.integers(0, 1 << 32), st.sampled_from([2_500, 120_000]), st.sampled_from([0.0, 0.1, 0.4]))
def test_whatever_is_lost_each_record_is_written_once_and_in_order(steps, seed, delivery_timeout_ms, trouble):
    random = Random(seed)
    cluster = Cluster({"t": 3}, nodes=(1, 2))
    is_over = False

    def fate(api):
        if is_over or random.random() >= trouble:
            return "ok"
        if api == "Produce" and random.random() < 0.3:
            cluster.errors["Produce"] = [random.choice(TROUBLE)]
            return "ok"
        return random.choice(["lost", "unheard", "never"])

    machine, net = producer_on(
        cluster,
        Luck(random),
        fate,
        batch_size=60,
        delivery_timeout_ms=delivery_timeout_ms,
        request_timeout_ms=700,
    )
    sent = {0: [], 1: [], 2: []}
    for kind, a, b in steps:
        if kind == "send":
            for _ in range(b):
                value = b"%d-%d" % (a, len(sent[a])) + b"." * 20
                sent[a].append((value, machine.send("t", value, net.now, partition=a)))
            net.turn()
        elif kind == "wait":
            net.run(a)
        elif kind == "cut":
            net.cut_all()
        elif kind == "move":
            cluster.logs["t", a].leader = b
        else:
            net.down = {a} - {0}
    is_over, net.down = True, set()
    net.result(machine.flush())
    for partition, pairs in sent.items():
        written = cluster.values("t", partition)
        assert len(set(written)) == len(written), "each at most once"
        for value, delivery in pairs:
            assert delivery.is_done
            if delivery.error is None:
                assert value in written
                if delivery.offset >= 0:
                    assert written[delivery.offset] == value
            else:
                assert isinstance(delivery.error, TimedOut)
                assert delivery_timeout_ms < 10_000
        acknowledged = [value for value, delivery in pairs if delivery.error is None]
        assert [value for value in written if value in set(acknowledged)] == acknowledged, "in order"
    assert machine.held_bytes == 0
    assert machine._sequenced == 0
    net.result(machine.close())
    assert machine.is_closed
