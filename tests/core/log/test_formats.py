"""What stands beside a segment, byte for byte: Kafka's indexes and snapshots, and the links of the chain."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from rafka.core.log import chain, snapshot
from rafka.core.log.index import is_sound, offset_entries, offsets_in, time_entries, times_in
from rafka.core.record.crc32c import crc32c
from rafka.core.types import Uuid

u32 = st.integers(0, (1 << 32) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
sequence = st.integers(0, (1 << 31) - 1)


def test_an_offset_index_is_pairs_of_big_endian_words() -> None:  # Kafka's OffsetIndex
    data = offset_entries(array("I", [5, 0x01020304]), array("I", [4096, 8200]))
    assert data.hex() == "0000000500001000" + "0102030400002008"
    assert [list(words) for words in offsets_in(data)] == [[5, 0x01020304], [4096, 8200]]


def test_a_time_index_is_a_timestamp_and_a_word() -> None:  # Kafka's TimeIndex
    data = time_entries(array("q", [1_700_000_000_000, -1]), array("I", [5, 9]))
    assert data.hex() == "0000018bcfe56800" + "00000005" + "ffffffffffffffff" + "00000009"
    assert [list(words) for words in times_in(data)] == [[1_700_000_000_000, -1], [5, 9]]


@given(st.lists(st.tuples(i64, u32)))
def test_time_entries_round_trip(entries) -> None:
    times, offsets = array("q", [t for t, _ in entries]), array("I", [o for _, o in entries])
    assert times_in(time_entries(times, offsets)) == (times, offsets)


def test_an_index_is_not_used_unless_it_is_what_was_written() -> None:
    data = offset_entries(array("I", [5]), array("I", [4096]))
    assert is_sound(data + b"more", len(data), crc32c(data))
    assert not is_sound(data[:-1], len(data), crc32c(data))
    assert not is_sound(bytes(8), len(data), crc32c(data))


def test_a_snapshot_is_kafkas_and_what_its_reader_passes_over() -> None:  # ProducerStateManager
    data = snapshot.snapshot_of({7: (3, ((0, 4, 10), (5, 9, 20)), 99)})
    assert data[:2].hex() == "0001"
    assert int.from_bytes(data[2:6], "big") == crc32c(data[6:]) == snapshot.crc_of(data)
    entry = "0000000000000007" + "0003" + "00000009" + f"{24:016x}" + "00000004" + f"{99:016x}"
    assert data[6:56].hex() == "00000001" + entry + "ffffffff" + "ff" * 8
    former = "00000001" + "0000000000000007" + "00000001" + "00000000" + "00000004" + f"{10:016x}"
    assert data[56:].hex() == former
    assert snapshot.states_in(data) == {7: (3, ((0, 4, 10), (5, 9, 20)), 99)}


def test_a_snapshot_of_kafka_tells_the_last_batch() -> None:
    content = bytes.fromhex("00000001" + "0000000000000007" + "0003" + "00000001")
    content += bytes.fromhex(f"{24:016x}" + "00000004" + f"{99:016x}" + "ffffffff" + "ff" * 8)
    data = b"\0\1" + crc32c(content).to_bytes(4, "big") + content
    assert snapshot.states_in(data) == {7: (3, (((1 << 31) - 3, 1, 20),), 99)}  # its sequence wraps


@given(st.dictionaries(st.integers(0, 1 << 40), st.tuples(st.integers(0, 9), st.lists(
    st.tuples(sequence, st.integers(0, 1000), st.integers(0, 1 << 50)), max_size=5), i64)), st.data())  # fmt: skip
def test_snapshots_round_trip_and_a_turned_bit_is_seen(drawn, data) -> None:
    states = {
        producer: (epoch, tuple((first, (first + n) % (1 << 31), at) for first, n, at in batches), wall_ms)
        for producer, (epoch, batches, wall_ms) in drawn.items()
    }
    content = snapshot.snapshot_of(states)
    assert snapshot.states_in(content) == states
    broken = bytearray(content)
    broken[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert snapshot.states_in(bytes(broken)) is None
    assert snapshot.states_in(content[: data.draw(st.integers(0, len(content) - 1))]) is None


def link(**fields):
    plain = dict.fromkeys(chain.Link.__annotations__, 0)
    return chain.Link(**(plain | fields))


def test_a_link_is_bound_to_its_log_and_segment() -> None:
    seed = chain.seed(Uuid(bytes(range(16))), 3)
    one = link(start=seed, end_offset=52, position=300, chain=1 << 63, snapshot_offset=-1, epoch=-1)
    data = chain.encode(one, seed, 42)
    assert len(data) == chain.LINK_BYTES
    assert chain.decode(data + data[:50], seed, 42) == [one]
    assert chain.decode(data, seed, 43) == [None]
    assert chain.decode(data, chain.seed(Uuid(bytes(range(16))), 4), 42) == [None]
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 16
        assert chain.decode(bytes(broken), seed, 42) == [None]


def test_the_chain_sees_order_place_epoch_and_content() -> None:
    batches = [bytes([n]) * 61 for n in range(3)]

    def over(row):
        found = chain.seed(Uuid(bytes(16)), 0)
        for batch in row:
            found = chain.chained(found, batch)
        return found

    whole = over(batches)
    others = [batches[::-1], batches[:2], batches[1:], [*batches, batches[2]]]
    for at in range(chain.PREFIX_BYTES):
        changed = bytearray(batches[1])
        changed[at] ^= 1
        others.append([batches[0], bytes(changed), batches[2]])
    assert whole not in [over(row) for row in others]
