"""Framing: any cutting of the stream gives the same frames; a promise of bytes costs nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.errors import RemoteProtocolError
from rafka.net.frame import FILL_BYTES_MIN, GROWTH, SIZE, START_BYTES, Frames, frame_of

LIMIT = 1 << 20


def feed(frames: Frames, stream: bytes, cuts: list[int]) -> list[bytes]:
    """Deliver a stream as a driver does: lent buffers are filled first, the rest comes in pieces."""
    whole: list[bytes] = []
    position, turn = 0, 0
    while position < len(stream):
        lent = frames.wanted()
        if lent is not None:
            part = stream[position : position + len(lent)]
            lent[: len(part)] = part
            position += len(part)
            if len(part) < len(lent):
                return whole
            whole += [bytes(frame) for frame in frames.filled()]
            continue
        size = cuts[turn % len(cuts)]
        turn += 1
        piece = memoryview(bytearray(stream[position : position + size]))
        position += size
        whole += [bytes(frame) for frame in frames.receive(piece)]
    return whole


payloads = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 300_000).map(lambda n: bytes(i & 255 for i in range(n % 70_000)) * 3),
    ),
    max_size=6,
)


@given(payloads, st.lists(st.integers(1, 90_000), min_size=1, max_size=8))
def test_every_cutting_of_a_stream_gives_the_same_frames(parts: list[bytes], cuts: list[int]) -> None:
    frames = Frames(LIMIT)
    assert feed(frames, b"".join(map(frame_of, parts)), cuts) == parts
    assert not frames.is_mid_frame
    assert frames.held_bytes == 0


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5))
def test_a_stream_that_comes_byte_by_byte_gives_the_same_frames(parts: list[bytes]) -> None:
    assert feed(Frames(LIMIT), b"".join(map(frame_of, parts)), [1]) == parts


def test_a_frame_that_came_whole_is_a_view_and_not_a_copy() -> None:
    received = bytearray(frame_of(b"abc") + frame_of(b"defg"))
    first, second = Frames(LIMIT).receive(memoryview(received))
    received[4:7] = b"xyz"
    assert (bytes(first), bytes(second)) == (b"xyz", b"defg")
    assert first.obj is received


def test_the_rest_of_a_large_frame_is_received_in_place() -> None:
    payload = bytes(range(256)) * 400
    frames = Frames(LIMIT)
    assert frames.receive(memoryview(bytearray(frame_of(payload)[:20_000]))) == []
    lent = frames.wanted()
    assert lent is not None
    assert len(lent) == len(payload) - (20_000 - SIZE.size)
    lent[:] = payload[20_000 - SIZE.size :]
    (frame,) = frames.filled()
    assert bytes(frame) == payload
    assert frame.obj is lent.obj


def test_a_small_rest_is_not_asked_for() -> None:
    frames = Frames(LIMIT)
    frames.receive(memoryview(bytearray(SIZE.pack(FILL_BYTES_MIN - 1))))
    assert frames.wanted() is None


def test_an_announced_size_allocates_only_in_proportion_to_what_came() -> None:
    frames = Frames(100 << 20)
    frames.receive(memoryview(bytearray(SIZE.pack(100 << 20))))
    assert frames.held_bytes <= START_BYTES
    came = 4
    while came < 300_000:
        lent = frames.wanted()
        assert lent is not None
        came += len(lent)
        frames.filled()
        assert frames.held_bytes <= max(START_BYTES, GROWTH * came)


def test_a_frame_of_no_bytes_is_a_frame() -> None:
    assert [bytes(f) for f in Frames(LIMIT).receive(memoryview(bytearray(4)))] == [b""]


@pytest.mark.parametrize("size", [-1, -(2**31), LIMIT + 1, 2**31 - 1])
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_an_impossible_size_is_refused_however_it_is_cut(size: int, cut: int) -> None:
    frames, stream = Frames(LIMIT), SIZE.pack(size)
    with pytest.raises(RemoteProtocolError):
        for at in range(0, 4, cut):
            frames.receive(memoryview(bytearray(stream[at : at + cut])))


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_other_protocols_are_refused_at_their_first_bytes(start: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"socket\.request\.max\.bytes"):
        Frames(100 << 20).receive(memoryview(bytearray(start)))


@given(st.binary(max_size=64))
def test_random_bytes_give_frames_or_a_protocol_error(data: bytes) -> None:
    try:
        frames = Frames(1000).receive(memoryview(bytearray(data)))
    except RemoteProtocolError:
        return
    assert all(len(frame) <= 1000 for frame in frames)
