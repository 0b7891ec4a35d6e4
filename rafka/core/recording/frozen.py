"""A whole machine as bytes, and back: what lets a recording that is bounded begin in the middle of a life.

A machine is plain data but for its scripts, which are generators and cannot be written down. Between two scripts all
can, so whoever freezes tries, and tries again a few turns later. What chance a machine holds is left out and given
anew when it is thawed.

A recording may come from anywhere, so thawing builds nothing but values and machines of `rafka.core` and `rafka.net`
and the few containers listed here, and calls no function but those named: reading a recording runs no code of its.
"""

import pickle
from collections import Counter, deque
from enum import Enum
from struct import Struct
from types import BuiltinMethodType, GeneratorType, MethodType
from typing import Any

from rafka.core.machine import Entropy, Machine
from rafka.core.recording.format import RecordingError

RINGS = ("rafka.core.", "rafka.net.")
CONTAINERS: dict[tuple[str, str], Any] = {
    ("builtins", "bytearray"): bytearray,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "deque"): deque,
    ("collections", "Counter"): Counter,
}
FUNCTIONS = {
    "rafka.core.coordinator.group.routing": ("partition_for",),
    "rafka.net.kafka.produce": ("decode_request", "encode_response"),
    "rafka.net.kafka.fetch": ("decode_request", "encode_response"),
}
"""Those that a machine holds."""
PACKING = ("pack", "pack_into", "unpack", "unpack_from")
CHANCE = "chance"


BROKEN = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError, TypeError, ValueError
)  # fmt: skip
"""What bytes raise that are no frozen machine."""


class Unfrozen(Exception):
    """The machine cannot be written down now. The text says why: as a rule, a script is under way."""


class Spent:
    """Stands for a script that has ended."""

    __slots__ = ()


def freeze(machine: Machine, entropy: Entropy) -> bytes:
    """Write a machine down, without its chance. Raises: Unfrozen."""
    out = _Bytes()
    try:
        _Pickler(out, entropy).dump(machine)
    except (pickle.PicklingError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise Unfrozen(f"{type(error).__name__}: {error}") from error
    return bytes(out.data)


def thaw(data: bytes | memoryview, entropy: Entropy) -> Machine:
    """Make a machine from what `freeze` gave. Raises: RecordingError."""
    try:
        machine = _Unpickler(_Source(data), entropy).load()
    except BROKEN as error:
        raise RecordingError(f"holds a machine that cannot be made again: {error}") from error
    return machine  # type: ignore[no-any-return]


class _Bytes:
    """What a pickler writes to."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


class _Source:
    """What an unpickler reads from."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def read(self, count: int) -> bytes:
        start = self._at
        self._at = min(len(self._data), start + count)
        return bytes(self._data[start : self._at])

    def readline(self) -> bytes:
        rest = bytes(self._data[self._at :])
        end = rest.find(b"\n") + 1 or len(rest)
        self._at += end
        return rest[:end]


class _Pickler(pickle.Pickler):
    def __init__(self, out: _Bytes, entropy: Entropy) -> None:
        super().__init__(out, 5)
        self._entropy = entropy

    def persistent_id(self, obj: object) -> str | None:
        return CHANCE if obj is self._entropy else None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is memoryview:
            return (view_of, (bytes(obj) if obj.readonly else bytearray(obj),))
        if kind is MethodType:
            return (method_of, (obj.__self__, obj.__name__))
        if isinstance(obj, Enum):
            return (kind, (obj.value,))
        if kind is Struct:
            return (struct_of, (obj.format,))
        if kind is BuiltinMethodType and type(obj.__self__) is Struct:
            return (packing_of, (obj.__self__.format, obj.__name__))
        if kind.__name__ == "array":
            return (array_of, (obj.typecode, obj.tobytes()))
        if kind is GeneratorType:
            if obj.gi_frame is not None:
                raise Unfrozen("a script is under way")
            return (Spent, ())
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, source: _Source, entropy: Entropy) -> None:
        super().__init__(source)
        self._entropy = entropy

    def persistent_load(self, name: Any) -> Entropy:
        if name != CHANCE:
            raise RecordingError("holds a machine with something foreign in it")
        return self._entropy

    def find_class(self, module: str, name: str, /) -> Any:
        container = CONTAINERS.get((module, name))
        if container is not None:
            return container
        if module == __name__ and name in OURS:
            return OURS[name]
        if name in FUNCTIONS.get(module, ()):
            return super().find_class(module, name)
        if module.startswith(RINGS) and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise RecordingError(f"holds what no machine holds: {module}.{name}")


def view_of(data: bytes | bytearray) -> memoryview:
    """Make a view again."""
    return memoryview(data)


def method_of(owner: object, name: str) -> Any:
    """Take a method of a machine."""
    found = getattr(owner, name)
    if not isinstance(found, MethodType) or not found.__func__.__module__.startswith(RINGS):
        raise RecordingError(f"holds what is no method of a machine: {name}")
    return found


def struct_of(text: str) -> Struct:
    """Make a struct again."""
    return Struct(text)


def packing_of(text: str, name: str) -> Any:
    """Take a method of a struct, which can do nothing but pack and unpack."""
    if name not in PACKING:
        raise RecordingError(f"holds what is no method of a struct: {name}")
    return getattr(Struct(text), name)


def array_of(typecode: str, data: bytes) -> Any:
    """Make an array again."""
    from array import array

    found = array(typecode)
    found.frombytes(data)
    return found


OURS: dict[str, Any] = {
    "view_of": view_of,
    "method_of": method_of,
    "struct_of": struct_of,
    "packing_of": packing_of,
    "array_of": array_of,
    "Spent": Spent,
}
