"""Cleaning a log: what stays, what is chosen, what may come between, and every crash on the way."""

import copy
import errno

import pytest

from rafka.core.effects import Sync
from rafka.core.log.cleaner import Cleaned, Uncleanable, dirtiest
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


# ---- what may come between ---------------------------------------------------------------------------


def interrupted(world, come_between):
    """Clean once for every number of steps after which something comes between; give the worlds."""
    steps = 0
    while True:
        again = Keyed(world.config, copy.deepcopy(world.disk))
        again.sent = list(world.sent)
        running = again.start(again.cleaning())
        for _ in range(steps):
            again.step()
        if running.finished:
            return
        come_between(again)
        again.settle()
        assert running.finished
        yield again, running.result
        steps += 3


def filled():
    world = Keyed(small(file_delete_delay_ms=0))
    history(world, rounds=4, keys=3)
    return world


def test_deleting_records_meanwhile_leaves_what_was_not_deleted() -> None:
    world = filled()
    middle = world.log.segments[2].base_offset + 1
    results = []
    for again, result in interrupted(world, lambda one: one.start(one.log.delete_before(middle, one.now))):
        results.append(result)
        again.elapse(2000)
        assert again.log.log_start_offset == middle
        holds(again.read(), world.sent, start=middle)
        again.crash(4)
        assert again.log.log_start_offset == middle
        holds(again.read(), world.sent, start=middle)
        assert not [name for name in again.files() if name.endswith((".cleaned", ".swap", ".deleted"))]
    assert None in results, "some had to be given up"
    assert not any(isinstance(result, Uncleanable) for result in results)


def test_a_truncation_meanwhile_cuts_where_it_was_told() -> None:
    world = filled()
    end = world.survey().end_offset + 1  # what is cleaned is committed, and never truncated
    assert end < world.log.log_end_offset
    for again, result in interrupted(world, lambda one: one.start(one.log.truncate_to(end))):
        assert not isinstance(result, Uncleanable)
        assert again.log.log_end_offset == end
        holds(again.read(), [record for record in world.sent if record[0] < end])
        again.crash(4)
        assert again.log.log_end_offset == end
        holds(again.read(), [record for record in world.sent if record[0] < end])


def test_deleting_the_topic_meanwhile_ends_the_cleaning_and_leaves_nothing() -> None:
    for again, result in interrupted(filled(), lambda one: one.start(one.log.destroy())):
        assert result is None or isinstance(result, Cleaned)
        assert again.files() == []


def test_a_place_found_before_a_swap_is_void_after_it() -> None:
    world = filled()
    place = world.script(world.log.lookup(0))
    assert world.log.has(place)
    world.append((b"k", b"v"))
    world.settle()
    assert world.log.has(place), "an append changes nothing of it"
    world.clean()
    assert not world.log.has(place)


# ---- what is chosen ----------------------------------------------------------------------------------


def test_a_log_is_due_when_its_dirty_share_is_above_the_ratio() -> None:
    world = Keyed(small(min_cleanable_dirty_ratio=0.5))
    history(world)
    assert (world.survey().is_due, world.survey().dirty_ratio) == (True, 1.0)
    world.clean()
    assert not world.survey().is_due
    assert world.survey().dirty_bytes == 0
    clean_bytes = world.survey().clean_bytes
    while not world.survey().is_due:
        assert world.survey().dirty_bytes <= clean_bytes
        world.append((b"k1", b"more" * 10))
        world.settle()
    assert world.survey().dirty_bytes > clean_bytes


def test_what_is_younger_than_min_compaction_lag_stays_dirty() -> None:
    world = Keyed(small(min_compaction_lag_ms=1000))
    history(world)
    assert world.survey().dirty_bytes == 0
    world.wall += 999
    assert not world.survey().is_due
    world.wall += 1
    assert world.survey().is_due


def test_what_is_older_than_max_compaction_lag_is_due_whatever_the_ratio() -> None:
    world = Keyed(small(min_cleanable_dirty_ratio=1.0, max_compaction_lag_ms=1000, segment_ms=1 << 40))
    history(world)
    assert not world.survey().is_due
    world.wall += 1001
    assert world.survey().is_overdue
    assert world.survey().is_due


def test_the_dirtiest_goes_first() -> None:
    worlds = [Keyed(small(min_cleanable_dirty_ratio=0.1)) for _ in range(3)]
    for world in worlds:
        history(world)
    worlds[0].clean()
    worlds[2].clean()
    history(worlds[2], rounds=1)
    surveys = [world.survey() for world in worlds]
    assert dirtiest(surveys) is surveys[1]
    assert dirtiest([surveys[0], surveys[2]]) is surveys[2]
    assert dirtiest([surveys[0]]) is None


def test_a_full_map_leaves_the_rest_to_the_next_round() -> None:
    world = filled()
    limit = world.survey().end_offset
    ends = []
    while world.survey().is_due:
        done = world.clean(room=400)
        assert isinstance(done, Cleaned)
        ends.append(done.end_offset)
        holds(world.read(), world.sent)
    assert ends == sorted(set(ends))
    assert len(ends) > 2
    assert ends[-1] == limit


def test_damage_is_found_and_nothing_is_changed() -> None:
    world = filled()
    files = world.files()
    world.disk.files[world.log.segments[1].file].data[70] ^= 1
    result = world.clean()
    assert isinstance(result, Uncleanable)
    assert "CRC" in str(result.error)
    assert world.files() == files


@pytest.mark.parametrize("op", ["write", "sync", "rename", "syncdir", "read"])
def test_a_disk_that_refuses_spoils_nothing(op) -> None:
    for after in range(0, 30, 4):
        world = filled()
        world.disk.fail(op, errno.EIO, after=after)
        result = world.clean()
        world.disk.failures.clear()
        assert isinstance(result, Cleaned | Uncleanable)
        holds(world.read(), world.sent)
        world.crash(5)
        assert not world.log.is_offline
        holds(world.read(), world.sent)


@pytest.mark.parametrize("head_start", range(0, 40, 2))
def test_an_index_that_is_made_anew_meanwhile_is_never_that_of_another_segment(head_start: int) -> None:
    world = Keyed()
    history(world)
    world.crash(1)  # nothing is in memory any more
    base = world.log.segments[1].base_offset
    index = world.disk.files[f"{DIRECTORY}/{base:020d}.chain"]
    index.data[-1] ^= 1
    cleaning = world.start(world.cleaning())
    for _ in range(head_start):
        world.step()
    search = world.start(world.log.lookup(base))
    world.settle()
    assert cleaning.finished
    assert search.finished
    found = world.read()
    for seed in (None, 1, 2):
        again = Keyed(disk=copy.deepcopy(world.disk), power=seed)
        assert not again.log.is_offline, again.notes
        assert again.read() == found
    holds(found, world.sent)


def test_a_segment_whose_end_is_being_saved_is_not_replaced_meanwhile() -> None:
    world = Keyed()

    def go_on_but_for_the_indexes():
        world.collect()
        for index, effect in enumerate(world.effects):
            if not (isinstance(effect, Sync) and effect.file.endswith((".index", ".timeindex", ".chain"))):
                world.out.route(world.disk.perform(world.effects.pop(index)), world.now)
                return True
        return False

    for n in range(12):
        world.append((b"k%d" % (n % 3), b"%d" % n * 20))
        while go_on_but_for_the_indexes():
            pass
    assert len(world.log.segments) > 2
    cleaning = world.start(world.cleaning())
    while go_on_but_for_the_indexes():
        pass
    world.settle()  # the indexes at last
    for n in range(12):
        world.append((b"k%d" % (n % 3), b"end" * 30))  # what could not be saved is tried again
        world.settle()
    assert cleaning.finished
    found = world.read()
    for seed in (None, 1, 2):
        again = Keyed(disk=copy.deepcopy(world.disk), power=seed)
        assert not again.log.is_offline, again.notes
        assert again.read() == found
    holds(found, world.sent)
