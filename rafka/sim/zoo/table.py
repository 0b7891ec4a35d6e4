"""What hunts came to, as a table for people, as Markdown for the documentation, and as JSON."""

from collections.abc import Iterable, Sequence

import attrs

from rafka.sim.zoo.all import ABSENT, BUGS, OPEN
from rafka.sim.zoo.hunt import TIME_MS, Catch
from rafka.sim.zoo.registry import Bug

HEAD = ("id", "bug", "first met", "adversary", "seeds to find", "caught by", "did wrong")


def adversary(bug: Bug) -> str:
    """Say what a bug is hunted with: profile, fixed knobs, heavy faults."""
    parts = [f"{name}={value}" for name, value in bug.knobs.items()]
    parts += [f"{kind} heavy" for kind in bug.faults]
    return bug.profile + (f" ({', '.join(parts)})" if parts else "")


def score(catches: Iterable[Catch]) -> tuple[int, int]:
    """Return how many bugs were found, and how many were looked for."""
    found = [catch.is_found for catch in catches]
    return sum(found), len(found)


def rows(catches: Iterable[Catch]) -> list[tuple[str, ...]]:
    """Make a row for each bug."""
    table: list[tuple[str, ...]] = []
    for catch in catches:
        bug = BUGS[catch.bug]
        seeds = str(catch.seed) if catch.seed else f"not in {catch.tried}"
        if catch.control:
            seeds = f"{seeds}: THE CORRECT CODE IS ACCUSED TOO"
        table.append(
            (bug.id, bug.what, bug.source, adversary(bug), seeds, catch.caught_by or "–", str(catch.hits))
        )
    return table


def lines(catches: Sequence[Catch]) -> list[str]:
    """Make the table that a terminal shows: without the sentences."""
    short: list[tuple[str, ...]] = [("id", "adversary", "seeds", "caught by", "did wrong")]
    short += [(row[0], BUGS[row[0]].profile, *row[4:]) for row in rows(catches)]
    widths = [max(len(row[column]) for row in short) for column in range(len(short[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in short
    ]
    found, total = score(catches)
    return [*text, "", f"{found} of {total} bugs found: mutation score {100 * found / max(total, 1):.0f} %"]


def markdown(catches: Sequence[Catch]) -> str:
    """Make the page that is published."""
    found, total = score(catches)
    text = [
        "# The bug zoo\n",
        f"`rafka sim zoo` plants each of these {total} bugs in the broker, from outside, and runs seeds 1, 2, 3 …",
        f"of the simulator (chaos of {TIME_MS / 1000:g} virtual seconds) until somebody sees it.",
        f"**{found} of {total} are found.**\n",
        "- *adversary*: the profile, and what of it is fixed instead of drawn;",
        "- *caught by*: the invariant that was broken first (`rafka/sim/ledger.py`, `rafka/sim/audit.py`);",
        "  *assertion*: one of the broker's own invariants; *crash*: the broker, or its client, ended over it;",
        "- *did wrong*: how often the bug had acted in all these runs. The correct code was run on the seed that",
        "  found the bug, and every promise was kept.\n",
        "This page is written by `rafka sim zoo --record --table docs/zoo.md`.\n",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(row) + " |" for row in rows(catches)),
        "\n## Bugs that are not found yet\n",
        *(f"- {name}: {why}" for name, why in OPEN.items()),
        "\n## Bugs that one node cannot have\n",
        *(f"- {name}: {why}" for name, why in ABSENT.items()),
    ]
    return "\n".join(text) + "\n"


def as_dict(catches: Sequence[Catch], lost: Sequence[str]) -> dict[str, object]:
    """Make what JSON says."""
    found, total = score(catches)
    bugs = [
        {
            **attrs.asdict(catch),  # type: ignore[arg-type]  # a value is an attrs class
            "found": catch.is_found,
            "what": BUGS[catch.bug].what,
            "source": BUGS[catch.bug].source,
            "adversary": adversary(BUGS[catch.bug]),
        }
        for catch in catches
    ]
    return {"found": found, "bugs": total, "lost": list(lost), "catches": bugs}
