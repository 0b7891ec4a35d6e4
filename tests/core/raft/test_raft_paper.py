"""What the paper and KRaft's KIPs claim, one test each; the section is in the docstring.

Paper: Ongaro and Ousterhout, "In search of an understandable consensus algorithm (extended version)"; dissertation: Ongaro,
"Consensus: bridging theory and practice".
"""

import pytest

from rafka.core.errors import ErrorCode
from rafka.core.raft.batch import DATA, LEADER_CHANGE, NO_OP, VOTERS, Batch
from rafka.core.raft.effects import (
    AppendLog,
    Became,
    Election,
    Restore,
    SaveElection,
    SaveSnapshot,
    TruncateLog,
)
from rafka.core.raft.messages import (
    BeginQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    SnapshotId,
    UpdateVoterRequest,
    VoteRequest,
    VoteResponse,
)
from rafka.core.raft.raft import Raft, Stored
from rafka.core.raft.settings import MS, Settings
from rafka.core.raft.voters import Endpoint, Voter
from tests.core.raft.quorum import START, Fixed, Quorum, key, voter_set


def replica(node_id=1, voters=(1, 2, 3), *, election=None, batches=(), snapshot=None, share=0.5):
    one = Raft(key(node_id), Settings(), Fixed(share))
    one.open(Stored(election or Election(), snapshot, batches, voter_set(*voters)), START)
    one.drain()
    return one


def data(base, epoch, count=1):
    return Batch(base, base + count, epoch, DATA, f"{base}/{epoch}")


def ask(candidate, to, epoch, *, last_epoch=0, end_offset=0, pre_vote=False, correlation=7):
    return VoteRequest(
        candidate, to, correlation, epoch, key(candidate), key(to), last_epoch, end_offset, pre_vote
    )


def granted(one):
    """Sync the election file and return the answer that was held for it."""
    effects = one.drain()
    if any(isinstance(effect, SaveElection) for effect in effects):
        assert not any(isinstance(effect, VoteResponse) for effect in effects), "the disk first"
        one.election_synced(one.election_token, START)
        effects = one.drain()
    return next(effect.granted for effect in effects if isinstance(effect, VoteResponse))


def kinds(effects):
    return [type(effect) for effect in effects]


# ---- §5.1 epochs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_request_of_an_earlier_epoch_is_refused(pre_vote) -> None:
    """Paper §5.1."""
    one = replica(election=Election(5))
    one.receive(ask(2, 1, 4, pre_vote=pre_vote), START)
    (answer,) = one.drain()
    assert (answer.granted, answer.epoch, answer.error) == (False, 5, ErrorCode.FENCED_LEADER_EPOCH)


def test_a_higher_epoch_makes_a_leader_step_down() -> None:
    """Paper §5.1."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.nodes[1].receive(ask(2, 1, 9), q.now)
    assert q.nodes[1].role.NAME in ("unattached", "voted")
    assert q.nodes[1].epoch == 9


def test_an_epoch_is_durable_before_anybody_hears_of_it() -> None:
    """Paper §5.1, Figure 2: persistent state is updated on stable storage before responding to RPCs."""
    one = replica()
    one.receive(ask(2, 1, 3, last_epoch=2, end_offset=1), START)
    effects = one.drain()
    assert [e.election for e in effects if isinstance(e, SaveElection)] == [
        Election(3),
        Election(3, key(2)),
    ]
    assert not any(isinstance(effect, VoteResponse) for effect in effects)
    one.election_synced(1, START)
    assert one.drain() == [], "the epoch is there, the vote is not"
    one.election_synced(2, START)
    assert kinds(one.drain()) == [VoteResponse]


# ---- §5.2 elections -------------------------------------------------------------------------------


def test_a_voter_that_hears_of_no_leader_stands() -> None:
    """Paper §5.2; KIP-996: it asks first whether it would be elected."""
    one = replica()
    one.tick(one.deadline())
    effects = one.drain()
    assert [e.role for e in effects if isinstance(e, Became)] == ["prospective"]
    assert [(e.to, e.epoch, e.pre_vote) for e in effects if isinstance(e, VoteRequest)] == [
        (2, 0, True),
        (3, 0, True),
    ]
    assert one.epoch == 0, "nothing has changed by asking"


def test_a_candidate_votes_for_itself_in_a_new_epoch_and_asks_when_that_is_durable() -> None:
    """Paper §5.2."""
    one = replica()
    one.tick(one.deadline())
    request = next(e for e in one.drain() if isinstance(e, VoteRequest))
    one.receive(VoteResponse(2, 1, request.correlation, 0, -1, True, True), START)
    effects = one.drain()
    assert kinds(effects) == [SaveElection, Became]
    assert effects[0].election == Election(1, key(1))
    one.election_synced(1, START)
    assert [(type(e), e.epoch, e.pre_vote) for e in one.drain()] == [(VoteRequest, 1, False)] * 2


def test_a_voter_votes_once_in_an_epoch() -> None:
    """Paper §5.2: first come, first served."""
    one = replica()
    one.receive(ask(2, 1, 1), START)
    assert granted(one)
    one.receive(ask(3, 1, 1), START)
    assert not granted(one)
    one.receive(ask(2, 1, 1), START)
    assert granted(one), "the same candidate may ask again"


def test_a_vote_survives_a_restart() -> None:
    """Paper §5.2, Figure 2."""
    one = replica(election=Election(4, key(2)))
    assert one.role.NAME == "voted"
    one.receive(ask(3, 1, 4), START)
    assert not granted(one)


def test_a_majority_elects_and_a_minority_does_not() -> None:
    """Paper §5.2."""
    q = Quorum(1, 2, 3, 4, 5)
    q.timeout(1)
    for other in (2, 3):
        q.deliver(1, other)
    q.deliver(2, 1)
    assert q.nodes[1].role.NAME == "prospective"
    q.deliver(3, 1)
    assert q.nodes[1].role.NAME == "candidate"


def test_election_timeouts_differ() -> None:
    """Paper §5.2: randomised timeouts."""
    deadlines = {replica(share=share).deadline() - START for share in (0.0, 0.25, 0.5, 0.75)}
    assert len(deadlines) == 4
    assert all(1000 * MS <= one < 2000 * MS for one in deadlines)


def test_a_candidate_follows_who_has_won_its_epoch() -> None:
    """Paper §5.2."""
    q = Quorum(1, 2, 3)
    q.timeout(1)
    q.deliver(1, 2)
    q.deliver(2, 1)
    assert q.nodes[1].role.NAME == "candidate"
    q.nodes[1].receive(BeginQuorumEpochRequest(3, 1, 1, 1, key(1)), q.now)
    assert (q.nodes[1].role.NAME, q.nodes[1].leader_id) == ("follower", 3)


def test_a_candidate_that_lost_waits_a_while_and_asks_before_it_stands_again() -> None:
    """Paper §5.2 (split votes); KIP-996."""
    one = replica()
    one.tick(one.deadline())
    pre = [e for e in one.drain() if isinstance(e, VoteRequest)]
    one.receive(VoteResponse(2, 1, pre[0].correlation, 0, -1, True, True), START)
    one.election_synced(1, START)
    asked = [e for e in one.drain() if isinstance(e, VoteRequest)]
    for request in asked:
        one.receive(VoteResponse(request.to, 1, request.correlation, 1, -1, False, False), START)
    assert one.role.NAME == "candidate"
    assert one.deadline() == START + Settings().election_backoff_max_ns // 2
    one.tick(one.deadline())
    assert (one.role.NAME, one.epoch) == ("prospective", 1)


def test_an_answer_to_an_earlier_request_is_not_counted() -> None:
    """KIP-595: correlation ids; a vote of an earlier epoch elects nobody."""
    one = replica()
    one.tick(one.deadline())
    pre = next(e for e in one.drain() if isinstance(e, VoteRequest))
    one.receive(VoteResponse(2, 1, pre.correlation + 40, 0, -1, True, True), START)
    one.receive(VoteResponse(2, 1, pre.correlation, 0, -1, True, False), START)
    assert one.role.NAME == "prospective"


# ---- §5.3 replication --------------------------------------------------------------------------------


def test_a_leader_begins_its_epoch_with_a_record_of_its_own() -> None:
    """KIP-595, LeaderChangeMessage; dissertation §6.4 (no-op)."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    first = q.nodes[1].log.batches[0]
    assert (first.kind, first.epoch, first.content.leader_id) == (LEADER_CHANGE, 1, 1)
    assert len(first.content.granting) >= 2


def test_a_record_is_committed_once_a_majority_has_it() -> None:
    """Paper §5.3."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.isolate(3)
    ticket = q.propose(1, "x")
    assert ticket not in q.answers
    q.stabilize()
    assert q.answers[ticket] == (ErrorCode.NONE, 3)


def test_a_record_that_no_majority_has_is_not_committed() -> None:
    """Paper §5.3."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.isolate(1)
    ticket = q.propose(1, "x")
    q.stabilize()
    assert ticket not in q.answers
    assert q.nodes[1].high_watermark == 2


def test_everybody_applies_the_same_records_in_the_same_order() -> None:
    """Paper §5.3: state machine safety."""
    q = Quorum(1, 2, 3, observers=(4,))
    q.elect(1)
    for text in "abc":
        q.propose(1, text)
    q.advance(3000)
    assert q.applied[1] == q.applied[2] == q.applied[3] == q.applied[4]
    assert [b.content for b in q.applied[4] if b.kind == DATA] == ["a", "b", "c"]


def test_a_follower_cuts_what_its_leader_does_not_have() -> None:
    """Paper §5.3, Figure 7; KIP-595: diverging epoch."""
    mine = [data(0, 1), data(1, 1), data(2, 2), data(3, 2), data(4, 2)]
    one = replica(election=Election(3, None, 2), batches=mine)
    one.tick(START)
    request = next(e for e in one.drain() if isinstance(e, FetchRequest))
    assert (request.fetch_offset, request.last_epoch) == (5, 2)
    answer = FetchResponse(2, 1, request.correlation, 3, 2, 5, (), -1, diverging=(1, 3))
    one.receive(answer, START)
    assert one.log.end_offset == 2, "its own end of epoch 1 comes first"
    assert [e.end_offset for e in one.drain() if isinstance(e, TruncateLog)] == [2]


@pytest.mark.parametrize(
    ("offset", "epoch", "expected"),
    [
        (5, 4, None),
        (3, 1, None),
        (0, 0, None),
        (4, 1, (1, 3)),
        (4, 2, (1, 3)),
        (9, 3, (1, 3)),
        (9, 4, (4, 6)),
        (7, 9, (5, 8)),
    ],
)
def test_a_leader_says_where_two_logs_may_part(offset, epoch, expected) -> None:
    """KIP-595: the largest epoch of the leader's that is not above the follower's, and its end."""
    batches = [data(0, 1), data(1, 1), data(2, 1), data(3, 4), data(4, 4), data(5, 4), data(6, 5), data(7, 5)]
    one = replica(batches=batches)
    from rafka.core.raft.leader import place_of

    found = place_of(one.log, offset, epoch)
    assert found == (None if expected is None else (expected, None))


def test_batches_that_do_not_follow_on_the_log_are_not_taken() -> None:
    """Paper §5.3: consistency check."""
    one = replica(election=Election(3, None, 2))
    one.tick(START)
    request = next(e for e in one.drain() if isinstance(e, FetchRequest))
    one.receive(FetchResponse(2, 1, request.correlation, 3, 2, 0, (data(1, 3),), 1), START)
    assert one.log.end_offset == 0
    assert not any(isinstance(e, AppendLog) for e in one.drain())


def test_a_follower_acknowledges_only_what_is_durable() -> None:
    """KAFKA-10533: a fetch says that everything below its offset is on the follower's disk."""
    one = replica(election=Election(3, None, 2))
    one.tick(START)
    request = next(e for e in one.drain() if isinstance(e, FetchRequest))
    one.receive(FetchResponse(2, 1, request.correlation, 3, 2, 0, (data(0, 3),), -1), START)
    one.tick(START)
    effects = one.drain()
    assert kinds(effects) == [AppendLog]
    one.log_synced(effects[0].token, START)
    one.tick(START)
    (fetch,) = one.drain()
    assert (fetch.fetch_offset, fetch.last_epoch) == (1, 3)


def test_a_leader_counts_itself_only_as_far_as_its_disk() -> None:
    """Dissertation §10.2.1: the leader may write in parallel, and commits without its own disk if others suffice."""
    q = Quorum(1, 2, 3, syncs_itself=False)
    while q.leader() is None:
        q.timeout(1)
        q.stabilize()
    q.propose(1, "x")
    q.deliver(1, 2)
    q.sync(2)
    q.deliver(2, 1)
    assert q.nodes[1].high_watermark == 2
    q.sync(1)
    assert q.nodes[1].high_watermark == 3


def test_a_sync_of_what_was_cut_back_vouches_for_nothing_else() -> None:
    """The ABA race of asynchronous storage: write, cut, write again, then the first sync completes."""
    one = replica(election=Election(3, None, 2))
    log = one.log
    log.append(data(0, 1))
    log.append(data(1, 1))
    log.flush()
    first = log.token
    log.truncate(1)
    log.append(data(1, 3))
    log.flush()
    log.synced(first)
    assert log.durable_offset == 1
    log.synced(log.token)
    assert log.durable_offset == 2


# ---- §5.4 safety ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_epoch", "end_offset", "expected"),
    [(2, 3, True), (2, 4, True), (3, 1, True), (2, 2, False), (1, 9, False)],
)
@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_vote_goes_only_to_a_log_that_is_as_good(last_epoch, end_offset, expected, pre_vote) -> None:
    """Paper §5.4.1: the epoch of the last record decides, then the length."""
    one = replica(batches=[data(0, 1), data(1, 2), data(2, 2)], election=Election(3))
    one.receive(ask(2, 1, 5, last_epoch=last_epoch, end_offset=end_offset, pre_vote=pre_vote), START)
    assert granted(one) is expected


def test_records_of_earlier_epochs_are_not_committed_by_counting() -> None:
    """Paper §5.4.2, Figure 8; KIP-595: nothing is committed before a record of the leader's own epoch is."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    leader = q.nodes[1].role
    start = q.nodes[1].log.end_offset
    q.nodes[1].role.start_offset = start  # as if everything so far were of former epochs
    leader.high_watermark = -1
    q.nodes[1].high_watermark = q.nodes[1].applied_offset = 0
    from rafka.core.raft.leader import advance

    advance(q.nodes[1], leader, q.now)
    assert leader.high_watermark == -1, "both voters have all of it, and it does not count"
    q.propose(1, "x")
    q.stabilize()
    assert leader.high_watermark == start + 1


def test_a_new_leader_shows_no_high_watermark_before_it_has_committed_in_its_epoch() -> None:
    """KAFKA-12619."""
    q = Quorum(1, 2, 3)
    q.timeout(1)
    q.stabilize()
    shown = [e for e in q.said if "FetchResponse" in e and "high_watermark=-1" in e]
    assert shown, "the first answers say that it is not known"


def test_what_is_committed_is_never_cut() -> None:
    """KAFKA-12460; paper §5.4.3: leader completeness makes it unnecessary."""
    one = replica(election=Election(3, None, 2), batches=[data(0, 1), data(1, 1)])
    one.commit(2)
    one.tick(START)
    request = next(e for e in one.drain() if isinstance(e, FetchRequest))
    one.receive(FetchResponse(2, 1, request.correlation, 3, 2, 2, (), -1, diverging=(0, 0)), START)
    assert one.log.end_offset == 2


def test_a_leader_that_crashed_does_nothing_more_in_its_epoch() -> None:
    """KAFKA-10527, KAFKA-18379: what it had not synced may be with others, under the same offsets and epoch."""
    one = replica(election=Election(4, key(1), 1))
    assert one.role.NAME == "resigned"
    one.receive(ask(2, 1, 4), START)
    assert not granted(one)
    one.tick(one.role.deadline)
    assert (one.role.NAME, one.epoch) == ("unattached", 5)


def test_a_candidate_that_crashed_does_not_go_on_standing_in_its_epoch() -> None:
    """The same, if the disk knows its vote and not that it was elected."""
    one = replica(election=Election(4, key(1)))
    assert one.role.NAME == "voted"
    one.receive(VoteResponse(2, 1, 1, 4, -1, True, False), START)
    one.receive(VoteResponse(3, 1, 2, 4, -1, True, False), START)
    assert one.role.NAME == "voted"


# ---- §5.6 timing, check-quorum, pre-vote --------------------------------------------------------------


def test_a_leader_without_a_majority_resigns() -> None:
    """KAFKA-15489; dissertation §6.2."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.isolate(1)
    ticket = q.propose(1, "x")
    q.advance(3100)
    assert q.nodes[1].role.NAME != "leader"
    assert q.answers[ticket] == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)


def test_a_single_voter_never_misses_a_majority() -> None:
    """KAFKA-16144."""
    q = Quorum(1)
    q.elect(1)
    q.advance(600_000)
    assert (q.nodes[1].role.NAME, q.nodes[1].epoch) == ("leader", 1)


def test_nobody_whose_leader_answers_grants_a_pre_vote() -> None:
    """KIP-996."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.nodes[2].receive(ask(3, 2, 1, last_epoch=9, end_offset=99, pre_vote=True), q.now)
    assert not next(e for e in q.nodes[2].drain() if isinstance(e, VoteResponse)).granted


def test_a_pre_vote_is_no_promise() -> None:
    """KIP-996: it may be given to several, and changes nothing on the disk."""
    one = replica()
    for candidate in (2, 3):
        one.receive(ask(candidate, 1, 0, pre_vote=True), START)
        effects = one.drain()
        assert [e.granted for e in effects] == [True]


def test_a_higher_epoch_alone_is_no_reason_to_wait_longer() -> None:
    """QuorumState: who was about to stand stands when it would have."""
    one = replica(batches=[data(0, 1)], election=Election(1))
    before = one.deadline()
    one.receive(ask(2, 1, 5), START + 900 * MS)
    assert one.epoch == 5
    assert one.deadline() <= before


# ---- dissertation §3.10 leadership transfer -------------------------------------------------------------


def test_a_leader_that_goes_is_followed_by_who_has_most_of_the_log() -> None:
    """KIP-595, EndQuorumEpoch: preferred candidates, the most advanced first."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.cuts.add((1, 2))
    q.propose(1, "x")
    q.stabilize()
    q.heal()
    q.resign(1)
    q.stabilize()
    assert q.leader() == 3


# ---- dissertation §4 membership -------------------------------------------------------------------------


def test_a_voter_set_counts_from_the_moment_it_is_appended() -> None:
    """Dissertation §4.1; KIP-853."""
    q = Quorum(1, observers=(2,))
    q.elect(1)
    q.advance(3000)
    q.cuts = {(1, 2), (2, 1)}
    ticket = q.add(1, 2)
    assert len(q.nodes[1].voters) == 2
    assert ticket not in q.answers, "the new voter has to have it"
    assert q.nodes[1].high_watermark < q.nodes[1].log.end_offset


def test_a_cut_takes_a_voter_set_back() -> None:
    """Dissertation §4.1: a server goes by the latest configuration in its log, committed or not."""
    one = replica(election=Election(3, None, 2))
    one.log.append(data(0, 1))
    one.log.append(Batch(1, 2, 1, VOTERS, voter_set(1, 2, 3, 4)))
    assert len(one.voters) == 4
    one.log.truncate(1)
    assert len(one.voters) == 3


def test_no_voter_changes_before_the_leader_has_committed_in_its_epoch() -> None:
    """Ongaro's note to raft-dev of 2015 on dissertation §4.1."""
    q = Quorum(1, 2, observers=(3,))
    q.timeout(1)
    while q.leader() is None:
        q.deliver(count=1)
    assert q.nodes[1].role.high_watermark == -1
    assert q.answers[q.add(1, 3)][0] == ErrorCode.REQUEST_TIMED_OUT
    assert q.answers[q.remove(1, 2)][0] == ErrorCode.REQUEST_TIMED_OUT


def test_only_one_voter_change_is_under_way() -> None:
    """Dissertation §4.1; KIP-853."""
    q = Quorum(1, 2, 3, observers=(4, 5))
    q.elect(1)
    q.advance(3000)
    q.isolate(1)
    q.add(1, 4)
    second = q.add(1, 5)
    assert q.answers[second][0] == ErrorCode.REQUEST_TIMED_OUT


def test_a_replica_that_lags_does_not_become_a_voter() -> None:
    """KIP-853, AddRaftVoter; dissertation §4.2.1."""
    q = Quorum(1, observers=(2,))
    q.elect(1)
    ticket = q.add(1, 2)
    assert q.answers[ticket][0] == ErrorCode.REQUEST_TIMED_OUT


def test_a_leader_that_removes_itself_does_not_count_itself_and_leads_until_that_is_committed() -> None:
    """Dissertation §4.2.2; KAFKA-16530."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    ticket = q.remove(1, 1)
    leader = q.nodes[1]
    assert leader.role.NAME == "leader"
    q.deliver(1, 2)
    q.deliver(2, 1)
    assert ticket not in q.answers, "one of two others is no majority of them"
    q.deliver(1, 3)
    q.deliver(3, 1)
    assert q.answers[ticket][0] == ErrorCode.NONE
    assert leader.role.NAME == "resigned"


@pytest.mark.parametrize(
    ("node_id", "disk", "error"),
    [(4, 0, ErrorCode.VOTER_NOT_FOUND), (2, 1, ErrorCode.VOTER_NOT_FOUND)],
)
def test_only_a_voter_can_be_removed(node_id, disk, error) -> None:
    """KIP-853: id and directory id both name it."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    assert q.answers[q.remove(1, node_id, disk)][0] == error


def test_the_last_voter_stays() -> None:
    """KIP-853: a quorum of nobody decides nothing."""
    q = Quorum(1)
    q.elect(1)
    assert q.answers[q.remove(1, 1)][0] == ErrorCode.INVALID_REQUEST


def test_a_voter_may_say_where_it_listens_now() -> None:
    """KIP-853, UpdateRaftVoter."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    moved = Voter(key(2), (Endpoint("CONTROLLER", "elsewhere", 9093),))
    q.nodes[1].receive(UpdateVoterRequest(2, 1, 5, 1, moved), q.now)
    q.turn(1)
    q.stabilize()
    assert q.nodes[3].voters.voters[2] == moved
    assert any("2: UpdateVoterResponse epoch=1 leader_id=1" in line for line in q.said)


def test_a_voter_with_a_new_disk_is_no_voter() -> None:
    """KIP-853: the directory id is part of who it is, so what the old disk promised is not promised twice."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.replace(3)
    assert not q.nodes[3].is_voter
    q.nodes[3].receive(ask(2, 3, 9), q.now)
    answer = next(e for e in q.nodes[3].drain() if isinstance(e, VoteResponse))
    assert (answer.granted, answer.error) == (False, ErrorCode.INVALID_VOTER_KEY)
    q.advance(4000)
    third = next(s for s in q.describe(q.leader()).voters if s.key.id == 3)
    assert third.key == key(3, 0)
    q.isolate(2)
    ticket = q.propose(q.leader(), "x")
    q.stabilize()
    assert ticket not in q.answers, "what the new disk has does not count for the old voter"


def test_an_observer_never_stands() -> None:
    """KIP-595."""
    q = Quorum(1, 2, 3, observers=(4,))
    q.elect(1)
    q.advance(3000)
    q.isolate(4)
    q.advance(30_000)
    assert q.nodes[4].role.NAME == "follower"
    assert q.nodes[4].epoch == 1


def test_an_observer_votes_if_a_candidate_knows_it_for_a_voter() -> None:
    """KIP-853: the candidate's log may hold a newer set."""
    one = replica(4, voters=(1, 2, 3))
    assert not one.is_voter
    one.receive(ask(2, 4, 3, last_epoch=2, end_offset=9), START)
    assert granted(one)


# ---- §7 snapshots -----------------------------------------------------------------------------------------


def test_a_snapshot_stands_for_what_is_below_its_end_and_names_the_last_epoch() -> None:
    """KIP-630, KAFKA-14618: the end offset is exclusive."""
    q = Quorum(1, 2)
    q.elect(1)
    q.propose(1, "a")
    q.stabilize()
    q.snapshot(1)
    log = q.nodes[1].log
    assert log.snapshot.id == SnapshotId(3, 1)
    assert (log.start_offset, log.end_offset, log.batches) == (3, 3, [])
    assert log.snapshot.voters == voter_set(1, 2)


def test_the_log_goes_only_when_the_snapshot_is_durable() -> None:
    """Paper §7."""
    q = Quorum(1, syncs_itself=False)
    while q.nodes[1].high_watermark < 2:
        q.timeout(1)
        q.stabilize()
    q.snapshot(1)
    assert q.nodes[1].log.start_offset == 0
    q.sync(1)
    assert q.nodes[1].log.start_offset == 2


def test_a_snapshot_is_fetched_in_pieces() -> None:
    """KIP-630, FetchSnapshot."""
    q = Quorum(1, 2, observers=(3,), snapshot_bytes_max=4)
    q.elect(1)
    q.propose(1, "a")
    q.stabilize()
    q.snapshot(1)
    q.advance(3000)
    positions = [line for line in q.said if "FetchSnapshotRequest" in line]
    assert len(positions) == 5
    assert q.applied[3][0] == q.nodes[1].log.snapshot
    assert q.nodes[3].log.start_offset == 3


def test_a_snapshot_that_the_leader_has_not_any_more_is_asked_for_by_its_new_name() -> None:
    """KIP-630: SNAPSHOT_NOT_FOUND."""
    q = Quorum(1, 2)
    q.elect(1)
    q.snapshot(1)
    old = SnapshotId(1, 1)
    q.nodes[1].receive(FetchSnapshotRequest(2, 1, 3, 1, key(2), old, 0, 10), q.now)
    answer = next(e for e in q.nodes[1].drain() if isinstance(e, FetchSnapshotResponse))
    assert answer.error == ErrorCode.SNAPSHOT_NOT_FOUND
    q.nodes[1].receive(FetchSnapshotRequest(2, 1, 3, 1, key(2), q.nodes[1].log.snapshot.id, 999, 10), q.now)
    answer = next(e for e in q.nodes[1].drain() if isinstance(e, FetchSnapshotResponse))
    assert answer.error == ErrorCode.POSITION_OUT_OF_RANGE


def test_who_installs_a_snapshot_does_not_stand() -> None:
    """etcd-io/raft: a replica with a snapshot on its way does not campaign."""
    one = replica(election=Election(3, None, 2))
    one.tick(START)
    request = next(e for e in one.drain() if isinstance(e, FetchRequest))
    name = SnapshotId(9, 2)
    one.receive(FetchResponse(2, 1, request.correlation, 3, 2, 0, (), 9, snapshot=name), START)
    one.tick(START)
    request = next(e for e in one.drain() if isinstance(e, FetchSnapshotRequest))
    piece = FetchSnapshotResponse(2, 1, request.correlation, 3, 2, name, 0, 2, b"ab", voter_set(1, 2, 3))
    one.receive(piece, START)
    save = next(e for e in one.drain() if isinstance(e, SaveSnapshot))
    one.tick(START + 10_000 * MS)
    assert one.role.NAME == "follower"
    one.log_synced(save.token, START)
    assert (one.log.start_offset, one.log.end_offset, one.high_watermark) == (9, 9, 9)
    assert any(isinstance(e, Restore) for e in one.drain())


def test_a_restart_with_a_log_that_does_not_reach_its_snapshot_begins_after_the_snapshot() -> None:
    """KIP-630: a crash between the snapshot and the cut of the log."""
    from rafka.core.raft.effects import Snapshot

    kept = Snapshot(SnapshotId(9, 2), b"s", voter_set(1, 2, 3))
    one = replica(election=Election(3), batches=[data(0, 1), data(1, 1)], snapshot=kept)
    assert (one.log.start_offset, one.log.end_offset, one.log.last_epoch) == (9, 9, 2)
    one.check()


# ---- §8 clients -------------------------------------------------------------------------------------------


def test_a_read_is_answered_only_after_a_record_of_the_leaders_own() -> None:
    """Paper §8; dissertation §6.4."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    end = q.nodes[1].log.end_offset
    ticket = q.read(1)
    assert ticket not in q.answers
    assert q.nodes[1].log.batches[-1].kind == NO_OP
    q.stabilize()
    assert q.answers[ticket] == (ErrorCode.NONE, end + 1)


def test_a_deposed_leader_answers_no_read() -> None:
    """Paper §8: a leader that was replaced must not return stale data."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    q.isolate(1)
    ticket = q.read(1)
    q.advance(9000)
    assert q.leader() in (2, 3)
    assert q.answers[ticket][0] == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_who_does_not_lead_takes_no_proposal() -> None:
    """Paper §8."""
    q = Quorum(1, 2, 3)
    q.elect(1)
    assert q.answers[q.propose(2, "x")] == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)
    assert q.answers[q.read(3)] == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)


def test_a_leader_keeps_only_so_many_waiting() -> None:
    """Every table has a bound."""
    q = Quorum(1, 2, 3, waiting_max=2)
    q.elect(1)
    q.isolate(1)
    tickets = [q.propose(1, "x") for _ in range(3)]
    assert q.answers == {tickets[2]: (ErrorCode.REQUEST_TIMED_OUT, -1)}
    assert q.answers[q.read(1)][0] == ErrorCode.REQUEST_TIMED_OUT
