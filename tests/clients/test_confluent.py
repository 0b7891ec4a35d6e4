"""confluent-kafka (librdkafka) against the broker: producing and reading."""

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from tests.clients.support import (
    CODECS,
    PATIENCE,
    consumer_of,
    create,
    offsets,
    producer_of,
    read,
    send,
    take,
    until,
)


def test_what_was_produced_is_consumed_in_order(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    values = [b"value %d" % number for number in range(1000)]
    assert offsets(send(producer_of(bootstrap), name, values)) == list(range(1000))
    messages = read(bootstrap, name, 1000)
    assert [message.value() for message in messages] == values
    assert [message.offset() for message in messages] == list(range(1000))


def test_keys_headers_tombstones_and_timestamps_come_back_as_sent(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    headers = [("trace", b"\x00\xff"), ("empty", b""), ("none", None), ("trace", b"again")]
    producer = producer_of(bootstrap)
    send(producer, name, [b"v"], key=b"k", headers=headers, timestamp=1_600_000_000_123)
    send(producer, name, [None], key=b"gone")
    send(producer, name, [b""], key=b"")
    first, tombstone, empty = read(bootstrap, name, 3)
    assert (first.key(), first.value(), first.headers()) == (b"k", b"v", headers)
    assert first.timestamp() == (1, 1_600_000_000_123)  # 1: CreateTime
    assert (tombstone.key(), tombstone.value()) == (b"gone", None)
    assert (empty.key(), empty.value()) == (b"", b"")


def test_log_append_time_replaces_the_senders_timestamp(bootstrap: str, name: str) -> None:
    create(bootstrap, name, message_timestamp_type="LogAppendTime")
    send(producer_of(bootstrap), name, [b"v"], timestamp=1)
    (message,) = read(bootstrap, name, 1)
    kind, timestamp = message.timestamp()
    assert kind == 2  # LogAppendTime
    assert timestamp > 1_600_000_000_000


@pytest.mark.parametrize("acks", ["1", "all"])
def test_acknowledged_records_have_offsets(bootstrap: str, name: str, acks: str) -> None:
    create(bootstrap, name)
    assert offsets(send(producer_of(bootstrap, acks=acks), name, [b"a", b"b"])) == [0, 1]


def test_acks_0_asks_for_no_answer_and_the_records_arrive(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    send(producer_of(bootstrap, acks="0"), name, [b"a", b"b", b"c"])
    assert [message.value() for message in read(bootstrap, name, 3)] == [b"a", b"b", b"c"]


def test_an_idempotent_producer_writes_each_record_once(bootstrap: str, name: str) -> None:
    create(bootstrap, name, partitions=2)
    producer = producer_of(bootstrap, enable_idempotence=True, batch_num_messages=10)
    for partition in (0, 1):
        assert offsets(send(producer, name, [b"%d" % n for n in range(500)], partition=partition)) == list(
            range(500)
        )
    for partition in (0, 1):
        messages = read(bootstrap, name, 500, partition=partition)
        assert [message.value() for message in messages] == [b"%d" % n for n in range(500)]


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_batches_are_read_back(bootstrap: str, name: str, codec: str) -> None:
    create(bootstrap, name)
    values = [b"%d " % n * 200 for n in range(100)]
    offsets(send(producer_of(bootstrap, compression_type=codec, linger_ms=50), name, values))
    assert [message.value() for message in read(bootstrap, name, 100)] == values


@pytest.mark.parametrize("codec", CODECS)
def test_a_topic_that_names_a_codec_recompresses(bootstrap: str, name: str, codec: str) -> None:
    create(bootstrap, name, compression_type=codec)
    values = [b"%d " % n * 200 for n in range(100)]
    offsets(send(producer_of(bootstrap, linger_ms=50), name, values))
    assert [message.value() for message in read(bootstrap, name, 100)] == values


def test_a_batch_of_the_largest_size_is_taken(bootstrap: str, name: str) -> None:
    create(bootstrap, name, max_message_bytes=3_000_000)
    value = bytes(range(256)) * 11_600  # 2,969,600 bytes
    producer = producer_of(bootstrap, message_max_bytes=4_000_000)
    assert offsets(send(producer, name, [value, value])) == [0, 1]
    assert [message.value() for message in read(bootstrap, name, 2)] == [value, value]


def test_a_larger_batch_is_refused_with_message_too_large(bootstrap: str, name: str) -> None:
    create(bootstrap, name, max_message_bytes=10_000)
    (report,) = send(producer_of(bootstrap), name, [b"x" * 20_000])
    assert report.error().code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert offsets(send(producer_of(bootstrap), name, [b"x" * 9_000])) == [0]


def test_a_small_fetch_limit_still_gets_a_large_record(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    offsets(send(producer_of(bootstrap), name, [b"x" * 500_000, b"y" * 500_000]))
    consumer = consumer_of(bootstrap, name, fetch_message_max_bytes=1000, fetch_max_bytes=1_000_000)
    consumer.assign([TopicPartition(name, 0, 0)])
    assert [len(message.value()) for message in take(consumer, 2)] == [500_000, 500_000]
    consumer.close()


def test_offsets_are_found_by_time(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    producer = producer_of(bootstrap)
    base = 1_600_000_000_000
    for step in range(5):
        offsets(send(producer, name, [b"%d" % step], timestamp=base + 1000 * step))
    consumer = consumer_of(bootstrap, name)
    for asked, expected in [(0, 0), (base, 0), (base + 1, 1), (base + 3000, 3), (base + 4001, -1)]:
        (found,) = consumer.offsets_for_times([TopicPartition(name, 0, asked)], timeout=10)
        assert (asked, found.offset) == (asked, expected)
    consumer.close()


def test_the_watermarks_are_the_ends_of_the_log(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    consumer = consumer_of(bootstrap, name)
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (0, 0)
    send(producer_of(bootstrap), name, [b"a", b"b", b"c"])
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (0, 3)
    consumer.close()


def test_a_consumer_seeks_to_any_offset(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    producer = producer_of(bootstrap, batch_num_messages=7)
    send(producer, name, [b"%d" % n for n in range(100)])
    consumer = consumer_of(bootstrap, name)
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    assert take(consumer, 1)[0].value() == b"0"
    for offset in (50, 3, 99, 42):
        consumer.seek(TopicPartition(name, 0, offset))
        assert take(consumer, 1)[0].offset() == offset
    consumer.seek(TopicPartition(name, 0, 100))  # the end
    assert consumer.consume(1, 0.3) == []
    send(producer, name, [b"new"])
    assert take(consumer, 1)[0].value() == b"new"
    consumer.close()


def test_an_offset_out_of_range_resets_or_is_reported(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    send(producer_of(bootstrap), name, [b"only"])
    consumer = consumer_of(bootstrap, name, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(name, 0, 1000)])
    assert take(consumer, 1)[0].offset() == 0
    consumer.close()
    consumer = consumer_of(bootstrap, name, auto_offset_reset="error")
    consumer.assign([TopicPartition(name, 0, 1000)])
    message = until(lambda: consumer.poll(0.2), "an error event")
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
    consumer.close()


def test_an_idle_consumer_gets_a_record_that_comes_later(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    consumer = consumer_of(bootstrap, name, fetch_wait_max_ms=5000)
    consumer.assign([TopicPartition(name, 0, 0)])
    assert consumer.consume(1, 0.3) == []
    send(producer_of(bootstrap), name, [b"late"])
    assert take(consumer, 1, seconds=4)[0].value() == b"late"
    consumer.close()


def test_producing_to_an_unknown_topic_makes_it(bootstrap: str, name: str) -> None:
    assert offsets(send(producer_of(bootstrap), name, [b"first"])) == [0]
    assert read(bootstrap, name, 1)[0].value() == b"first"


def test_a_transactional_producer_is_told_at_once_that_there_are_no_transactions(
    bootstrap: str, name: str
) -> None:
    producer = producer_of(bootstrap, transactional_id=name)
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(PATIENCE)
    assert refused.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_a_partition_that_is_not_there_is_refused(bootstrap: str, name: str) -> None:
    create(bootstrap, name)
    producer = producer_of(bootstrap, message_timeout_ms=3000)
    with pytest.raises(KafkaException):
        producer.produce(name, b"x", partition=7)
        producer.flush(10)
        raise KafkaException(send(producer, name, [b"x"], partition=7)[0].error())


def test_timestamps_beyond_the_topics_limits_are_refused(bootstrap: str, name: str) -> None:
    create(bootstrap, name, message_timestamp_after_max_ms=3_600_000)
    (report,) = send(producer_of(bootstrap), name, [b"future"], timestamp=4_000_000_000_000)
    assert report.error().code() == KafkaError.INVALID_TIMESTAMP
