"""confluent-kafka: consumer groups with several members, eager and cooperative rebalances, static membership, offsets."""

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.clients.support import (
    PATIENCE,
    admin_of,
    consumer_of,
    create,
    producer_of,
    send,
    take,
    until,
)


def assigned(consumer: Consumer) -> list[int]:
    return sorted(one.partition for one in consumer.assignment())


def settle(members: list[Consumer], partitions: int) -> list[list[int]]:
    """Poll all members until together they own every partition once, and each owns some; who owns which."""

    def owned() -> list[list[int]]:
        for member in members:
            member.consume(100, 0.05)
        shares = [assigned(member) for member in members]
        whole = sorted(partition for share in shares for partition in share) == list(range(partitions))
        return shares if whole and all(shares) else []

    return until(owned, f"{len(members)} members own {partitions} partitions")


def close(members: list[Consumer]) -> None:
    for member in members:
        member.close()


def members_of(admin: AdminClient, group: str) -> list[str]:
    described = admin.describe_consumer_groups([group])[group].result(PATIENCE)
    return sorted(member.client_id for member in described.members)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_the_partitions_and_take_over_from_one_that_left(
    bootstrap: str, name: str, strategy: str
) -> None:
    create(bootstrap, name, partitions=4)
    members = [consumer_of(bootstrap, name, partition_assignment_strategy=strategy) for _ in range(2)]
    members[0].subscribe([name])
    assert settle(members[:1], 4) == [[0, 1, 2, 3]]
    members[1].subscribe([name])
    assert [len(share) for share in settle(members, 4)] == [2, 2]
    members.pop().close()
    assert settle(members, 4) == [[0, 1, 2, 3]]
    close(members)


def test_a_cooperative_rebalance_leaves_what_stays_alone(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=4)
    revoked: list[list[int]] = []
    strategy = "cooperative-sticky"
    first = consumer_of(bootstrap, name, partition_assignment_strategy=strategy)
    first.subscribe([name], on_revoke=lambda _c, gone: revoked.append([one.partition for one in gone]))
    settle([first], 4)
    second = consumer_of(bootstrap, name, partition_assignment_strategy=strategy)
    second.subscribe([name])
    kept, _ = settle([first, second], 4)
    assert len(revoked) == 1
    assert sorted(revoked[0] + kept) == [0, 1, 2, 3]  # never revoked what it kept
    close([first, second])


def test_five_members_of_three_partitions_leave_two_idle(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=3)
    members = [consumer_of(bootstrap, name) for _ in range(5)]
    for member in members:
        member.subscribe([name])

    def balanced() -> bool:
        for member in members:
            member.consume(10, 0.02)
        return sorted(len(assigned(member)) for member in members) == [0, 0, 1, 1, 1]

    until(balanced, "one partition each for three of five")
    close(members)


def test_each_record_goes_to_one_member(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=4)
    members = [consumer_of(bootstrap, name) for _ in range(2)]
    for member in members:
        member.subscribe([name])
    settle(members, 4)
    producer = producer_of(bootstrap)
    for partition in range(4):
        send(producer, name, [b"%d-%d" % (partition, n) for n in range(50)], partition=partition)
    got: list[Message] = []

    def all_there() -> bool:
        for member in members:
            got.extend(member.consume(100, 0.1))
        return len(got) >= 200

    until(all_there, "200 records")
    assert sorted(one.value() for one in got) == sorted(
        b"%d-%d" % (p, n) for p in range(4) for n in range(50)
    )
    close(members)


def test_every_group_gets_every_record_and_one_of_its_members_each(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=6)
    groups = [
        [consumer_of(bootstrap, f"{name}-{group}") for _ in range(size)]
        for group, size in enumerate((1, 2, 3))
    ]
    for members in groups:
        for member in members:
            member.subscribe([name])
        settle(members, 6)
    values = [b"%d" % number for number in range(600)]
    producer = producer_of(bootstrap)
    for partition in range(6):
        send(producer, name, values[partition::6], partition=partition)
    for members in groups:
        got: list[Message] = []

        def all_there(members: list[Consumer] = members, got: list[Message] = got) -> bool:
            for member in members:
                got.extend(member.consume(100, 0.1))
            return len(got) >= len(values)

        until(all_there, "every record")
        assert sorted(message.value() for message in got) == sorted(values)
        close(members)


def test_a_new_member_resumes_where_the_group_committed(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    send(producer_of(bootstrap), name, [b"%d" % n for n in range(10)])
    first = consumer_of(bootstrap, name)
    first.subscribe([name])
    take(first, 4)
    (done,) = first.commit(offsets=[TopicPartition(name, 0, 4, metadata="half way")], asynchronous=False)
    assert (done.error, done.offset) == (None, 4)
    first.close()
    second = consumer_of(bootstrap, name)
    (committed,) = second.committed([TopicPartition(name, 0)], timeout=10)
    assert (committed.offset, committed.metadata) == (4, "half way")
    second.subscribe([name])
    assert [message.value() for message in take(second, 6)] == [b"4", b"5", b"6", b"7", b"8", b"9"]
    second.close()


def test_a_partition_without_a_commit_says_so(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    consumer = consumer_of(bootstrap, name)
    (committed,) = consumer.committed([TopicPartition(name, 0)], timeout=10)
    assert committed.offset == -1001  # OFFSET_INVALID: nothing committed
    consumer.close()


def test_offsets_are_committed_on_their_own(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    send(producer_of(bootstrap), name, [b"a", b"b", b"c"])
    settings = {"enable_auto_commit": True, "auto_commit_interval_ms": 100}
    first = consumer_of(bootstrap, name, **settings)
    first.subscribe([name])
    take(first, 3)
    first.close()  # commits
    second = consumer_of(bootstrap, name)
    assert second.committed([TopicPartition(name, 0)], timeout=10)[0].offset == 3
    second.close()


def test_a_static_member_comes_back_without_a_rebalance(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=2)
    rebalances: list[int] = []
    static = {"session_timeout_ms": 20000}
    stays = consumer_of(bootstrap, name, group_instance_id="stays", **static)
    stays.subscribe([name], on_assign=lambda _c, got: rebalances.append(len(got)))
    leaves = consumer_of(bootstrap, name, group_instance_id="leaves", **static)
    leaves.subscribe([name])
    _, before = settle([stays, leaves], 2)
    seen = len(rebalances)
    leaves.close()  # a static member sends no LeaveGroup
    again = consumer_of(bootstrap, name, group_instance_id="leaves", **static)
    again.subscribe([name])
    _, after = settle([stays, again], 2)
    assert after == before
    assert len(rebalances) == seen
    close([stays, again])


def test_a_second_member_of_the_same_instance_fences_the_first(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    first = consumer_of(bootstrap, name, group_instance_id="one")
    first.subscribe([name])
    settle([first], 1)
    second = consumer_of(bootstrap, name, group_instance_id="one")
    second.subscribe([name])
    settle([second], 1)

    def fenced() -> bool:
        message = first.poll(0.05)
        second.poll(0.0)
        error = message.error() if message else None
        return error is not None and error.code() in {KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID}

    until(fenced, "the first member is fenced")
    close([first, second])


def test_a_member_that_dies_is_replaced_after_its_session(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=2)
    dies = consumer_of(bootstrap, name, max_poll_interval_ms=6000)
    lives = consumer_of(bootstrap, name)
    for member in (dies, lives):
        member.subscribe([name])
    settle([dies, lives], 2)
    assert settle([lives], 2) == [[0, 1]]  # the other is not polled any more
    close([dies, lives])


def test_a_pattern_subscribes_to_topics_made_later(bootstrap: str, name: str) -> None:
    create(bootstrap, f"{name}-a")
    consumer = consumer_of(bootstrap, name)
    consumer.subscribe([f"^{name}-.*"])
    producer = producer_of(bootstrap)
    send(producer, f"{name}-a", [b"a"])
    assert take(consumer, 1)[0].topic() == f"{name}-a"
    create(bootstrap, f"{name}-b")
    send(producer, f"{name}-b", [b"b"])
    until(
        lambda: take(consumer, 1)[0].topic() == f"{name}-b", "a record of the new topic"
    )  # after its rebalance
    consumer.close()


def test_committing_for_a_group_of_another_generation_is_refused(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=2)
    members = [consumer_of(bootstrap, name) for _ in range(2)]
    members[0].subscribe([name])
    settle(members[:1], 2)
    stranger = consumer_of(bootstrap, name)
    with pytest.raises(KafkaException) as refused:  # not a member of an active group
        stranger.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
    close([*members, stranger])


def test_an_active_group_is_listed_described_and_not_deleted(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    admin = admin_of(bootstrap)
    consumer = consumer_of(bootstrap, name, client_id="reader-1")
    consumer.subscribe([name])
    settle([consumer], 1)
    listed = {one.group_id: one for one in admin.list_consumer_groups().result(PATIENCE).valid}
    assert listed[name].state.name == "STABLE"
    described = admin.describe_consumer_groups([name])[name].result(PATIENCE)
    assert (described.state.name, described.partition_assignor) == ("STABLE", "range")
    (member,) = described.members
    assert member.client_id == "reader-1"
    assert [(one.topic, one.partition) for one in member.assignment.topic_partitions] == [(name, 0)]
    with pytest.raises(KafkaException) as refused:
        admin.delete_consumer_groups([name])[name].result(PATIENCE)
    assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    consumer.commit(offsets=[TopicPartition(name, 0, 0)], asynchronous=False)
    consumer.close()
    until(lambda: members_of(admin, name) == [], "the member is gone")
    admin.delete_consumer_groups([name])[name].result(PATIENCE)
    with pytest.raises(KafkaException) as gone:
        admin.delete_consumer_groups([name])[name].result(PATIENCE)
    assert gone.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def test_a_group_id_that_nobody_used_is_dead(bootstrap: str) -> None:
    admin = admin_of(bootstrap)
    described = admin.describe_consumer_groups(["nobody"])["nobody"].result(PATIENCE)
    assert (described.state.name, described.members) == ("DEAD", [])
