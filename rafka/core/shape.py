"""The shape of a value: data that is frozen to the type checker and cheap at run time.

`attrs.frozen` costs three times what `attrs.define` does per object, because every field is set through
`object.__setattr__`. mypy sees values as frozen (assigning to a field is an error); at run time they are
ordinary slotted objects. Nobody mutates a value after handing it over.

Equality and `repr` are one function for all values: attrs would compile two for each class, and a broker that starts
would wait for it (0.5 ms a class, 0.2 without).
"""

from typing import TypeVar, dataclass_transform

import attrs

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=True)
def value(cls: type[T]) -> type[T]:
    """Make `cls` a slotted value class with structural equality and, as a value is not hashable, no hash."""
    if "__eq__" not in cls.__dict__:
        cls.__eq__ = _equal  # type: ignore[method-assign]
        cls.__hash__ = None  # type: ignore[assignment]
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _text  # type: ignore[method-assign]
    return attrs.define(cls, slots=True, eq=False, repr=False, order=False)


def _equal(self: object, other: object) -> bool:
    """Compare field by field; values of other classes are different, derived ones too."""
    if other.__class__ is not self.__class__:
        return NotImplemented  # type: ignore[no-any-return]
    names: tuple[str, ...] = self.__match_args__  # type: ignore[attr-defined]
    return all(getattr(self, name) == getattr(other, name) for name in names)


def _text(self: object) -> str:
    """Write a value as the call that makes it."""
    fields = (f"{name}={getattr(self, name)!r}" for name in self.__match_args__)  # type: ignore[attr-defined]
    return f"{type(self).__qualname__}({', '.join(fields)})"
