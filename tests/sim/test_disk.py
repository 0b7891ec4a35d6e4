"""The simulated disk keeps the laws of effects, and promises nothing beyond them."""

import errno
from random import Random

from rafka.core.effects import List, MakeDir, Read, Rename, Sync, SyncDir, Truncate, Unlink, Write
from rafka.core.events import Done, Failed, Listed, Loaded, Synced, Written
from rafka.core.types import File, Token
from rafka.sim.disk import Disk

A, B, DIR = File("d/a"), File("d/b"), File("d")
T = Token(1)


def made():
    disk = Disk()
    for effect in (MakeDir(DIR, T), SyncDir(File(""), T)):
        assert disk.perform(effect) == Done(effect.file, T)
    return disk


def content(disk, file):
    answer = disk.perform(Read(file, 0, 1 << 20, T))
    return answer.data if isinstance(answer, Loaded) else None


def after_crashes(build):
    found = set()
    for seed in range(100):
        disk = build()
        disk.crash(Random(seed))
        found.add(content(disk, A))
    return found


def test_operations_answer_as_the_laws_say() -> None:
    disk = made()
    assert disk.perform(Write(A, 2, [b"x", b"yz"], T)) == Written(A, T)
    assert disk.perform(Sync(A, T)) == Synced(A, T)
    assert content(disk, A) == b"\0\0xyz"
    assert disk.perform(Read(A, 4, 9, T)) == Loaded(A, T, b"z")
    assert disk.perform(Truncate(A, 3, T)) == Done(A, T)
    assert disk.perform(Rename(A, B, T)) == Done(A, T)
    listed = disk.perform(List(DIR, T))
    assert isinstance(listed, Listed)
    assert [(e.name, e.size) for e in listed.entries] == [("b", 3)]
    assert isinstance(disk.perform(Unlink(DIR, T)), Failed)
    assert disk.perform(Unlink(B, T)) == disk.perform(Unlink(B, T)) == Done(B, T)
    missing = disk.perform(Write(File("no/a"), 0, [b""], T))
    assert isinstance(missing, Failed)
    assert missing.errno == errno.ENOENT


def test_synced_bytes_under_a_synced_name_survive_every_crash() -> None:
    def build():
        disk = made()
        for effect in (Write(A, 0, [b"x" * 999], T), Sync(A, T), SyncDir(DIR, T)):
            disk.perform(effect)
        return disk

    assert after_crashes(build) == {b"x" * 999}


def test_a_synced_file_without_a_synced_name_may_be_gone() -> None:
    def build():
        disk = made()
        disk.perform(Write(A, 0, [b"x"], T))
        disk.perform(Sync(A, T))
        return disk

    assert after_crashes(build) == {b"x", None}


def test_unsynced_writes_are_lost_torn_and_reordered_by_sector() -> None:
    def build():
        disk = made()
        disk.perform(SyncDir(DIR, T))
        disk.perform(Write(A, 0, [b"a" * 512], T))
        disk.perform(SyncDir(DIR, T))
        disk.perform(Write(A, 512, [b"b" * 512], T))
        return disk

    a, b, hole = b"a" * 512, b"b" * 512, bytes(512)
    assert after_crashes(build) == {b"", a, a + b, hole + b}


def test_a_failed_sync_is_not_made_good_by_the_next() -> None:  # fsyncgate
    def build():
        disk = made()
        disk.perform(Write(A, 0, [b"x"], T))
        disk.perform(SyncDir(DIR, T))
        disk.fail("sync", errno.EIO)
        assert isinstance(disk.perform(Sync(A, T)), Failed)
        assert disk.perform(Sync(A, T)) == Synced(A, T)
        assert content(disk, A) == b"x"
        return disk

    assert after_crashes(build) == {b""}
