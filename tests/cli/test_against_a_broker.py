"""The commands against a broker that runs: what they print, what they leave behind, how they end."""

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from types import SimpleNamespace

import pytest

from tests.cli.process import ENVIRONMENT, PATIENCE_S, rafka, running, until


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    foreign = os.environ.get("RAFKA_TEST_BOOTSTRAP")
    if foreign:  # to check the tests themselves, and that the commands work on Apache Kafka too
        yield SimpleNamespace(bootstrap=foreign)
        return
    settings = ["--set", "offsets.topic.num.partitions=2"]
    with running(tmp_path_factory.mktemp("broker") / "data", *settings) as broker:
        yield broker
        assert broker.stop() == 0


@pytest.fixture
def topic(request, broker):
    """A topic of one partition that no other test uses."""
    name = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name)
    ask(broker, "topic", "create", name, "--partitions", "1")
    return name


def ask(broker, *words, code=0, **how):
    """Run a command on the broker; what it printed."""
    ended = rafka(*words, "--bootstrap", broker.bootstrap, **how)
    assert ended.returncode == code, ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def read(broker, topic, *words):
    return ask(broker, "consume", topic, "--to-end", *words).splitlines()


def test_a_topic_from_its_creation_to_its_deletion(broker):
    made = json.loads(ask(broker, "topic", "create", "life", "--partitions", "3", "--json"))
    assert (made["name"], made["partitions"]) == ("life", 3)
    assert "there is" not in ask(broker, "topic", "create", "life", code=1)
    assert {"name": "life", "partitions": 3} in json.loads(ask(broker, "topic", "list", "--json"))
    described = json.loads(ask(broker, "topic", "describe", "life", "--json"))
    assert described["topic_id"] == made["topic_id"]
    assert [row["leader"] for row in described["partitions"]] == [1, 1, 1]
    assert described["durability"] in ("fsync", "os")  # and "os" is Kafka's
    assert ask(broker, "topic", "delete", "life") == "deleted life\n"
    assert "there is no topic life" in ask(broker, "consume", "life", code=1)


def test_what_an_acknowledgement_is_worth_is_described_as_it_is_set(broker, topic):
    for key, durability in (
        ("flush.messages=1", "fsync"),
        ("flush.messages=1000", None),
        ("flush.ms=1", None),
    ):
        ask(broker, "topic", "config", topic, "--set", key)
        found = json.loads(ask(broker, "topic", "describe", topic, "--json"))["durability"]
        assert found == (durability or ("os" if os.environ.get("RAFKA_TEST_BOOTSTRAP") else "fsync"))


def test_the_settings_of_a_topic(broker, topic):
    ask(broker, "topic", "config", topic, "--set", "retention.ms=1000")
    assert ask(broker, "topic", "config", topic).splitlines()[1].split() == ["retention.ms", "1000", "topic"]
    ask(broker, "topic", "config", topic, "--delete", "retention.ms")
    settings = {s["name"]: s for s in json.loads(ask(broker, "topic", "config", topic, "--json"))["settings"]}
    assert settings["retention.ms"] == {"name": "retention.ms", "value": "604800000", "source": "default"}
    assert "retention.mx" in ask(broker, "topic", "config", topic, "--set", "retention.mx=1", code=1)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_lines_come_back_as_they_were_sent(broker, topic, codec):
    lines = b"".join(b"%d\xff line\n" % n for n in range(2000))
    sent = ask(broker, "produce", topic, "--compression", codec, input=lines, text=False)
    assert sent == f"sent 2000 record(s) to {topic}\n".encode()
    assert ask(broker, "consume", topic, "--from-beginning", "--to-end", text=False) == lines


def test_a_record_is_shown_with_all_that_it_has(broker, topic):
    ask(broker, "produce", topic, "--key-separator", ":", "--header", "h=1", "--null", "", "k:v", "gone:")
    columns = ["--from-beginning", "--places", "--headers", "--keys"]
    assert read(broker, topic, *columns) == ["0:0\th=1\tk\tv", "0:1\th=1\tgone\t"]
    first, second = map(json.loads, read(broker, topic, "--from-beginning", "--json"))
    assert (first["key"], first["value"], first["headers"]) == ("k", "v", [["h", "1"]])
    assert second["value"] is None
    exact = read(broker, topic, "--from-beginning", "--base64", "--keys")
    assert exact[0].encode() == b64encode(b"k") + b"\t" + b64encode(b"v")


def test_where_reading_starts(broker, topic):
    ask(broker, "produce", topic, *"abcde")
    assert read(broker, topic) == []
    assert read(broker, topic, "--last", "2") == ["d", "e"]
    assert read(broker, topic, "--last", "9") == list("abcde")
    assert read(broker, topic, "--partition", "0", "--offset", "3") == ["d", "e"]
    assert read(broker, topic, "--since", "1h") == list("abcde")
    assert read(broker, topic, "--since", "2999-01-01T00:00:00Z") == []
    assert read(broker, topic, "--from-beginning", "--max", "1") == ["a"]


def test_an_offset_beyond_the_end_says_so(broker, topic):
    said = ask(broker, "consume", topic, "--partition", "0", "--offset", "99", code=1)
    assert said == f"Error: {topic}-0 at offset 99: there is no such offset (any more, or yet)\n"


def test_producing_makes_a_topic_and_consuming_does_not(broker):
    assert "there is no topic fresh: `rafka topic list` shows" in ask(broker, "consume", "fresh", code=1)
    ask(broker, "produce", "fresh", "x")
    assert read(broker, "fresh", "--from-beginning") == ["x"]


def test_a_group_goes_on_where_it_was_and_can_be_rewound(broker, topic):
    grouped = [topic, "--group", f"g-{topic}", "--from-beginning"]
    ask(broker, "produce", topic, "a", "b")
    assert read(broker, *grouped) == ["a", "b"]
    ask(broker, "produce", topic, "c")
    assert read(broker, *grouped) == ["c"]
    listed = json.loads(ask(broker, "group", "list", "--json"))
    row = {"group": f"g-{topic}", "state": "Empty", "type": "classic", "protocol": "consumer"}
    assert row in listed
    described = json.loads(ask(broker, "group", "describe", f"g-{topic}", "--json"))
    assert [(p["committed"], p["end"], p["lag"]) for p in described["partitions"]] == [(3, 3, 0)]
    ask(broker, "group", "reset-offsets", f"g-{topic}", "--to-offset", "1", "--execute")
    assert read(broker, *grouped) == ["b", "c"]
    assert ask(broker, "group", "delete", f"g-{topic}") == f"deleted g-{topic}\n"
    assert "there is no group" in ask(broker, "group", "describe", f"g-{topic}", code=1)


class Background:
    """A command that goes on until it is ended, and its standard output."""

    def __init__(self, broker, *words, **how):
        command = [sys.executable, "-m", "rafka", *words, "--bootstrap", broker.bootstrap]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
        self.process = subprocess.Popen(command, **pipes | how)

    def __enter__(self):
        return self.process

    def __exit__(self, *_error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def test_new_records_are_shown_as_they_come_and_ctrl_c_is_quiet(broker, topic):
    with Background(broker, "consume", topic, "--from-beginning") as consumer:
        for value in ("first", "second"):
            ask(broker, "produce", topic, value)
            assert consumer.stdout.readline() == f"{value}\n"
        consumer.send_signal(signal.SIGINT)
        assert consumer.communicate(timeout=PATIENCE_S) == ("", "")
        assert consumer.returncode == 130


def test_a_slow_pipe_is_sent_line_by_line(broker, topic):
    with Background(broker, "produce", topic, stdin=subprocess.PIPE) as producer:
        producer.stdin.write("first\n")
        producer.stdin.flush()
        until(lambda: read(broker, topic, "--from-beginning") == ["first"], "the line is sent")
        producer.stdin.write("second\n")
        assert producer.communicate(timeout=PATIENCE_S) == (f"sent 2 record(s) to {topic}\n", "")


@pytest.mark.parametrize("words", [[], ["--json"], ["--group", "g-pipe"]])
def test_a_reader_that_goes_away_ends_it_quietly(broker, topic, words):
    ask(broker, "produce", topic, input="x" * 100 + "\n", text=True)
    with Background(broker, "consume", topic, "--from-beginning", *words) as consumer:
        consumer.stdout.readline()
        consumer.stdout.close()
        ask(broker, "produce", topic, "y")
        assert consumer.wait(PATIENCE_S) == 141
        assert consumer.stderr.read() == ""
        consumer.stdout = None


def test_two_members_share_the_partitions_and_the_survivor_takes_all(broker):
    ask(broker, "topic", "create", "shared", "--partitions", "2")
    words = ["consume", "shared", "--group", "g-shared", "--from-beginning", "--places"]

    def owners():
        shown = rafka("group", "describe", "g-shared", "--json", "--bootstrap", broker.bootstrap)
        rows = json.loads(shown.stdout)["partitions"] if shown.returncode == 0 else []  # not there yet
        return [row["member_id"] for row in rows if row["partition"] is not None]

    with Background(broker, *words) as one, Background(broker, *words) as other:
        until(lambda: len(set(owners()) - {None}) == 2, "each has a partition")
        other.send_signal(signal.SIGINT)
        other.communicate(timeout=PATIENCE_S)
        until(lambda: len(owners()) == 2 and len(set(owners()) - {None}) == 1, "one has both")
        ask(broker, "produce", "shared", "--partition", "1", "late")
        assert one.stdout.readline() == "1:0\tlate\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
def test_who_types_records_is_told_how_to_end(broker, topic):
    ours, theirs = os.openpty()
    try:
        with Background(broker, "produce", topic, stdin=theirs) as producer:
            assert producer.stderr.readline() == "each line is a record; Ctrl-D ends\n"
            os.write(ours, b"typed\n\x04")
            assert producer.communicate(timeout=PATIENCE_S)[0] == f"sent 1 record(s) to {topic}\n"
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
def test_a_terminal_gets_a_drawn_table(broker, topic):
    ours, theirs = os.openpty()
    try:
        command = [sys.executable, "-m", "rafka", "topic", "list", "--bootstrap", broker.bootstrap]
        subprocess.run(command, stdout=theirs, env=ENVIRONMENT | {"TERM": "dumb"}, check=True, timeout=60)
        drawn = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "─" in drawn
    assert topic in drawn
