import pytest

from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
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
    OffsetFetchRequestTopics,
)
from rafka.core.coordinator.group.classic import State
from rafka.core.coordinator.group.records import group_row, key_of, offset_row, offset_value
from rafka.core.errors import ErrorCode
from rafka.core.machine import Decision
from rafka.core.stored.offset_commit_value import OffsetCommitValue
from tests.core.coordinator.group.world import SUBSCRIPTION, World


def pair(world):
    """Two dynamic members, both joined, not yet synced."""
    first, generation = world.single()
    second = world.new_id()
    late = world.join(second)
    assert late not in world.replies
    assert world.beat(first, generation) == ErrorCode.REBALANCE_IN_PROGRESS
    again = world.join(first)
    return first, second, world.replies[again], world.replies[late]


def test_the_only_member_leads_and_gets_what_it_assigned():
    world = World()
    member, generation = world.single()
    assert generation == 1
    assert (world.group.state, world.group.leader) == (State.STABLE, member)


def test_a_second_member_makes_everybody_join_again_and_the_leader_assigns():
    world = World()
    first, second, lead, follow = pair(world)
    assert lead.generation_id == follow.generation_id == 2
    assert [m.member_id for m in lead.members] == [first, second]
    assert follow.members == []
    parked = world.sync(second, 2)
    assert parked not in world.replies
    world.sync(first, 2, {first: b"1", second: b"2"})
    assert world.replies[parked].assignment == b"2"


def test_a_dynamic_member_must_come_back_with_the_id_it_is_given():  # KIP-394
    world = World()
    refused = world.replies[world.join()]
    assert refused.error_code == ErrorCode.MEMBER_ID_REQUIRED
    assert refused.member_id == "app-00000000-0000-0000-0000-000000000001"
    world.wait(10_001)
    assert world.replies[world.join(refused.member_id)].error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_an_old_client_joins_without_an_id():
    world = World()
    answer = world.replies[world.join(version=3)]
    assert (answer.error_code, answer.generation_id, answer.leader) == (0, 1, answer.member_id)


@pytest.mark.parametrize("session", [5_999, 1_800_001])
def test_a_session_timeout_out_of_bounds_is_refused(session):
    world = World()
    assert world.replies[world.join(session=session)].error_code == ErrorCode.INVALID_SESSION_TIMEOUT


def test_a_member_without_a_common_protocol_is_refused():
    world = World()
    world.single()
    assert (
        world.replies[world.join(protocols=[("sticky", b"")])].error_code
        == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    )
    assert world.replies[world.join(kind="connect")].error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_the_protocol_with_most_votes_wins():
    world = World()
    both = [("range", b""), ("sticky", b"")]
    calls = [world.join(version=3, protocols=both)]
    generation = world.replies[calls[0]]
    others = [world.join(version=3, protocols=both[::-1]) for _ in range(2)]
    world.join(generation.member_id, version=3, protocols=both)
    assert {world.replies[call].protocol_name for call in others} == {"sticky"}


def test_a_full_group_takes_nobody():
    world = World(group_max_size=1)
    world.single()
    assert world.replies[world.join()].error_code == ErrorCode.GROUP_MAX_SIZE_REACHED


def test_a_silent_member_is_removed_when_its_session_ends():
    world = World()
    member, generation = world.single()
    world.wait(9_999)
    assert world.beat(member, generation) == 0
    world.wait(9_999)
    assert world.group.state is State.STABLE
    world.wait(2)
    assert (world.group.state, world.group.generation) == (State.EMPTY, 2)
    assert world.beat(member, generation) == ErrorCode.UNKNOWN_MEMBER_ID


def test_who_does_not_join_again_in_time_is_removed():
    world = World()
    first, generation = world.single()
    late = world.join(world.new_id())
    for _ in range(8):
        world.wait(8_000)
        world.beat(first, generation)
    assert world.replies[late].generation_id == 2
    assert first not in world.group.members


def test_who_does_not_sync_in_time_is_removed():
    world = World()
    first, second, lead, _ = pair(world)
    world.sync(first, 2, {first: b"1", second: b"2"})
    for _ in range(8):
        world.wait(8_000)
        world.beat(first, lead.generation_id)
        world.beat(second, lead.generation_id)
    assert second not in world.group.members


def test_a_follower_that_waits_for_the_leader_is_sent_back_when_somebody_joins():
    world = World()
    _, second, lead, _ = pair(world)
    parked = world.sync(second, lead.generation_id)
    world.join(world.new_id())
    assert world.replies[parked].error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_the_first_rebalance_of_a_group_waits_for_more_members():
    world = World(group_initial_rebalance_delay_ms=3_000)
    calls = [world.join(version=3) for _ in range(3)]
    assert not any(call in world.replies for call in calls)
    world.wait(6_001)
    assert {world.replies[call].generation_id for call in calls} == {1}


def test_a_generation_other_than_the_current_is_refused():
    world = World()
    member, generation = world.single()
    assert world.beat(member, generation + 1) == ErrorCode.ILLEGAL_GENERATION
    assert world.replies[world.sync(member, generation - 1)].error_code == ErrorCode.ILLEGAL_GENERATION
    assert world.commit(5, member, generation - 1) == ErrorCode.ILLEGAL_GENERATION


def test_a_member_that_leaves_frees_its_place_at_once():
    world = World()
    member, _ = world.single()
    assert world.leave(member).members[0].error_code == 0
    assert world.group.state is State.EMPTY
    assert world.leave(member).members[0].error_code == ErrorCode.UNKNOWN_MEMBER_ID


def static(world):
    joined = world.replies[world.join(instance="i")]
    world.sync(joined.member_id, joined.generation_id, {joined.member_id: b"all"}, instance="i")
    return joined.member_id


def test_a_static_member_that_restarts_takes_its_place_without_a_rebalance():  # KIP-345, KIP-814
    world = World()
    old = static(world)
    back = world.replies[world.join(instance="i")]
    assert (back.generation_id, back.skip_assignment, back.leader) == (1, True, back.member_id)
    assert world.replies[world.sync(back.member_id, 1, instance="i")].assignment == b"all"
    assert world.beat(old, 1, instance="i") == ErrorCode.FENCED_INSTANCE_ID


def test_a_leader_that_cannot_skip_the_assignment_is_told_of_the_old_one():  # KIP-814
    world = World()
    old = static(world)
    back = world.replies[world.join(instance="i", version=8)]
    assert (back.leader, back.members, back.skip_assignment) == (old, [], False)


def test_a_static_member_is_removed_by_its_instance_id_alone():  # KIP-345
    world = World()
    static(world)
    assert world.leave("", instance="i").members[0].error_code == 0
    assert world.group.members == {}


def test_a_commit_is_read_back_and_survives_a_reload():
    world = World()
    member, generation = world.single()
    assert world.commit(7, member, generation) == 0
    assert world.committed() == 7
    world.reload()
    assert world.committed() == 7
    assert world.beat(member, generation) == 0


def test_a_commit_is_visible_only_once_its_record_is_applied():
    world = World()
    before = world.take
    world.take = lambda decision: before(Decision([], decision.replies))
    world.commit(7)
    assert world.committed() == -1


def test_who_may_commit():
    world = World()
    assert world.commit(1, generation=3, version=8) == ErrorCode.ILLEGAL_GENERATION
    assert world.commit(1, generation=3, version=9) == ErrorCode.GROUP_ID_NOT_FOUND  # KIP-848
    assert world.commit(1) == 0
    first, _, lead, _ = pair(world)
    assert world.commit(1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(1, first, lead.generation_id) == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.commit(1, "stranger", lead.generation_id) == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_commit_of_too_much_metadata_or_of_no_topic_is_refused():
    world = World()
    assert world.commit(1, metadata="x" * 4097) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert world.commit(1, topic="nowhere") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_offsets_by_topic_id():
    world = World()
    rows = [OffsetCommitRequestPartition(partition_index=0, committed_offset=9)]
    topics = [OffsetCommitRequestTopic(topic_id=i * 16, partitions=rows) for i in (b"o", b"?")]
    answer = world.ask(OffsetCommitRequest(group_id="g", topics=topics), 10)
    assert [t.partitions[0].error_code for t in answer.topics] == [0, ErrorCode.UNKNOWN_TOPIC_ID]
    wanted = [OffsetFetchRequestTopics(topic_id=i * 16, partition_indexes=[0]) for i in (b"o", b"?")]
    groups = [
        OffsetFetchRequestGroup(group_id="g", topics=wanted),
        OffsetFetchRequestGroup(group_id="g", topics=None),
    ]
    found = world.ask(OffsetFetchRequest(groups=groups), 10).groups
    assert [(p.committed_offset, p.error_code) for t in found[0].topics for p in t.partitions] == [
        (9, 0),
        (-1, 100),
    ]
    assert [(t.topic_id, t.partitions[0].committed_offset) for t in found[1].topics] == [(b"o" * 16, 9)]


def test_offsets_expire_only_once_the_group_has_been_empty_long_enough():  # KIP-211
    world = World(offsets_retention_minutes=60)
    member, generation = world.single()
    world.commit(7, member, generation)
    for _ in range(1_000):
        world.wait(9_000)
        assert world.beat(member, generation) == 0
    assert world.committed() == 7
    world.leave(member)
    world.wait(3_500_000)
    assert world.committed() == 7
    world.wait(800_000)
    assert world.committed() == -1
    assert "g" not in world.shard.groups


def test_an_offset_with_a_retention_of_its_own_expires_then():
    world = World()
    world.commit(7, version=4, retention_time_ms=1_000)
    world.wait(600_001)
    assert world.committed() == -1


def test_the_offsets_of_a_deleted_topic_are_forgotten():
    world = World()
    world.commit(7)
    world.commit(8, topic="audit")
    world.take(world.shard.topics_deleted(["audit"]))
    assert (world.committed(), world.committed("audit")) == (7, -1)


def offset_delete(world, topic):
    body = OffsetDeleteRequest(
        group_id="g",
        topics=[
            OffsetDeleteRequestTopic(name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=0)])
        ],
    )
    answer = world.ask(body, 0)
    return answer.error_code or answer.topics[0].partitions[0].error_code


def test_offsets_of_a_consumed_topic_cannot_be_deleted():  # KIP-496
    world = World()
    assert offset_delete(world, "audit") == ErrorCode.GROUP_ID_NOT_FOUND
    member, generation = world.single()
    world.commit(3, member, generation, topic="audit")
    assert offset_delete(world, "orders") == ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    assert offset_delete(world, "audit") == 0
    assert world.committed("audit") == -1


def test_only_an_empty_group_is_deleted_with_its_offsets():
    world = World()
    member, generation = world.single()
    world.commit(7, member, generation)
    delete = DeleteGroupsRequest(groups_names=["g", "none"])
    codes = [r.error_code for r in world.ask(delete, 2).results]
    assert codes == [ErrorCode.NON_EMPTY_GROUP, ErrorCode.GROUP_ID_NOT_FOUND]
    world.leave(member)
    assert world.ask(delete, 2).results[0].error_code == 0
    assert (world.shard.groups, world.shard.offsets.of) == ({}, {})
    world.reload()
    assert (world.shard.groups, world.shard.offsets.of) == ({}, {})


def test_groups_are_listed_by_state_and_type_and_described():
    world = World()
    member, _ = world.single()
    assert [g.group_id for g in world.ask(ListGroupsRequest(states_filter=["stable"]), 5).groups] == ["g"]
    assert world.ask(ListGroupsRequest(states_filter=["Empty"]), 5).groups == []
    assert world.ask(ListGroupsRequest(types_filter=["consumer"]), 5).groups == []
    found, absent = world.ask(DescribeGroupsRequest(groups=["g", "no"]), 6).groups
    assert (found.group_state, found.protocol_data) == ("Stable", "range")
    assert [(m.member_id, m.client_host, m.member_assignment) for m in found.members] == [
        (member, "/127.0.0.1", b"all")
    ]
    assert (absent.group_state, absent.error_code) == ("Dead", ErrorCode.GROUP_ID_NOT_FOUND)
    assert found.members[0].member_metadata == SUBSCRIPTION
    assert found.authorized_operations == -(1 << 31)  # nobody asked
    body = DescribeGroupsRequest(groups=["g"], include_authorized_operations=True)
    assert world.ask(body, 6).groups[0].authorized_operations == 0b1101_0100_1000


def test_leaving_a_group_that_is_not_is_each_members_error():
    world = World()
    left = world.leave("m", "i")
    assert (left.error_code, [m.error_code for m in left.members]) == (0, [ErrorCode.UNKNOWN_MEMBER_ID])


def test_a_generation_that_could_not_be_written_is_refused_and_begun_again():
    world = World()
    member = world.new_id()
    world.join(member)
    held = []
    take, world.take = world.take, held.append
    call = world.sync(member, 1, {member: b"all"})
    take(world.shard.failed(held[0], ErrorCode.NOT_ENOUGH_REPLICAS, world.now))
    assert world.replies[call].error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.group.state is State.PREPARING


def test_records_are_in_the_bytes_of_kafkas_schema():
    committed = OffsetCommitValue(
        offset=5, leader_epoch=2, metadata="m", commit_timestamp=9, topic_id=b"o" * 16
    )
    key, value = offset_row("g", "t", 3, committed)
    assert key == bytes.fromhex("0001 0001 67 0001 74 00000003")
    assert value == bytes.fromhex(
        "0004 0000000000000005 00000002 02 6d 0000000000000009 01 00 10" + "6f" * 16
    )
    assert offset_value(value) == committed
    assert group_row("g", None) == (bytes.fromhex("0002 0001 67"), None)
    assert key_of(bytes.fromhex("0003 0001 67")) is None
    assert key_of(b"\0\1\0") is None
