"""`rafka check`: the verdict in words and as JSON, and its exit codes."""

import json

from click.testing import CliRunner

from rafka.cli.main import rafka
from rafka.sim.check.reader import Recorder
from tests.sim.check.lists import CYCLES
from tests.sim.check.world import World


def check(*arguments, text=None):
    return CliRunner().invoke(rafka, ["check", *map(str, arguments)], input=text)


def written(tmp_path, events):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
    return path


def lost():
    record = Recorder()
    for offset, value in enumerate("ab"):
        record.note(0, "invoke", "send", [["send", "orders-0", value]])
        record.note(0, "ok", "send", [["send", "orders-0", [offset, value]]])
    record.note(1, "invoke", "poll", [["poll"]])
    record.note(1, "ok", "poll", [["poll", {"orders-0": [[1, "b"]]}]])
    return record.events


def test_a_valid_history_exits_with_0(tmp_path):
    answer = check(written(tmp_path, World(1).events))
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith("valid: judged as log (")


def test_a_violation_exits_with_1_and_is_proved(tmp_path):
    answer = check(written(tmp_path, lost()))
    assert answer.exit_code == 1
    assert answer.output.splitlines() == [
        "not valid: lost-write; judged as log (7 lines, 2 sends, 1 records read)",
        "",
        "lost-write, 1 case(s)",
        "  'a' at offset 0 of orders-0 was never read, though offset 1 was",
        "    lines 2–3: process 0 send: sent 'a' to orders-0 at 0 (ok)",
        "    lines 6–7: process 1 poll: read 'b' at 1 of orders-0 (ok)",
    ]


def test_the_verdict_as_json(tmp_path):
    answer = check(written(tmp_path, lost()), "--json")
    assert answer.exit_code == 1
    verdict = json.loads(answer.stdout)
    assert verdict["valid"] is False
    assert verdict["violations"] == ["lost-write"]
    (anomaly,) = verdict["anomalies"]
    assert [op["lines"] for op in anomaly["cases"][0]["operations"]] == [[2, 3], [6, 7]]


def test_it_reads_standard_input_and_allows_what_is_allowed():
    text = "\n".join(map(json.dumps, lost()))
    assert check("-", text=text).exit_code == 1
    answer = check("-", "--allow", "lost-write", text=text)
    assert answer.exit_code == 0
    assert "lost-write, 1 case(s), allowed" in answer.output


def test_to_allow_what_is_no_anomaly_exits_with_2(tmp_path):
    answer = check(written(tmp_path, lost()), "--allow", "lost-writes")
    assert answer.exit_code == 2
    assert "there is no anomaly lost-writes to be allowed: is it lost-write?" in answer.output
    answer = check(written(tmp_path, [{"history": 1, "allow": ["zzz"]}, *lost()[1:]]))
    assert answer.exit_code == 2
    assert "line 1: there is no anomaly zzz to be allowed; there are G-nonadjacent, " in answer.output
    assert check(written(tmp_path, lost()), "--allow", "lost-write", "--allow", "G2-realtime").exit_code == 0


def test_what_cannot_be_read_exits_with_2(tmp_path):
    path = written(tmp_path, [{"process": 0, "type": "ok", "f": "send"}])
    answer = check(path)
    assert answer.exit_code == 2
    assert "line 1: process 0 completes send (ok) without having invoked it" in answer.output
    path.write_bytes(b"\xff\xfe")
    assert check(path).exit_code == 2
    assert check(tmp_path / "nowhere").exit_code == 2
    assert check(written(tmp_path, lost()), "--model", "tape").exit_code == 2
    assert check(written(tmp_path, [])).exit_code == 2
    assert check(written(tmp_path, CYCLES["G2"]), "--model", "log").exit_code == 2


def test_transactions_are_judged_by_a_level_of_isolation(tmp_path):
    path = written(tmp_path, CYCLES["G2"])
    answer = check(path)
    assert answer.exit_code == 1
    assert "not valid: G2; judged as txn" in answer.output
    assert "T1 read what was overwritten by T2, but T2 read what was overwritten by T1" in answer.output
    assert check(path, "--isolation", "snapshot-isolation").exit_code == 0


def test_a_search_that_is_given_up_exits_with_3(tmp_path):
    events = [{"process": p, "type": "invoke", "f": "write", "value": p} for p in range(6)]
    events += [{"process": p, "type": "ok", "f": "write"} for p in range(6)]
    events += [
        {"process": 9, "type": "invoke", "f": "read"},
        {"process": 9, "type": "ok", "f": "read", "value": 9},
    ]
    assert check(written(tmp_path, events)).exit_code == 1
    answer = check(written(tmp_path, events), "--budget", 5)
    assert answer.exit_code == 3
    assert "unknown: register: not decided after 5 states" in answer.output
