"""Where records go that have no key, and those whose topic is not known yet."""

import attrs

from rafka.client.batches import Delivery
from rafka.client.topology import Topic
from rafka.core.machine import Entropy
from rafka.core.record.builder import Record
from rafka.core.types import MonoNs


@attrs.define(eq=False)
class Unplaced:
    """A record whose topic is not known yet. partition: as asked for; due: when it has waited long enough."""

    record: Record
    delivery: Delivery
    size_bytes: int
    partition: int | None
    due: MonoNs


@attrs.define(eq=False)
class Stickiness:
    """Sends records without a key to one partition of a topic until a batch's worth of bytes went there.

    So batches fill sooner than if every record went elsewhere. Sources: KIP-480, KIP-794.
    """

    batch_bytes: int
    entropy: Entropy
    _chosen: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    """By topic: the partition, and how many bytes are still to go there."""

    def choose(self, topic: Topic, size_bytes: int) -> int:
        """Return the partition for a record: one that has a leader, if any has."""
        partition, left = self._chosen.get(topic.name, (-1, 0))
        if left <= 0 or partition not in topic.leaders:
            choice = [index for index, leader in topic.leaders.items() if leader >= 0] or list(topic.leaders)
            partition, left = choice[self.entropy.below(len(choice))], self.batch_bytes
        self._chosen[topic.name] = (partition, left - size_bytes)
        return partition
