"""The queues of an io_uring against a simulated kernel: every submission completes once, whatever the kernel does."""

import ctypes
import errno
import os
import select
import socket
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.io.ring import FLAGS, NOP, POLL_ADD, POLL_MULTISHOT, POLL_REMOVE, READ, Ring, address_of
from rafka.sim.chance import Chance
from rafka.sim.ring import CALM, MORE, Habits, Kernel

RUDE = Habits(late=6, interrupted=0.3, partial=0.4)


@given(
    seed=st.integers(0, 1 << 32),
    entries=st.sampled_from([1, 2, 8]),
    bursts=st.lists(st.integers(0, 30), min_size=1, max_size=12),
)
def test_every_submission_completes_once_whatever_the_kernel_does(seed, entries, bursts):
    ring = Ring(entries, 2 * entries, Kernel(Chance(seed), RUDE))
    pushed = 0
    found = []
    for count in bursts:
        for _ in range(count):
            pushed += 1
            ring.push(NOP, -1, pushed)
        ring.enter(0)
        found += ring.completions()
    while len(found) < pushed:
        ring.enter(None)
        found += ring.completions()
    ring.close()
    assert sorted(found) == [(number, 0, 0) for number in range(1, pushed + 1)]


def test_a_calm_kernel_completes_in_order():
    ring = Ring(4, 8, Kernel(Chance(0), CALM))
    for number in range(100):
        ring.push(NOP, -1, number)
    ring.enter(0)
    assert [user_data for user_data, _, _ in ring.completions()] == list(range(100))
    ring.close()


def test_completions_that_find_no_room_are_kept_and_submissions_refused_meanwhile():
    kernel = Kernel(Chance(0), CALM)
    ring = Ring(4, 4, kernel)
    for burst in range(2):
        for number in range(4):
            ring.push(NOP, -1, 4 * burst + number)
        ring.enter(0)
    for number in range(8, 12):
        ring.push(NOP, -1, number)
    ring.enter(0)
    assert kernel.fired == {"overflow": 4, "refused": 1}
    found = []
    while len(found) < 12:
        found += ring.completions()
        ring.enter(0)
    assert [user_data for user_data, _, _ in found] == list(range(12))
    ring.close()


def test_a_timeout_ends_the_wait_and_nothing_is_found():
    ring = Ring(4, 8, Kernel(Chance(0), CALM))
    ring.enter(1_000_000)
    assert ring.completions() == []
    ring.close()


@pytest.mark.parametrize("refused", range(len(FLAGS)))
def test_older_kernels_get_the_flags_they_know(refused):
    unknown = 0
    for newer, older in pairwise(FLAGS[: refused + 1]):
        unknown |= newer & ~older
    ring = Ring(4, 8, Kernel(Chance(0), CALM, refused_flags=unknown))
    assert ring.flags == FLAGS[refused]
    ring.close()


def test_a_read_is_short_fails_or_is_to_be_asked_again(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(200)))
    kernel = Kernel(Chance(3), Habits(short=0.5, again=0.3))
    kernel.failures[READ] = [errno.EIO]
    ring = Ring(4, 8, kernel)
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    results = set()
    for _ in range(60):
        buffer = memoryview(bytearray(100))
        ring.push(READ, fd, 1, address=address_of(buffer), length=100, offset=50)
        found = []
        while not found:
            ring.enter(None)
            found = ring.completions()
        ((_, result, _),) = found
        results.add(result if result < 0 else "short" if result < 100 else "whole")
        if result > 0:
            assert buffer[:result] == bytes(range(50, 50 + result))
    assert results == {-errno.EIO, -errno.EINTR, -errno.EAGAIN, "short", "whole"}
    os.close(fd)
    ring.close()


def test_a_multishot_poll_reports_edges_until_it_is_taken_back():
    ring = Ring(4, 8, Kernel(Chance(0), CALM))
    near, far = socket.socketpair()
    with near, far:
        ring.push(POLL_ADD, near.fileno(), 5, length=POLL_MULTISHOT, flags=select.POLLIN)
        found = []
        for _ in range(3):
            far.send(b"x")
            ring.enter(0)
            found += ring.completions()
            ring.enter(0)  # no edge
            found += ring.completions()
        assert found == [(5, select.POLLIN, MORE)] * 3
        ring.push(POLL_REMOVE, -1, 6, address=5)
        ring.push(POLL_REMOVE, -1, 7, address=5)
        far.send(b"x")
        ring.enter(0)
        assert sorted(ring.completions()) == [(5, -errno.ECANCELED, 0), (6, 0, 0), (7, -errno.ENOENT, 0)]
    ring.close()


def test_a_descriptor_closed_under_an_operation_is_found_out(tmp_path):
    (tmp_path / "a").write_bytes(b"bytes")
    ring = Ring(4, 8, Kernel(Chance(1), Habits(late=50, partial=0.0)))
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    buffer = memoryview(bytearray(5))
    ring.push(READ, fd, 1, address=address_of(buffer), length=5)
    ring.enter(0)
    assert ring.completions() == []
    os.close(fd)
    with pytest.raises(AssertionError, match="closed before its completion"):
        ring.enter(None)


def test_failures_are_told_as_the_c_library_tells_them():
    kernel = Kernel(Chance(0), Habits(interrupted=1.0))
    ring = Ring(4, 8, kernel)
    ring.enter(None)
    assert ctypes.get_errno() == errno.EINTR
    assert kernel.fired == {"interrupted": 1}
    ring.close()
