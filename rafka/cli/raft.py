"""`rafka sim raft`: simulate the metadata quorum alone, over packets, and say whether it kept Raft's promises.

Exit codes: 0 every promise was kept, 1 one was broken, 2 it was asked wrongly.
"""

import json
import sys
from typing import TYPE_CHECKING

import click

from rafka.cli.show import show_plain
from rafka.cli.sim import Seeds

if TYPE_CHECKING:
    from rafka.sim.raft.many import Total
    from rafka.sim.raft.run import Outcome

VIOLATED = 1


@click.command(short_help="Simulate the metadata quorum alone.")
@click.option("--seed", type=click.IntRange(min=0), help="Run one seed, and say what it was like.")
@click.option("--seeds", type=Seeds(), help="Run many.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes for --seeds."
)
@click.option("--time", "time_ms", type=click.IntRange(min=1), help="How long faults last, in virtual ms.")
@click.option("--tell", is_flag=True, help="With --seed: print all that happens.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def raft(
    ctx: click.Context,
    *,
    seed: int | None,
    seeds: range | None,
    jobs: int,
    time_ms: int | None,
    tell: bool,
    as_json: bool,
) -> None:
    """Simulate the replicas of the metadata quorum, their disks and clocks, and a network that loses packets.

    Invariants RA1 to RA13 are looked at after every event; at the end the faults stop, and
    somebody must lead and commit.
    """
    if (seed is None) == (seeds is None):
        raise click.UsageError("give one of --seed and --seeds")
    if seed is not None:
        ctx.exit(_one(seed, time_ms, tells=tell, as_json=as_json))
    assert seeds is not None
    ctx.exit(_many(seeds, jobs, time_ms, as_json=as_json))


def _one(seed: int, time_ms: int | None, *, tells: bool, as_json: bool) -> int:
    from rafka.sim.raft.run import run

    outcome = run(seed, time_ms=time_ms, tells=tells)
    if as_json:
        import attrs

        click.echo(json.dumps(attrs.asdict(outcome)))  # type: ignore[arg-type]  # a value is an attrs class
        return 0 if outcome.is_ok else VIOLATED
    for line in outcome.said:
        click.echo(line)
    knobs = outcome.knobs
    click.echo(
        f"seed {seed}: {knobs.voters} voters, {knobs.observers} observers, election timeout "
        f"{knobs.settings.election_timeout_ns // 1_000_000} ms, {knobs.settings.fetch_batches_max} batches a fetch"
    )
    click.echo(
        f"virtual {outcome.virtual_ns / 1e9:.1f} s in {outcome.cpu_s:.2f} s of one core, {outcome.events} events "
        f"({outcome.events / max(outcome.cpu_s, 1e-9):,.0f}/s), {outcome.epochs} epochs with a leader, "
        f"{outcome.committed} records committed, hash {outcome.trace_hash}"
    )
    for title, counts in (("checked", outcome.checked), ("struck", outcome.fired)):
        click.echo(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    click.echo("every promise was kept" if outcome.is_ok else f"VIOLATION {outcome.violation}")
    return 0 if outcome.is_ok else VIOLATED


def _many(seeds: range, jobs: int, time_ms: int | None, *, as_json: bool) -> int:
    from rafka.sim.raft.many import run_many

    options = "" if time_ms is None else f" --time {time_ms}"
    done = 0

    def seen(outcome: "Outcome") -> None:
        nonlocal done
        done += 1
        if outcome.violation and not as_json:
            click.echo(
                f"seed {outcome.seed}: {outcome.violation}\n  rafka sim raft --seed {outcome.seed}{options}"
            )
        if not as_json and done % 500 == 0:
            sys.stderr.write(f"{done}/{len(seeds)} seeds\n")

    total = run_many(seeds, jobs, time_ms, seen)
    if as_json:
        import attrs

        click.echo(json.dumps(attrs.asdict(total)))
    else:
        _table(total)
    return VIOLATED if total.failed else 0


def _table(total: "Total") -> None:
    rows = [["what struck", "times", "in runs"]]
    rows += [[name, f"{count:,}", str(total.runs[name])] for name, count in sorted(total.fired.items())]
    show_plain(rows)
    click.echo()
    show_plain([["checked", "times"], *([name, f"{n:,}"] for name, n in sorted(total.checked.items()))])
    click.echo(
        f"\n{total.seeds} seeds, {len(total.failed)} failed; {total.virtual_ns / 1e9:,.0f} virtual s in "
        f"{total.cpu_s:,.1f} s of one core, {total.events:,} events ({total.events / max(total.cpu_s, 1e-9):,.0f}/s), "
        f"{total.epochs:,} epochs, {total.committed:,} records committed"
    )
