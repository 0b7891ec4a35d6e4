"""An answer that says an error about everything a request asks for, made from the schemas of both alone.

Wherever the response has an `error_code` it gets the code. A list of the response whose items can carry one mirrors
a list of the request: the first that has not been mirrored yet, item by item, each item keeping what says which
one it is (name, index, id). Lists of the request that are null or not there leave the response's list empty.
"""

from collections.abc import Sequence

from rafka.core.api import APIS
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested
from rafka.core.message import Message
from rafka.core.message.field import fields_of
from rafka.core.types import ZERO_UUID

ALIASES: tuple[tuple[str, ...], ...] = (
    ("index", "partition_index", "partition", "partition_id"),
    ("name", "topic", "topic_name", "resource_name"),
    ("topic_id",),
    ("group_id", "group"),
    ("key",),
    ("resource_type",),
    ("member_id",),
)
"""Field names that mean the same thing in a request and its response."""


def refusal(event: Requested, code: ErrorCode) -> Message:
    """Return the response to a request in which everything failed with `code`."""
    api = APIS[event.api_key]
    assert isinstance(event.body, Message), "a request is a message"
    return _mirrored(api.response, event.body, code, event.api_version)


def _mirrored(cls: type[Message], source: object, code: ErrorCode, version: int) -> Message:
    made = cls()
    lists = _lists_of(source)
    for field in fields_of(cls, version):
        if not field.present:
            continue
        if field.name == "error_code":
            setattr(made, field.name, int(code))
        elif field.kind == "[]struct" and field.struct is not None and _can_fail(field.struct):
            items = lists.pop(0) if lists else []
            setattr(made, field.name, [_mirrored(field.struct, item, code, version) for item in items])
        elif field.kind in ("string", "int32", "uuid", "int8"):
            found = _same(field.name, source)
            if found is not None:
                setattr(made, field.name, found)
    return made


def _can_fail(struct: type[Message]) -> bool:
    return any(
        name == "error_code" or (kind == "[]struct" and inner is not None and _can_fail(inner))
        for name, kind, inner, *_ in struct.SCHEMA
    )


def _lists_of(source: object) -> list[Sequence[object]]:
    if not isinstance(source, Message):
        return []
    rows = [(name, getattr(source, name)) for name, kind, *_ in source.SCHEMA if kind.startswith("[]")]
    return [found for _, found in rows if found]


def _same(name: str, source: object) -> object:
    """Return what `source` has under this name, or one that means the same; None: nothing."""
    aliases = next((names for names in ALIASES if name in names), ())
    if isinstance(source, int):
        return source if name in ALIASES[0] else None
    if isinstance(source, bytes):
        return source if name == "topic_id" else None
    if isinstance(source, str):
        return source if name in (*ALIASES[1], *ALIASES[3], *ALIASES[4]) else None
    for alias in (name, *aliases) if aliases else ():
        found = getattr(source, alias, None)
        if found not in (None, ZERO_UUID):
            return found
    return None
