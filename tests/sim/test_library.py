"""The shipped client library in the world: it keeps its promises under faults, and whoever breaks one is caught."""

import attrs
import pytest

from rafka.client.batches import Queue
from rafka.client.consumer import Consumer
from rafka.client.producer import Producer
from rafka.core.log import cleaner, compaction
from rafka.net.server import Server
from rafka.sim.judging import judged
from rafka.sim.profile import PROFILES, Profile
from rafka.sim.run import run

ALL_OF_IT = {"library_share": 1.0, "producers": 2, "readers": 1, "groups": 1, "members": 2, "has_admin": True}
COMPACTED = attrs.evolve(
    PROFILES["calm"],
    knobs={"compacts": True, "segment_bytes": 500, "cleaner_backoff_ms": 100, "value_bytes": 20},
)
NO_LOSS = {"flush_os": False, "retention_ms": -1, "retention_bytes": -1, "deletes_records": False}


def profile(base: str = "default", **knobs: object) -> Profile:
    return attrs.evolve(PROFILES[base], knobs={**ALL_OF_IT, **knobs}, flush_os=0.0)


def found(seeds: range, asked: Profile) -> str:
    """Return the first violation."""
    for seed in seeds:
        violation = run(seed, asked, time_ms=2000).violation
        if violation:
            return violation
    return ""


def test_everybody_of_the_library_does_its_work_under_faults() -> None:
    wanted = profile(compacts=True, silent_share=0.3, cleaner_backoff_ms=100, think_ms=60)
    done: dict[str, int] = {}
    for seed in range(1, 13):
        outcome = judged(run(seed, wanted, time_ms=1500, history=True))
        assert outcome.is_ok, (seed, outcome.violation)
        for what, count in outcome.checked.items():
            done[what] = done.get(what, 0) + count
    for what in (
        "library: acknowledged",
        "library: sent with acks=0",
        "library: read",
        "library: assigned",
        "library: commits",
        "library: administration",
        "compacted: acknowledged",
        "compacted: read to the end",
        "compacted: records gone",
    ):
        assert done.get(what, 0) > 10, (what, done)


def test_the_same_seed_is_the_same_run() -> None:
    wanted = profile(compacts=True)
    hashes = {run(3, wanted, time_ms=1000).trace_hash for _ in range(2)}
    assert len(hashes) == 1


def test_a_producer_that_numbers_a_repeat_anew_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    put_back = Queue.put_back

    def forgetful(self, batch):
        put_back(self, batch)
        batch.sequence, batch.data = -1, None

    monkeypatch.setattr(Queue, "put_back", forgetful)
    assert found(range(1, 40), profile("network", **NO_LOSS)).partition(":")[0] in ("LO2", "TX1", "LB1")


def test_a_producer_that_tells_what_is_not_known_yet_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Producer._lost

    def hopeful(self, queue, batch, error, now):
        if batch.sequence >= 0:
            self._acknowledged(queue, batch, -1, -1)
        else:
            lost(self, queue, batch, error, now)

    monkeypatch.setattr(Producer, "_lost", hopeful)
    stormy = attrs.evolve(profile("network", **NO_LOSS), faults={"net.reset": 2, "net.stall": 2})
    assert found(range(1, 40), stormy).partition(":")[0] in ("LO1", "TX1", "LB1")


def test_a_consumer_that_commits_what_nobody_has_processed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def ahead(self):
        if not self._commits_automatically():
            return {}
        return {place: r.next_fetch for place, r in self._readings.items() if r.next_fetch is not None}

    monkeypatch.setattr(Consumer, "_offsets_to_commit", ahead)
    wanted = profile(**NO_LOSS, members=3, session_ms=400, batch_records=10, think_ms=100)
    assert found(range(1, 40), wanted).partition(":")[0] == "GR5"


def test_a_broker_that_lets_held_requests_go_last_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    pass_on = Server._pass_on

    def late(self, conn, connection, requests, now):
        released, self._released = self._released, []
        pass_on(self, conn, connection, requests, now)
        self._released = released + self._released

    monkeypatch.setattr(Server, "_pass_on", late)
    wanted = profile(**NO_LOSS, in_flight=5, batch_records=10, think_ms=50)
    assert found(range(1, 60), wanted).partition(":")[0] == "TX1"


def test_a_cleaner_that_forgets_the_newest_of_a_key_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = compaction._kept

    def careless(records, header, offsets, *, is_over):
        return [one for one in kept(records, header, offsets, is_over=is_over) if one[5] != b"key 3"]

    monkeypatch.setattr(compaction, "_kept", careless)
    assert found(range(1, 20), COMPACTED).partition(":")[0] == "CO2"


def test_a_cleaner_that_moves_records_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    compact = cleaner.compact

    def a_step_down(batch, header, *args, **kwargs):
        made = compact(batch, header, *args, **kwargs)
        if made is None or made is batch or header.base_offset == 0:
            return made
        return resealed(made, header.base_offset - 1)

    monkeypatch.setattr(cleaner, "compact", a_step_down)
    assert found(range(1, 20), COMPACTED).partition(":")[0] in ("CO1", "LO7", "TX1")


def resealed(batch, base_offset):
    """Return a batch with another base offset, which its CRC does not cover."""
    changed = bytearray(batch)
    changed[:8] = base_offset.to_bytes(8)
    return changed
