"""A running hash over everything that crosses the boundary: same seed, same hash, or something is not determined.

Bytes count by their content, values by their class and fields, in order. With `keep`, the lines are kept too, so
that the first one that differs between two runs can be found.
"""

from hashlib import blake2b

import attrs

from rafka.core.types import FileSlice


class Trace:
    """What happened, as one number."""

    def __init__(self, *, keep: bool = False) -> None:
        self.count = 0
        self.lines: list[str] | None = [] if keep else None
        self._hash = blake2b(digest_size=16)

    def note(self, time_ns: int, what: object) -> None:
        """Take one happening into the hash."""
        line = f"{time_ns} {said(what)}"
        self.count += 1
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """The hash of all so far, in hexadecimal."""
        return self._hash.hexdigest()


def said(thing: object) -> str:
    """Say a thing so that equal things are said equally in every process."""
    if isinstance(thing, bytes | bytearray | memoryview):
        return f"{len(thing)}:{blake2b(thing, digest_size=8).hexdigest()}"
    if thing is None or isinstance(thing, str | int | float | FileSlice):
        return repr(thing)
    if isinstance(thing, list | tuple):
        return f"[{','.join(map(said, thing))}]"
    if isinstance(thing, dict):
        return f"{{{','.join(f'{said(key)}:{said(value)}' for key, value in thing.items())}}}"
    kind = type(thing)
    if attrs.has(kind):
        fields = ",".join(said(getattr(thing, field.name)) for field in attrs.fields(kind))
        return f"{kind.__name__}({fields})"
    raise TypeError(f"{type(thing).__name__} does not belong across the boundary")
