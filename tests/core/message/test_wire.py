"""The primitives: varints and tagged sections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.errors import RemoteProtocolError
from rafka.core.message import decode, encode, wire
from rafka.core.stored.consumer_group_member_metadata_value import (
    ClassicMemberMetadata,
    ConsumerGroupMemberMetadataValue,
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (16383, "ff7f"),
        (16384, "808001"),
        (2**31 - 1, "ffffffff07"),
        (2**32 - 1, "ffffffff0f"),
    ],
)
def test_a_varint_has_seven_bits_a_byte_lowest_first(value: int, encoded: str) -> None:
    out = bytearray()
    wire.put_uvarint(out, value)
    assert out.hex() == encoded
    assert wire.read_uvarint(out, 0) == (value, len(out))


@given(st.integers(0, 2**32 - 1), st.binary(max_size=3))
def test_a_varint_is_read_back_wherever_it_lies(value: int, before: bytes) -> None:
    out = bytearray(before)
    wire.put_uvarint(out, value)
    assert wire.read_uvarint(memoryview(out), len(before)) == (value, len(out))


@pytest.mark.parametrize("encoded", ["ffffffff10", "ffffffffff01", "808080808000", "ffffffffff"])
def test_a_varint_of_more_than_32_bits_is_refused(encoded: str) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.read_uvarint(bytes.fromhex(encoded), 0)


def test_a_varint_that_the_end_cuts_is_an_index_error_for_the_caller_to_translate() -> None:
    with pytest.raises(IndexError):
        wire.read_uvarint(b"\x80\x80", 0)


def test_skipping_tags_stops_after_the_last_field() -> None:
    section = bytes.fromhex("02 05 01 aa 8001 03 bbccdd")
    assert wire.skip_tags(section + b"rest", 1, section[0]) == len(section)


def test_a_tagged_field_that_is_longer_than_the_rest_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        wire.skip_tags(bytes.fromhex("01 00 05 aabb"), 1, 1)


def test_more_than_ten_thousand_tagged_fields_are_refused_before_the_first_is_read() -> None:
    out = bytearray()
    wire.put_uvarint(out, 10_001)
    with pytest.raises(RemoteProtocolError, match="10001 tagged fields"):
        wire.skip_tags(out, 1, out[0])


def test_ten_thousand_tagged_fields_are_read() -> None:
    out = bytearray()
    wire.put_uvarint(out, 10_000)
    out += b"\x07\x00" * 10_000
    assert wire.skip_tags(out, 1, out[0]) == len(out)


@pytest.mark.parametrize(
    ("struct", "tags"),
    [
        (None, "01 00 01 00"),  # one tag: number 0, of one byte, null
        (ClassicMemberMetadata(), "00"),  # all defaults: not written
        (ClassicMemberMetadata(session_timeout_ms=5), "01 00 07 01 00000005 01 00"),
    ],
)
def test_a_tagged_struct_may_be_null(struct: ClassicMemberMetadata | None, tags: str) -> None:
    """As Java's class of this record writes it: a nullable struct in the tagged section begins with a varint."""
    message = ConsumerGroupMemberMetadataValue(classic_member_metadata=struct)
    data = bytes.fromhex("01 01 01 01 01 01 ffffffff 01" + tags)
    assert encode(message, 0) == data
    assert decode(ConsumerGroupMemberMetadataValue, 0, data) == message
