"""The pages of a broker that runs: what they say of what was done to it, and that nothing done to them hurts it."""

import re
import socket
import struct
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.record.builder import Record, build_batch
from rafka.core.record.compression import GZIP
from rafka.net.compression import Compression
from rafka.net.http import HEAD_BYTES_MAX
from rafka.net.kafka.session import request_bytes
from rafka.observe.catalogue import CATALOGUE, COUNTER
from tests.cli.process import PATIENCE_S, Running, rafka, until
from tests.io.support import REAL

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


class Observed(Running):
    """A broker with pages."""

    def __init__(self, data_dir, *words):
        super().__init__(data_dir, "--metrics-listen", "127.0.0.1:0", "--log-format", "json", *words)
        self.port = int(self._port())

    def _port(self):
        line = b""
        while b"pages served" not in line:
            line = self.process.stderr.buffer.readline()
            assert line, "it says where"
        return re.search(rb'"port": ?"?(\d+)', line)[1]

    def page(self, path, accept="text/plain"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def has_room(self):
        try:
            return self.page("/healthz")[0] == 200
        except (OSError, HTTPException):  # closed at once: those who left are still counted
            return False

    def numbers(self):
        """Every sample: name and labels to its value."""
        status, text = self.page("/metrics")
        assert status == 200, text
        return {
            (one.name, *sorted(one.labels.items())): one.value
            for family in read_prometheus(text)
            for one in family.samples
        }

    def client(self):
        host, _, port = self.bootstrap.rpartition(":")
        sock = socket.create_connection((host, int(port)), PATIENCE_S)
        sock.settimeout(PATIENCE_S)
        return sock

    def ask(self, request, api_key, version):
        with self.client() as sock:
            sock.sendall(asked(request, api_key, version))
            return answered(sock)

    def topic(self, name, **configs):
        rows = [CreatableTopicConfig(name=key.replace("_", "."), value=text) for key, text in configs.items()]
        topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=rows)
        self.ask(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 19, 5)


def asked(request, api_key, version):
    return request_bytes(request, api_key=api_key, version=version, correlation_id=1, client_id="t")


def answered(sock):
    (size,) = struct.unpack(">i", exactly(sock, 4))
    return exactly(sock, size)


def exactly(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "the broker closed the connection"
        data += more
    return data


def produce(topic, records, *, codec=0, index=0):
    batch = bytes(build_batch(records, timestamp=1_700_000_000_000, codec=codec, codecs=Compression()))
    data = PartitionProduceData(index=index, records=batch)
    row = TopicProduceData(name=topic, partition_data=[data])
    return ProduceRequest(acks=-1, timeout_ms=10_000, topic_data=[row]), len(batch)


@pytest.fixture
def observed(tmp_path):
    with ExitStack() as stack:

        def start(*words):
            broker = Observed(tmp_path / "data", *words)
            stack.callback(broker.kill)
            return broker

        yield start


@pytest.mark.parametrize("driver", REAL)
def test_what_was_done_is_on_the_page(observed, driver):
    broker = observed("--driver", driver)
    broker.topic("orders")
    request, size = produce("orders", [Record(None, b"v")] * 3)
    for _ in range(2):
        broker.ask(request, 0, 8)
    missing, _ = produce("orders", [Record(None, b"v")], index=7)
    broker.ask(missing, 0, 8)
    how = ("--group", "g", "--from-beginning", "--max", "6")
    consumed = rafka("consume", "orders", "--bootstrap", broker.bootstrap, *how)
    assert consumed.returncode == 0, consumed.stderr
    numbers = broker.numbers()
    topic = ("topic", "orders")
    assert numbers["rafka_topic_produced_bytes_total", topic] == 2 * size
    assert numbers["rafka_topic_produced_records_total", topic] == 6
    assert numbers["rafka_topic_batch_bytes_count", topic] == 2
    assert numbers["rafka_topic_batch_records_bucket", ("le", "1.0"), topic] == 0
    assert numbers["rafka_topic_batch_records_bucket", ("le", "3.0"), topic] == 2
    assert numbers["rafka_topic_fetched_bytes_total", topic] >= 2 * size
    assert numbers["rafka_topic_offsets", topic] == 6
    assert numbers["rafka_topic_size_bytes", topic] == 2 * size
    assert numbers["rafka_group_lag_records", ("group", "g"), topic] == 0
    assert sum(value for (name, *_), value in numbers.items() if name == "rafka_groups") == 1
    assert numbers["rafka_request_duration_seconds_count", ("api", "Produce")] == 3
    assert numbers["rafka_request_duration_seconds_sum", ("api", "Produce")] > 0
    error = ("api", "Produce"), ("error", "UNKNOWN_TOPIC_OR_PARTITION")
    assert numbers["rafka_request_errors_total", *error] == 1
    assert numbers["rafka_received_bytes_total",] > 2 * size
    assert numbers["rafka_ready",] == 1
    assert numbers["process_resident_memory_bytes",] > 1 << 20
    assert broker.stop() == 0


def test_the_document_the_catalogue_and_the_page_name_the_same_metrics(observed):
    rows = re.findall(
        r"^\| `((?:rafka|process)_\w+)` \|(.*?)\|(.*?)\|(.*?)\|", DOCUMENT.read_text("utf-8"), re.M
    )
    documented = [
        (name, kind.strip(), tuple(re.findall(r"`(\w+)`", labels)), text.strip())
        for name, kind, labels, text in rows
    ]
    assert documented == [(one.name, one.kind, one.labels, one.text) for one in CATALOGUE]
    broker = observed()
    broker.topic("packed", compression_type="zstd")
    broker.ask(produce("packed", [Record(None, b"v" * 500)] * 10, codec=GZIP)[0], 0, 8)
    text = broker.page("/metrics")[1]
    families = list(read_prometheus(text))
    told = {f.name + ("_total" if f.type == "counter" else ""): f for f in families}
    assert set(told) == {one.name for one in CATALOGUE}
    for one in CATALOGUE:
        assert told[one.name].documentation == one.text
        assert told[one.name].type == one.kind
        for sample in told[one.name].samples:
            assert set(sample.labels) - {"le"} == set(one.labels), sample
    opened = {f.name for f in read_openmetrics(broker.page("/metrics", "application/openmetrics-text")[1])}
    assert opened == {one.name.removesuffix("_total" if one.kind == COUNTER else "") for one in CATALOGUE}


def test_codecs_have_an_account_by_topic_and_none_where_the_broker_looks_at_nothing(observed):
    broker = observed()
    broker.topic("packed", compression_type="zstd")
    broker.topic("plain")
    records = [Record(None, b"v" * 500)] * 10
    for topic in ("packed", "plain"):
        broker.ask(produce(topic, records, codec=GZIP)[0], 0, 8)
    numbers = broker.numbers()
    for codec, operation in (("gzip", "decompress"), ("zstd", "compress")):
        labels = ("codec", codec), ("operation", operation), ("topic", "packed")
        plain = numbers["rafka_codec_uncompressed_bytes_total", *labels]
        packed = numbers["rafka_codec_compressed_bytes_total", *labels]
        assert plain > 5000 > packed > 0
        assert numbers["rafka_codec_cpu_seconds_total", *labels] > 0
    assert not any("codec" in name and ("topic", "plain") in labels for name, *labels in numbers)


def test_many_producers_share_their_syncs(observed):
    """64 connections, each with one acks=all produce under way: at most 3 syncs for each turn of the loop."""
    broker = observed("--set", "flush=fsync")
    broker.topic("orders")
    frame = asked(produce("orders", [Record(None, b"v")])[0], 0, 8)
    with ExitStack() as stack:
        clients = [stack.enter_context(broker.client()) for _ in range(64)]
        before = broker.numbers()
        for _ in range(10):
            for client in clients:
                client.sendall(frame)
            for client in clients:
                answered(client)
        after = broker.numbers()

    def grown(name, *labels):
        return after[name, *labels] - before.get((name, *labels), 0)

    syncs = grown("rafka_sync_duration_seconds_count", ("kind", "file"))
    assert grown("rafka_request_duration_seconds_count", ("api", "Produce")) == 640
    assert 0 < syncs <= 3 * grown("rafka_turn_duration_seconds_count")
    assert syncs < 640 / 2


def test_topics_beyond_the_bound_share_a_label(observed):
    broker = observed("--set", "metrics.topics.max=2")
    for n in range(4):
        broker.topic(f"t{n}")
        broker.ask(produce(f"t{n}", [Record(None, b"v")])[0], 0, 8)
    numbers = broker.numbers()
    told = {
        labels[0][1]: value
        for (name, *labels), value in numbers.items()
        if name == "rafka_topic_produced_records_total"
    }
    assert told == {"t0": 1, "t1": 1, "(other)": 2}
    assert numbers["rafka_topics_without_name",] == 2


def test_health_and_what_is_no_page(observed):
    broker = observed()
    assert broker.page("/healthz") == (200, "alive\n")
    assert broker.page("/readyz") == (200, "ready\n")
    assert broker.page("/")[0] == 200
    status, text = broker.page("/metric")
    assert status == 404
    assert "/metrics" in text


def test_hostile_guests_are_closed_and_clients_are_served_all_the_while(observed):
    broker = observed()
    broker.topic("orders")
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", broker.port))) for _ in range(40)]
        closed = 0
        for guest in crowd:
            guest.settimeout(0.2)
            with suppress(TimeoutError):
                closed += guest.recv(1) == b""
        assert closed >= 40 - 32
        broker.ask(produce("orders", [Record(None, b"v")])[0], 0, 8)
    until(broker.has_room, "there is room again")
    with socket.create_connection(("127.0.0.1", broker.port), PATIENCE_S) as guest:
        guest.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 2 * HEAD_BYTES_MAX)
        assert guest.recv(1000).startswith(b"HTTP/1.1 431 ")
    with socket.create_connection(("127.0.0.1", broker.port), PATIENCE_S) as guest:
        guest.sendall(b"\x00\x00\x00\x10garbage\r\n\r\n")
        assert guest.recv(1000).startswith(b"HTTP/1.1 400 ")
    broker.ask(produce("orders", [Record(None, b"v")])[0], 0, 8)
    assert broker.numbers()["rafka_connections",] == 0
    assert broker.stop() == 0


def test_a_port_that_is_taken_refuses_the_start_and_no_option_opens_none(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = rafka(
            "run", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0", "--metrics-listen", where
        )
    assert done.returncode == 1
    assert f"cannot listen at {where}" in done.stderr
    assert "--metrics-listen" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_port_of_the_clients_cannot_be_that_of_the_pages(tmp_path):
    words = ("--listen", "127.0.0.1:19092", "--metrics-listen", "127.0.0.1:19092")
    done = rafka("run", "--data-dir", tmp_path / "data", *words)
    assert done.returncode == 1
    assert "metrics.listen=127.0.0.1:19092: is the port of a listener of clients" in done.stderr


def test_a_recording_has_nothing_of_the_pages(observed, tmp_path):
    broker = observed("--record", tmp_path / "recording")
    broker.topic("orders")
    broker.ask(produce("orders", [Record(None, b"v")])[0], 0, 8)
    assert broker.page("/readyz")[0] == 200
    assert broker.stop() == 0
    replayed = rafka("replay", tmp_path / "recording")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert not any(b"HTTP/1.1" in file.read_bytes() for file in (tmp_path / "recording").iterdir())
