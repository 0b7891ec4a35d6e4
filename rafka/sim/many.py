"""Many seeds: spread over processes, each result written down as it comes, so that an interrupt costs nothing.

The journal is a file of JSON lines. Its first line says what was run (profile, options, and a digest of Rafka's own
source); a journal of something else is not continued but begun anew. Each further line is one seed's verdict.
"""

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import attrs

import rafka
from rafka.core.shape import value
from rafka.sim.judging import judged
from rafka.sim.profile import Profile, profile_of
from rafka.sim.run import Outcome, run

JUDGED_EVERY = 10
"""One seed in so many keeps its history and is judged by the offline checkers too."""


@value
class Verdict:
    """What is kept of a run. violation: "" if there is none."""

    seed: int
    violation: str
    trace_hash: str
    events: int
    virtual_ns: int
    real_s: float
    lives: int
    fired: dict[str, int]
    checked: dict[str, int]
    excused: dict[str, int]


@value
class Job:
    """How every seed is run. profile: its name, or a TOML file."""

    profile: str
    time_ms: int | None = None
    clients: int | None = None


def verdict_of(outcome: Outcome) -> Verdict:
    """Keep what a table needs."""
    fields = attrs.fields(Verdict)  # type: ignore[arg-type]  # a value is an attrs class
    return Verdict(*(getattr(outcome, field.name) for field in fields))


def run_many(
    job: Job, seeds: Iterable[int], jobs: int, journal: Path | None, seen: Callable[[Verdict], None]
) -> list[Verdict]:
    """Run the seeds that the journal does not have; tell each verdict, old and new; return all, by seed."""
    verdicts = {} if journal is None else _resume(journal, job)
    wanted = list(seeds)
    for seed in wanted:
        if seed in verdicts:
            seen(verdicts[seed])
    left = [seed for seed in wanted if seed not in verdicts]
    if left:
        sink = None if journal is None else journal.open("a", encoding="utf-8")
        try:
            for verdict in _verdicts(job, left, jobs):
                verdicts[verdict.seed] = verdict
                if sink is not None:
                    sink.write(json.dumps(attrs.asdict(verdict)) + "\n")  # type: ignore[arg-type]
                    sink.flush()
                seen(verdict)
        finally:
            if sink is not None:
                sink.close()
    return [verdicts[seed] for seed in wanted]


def _verdicts(job: Job, seeds: list[int], jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        profile = profile_of(job.profile)
        yield from (_one(job, profile, seed) for seed in seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _prepare, (job,)) as pool:
        yield from pool.imap_unordered(_in_process, seeds)


def _one(job: Job, profile: Profile, seed: int) -> Verdict:
    history = seed % JUDGED_EVERY == 0
    return verdict_of(judged(run(seed, profile, time_ms=job.time_ms, clients=job.clients, history=history)))


_prepared: list[tuple[Job, Profile]] = []


def _prepare(job: Job) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends us
    _prepared.append((job, profile_of(job.profile)))


def _in_process(seed: int) -> Verdict:
    return _one(*_prepared[-1], seed)


# ---- the journal -----------------------------------------------------------------------------------------


def _resume(journal: Path, job: Job) -> dict[int, Verdict]:
    """Read what is there of the same job; begin the file anew if it is of another."""
    header = {"rafka": source_digest(), **attrs.asdict(job)}  # type: ignore[arg-type]
    found: dict[int, Verdict] = {}
    lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
    if lines and _parsed(lines[0]) == header:
        for line in lines[1:]:
            fields = _parsed(line)
            if fields is not None:  # the last line may be cut off
                found[fields["seed"]] = Verdict(**fields)
    journal.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.dumps(header)] + [json.dumps(attrs.asdict(v)) for v in found.values()]  # type: ignore[arg-type]
    journal.write_text("\n".join(kept) + "\n", "utf-8")
    return found


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def source_digest() -> str:
    """Return a digest of all of Rafka's source: verdicts of other code are of no use."""
    root = Path(rafka.__path__[0])
    digest = blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
