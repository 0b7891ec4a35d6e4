"""A running broker on a small file system that is really full, and then is not: nothing is lost, nothing is restarted.

Full are the bytes, or the inodes, in which case files that are there may grow and no file can be made.
"""

from dataclasses import dataclass, field

import pytest

from rafka.core.api.create_topics_request import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
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
from rafka.core.errors import ErrorCode
from rafka.testing.client import ask
from tests.clients.support import read, until
from tests.io.brokers import Ballast, Broker, Sender
from tests.io.support import KIB, REAL

MANY = 2000
"""More than that fits into what is left of a block."""


@pytest.fixture(params=REAL)
def driver(request):
    return request.param


@dataclass
class Client:
    """Asks for one thing at a time, once, and says how it ended by the error's name."""

    port: int
    made: list[str] = field(default_factory=list)
    committed: int = -1

    def create(self, name, **configs):
        settings = [CreatableTopicConfig(name=k.replace("_", "."), value=str(v)) for k, v in configs.items()]
        topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=settings)
        (answer,) = ask(self.port, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))
        code = ErrorCode(answer.topics[0].error_code)
        if code is ErrorCode.NONE:
            self.made.append(name)
        return code.name

    def delete(self, name):
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], topic_names=[name])
        return ErrorCode(ask(self.port, request)[0].responses[0].error_code).name

    def configure(self, topic, key, text):
        alteration = AlterableConfig(name=key, config_operation=0, value=text)
        resource = AlterConfigsResource(resource_type=2, resource_name=topic, configs=[alteration])
        request = IncrementalAlterConfigsRequest(resources=[resource])
        return ErrorCode(ask(self.port, request)[0].responses[0].error_code).name

    def commit(self, offset):
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        topic = OffsetCommitRequestTopic(name="orders", topic_id=self.id_of("orders"), partitions=[partition])
        request = OffsetCommitRequest(
            group_id="g", generation_id_or_member_epoch=-1, member_id="", topics=[topic]
        )
        code = ErrorCode(ask(self.port, request)[0].topics[0].partitions[0].error_code)
        if code is ErrorCode.NONE:
            self.committed = offset
        return code.name

    def offset(self):
        topic = OffsetFetchRequestTopics(name="orders", topic_id=self.id_of("orders"), partition_indexes=[0])
        group = OffsetFetchRequestGroup(group_id="g", topics=[topic])
        (found,) = ask(self.port, OffsetFetchRequest(groups=[group], require_stable=True))[0].groups
        return found.topics[0].partitions[0].committed_offset

    def names(self):
        (found,) = ask(self.port, MetadataRequest(topics=None))
        return {topic.name for topic in found.topics if not topic.is_internal}

    def id_of(self, topic):
        (found,) = ask(self.port, MetadataRequest(topics=[MetadataRequestTopic(name=topic)]))
        return found.topics[0].topic_id

    def start_of(self, topic):
        partition = ListOffsetsPartition(partition_index=0, timestamp=-2)
        request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=topic, partitions=[partition])])
        return ask(self.port, request)[0].topics[0].partitions[0].offset

    def begin(self):
        """Make the topic, and let a group have a coordinator and an offset."""
        assert self.create("orders", segment_bytes=1 << 20, file_delete_delay_ms=0) == "NONE"
        ask(self.port, FindCoordinatorRequest(coordinator_keys=["g"]))
        until(lambda: self.commit(1) == "NONE", "the group has a coordinator")

    def until_refused(self, attempt):
        """Do it again and again, with numbers; how it was refused at last."""
        for number in range(2, MANY):
            name = attempt(number)
            if name != "NONE":
                return name
        raise AssertionError("it is never refused")


def held(broker, sender, client):
    """Assert that all that was acknowledged is there: records, offsets and topics."""
    for topic, values in sender.acknowledged.items():
        assert [message.value() for message in read(broker.address, topic, len(values))] == values
    assert client.offset() == client.committed
    assert client.names() == set(client.made)


def test_records_offsets_and_metadata_are_refused_while_it_is_full_and_taken_again(driver, tmp_path):
    ballast = Ballast(tmp_path / "small")
    print("the full disk is", ballast.how)
    try:
        with Broker(tmp_path, driver, data=ballast.directory / "data", prefix=ballast.prefix) as broker:
            sender, client = Sender(broker.address), Client(broker.port)
            client.begin()
            assert client.create("empty") == client.create("doomed") == "NONE"
            assert sender.send("orders", 20) == [""] * 20
            ballast.fill(broker)
            assert sender.send("orders", 1, 20 * KIB) == sender.send("empty") == ["KAFKA_STORAGE_ERROR"]
            assert (
                client.until_refused(client.commit) == "NOT_COORDINATOR"
            )  # as Kafka says it: look for another
            assert client.until_refused(lambda n: client.create(f"t{n}")) == "KAFKA_STORAGE_ERROR"
            assert client.delete("doomed") == "KAFKA_STORAGE_ERROR"
            assert client.configure("orders", "retention.ms", "-1") == "KAFKA_STORAGE_ERROR"
            held(broker, sender, client)
            ballast.empty(broker)
            until(lambda: sender.send("orders", 1, 20 * KIB) == [""], "records are taken again")
            until(lambda: sender.send("empty") == [""], "a log is begun")
            until(lambda: client.commit(5000) == "NONE", "offsets are taken again")
            until(lambda: client.create("after") == "NONE", "topics are made again")
            assert sender.send("after") == [""]
            assert client.configure("orders", "retention.ms", "-1") == "NONE"
            assert client.delete("doomed") == "NONE"
            client.made.remove("doomed")
            held(broker, sender, client)
            assert "offline" not in broker.journal
        if not ballast.prefix:  # a namespace of its own, and the disk in it, has ended with the broker
            with Broker(tmp_path, driver, data=ballast.directory / "data") as broker:
                client.port = broker.port
                until(lambda: client.offset() == client.committed, "the group is loaded")
                held(broker, sender, client)
    finally:
        ballast.close()


def real(tmp_path, **sizes):
    ballast = Ballast(tmp_path / "small", **sizes)
    if not ballast.is_real:
        pytest.skip("nothing can be mounted here")
    return ballast


def test_where_no_file_can_be_made_a_log_begins_its_next_segment_once_one_can(driver, tmp_path):
    ballast = real(tmp_path, mebibytes=8, inodes=200)
    try:
        with Broker(tmp_path, driver, data=ballast.directory / "data", prefix=ballast.prefix) as broker:
            sender, client = Sender(broker.address), Client(broker.port)
            client.begin()
            assert client.create("empty") == "NONE"
            assert sender.send("orders", 20) == [""] * 20
            ballast.take_inodes(broker)
            assert sender.send("empty") == ["KAFKA_STORAGE_ERROR"]
            sent = [error for _ in range(15) for error in sender.send("orders", 1, 100 * KIB)]
            assert set(sent) == {"", "KAFKA_STORAGE_ERROR"}, "the first segment takes what it has room for"
            held(broker, sender, client)
            ballast.empty(broker)
            until(lambda: sender.send("orders", 1, 100 * KIB) == [""], "the next segment is begun")
            until(lambda: sender.send("empty") == [""], "the directory is made")
            assert sender.send("orders", 20, 100 * KIB) == [""] * 20
            held(broker, sender, client)
            assert "offline" not in broker.journal
    finally:
        ballast.close()


def test_topics_can_be_deleted_while_the_disk_is_full_and_that_makes_room(driver, tmp_path):
    ballast = real(tmp_path, mebibytes=8)
    try:
        with Broker(tmp_path, driver, data=ballast.directory / "data", prefix=ballast.prefix) as broker:
            sender, client = Sender(broker.address), Client(broker.port)
            client.begin()
            doomed = [f"doomed-{number}" for number in range(100)]
            assert {client.create(name) for name in doomed} == {"NONE"}
            assert sender.send("orders", 20) == sender.send("doomed-0", 20, 50 * KIB) == [""] * 20
            ballast.fill(broker)
            assert sender.send("orders", 1, 100 * KIB) == ["KAFKA_STORAGE_ERROR"]
            assert {client.delete(name) for name in reversed(doomed)} == {"NONE"}
            until(lambda: sender.send("orders", 1, 100 * KIB) == [""], "there is room")
            client.made = ["orders"]
            del sender.acknowledged["doomed-0"]
            held(broker, sender, client)
            assert "__cluster_metadata" not in broker.journal
    finally:
        ballast.close()


def test_retention_makes_room_on_a_full_disk_by_itself(driver, tmp_path):
    ballast = real(tmp_path, mebibytes=8)
    often = {"log.retention.check.interval.ms": "200"}
    try:
        with Broker(
            tmp_path, driver, data=ballast.directory / "data", prefix=ballast.prefix, settings=often
        ) as broker:
            sender, client = Sender(broker.address), Client(broker.port)
            client.begin()
            assert sender.send("orders", 40, 100 * KIB) == [""] * 40
            ballast.fill(broker)
            assert sender.send("orders", 1, 100 * KIB) == ["KAFKA_STORAGE_ERROR"]
            assert client.configure("orders", "retention.bytes", "1048576") == "NONE"
            until(lambda: sender.send("orders", 1, 100 * KIB) == [""], "there is room")
            start = client.start_of("orders")
            assert start > 0
            kept = sender.acknowledged["orders"][start:]
            found = [message.value() for message in read(broker.address, "orders", len(kept), offset=start)]
            assert found == kept
    finally:
        ballast.close()
