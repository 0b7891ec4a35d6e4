import sys
from importlib import import_module
from types import ModuleType

import pytest
from click.testing import CliRunner

from rafka.cli.main import rafka
from rafka.core.errors import ConfigError, StorageError

run_module = import_module("rafka.cli.run")


class Broker:
    """Stands for rafka.io.broker: remembers what it was told, then does as asked."""

    def __init__(self, outcome=0):
        self.outcome = outcome
        self.told = None

    def run(self, **told):
        self.told = told
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def start(monkeypatch):
    def start(*arguments, outcome=0):
        broker = Broker(outcome)
        monkeypatch.setattr(run_module, "load_broker", lambda: broker)
        return CliRunner().invoke(rafka, ["run", *arguments]), broker

    return start


def test_the_defaults_are_the_documented_ones(start):
    answer, broker = start()
    assert answer.exit_code == 0
    assert broker.told == {
        "settings": {},
        "data_dir": "./data",
        "listen": "127.0.0.1:9092",
        "advertise": None,
        "node_id": None,
        "driver": "auto",
        "ready_file": None,
        "log_level": "info",
        "log_format": "text",
        "record": None,
        "record_bytes": 1 << 30,
        "about": None,
    }


def test_settings_of_the_file_are_flat_and_those_of_the_line_win(start, tmp_path):
    config = tmp_path / "rafka.toml"
    config.write_text(
        'log.retention.ms = 1000\n"log.segment.bytes" = 4096\nauto.create.topics.enable = false\n'
        'num.partitions = 3\nlog.cleanup.policy = ["compact", "delete"]\n',
        "utf-8",
    )
    answer, broker = start("--config", str(config), "--set", "num.partitions=5", "--set", "a=b=c")
    assert answer.exit_code == 0
    assert broker.told["settings"] == {
        "log.retention.ms": "1000",
        "log.segment.bytes": "4096",
        "auto.create.topics.enable": "false",
        "log.cleanup.policy": "compact,delete",
        "num.partitions": "5",
        "a": "b=c",
    }


def test_the_brokers_exit_code_is_the_commands(start):
    answer, _ = start(outcome=3)
    assert answer.exit_code == 3


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ConfigError("num.partition", "3", "there is no such setting", "did you mean num.partitions?"),
            "num.partition=3: there is no such setting (did you mean num.partitions?)",
        ),
        (StorageError("open", "data", 13, "Permission denied"), "open of data failed: Permission denied"),
    ],
)
def test_a_broker_that_cannot_start_says_one_sentence_and_exits_with_1(start, error, sentence):
    answer, _ = start(outcome=error)
    assert answer.exit_code == 1
    assert answer.stderr == f"Error: {sentence}\n"
    assert answer.stdout == ""


@pytest.mark.parametrize(
    "text", ["9092", "localhost", "host:", ":9092", "host:65536", "host:-1", "::1:9092", "h:\u0661"]
)
@pytest.mark.parametrize("option", ["--listen", "--advertise"])
def test_an_address_that_is_not_host_and_port_is_a_usage_error(start, option, text):
    answer, broker = start(f"{option}={text}")
    assert answer.exit_code == 2
    assert broker.told is None


@pytest.mark.parametrize("text", ["0.0.0.0:0", "localhost:65535", "[::1]:9092"])
def test_addresses_with_names_numbers_and_brackets_are_fine(start, text):
    answer, broker = start("--listen", text)
    assert answer.exit_code == 0
    assert broker.told["listen"] == text


@pytest.mark.parametrize("pair", ["num.partitions", "=3", ""])
def test_a_setting_without_name_or_value_is_a_usage_error(start, pair):
    answer, broker = start("--set", pair)
    assert answer.exit_code == 2
    assert broker.told is None


@pytest.mark.parametrize("content", [None, b"this is not toml", b"\xff\xfe"])
def test_a_config_file_that_cannot_be_read_is_one_sentence(start, tmp_path, content):
    config = tmp_path / "rafka.toml"
    if content is not None:
        config.write_bytes(content)
    answer, broker = start("--config", str(config))
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"Error: --config={config}: ")
    assert answer.stderr.count("\n") == 1
    assert broker.told is None


def test_the_broker_is_imported_from_io(monkeypatch):
    module = ModuleType("rafka.io.broker")
    monkeypatch.setattr(run_module, "find_spec", lambda name: name == "rafka.io.broker" or None)
    monkeypatch.setitem(sys.modules, "rafka.io.broker", module)
    assert run_module.load_broker() is module


def test_a_version_without_a_broker_says_so(monkeypatch):
    monkeypatch.setattr(run_module, "find_spec", lambda _name: None)
    answer = CliRunner().invoke(rafka, ["run"])
    assert answer.exit_code == 1
    assert answer.stderr == "Error: this version of rafka has no broker to run\n"


def test_where_metrics_are_served_is_a_setting_too(start):
    _, broker = start("--metrics-listen", "127.0.0.1:9644")
    assert broker.told["settings"] == {"metrics.listen": "127.0.0.1:9644"}
    _, broker = start("--metrics-listen", "127.0.0.1:9644", "--set", "metrics.listen=127.0.0.1:9644")
    assert broker.told["settings"] == {"metrics.listen": "127.0.0.1:9644"}


def test_two_places_for_metrics_and_none_that_can_be_are_refused(start):
    answer, broker = start("--metrics-listen", "127.0.0.1:9644", "--set", "metrics.listen=127.0.0.1:9645")
    assert answer.exit_code == 1
    assert "contradicts --metrics-listen" in answer.stderr
    assert broker.told is None
    answer, broker = start("--metrics-listen", "9644")
    assert answer.exit_code == 2
    assert "is not host:port" in answer.output
    assert broker.told is None
