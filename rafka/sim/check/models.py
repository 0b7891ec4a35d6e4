"""What single objects do, one operation after another: the sequential models of the linearizability checker.

A model is a start state and a step: state × operation → next state, or IMPOSSIBLE if the operation could not have been
answered so in that state. States are hashable and as small as can be: they are remembered by the million. An
operation whose answer nobody knows (UNTOLD) does what it can, or nothing: it must be possible in every state.
"""

import json
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from rafka.core.shape import value
from rafka.sim.check.history import Frozen

IMPOSSIBLE: Final = object()
"""Instead of a state: this cannot have happened here."""
UNTOLD: Final = object()
"""Instead of an answer: nobody knows it."""

State = Any
Step = Callable[[State, str, Any, Any], State]


@value
class Model:
    """A sequential object. functions: the operations that it has; reads: those that change nothing."""

    name: str
    functions: frozenset[str]
    reads: frozenset[str]
    start: State
    step: Step


def step_register(state: State, f: str, asked: Any, told: Any) -> State:
    """`read`, `write`, `cas` [old, new], told false if it did not hold old. It starts as null."""
    if f == "write":
        return asked
    if f == "read":
        return state if state == told else IMPOSSIBLE
    old, new = asked
    if told is UNTOLD:
        return new if state == old else state
    if told is False:
        return IMPOSSIBLE if state == old else state
    return new if state == old else IMPOSSIBLE


def step_set(state: State, f: str, asked: Any, told: Any) -> State:
    """`add`; `read` tells all elements in any order."""
    if f == "add":
        return state | {asked}
    return state if len(told) == len(state) and state == frozenset(told) else IMPOSSIBLE


def step_queue(state: State, f: str, asked: Any, told: Any) -> State:
    """`enqueue`; `dequeue` tells the oldest, or null if there is none."""
    if f == "enqueue":
        return (*state, asked)
    if told is UNTOLD:
        return state[1:]
    if told is None:
        return IMPOSSIBLE if state else state
    return state[1:] if state and state[0] == told else IMPOSSIBLE


def step_mutex(state: State, f: str, asked: Any, told: Any) -> State:  # noqa: ARG001 – the shape of a step
    """`acquire`, `release`."""
    held = f == "acquire"
    if state == held:
        return state if told is UNTOLD else IMPOSSIBLE
    return held


def step_stream(state: State, f: str, asked: Any, told: Any) -> State:
    """`append` with conditions, `tail`, `read` and `fence`, in constant state: tail, hash of all records, token.

    Source of the idea: s2-verification. A read of everything is one comparison of hashes.
    """
    tail, chain, token = state
    if f == "tail":
        return state if told == tail else IMPOSSIBLE
    if f == "read":
        return state if told == (tail, chain) else IMPOSSIBLE
    if f == "fence":
        return tail, chain, asked
    records, if_tail, shown = asked
    fits = if_tail in (None, tail) and (shown is None or shown == token)
    if told is False:
        return IMPOSSIBLE if fits else state
    if not fits:
        return state if told is UNTOLD else IMPOSSIBLE
    if told not in (UNTOLD, tail + len(records)):
        return IMPOSSIBLE
    for record in records:
        chain = chained(chain, record)
    return tail + len(records), chain, token


def chained(chain: str, record: Frozen) -> str:
    """Give the hash of a stream after one more record: BLAKE2b-64 of the hash before and the record as JSON."""
    return blake2b((chain + json.dumps(record)).encode(), digest_size=8).hexdigest()


def prepared(model: Model, f: str, asked: Frozen, told: Frozen) -> tuple[Any, Any]:
    """Turn what a history says into what the step takes. Raises ValueError if it is not of the right shape."""
    if model.name == "register" and f == "cas" and not (isinstance(asked, tuple) and len(asked) == 2):
        raise ValueError(f"cas takes [old, new], not {asked!r}")
    if model.name == "set" and f == "read" and not isinstance(told, tuple):
        raise ValueError(f"a set is read as a list, not {told!r}")
    if model.name == "stream" and f == "append":
        fields: dict[Any, Any] = dict(asked) if isinstance(asked, tuple) else {}  # type: ignore[arg-type]
        if not isinstance(fields.get("records"), tuple) or fields.keys() - {"records", "if-tail", "token"}:
            raise ValueError(f"an append has records, and maybe if-tail and token; not {asked!r}")
        asked = fields["records"], fields.get("if-tail"), fields.get("token")
    if model.name == "stream" and f == "read":
        return asked, read_of_stream(told)
    return asked, told


def read_of_stream(told: Frozen) -> tuple[int, str]:
    """Give tail and hash of what a read told: all records, or both as an object."""
    if isinstance(told, tuple) and [pair[0] for pair in told if isinstance(pair, tuple) and pair] == [
        "chain",
        "tail",
    ]:
        fields: dict[str, Any] = dict(told)  # type: ignore[arg-type]
        return fields["tail"], fields["chain"]
    if not isinstance(told, tuple):
        raise ValueError(f"a stream is read as a list of records, or as tail and chain; not {told!r}")  # noqa: TRY004
    chain = ""
    for record in told:
        chain = chained(chain, record)
    return len(told), chain


MODELS: Final = {
    model.name: model
    for model in (
        Model("register", frozenset({"read", "write", "cas"}), frozenset({"read"}), None, step_register),
        Model("set", frozenset({"add", "read"}), frozenset({"read"}), frozenset(), step_set),
        Model("queue", frozenset({"enqueue", "dequeue"}), frozenset(), (), step_queue),
        Model("mutex", frozenset({"acquire", "release"}), frozenset(), False, step_mutex),
        Model(
            "stream",
            frozenset({"append", "read", "tail", "fence"}),
            frozenset({"read", "tail"}),
            (0, "", None),
            step_stream,
        ),
    )
}


def model_for(functions: set[str]) -> Model | None:
    """Find the first model that has all these operations; None if there is none."""
    return next((model for model in MODELS.values() if functions <= model.functions), None)
