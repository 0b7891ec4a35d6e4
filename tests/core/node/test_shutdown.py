"""The end of a node: it comes by itself, without a turn that nothing gives rise to."""

from rafka.core.effects import Note, Stop
from rafka.core.events import Terminated
from tests.core.node.world import World


def terminate(world):
    """Ask it to end, and take turns as a driver would: only while there is something to handle."""
    world.server.handle(Terminated("SIGTERM"), world.now)
    has_answers = True
    while has_answers:
        world.server.tick(world.now)
        effects = world.server.drain()
        for effect in effects:
            world.perform(effect)
        has_answers = any(not isinstance(effect, Note | Stop) for effect in effects)


def test_a_node_whose_logs_have_nothing_to_write_ends_without_waiting_for_its_grace():
    world = World()
    world.create("orders")
    terminate(world)
    assert world.stopped == 0
    world.restart()
    terminate(world)  # all was written the first time
    assert world.stopped == 0
