"""The error codes that an answer carries, wherever in it they are.

An answer has a code of its own, or one for each topic, partition, group or resource. Where they are is read from the
message's schema once for each class; after that only fields on the way to a code are looked at.
"""

from rafka.core.message import Message

_CODE = "error_code"


class _Plan:
    """Where a message has codes: in itself, in messages inside it that have nothing else, and deeper."""

    __slots__ = ("deep", "flat", "has_code")

    def __init__(self, kind: type[Message]) -> None:
        self.has_code = any(row[0] == _CODE for row in kind.SCHEMA)
        inside = [(row[0], _plan(row[2])) for row in kind.SCHEMA if row[2] is not None]
        self.flat: list[str] = [
            name for name, plan in inside if plan.has_code and not plan.flat and not plan.deep
        ]
        self.deep: list[tuple[str, _Plan]] = [(name, plan) for name, plan in inside if plan.flat or plan.deep]


# A cache of a pure function.
_PLANS: dict[type[Message], _Plan] = {}


def _plan(kind: type[Message]) -> _Plan:
    found = _PLANS.get(kind)
    if found is None:
        found = _PLANS[kind] = _Plan(kind)
    return found


def errors_in(answer: Message) -> list[int]:
    """Return every error code in an answer that is not 0."""
    found: list[int] = []
    _gather(answer, _PLANS.get(answer.__class__) or _plan(answer.__class__), found)
    return found


def _gather(message: Message, plan: _Plan, found: list[int]) -> None:
    if plan.has_code and (code := message.error_code):  # type: ignore[attr-defined]  # the schema says so
        found.append(code)
    for name in plan.flat:
        inside = _all(getattr(message, name))
        found += [one.error_code for one in inside if one.error_code]  # type: ignore[attr-defined]
    for name, inner in plan.deep:
        for one in _all(getattr(message, name)):
            _gather(one, inner, found)


def _all(inside: list[Message] | Message | None) -> list[Message]:
    if isinstance(inside, list):
        return inside
    return [] if inside is None else [inside]
