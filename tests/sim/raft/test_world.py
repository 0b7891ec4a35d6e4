"""The Raft world: correct replicas keep every promise, a seed is a history, every fault strikes, and the oracle sees."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from rafka.cli.sim import sim
from rafka.core.raft.batch import DATA, Batch
from rafka.core.raft.effects import AppendLog, Election, SaveElection, SaveSnapshot, Snapshot, TruncateLog
from rafka.core.raft.messages import FetchRequest, SnapshotId, VoteResponse
from rafka.core.raft.settings import MS
from rafka.core.raft.voters import NOBODY, ReplicaKey
from rafka.sim.chance import Chance
from rafka.sim.raft.disk import Disk
from rafka.sim.raft.knobs import FAULTS, draw_knobs
from rafka.sim.raft.many import run_many
from rafka.sim.raft.nemesis import TIMED
from rafka.sim.raft.oracle import Broken, Oracle
from rafka.sim.raft.run import run
from rafka.sim.raft.world import World


def test_correct_replicas_keep_every_promise() -> None:
    total = run_many(range(1, 81), 1, None, lambda outcome: None)
    assert total.failed == []
    assert set(FAULTS) - {"reorder", "torn"} <= set(total.fired), "every kind of fault has struck"
    for invariant in ("RA1", "RA2", "RA3", "RA4", "RA5", "RA6", "RA7", "RA8", "RA9", "RA11", "RA12", "RA13"):
        assert total.checked[invariant] > 20, invariant
    assert total.checked["LV"] == 80
    assert total.checked["J"] > 100


def test_a_seed_is_a_history() -> None:
    one, other = run(7), run(7)
    assert one.trace_hash == other.trace_hash
    assert one.events == other.events
    assert run(8).trace_hash != one.trace_hash


def test_a_history_does_not_depend_on_the_hash_seed() -> None:
    code = "from rafka.sim.raft.run import run; print([run(seed).trace_hash for seed in (3, 5, 18)])"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(said) == 1


def test_without_faults_one_leader_leads_for_ever() -> None:
    knobs = draw_knobs(Chance(1, "knobs"), {"voters": 3, "observers": 1})
    knobs.faults.clear()
    world = World(1, knobs)
    world.run(30_000 * MS)
    assert len(world.oracle.leaders) == 1
    assert world.committed_writes > 100


def test_a_partition_without_a_majority_commits_nothing() -> None:
    knobs = draw_knobs(Chance(1, "knobs"), {"voters": 3, "observers": 0})
    knobs.faults.clear()
    world = World(1, knobs)
    world.run(2_000 * MS)
    world.blocked = dict.fromkeys(world.blocked, 0b1111)
    world.run(4_000 * MS)
    before = world.oracle.committed
    world.run(20_000 * MS)
    assert world.oracle.committed == before
    assert world.leader() is None, "who has no majority resigns"


# ---- the disk --------------------------------------------------------------------------------------


def batch(base, epoch=1):
    return Batch(base, base + 1, epoch, DATA, base)


def test_a_crash_keeps_a_prefix_of_what_was_asked_for() -> None:
    seen = set()
    for draw in (0.0, 0.3, 0.5, 0.99):
        disk = Disk(NOBODY)
        disk.logs.extend(
            [AppendLog((batch(0), batch(1)), 1), TruncateLog(1, 2), AppendLog((batch(1, 2),), 3)]
        )
        disk.crash(lambda draw=draw: draw, torn=0.0)
        seen.add(tuple((b.base_offset, b.epoch) for b in disk.batches))
    assert seen == {(), ((0, 1), (1, 1)), ((0, 1),), ((0, 1), (1, 2))}


def test_a_torn_write_keeps_whole_batches() -> None:
    disk = Disk(NOBODY)
    disk.logs.append(AppendLog((batch(0), batch(1), batch(2)), 1))
    draws = iter([0.0, 0.0, 0.0, 0.5])
    disk.crash(lambda: next(draws), torn=0.9)
    assert [b.base_offset for b in disk.batches] == [0]
    assert disk.end_offset == 1


def test_a_sync_covers_what_was_asked_for_before_it() -> None:
    disk = Disk(NOBODY)
    disk.elections.extend([SaveElection(Election(1), 1), SaveElection(Election(2), 2)])
    disk.election_flight = 1
    assert disk.election_done() == 1
    assert disk.election == Election(1)


def test_a_snapshot_that_is_durable_stands_for_what_is_below_it() -> None:
    disk = Disk(NOBODY)
    disk.logs.append(SaveSnapshot(Snapshot(SnapshotId(9, 1), b"x", NOBODY), 1))
    disk.log_flight = 1
    disk.log_done()
    assert disk.end_offset == 9


# ---- the oracle --------------------------------------------------------------------------------------


@pytest.fixture
def world():
    knobs = draw_knobs(Chance(1, "knobs"), {"voters": 3, "observers": 0})
    knobs.faults.clear()
    made = World(1, knobs)
    made.run(3_000 * MS)
    return made


def broken(invariant, call, *args):
    with pytest.raises(Broken) as caught:
        call(*args)
    assert caught.value.invariant == invariant


def test_the_oracle_sees_a_promise_that_is_not_durable(world) -> None:
    one = world.members[1]
    key = ReplicaKey(1, one.key.directory_id)
    end, epoch = one.disk.end_offset, one.disk.election.epoch
    fetch = FetchRequest(1, 2, 1, epoch, key, end + 1, epoch, 0, 0)
    broken("RA9", world.oracle.sends, one, fetch)
    broken("RA9", world.oracle.sends, one, FetchRequest(1, 2, 1, epoch + 1, key, end, epoch, 0, 0))
    other = 2 if one.disk.election.voted is None or one.disk.election.voted.id != 2 else 3
    broken("RA9", world.oracle.sends, one, VoteResponse(1, other, 1, epoch, -1, True, False))


def test_the_oracle_sees_another_history(world) -> None:
    one = world.members[1]
    at = one.applied_offset
    broken("RA4", world.oracle.applies, one, batch(at + 1))
    world.oracle.applies(one, Batch(at, at + 1, 9, DATA, 10**9))
    two = world.members[2]
    while two.applied_offset < at:
        two.applied_offset, two.applied_chain = at, world.oracle.history[at]
    two.applied_offset, two.applied_chain = at, world.oracle.history[at]
    broken("RA4", world.oracle.applies, two, Batch(at, at + 1, 9, DATA, 10**9 + 1))


def test_the_oracle_sees_a_cut_below_what_is_committed(world) -> None:
    follower = next(m for m in world.members.values() if m.role == "follower")
    broken("RA5", world.oracle.cuts, follower, follower.high_watermark - 1)
    broken("RA5", world.oracle.cuts, world.leader(), world.leader().raft.log.end_offset)


def test_the_oracle_sees_a_stale_read() -> None:
    oracle = Oracle()
    oracle.read_done(5, 5)
    broken("J", oracle.read_done, 4, 5)
    broken("J", oracle.write_done, 12)


def test_the_nemesis_knows_all_that_is_timed() -> None:
    assert set(TIMED) <= set(FAULTS)


# ---- the command -------------------------------------------------------------------------------------


def test_the_command_runs_one_seed_and_says_what_it_was_like() -> None:
    result = CliRunner().invoke(sim, ["raft", "--seed", "4"])
    assert result.exit_code == 0, result.output
    assert "every promise was kept" in result.output
    assert "events" in result.output


def test_the_command_runs_many_seeds() -> None:
    result = CliRunner().invoke(sim, ["raft", "--seeds", "1..3", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["seeds"], told["failed"]) == (3, [])


def test_the_command_tells_everything_on_request() -> None:
    result = CliRunner().invoke(sim, ["raft", "--seed", "4", "--time", "100", "--tell"])
    assert "is leader in epoch" in result.output


def test_the_command_wants_one_of_two() -> None:
    assert CliRunner().invoke(sim, ["raft"]).exit_code == 2
