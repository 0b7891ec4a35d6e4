"""The error codes that an answer carries, wherever in it they are.

An answer has a code of its own, or one for each topic, partition, group or resource. Where they are is read from the
message's schema once for each class; after that only fields on the way to a code are looked at.
"""

from collections.abc import Iterator

from rafka.core.message import Message

_CODE = "error_code"

Plan = tuple[bool, tuple[str, ...]]
"""Whether the message has a code itself, and which of its fields lead to messages that may have one."""

# A cache of a pure function.
_PLANS: dict[type[Message], Plan] = {}


def codes_of(answer: Message) -> Iterator[int]:
    """Yield every error code in an answer, the zeros that say "none" included."""
    has_code, nested = _PLANS.get(answer.__class__) or _plan(answer.__class__)
    if has_code:
        yield getattr(answer, _CODE)
    for name in nested:
        inside = getattr(answer, name)
        if inside is None:
            continue
        for one in inside if isinstance(inside, list | tuple) else (inside,):
            yield from codes_of(one)


def _plan(kind: type[Message]) -> Plan:
    nested = tuple(row[0] for row in kind.SCHEMA if row[2] is not None and _leads_to_a_code(row[2]))
    found = _PLANS[kind] = any(row[0] == _CODE for row in kind.SCHEMA), nested
    return found


def _leads_to_a_code(kind: type[Message]) -> bool:
    has_code, nested = _PLANS.get(kind) or _plan(kind)
    return has_code or bool(nested)
