"""Choose the checkers that fit a history, run them, and give their verdict."""

from collections.abc import Iterable
from typing import Any, Final

from rafka.sim.check.anomalies import known
from rafka.sim.check.history import OK, UNKNOWN, History, HistoryError
from rafka.sim.check.linear import BUDGET, check_objects
from rafka.sim.check.log import check_existence, check_log, check_offsets
from rafka.sim.check.models import MODELS, model_for
from rafka.sim.check.orders import order_logs
from rafka.sim.check.report import Findings, say_call, say_op, say_value
from rafka.sim.check.transactions import check_log_cycles, check_transactions, forbidden_by

NAMES: Final = ("log", "txn", *MODELS)
"""What a history can be judged as: a log, isolated transactions, or objects of one model."""
ISOLATION: Final = "serializable"


def judge(
    history: History,
    model: str | None = None,
    *,
    isolation: str = ISOLATION,
    allow: Iterable[str] = (),
    budget: int = BUDGET,
) -> Findings:
    """Judge a history as what it looks like, or as `model`. Raises HistoryError if it cannot be that.

    isolation: a name of transactions.ISOLATIONS; allow: anomalies that are no violation here; budget: of the search
    for a linear order, in states.
    """
    found = Findings(known(history.allow, line=1) | known(allow))
    model = model or model_of(history)
    found.stats["lines"] = history.lines
    if model == "log":
        if history.lists:
            raise HistoryError(0, "lists (append, r) are no logs: judge them as txn")
        orders = check_log(history, found)
        check_log_cycles(history, orders, found)
    elif model == "txn":
        check_isolation(history, found, isolation)
    else:
        check_objects(history, MODELS[model], found, budget)
    return found


def model_of(history: History) -> str:
    """Say what a history looks like."""
    if history.calls:
        functions = {call.f for calls in history.calls.values() for call in calls}
        model = model_for(functions)
        if model is None:
            raise HistoryError(0, f"no model has all of {', '.join(sorted(functions))}: say which it is")
        return model.name
    if history.lists:
        return "txn"
    if not history.f:
        raise HistoryError(0, "there are no operations in this history")
    return "log"


def check_isolation(history: History, found: Findings, isolation: str) -> None:
    """Judge transactions over logs or lists."""
    forbidden = forbidden_by(isolation)
    if "G1a" not in forbidden:
        found.allow |= {"G1a", "G1b"}
    orders = order_logs(history)
    check_offsets(history, orders, found)
    check_existence(history, orders, found)
    if history.lists:
        check_intermediate(history, found)
        for op, key in history.internal:
            found.add(
                "internal", [op], "a read of {} contradicts what its own transaction did", history.keys[key]
            )
    check_transactions(history, orders, found, isolation)


def check_intermediate(history: History, found: Findings) -> None:
    """Find `G1b`: a list was read as it was in the middle of somebody else's transaction."""
    final: dict[int, bool] = {}
    for vids in history.sends:
        last = {history.v_key[vid]: vid for vid in vids}
        final.update((vid, last[history.v_key[vid]] == vid) for vid in vids)
    for segment, vids in enumerate(history.s_vids):
        reader = history.s_op[segment]
        if not vids or final.get(vids[-1], True) or history.outcome[reader] != OK:
            continue
        writer = history.v_op[vids[-1]]
        if writer not in (reader, UNKNOWN):
            words = "{} was read up to {!r}, which was not the last that its transaction appended"
            told = history.keys[history.s_key[segment]], history.v_value[vids[-1]]
            found.add("G1b", [reader, writer], words, *told)


def as_data(history: History, model: str, found: Findings) -> dict[str, Any]:
    """Give a verdict as JSON-like data."""
    return {
        "valid": found.valid,
        "model": model,
        "violations": found.violations,
        "stats": found.stats,
        "unknown": found.unknown,
        "anomalies": [
            {
                "name": each.name,
                "allowed": each.allowed,
                "count": each.count,
                "cases": [
                    {"words": case.words, "operations": [op_as_data(history, op) for op in case.ops]}
                    for case in each.cases
                ],
            }
            for each in found.found
        ],
    }


def op_as_data(history: History, op: int) -> dict[str, Any]:
    """Give one operation as data: who did what on which lines, and in words what it sent and read."""
    end = history.end[op]
    return {
        "process": history.process[op],
        "f": history.f[op],
        "lines": [history.begin[op], end if end <= history.lines else None],
        "words": say_call(history, op) or say_value(history, op),
    }


def as_lines(history: History, model: str, found: Findings) -> list[str]:
    """Give a verdict as lines to read."""
    stats = ", ".join(f"{count} {name}" for name, count in found.stats.items())
    verdict = {
        True: f"valid: judged as {model} ({stats})",
        False: f"not valid: {', '.join(found.violations)}; judged as {model} ({stats})",
        None: f"unknown: {'; '.join(found.unknown)}; judged as {model} ({stats})",
    }[found.valid]
    lines = [verdict]
    for each in found.found:
        lines += ["", f"{each.name}, {each.count} case(s)" + (", allowed" if each.allowed else "")]
        for case in each.cases[: 1 if each.allowed else None]:
            lines.append(f"  {case.words}")
            lines += [f"    {say_op(history, op)}" for op in case.ops]
        if each.count > len(each.cases):
            lines.append(f"  … and {each.count - len(each.cases)} more")
    return lines
