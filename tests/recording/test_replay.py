"""A recorded broker, run again: the same, or it is said where not."""

import json
from itertools import pairwise

import pytest

from rafka.core.log.log import Log
from rafka.core.machine import Outbox
from rafka.core.recording.format import RecordingError, block_head, stream_of
from rafka.sim.replaying import Chain, Diverged, Replay, Violated, lives_in
from tests.recording.support import record, replayed


@pytest.fixture
def copy(calm, tmp_path):
    """A life's only file, to be hurt; the recording's directory."""
    path = lives_in(str(calm))[0].segments[0].path
    (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / path.name


def test_a_life_is_re_executed_to_its_end_bit_for_bit(calm):
    (first, second) = lives_in(str(calm))  # the simulator reopens the broker to verify
    for chain in (first, second):
        run = replayed(chain)
        assert run.turn > 50
        assert run.effects > 50
        assert (run.first, run.gaps, run.unfinished) == (1, [], 0)
    assert replayed(first).ending == "stopped"


def test_the_same_recording_gives_the_same_trace_twice_and_a_part_of_it_another(calm):
    chain = lives_in(str(calm))[0]
    whole = replayed(chain)
    assert replayed(chain).trace == whole.trace
    part = replayed(chain, until_turn=whole.turn // 2)
    assert part.turn == whole.turn // 2
    assert part.ending == ""
    assert part.trace != whole.trace


def test_a_time_is_a_bound_too(calm):
    chain = lives_in(str(calm))[0]
    walls = [turn.now.wall for turn, _ in Replay(chain).turns()]
    middle = walls[len(walls) // 2]
    assert replayed(chain, until_ms=middle).turn == sum(1 for wall in walls if wall <= middle)


@pytest.mark.parametrize("seed", [2, 3])
def test_kills_and_faults_of_disk_network_and_clock_are_replayed_life_by_life(tmp_path, seed):
    recorders, _ = record(tmp_path, seed, profile="default", time_ms=1200)
    chains = lives_in(str(tmp_path))
    assert len(chains) == len(recorders)
    assert [replayed(chain).turn for chain in chains] == [one.turn_number for one in recorders]


def test_a_bounded_recording_goes_on_from_the_oldest_machine_that_is_left(segmented):
    directory, recorders = segmented
    first = lives_in(str(directory))[0]
    assert len(first.segments) > 2
    whole = replayed(first)
    assert (whole.first, whole.turn, whole.gaps) == (1, recorders[0].turn_number, [])
    for kept in range(1, len(first.segments)):
        rest = Chain(first.segments[kept:])
        assert rest.header.frozen
        run = replayed(rest)
        assert (run.first, run.turn, run.gaps) == (rest.header.turn, whole.turn, [])


def test_a_gap_is_named_and_the_machine_behind_it_goes_on(segmented):
    segments = lives_in(str(segmented[0]))[0].segments
    run = replayed(Chain(segments[:1] + segments[2:]))
    assert run.gaps == [(segments[1].header.turn, segments[2].header.turn - 1)]
    assert run.turn == replayed(Chain(segments)).turn


def test_what_is_over_the_bound_is_dropped_oldest_first(tmp_path):
    record(tmp_path, segment_bytes=60_000, bytes_max=1 << 18, time_ms=2000)
    found = lives_in(str(tmp_path))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1 << 18
    assert found[0].header.frozen
    numbers = [one.header.segment for one in found[0].segments]
    assert numbers[0] > 1
    assert all(b == a + 1 for a, b in pairwise(numbers))
    assert replayed(found[0]).turn > 0


# ---- what is found -------------------------------------------------------------------------------


def test_another_effect_is_reported_with_its_turn_and_place(calm, monkeypatch):
    chain = lives_in(str(calm))[0]
    honest, count = Outbox.token, []

    def token(self, owner):
        count.append(owner)
        if len(count) == 200:
            self.last_token += 1
        return honest(self, owner)

    monkeypatch.setattr(Outbox, "token", token)
    run = Replay(chain)
    with pytest.raises(Diverged, match=r"turn \d+: effect \d+ of \d+ is another one: \w+\(") as found:
        for _ in run.turns():
            pass
    assert found.value.turn == run.turn > 1


def test_a_broken_invariant_is_reported_with_its_turn(calm, monkeypatch):
    honest = Log.check
    calls = []

    def check(self):
        calls.append(self)
        assert len(calls) < 50, "the fiftieth log is one too many"
        honest(self)

    monkeypatch.setattr(Log, "check", check)
    run = Replay(lives_in(str(calm))[0])
    with pytest.raises(Violated, match=r"an invariant is broken: the fiftieth log is one too many") as found:
        for _ in run.turns():
            pass
    assert found.value.turn == run.turn
    calls.clear()
    assert len(list(Replay(lives_in(str(calm))[0], checks=False).turns())) > run.turn


def test_code_that_raises_where_it_did_not_is_reported(calm, monkeypatch):
    def check(self, now):
        raise RuntimeError("no tick today")

    monkeypatch.setattr("rafka.core.node.node.Node.tick", check)
    with pytest.raises(
        Violated, match=r"turn 1: the machine raises RuntimeError: no tick today, not so when"
    ) as found:
        replayed(lives_in(str(calm))[0])
    assert found.value.turn == 1


# ---- ends and damage -----------------------------------------------------------------------------


def test_a_torn_end_ends_the_replay_where_it_is_torn(copy, calm):
    whole = replayed(lives_in(str(calm))[0]).turn
    data = copy.read_bytes()
    seen = set()
    for cut in (1, 2, 7, 100, len(data) // 3, len(data) // 2):
        copy.write_bytes(data[:-cut])
        run = replayed(lives_in(str(copy.parent))[0])
        assert run.turn < whole
        assert run.ending == "torn"
        seen.add(run.turn)
    assert len(seen) > 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_flipped_bit_in_the_middle_is_damage_and_no_end(copy, share):
    data = bytearray(copy.read_bytes())
    data[int(share * len(data))] ^= 4
    copy.write_bytes(data)
    with pytest.raises(RecordingError, match=r"\.flight is damaged at byte \d+"):
        replayed(lives_in(str(copy.parent))[0])


def test_a_damaged_header_an_older_format_and_a_foreign_file_are_told_apart(copy):
    data = copy.read_bytes()
    for hurt, words in (
        (data[:13] + b"\0\0\0\0" + data[17:], "has format 0, and this version of rafka reads format 2"),
        (data[:40] + b"\xff" + data[41:], "has a damaged header"),
        (b"PK\3\4" + data, "is no flight recording"),
        (b"", "is no flight recording"),
    ):
        copy.write_bytes(hurt)
        with pytest.raises(RecordingError, match=words):
            lives_in(str(copy.parent))


def test_a_directory_without_a_recording_is_said_to_be_one(tmp_path):
    with pytest.raises(RecordingError, match="holds no flight recording"):
        lives_in(str(tmp_path))
    with pytest.raises(RecordingError, match="No such file"):
        lives_in(str(tmp_path / "nowhere"))


def test_blocks_are_whole_or_are_not_there():
    block = block_head(memoryview(b"abcd")) + b"abcd"
    assert stream_of(memoryview(block * 2), 0) == (b"abcdabcd", False)
    for cut in range(1, len(block)):
        assert stream_of(memoryview(block * 2)[:-cut], 0) == (b"abcd", True)
    for byte in range(len(block)):
        hurt = bytearray(block * 2)
        hurt[byte] ^= 0x10
        with pytest.raises(RecordingError, match="damaged at byte 0"):
            stream_of(memoryview(hurt), 0)


def test_a_header_says_who_recorded_what(calm):
    header = lives_in(str(calm))[0].header
    assert header.source == "here"
    assert header.identity["node_id"] == 1
    assert json.dumps(header.settings)
    assert header.settings["log.segment.bytes"] == "1048576"
