"""The data directory: made whole or not at all, used by one, and refused in one sentence with nothing touched."""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.io import datadir
from rafka.io.datadir import DataDirError, open_data_dir, properties, random_uuid, uuid_text

HOLD = """
import sys
from rafka.io.datadir import open_data_dir
held = open_data_dir(sys.argv[1], None)
print(held.cluster_id, flush=True)
sys.stdin.read()
"""
HOLD_AS_JAVA = """
import fcntl, sys
file = open(sys.argv[1] + "/.lock", "r+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print(flush=True)
sys.stdin.read()
"""
WHOLE = "#\n#Tue Mar 03 10:00:00 UTC 2026\nnode.id=7\ndirectory.id=rHnhdadkRHe6TaxGiEI_DA\nversion=1\ncluster.id=cmFma2FfcGVlcnNfMDAwMQ\n"


def contents(path):
    return {p.relative_to(path): p.read_bytes() if p.is_file() else None for p in Path(path).rglob("*")}


def names(path):
    return sorted(p.name for p in path.iterdir())


def refusal(path, node_id=None):
    """The sentence; and whatever was there is still there, and nothing else."""
    before = contents(path)
    with pytest.raises(DataDirError) as caught:
        open_data_dir(str(path), node_id)
    assert contents(path) == before
    sentence = str(caught.value)
    assert sentence.startswith(f"data directory {path} ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"data directory {path} ")


@contextlib.contextmanager
def other_process(source, path):
    command = [sys.executable, "-c", source, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child.stdout.readline().strip()
        finally:
            child.stdin.close()
            assert child.wait(30) == 0


@contextlib.contextmanager
def as_nobody():
    """Root may write anywhere: step down for a moment."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public():
    """A directory that others may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)
        Path(path).chmod(0o755)


def test_a_new_directory_is_made_with_its_parents_and_found_again(tmp_path):
    path = tmp_path / "a" / "b"
    first = open_data_dir(str(path), None)
    assert (first.path, first.node_id, first.is_new) == (str(path), 1, True)
    assert len(first.directory_id) == 16
    assert names(path) == [".lock", "meta.properties"]
    assert (path / "meta.properties").read_text() == (
        f"#\nversion=1\ncluster.id={first.cluster_id}\nnode.id=1\ndirectory.id={uuid_text(first.directory_id)}\n"
    )
    first.close()
    again = open_data_dir(str(path), 1)
    assert (again.cluster_id, again.node_id, again.directory_id, again.is_new) == (
        first.cluster_id,
        1,
        first.directory_id,
        False,
    )
    again.close()
    again.close()


def test_a_new_directory_takes_the_node_id_it_is_given(tmp_path):
    found = open_data_dir(str(tmp_path / "d"), 42)
    assert found.node_id == 42
    found.close()


def test_a_relative_path_stays_right_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = open_data_dir("./data", None)
    assert found.path == str(tmp_path / "data")
    found.close()


@pytest.mark.parametrize("left_over", [[".lock"], [".lock", "meta.properties.tmp"], ["lost+found"]])
def test_what_a_crash_or_mkfs_left_behind_counts_as_new(tmp_path, left_over):
    for name in left_over:
        (tmp_path / name).write_text("half")
    found = open_data_dir(str(tmp_path), None)
    assert found.is_new
    assert "meta.properties.tmp" not in names(tmp_path)
    found.close()


def test_a_directory_that_kafka_formatted_is_read(tmp_path):
    (tmp_path / "meta.properties").write_text(WHOLE)
    found = open_data_dir(str(tmp_path), 7)
    assert (found.cluster_id, found.node_id, found.is_new) == ("cmFma2FfcGVlcnNfMDAwMQ", 7, False)
    assert found.directory_id.hex() == "ac79e175a7644477ba4dac4688423f0c"
    assert (tmp_path / "meta.properties").read_text() == WHOLE
    found.close()


def test_a_directory_without_an_id_of_its_own_is_given_one(tmp_path):
    (tmp_path / "meta.properties").write_text("version=1\ncluster.id=us\\:\\\\east\nnode.id=3\n")
    first = open_data_dir(str(tmp_path), None)
    assert (first.cluster_id, first.is_new) == ("us:\\east", False)
    first.close()
    again = open_data_dir(str(tmp_path), None)
    assert (again.cluster_id, again.directory_id) == (first.cluster_id, first.directory_id)
    again.close()


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / "d"
    with other_process(HOLD, path) as cluster_id:
        assert refusal(path) == "is in use by another process: stop that one, or choose another directory"
    found = open_data_dir(str(path), None)
    assert found.cluster_id == cluster_id
    found.close()


def test_a_second_use_by_the_same_process_is_refused_too(tmp_path):
    first = open_data_dir(str(tmp_path), None)
    for _ in range(2):
        assert refusal(tmp_path).startswith("is in use")
    first.close()
    open_data_dir(str(tmp_path), None).close()


def test_a_kafka_that_runs_in_the_directory_keeps_us_out(tmp_path):
    open_data_dir(str(tmp_path), None).close()
    with other_process(HOLD_AS_JAVA, tmp_path):
        assert refusal(tmp_path).startswith("is in use")


@pytest.mark.parametrize(
    "text, node_id, sentence",
    [
        (WHOLE, 8, "belongs to node 7, not to node 8: give that node id, or choose another directory"),
        (
            WHOLE.replace("version=1", "version=2"),
            None,
            "has version 2, and this Rafka knows none above 1: use a newer Rafka",
        ),
        (
            "version=0\nbroker.id=7\n",
            None,
            "has version 0, of a Kafka with ZooKeeper, which cannot be used: choose another",
        ),
        (
            WHOLE.replace("version=1", "version=x"),
            None,
            "has a damaged meta.properties (no usable version): restore that file from a backup",
        ),
        (
            WHOLE.replace("node.id=7", "node.id=-1"),
            None,
            "has a damaged meta.properties (no usable node.id): restore that file from a backup",
        ),
        (
            WHOLE.replace("cluster.id=", "cluster="),
            None,
            "has a damaged meta.properties (no usable cluster.id): restore that file from a backup",
        ),
        (
            WHOLE.replace("_DA", "*!"),
            None,
            "has a damaged meta.properties (no usable directory.id): restore that file from a backup",
        ),
        ("", None, "has a damaged meta.properties (no usable version): restore that file from a backup"),
    ],
)
def test_a_directory_that_is_not_for_us_is_refused(tmp_path, text, node_id, sentence):
    (tmp_path / "meta.properties").write_text(text)
    (tmp_path / "orders-0").mkdir()
    assert refusal(tmp_path, node_id) == sentence


def test_a_directory_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert (
        refusal(tmp_path)
        == "holds 'thesis.tex' but no meta.properties, so it is not a data directory: choose an empty or a new one"
    )


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "d").write_text("")
    assert refusal(tmp_path / "d") == "is not a directory: choose another"
    assert refusal(tmp_path / "d" / "e") == "is not a directory: choose another"


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_directory_that_cannot_be_written_is_refused(public, mode, below):
    path = public / "sub" if below else public
    public.chmod(mode)
    with as_nobody(), pytest.raises(DataDirError) as caught:
        open_data_dir(str(path), None)
    assert f"data directory {path} cannot be written by user " in str(caught.value)
    assert names(public) == []


def test_a_whole_directory_that_cannot_be_written_is_refused(public):
    open_data_dir(str(public), None).close()
    public.chmod(0o555)
    (public / ".lock").chmod(0o666)
    with as_nobody(), pytest.raises(DataDirError, match="cannot be written by user"):
        open_data_dir(str(public), None)


def test_a_disk_that_takes_no_bytes_leaves_no_half_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(DataDirError, match="cannot be used: File too large"):
            open_data_dir(str(tmp_path), None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == [".lock"]
    found = open_data_dir(str(tmp_path), None)
    assert found.is_new
    found.close()


def test_the_file_is_synced_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(fd):
        steps.append(("fsync", Path(f"/proc/self/fd/{fd}").readlink().name))
        fsync(fd)

    def spy_replace(old, new):
        steps.append(("replace", new.rpartition("/")[2]))
        replace(old, new)

    monkeypatch.setattr(datadir.os, "fsync", spy_fsync)
    monkeypatch.setattr(datadir.os, "replace", spy_replace)
    open_data_dir(str(tmp_path / "d"), None).close()
    assert steps == [
        ("fsync", tmp_path.name),
        ("fsync", "meta.properties.tmp"),
        ("replace", "meta.properties"),
        ("fsync", "d"),
    ]


def test_fresh_uuids_are_of_version_4_and_never_look_like_options():
    drawn = [random_uuid() for _ in range(500)]
    assert len(set(drawn)) == 500
    assert {(raw[6] >> 4, raw[8] >> 6) for raw in drawn} == {(4, 2)}
    assert not any(uuid_text(raw).startswith("-") for raw in drawn)
    assert {len(uuid_text(raw)) for raw in drawn} == {22}


@given(st.text(max_size=200))
def test_any_text_can_be_looked_through_for_properties(text):
    for key, found in properties(text).items():
        assert isinstance(key, str)
        assert isinstance(found, str)


@given(st.binary(max_size=300))
def test_a_directory_with_any_meta_properties_is_used_or_refused(junk):
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / "meta.properties").write_bytes(junk)
        with pytest.raises(DataDirError):
            open_data_dir(path, None)
