import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.client.membership import (
    assignment_of,
    read_assignment,
    read_subscription,
    share_by_range,
    subscription_of,
)
from rafka.core.errors import RemoteProtocolError


def test_subscriptions_and_assignments_are_those_of_kafka():
    assert subscription_of(["ab"]) == bytes.fromhex("0000 00000001 0002 6162 ffffffff")
    assert assignment_of({"ab": [0, 3]}) == bytes.fromhex(
        "0000 00000001 0002 6162 00000002 00000000 00000003 ffffffff"
    )


def test_later_versions_are_read_as_far_as_they_are_known():
    known = bytes.fromhex("00000001 0002 6162 ffffffff")
    assert read_subscription(b"\0\1" + known + bytes(4)) == ["ab"]
    later = bytes.fromhex("0063 00000001 0002 6162 00000001 00000005 ffffffff") + b"and more"
    assert read_assignment(later) == {"ab": [5]}


def test_a_member_that_has_nothing_yet_sends_nothing():
    assert read_assignment(b"") == {}


@pytest.mark.parametrize("data", [b"\0", b"\xff\xff\0\0\0\0", b"\0\0\0\0\0\1"])
def test_what_is_no_assignment_is_an_error_of_theirs(data):
    with pytest.raises(RemoteProtocolError):
        read_assignment(data)


def test_ranges_give_the_first_members_one_more():
    subscriptions = {"c": ["t", "u"], "a": ["t"], "b": ["t", "missing"]}
    assert share_by_range(subscriptions, {"t": 8, "u": 1}) == {
        "a": {"t": [0, 1, 2]},
        "b": {"t": [3, 4, 5]},
        "c": {"t": [6, 7], "u": [0]},
    }


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("xyz"), unique=True), min_size=1),
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9)),
)
def test_every_partition_that_somebody_reads_is_given_once(subscriptions, partitions):
    shares = share_by_range(subscriptions, partitions)
    given_out = [(t, p) for share in shares.values() for t, some in share.items() for p in some]
    read = {topic for topics in subscriptions.values() for topic in topics}
    assert sorted(given_out) == sorted((t, p) for t in read for p in range(partitions.get(t, 0)))
    assert all(topic in subscriptions[member] for member, share in shares.items() for topic in share)
