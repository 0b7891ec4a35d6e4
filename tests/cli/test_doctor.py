import json

from click.testing import CliRunner

from rafka.cli import doctor as doctor_module
from rafka.cli.main import rafka


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


def test_the_plain_report_has_a_line_for_each_fact(tmp_path):
    answer = CliRunner().invoke(rafka, ["doctor", "--data-dir", str(tmp_path)])
    assert [line.split()[0] for line in answer.stdout.splitlines()] == list(
        examine("--data-dir", str(tmp_path))
    )
