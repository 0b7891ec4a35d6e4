"""What a group shard obeys, and what it must be told about topics."""

from typing import Protocol

from rafka.core.shape import value
from rafka.core.types import Uuid


@value
class GroupSettings:
    """Kafka's broker settings of classic groups and offsets, with underscores; times in ms."""

    group_initial_rebalance_delay_ms: int = 0
    """Kafka's default is 3000; one node in development has nothing to wait for."""
    group_min_session_timeout_ms: int = 6_000
    group_max_session_timeout_ms: int = 1_800_000
    group_max_size: int = (1 << 31) - 1
    offset_metadata_max_bytes: int = 4096
    offsets_retention_minutes: int = 7 * 24 * 60
    offsets_retention_check_interval_ms: int = 600_000


class Topics(Protocol):
    """Topic names and ids, as the committed metadata has them."""

    def name_of(self, topic_id: Uuid) -> str | None:
        """Return the name of a topic; None if there is none of that id."""

    def id_of(self, name: str) -> Uuid | None:
        """Return the id of a topic; None if there is none of that name."""
