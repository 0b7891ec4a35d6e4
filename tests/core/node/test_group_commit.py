"""Group commit: what the producers of a turn cost in syncs is a matter of partitions, not of producers."""

import pytest

from rafka.core.effects import Send, Sync, Write
from tests.core.node.test_produce import batch, only, producing
from tests.core.node.world import World

PRODUCERS = 64


class Crowd:
    """Many producers of one topic, each on a connection of its own, over logs that have begun."""

    def __init__(self, partitions, **configs):
        self.world = World()
        self.topic = self.world.create("t", partitions=partitions, **configs)
        self.partitions = partitions
        self.clients = [self.world.connect() for _ in range(PRODUCERS)]
        for index in range(partitions):
            assert (
                only(self.clients[0].ask(producing(self.topic, batch(b"begun"), index=index))).error_code == 0
            )

    def send(self):
        """One batch from each."""
        for number, client in enumerate(self.clients):
            client.send(producing(self.topic, batch(b"v"), index=number % self.partitions))

    def turn(self):
        """Take one turn; its effects, which are not performed."""
        self.world.server.tick(self.world.now)
        return self.world.server.drain()

    def perform(self, effects):
        for effect in effects:
            self.world.perform(effect)

    def acknowledged(self):
        return sum(len(client.answers()) for client in self.clients)


def count(effects, kind):
    return sum(isinstance(effect, kind) for effect in effects)


@pytest.mark.parametrize("partitions", [1, 3])
def test_64_producers_cost_one_write_and_one_sync_for_each_partition(partitions):
    crowd = Crowd(partitions)
    crowd.send()
    effects = crowd.turn()
    assert (count(effects, Write), count(effects, Sync), count(effects, Send)) == (partitions, partitions, 0)
    crowd.perform(effects)
    crowd.perform(crowd.turn())
    assert crowd.acknowledged() == PRODUCERS


def test_what_comes_while_a_sync_is_under_way_shares_the_next_one():
    crowd = Crowd(1)
    crowd.send()
    held = crowd.turn()
    syncs = count(held, Sync)
    for _ in range(5):
        crowd.send()
        held += crowd.turn()
    assert count(held, Sync) == syncs == 1, "whoever came later waits"
    crowd.perform(held)
    effects = crowd.turn()
    assert count(effects, Sync) == 1
    crowd.perform(effects)
    crowd.perform(crowd.turn())
    assert crowd.acknowledged() == 6 * PRODUCERS


def test_without_fsync_there_is_no_sync_at_all():
    crowd = Crowd(1, flush="os")
    crowd.send()
    effects = crowd.turn()
    assert (count(effects, Write), count(effects, Sync)) == (1, 0)
    crowd.perform(effects)
    crowd.perform(crowd.turn())
    assert crowd.acknowledged() == PRODUCERS
