"""What `rafka sim` does with a run that failed: run it again, shrink it, and leave a folder behind."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rafka.core.errors import RafkaError

if TYPE_CHECKING:
    from rafka.sim.run import Outcome
    from rafka.sim.shrink import Case

PATIENCE_S = 10


def case_in(path: str, seed: int) -> "Case | list[str]":
    """Read a file of faults: a case as `rafka sim` leaves it, or just a list of keys, or an object of `only`.

    Raises: click.UsageError.
    """
    from rafka.sim.shrink import CaseError, case_from

    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from error
    if isinstance(found, dict) and "time_ms" in found:
        try:
            case = case_from(found)
        except CaseError as error:
            raise click.UsageError(f"{path}: {error}") from error
        if case.seed != seed:
            raise click.UsageError(f"{path} is of seed {case.seed}")
        return case
    keys = found.get("only") if isinstance(found, dict) else found
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise click.UsageError(f"{path} holds no list of faults")
    return keys


def leave(
    case: "Case", outcome: "Outcome", out: str, *, shrinks: bool, draws_curve: bool, quiet: bool
) -> None:
    """Confirm a failure, shrink it, write the folder, and say what is in it."""
    from rafka.sim.curve import probabilities
    from rafka.sim.failure import confirm, in_words, replay_command, write_failure
    from rafka.sim.shrink import RUNS_MAX, shrink

    say = _silent if quiet else click.echo
    differs = confirm(case, outcome)
    say(f"\n{differs or 'run again: the same run, the same violation'}")
    line = _Line(quiet=quiet)
    shrunk = shrink(
        case,
        outcome,
        runs_max=RUNS_MAX if shrinks and not differs else 0,
        told=lambda runs, faults, step: line.show(f"shrinking: {runs} runs, {faults} faults left ({step})"),
    )
    curve = None
    if draws_curve and not differs:
        curve = probabilities(
            case,
            outcome,
            told=lambda done, of: line.show(f"fresh chance from a moment on: {done} of {of} runs"),
        )
    line.clear()
    folder = Path(out) / f"rafka-sim-{case.seed}"
    try:
        recording = write_failure(folder, shrunk, curve=curve)
    except OSError as error:
        raise RafkaError(f"{folder}: {error.strerror}") from error
    if shrinks and not differs:
        left = len(shrunk.case.only or ())
        needed = "none can be left out" if shrunk.is_minimal else "perhaps not all are needed"
        after = f"{left}, {needed}" if left else "none: it needs no fault"
        say(f"faults: {shrunk.faults_before} when found, after {shrunk.runs} runs of shrinking {after}")
        for struck in recording.outcome.decisions:
            say(f"  {in_words(struck)}")
    for at_ns, share in curve or ():
        say(f"  from {at_ns / 1e9:8.3f} s anew: {share:4.0%} fail")
    say(f"replay:   {replay_command(folder, shrunk.case)}")
    say(f"look:     {folder / 'timeline.html'}")
    say(f"keep:     {folder / f'test_seed_{case.seed}.py'}")


def _silent(_: str) -> None:
    pass


class _Line:
    """One line that says how far it is: over and over on a terminal, now and then where there is none."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._is_terminal else PATIENCE_S)

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (0.1 if self._is_terminal else PATIENCE_S)
        sys.stderr.write(f"\r\x1b[K{text}" if self._is_terminal else text + "\n")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._is_terminal and not self._quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
