"""A recorded broker goes on in the simulator, from any turn, with what its disk then held."""

import errno

import pytest

from rafka.core.effects import List, MakeDir, Read, Sync, Write
from rafka.core.events import Connected, Disconnected, Done, Entry, Failed, Listed, Loaded, Synced, Written
from rafka.core.recording.format import RecordingError, Turn
from rafka.core.types import File, MonoNs, Now, Token, WallMs
from rafka.sim.forking import ForkedRun, ForkedWorld, Shadow, fork_at
from rafka.sim.profile import profile_of
from rafka.sim.replaying import Chain, Replay, lives_in
from tests.recording.support import replayed

LOG = File("t-0/0.log")


@pytest.fixture(scope="module")
def life(calm):
    return lives_in(str(calm))[0]


def fork(chain, until, data_dir=None):
    run = Replay(chain)
    return fork_at(run.turns(until_turn=until), run, data_dir)


def go_on(chain, until, seed, profile="default", time_ms=800):
    return ForkedRun(seed, profile_of(profile), fork(chain, until), time_ms=time_ms).outcome()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_it_goes_on_from_any_turn_and_keeps_its_promises_under_faults(life, share):
    until = max(1, int(replayed(life).turn * share))
    struck = acknowledged = 0
    for seed in range(2):
        outcome = go_on(life, until, seed)
        assert outcome.violation == ""
        acknowledged += outcome.checked.get("acknowledged", 0)
        struck += sum(outcome.fired.values())
    assert struck > 5
    assert acknowledged > 10


@pytest.mark.parametrize("seed", range(3))
def test_a_log_that_failed_before_the_fork_is_no_violation_after_it(life, seed):
    forked = fork(life, replayed(life).turn // 2)
    broker, offsets = forked.replay.broker, "__consumer_offsets-0"
    log = broker.core.partitions.find("__consumer_offsets", 0).log
    log.completed(Failed(log.segments[-1].file, Token(0), "sync", errno.EIO, "I/O error"), forked.now)
    broker.tick(forked.now)
    broker.drain()
    assert [log.directory for log in logs(broker) if log.is_offline] == [offsets]
    outcome = ForkedRun(seed, profile_of("calm"), forked, time_ms=800).outcome()
    assert outcome.violation == ""
    assert outcome.checked["acknowledged"] > 10


def test_the_keyed_topic_of_the_fork_is_not_that_of_the_recording(life):
    run = ForkedRun(7, profile_of("calm"), fork(life, replayed(life).turn // 2), time_ms=800)
    assert run.keyed is None or "fork" in run.keyed.name
    assert run.scene.prefix == "fork"


def test_the_same_seed_is_the_same_run_and_another_one_another(life):
    until = replayed(life).turn // 2
    hashes = [go_on(life, until, seed).trace_hash for seed in (7, 7, 8)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_clients_of_the_fork_leave_the_nodes_own_topics_alone(life):
    until = replayed(life).turn // 2
    forked = fork(life, until)
    before = {str(log.directory): log.log_end_offset for log in logs(forked.replay.broker)}
    run = ForkedRun(3, profile_of("calm"), forked, time_ms=800)
    outcome = run.outcome()
    assert outcome.violation == ""
    assert outcome.checked["logs of the node kept"] > 0
    after = {str(log.directory): log.log_end_offset for log in logs(run.world.life.machine)}
    own = {name: end for name, end in before.items() if name.startswith("t")}
    assert sum(own.values()) > 0
    assert {name: after[name] for name in own} == own
    assert any("fork" in name for name in after)


def logs(broker):
    return [partition.log for partition in broker.core.partitions]


def test_what_the_node_had_and_then_has_not_is_found(life, monkeypatch):
    honest = ForkedWorld.start

    def start(self, _=None):
        if self.lives:
            for name, inode in self.disk.files.items():
                if name.startswith("t0-0/") and name.endswith(".log"):
                    inode.data[-20:] = b""
        honest(self)

    monkeypatch.setattr(ForkedWorld, "start", start)
    outcome = go_on(life, replayed(life).turn // 2, 1, "calm")
    assert outcome.violation.startswith("LO1: t0-0/")


def test_a_node_that_has_stopped_and_one_without_its_start_cannot_be_forked(life, segmented):
    with pytest.raises(RecordingError, match="the node is about to stop"):
        fork(life, None)
    segments = lives_in(str(segmented[0]))[0].segments
    with pytest.raises(RecordingError, match="only a life that was recorded from its start can be forked"):
        fork(Chain(segments[1:]), None)
    behind_a_gap = segments[2].header.turn + 1
    with pytest.raises(RecordingError, match="the recording has gaps"):
        fork(Chain([segments[0], *segments[2:]]), behind_a_gap)


# ---- the disk ------------------------------------------------------------------------------------


def turn(*events):
    return Turn(1, Now(MonoNs(0), WallMs(0)), list(events), [], [], ())


def test_what_was_written_and_not_synced_may_still_be_lost_and_what_was_asked_is_still_to_do():
    shadow = Shadow()
    shadow.took(
        turn(), [MakeDir(File("t-0"), Token(1)), Write(LOG, 0, [b"abc"], Token(2)), Sync(LOG, Token(3))]
    )
    shadow.took(turn(Done(File("t-0"), Token(1)), Written(LOG, Token(2))), [Write(LOG, 3, [b"d"], Token(4))])
    inode = shadow.disk.inode(LOG)
    assert (bytes(inode.data), bytes(inode.synced)) == (b"abc", b"")
    assert [effect.token for effect in shadow.pending] == [3, 4]
    shadow.took(turn(Synced(LOG, Token(3))), [])
    assert (bytes(inode.data), bytes(inode.synced)) == (b"abc", b"abc")
    shadow.took(
        turn(Failed(LOG, Token(4), "write", 28, "full")), [Write(LOG, 3, [b"ef"]), Sync(LOG, Token(5))]
    )
    assert shadow.pending != []
    shadow.took(turn(Synced(LOG, Token(5))), [])
    assert bytes(inode.synced) == b"abcef"  # the write that asked for no answer came before the sync
    assert shadow.pending == []


def test_connections_are_known_by_who_came_and_went():
    shadow = Shadow()
    shadow.took(turn(Connected(4, "a:1", "b", 2), Connected(6, "a:3", "b", 2), Disconnected(6, "gone")), [])
    assert (list(shadow.conns), shadow.last_conn) == ([4], 6)


def test_bytes_from_before_are_taken_from_the_data_directory_or_asked_for(tmp_path):
    shadow = Shadow()
    entries = [Entry("0.log", 10, is_dir=False, modified_ms=5)]
    shadow.took(
        turn(), [List(File("t-0"), Token(1)), Read(LOG, 4, 3, Token(2)), Write(LOG, 9, [b"9x"], Token(3))]
    )
    shadow.took(
        turn(Listed(File("t-0"), Token(1), entries), Loaded(LOG, Token(2), b"456"), Written(LOG, Token(3))),
        [],
    )
    assert list(shadow.unknown.values()) == [[(0, 4), (7, 9)]]
    with pytest.raises(RecordingError, match=r"does not hold all of t-0/0\.log, which"):
        shadow.complete(None)
    shadow.unknown = {shadow.disk.inode(LOG): [(0, 4), (7, 9)]}
    (tmp_path / "t-0").mkdir()
    (tmp_path / LOG).write_bytes(b"0123456789 and more")
    shadow.complete(str(tmp_path))
    assert bytes(shadow.disk.inode(LOG).data) == b"0123456789x"
    assert bytes(shadow.disk.inode(LOG).synced) == b"012345678\0"
