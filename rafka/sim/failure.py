"""What a failure leaves behind: a folder that says what broke, replays it, shows it, and keeps it from coming back.

README.md           what broke, the one command that replays it, and what struck, in words
faults.json         the shrunk case: rafka sim --seed N --only faults.json
test_seed_N.py      a regression test to be committed as it is into tests/sim
timeline.html       everything that happened, to look at
trace.txt           the last lines of the trace before the violation
history.jsonl       what the clients saw, for rafka check
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rafka.sim.faults import KINDS, Struck
from rafka.sim.judging import header_of
from rafka.sim.life import MS
from rafka.sim.recording import Recording, record
from rafka.sim.run import Outcome, Wrap
from rafka.sim.shrink import Case, Shrunk, entity_of, first_parting, kind_of, line_of
from rafka.sim.timeline import page

TRACE_LINES = 400
WIDTH = 108


def confirm(case: Case, outcome: Outcome, *, wrap: Wrap | None = None) -> str:
    """Run a case that has failed again: "" if it is the same run, else what differs."""
    again = case.run(keep_trace=True, wrap=wrap)
    if again.trace_hash == outcome.trace_hash and again.violation == outcome.violation:
        return ""
    third = case.run(keep_trace=True, wrap=wrap)
    parting = first_parting(again.trace, third.trace)
    if not parting:
        parting = (
            f"the first run was another one: hash {outcome.trace_hash}, and then twice {again.trace_hash}"
        )
    return f"not deterministic: {parting}"


def write_failure(
    folder: Path,
    shrunk: Shrunk,
    *,
    wrap: Wrap | None = None,
    command: str = "rafka",
    curve: Sequence[tuple[int, float]] | None = None,
) -> Recording:
    """Write the folder; return the recording of the shrunk run.

    wrap: the planted bug, if there is one; command: how rafka is called; curve: see curve.py.
    """
    folder.mkdir(parents=True, exist_ok=True)
    case = shrunk.case
    recording = record(case, wrap)
    outcome = recording.outcome
    trace = outcome.trace[-TRACE_LINES:]
    history = [header_of(outcome), *outcome.history]
    found = {**case.to_json(), "violation": outcome.violation, "trace_hash": outcome.trace_hash}
    for name, text in (
        ("faults.json", json.dumps(found, indent=1) + "\n"),
        (f"test_seed_{case.seed}.py", regression_test(case, outcome)),
        ("trace.txt", "\n".join(map(line_of, trace)) + "\n"),
        ("history.jsonl", "".join(json.dumps(line) + "\n" for line in history)),
        ("timeline.html", page(recording, curve=curve)),
        ("README.md", _readme(folder, shrunk, outcome, command, curve)),
    ):
        (folder / name).write_text(text, "utf-8")
    return recording


def replay_command(folder: Path, case: Case, command: str = "rafka") -> str:
    """Return the one command that replays it, from where it was found."""
    return f"{command} sim --seed {case.seed} --only {folder / 'faults.json'}"


def in_words(struck: Struck) -> str:
    """Say what a fault did, to whom and when."""
    kind = kind_of(struck.key)
    return f"{struck.time_ns / 1e9:9.3f} s  {kind} at {entity_of(struck.key)}: {KINDS[kind].text}"


def regression_test(case: Case, outcome: Outcome) -> str:
    """Write a test of a case as a file of its own."""
    struck = [in_words(one) for one in outcome.decisions] or ["    nothing: it needs no fault"]
    story = textwrap.fill(f"Seed {case.seed} once broke {outcome.violation}", WIDTH).replace("\\", "/")
    story = story.replace('"""', "'''")
    head = [f'"""{story}', "", "What struck, in the order of time:", ""]
    lines = [line for words in struck for line in textwrap.wrap(words, WIDTH, subsequent_indent=" " * 13)]
    body = [
        '"""',
        "",
        "from rafka.sim.shrink import Case",
        "",
        "CASE = Case(",
        f"    seed={case.seed},",
        f"    time_ms={case.time_ms},",
        *_items("faults", case.faults),
        *_items("knobs", case.knobs),
        *_list("only", case.only or []),
        ")",
        "",
        "",
        f"def test_seed_{case.seed}_keeps_its_promises() -> None:",
        '    assert CASE.run().violation == ""',
        "",
    ]
    return "\n".join([*head, *lines, *body])


def _items(name: str, items: Mapping[str, object]) -> list[str]:
    if not items:
        return [f"    {name}={{}},"]
    return [f"    {name}={{", *(f"        {_python(k)}: {_python(v)}," for k, v in items.items()), "    },"]


def _list(name: str, items: Sequence[str]) -> list[str]:
    if not items:
        return [f"    {name}=[],"]
    return [f"    {name}=[", *(f"        {_python(item)}," for item in items), "    ],"]


def _python(thing: object) -> str:
    return json.dumps(thing) if isinstance(thing, str) else repr(thing)


def _readme(
    folder: Path,
    shrunk: Shrunk,
    outcome: Outcome,
    command: str,
    curve: Sequence[tuple[int, float]] | None,
) -> str:
    case = shrunk.case
    knobs = ", ".join(f"{name} {knob}" for name, knob in case.knobs.items()) or "all at their defaults"
    left, at_ms = len(case.only or ()), outcome.virtual_ns / MS
    minimal = "None can be left out" if shrunk.is_minimal else "The search for fewer was cut short"
    lines = [
        f"# Seed {case.seed} of the profile {case.profile}: {outcome.violation}",
        "",
        "Replay it:",
        "",
        f"    {replay_command(folder, case, command)}",
        "",
        f"Faults when it was found: {shrunk.faults_before}; after {shrunk.runs} runs of shrinking: {left}.",
        f"{minimal}. Faults may strike for {case.time_ms} ms; the promise was broken at {at_ms:.3f} ms.",
        f"The trace hash is {outcome.trace_hash}.",
        "",
        "What strikes, in the order of time:",
        "",
        *([f"    {in_words(one)}" for one in outcome.decisions] or ["    nothing: it needs no fault"]),
        "",
        f"Knobs: {knobs}.",
        "",
    ]
    if curve is not None:
        lines += [
            "If chance goes another way from a moment on, it fails in so many of the runs:",
            "",
            *(
                f"    {at / 1e9:9.3f} s  {share:4.0%}  {'#' * round(20 * share)}".rstrip()
                for at, share in curve
            ),
            "",
        ]
    lines += [
        "`timeline.html` shows everything that happened; open it in a browser. `trace.txt` has the last lines before",
        "the violation, `history.jsonl` what the clients saw (`rafka check history.jsonl`).",
        f"`test_seed_{case.seed}.py` may be committed into tests/sim as it is: it fails until the bug is mended.",
        "Its keys name decisions by their count: another order of events may turn it into another run of the seed.",
        "",
    ]
    return "\n".join(lines)
