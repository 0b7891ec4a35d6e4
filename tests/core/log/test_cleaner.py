"""Cleaning a log: what stays, what is chosen, what may come between, and every crash on the way."""

import copy

import pytest

from rafka.core.log.cleaner import Cleaned
from rafka.core.log.log import Log
from rafka.core.types import File, Uuid
from tests.core.log.keyed import DIRECTORY, Keyed, holds, last_per_key, small


def history(world, rounds=6, keys=4):
    """Fill some segments: every key again and again, a producer in between, and a tombstone."""
    for n in range(rounds):
        for k in range(keys):
            world.append((b"k%d" % k, b"%d/%d" % (n, k) * 8))
    world.append((b"k0", None))
    for n in range(8):
        world.append((b"end%d" % n, b"x" * 40))
    world.settle()


def test_the_last_value_of_every_key_stays_where_it_was() -> None:
    world = Keyed()
    history(world)
    before = world.read()
    assert before == world.sent
    done = world.clean()
    assert isinstance(done, Cleaned)
    assert done.bytes_after < done.bytes_before
    after = world.read()
    assert len(after) < len(before)
    holds(after, world.sent)
    clean = [record for record in after if record[0] < done.end_offset]
    assert len(clean) == len(last_per_key(clean)), "once for every key"
    world.crash()
    assert world.read() == after
    assert world.log.first_dirty_offset == done.end_offset


def cleaned_effect_by_effect(world):
    """Clean, and give the disk as it was before and after every effect, down to the removal of the old files."""
    disks = [copy.deepcopy(world.disk)]
    running = world.start(world.cleaning())
    while world.step():
        disks.append(copy.deepcopy(world.disk))
    assert isinstance(running.result, Cleaned)
    world.elapse(1)
    return [*disks, copy.deepcopy(world.disk)]


@pytest.mark.parametrize("power", [None, *range(6)])
def test_a_crash_after_any_effect_leaves_the_log_before_or_after(power) -> None:
    world = Keyed(small(file_delete_delay_ms=0))
    history(world, rounds=3, keys=3)
    world.clean()
    history(world, rounds=1, keys=3)
    before = world.read()
    segments = len(world.log.segments)
    disks = cleaned_effect_by_effect(world)
    after = world.read()
    assert after != before
    assert len(world.log.segments) < segments, "some were merged"
    outcomes = []
    for disk in disks:
        again = Keyed(world.config, copy.deepcopy(disk), power)
        assert not again.log.is_offline, again.notes
        read = again.read()
        holds(read, world.sent)
        outcomes.append(read)
        assert not [name for name in again.files() if name.endswith((".cleaned", ".swap", ".deleted"))]
        again.append((b"new", b"value"))
        again.settle()
        again.clean()
        again.crash(power)
        assert again.read()[-1][1:] == (b"new", b"value")
        holds(again.read()[:-1], world.sent)
    assert outcomes[0] == before
    assert outcomes[-1] == after
    assert set(after) <= set(outcomes[len(outcomes) // 2]) <= set(before)


@pytest.mark.parametrize("power", [None, *range(3)])
def test_a_crash_while_a_crash_is_recovered_from_does_no_harm(power) -> None:
    world = Keyed(small(file_delete_delay_ms=0))
    history(world, rounds=3, keys=3)
    world.clean()
    history(world, rounds=1, keys=3)
    unfinished = [
        disk for disk in cleaned_effect_by_effect(world) if any(n.endswith(".swap") for n in disk.files)
    ]
    assert len(unfinished) > 10
    for disk in unfinished[::4]:
        for steps in range(1, 13):
            again = Keyed(world.config)
            again.disk = copy.deepcopy(disk)
            again.log = Log(File(DIRECTORY), again.out, world.config, (Uuid(bytes(16)), 0))
            again.start(again.log.recover())
            for _ in range(steps):
                again.step()
            last = Keyed(world.config, again.disk, power)
            assert not last.log.is_offline, last.notes
            holds(last.read(), world.sent)
