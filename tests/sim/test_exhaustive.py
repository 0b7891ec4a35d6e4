"""Crashing a small run everywhere: nothing acknowledged is lost, and a broker that never syncs is found out."""

from rafka.core.effects import MakeDir, Sync, SyncDir, Write
from rafka.core.types import File, Token
from rafka.sim import exhaustive
from rafka.sim.disk import Disk
from rafka.sim.exhaustive import exhaust, images_of
from tests.sim.test_run import NeverSyncs

DIR, A, B = File("d"), File("d/a"), File("d/b")
T = Token(1)


def test_every_crash_of_a_small_run_keeps_what_was_acknowledged(monkeypatch) -> None:
    monkeypatch.setattr(exhaustive, "IMAGES_MAX", 60)
    result = exhaust(9)
    assert result.violation == ""
    assert result.moments > 50
    assert 40 < result.images <= 60


def test_a_broker_that_never_syncs_is_found_out(monkeypatch) -> None:
    monkeypatch.setattr(exhaustive, "IMAGES_MAX", 60)
    right = exhaustive.broker

    def wrong(pairs, beyond):
        boot = right(pairs, beyond)
        return lambda entropy, now: NeverSyncs(boot(entropy, now))

    monkeypatch.setattr(exhaustive, "broker", wrong)
    monkeypatch.setattr(
        exhaustive.Ledger, "durable_end", lambda *_: 1 << 60
    )  # the online check is not what is tried
    assert exhaust(9).violation.startswith(("LO1", "LV"))


def test_the_images_are_all_that_a_crash_may_leave() -> None:
    disk = Disk()
    for effect in (
        MakeDir(DIR, T),
        SyncDir(File(""), T),
        Write(A, 0, [b"a" * 600], T),
        Sync(A, T),
        SyncDir(DIR, T),
        Write(A, 600, [b"b" * 600], T),
        Write(B, 0, [b"c"], T),
    ):
        disk.perform(effect)
    images = list(images_of(disk))
    contents = {image.get("d/a") for image in images}
    assert {b"a" * 600, b"a" * 600 + b"b" * 600} <= contents
    assert b"a" * 600 + b"b" * 424 in contents, "cut where a sector ends"
    assert b"a" * 600 + bytes(424) + b"b" * 176 in contents, "the end is there and the beginning is not"
    assert {("d/b" in image, image.get("d/b")) for image in images} >= {
        (False, None),
        (True, b""),
        (True, b"c"),
    }
    assert all(content is not None and content.startswith(b"a" * 600) for content in contents)
