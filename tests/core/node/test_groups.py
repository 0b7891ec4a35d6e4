"""Groups through the whole broker: over several shards, over restarts and crashes, from records in Kafka's format."""

import errno
from random import Random

import pytest

from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.delete_topics_request import DeleteTopicsRequest
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from rafka.core.api.leave_group_request import LeaveGroupRequest, MemberIdentity
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from rafka.core.api.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from rafka.core.api.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from rafka.core.coordinator.group.routing import partition_for
from rafka.core.effects import Send
from rafka.core.errors import ErrorCode
from tests.core.node.world import World

MINUTE_MS = 60_000


class Groups(World):
    """A world with the topic `t` and a coordinator."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.topic_id = self.create("t", partitions=2)
        answer = self.connect().ask(FindCoordinatorRequest(coordinator_keys=["g"]))
        assert answer.coordinators[0].error_code == 0

    def commit(self, group, offset, index=0, member=("", -1), version=9):
        partition = OffsetCommitRequestPartition(
            partition_index=index, committed_offset=offset, committed_metadata="note"
        )
        topic = OffsetCommitRequestTopic(partitions=[partition])
        if version >= 10:
            topic.topic_id = self.topic_id
        else:
            topic.name = "t"
        request = OffsetCommitRequest(
            group_id=group,
            member_id=member[0],
            generation_id_or_member_epoch=member[1],
            topics=[topic],
        )
        return self.connect().ask(request, version).topics[0].partitions[0].error_code

    def committed(self, *groups):
        """All committed offsets of groups: group to (partition, offset)."""
        wanted = [OffsetFetchRequestGroup(group_id=name, topics=None) for name in groups]
        response = self.connect().ask(OffsetFetchRequest(groups=wanted), 9)
        assert [g.error_code for g in response.groups] == [0] * len(groups)
        return {
            g.group_id: [(p.partition_index, p.committed_offset) for t in g.topics for p in t.partitions]
            for g in response.groups
        }

    def described(self, group):
        (found,) = self.connect().ask(DescribeGroupsRequest(groups=[group])).groups
        return found

    def listed(self, **filters):
        response = self.connect().ask(ListGroupsRequest(**filters))
        assert response.error_code == 0
        return sorted((g.group_id, g.group_state) for g in response.groups)


class Member:
    """A member that joins and syncs by hand."""

    def __init__(self, world, group="g", instance=None, client_id="me"):
        self.client = world.connect()
        self.group, self.instance, self.client_id = group, instance, client_id
        self.id, self.generation = "", -1

    def join(self):
        """Begin to join; the first time with the id that it is given (KIP-394)."""
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=30_000,
            member_id=self.id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"what I can")],
        )
        self.client.send(request, client_id=self.client_id)
        self.client.world.run()
        answer = self.heard()
        if answer is not None and answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.id = answer.member_id
            return self.join()
        return self.joined(answer)

    def heard(self):
        answers = list(self.client.answers().values())
        return answers[0] if answers else None

    def joined(self, answer):
        if answer is not None and answer.error_code == 0:
            self.id, self.generation = answer.member_id, answer.generation_id
        return answer

    def sync(self, assignments=()):
        given = [SyncGroupRequestAssignment(member_id=m, assignment=a) for m, a in dict(assignments).items()]
        request = SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=given,
        )
        return self.client.ask(request)

    def beat(self):
        request = HeartbeatRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.id,
            group_instance_id=self.instance,
        )
        return self.client.ask(request).error_code

    def alone(self):
        """Make a stable group of this member."""
        assert self.join().error_code == 0
        assert self.sync({self.id: b"all"}).assignment == b"all"
        return self


# ---- several shards ----------------------------------------------------------------------------


def two_groups():
    """The names of two groups that two different partitions keep."""
    names = [f"group-{n}" for n in range(20)]
    first = names[0]
    return first, next(name for name in names if partition_for(name, 2) != partition_for(first, 2))


def test_one_request_may_ask_of_groups_of_several_shards():
    world = Groups()
    one, two = two_groups()
    world.commit(one, 3)
    world.commit(two, 5, index=1)
    assert world.committed(one, two, "none") == {one: [(0, 3)], two: [(1, 5)], "none": []}
    assert world.listed() == sorted([(one, "Empty"), (two, "Empty")])
    described = world.connect().ask(DescribeGroupsRequest(groups=[one, two, "none"]), 6).groups
    assert {g.group_id: (g.group_state, g.error_code) for g in described} == {
        one: ("Empty", 0),
        two: ("Empty", 0),
        "none": ("Dead", ErrorCode.GROUP_ID_NOT_FOUND),
    }
    results = world.connect().ask(DeleteGroupsRequest(groups_names=[one, two, "none"])).results
    assert {r.group_id: r.error_code for r in results} == {
        one: 0,
        two: 0,
        "none": ErrorCode.GROUP_ID_NOT_FOUND,
    }
    assert world.listed() == []


def test_before_there_is_a_coordinator_groups_are_told_to_look_for_one():
    world = World()
    client = world.connect()
    assert client.ask(HeartbeatRequest(group_id="g")).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert client.ask(ListGroupsRequest()).groups == []


def test_groups_are_listed_by_state_and_type():  # KIP-518, KIP-848
    world = Groups()
    world.commit("simple", 1)
    Member(world).alone()
    assert world.listed(states_filter=["stable"]) == [("g", "Stable")]
    assert world.listed(states_filter=["Empty", "Dead"]) == [("simple", "Empty")]
    assert world.listed(types_filter=["CLASSIC"]) == [("g", "Stable"), ("simple", "Empty")]
    assert world.listed(types_filter=["consumer"]) == []


# ---- offsets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 11))
def test_offsets_are_committed_and_fetched_in_every_version(version):
    world = Groups()
    assert world.commit("g", 7, version=version) == 0
    client = world.connect()
    for fetch_version in range(1, 8):
        wanted = [OffsetFetchRequestTopic(name="t", partition_indexes=[0, 1])]
        answer = client.ask(OffsetFetchRequest(group_id="g", topics=wanted), fetch_version)
        found = [(p.committed_offset, p.metadata) for p in answer.topics[0].partitions]
        assert found == [(7, "note"), (-1, "")]
    for fetch_version in (8, 9, 10):
        topic = OffsetFetchRequestTopics(partition_indexes=[0, 1])
        if fetch_version >= 10:
            topic.topic_id = world.topic_id
        else:
            topic.name = "t"
        wanted = [OffsetFetchRequestGroup(group_id="g", topics=[topic])]
        (group,) = client.ask(OffsetFetchRequest(groups=wanted), fetch_version).groups
        assert [p.committed_offset for p in group.topics[0].partitions] == [7, -1]


def test_a_commit_is_answered_once_it_is_on_the_disk():
    world = Groups()
    perform, held = world.perform, []

    def hold(effect):
        if type(effect).__name__ == "Sync" and effect.file.startswith("__consumer_offsets"):
            held.append(effect)
        else:
            perform(effect)

    world.perform = hold
    client = world.connect()
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=9, committed_metadata="")
    topic = OffsetCommitRequestTopic(name="t", partitions=[partition])
    client.send(OffsetCommitRequest(group_id="g", topics=[topic]), 8)
    world.run()
    assert client.answers() == {}
    assert world.committed("g") == {"g": []}
    del world.perform
    for effect in held:
        world.perform(effect)
    world.run()
    (answer,) = client.answers().values()
    assert answer.topics[0].partitions[0].error_code == 0
    assert world.committed("g") == {"g": [(0, 9)]}


def test_offsets_go_with_their_topic():
    world = Groups()
    world.create("u")
    world.commit("g", 7)
    world.connect().ask(DeleteTopicsRequest(topic_names=["t"]), 5)
    world.restart()
    assert world.committed("g") == {"g": []}


def test_offsets_are_deleted_one_by_one():  # KIP-496
    world = Groups()
    world.commit("g", 7)
    world.commit("g", 8, index=1)
    partitions = [OffsetDeleteRequestPartition(partition_index=0)]
    request = OffsetDeleteRequest(
        group_id="g", topics=[OffsetDeleteRequestTopic(name="t", partitions=partitions)]
    )
    answer = world.connect().ask(request)
    assert (answer.error_code, answer.topics[0].partitions[0].error_code) == (0, 0)
    world.restart()
    assert world.committed("g") == {"g": [(1, 8)]}


def test_offsets_of_an_empty_group_expire():  # KIP-211
    world = Groups(offsets_retention_minutes="10", offsets_retention_check_interval_ms="60000")
    world.commit("g", 7)
    world.wait(9 * MINUTE_MS)
    assert world.committed("g") == {"g": [(0, 7)]}
    world.wait(3 * MINUTE_MS)
    assert (world.committed("g"), world.listed()) == ({"g": []}, [])
    world.restart()
    assert (world.committed("g"), world.listed()) == ({"g": []}, [])


def test_a_commit_that_the_disk_does_not_take_is_refused_and_not_shown():
    world = Groups()
    assert world.commit("g", 1) == 0
    world.disk.fail("write", errno.EIO)
    assert world.commit("g", 2) == ErrorCode.NOT_COORDINATOR
    world.restart()
    assert world.committed("g") == {"g": [(0, 1)]}


# ---- restarts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [None, *range(6)])
def test_a_group_goes_on_after_a_restart_where_it_was(crash):
    world = Groups()
    member = Member(world, instance="i-1").alone()
    assert world.commit("g", 5, member=(member.id, member.generation)) == 0
    before = world.described("g")
    world.restart(None if crash is None else Random(crash))
    assert world.described("g") == before
    member.client = world.connect()
    assert member.beat() == 0
    assert world.commit("g", 6, member=(member.id, member.generation)) == 0
    assert member.sync().assignment == b"all"
    assert world.committed("g") == {"g": [(0, 6)]}


def test_a_member_that_does_not_come_back_after_a_restart_is_removed():
    world = Groups()
    Member(world).alone()
    world.restart()
    world.wait(9_999)
    assert world.described("g").group_state == "Stable"
    world.wait(1)
    assert (world.described("g").group_state, world.described("g").members) == ("Empty", [])
    world.restart()
    assert world.described("g").group_state == "Empty"


def test_a_deleted_group_stays_deleted():
    world = Groups()
    world.commit("g", 5)
    world.commit("h", 6)
    world.connect().ask(DeleteGroupsRequest(groups_names=["g"]))
    world.restart()
    assert world.listed() == [("h", "Empty")]


# ---- members -----------------------------------------------------------------------------------


def test_two_members_share_and_one_takes_over():
    world = Groups()
    first = Member(world, client_id="one").alone()
    second = Member(world, client_id="two")
    assert second.join() is None  # parked until the first joins again
    assert first.beat() == ErrorCode.REBALANCE_IN_PROGRESS
    lead = first.join()
    follow = second.joined(second.heard())
    assert (lead.leader, follow.leader, follow.members) == (first.id, first.id, [])
    assert sorted(m.member_id for m in lead.members) == sorted([first.id, second.id])
    assert first.sync({first.id: b"1", second.id: b"2"}).assignment == b"1"
    assert second.sync().assignment == b"2"
    described = world.described("g")
    assert sorted(m.client_id for m in described.members) == ["one", "two"]
    assert {m.client_host for m in described.members} == {"/127.0.0.1"}
    world.connect().ask(LeaveGroupRequest(group_id="g", members=[MemberIdentity(member_id=first.id)]))
    assert second.beat() == ErrorCode.REBALANCE_IN_PROGRESS
    assert second.join().leader == second.id


def test_a_connection_that_breaks_does_not_end_a_membership():
    world = Groups()
    member = Member(world).alone()
    member.client.close()
    member.client = world.connect()
    assert member.beat() == 0


def test_a_static_member_that_restarts_is_known_again_and_its_old_self_fenced():  # KIP-345
    world = Groups()
    old = Member(world, instance="i").alone()
    new = Member(world, instance="i")
    answer = new.join()
    assert (answer.error_code, answer.generation_id) == (0, old.generation)
    assert new.sync().assignment == b"all"
    assert old.beat() == ErrorCode.FENCED_INSTANCE_ID
    assert new.beat() == 0
    world.restart()
    new.client = world.connect()
    assert new.beat() == 0


def test_a_group_has_only_so_many_members():  # KIP-389
    world = Groups(group_max_size="1")
    Member(world).alone()
    assert Member(world).join().error_code == ErrorCode.GROUP_MAX_SIZE_REACHED


def test_nobody_commits_for_a_group_that_others_are_in():
    world = Groups()
    member = Member(world).alone()
    assert world.commit("g", 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit("g", 1, member=("stranger", 1)) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit("g", 1, member=(member.id, member.generation - 1)) == ErrorCode.ILLEGAL_GENERATION
    assert world.connect().ask(DeleteGroupsRequest(groups_names=["g"])).results[0].error_code == (
        ErrorCode.NON_EMPTY_GROUP
    )


def test_groups_end_with_the_topic_that_keeps_them_and_begin_anew():
    world = Groups()
    first = Member(world).alone()
    world.commit("h", 5)
    second = Member(world)
    assert second.join() is None
    (deleted,) = world.connect().ask(DeleteTopicsRequest(topic_names=["__consumer_offsets"]), 5).responses
    assert deleted.error_code == 0
    assert second.heard().error_code == ErrorCode.NOT_COORDINATOR
    assert first.beat() == ErrorCode.COORDINATOR_NOT_AVAILABLE
    answer = world.connect().ask(FindCoordinatorRequest(coordinator_keys=["g"]))
    assert answer.coordinators[0].error_code == 0
    assert first.beat() == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.committed("h") == {"h": []}
    assert Member(world).alone().beat() == 0
    world.restart()
    assert world.listed() == [("g", "Stable")]


def test_nobody_is_told_an_assignment_that_a_crash_could_take_back():
    world = Groups()
    leader = Member(world).alone()
    follower = Member(world)
    follower.join()
    leader.join()
    follower.joined(follower.heard())
    assert follower.generation == leader.generation == 2

    def ask(member, **assignments):
        given = [SyncGroupRequestAssignment(member_id=m, assignment=a) for m, a in assignments.items()]
        request = SyncGroupRequest(
            group_id="g", generation_id=2, member_id=member.id, protocol_type="consumer", assignments=given
        )
        return member.client.send(request)

    ask(leader, **{leader.id: b"one", follower.id: b"two"})
    world.server.tick(world.now)
    written = world.server.drain()  # the leader's assignment is on its way to the disk, and the group stable
    ask(follower)
    world.server.tick(world.now)
    written += world.server.drain()
    assert not any(isinstance(effect, Send) for effect in written)
    for effect in written:
        world.perform(effect)
    world.run()
    assert leader.heard().assignment == b"one"
    assert follower.heard().assignment == b"two"


# ---- offsets that are stable (KIP-447) -----------------------------------------------------------------


def ask_offset(client, *groups, stable, version=9):
    """Begin to ask for the offset of t-0."""
    topic = OffsetFetchRequestTopics(name="t", partition_indexes=[0])
    wanted = [OffsetFetchRequestGroup(group_id=group, topics=[topic]) for group in groups]
    return client.send(OffsetFetchRequest(groups=wanted, require_stable=stable), version)


def offsets_in(response):
    return {group.group_id: group.topics[0].partitions[0].committed_offset for group in response.groups}


def under_way(world, group, offset):
    """Begin a commit; the effects that it waits for."""
    topic = OffsetCommitRequestTopic(
        name="t", partitions=[OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)]
    )
    request = OffsetCommitRequest(
        group_id=group, member_id="", generation_id_or_member_epoch=-1, topics=[topic]
    )
    world.connect().send(request, 9)
    world.server.tick(world.now)
    return world.server.drain()


@pytest.mark.parametrize("stable", [False, True])
def test_a_stable_offset_is_waited_for_while_a_commit_is_under_way(stable):
    world = Groups(offsets_topic_num_partitions="1")
    assert world.commit("g", 5) == 0
    held = under_way(world, "g", 9)
    reader = world.connect()
    ask_offset(reader, "g", "other", stable=stable)
    world.run()
    if not stable:
        (answer,) = reader.answers().values()
        assert offsets_in(answer) == {"g": 5, "other": -1}
        return
    assert reader.answers() == {}
    for effect in held:
        world.perform(effect)
    world.run()
    (answer,) = reader.answers().values()
    assert offsets_in(answer) == {"g": 9, "other": -1}


def test_a_stable_offset_is_answered_at_once_when_no_commit_is_under_way():
    world = Groups()
    assert world.commit("g", 5) == 0
    reader = world.connect()
    ask_offset(reader, "g", "h", "i", stable=True)  # of several shards
    world.run()
    (answer,) = reader.answers().values()
    assert offsets_in(answer) == {"g": 5, "h": -1, "i": -1}


def test_a_stable_offset_is_the_former_one_when_the_commit_is_lost():
    world = Groups(offsets_topic_num_partitions="1")
    assert world.commit("g", 5) == 0
    world.disk.fail("write", errno.ENOSPC)
    held = under_way(world, "g", 9)
    reader = world.connect()
    ask_offset(reader, "g", stable=True)
    world.run()
    for effect in held:
        world.perform(effect)
    world.run()
    (answer,) = reader.answers().values()
    assert offsets_in(answer) == {"g": 5}


def test_a_stable_offset_is_refused_when_the_groups_end_meanwhile():
    world = Groups(offsets_topic_num_partitions="1")
    under_way(world, "g", 9)  # the disk never answers
    reader = world.connect()
    ask_offset(reader, "g", stable=True)
    world.run()
    (deleted,) = world.connect().ask(DeleteTopicsRequest(topic_names=["__consumer_offsets"]), 5).responses
    assert deleted.error_code == 0
    (answer,) = reader.answers().values()
    assert answer.groups[0].error_code == ErrorCode.NOT_COORDINATOR


def test_what_is_asked_in_the_turn_in_which_a_commit_is_lost_is_told_of_the_loss() -> None:
    world = Groups(offsets_topic_num_partitions="1")
    assert world.commit("g", 5) == 0
    world.disk.fail("write", errno.ENOSPC)
    reader = world.connect()
    for effect in under_way(world, "g", 9):
        world.perform(effect)  # the log has gone back, and nobody was told yet
    ask_offset(reader, "g", stable=True)
    world.run()
    (answer,) = reader.answers().values()
    assert offsets_in(answer) == {"g": 5}
