"""What the pages of a node say while it starts, loses a disk and stops."""

import errno

import pytest

from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.events import Terminated
from rafka.core.node.node import Identity, Node
from rafka.core.record.builder import Record, build_batch
from rafka.net.compression import Compression
from rafka.net.http import HttpRequest
from rafka.observe.pages import Pages
from rafka.observe.tally import Tally
from tests.core.node.world import World


@pytest.fixture
def world():
    return World()


def pages_of(world, topics_max=10):
    return Pages(world.node, world.server, Tally(), {}, ("1", "3", "none"), topics_max)


def get(world, path, pages=None):
    answer = (pages or pages_of(world)).answer(HttpRequest("GET", path, ""), world.now, ())
    return answer.status, answer.body.decode()


def produce(world, client, topic, index=0):
    batch = bytes(build_batch([Record(None, b"v")], timestamp=world.now.wall))
    row = TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=index, records=batch)])
    return client.ask(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[row]), 8)


def test_a_node_that_serves_is_ready(world):
    assert get(world, "/readyz") == (200, "ready\n")
    assert "\nrafka_ready 1\n" in get(world, "/metrics")[1]


def test_a_node_that_starts_says_how_far_it_is(world):
    identity = Identity(1, "cluster", world.node.identity.directory_id, "/data")
    world.node = Node(world.node.settings, identity, world.chance, Compression())
    assert get(world, "/readyz") == (503, "starting: opening\n")
    assert get(world, "/healthz")[0] == 200


def test_a_node_that_stops_says_so(world):
    world.server.handle(Terminated("SIGTERM"), world.now)
    assert get(world, "/readyz") == (503, "stopping\n")


def test_partitions_whose_disk_failed_are_named_and_counted(world):
    world.create("orders", partitions=3)
    client = world.connect()
    for index in (0, 2):
        world.disk.fail("write", errno.EIO)
        produce(world, client, "orders", index)
    status, text = get(world, "/readyz")
    assert status == 503
    assert text == "offline: orders-0 KAFKA_STORAGE_ERROR\noffline: orders-2 KAFKA_STORAGE_ERROR\n"
    numbers = get(world, "/metrics")[1]
    assert "\nrafka_ready 0\n" in numbers
    assert "\nrafka_partitions_offline 2\n" in numbers
    assert '{api="Produce",error="KAFKA_STORAGE_ERROR"} 2\n' in numbers


def test_a_full_disk_is_no_readiness_and_room_is(world):
    world.create("orders")
    client = world.connect()
    world.disk.fail("write", errno.ENOSPC)
    produce(world, client, "orders")
    assert get(world, "/readyz") == (503, "refusing: orders-0 KAFKA_STORAGE_ERROR\n")
    world.wait(2000)
    assert get(world, "/readyz") == (200, "ready\n")


def test_very_many_reasons_are_not_all_told(world):
    world.create("orders", partitions=120)
    for partition in world.node.partitions:
        partition.log.is_offline = True
    lines = get(world, "/readyz")[1].splitlines()
    assert len(lines) == 101
    assert lines[-1].startswith("and ")


def test_what_a_deleted_topic_counted_under_other_stays(world):
    from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState

    pages = pages_of(world, topics_max=0)
    world.create("orders")
    client = world.connect()
    produce(world, client, "orders")
    line = 'rafka_topic_produced_records_total{topic="(other)"} 1\n'
    assert line in get(world, "/metrics", pages)[1]
    client.ask(DeleteTopicsRequest(topics=[DeleteTopicState(name="orders")], timeout_ms=1000))
    world.wait(1000)
    numbers = get(world, "/metrics", pages)[1]
    assert line in numbers
    assert 'rafka_topic_partitions{topic="(other)"} 0\n' in numbers


def test_topics_share_their_counters_among_partitions_and_a_new_one_begins_anew(world):
    first = world.create("orders", partitions=2)
    client = world.connect()
    for index in (0, 1):
        produce(world, client, "orders", index)
    logs = [partition.log for partition in world.node.partitions if partition.topic_id == first]
    assert logs[0].traffic is logs[1].traffic
    assert logs[0].traffic.batch_records.total == 2
