"""The end of a node: it comes by itself, without a turn that nothing gives rise to."""

from rafka.core.effects import Note, Stop
from rafka.core.events import Terminated
from tests.core.node.world import World


def test_a_node_whose_logs_have_nothing_to_write_ends_without_waiting_for_its_grace():
    world = World()
    world.create("orders")
    world.restart()
    world.server.handle(Terminated("SIGTERM"), world.now)
    has_answers = True
    while has_answers:  # as a driver would: a turn only when there is something to handle
        world.server.tick(world.now)
        effects = world.server.drain()
        for effect in effects:
            world.perform(effect)
        has_answers = any(not isinstance(effect, Note | Stop) for effect in effects)
    assert world.stopped == 0
