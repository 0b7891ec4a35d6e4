"""The bug zoo: small mutations of the correct code, planted from outside, for the simulator to find.

    @bug("L21", "etcd#14370", "a record is acknowledged before it is synced", "LO1")
    def acks_before_sync(plant: Plant) -> None:
        def promise(original: Any, log: Any) -> None: ...
        plant.patch(Appender, "_promise", promise)

A bug patches a method, a function or a constant of the real classes for as long as a run lasts (`planted`), and takes
it back afterwards: the code that is shipped knows nothing of it, and cannot reach it. Whatever a bug changes calls
`plant.hit()` when it has really done wrong, so that a run that finds nothing can say whether there was anything.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from rafka.core.shape import value

Change = Callable[..., Any]
"""Called in place of what it changes: with that first, then with its arguments."""


class Plant:
    """Where one bug is planted, for one run. hits: how often it has done wrong."""

    def __init__(self) -> None:
        self.hits = 0
        self.undo: list[tuple[Any, str, Any]] = []

    def hit(self) -> None:
        """Take note that the bug has done what it does."""
        self.hits += 1

    def patch(self, owner: Any, name: str, change: Change) -> None:
        """Let `change` be called instead of a method of a class, or a function of a module."""
        original = vars(owner)[name]

        def changed(*args: Any, **options: Any) -> Any:
            return change(original, *args, **options)

        self.put(owner, name, changed)

    def patch_property(self, owner: Any, name: str, change: Change) -> None:
        """Let `change` be called instead of a property of a class."""
        original = vars(owner)[name].fget
        self.put(owner, name, property(lambda one: change(original, one)))

    def put(self, owner: Any, name: str, thing: Any) -> None:
        """Put something in the place of an attribute of a class or a module."""
        self.undo.append((owner, name, vars(owner)[name]))
        setattr(owner, name, thing)

    def uproot(self, left: int = 0) -> None:
        """Let everything be as it was, but for the first `left` changes."""
        while len(self.undo) > left:
            setattr(*self.undo.pop())


@value
class Bug:
    """One bug. source: where it was met first; expects: who must see it, one of these.

    profile: the adversary that brings it out; knobs, faults: fixed, where those that are drawn seldom do.
    """

    id: str
    source: str
    what: str
    expects: tuple[str, ...]
    plant: Callable[[Plant], None]
    family: str
    profile: str = "default"
    knobs: Mapping[str, object] = attrs.field(factory=dict)
    faults: tuple[str, ...] = ()
    """Kinds of faults that are heavy in every run."""


Bugs = dict[str, Bug]


def family(name: str) -> tuple[Bugs, Callable[..., Callable[[Callable[[Plant], None]], None]]]:
    """Return a table for the bugs of one family, and the decorator that enters one."""
    bugs: Bugs = {}

    def bug(
        bug_id: str,
        source: str,
        what: str,
        *expects: str,
        profile: str = "default",
        faults: tuple[str, ...] = (),
        **knobs: object,
    ) -> Callable[[Callable[[Plant], None]], None]:
        def enter(plant: Callable[[Plant], None]) -> None:
            assert bug_id not in bugs, f"{bug_id} is there twice"
            bugs[bug_id] = Bug(bug_id, source, what, expects, plant, name, profile, knobs, faults)

        return enter

    return bugs, bug


@contextmanager
def planted(bug: Bug) -> Iterator[Plant]:
    """Plant a bug for as long as the context lasts."""
    plant = Plant()
    try:
        bug.plant(plant)
        yield plant
    finally:
        plant.uproot()


def without(script: Any, *kinds: type) -> Any:
    """Run a script and leave out its effects of some kinds, as if they had been done."""
    answer = None
    try:
        effect = next(script)
        while True:
            while isinstance(effect, kinds):
                effect = script.send(None)
            answer = yield effect
            effect = script.send(answer)
    except StopIteration as stop:
        return stop.value
