"""The cluster's machine: which link is dialled, what becomes of calls, when metadata is asked for."""

import itertools
from random import Random

import pytest

from rafka.client.cluster import MS
from rafka.client.errors import Unanswered, Unsupported
from rafka.client.link import Call
from rafka.client.machine import ClientMachine
from rafka.client.outputs import Dial, HangUp, Transmit
from rafka.client.settings import ClientSettings, addresses_of
from rafka.core.api.describe_cluster_request import DescribeClusterRequest
from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.metadata_request import MetadataRequest
from rafka.core.errors import ConfigError, ErrorCode
from rafka.core.types import MonoNs, Now, WallMs
from tests.client.model import Cluster, Luck, Net


class Owner:
    def __init__(self):
        self.answers: list[Call] = []

    def answered(self, call, now):
        self.answers.append(call)


def client(cluster, *, bootstrap="node1:9092", fate=lambda api: "ok", luck=None, **settings):
    machine = ClientMachine(ClientSettings(bootstrap, **settings), luck or Luck())
    return machine, Net(machine, cluster, fate), Owner()


def ask(net, owner, request=None, **how):
    request = InitProducerIdRequest(transactional_id=None) if request is None else request
    return net.machine.cluster.ask(request, owner, net.now, **how)


def metadata_requests(cluster):
    return [request for _, api, request in cluster.asked if api == "Metadata"]


def test_nothing_is_dialled_before_something_is_asked():
    _machine, net, owner = client(Cluster({}))
    net.run(10_000)
    assert net.dialled == []
    call = ask(net, owner)
    net.run(10_000)
    assert net.dialled == [1]
    assert owner.answers == [call]
    assert call.answer.producer_id == 1000


def test_a_call_to_any_broker_is_tried_on_one_after_the_other():
    _machine, net, owner = client(Cluster({}), bootstrap="node2:9092,node3:9092,node1:9092")
    net.down = {2, 3}
    ask(net, owner)
    net.run(until=lambda: owner.answers)
    assert owner.answers[0].answer is not None
    assert net.dialled == [2, 3, 1]


def test_a_call_that_nobody_takes_fails_when_its_time_is_up():
    _machine, net, owner = client(Cluster({}))
    net.down = {1}
    call = ask(net, owner, timeout_ms=2_000)
    start = net.time
    net.run(until=lambda: owner.answers)
    assert net.time - start == 2_000 * MS
    assert isinstance(call.error, Unanswered)


def test_pauses_between_dials_double_up_to_a_bound():
    _machine, net, owner = client(Cluster({}), backoff_ms=100, backoff_max_ms=1_000, luck=Luck(Random(1)))
    net.down = {1}
    net.delay = 0
    times = []
    dial = net._dial
    net._dial = lambda *args: (times.append(net.time // MS), dial(*args))
    ask(net, owner, timeout_ms=6_000)
    net.run(until=lambda: owner.answers)
    pauses = [b - a for a, b in itertools.pairwise(times)]
    for pause, expected in zip(pauses, [100, 200, 400, 800, 1_000, 1_000, 1_000], strict=False):
        assert expected * 0.8 <= pause <= expected * 1.2
    assert 6 <= len(pauses) <= 8


def test_a_broker_that_accepts_and_is_silent_is_given_up():
    _machine, net, owner = client(Cluster({}), bootstrap="node9:9092,node1:9092", connect_timeout_ms=700)
    net.silent = {9}
    ask(net, owner)
    net.run(until=lambda: owner.answers)
    assert owner.answers[0].answer is not None
    assert net.dialled == [9, 1]


def test_an_answer_that_does_not_come_ends_the_link_and_all_that_is_on_it():
    fates = iter(["ok", "never"])
    _machine, net, owner = client(Cluster({}), fate=lambda api: next(fates, "ok"), request_timeout_ms=500)
    first, _second = ask(net, owner), ask(net, owner)
    net.run(until=lambda: len(owner.answers) == 2)
    assert first.answer is None
    assert [call.error is not None for call in owner.answers] == [True, True]
    assert net.links == {}
    again = ask(net, owner)
    net.run(until=lambda: len(owner.answers) == 3)
    assert again.answer is not None


def test_what_was_in_flight_on_a_link_that_ends_is_unanswered():
    _machine, net, owner = client(
        Cluster({}), fate=lambda api: "unheard" if api == "InitProducerId" else "ok"
    )
    call = ask(net, owner)
    net.run(until=lambda: owner.answers)
    assert isinstance(call.error, Unanswered)
    assert "the connection ended" in str(call.error)


def test_a_request_that_the_broker_does_not_serve_fails_alone():
    _machine, net, owner = client(Cluster({}))
    unknown, known = ask(net, owner, DescribeClusterRequest()), ask(net, owner)
    net.run(until=lambda: len(owner.answers) == 2)
    assert isinstance(unknown.error, Unsupported)
    assert known.answer is not None


def test_an_unknown_node_is_an_error_and_not_a_dial():
    _machine, net, owner = client(Cluster({}))
    call = ask(net, owner, node=42)
    net.run(100)
    assert "node 42 is unknown" in str(call.error)


def test_a_cancelled_call_is_not_told():
    machine, net, owner = client(Cluster({}))
    machine.cluster.cancel(ask(net, owner))
    net.run(1_000)
    assert owner.answers == []


def test_each_lane_has_a_link_of_its_own_and_the_first_link_becomes_its_nodes():
    machine, net, owner = client(Cluster({"t": 1}))
    machine.cluster.want(["t"])
    net.run(100)
    for lane in ("", "", "fetch", "group", "fetch"):
        ask(net, owner, node=1, lane=lane)
    net.run(100)
    assert len(owner.answers) == 5
    assert net.dialled == [1, 1, 1]


def test_metadata_is_asked_again_while_a_topic_is_missing_and_then_when_it_is_old():
    cluster = Cluster({})
    machine, net, _owner = client(cluster, metadata_max_age_ms=60_000, backoff_ms=100, backoff_max_ms=100)
    machine.cluster.want(["late"])
    net.run(2_000)
    many = len(metadata_requests(cluster))
    assert 10 <= many <= 30
    cluster.create("late", 2)
    net.run(1_000)
    assert machine.cluster.topology.counts(["late"]) == {"late": 2}
    before = len(metadata_requests(cluster))
    net.run(59_000)
    assert len(metadata_requests(cluster)) == before
    net.run(3_000)
    assert len(metadata_requests(cluster)) == before + 1


def test_metadata_that_led_astray_is_asked_for_at_most_once_a_pause():
    cluster = Cluster({"t": 1})
    machine, net, _owner = client(cluster, backoff_ms=100)
    machine.cluster.want(["t"])
    net.run(50)
    for _ in range(200):
        machine.cluster.refresh()
        net.run(5)
    assert 5 <= len(metadata_requests(cluster)) <= 15


def test_metadata_survives_a_broker_that_dies():
    cluster = Cluster({"t": 1}, nodes=(1, 2))
    machine, net, _owner = client(cluster)
    machine.cluster.want(["t"])
    net.run(100)
    cluster.logs["t", 0].leader = 2
    net.down = {1}
    net.cut_all()
    net.run(5_000)
    assert machine.cluster.topology.leader("t", 0) == 2


def test_what_is_not_the_protocol_ends_the_link():
    machine, net, owner = client(Cluster({}))
    ask(net, owner, timeout_ms=1_000)
    machine.tick(net.now)
    (dial,) = machine.drain()
    assert isinstance(dial, Dial)
    machine.connected(dial.link, net.now)
    machine.tick(net.now)
    assert [type(output) for output in machine.drain()] == [Transmit]
    machine.received(dial.link, memoryview(b"HTTP/1.1 400 Bad Request\r\n\r\n"), net.now)
    machine.tick(net.now)
    assert HangUp(dial.link) in machine.drain()


def test_requests_of_one_turn_leave_in_one_transmit():
    machine, net, owner = client(Cluster({}))
    ask(net, owner)
    net.run(100)
    for _ in range(3):
        ask(net, owner, MetadataRequest(topics=[]))
    outputs = machine.drain()
    assert [type(output) for output in outputs] == [Transmit]
    assert outputs[0].data.count(b"rafka") == 3


def test_a_closed_machine_asks_for_nothing():
    machine, net, _owner = client(Cluster({"t": 1}))
    machine.cluster.want(["t"])
    net.run(100)
    machine.abandon()
    assert [type(output) for output in machine.drain()] == [HangUp]
    machine.tick(Now(MonoNs(1 << 60), WallMs(0)))
    assert machine.drain() == []
    assert machine.deadline() is None


def test_the_names_of_errors_are_known_by_number():
    from rafka.client.errors import BrokerError

    assert BrokerError(3, "t").code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert BrokerError(9_999, "t").code is ErrorCode.UNKNOWN_SERVER_ERROR


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", [("a", 1)]),
        ("a:1, b:2", [("a", 1), ("b", 2)]),
        (["a:1", "[::1]:2"], [("a", 1), ("::1", 2)]),
    ],
)
def test_addresses_are_hosts_and_ports(text, expected):
    assert addresses_of(text) == expected


@pytest.mark.parametrize("text", ["", "a", "a:", ":1", "a:x", "a:0", "a:65536", "a:1,,b:2", []])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        addresses_of(text)


def test_the_keywords_are_the_fields_of_the_settings():
    from rafka.client.settings import (
        ClientOptions,
        ConsumerOptions,
        ConsumerSettings,
        ProducerOptions,
        ProducerSettings,
    )

    def fields(cls):
        return {name: kind for name, kind in cls.__annotations__.items() if name != "bootstrap_servers"}

    general = fields(ClientSettings)
    assert ClientOptions.__annotations__.keys() == general.keys()
    assert ProducerOptions.__annotations__.keys() == general.keys() | fields(ProducerSettings).keys()
    assert ConsumerOptions.__annotations__.keys() == general.keys() | fields(ConsumerSettings).keys()
