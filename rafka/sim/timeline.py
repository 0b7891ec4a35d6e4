"""The timeline of a run as one HTML page that needs nothing else: no network, no library, no server.

The page draws on a canvas only what is in view, so that a run of a hundred thousand happenings can be looked at as
a whole and moved about in. It opens where the promise was broken.

DATA is one JSON object. `strings` holds every word once; elsewhere words are indices into it:
    lanes    names          spans   [lane, from ns, to ns, kind, words]
    marks    [lane, ns, kind, words]
    arrows   [lane, ns, lane, ns, kind, words]
    series   {name, levels: [[ns, log start, high watermark, log end]], points: [[ns, offset]]}; -1: down
    curve    [[ns, probability]] or null, see curve.py
"""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rafka.sim.recording import Recording
from rafka.sim.shrink import signature

TEMPLATE = Path(__file__).with_name("timeline.html")
SERIES_MAX = 16
ORDER = ("faults", "disk: writes", "disk: syncs", "disk: names", "disk: reads", "broker")
"""The lanes above those of the clients, from the top."""


def page(recording: Recording, *, curve: Sequence[tuple[int, float]] | None = None) -> str:
    """Return the page."""
    data = data_of(recording, curve=curve)
    # "<" must not end the script element; the rest of JSON may stand in HTML as it is.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    html = TEMPLATE.read_text("utf-8")
    return html.replace("TITLE", escape(str(data["title"])), 1).replace("DATA", text, 1)


def data_of(recording: Recording, *, curve: Sequence[tuple[int, float]] | None = None) -> dict[str, object]:
    """Return what the page draws."""
    outcome = recording.outcome
    words: dict[str, int] = {}

    def say(text: str) -> int:
        return words.setdefault(text, len(words))

    clients = [name for name in recording.lanes if name not in ORDER]
    lanes = [*ORDER, *sorted(clients)]
    place = [lanes.index(name) for name in recording.lanes]
    spans = [[place[lane], a, b, say(kind), say(text)] for lane, a, b, kind, text in recording.spans]
    marks = [[place[lane], at, say(kind), say(text)] for lane, at, kind, text in recording.marks]
    arrows = [
        [place[one], a, place[other], b, say(kind), say(text)]
        for one, a, other, b, kind, text in recording.arrows
    ]
    busiest = sorted(recording.series, key=lambda name: -len(recording.series[name]))[:SERIES_MAX]
    series = [
        {
            "name": name,
            "levels": recording.series[name],
            "points": [[at, offset] for at, offset, _ in recording.points.get(name, [])],
        }
        for name in sorted(busiest)
    ]
    return {
        "title": f"rafka sim, seed {outcome.seed}",
        "verdict": outcome.violation or "every promise was kept",
        "signature": signature(outcome.violation),
        "facts": [
            ["profile", outcome.profile],
            ["virtual", f"{outcome.virtual_ns / 1e9:.3f} s"],
            ["events", f"{outcome.events:,}"],
            ["lives", str(outcome.lives)],
            ["faults", str(len(outcome.decisions))],
            ["hash", outcome.trace_hash[:16]],
        ],
        "ends": max(outcome.virtual_ns, 1),
        "violation": outcome.virtual_ns if outcome.violation else None,
        "lanes": lanes,
        "spans": spans,
        "marks": marks,
        "arrows": arrows,
        "series": series,
        "curve": None if curve is None else [list(point) for point in curve],
        "strings": list(words),
    }
