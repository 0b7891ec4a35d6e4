"""`rafka run` as a process: what it prints, how it ends, and what it refuses to begin."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.cli.process import ENVIRONMENT, rafka, running


def tree(path):
    """Everything below a directory: names, and the contents of files."""
    return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else None for p in path.rglob("*")}


def refused(data_dir, *words, **how):
    """Start a broker that cannot start; the one sentence that it says."""
    ended = rafka("run", "--data-dir", data_dir, *words, **how)
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_says_where_it_is_and_a_signal_ends_it_with_0(tmp_path, number):
    with running(tmp_path / "data") as broker:
        host, _, port = broker.bootstrap.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        assert broker.stop(number) == 0
        assert broker.out == f"Rafka is ready: bootstrap.servers={broker.bootstrap}\n"
        assert not broker.ready.exists()
        with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port))):
            pass


@pytest.mark.parametrize("driver", ["auto", "trio"])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_acknowledged_is_there_after_a_restart(tmp_path, end, driver):
    data = tmp_path / "data"
    with running(data, "--driver", driver) as broker:
        sent = rafka("produce", "orders", "a", "b", "--bootstrap", broker.bootstrap)
        assert sent.returncode == 0, sent.stderr
        getattr(broker, end)()
    with running(data, "--driver", driver) as broker:
        read = ["consume", "orders", "--from-beginning", "--max", "2", "--bootstrap", broker.bootstrap]
        assert rafka(*read).stdout == "a\nb\n"


def test_the_ready_file_is_the_running_brokers_alone(tmp_path):
    data = tmp_path / "data"
    with running(data) as broker:
        refused(data, "--listen", "127.0.0.1:0", "--ready-file", broker.ready)
        assert broker.ready.read_text("utf-8") == f"{broker.bootstrap}\n"
        broker.kill()
    assert broker.ready.exists()
    (data / "__cluster_metadata-0").rename(tmp_path / "elsewhere")
    (data / "__cluster_metadata-0").touch()
    failed = rafka("run", "--data-dir", data, "--listen", "127.0.0.1:0", "--ready-file", broker.ready)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1] == "Error: __cluster_metadata-0 cannot be opened"
    assert not broker.ready.exists(), "whoever waits for a broker must not dial the address of a dead one"


def test_settings_come_from_the_file_and_the_line_and_are_obeyed(tmp_path):
    config = tmp_path / "rafka.toml"
    config.write_text("num.partitions = 2\n[log]\nretention.ms = 60000\n", "utf-8")
    words = ["--config", config, "--set", "num.partitions=3", "--node-id", "7"]
    with running(tmp_path / "data", *words) as broker:
        made = rafka("topic", "create", "t", "--json", "--bootstrap", broker.bootstrap)
        assert json.loads(made.stdout)["partitions"] == 3
        shown = rafka("topic", "describe", "t", "--json", "--bootstrap", broker.bootstrap)
        assert {row["leader"] for row in json.loads(shown.stdout)["partitions"]} == {7}


def test_clients_are_told_the_advertised_address(tmp_path):
    with running(tmp_path / "data", "--advertise", "localhost:1234") as broker:
        told = rafka("produce", "t", "x", "--bootstrap", broker.bootstrap)
    assert told.returncode == 1
    assert "localhost:1234" in told.stderr


def test_the_journal_can_be_json_and_has_levels(tmp_path):
    with running(tmp_path / "data", "--log-format", "json") as broker:
        broker.stop()
    notes = [json.loads(line) for line in broker.err.splitlines()]
    assert {"starting", "serving", "stopped"} <= {note["name"] for note in notes}
    with running(tmp_path / "data", "--log-level", "error") as broker:
        broker.stop()
    assert broker.err == ""


def test_a_second_process_on_the_same_data_is_refused(tmp_path):
    data = tmp_path / "data"
    with running(data) as broker:
        before = tree(data)
        sentence = refused(data, "--listen", "127.0.0.1:0")
        assert tree(data) == before
        assert rafka("topic", "list", "--bootstrap", broker.bootstrap).returncode == 0
    assert sentence.startswith(f"data directory {data} is in use by another process")


def test_a_port_in_use_is_named_and_the_directory_not_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = refused(tmp_path / "data", "--listen", address)
    assert sentence == f"cannot listen at {address}: Address already in use; choose another with --listen"
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("address", ["192.0.2.1:0", "nowhere.invalid:0"])
def test_an_address_that_is_not_ours_is_refused_before_the_directory_is_made(tmp_path, address):
    assert refused(tmp_path / "data", "--listen", address).startswith(f"cannot listen at {address}: ")
    assert tree(tmp_path) == {}


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"),
    reason="root may write everywhere, unless setpriv forbids it",
)
@pytest.mark.parametrize("sub", ["", "sub"])
def test_a_directory_that_cannot_be_written_is_refused(tmp_path, sub):
    place = tmp_path / "place"
    place.mkdir(mode=0o555)
    command = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    command += [
        sys.executable,
        "-m",
        "rafka",
        "run",
        "--data-dir",
        str(place / sub),
        "--listen",
        "127.0.0.1:0",
    ]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    where = f"data directory {place / sub} cannot be written by user {os.geteuid()}"
    assert ended.stderr == f"Error: {where}: change its owner, or choose another\n"
    assert tree(place) == {}


def test_a_directory_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    sentence = refused(tmp_path / "file" / "data", "--listen", "127.0.0.1:0")
    assert sentence.endswith("file/data is not a directory: choose another")


def can_mount():
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not can_mount(), reason="needs a mount namespace of its own for a disk that is full")
@pytest.mark.parametrize("full", ["size=8k", "size=8m,nr_inodes=1"])
def test_a_full_disk_is_refused_and_nothing_is_left_on_it(tmp_path, full):
    script = f"""
        mount -t tmpfs -o {full} tmpfs {tmp_path} && cd {tmp_path} || exit 99
        {sys.executable} -m rafka run --data-dir {tmp_path}/data --listen 127.0.0.1:0; code=$?
        ls -A {tmp_path}; exit $code
    """
    command = ["unshare", "-rm", "sh", "-c", script]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    sentence = f"data directory {tmp_path}/data is on a disk that is full: free some space, or choose another"
    assert ended.stderr == f"Error: {sentence}\n"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (
            "version=2\ncluster.id=x\nnode.id=1\n",
            "has version 2, and this Rafka knows none above 1: use a newer",
        ),
        ("version=1\ncluster.id=x\nnode.id=4\n", "belongs to node 4, not to node 1"),
        ("version=1\n", "has a damaged meta.properties"),
    ],
)
def test_a_directory_that_is_not_for_this_broker_is_left_alone(tmp_path, content, part):
    data = tmp_path / "data"
    data.mkdir()
    (data / "meta.properties").write_text(content, "utf-8")
    assert part in refused(data, "--node-id", "1", "--listen", "127.0.0.1:0")
    assert tree(data) == {"meta.properties": content.encode()}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--set", "num.partition=3"],
            "num.partition=3: there is no such setting (did you mean num.partitions?)",
        ),
        (
            ["--set", "retention.ms=3"],
            "there is no such setting (that is a topic's; the broker's is log.retention.ms)",
        ),
        (["--set", "num.partitions=none"], "num.partitions=none: "),
        (["--set", "ssl.keystore.location=x"], "ssl.keystore.location=x: this broker does not speak TLS"),
        (["--config", "no-such-file.toml"], "--config=no-such-file.toml: No such file or directory"),
        (
            ["--set", "cordoned.log.dirs=elsewhere"],
            "elsewhere: All entries in cordoned.log.dirs must be present in log.dirs or log.dir, here ",
        ),
        (["--ready-file", "no/such/directory"], "cannot write the ready file no/such/directory"),
    ],
)
def test_a_setting_that_cannot_be_obeyed_is_named_before_anything_is_touched(tmp_path, words, sentence):
    assert sentence in refused(tmp_path / "data", "--listen", "127.0.0.1:0", *words, cwd=tmp_path)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("missing", ["cramjam", "zstandard"])
def test_a_codec_that_is_not_installed_is_named_before_anything_is_touched(tmp_path, missing):
    without = f"import sys; sys.modules[{missing!r}] = None; from rafka.cli.main import main; main()"
    command = [sys.executable, "-c", without, "run", "--data-dir", str(tmp_path / "data")]
    command += ["--listen", "127.0.0.1:0"]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"Error: compression needs {missing}, not installed here: pip install {missing}\n"
    )
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("where", ["*", "{data}", "data"])
def test_a_cordoned_directory_keeps_its_topics_and_gets_no_more(tmp_path, where):  # KIP-1066
    data = tmp_path / "data"
    with running(data) as broker:
        assert rafka("topic", "create", "old", "--bootstrap", broker.bootstrap).returncode == 0
        broker.stop()
    cordon = "cordoned.log.dirs=" + where.format(data=data)
    with running(data, "--set", cordon, cwd=tmp_path) as broker:
        at = ["--bootstrap", broker.bootstrap]
        made = rafka("topic", "create", "new", *at)
        assert made.returncode == 1
        assert "or have all their log directories cordoned" in made.stderr
        assert rafka("produce", "old", "value", *at).returncode == 0
        assert rafka("consume", "old", "--from-beginning", "--to-end", *at).stdout == "value\n"
        broker.stop()
    assert "the data directory is cordoned" in broker.err


def test_a_setting_that_does_nothing_is_a_warning(tmp_path):
    with running(tmp_path / "data", "--set", "num.io.threads=8") as broker:
        broker.stop()
    assert "num.io.threads does nothing: one thread does this work here" in broker.err
