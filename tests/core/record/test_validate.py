"""What produced batches are refused for, and what topics make of those they take."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.config import LogConfig
from rafka.core.errors import ErrorCode
from rafka.core.record.batch import Header, check
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.record.compression import CODEC_NAMES, NONE, ZSTD
from rafka.core.record.crc32c import crc32c
from rafka.core.record.validate import EXPANSION, Refused, prepare
from rafka.core.types import WallMs
from rafka.net.compression import Compression

NOW = WallMs(1_700_000_000_000)
RECORDS = [Record(b"k1", b"v1"), Record(b"k2", None, (("h", b"x"),)), Record(b"k1", b"v3" * 100)]
DEFAULTS = LogConfig()


def batch_of(records=RECORDS, **fields):
    return memoryview(build_batch(records, timestamp=fields.pop("timestamp", NOW), **fields))


def sealed(view, at, replacement):
    """Overwrite bytes and sum again: what a strange client might send."""
    view[at : at + len(replacement)] = replacement
    view[17:21] = crc32c(view[21:]).to_bytes(4, "big")
    return view


def prepared(view, config=DEFAULTS, codecs=None):
    return prepare(view, check(view), config, codecs or Compression(), NOW)


def refusal(view, config=DEFAULTS):
    found = prepared(view, config)
    assert isinstance(found, Refused), "the batch was taken"
    return found.error_code


@pytest.mark.parametrize("codec", range(5))
def test_by_default_a_batch_is_taken_as_it_is_and_never_decompressed(codec):
    codecs = Compression()
    view = batch_of(codec=codec, codecs=Compression())
    before, header = bytes(view), check(view)
    taken = prepare(view, header, DEFAULTS, codecs, NOW)
    assert taken == (view, header)
    assert taken[0] is view
    assert bytes(view) == before
    assert (codecs.compressed, codecs.decompressed) == (0, 0)


def test_a_batch_over_max_message_bytes_is_too_large():
    view = batch_of()
    assert refusal(view, LogConfig(max_message_bytes=len(view) - 1)) == ErrorCode.MESSAGE_TOO_LARGE
    assert prepared(view, LogConfig(max_message_bytes=len(view)))[0] is view


@pytest.mark.parametrize(
    ("at", "replacement"),
    [
        (57, (0).to_bytes(4, "big")),  # no records
        (57, (4).to_bytes(4, "big")),  # more than the last delta says
        (23, (7).to_bytes(4, "big")),  # a last delta past the records
        (0, (5).to_bytes(8, "big")),  # a base offset
        (21, (0x20).to_bytes(2, "big")),  # a control batch
        (43, (9).to_bytes(8, "big")),  # a producer id without a sequence
    ],
)
def test_a_header_that_no_client_may_send_is_an_invalid_record(at, replacement):
    assert refusal(sealed(batch_of(), at, replacement)) == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_unknown_codecs_are_unsupported(codec):
    view = sealed(batch_of(), 21, codec.to_bytes(2, "big"))
    assert refusal(view) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


def test_timestamps_are_held_against_both_limits():
    limits = LogConfig(message_timestamp_after_max_ms=1000, message_timestamp_before_max_ms=5000)
    for timestamp in (NOW + 1000, NOW, NOW - 5000, -1):
        assert not isinstance(prepared(batch_of(timestamp=timestamp), limits), Refused)
    for timestamp in (NOW + 1001, NOW - 5001):
        assert refusal(batch_of(timestamp=timestamp), limits) == ErrorCode.INVALID_TIMESTAMP
    assert refusal(batch_of(timestamp=NOW + 3_600_001)) == ErrorCode.INVALID_TIMESTAMP


def test_only_the_broker_marks_a_batch_log_append_time():
    assert refusal(sealed(batch_of(), 21, b"\x00\x08")) == ErrorCode.INVALID_TIMESTAMP


def test_log_append_time_is_stamped_in_place_and_overrules_limits():
    config = LogConfig(message_timestamp_type="LogAppendTime", message_timestamp_before_max_ms=1)
    view = batch_of(timestamp=5)
    taken, header = prepared(view, config)
    assert taken is view
    check(taken)
    assert (header.max_timestamp, header.base_timestamp, header.attributes) == (NOW, 5, 8)
    assert [record.timestamp for record in records_of(taken)] == [NOW] * 3


def test_a_batch_in_a_buffer_that_cannot_be_written_is_copied_to_be_stamped():
    view = memoryview(bytes(batch_of()))
    taken, _ = prepared(view, LogConfig(message_timestamp_type="LogAppendTime"))
    assert check(taken).max_timestamp == NOW
    assert check(view).attributes == 0


@pytest.mark.parametrize("codec", range(5))
def test_a_compacted_topic_names_every_record_without_a_key(codec):
    config = LogConfig(cleanup_compact=True)
    keyless = [Record(None, b"1"), Record(b"", b"2"), Record(None, None)]
    found = prepared(batch_of(keyless, codec=codec, codecs=Compression()), config)
    assert found.error_code == ErrorCode.INVALID_RECORD
    assert [index for index, _ in found.record_errors] == [0, 2]
    whole = batch_of(codec=codec, codecs=Compression())
    assert prepared(whole, config)[0] is whole


@settings(deadline=None)
@given(st.integers(0, 4), st.sampled_from(CODEC_NAMES), st.booleans())
def test_a_topic_that_names_a_codec_holds_the_same_records_in_it(codec, name, late):
    time = "LogAppendTime" if late else "CreateTime"
    config = LogConfig(compression_type=name, message_timestamp_type=time)
    view = batch_of(codec=codec, codecs=Compression(), producer_id=7, producer_epoch=1, base_sequence=3)
    codecs = Compression()
    taken, header = prepared(view, config, codecs)
    same = CODEC_NAMES[codec] == name
    assert CODEC_NAMES[header.codec] == name
    assert (taken is view) == same
    assert codecs.decompressed == (0 if same or codec == NONE else 1)
    check(taken)
    whole = Header(taken)
    assert (whole.producer_id, whole.producer_epoch, whole.base_sequence, whole.count) == (7, 1, 3, 3)
    expected = [attrs.evolve(r, timestamp=NOW, offset=i) for i, r in enumerate(RECORDS)]
    assert records_of(taken, codecs) == expected


def test_a_batch_that_is_too_large_once_unpacked_is_refused():
    view = batch_of([Record(b"k", bytes(5000))], codec=ZSTD, codecs=Compression())
    config = LogConfig(compression_type="uncompressed", max_message_bytes=1000)
    assert refusal(view, config) == ErrorCode.MESSAGE_TOO_LARGE


def test_a_bomb_is_an_invalid_record():
    view = batch_of([Record(b"k", bytes(1000 * EXPANSION))], codec=ZSTD, codecs=Compression())
    assert len(view) < 1000
    config = LogConfig(compression_type="uncompressed", max_message_bytes=1000)
    assert refusal(view, config) == ErrorCode.INVALID_RECORD


@settings(deadline=None)
@given(st.integers(0, 4), st.binary(max_size=60), st.booleans())
def test_records_that_cannot_be_read_are_invalid_where_they_must_be_read(codec, garbage, packed):
    view = batch_of()
    body = Compression().compress(codec, garbage) if packed and codec else garbage
    view = memoryview(bytearray(view[:61]) + body)
    view[8:12] = (len(view) - 12).to_bytes(4, "big")
    view = sealed(view, 21, codec.to_bytes(2, "big"))
    assert refusal(view, LogConfig(cleanup_compact=True)) == ErrorCode.INVALID_RECORD
