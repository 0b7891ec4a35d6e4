"""The shape of a value: data that is frozen to the type checker and cheap at run time.

`attrs.frozen` costs three times what `attrs.define` does per object, because every field is set through
`object.__setattr__`. mypy sees values as frozen (assigning to a field is an error); at run time they are
ordinary slotted objects. Nobody mutates a value after handing it over.
"""

from typing import TypeVar, dataclass_transform

import attrs

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=True)
def value(cls: type[T]) -> type[T]:
    """Make `cls` a slotted value class with structural equality."""
    return attrs.define(cls, slots=True, eq=True, order=False)
