import json

import pytest
from click.testing import CliRunner

from rafka.cli import doctor as doctor_module
from rafka.cli.main import rafka
from rafka.io import choose, datadir


def examine(*arguments):
    answer = CliRunner().invoke(rafka, ["doctor", "--json", *arguments])
    assert answer.exit_code == 0
    return json.loads(answer.stdout)


def test_the_report_measures_the_data_directory_and_leaves_nothing_there(tmp_path):
    report = examine("--data-dir", str(tmp_path))
    assert report["measured_dir"] == str(tmp_path)
    assert report["sync_latency_ms"] >= 0
    assert report["disk_trouble"] is None
    assert 0 < report["open_files_soft"] <= report["open_files_hard"]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_data_directory_is_not_made_its_parent_is_measured(tmp_path):
    report = examine("--data-dir", str(tmp_path / "a" / "b"))
    assert report["measured_dir"] == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_reported_not_raised(tmp_path, monkeypatch):
    def refuse(**_where):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor_module.tempfile, "TemporaryFile", refuse)
    report = examine("--data-dir", str(tmp_path))
    assert report["sync_latency_ms"] is None
    assert report["disk_trouble"] == f"{tmp_path}: Read-only file system"


def test_the_plain_report_has_a_line_for_each_fact_and_says_what_it_means(tmp_path):
    answer = CliRunner().invoke(rafka, ["doctor", "--data-dir", str(tmp_path)])
    lines = answer.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["fact", *examine("--data-dir", str(tmp_path))]
    assert [
        line for line in lines if "the least that an acknowledgement takes" in line or "slow: flush" in line
    ]


@pytest.mark.parametrize("works", [True, False])
def test_the_driver_is_the_one_that_a_broker_would_choose(tmp_path, monkeypatch, works):
    monkeypatch.setattr(choose, "_probe", lambda: None if works else "io_uring is forbidden here")
    report = examine("--data-dir", str(tmp_path))
    chosen = choose.choose("auto")
    assert (report["driver"], report["driver_reason"]) == (chosen.name, chosen.reason)
    assert report["driver"] == ("uring" if works else "trio")
    plain = CliRunner().invoke(rafka, ["doctor", "--data-dir", str(tmp_path)]).stdout
    assert ("io_uring works here" if works else "falls back to trio") in plain


@pytest.mark.parametrize(
    ("name", "fact", "part"),
    [
        ("open_files_hard", 1024, "low: raise it to 4096"),
        ("open_files_hard", -1, ""),
        ("open_files_soft", 1024, "raises it"),
        ("sync_latency_ms", 50.0, "slow"),
        ("sync_latency_ms", None, ""),
        ("free_bytes", 0, "refuse to start"),
        ("free_bytes", (1 << 20) - 1, "refuse to start"),
        ("free_bytes", 1 << 20, "less than one segment"),
        ("free_bytes", 1 << 30, ""),
        ("free_bytes", None, ""),
        ("disk_trouble", "x: Read-only file system", "refuse to start"),
    ],
)
def test_what_is_short_is_said_with_its_remedy(name, fact, part):
    report = {"open_files_hard": 4096} | {name: fact}
    said = doctor_module.meaning(report, name)
    assert part in said if part else said == ""


def test_what_is_as_good_as_full_is_what_a_broker_refuses():
    assert doctor_module.FULL_BYTES == datadir.SPACE_BYTES_MIN
