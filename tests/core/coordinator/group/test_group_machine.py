"""Members join, sync, leave, fall silent and commit in any order; the shard restarts from its records at any point."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rafka.core.coordinator.group.classic import State
from rafka.core.errors import ErrorCode
from tests.core.coordinator.group.world import World

SLOTS = st.integers(0, 3)


class Client:
    """One consumer process; it may crash, and then nobody reads its answers."""

    def __init__(self, instance):
        self.instance = instance
        self.member_id = ""
        self.generation = -1
        self.call = None
        self.is_syncing = False
        self.leads = []


class Groups(RuleBasedStateMachine):
    @initialize(statics=st.integers(0, 3))
    def start(self, statics):
        self.world = World()
        self.clients = [Client(f"i{slot}" if slot < statics else None) for slot in range(4)]
        self.acked = -1
        self.generation = 0
        self.given = {}

    def hear(self, client):
        """Take the answer that has come, if one has."""
        answer = self.world.replies.get(client.call)
        if client.call is None or answer is None:
            return
        client.call = None
        if client.is_syncing:
            client.is_syncing = False
            if answer.error_code == 0:
                name = client.instance or client.member_id
                wanted = (
                    f"{client.generation}:{name}".encode() if name in self.given[client.generation] else b""
                )
                assert answer.assignment == wanted
            return
        client.member_id = answer.member_id
        client.leads = []
        if answer.error_code == 0:
            client.generation = answer.generation_id
            client.leads = [(m.member_id, m.group_instance_id or m.member_id) for m in answer.members]
        elif answer.error_code != ErrorCode.MEMBER_ID_REQUIRED:
            client.member_id = ""

    @rule(slot=SLOTS)
    def join(self, slot):
        client = self.clients[slot]
        self.hear(client)
        if client.call is None:
            client.call = self.world.join(client.member_id, instance=client.instance)
            self.hear(client)

    @rule(slot=SLOTS)
    def sync(self, slot):
        client = self.clients[slot]
        self.hear(client)
        if client.call is not None or client.generation < 0:
            return
        group = self.world.shard.groups.get("g")
        given = {member: f"{client.generation}:{name}".encode() for member, name in client.leads}
        if (
            group is not None
            and (group.state, group.leader) == (State.COMPLETING, client.member_id)
            and group.generation == client.generation
        ):
            self.given[client.generation] = [name for _, name in client.leads]
        client.is_syncing = True
        client.call = self.world.sync(client.member_id, client.generation, given, client.instance)
        self.hear(client)

    @rule(slot=SLOTS)
    def heartbeat(self, slot):
        client = self.clients[slot]
        self.world.beat(client.member_id, client.generation, client.instance)

    @rule(slot=SLOTS)
    def leave(self, slot):
        client = self.clients[slot]
        self.world.leave(client.member_id, client.instance)
        self.clients[slot] = Client(client.instance)

    @rule(slot=SLOTS)
    def crash(self, slot):
        self.clients[slot] = Client(self.clients[slot].instance)

    @rule(slot=SLOTS, offset=st.integers(0, 1_000))
    def commit(self, slot, offset):
        client = self.clients[slot]
        group = self.world.shard.groups.get("g")
        code = self.world.commit(
            offset, client.member_id, client.generation, group_instance_id=client.instance
        )
        if code == 0:
            self.acked = offset
            if group is not None and group.state is not State.EMPTY:
                assert client.generation == group.generation
                assert client.member_id in group.members

    @rule(ms=st.sampled_from([1, 5_000, 9_999, 10_001, 60_001, 300_001]))
    def wait(self, ms):
        self.world.wait(ms)

    @rule()
    def restart(self):
        before = self.world.shard.groups.get("g")
        self.world.reload()
        after = self.world.shard.groups.get("g")
        if before is not None and before.state in (State.STABLE, State.EMPTY) and before.generation > 0:
            assert after.stored() == before.stored()
        for client in self.clients:
            client.call = None
            client.is_syncing = False
        self.generation = after.generation if after is not None else 0

    @invariant()
    def generations_only_grow_while_the_shard_lives(self):
        group = self.world.shard.groups.get("g")
        if group is None:
            self.generation = 0  # forgotten with its last offset: a new group of the name counts anew
            return
        assert group.generation >= self.generation
        self.generation = group.generation

    @invariant()
    def a_stable_group_has_exactly_what_its_leader_gave(self):
        group = self.world.shard.groups.get("g")
        if group is not None and group.state is State.STABLE:
            assert group.leader in group.members
            given = self.given[group.generation]
            for member in group.members.values():
                name = member.instance_id or member.member_id
                assert member.assignment == (f"{group.generation}:{name}".encode() if name in given else b"")

    @invariant()
    def an_acknowledged_commit_is_there(self):
        assert self.world.committed() == self.acked


class TestGroups(Groups.TestCase):
    settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
