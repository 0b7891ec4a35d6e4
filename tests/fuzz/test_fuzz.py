"""A bounded run of every fuzzer, seeds that once found something, and proof that the fuzzers can find."""

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import batches, frames, pages
from fuzz.memory import bounded
from rafka.core.effects import Close
from rafka.net.kafka.session import Protocol

ROOT = Path(__file__).parents[2]
FRAMES, BATCHES, PAGES = 500, 4000, 300
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_hostile_frames_end_their_own_connection_and_nothing_else(part) -> None:
    for seed in range(part, FRAMES, PARTS):
        frames.attack(seed)


@pytest.mark.parametrize("part", range(PARTS))
def test_hostile_batches_are_taken_refused_or_corrupt(part) -> None:
    for seed in range(part, BATCHES, PARTS):
        batches.attack(seed)


def test_hostile_guests_of_the_pages_end_their_own_connection_and_nothing_else() -> None:
    for seed in range(PAGES):
        pages.attack(seed)


def test_a_guest_whose_bytes_reach_the_broker_is_found(monkeypatch) -> None:
    monkeypatch.setattr(pages.Observed, "_takes", lambda *_: False)
    with pytest.raises(AssertionError, match="reached the broker"):
        pages.attack(0)


@pytest.mark.parametrize("seed", [864])  # timestamps past 64 bits, compacted
def test_batches_that_once_broke_something_hold(seed) -> None:
    batches.attack(seed)


def test_a_decoder_that_lets_anything_else_out_is_found(monkeypatch) -> None:
    def naive(version, body):
        return frames.APIS[0].request(acks=body[2000])

    monkeypatch.setattr(frames, "PROTOCOL", Protocol(frames.SERVED, {0: naive}))
    with pytest.raises(IndexError):
        for seed in range(FRAMES):
            frames.attack(seed)


def test_a_server_that_allocates_on_a_promise_is_found() -> None:
    with pytest.raises(AssertionError, match="bytes taken"), bounded(1 << 20, "a frame"):
        bytearray(2 << 20)


def test_the_attacks_reach_what_they_are_meant_for(monkeypatch) -> None:
    effects, turn = [], frames.Harness.turn

    def recorded(self, *events):
        found = turn(self, *events)
        effects.extend(found)
        return found

    monkeypatch.setattr(frames.Harness, "turn", recorded)
    for seed in range(60):
        frames.attack(seed)
    hostile = [effect for effect in effects if getattr(effect, "conn", frames.HONEST) != frames.HONEST]
    assert {type(effect).__name__ for effect in hostile} >= {"Send", "Close", "Fill", "Pause", "Resume"}
    reasons = " ".join(effect.reason for effect in hostile if isinstance(effect, Close))
    for words in (
        "idle",
        "not served here",
        "over socket.request.max.bytes",
        "no whole header",
        "past the end",
    ):
        assert words in reasons


def test_the_command_says_which_seeds_held() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--seconds", "0", "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "frames: seeds 3 to 3 held\nbatches: seeds 3 to 3 held\npages: seeds 3 to 3 held\n"
