"""`rafka log` on files that a broker wrote, whole, torn and damaged."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import rafka.testing
from rafka.cli.main import rafka as command
from rafka.testing.client import produce


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["log", *map(str, arguments)])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that a broker has left: orders-0 with three segments of several batches."""
    path = tmp_path_factory.mktemp("written")
    with rafka.testing.broker(data_dir=str(path)) as b:
        b.create_topic("orders", segment_bytes=1 << 20)
        for number in range(12):
            produce(b.port, "orders", [(f"k{number}".encode(), bytes([number]) * 250_000)], topic_partition=0)
    return path


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "data"))


def segments_of(data: Path) -> list[Path]:
    return sorted((data / "orders-0").glob("*.log"))


def test_a_clean_log_is_good_and_counted(data: Path) -> None:
    result = ran("verify", data / "orders-0", "--deep", "--json")
    assert result.exit_code == 0, result.output
    (report,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert report["findings"] == []
    assert sum(segment["records"] for segment in report["segments"]) == 12
    assert len(report["segments"]) == len(segments_of(data)) > 2


def test_a_data_directory_is_verified_whole(data: Path) -> None:
    result = ran("verify", data)
    assert result.exit_code == 0, result.output
    assert "orders-0" in result.stdout
    assert "__cluster_metadata-0" in result.stdout


def test_dumping_shows_batches_and_records(data: Path) -> None:
    result = ran("dump", data / "orders-0", "--json", "--records", "--from", 3, "--limit", 2)
    assert result.exit_code == 0, result.output
    first, second = [json.loads(line) for line in result.stdout.splitlines()]
    assert (first["base_offset"], second["base_offset"]) == (3, 4)
    assert first["records"][0]["key"] == "k3"
    only = ran("dump", segments_of(data)[1], "--json")
    assert {json.loads(line)["file"] for line in only.stdout.splitlines()} == {segments_of(data)[1].name}


def test_dumping_changes_nothing(data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    ran("dump", data / "orders-0", "--records")
    ran("verify", data, "--deep")
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_a_flipped_bit_is_damage_where_it_is(data: Path) -> None:
    victim = segments_of(data)[1]
    content = bytearray(victim.read_bytes())
    content[300_000] ^= 1
    victim.write_bytes(content)
    result = ran("verify", data / "orders-0")
    assert result.exit_code == 1
    assert f"damage: orders-0/{victim.name} at byte" in result.stderr
    assert "CRC" in result.stderr


def test_a_batch_from_elsewhere_is_damage_though_its_crc_is_right(data: Path) -> None:
    """A misdirected write: bytes of another place that are a whole batch."""
    first, second, *_ = segments_of(data)
    size = int.from_bytes(first.read_bytes()[8:12], "big") + 12
    batch = bytearray(first.read_bytes()[:size])
    content = bytearray(second.read_bytes())
    batch[:8] = content[:8]  # it even claims the offset; the content is another's
    content[:size] = batch
    second.write_bytes(content)
    result = ran("verify", data / "orders-0")
    assert result.exit_code == 1
    assert "other batches than were written" in result.stderr


def test_a_torn_tail_is_a_notice_and_repaired(data: Path) -> None:
    last = segments_of(data)[-1]
    whole = last.read_bytes()
    last.write_bytes(whole + whole[:1000])
    assert "a torn tail of 1000 bytes" in ran("verify", data / "orders-0").stderr
    assert ran("verify", data / "orders-0").exit_code == 0
    result = ran("repair", data / "orders-0")
    assert result.exit_code == 0, result.output
    assert last.read_bytes() == whole


def test_damage_is_given_up_only_when_told_to(data: Path, tmp_path: Path) -> None:
    victim = segments_of(data)[1]
    content = bytearray(victim.read_bytes())
    content[300_000] ^= 1
    victim.write_bytes(content)
    refused = ran("repair", data / "orders-0")
    assert refused.exit_code == 1
    assert "--cut" in refused.output
    assert victim.read_bytes() == content
    assert ran("repair", data / "orders-0", "--cut").exit_code == 2
    result = ran("repair", data / "orders-0", "--cut", "--keep-in", tmp_path / "kept")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "kept" / "orders-0" / victim.name).read_bytes() == content
    assert ran("verify", data / "orders-0", "--deep").exit_code == 0
    with rafka.testing.broker(data_dir=str(data)) as b:
        kept = b.records("orders")
        assert [key for key, _ in kept] == [f"k{number}".encode() for number in range(len(kept))]
        assert 0 < len(kept) < 12


def test_a_broker_that_holds_the_directory_is_left_alone(data: Path) -> None:
    with rafka.testing.broker(data_dir=str(data)):
        result = ran("repair", data / "orders-0")
        assert result.exit_code == 1
        assert "in use" in result.output or "another" in result.output


def test_wrong_paths_say_what_is_wrong(tmp_path: Path) -> None:
    assert ran("dump", tmp_path / "nowhere").exit_code == 2
    (tmp_path / "plain").mkdir()
    result = ran("verify", tmp_path / "plain")
    assert result.exit_code == 1
    assert "neither a partition's directory" in result.output
    file = tmp_path / "text.txt"
    file.write_text("x")
    assert ran("dump", file).exit_code == 2
