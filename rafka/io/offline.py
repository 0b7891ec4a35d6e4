"""Scripts of the core run to their end on real files, one effect after the other: for tools, without a broker.

`Reading` performs what changes nothing, and opens files for reading only; `Writing` performs every disk effect, as
the drivers do.
"""

import os
from typing import TypeVar

from rafka.core.effects import DiskEffect, List, Read
from rafka.core.events import DiskEvent, Event, Failed, Listed, Loaded
from rafka.core.script import Script, with_token
from rafka.core.types import Token
from rafka.io.disk import Disk, Operation
from rafka.io.disk import Reading as PendingRead
from rafka.io.files import Files
from rafka.observe.tally import Tally

T = TypeVar("T")
ASKED = Token(1)


class Reading:
    """Runs scripts that only read and list. root: what their paths are relative to."""

    def __init__(self, root: str) -> None:
        self._files = Files(root)

    def run(self, script: Script[T]) -> T:
        """Run a script and return its result; raises what it raises."""
        try:
            effect = next(script)
            while True:
                effect = script.send(self.perform(effect))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def perform(self, effect: DiskEffect) -> DiskEvent:
        """Perform one effect and answer it."""
        assert isinstance(effect, Read | List), f"this would change something: {effect!r}"
        try:
            if isinstance(effect, List):
                return Listed(effect.file, ASKED, self._files.list_dir(effect.file))
            with open(self._files.path(effect.file), "rb") as file:
                file.seek(effect.position)
                return Loaded(effect.file, ASKED, file.read(effect.length))
        except OSError as error:
            op = type(effect).__name__.lower()
            return Failed(effect.file, ASKED, op, error.errno or 0, error.strerror or str(error))


class Writing(Reading):
    """Runs any script. The directory must be ours alone."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._answers: list[Event] = []
        self._disk = Disk(self._files, _AtOnce(), self._answers, Tally())

    def perform(self, effect: DiskEffect) -> DiskEvent:
        """Perform one effect and answer it."""
        asked = with_token(effect, ASKED)
        self._disk.perform[type(asked)](asked)
        answer = self._answers.pop()
        assert not self._answers
        return answer  # type: ignore[return-value]  # a disk effect has a disk event for its answer


class _AtOnce:
    """Syncs and reads while the caller waits."""

    def sync(self, operation: Operation, *, is_dir: bool) -> None:
        """Make a descriptor's bytes durable."""
        del is_dir
        try:
            os.fsync(operation.fd)
        except OSError as error:
            operation.finish(-(error.errno or 5))
        else:
            operation.finish(0)

    def read(self, operation: PendingRead) -> None:
        """Read one piece."""
        try:
            count = os.preadv(operation.fd, [operation.rest()], operation.position())
        except OSError as error:
            count = -(error.errno or 5)
        operation.finish(count)
