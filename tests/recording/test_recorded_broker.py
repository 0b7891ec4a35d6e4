"""`rafka run --record` and `rafka replay`, as an operator uses them, under real clients."""

import contextlib
import json
import os
import socket

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException

from rafka.cli.main import rafka as command
from rafka.sim.replaying import lives_in
from tests.cli.process import ENVIRONMENT, rafka, running
from tests.clients.support import consumer_of, create, only, producer_of, send, take, unique
from tests.recording.support import replayed

SETTINGS = ("--set", "offsets.topic.num.partitions=2", "--set", "group.initial.rebalance.delay.ms=0")


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    """A node's first life, ended by SIGTERM, and its second, by SIGKILL: data and recording are in the directory."""
    root = tmp_path_factory.mktemp("flight")
    words = ("--record", root / "flight", *SETTINGS)
    with running(root / "data", *words) as broker:
        work(broker.bootstrap)
        hostile(broker.bootstrap)
        assert broker.stop() == 0
    with running(root / "data", *words) as broker:
        consumer = consumer_of(broker.bootstrap, "watchers")
        consumer.subscribe(["orders"])
        send(producer_of(broker.bootstrap), "orders", [b"after"] * 50, partition=0)
        assert len(take(consumer, 50)) == 50
        consumer.close()
        broker.kill()
    return root


def work(bootstrap):
    create(bootstrap, "orders", 2)
    send(
        producer_of(bootstrap, enable_idempotence=True),
        "orders",
        [b"%d" % n for n in range(300)],
        partition=0,
    )
    large = producer_of(bootstrap, compression_type="lz4", linger_ms=0)
    send(
        large, "orders", [os.urandom(300_000) for _ in range(4)], partition=1
    )  # received straight into its buffer
    group = [consumer_of(bootstrap, "watchers") for _ in range(2)]
    for member in group:
        member.subscribe(["orders"])
    seen = 0
    while seen < 304:
        for member in group:
            found = member.consume(400, 0.05)
            seen += len(found)
    for member in group:
        with contextlib.suppress(KafkaException):  # a member without partitions has nothing to commit
            member.commit(asynchronous=False)
        member.close()
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    create(bootstrap, gone := unique("gone"))
    only(admin.delete_topics([gone]))


def hostile(bootstrap):
    """What is no Kafka at all, half a frame, and a client that is gone before its answer."""
    host, _, port = bootstrap.rpartition(":")
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\1", b"\0\0\0\x15\0\x12\0\3\0\0\0\1\0\4abcd\0\2x\0\2y\0"):
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(data)


def replay(flight, *words):
    return CliRunner().invoke(command, ["replay", str(flight / "flight"), *words])


def test_both_lives_replay_bit_for_bit_the_killed_one_to_its_torn_end(flight):
    first, second = lives_in(str(flight / "flight"))
    stopped, killed = replayed(first), replayed(second)
    assert (stopped.ending, killed.ending) == ("stopped", "torn")
    assert stopped.events > 100
    assert killed.events > 10


def test_the_command_says_the_same_in_any_process_whatever_its_hash_seed(flight):
    answers = [
        rafka(
            "replay",
            flight / "flight",
            "--life",
            "1",
            "--json",
            "--any-code",
            env=ENVIRONMENT | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "31337")
    ]
    tables = [json.loads(answer.stdout) for answer in answers]
    assert [answer.returncode for answer in answers] == [0, 0]
    assert (
        tables[0]["trace_hash"]
        == tables[1]["trace_hash"]
        == replayed(lives_in(str(flight / "flight"))[0]).trace
    )
    assert (tables[0]["first_turn"], tables[0]["found"]) == (1, None)


def test_turns_are_shown_with_what_came_in_and_went_out(flight):
    answer = replay(flight, "--life", "1", "--until", "30", "--show", "1..30", "--any-code")
    assert answer.exit_code == 0
    for text in (
        "turn 1 at 20",
        "  > List(file='', token=1)",
        "  < Listed(file=",
        "turns 1 to 30",
        "every invariant holds",
    ):
        assert text in answer.stdout


def test_a_real_node_goes_on_in_the_simulator_with_its_data_directory_where_that_is_needed(flight):
    def forked(*words):
        return replay(flight, *words, "--fork", "--seed", "11", "--time", "500", "--any-code", "--json")

    first = forked("--life", "1", "--until", "60")
    assert (first.exit_code, json.loads(first.stdout)["fork"]["violation"]) == (0, "")
    without = forked("--life", "2", "--until", "30")
    assert without.exit_code == 2
    assert "--data-dir" in without.stderr
    second = forked("--life", "2", "--until", "30", "--data-dir", str(flight / "data"))
    assert (second.exit_code, json.loads(second.stdout)["fork"]["violation"]) == (0, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere",), "nowhere: No such file or directory"),
        ((".", "--fork"), "--fork and --seed go together"),
        ((".", "--seed", "3"), "--fork and --seed go together"),
        ((".", "--show", "9..3"), "is neither a turn nor a range"),
        ((".", "--until", "soon"), "is neither a time such as"),
        ((".", "--profile", "mild"), "there is no profile mild"),
    ],
)
def test_a_wrong_option_is_a_sentence_and_exit_code_2(words, sentence):
    answer = CliRunner().invoke(command, ["replay", *words])
    assert answer.exit_code == 2
    assert sentence in answer.stderr


def test_a_life_that_is_not_there_and_a_recording_of_other_code_are_refused(flight, tmp_path):
    missing = replay(flight, "--life", "7")
    assert (missing.exit_code, "holds no life 7, but 1, 2" in missing.stderr) == (2, True)
    name = "000002-00000001.flight"
    (tmp_path / "flight").mkdir()
    data = (flight / "flight" / name).read_bytes()
    (tmp_path / "flight" / name).write_bytes(of_other_code(data))
    foreign = replay(tmp_path)
    assert foreign.exit_code == 2
    assert "was recorded by rafka 0.0.9, source 0123456789abcdef" in foreign.stderr
    assert replay(tmp_path, "--any-code").exit_code == 0


def of_other_code(data):
    import attrs

    from rafka.core.recording.format import header_bytes, read_header

    header, start = read_header(data)
    return header_bytes(attrs.evolve(header, rafka="0.0.9", source="0123456789abcdef")) + data[start:]


def test_two_brokers_do_not_record_into_one_directory(flight, tmp_path):
    with running(tmp_path / "one", "--record", tmp_path / "flight", *SETTINGS):
        second = rafka(
            "run", "--data-dir", tmp_path / "two", "--listen", "127.0.0.1:0", "--record", tmp_path / "flight"
        )
    assert second.returncode == 1
    assert "another broker records into" in second.stderr
