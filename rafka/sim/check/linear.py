"""Is it linearizable? Wing and Gong's search as Lowe and Porcupine made it fast, one object after another.

Every operation must take effect at one instant between its invocation and its completion. First two orders are
tried that often are the answer (a witness): by completion, and by what the operations themselves tell of their
place. If neither is, the search goes depth first over the calls that no unlinearized completion precedes; a list of
calls and completions in time order is relinked as calls are taken out and put back, and a pair of (set of calls
done, state) is never entered twice. The set is one int, a bit per call. The search is exponential at worst, so it
has a budget of such pairs; when that is spent, the answer is that nobody knows.

Sources: G. Lowe, Testing for linearizability, 2017; A. Horn and D. Kroening, Faster linearizability checking via
P-compositionality, 2015.
"""

from collections.abc import Sequence
from typing import Any, Final

import attrs

from rafka.sim.check.history import FAIL, INFO, NEVER, OK, Call, History, HistoryError
from rafka.sim.check.models import IMPOSSIBLE, UNTOLD, Model, prepared
from rafka.sim.check.report import Findings

BUDGET: Final = 2_000_000
"""Pairs of calls done and state that are remembered for one object; some 200 bytes each."""


@attrs.define(eq=False)
class Operations:
    """The calls on one object that may have had an effect, by number, in order of invocation."""

    model: Model
    ops: list[int]
    begin: list[int]
    end: list[int]
    f: list[str]
    asked: list[Any]
    told: list[Any]


@attrs.define(eq=False)
class Answer:
    """What the search found. linearizable: None if the budget was spent.

    order: the longest explanation found, by number; stuck: what then could not be explained; states: pairs entered.
    """

    linearizable: bool | None
    order: list[int]
    stuck: int | None = None
    states: int = 0


def check_objects(history: History, model: Model, found: Findings, budget: int = BUDGET) -> None:
    """Judge every object of a history. Raises HistoryError if an operation is not the model's."""
    for name, calls in history.calls.items():
        operations = gather(history, model, calls)
        answer = search(operations, budget)
        found.stats["operations"] = found.stats.get("operations", 0) + len(operations.ops)
        found.stats["states"] = found.stats.get("states", 0) + answer.states
        label = f"{model.name} {name}".strip()
        if answer.linearizable is None:
            found.unknown.append(f"{label}: not decided after {answer.states} states")
        elif not answer.linearizable:
            explain(operations, answer, label, found)


def gather(history: History, model: Model, calls: Sequence[Call]) -> Operations:
    """Collect what may have had an effect: not what failed, nor reads that nobody saw the answer of."""
    gathered = Operations(model, [], [], [], [], [], [])
    for call in calls:
        outcome = history.outcome[call.op]
        if call.f not in model.functions:
            raise HistoryError(history.begin[call.op], f"a {model.name} has no {call.f!r}")
        if outcome == FAIL or (outcome == INFO and call.f in model.reads):
            continue
        try:
            told = call.told if outcome == OK or call.f not in model.reads else None
            asked, answer = prepared(model, call.f, call.asked, told)
        except ValueError as error:
            raise HistoryError(history.begin[call.op], str(error)) from None
        gathered.ops.append(call.op)
        gathered.begin.append(history.begin[call.op])
        gathered.end.append(history.end[call.op])
        gathered.f.append(call.f)
        gathered.asked.append(asked)
        gathered.told.append(answer if outcome == OK else UNTOLD)
    return gathered


def search(operations: Operations, budget: int = BUDGET) -> Answer:
    """Find an order that explains all answers."""
    for witness in witnesses(operations):
        if holds(operations, witness):
            return Answer(linearizable=True, order=witness)
    return Search(operations, budget).run()


def witnesses(operations: Operations) -> list[list[int]]:
    """Give the orders worth trying: by completion; for streams by the tail that was told, reads after appends."""
    known = [i for i, end in enumerate(operations.end) if end != NEVER]
    orders = [sorted(known, key=operations.end.__getitem__)]
    if operations.model.name == "stream":
        place = {}
        for i in known:
            told = operations.told[i]
            tail = told[0] if operations.f[i] == "read" else told
            if type(tail) is not int:
                return orders
            place[i] = tail, operations.f[i] != "append", operations.end[i]
        orders.append(sorted(known, key=place.__getitem__))
    return orders


def holds(operations: Operations, order: list[int]) -> bool:
    """Say whether an order respects real time and explains all answers."""
    earliest = NEVER
    for i in reversed(order):
        earliest = min(earliest, operations.end[i])
        if earliest < operations.begin[i]:
            return False
    state, step = operations.model.start, operations.model.step
    for i in order:
        state = step(state, operations.f[i], operations.asked[i], operations.told[i])
        if state is IMPOSSIBLE:
            return False
    return True


class Search:
    """The depth-first search. Nodes 1…2n are calls and completions in time order; 0 is the head of their list."""

    def __init__(self, operations: Operations, budget: int) -> None:
        self._o = operations
        self._budget = budget
        count = len(operations.ops)
        moments = [(line, 0, i) for i, line in enumerate(operations.begin)]
        moments += [(line, 1, i) for i, line in enumerate(operations.end)]
        moments.sort()
        self._next = [*range(1, 2 * count + 1), 0]
        self._previous = [2 * count, *range(2 * count)]
        self._call: list[int] = [-1] * (2 * count + 1)
        """By node: the number of the operation that is called there; -1 for completions."""
        self._return = [0] * count
        self._returns = [-1] * (2 * count + 1)
        for node, (_, completion, i) in enumerate(moments, 1):
            if completion:
                self._return[i] = node
                self._returns[node] = i
            else:
                self._call[node] = i

    def run(self) -> Answer:
        """Search until all answers are explained, nothing is left to try, or the budget is spent."""
        o, step, succ, call = self._o, self._o.model.step, self._next, self._call
        left = sum(end != NEVER for end in o.end)
        state, done, node = o.model.start, 0, succ[0]
        entered: set[tuple[int, Any]] = set()
        stack: list[tuple[int, Any]] = []
        best: list[int] = []
        stuck: int | None = None
        while left:
            i = call[node]
            if i >= 0:
                after = step(state, o.f[i], o.asked[i], o.told[i])
                pair = (done | 1 << i, after)
                if after is not IMPOSSIBLE and pair not in entered:
                    if len(entered) >= self._budget:
                        return Answer(linearizable=None, order=best, states=len(entered))
                    entered.add(pair)
                    stack.append((node, state))
                    done, state = pair
                    left -= o.end[i] != NEVER
                    self._lift(node, i)
                    node = succ[0]
                else:
                    node = succ[node]
                continue
            if len(stack) > len(best) or stuck is None:
                best, stuck = [call[each] for each, _ in stack], self._returns[node]
            if not stack:
                return Answer(linearizable=False, order=best, stuck=stuck, states=len(entered))
            node, state = stack.pop()
            i = call[node]
            done ^= 1 << i
            left += o.end[i] != NEVER
            self._unlift(node, i)
            node = succ[node]
        return Answer(linearizable=True, order=[call[each] for each, _ in stack], states=len(entered))

    def _lift(self, node: int, i: int) -> None:
        """Take a call and its completion out of the list."""
        succ, prev = self._next, self._previous
        for each in (node, self._return[i]):
            succ[prev[each]] = succ[each]
            prev[succ[each]] = prev[each]

    def _unlift(self, node: int, i: int) -> None:
        """Put them back where they were."""
        succ, prev = self._next, self._previous
        for each in (self._return[i], node):
            succ[prev[each]] = each
            prev[succ[each]] = each


def explain(operations: Operations, answer: Answer, label: str, found: Findings) -> None:
    """Say how far the best explanation goes, and what contradicts it."""
    state = operations.model.start
    for i in answer.order:
        state = operations.model.step(state, operations.f[i], operations.asked[i], operations.told[i])
    stuck = answer.stuck if answer.stuck is not None and answer.stuck >= 0 else 0
    told = operations.told[stuck]
    words = (
        "{}: no order explains all answers; {} of {} can be ordered, which leaves {!r}, and then {} cannot be"
    )
    what = f"{operations.f[stuck]} {operations.asked[stuck]!r} → {told!r}"
    ops = [operations.ops[i] for i in [*answer.order[-3:], stuck]]
    found.add("not-linearizable", ops, words, label, len(answer.order), len(operations.ops), state, what)
