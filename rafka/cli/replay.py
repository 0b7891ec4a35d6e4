"""`rafka replay`: re-execute a flight recording, and say whether it came to the same.

Exit codes: 0 every effect is the recorded one and every invariant holds, 1 something else was found, 2 the recording
cannot be replayed here: unreadable, damaged, older, or made by other code.
"""

import json
import re
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from rafka.cli.moments import read_moment
from rafka.cli.source import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rafka.core.effects import Effect
    from rafka.core.recording.format import Header, Turn
    from rafka.sim.forking import Fork
    from rafka.sim.replaying import Chain, Found, Replay
    from rafka.sim.run import Outcome

    Taken = tuple[Turn, list[Effect]]

FOUND = 1


def _until(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int | None, int | None]:
    """Return a turn, or ms since 1970."""
    if text is not None and text.isdecimal():
        return int(text), None
    return None, read_moment(ctx, param, text)


def _range(_ctx: click.Context, _param: click.Parameter, text: str | None) -> range:
    if text is None:
        return range(0)
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text, re.ASCII)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise click.BadParameter(f"{text!r} is neither a turn nor a range such as 10..20")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


@click.command(short_help="Re-execute a flight recording.")
@click.argument("directory", type=click.Path())
@click.option(
    "--life", type=click.IntRange(min=1), help="Which process of those recorded; the last by default."
)
@click.option("--until", callback=_until, metavar="TURN|TIME", help="Stop after a turn, or at a time.")
@click.option(
    "--show", callback=_range, metavar="FROM..TO", help="Print what came in and went out in these turns."
)
@click.option("--check/--no-check", default=True, help="Check the invariants after every turn.")
@click.option("--fork", is_flag=True, help="Go on from there in the simulator; needs --seed.")
@click.option("--seed", type=int, help="With --fork: what chance and faults come from.")
@click.option("--profile", default="default", show_default=True, help="With --fork: as for `rafka sim`.")
@click.option("--time", "time_ms", type=click.IntRange(min=0), help="With --fork: virtual ms of faults.")
@click.option("--clients", type=click.IntRange(1, 64), help="With --fork: producers, and readers.")
@click.option("--data-dir", type=click.Path(), help="With --fork: the node's data, for what is not recorded.")
@click.option(
    "--any-code", is_flag=True, help="Replay what other code has recorded, to see what it does now."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def replay(  # noqa: PLR0913 – one parameter for each option
    ctx: click.Context,
    *,
    directory: str,
    life: int | None,
    until: tuple[int | None, int | None],
    show: range,
    check: bool,
    any_code: bool,
    as_json: bool,
    fork: bool,
    seed: int | None,
    profile: str,
    time_ms: int | None,
    clients: int | None,
    data_dir: str | None,
) -> None:
    """Re-execute what `rafka run --record DIRECTORY` has recorded, bit for bit, with invariants on.

    With --fork the node then goes on in the simulator, from where the replay ended, under the faults of a seed.
    """
    from rafka.core.recording.format import RecordingError
    from rafka.sim.profile import ProfileError, profile_of
    from rafka.sim.replaying import Replay

    if fork != (seed is not None):
        raise click.UsageError("--fork and --seed go together")
    try:
        chances = profile_of(profile)
        chain = _chosen(directory, life)
        _compare(chain.header, any_code=any_code)
        run = Replay(chain, check)
        turns = _shown(run.turns(until_turn=until[0], until_ms=until[1]), show, as_json=as_json)
        found, real_s, forked = _execute(run, turns, data_dir, fork=fork)
    except (RecordingError, ProfileError) as error:
        raise click.UsageError(str(error)) from error
    outcome = None
    if forked is not None and seed is not None:
        from rafka.sim.forking import ForkedRun

        outcome = ForkedRun(seed, chances, forked, time_ms=time_ms, clients=clients).outcome()
    if as_json:
        click.echo(json.dumps(_table(run, found, real_s) | _fork_table(outcome)))
    else:
        _say(run, found, real_s)
        _say_fork(run, outcome)
    ctx.exit(0 if found is None and (outcome is None or outcome.is_ok) else FOUND)


def _chosen(directory: str, life: int | None) -> "Chain":
    from rafka.sim.replaying import lives_in

    lives = {chain.header.life: chain for chain in lives_in(directory)}
    if life is None:
        return lives[max(lives)]
    if life not in lives:
        raise click.UsageError(f"{directory} holds no life {life}, but {', '.join(map(str, sorted(lives)))}")
    return lives[life]


def _compare(header: "Header", *, any_code: bool) -> None:
    """Refuse what other code has recorded: it would only prove that the code is another."""
    here = about()
    if header.source == here["source"] or any_code:
        return
    raise click.UsageError(
        f"this was recorded by rafka {header.rafka}, source {header.source}, and here is rafka {here['rafka']}, source "
        f"{here['source']}: replay it with the code that recorded it, or with --any-code to see where they differ"
    )


def _execute(
    run: "Replay", turns: "Iterator[Taken]", data_dir: str | None, *, fork: bool
) -> "tuple[Found | None, float, Fork | None]":
    """Replay; give what was found, how long it took, and from where it can go on."""
    import gc

    from rafka.sim.replaying import Found

    began = time.process_time()
    found, forked = None, None
    gc.disable()
    try:
        if fork:
            from rafka.sim.forking import fork_at

            forked = fork_at(turns, run, data_dir)
        else:
            deque(turns, maxlen=0)
    except Found as what:
        found = what
    finally:
        gc.enable()
    return found, time.process_time() - began, forked


def _shown(turns: "Iterator[Taken]", show: range, *, as_json: bool) -> "Iterator[Taken]":
    for turn, effects in turns:
        if turn.number in show:
            _show(turn, effects, as_json=as_json)
        yield turn, effects


def _show(turn: "Turn", effects: "list[Effect]", *, as_json: bool) -> None:
    from rafka.core.recording.digest import said
    from rafka.sim.replaying import clipped, told

    events, asked = [told(event) for event in turn.events], [clipped(said(effect)) for effect in effects]
    if as_json:
        line: dict[str, Any] = {"turn": turn.number, "wall_ms": turn.now.wall, "mono_ns": turn.now.mono}
        click.echo(json.dumps({**line, "events": events, "effects": asked}))
        return
    click.echo(f"turn {turn.number} at {_moment(turn.now.wall)}")
    for text in events:
        click.echo(f"  < {text}")
    for text in asked:
        click.echo(f"  > {text}")


def _table(run: "Replay", found: "Found | None", real_s: float) -> dict[str, object]:
    header = run.chain.header
    return {
        "life": header.life,
        "rafka": header.rafka,
        "python": header.python,
        "first_turn": run.first,
        "last_turn": run.turn,
        "events": run.events,
        "effects": run.effects,
        "gaps": run.gaps,
        "ending": run.ending,
        "unfinished_events": run.unfinished,
        "trace_hash": run.trace,
        "real_s": real_s,
        "found": None
        if found is None
        else {"kind": type(found).__name__, "turn": found.turn, "what": found.words},
    }


def _say(run: "Replay", found: "Found | None", real_s: float) -> None:
    header = run.chain.header
    start = "a frozen machine" if header.frozen else "the start of the process"
    click.echo(
        f"life {header.life} of node {header.identity['node_id']}: rafka {header.rafka} on Python {header.python}, "
        f"from {start} at {_moment(header.wall_ms)}"
    )
    for first, last in run.gaps:
        click.echo(
            f"turns {first} to {last} were not recorded; it went on from the machine frozen after them"
        )
    click.echo(
        f"turns {run.first} to {run.turn}, up to {_moment(run.wall_ms)}: {run.events:,} events, {run.effects:,} "
        f"effects, in {real_s:.2f} s; trace hash {run.trace}"
    )
    if run.unfinished:
        click.echo(f"the recording breaks off within a turn: {run.unfinished} events of it were left out")
    if run.ending:
        click.echo(
            {"stopped": "the node stopped here", "torn": "the recording ends here", "raised": "it died here"}[
                run.ending
            ]
        )
    if found is None:
        checked = ", every invariant holds" if run.checks else ""
        click.echo(f"every effect is the one that was recorded{checked}")
    else:
        click.echo(f"{'DIVERGED' if type(found).__name__ == 'Diverged' else 'VIOLATION'} {found}")
        here = about()
        for name, recorded in (
            ("Python", header.python),
            ("codecs", header.codecs),
            ("source", header.source),
        ):
            if here[name.lower()] != recorded:
                click.echo(f"it was recorded with {name} {recorded}, and here is {here[name.lower()]}")


def _fork_table(outcome: "Outcome | None") -> dict[str, object]:
    if outcome is None:
        return {}
    names = ("seed", "profile", "violation", "trace_hash", "events", "virtual_ns", "real_s", "lives")
    return {"fork": {name: getattr(outcome, name) for name in (*names, "fired", "checked", "excused")}}


def _say_fork(run: "Replay", outcome: "Outcome | None") -> None:
    if outcome is None:
        return
    click.echo(
        f"\nforked after turn {run.turn}, seed {outcome.seed}, profile {outcome.profile}: {outcome.lives} lives, "
        f"virtual {outcome.virtual_ns / 1e9:.1f} s in {outcome.real_s:.2f} s, {outcome.events:,} events, hash "
        f"{outcome.trace_hash}"
    )
    counted = {"checked": outcome.checked, "faults": outcome.fired, "excused": outcome.excused}
    for title, counts in counted.items():
        if counts:
            click.echo(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    click.echo("every promise was kept" if outcome.is_ok else f"VIOLATION {outcome.violation}")


def _moment(wall_ms: int) -> str:
    return (
        datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
