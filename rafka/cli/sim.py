"""`rafka sim`: simulate a broker with its clients, disk and network from a seed, and say whether it kept its promises.

Exit codes: 0 every promise was kept, 1 one was broken, 2 it was asked wrongly.
"""

import json
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rafka.cli.lazy import LazyGroup
from rafka.cli.show import show_plain
from rafka.core.errors import RafkaError

if TYPE_CHECKING:
    from rafka.sim.many import Verdict
    from rafka.sim.profile import Profile
    from rafka.sim.run import Outcome
    from rafka.sim.shrink import Case

VIOLATED = 1
COMMANDS: dict[str, str] = {"raft": "rafka.cli.raft:raft", "zoo": "rafka.cli.zoo:zoo"}
"""Subcommands that live elsewhere."""
JOURNAL = ".rafka-sim"
BAR = 30


class Seeds(click.ParamType[range]):
    """`A..B`: the seeds from A to B, both included."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, range):
            return value
        first, dots, last = str(value).partition("..")
        if not (dots and first.isdecimal() and last.isdecimal()) or int(first) > int(last):
            self.fail(f"{value!r} is not A..B with A <= B", param, ctx)
        return range(int(first), int(last) + 1)


@click.group(
    cls=LazyGroup,
    elsewhere=COMMANDS,
    invoke_without_command=True,
    short_help="Simulate a broker under faults, from a seed.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Run one seed, and say what it was like.")
@click.option("--seeds", type=Seeds(), help="Run many.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes for --seeds."
)
@click.option(
    "--profile", default="default", show_default=True, help="What goes wrong: a name, or a .toml file."
)
@click.option("--time", "time_ms", type=click.IntRange(min=0), help="How long faults last, in virtual ms.")
@click.option("--clients", type=click.IntRange(1, 64), help="Producers, and readers, in every run.")
@click.option("--nodes", type=click.IntRange(1, 1), default=1, show_default=True, help="Brokers.")
@click.option("--only", type=click.Path(), help="With --seed: a file of the only faults that may strike.")
@click.option("--history", "history_file", type=click.Path(), help="With --seed: write what clients saw.")
@click.option("--out", default=".", show_default=True, help="With --seed: where a failure's folder is made.")
@click.option(
    "--shrink/--no-shrink", default=True, help="With --seed: look for fewer faults that still fail."
)
@click.option("--curve", is_flag=True, help="With --seed: see from which moment on it was bound to fail.")
@click.option("--fresh", is_flag=True, help="With --seeds: do not go on where an interrupted run was.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sim(  # noqa: PLR0913 – one parameter for each option
    ctx: click.Context,
    *,
    seed: int | None,
    seeds: range | None,
    jobs: int,
    profile: str,
    time_ms: int | None,
    clients: int | None,
    nodes: int,
    only: str | None,
    history_file: str | None,
    out: str,
    shrink: bool,
    curve: bool,
    fresh: bool,
    as_json: bool,
) -> None:
    """Simulate a broker, its clients, its disk and its network, all from one seed.

    The same seed gives the same run, and the same trace hash, on every machine.
    """
    if ctx.invoked_subcommand is not None:
        return
    del nodes
    if (seed is None) == (seeds is None):
        raise click.UsageError("give one of --seed and --seeds")
    if seeds is not None and (only or history_file):
        raise click.UsageError("--only and --history go with --seed")
    found = _profile(profile)
    options = _options(profile, time_ms, clients)
    if seed is not None:
        outcome, case = _one(seed, found, time_ms, clients, only, history_file, as_json=as_json)
        if case is not None:
            from rafka.cli.failing import leave

            leave(case, outcome, out, shrinks=shrink, draws_curve=curve, quiet=as_json)
        ctx.exit(0 if outcome.is_ok else VIOLATED)
    assert seeds is not None
    ctx.exit(_many(seeds, jobs, profile, time_ms, clients, options, fresh=fresh, as_json=as_json))


def _profile(name: str) -> "Profile":
    from rafka.sim.profile import ProfileError, profile_of

    try:
        return profile_of(name)
    except ProfileError as error:
        raise click.UsageError(str(error)) from error


def _options(profile: str, time_ms: int | None, clients: int | None) -> str:
    """Return the options that a run depends on, as they are typed."""
    parts = [] if profile == "default" else ["--profile", shlex.quote(profile)]
    if time_ms is not None:
        parts += ["--time", str(time_ms)]
    if clients is not None:
        parts += ["--clients", str(clients)]
    return " ".join(["", *parts])


# ---- one -------------------------------------------------------------------------------------------------


def _one(
    seed: int,
    profile: "Profile",
    time_ms: int | None,
    clients: int | None,
    only: str | None,
    history_file: str | None,
    *,
    as_json: bool,
) -> tuple["Outcome", "Case | None"]:
    """Run one seed, and say what came of it; return the case too if it failed and was not found out before."""
    from rafka.cli.failing import case_in
    from rafka.sim.run import run
    from rafka.sim.shrink import Case, case_of

    known = None if only is None else case_in(only, seed)
    if isinstance(known, Case):
        outcome = known.run(history=history_file is not None)
    else:
        outcome = run(
            seed, profile, only=known, time_ms=time_ms, clients=clients, history=history_file is not None
        )
    if history_file is not None:
        _write_history(Path(history_file), outcome)
    if as_json:
        click.echo(json.dumps(_as_json(outcome)))
    else:
        _show(outcome)
    if outcome.is_ok or isinstance(known, Case):
        return outcome, None
    return outcome, case_of(outcome, profile.time_ms if time_ms is None else time_ms)


def _write_history(path: Path, outcome: "Outcome") -> None:
    from rafka.sim.judging import header_of

    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in [header_of(outcome), *outcome.history])
    except OSError as error:
        raise RafkaError(f"{path}: {error.strerror}") from error


def _as_json(outcome: "Outcome") -> dict[str, object]:
    import attrs

    table = attrs.asdict(outcome, filter=lambda field, _: field.name not in ("history", "trace"))  # type: ignore[arg-type]
    table["decisions"] = [struck.key for struck in outcome.decisions]
    return table


def _show(outcome: "Outcome") -> None:
    ratio = outcome.virtual_ns / 1e9 / max(outcome.real_s, 1e-9)
    knobs = outcome.knobs
    click.echo(
        f"seed {outcome.seed}, profile {outcome.profile}: 1 broker ({outcome.lives} lives, flush="
        f"{'os' if knobs['flush_os'] else 'fsync'}), {knobs['producers']} producers, {knobs['readers']} readers, "
        f"{knobs['groups']} groups of {knobs['members']}, {knobs['topics']} topics of {knobs['partitions']}"
    )
    click.echo(
        f"virtual {outcome.virtual_ns / 1e9:.1f} s in {outcome.real_s:.2f} s ({ratio:.0f} : 1), "
        f"{outcome.events} events ({outcome.events / max(outcome.real_s, 1e-9):.0f}/s), hash {outcome.trace_hash}"
    )
    for title, counts in (
        ("checked", outcome.checked),
        ("faults", outcome.fired),
        ("excused", outcome.excused),
    ):
        if counts:
            click.echo(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    click.echo("every promise was kept" if outcome.is_ok else f"VIOLATION {outcome.violation}")


# ---- many ------------------------------------------------------------------------------------------------


class _Bar:
    """How far it is, on a terminal; a line now and then where it is none."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self.total = total
        self.done = self.failed = 0
        self._began = self._next = time.monotonic()
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()

    def advance(self, verdict: "Verdict") -> None:
        self.done += 1
        self.failed += bool(verdict.violation)
        now = time.monotonic()
        if self._quiet or (now < self._next and self.done < self.total):
            return
        self._next = now + (0.2 if self._is_terminal else 10)
        rate = self.done / max(now - self._began, 1e-9)
        left = (self.total - self.done) / rate
        filled = "█" * (BAR * self.done // self.total)
        text = f"{self.done}/{self.total} seeds, {self.failed} failed, {rate:.1f}/s, {left:.0f} s left"
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{filled:░<{BAR}} {text}" + ("\n" if self.done == self.total else ""))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _many(
    seeds: range,
    jobs: int,
    profile: str,
    time_ms: int | None,
    clients: int | None,
    options: str,
    *,
    fresh: bool,
    as_json: bool,
) -> int:
    from rafka.sim.many import Job, run_many

    journal = Path(JOURNAL) / f"{Path(profile).stem}.jsonl"
    if fresh:
        journal.unlink(missing_ok=True)
    bar = _Bar(len(seeds), quiet=as_json)

    def seen(verdict: "Verdict") -> None:
        bar.advance(verdict)
        if verdict.violation and not as_json:
            click.echo(
                f"seed {verdict.seed}: {verdict.violation}\n  rafka sim --seed {verdict.seed}{options}"
            )

    try:
        verdicts = run_many(Job(profile, time_ms, clients), seeds, jobs, journal, seen)
    except KeyboardInterrupt:
        click.echo("\ninterrupted; the same command goes on from here", err=True)
        raise
    if as_json:
        import attrs

        click.echo(json.dumps([attrs.asdict(verdict) for verdict in verdicts]))  # type: ignore[arg-type]
    else:
        _table(verdicts, options)
    return VIOLATED if any(verdict.violation for verdict in verdicts) else 0


def _table(verdicts: list["Verdict"], options: str) -> None:
    fired: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    for verdict in verdicts:
        fired.update(verdict.fired)
        runs.update(dict.fromkeys(verdict.fired, 1))
        checked.update(verdict.checked)
        excused.update(verdict.excused)
    real_s = sum(verdict.real_s for verdict in verdicts)
    virtual_s = sum(verdict.virtual_ns for verdict in verdicts) / 1e9
    events = sum(verdict.events for verdict in verdicts)
    failed = [verdict for verdict in verdicts if verdict.violation]
    rows = [["fault", "struck", "in runs"], *([k, str(n), str(runs[k])] for k, n in sorted(fired.items()))]
    show_plain(rows)
    click.echo()
    show_plain([["checked", "times"], *([name, f"{n:,}"] for name, n in sorted(checked.items()))])
    if excused:
        click.echo()
        show_plain([["legal loss", "records"], *([name, f"{n:,}"] for name, n in sorted(excused.items()))])
    click.echo(
        f"\n{len(verdicts)} seeds, {len(failed)} failed; {virtual_s:,.0f} virtual s in {real_s:,.0f} s of one core "
        f"({virtual_s / max(real_s, 1e-9):.0f} : 1), {events:,} events ({events / max(real_s, 1e-9):,.0f}/s), "
        f"{len(fired)} kinds of faults"
    )
    for verdict in failed:
        click.echo(
            f"seed {verdict.seed}: {verdict.violation}\n  replay: rafka sim --seed {verdict.seed}{options}"
        )
