"""Scripts: one effect out, one answer in, the result handed to the parent."""

from rafka.core.effects import Read, Truncate
from rafka.core.events import Done, Failed, Loaded
from rafka.core.machine import Outbox
from rafka.core.script import Script, run
from rafka.core.types import File, MonoNs, Now, Token, WallMs

NOW = Now(MonoNs(0), WallMs(0))
LOG = File("orders-0/00000000000000000000.log")


def length_of(file: File, step: int) -> Script[int]:
    """Count the bytes of a file; -1 when it cannot be read."""
    position = 0
    while True:
        done = yield Read(file, position, step)
        if isinstance(done, Failed):
            return -1
        assert isinstance(done, Loaded)
        position += len(done.data)
        if len(done.data) < step:
            return position


def test_a_script_asks_goes_on_with_the_answer_and_hands_its_result_to_its_parent() -> None:
    out = Outbox()
    running = run(length_of(LOG, 4), out, purpose="measure")
    assert out.drain() == [Read(LOG, 0, 4, Token(1))]
    assert out.route(Loaded(LOG, Token(1), b"abcd"), NOW)
    assert out.drain() == [Read(LOG, 4, 4, Token(2))]
    assert not running.finished
    assert out.route(Loaded(LOG, Token(2), b"ef"), NOW)
    assert out.moved == [running]
    assert (running.finished, running.result, running.purpose) == (True, 6, "measure")


def test_a_failure_is_an_answer_like_any_other() -> None:
    out = Outbox()
    running = run(length_of(LOG, 4), out, purpose=None)
    out.route(Failed(LOG, Token(1), "read", 5, "Input/output error"), NOW)
    assert running.result == -1


def test_the_effect_that_a_script_yields_is_not_changed_under_its_hands() -> None:
    kept = Truncate(LOG, 10)

    def cut() -> Script[None]:
        yield kept

    out = Outbox()
    run(cut(), out, purpose=None)
    assert out.drain() == [Truncate(LOG, 10, Token(1))]
    assert kept == Truncate(LOG, 10)


def test_a_script_without_effects_finishes_at_once() -> None:
    def nothing() -> Script[str]:
        return "ready"
        yield Truncate(LOG, 0)

    out = Outbox()
    running = run(nothing(), out, purpose=None)
    assert (out.effects, out.moved, running.result) == ([], [running], "ready")


def test_a_cancelled_script_ignores_the_answer_under_way() -> None:
    out = Outbox()
    running = run(length_of(LOG, 4), out, purpose=None)
    running.cancel()
    assert out.route(Done(LOG, Token(1)), NOW)
    assert (out.moved, running.finished, running.result) == ([], True, None)
