"""What a topic may be called, and which topics are Kafka's own.

A name has 1 to 249 characters out of ASCII letters, digits, ".", "_" and "-", and is neither "." nor "..": it is the
name of a directory too. Metric names turn dots into underscores, so two topics whose names would become the same
may not both exist.

Source: `org.apache.kafka.common.internals.Topic` of Kafka 4.4.
"""

from typing import Final

CONSUMER_OFFSETS: Final = "__consumer_offsets"
CLUSTER_METADATA: Final = "__cluster_metadata"
OTHER_INTERNAL: Final = ("__transaction_state", "__share_group_state")
"""Internal topics of coordinators that this broker does not have."""
LENGTH_MAX: Final = 249
_LEGAL: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def is_internal(name: str) -> bool:
    """Whether clients are told that the topic is internal."""
    return name == CONSUMER_OFFSETS or name in OTHER_INTERNAL


def wrong_with(name: str) -> str | None:
    """Say what is wrong with a topic's name; None: nothing."""
    if name == "":
        return "Topic name is invalid: the empty string is not allowed"
    if name in (".", ".."):
        return f"Topic name is invalid: '{name}' is not allowed"
    if len(name) > LENGTH_MAX:
        return f"Topic name is invalid: the length of '{name}' is longer than the max allowed length {LENGTH_MAX}"
    if not _LEGAL.issuperset(name):
        legal = "ASCII alphanumerics, '.', '_' and '-'"
        return f"Topic name is invalid: '{name}' contains one or more characters other than {legal}"
    return None


def unified(name: str) -> str | None:
    """Return the name by which topics collide; None for a name that collides with none but itself."""
    return name.replace(".", "_") if "." in name or "_" in name else None
