"""What every protocol message is: a slotted class with a table of its fields.

A message class describes all versions of a Kafka message at once. Its SCHEMA lists the fields in wire order
with the versions that have them; `compiler` turns a class and a version into a codec. The classes themselves
are written by tools/generate_messages.py. They are plain classes, not attrs ones, because creating an attrs
class costs a few hundred microseconds at import and a broker imports dozens before its first answer.

A row of a SCHEMA, with Kafka's words for what they mean ("0+", "3-7" and "" are version ranges):

    name       the attribute, in snake case
    type       int8 int16 uint16 int32 uint32 int64 float64 bool uuid string bytes records struct, or [] and
               one of them; `legacy_string` is a string that keeps its two-byte length in flexible versions too
    struct     the class of a struct, or of an array's structs; None for other types
    versions   which have the field
    nullable   which may say null
    tagged     "" or "tag:versions", the versions that carry it in the tagged section (KIP-482)
    default    what it is when absent; () is an empty array or a struct of defaults
    ignorable  whether a value other than the default may be dropped when the version lacks the field

Sources: KIP-482 and the README beside Kafka's message definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rafka.core.types import Buffer, Piece

Default = int | float | str | bytes | tuple[()] | None
Records = Buffer | Sequence[Piece]
"""The record batches of a response: what is read is a view of the received bytes, what is written may be pieces."""
Row = tuple[str, str, "type[Message] | None", str, str, str, Default, bool]
Schema = tuple[Row, ...]

NEVER: Final = 0x7FFF
"""The FLEXIBLE_FROM of a message that has no flexible version."""


class Unset:
    """The default of a constructor's argument where None means null and the default is something else."""

    __slots__ = ()


UNSET: Final = Unset()


class Message:  # noqa: PLW1641  # no hash: see its docstring
    """One message, or one struct inside a message, in all its versions.

    VERSIONS: those that Kafka still serves; FLEXIBLE_FROM: the first with compact lengths and tagged fields.
    Equality is structural: same class, equal fields. Messages are mutable, so defining
    equality takes their hash away.
    """

    __slots__: tuple[str, ...] = ()
    VERSIONS: ClassVar[range] = range(0)
    FLEXIBLE_FROM: ClassVar[int] = NEVER
    SCHEMA: ClassVar[Schema] = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{self.__class__.__name__}({fields})"
