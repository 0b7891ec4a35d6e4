"""Bytes read from __consumer_offsets of Apache Kafka 4.4.0, after one static librdkafka member joined and committed."""

import pytest

from rafka.core.coordinator.group.classic import State, restored
from rafka.core.coordinator.group.records import group_row, group_value, key_of, offset_row, offset_value

NEW_GROUP = ("0002000167", "0003000000000000ffffffff000001a20cbb916500000000")
GENERATION = (
    "0002000167",
    (
        "00030008636f6e73756d657200000001000572616e67650026692d65633865303661342d373832312d346365302d613834662d373830"
        "663232666630396134000001a20cbb9d1e000000010026692d65633865303661342d373832312d346365302d613834662d3738306632"
        "326666303961340001690003617070000a2f3132372e302e302e31000493e0000027100000001c00030000000100066f726465727300"
        "00000000000000ffffffff00000000001a00000000000100066f7264657273000000010000000000000000"
    ),
)
COMMIT = (
    "000100016700066f726465727300000000",
    "00040000000000000001ffffffff066e6f746500000001a20cbb9d88010010212f5e6d7365416bb74fcee6f002e5f6",
)


@pytest.mark.parametrize(("key", "value"), [NEW_GROUP, GENERATION])
def test_a_group_is_read_and_written_in_kafkas_bytes(key, value):
    row = bytes.fromhex(key), bytes.fromhex(value)
    assert group_row(key_of(row[0]).group, group_value(row[1])) == row


def test_a_commit_is_read_and_written_in_kafkas_bytes():
    key, value = (bytes.fromhex(part) for part in COMMIT)
    name, committed = key_of(key), offset_value(value)
    assert (name.group, name.topic, name.partition) == ("g", "orders", 0)
    assert (committed.offset, committed.leader_epoch, committed.metadata) == (
        1,
        -1,
        "note\0",
    )  # librdkafka sends the NUL
    assert offset_row("g", "orders", 0, committed) == (key, value)


def test_a_group_restored_from_kafkas_record_is_stored_as_the_same_bytes():
    key, value = (bytes.fromhex(part) for part in GENERATION)
    group = restored("g", group_value(value))
    assert (group.state, group.generation, group.protocol) == (State.STABLE, 1, "range")
    assert group.instances == {"i": group.leader}
    assert group.subscribed_topics() == ["orders"]
    assert group_row("g", group.stored()) == (key, value)


@pytest.mark.parametrize("key", ["0003000167", "00020001", "0002000500", "", "00"])
def test_a_key_of_another_kind_or_cut_short_is_skipped(key):
    assert key_of(bytes.fromhex(key)) is None


@pytest.mark.parametrize("value", ["", "0009", "0003ff", "0003000000000000ffffffff"])
def test_a_value_of_an_unknown_version_or_cut_short_is_skipped(value):
    assert group_value(bytes.fromhex(value)) is None
    assert offset_value(bytes.fromhex(value)) is None
