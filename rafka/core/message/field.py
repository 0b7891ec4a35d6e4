"""The rows of a message's SCHEMA as they are at one version, and the fewest bytes that they take."""

from __future__ import annotations

import struct
from typing import Final

from rafka.core.message.base import NEVER, Message, Row

FORMATS: Final = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}


def _within(version: int, versions: str) -> bool:
    """Whether Kafka's notation of a range ("3+", "3-7", "3", "" or "none") holds the version."""
    if versions in ("", "none"):
        return False
    first, _, last = versions.removesuffix("+").partition("-")
    return int(first) <= version <= (NEVER if versions.endswith("+") else int(last or first))


class Field:
    """One row of a SCHEMA as it is at one version."""

    __slots__ = ("compact", "default", "ignorable", "kind", "name", "nullable", "present", "struct", "tag")

    def __init__(self, row: Row, version: int, *, flexible: bool) -> None:
        self.name, self.kind, self.struct, versions, nullable, tagged, self.default, self.ignorable = row
        self.compact = flexible and self.kind != "legacy_string"
        self.nullable = _within(version, nullable)
        tag, _, tag_versions = tagged.partition(":")
        is_tagged = flexible and _within(version, tag_versions)
        self.tag = int(tag) if is_tagged else -1
        self.present = _within(version, versions) or is_tagged

    @property
    def is_array(self) -> bool:
        return self.kind.startswith("[]")

    @property
    def null(self) -> int:
        """The byte that stands for a struct that is null; one that follows is announced by 1.

        KIP-893 says -1. In the tagged section, which was there before, it is a varint 0, as for null strings.
        """
        return 0 if self.tag >= 0 else -1


def fields_of(cls: type[Message], version: int) -> list[Field]:
    """Return the rows of a class as they are at a version, in the order of the wire."""
    flexible = version >= cls.FLEXIBLE_FROM
    return [Field(row, version, flexible=flexible) for row in cls.SCHEMA]


def tagged_of(fields: list[Field]) -> list[Field]:
    """Return the fields that travel in the tagged section, by tag."""
    return sorted((f for f in fields if f.present and f.tag >= 0), key=lambda f: f.tag)


def size_min(cls: type[Message], version: int) -> int:
    """Return the fewest bytes that a struct takes at a version; at least 1, so that it bounds an array's length."""
    flexible = version >= cls.FLEXIBLE_FROM
    fields = [f for f in fields_of(cls, version) if f.present and f.tag < 0]
    return max(1, sum(_field_size_min(f, version) for f in fields) + flexible)


def _field_size_min(field: Field, version: int) -> int:
    if field.kind in FORMATS:
        return struct.calcsize(">" + FORMATS[field.kind])
    if field.kind == "struct":
        assert field.struct is not None
        return 1 if field.nullable else size_min(field.struct, version)
    if field.compact:
        return 1
    return 2 if field.kind in ("string", "legacy_string") else 4
