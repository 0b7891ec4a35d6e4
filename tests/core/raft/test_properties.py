"""What holds for every voter set, every log, and every order in which a quorum's messages and syncs may come."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.raft import roles, transitions
from rafka.core.raft.batch import DATA, Batch
from rafka.core.raft.effects import AppendLog, TruncateLog
from rafka.core.raft.log import RaftLog
from rafka.core.raft.voters import majority_offset
from tests.core.raft.quorum import Quorum, voter_set

SETS = st.sets(st.integers(1, 7), min_size=1, max_size=5)


# ---- voters ------------------------------------------------------------------------------------------


@given(SETS, SETS)
def test_sets_overlap_if_every_two_majorities_meet(a, b) -> None:
    one, other = voter_set(*a), voter_set(*b)
    naive = all(
        set(x) & set(y) for x in combinations(a, one.majority) for y in combinations(b, other.majority)
    )
    assert one.overlaps(other) is naive


@given(SETS, st.integers(1, 7))
def test_sets_that_differ_in_one_voter_overlap(ids, other) -> None:
    changed = ids ^ {other}
    if changed:
        assert voter_set(*ids).overlaps(voter_set(*changed))


@given(st.lists(st.integers(-1, 20), min_size=1, max_size=7))
def test_the_majority_offset_is_the_largest_that_a_majority_has(offsets) -> None:
    found = majority_offset(offsets)
    majority = len(offsets) // 2 + 1
    assert found == max(o for o in offsets if sum(x >= o for x in offsets) >= majority)


# ---- the log -------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3), st.integers(0, 2)),
        st.tuples(st.just("truncate"), st.integers(0, 12)),
        st.tuples(st.just("flush")),
        st.tuples(st.just("sync"), st.integers(0, 4)),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_a_log_calls_durable_its_disk_has(steps) -> None:
    """Against a disk that does things when it says so, and not before."""
    log, epoch, disk, queue = RaftLog([]), 1, [], []

    def take():
        queue.extend(log.out)
        log.out.clear()

    for name, *args in steps:
        if name == "append":
            epoch += args[1]
            log.append(Batch(log.end_offset, log.end_offset + args[0], epoch, DATA, (epoch, log.token)))
        elif name == "truncate":
            log.truncate(min(args[0], log.end_offset))
        elif name == "flush":
            log.flush()
        else:
            take()
            for effect in queue[: args[0]]:
                if isinstance(effect, AppendLog):
                    disk += effect.batches
                elif isinstance(effect, TruncateLog):
                    disk = [b for b in disk if b.base_offset < effect.end_offset]
                log.synced(effect.token)
            del queue[: args[0]]
        log.check()
        kept = [b for b in log.batches if b.end_offset <= log.durable_offset]
        # A cut that the disk has not seen yet leaves more on it, never less, below what is durable.
        assert disk[: len(kept)] == kept


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=12), st.integers(0, 12))
def test_the_end_of_an_epoch_is_what_a_walk_over_the_log_finds(appends, asked) -> None:
    log, epoch = RaftLog([]), 0
    for count, step in appends:
        epoch += step if log.batches else max(step, 1)
        log.append(Batch(log.end_offset, log.end_offset + count, epoch, DATA, None))
    below = [b for b in log.batches if b.epoch <= asked]
    expected = (below[-1].epoch, below[-1].end_offset) if below else (0, 0)
    assert log.end_of_epoch(asked) == expected
    for batch in log.batches:
        assert log.epoch_at(batch.end_offset) == batch.epoch
        assert log.is_batch_end(batch.end_offset)


# ---- transitions ---------------------------------------------------------------------------------------


def test_every_role_is_in_the_table_and_can_be_left() -> None:
    names = {
        r.NAME
        for r in (
            roles.Unattached,
            roles.Voted,
            roles.Prospective,
            roles.Candidate,
            roles.Leader,
            roles.Resigned,
            roles.Follower,
        )
    }
    assert {row.new for row in transitions.TABLE} == names
    assert {row.old for row in transitions.TABLE} == names | {transitions.START}
    assert len(transitions.LEGAL) == len(transitions.TABLE), "no row is there twice"


def test_nobody_who_has_led_an_epoch_is_anything_else_in_it() -> None:
    after = {
        row.new for row in transitions.TABLE if row.old in ("leader", "resigned") and row.epoch == "same"
    }
    assert after == {"resigned"}


# ---- a quorum, in any order ----------------------------------------------------------------------------

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "deliver",
                "deliver",
                "deliver",
                "drop",
                "sync",
                "sync",
                "timeout",
                "propose",
                "crash",
                "snapshot",
            ]
        ),
        st.integers(0, 1 << 16),
    ),
    min_size=20,
    max_size=150,
)


@settings(max_examples=60)
@given(ACTIONS)
def test_in_any_order_there_is_one_leader_an_epoch_and_one_history(actions) -> None:
    q = Quorum(1, 2, 3, syncs_itself=False)
    leaders, history = {}, {}
    for name, draw in actions:
        node_id = draw % 3 + 1
        if name in ("deliver", "drop") and q.wire:
            message = q.wire.pop(draw % len(q.wire))
            if name == "deliver":
                q.nodes[message.to].receive(message, q.now)
                q.turn(message.to)
        elif name == "sync":
            q.sync(node_id, elections=draw % 2 == 0, logs=draw % 3 != 0)
        elif name == "timeout":
            q.timeout(node_id)
        elif name == "propose":
            q.propose(node_id, f"{draw}")
        elif name == "snapshot" and q.nodes[node_id].applied_offset > 0:
            q.snapshot(node_id)
        elif name == "crash" and draw % 4 == 0:
            q.crash(node_id)
            q.start(node_id)
        for one in q.nodes.values():
            one.check()
            if one.role.NAME == "leader":
                assert leaders.setdefault(one.epoch, one.key.id) == one.key.id
        for applied in q.applied.values():
            for thing in applied:
                if isinstance(thing, Batch):
                    known = history.setdefault(thing.base_offset, thing)
                    assert known == thing


@settings(max_examples=30)
@given(ACTIONS)
def test_after_any_trouble_a_quorum_finds_a_leader_and_commits(actions) -> None:
    q = Quorum(1, 2, 3, syncs_itself=False)
    for name, draw in actions:
        node_id = draw % 3 + 1
        if name == "drop" and q.wire:
            q.wire.pop(draw % len(q.wire))
        elif name == "timeout":
            q.timeout(node_id)
        elif name == "deliver":
            q.deliver(count=draw % 3)
        elif name == "sync":
            q.sync(node_id)
        elif name == "crash":
            q.crash(node_id)
            q.start(node_id)
    q.stabilize()
    q.advance(30_000)
    leader = q.leader()
    assert leader is not None
    ticket = q.propose(leader, "still there")
    q.stabilize()
    assert q.answers[ticket][0] == 0
