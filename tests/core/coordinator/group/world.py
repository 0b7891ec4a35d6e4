"""A shard with its log: what the node does around it, in a few lines."""

from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from rafka.core.api.leave_group_request import LeaveGroupRequest, MemberIdentity
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.offset_fetch_request import OffsetFetchRequest, OffsetFetchRequestTopic
from rafka.core.api.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from rafka.core.coordinator.group.records import Row
from rafka.core.coordinator.group.settings import GroupSettings
from rafka.core.coordinator.group.shard import GroupShard
from rafka.core.events import Requested
from rafka.core.machine import Decision
from rafka.core.types import ConnId, MonoNs, Now, Offset, Uuid, WallMs

SUBSCRIPTION = b"\0\0" + b"\0\0\0\1\0\6orders" + b"\xff\xff\xff\xff"
RANGE = [("range", SUBSCRIPTION)]


class Names:
    def __init__(self):
        self.ids = {"orders": Uuid(b"o" * 16), "audit": Uuid(b"a" * 16)}

    def id_of(self, name):
        return self.ids.get(name)

    def name_of(self, topic_id):
        return next((name for name, known in self.ids.items() if known == topic_id), None)


class Counter:
    def __init__(self):
        self.drawn = 0

    def below(self, bound):
        return 0

    def bytes(self, count):
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


class World:
    def __init__(self, **settings):
        self.settings = GroupSettings(**settings)
        self.topics = Names()
        self.entropy = Counter()
        self.rows: list[Row] = []
        self.ms = 1_000_000
        self.calls = 0
        self.replies = {}
        self.shard = self.fresh()
        self.shard.started(self.now)

    def fresh(self):
        return GroupShard(self.settings, self.topics, self.entropy)

    @property
    def now(self):
        return Now(MonoNs(self.ms * 1_000_000), WallMs(self.ms))

    def take(self, decision: Decision[Row]):
        for key, value in decision.records:
            self.rows.append((key, value))
            self.shard.apply(key, value, Offset(len(self.rows)), self.now)
        for reply in decision.replies:
            assert reply.correlation not in self.replies, "answered twice"
            self.replies[reply.correlation] = reply.body
        self.shard.check()

    def send(self, body, version):
        """Returns the number of the call; its answer, once there, is replies[number]."""
        self.calls += 1
        event = Requested(ConnId(1), self.calls, body.API_KEY, version, "app", body)
        self.take(self.shard.handle(event, self.now, "/127.0.0.1"))
        return self.calls

    def ask(self, body, version):
        return self.replies[self.send(body, version)]

    def wait(self, ms):
        end = self.ms + ms
        while (due := self.shard.deadline()) is not None and due <= end * 1_000_000:
            self.ms = max(self.ms, due // 1_000_000)
            self.take(self.shard.tick(self.now))
        self.ms = end

    def reload(self):
        self.shard = self.fresh()
        for offset, (key, value) in enumerate(self.rows):
            self.shard.apply(key, value, Offset(offset), self.now)
        self.shard.started(self.now)
        self.shard.check()

    def join(
        self,
        member_id="",
        *,
        instance=None,
        version=9,
        protocols=RANGE,
        session=10_000,
        group="g",
        kind="consumer",
    ):
        return self.send(
            JoinGroupRequest(
                group_id=group,
                session_timeout_ms=session,
                rebalance_timeout_ms=60_000,
                member_id=member_id,
                group_instance_id=instance,
                protocol_type=kind,
                protocols=[JoinGroupRequestProtocol(name=n, metadata=m) for n, m in protocols],
            ),
            version,
        )

    def sync(self, member_id, generation, given=None, instance=None):
        rows = [SyncGroupRequestAssignment(member_id=m, assignment=a) for m, a in (given or {}).items()]
        return self.send(
            SyncGroupRequest(
                group_id="g",
                generation_id=generation,
                member_id=member_id,
                group_instance_id=instance,
                assignments=rows,
            ),
            5,
        )

    def beat(self, member_id, generation, instance=None):
        return self.ask(
            HeartbeatRequest(
                group_id="g", generation_id=generation, member_id=member_id, group_instance_id=instance
            ),
            4,
        ).error_code

    def leave(self, member_id, instance=None):
        return self.ask(
            LeaveGroupRequest(
                group_id="g", members=[MemberIdentity(member_id=member_id, group_instance_id=instance)]
            ),
            5,
        )

    def commit(self, offset, member_id="", generation=-1, topic="orders", metadata="", version=9, **more):
        row = OffsetCommitRequestPartition(
            partition_index=0, committed_offset=offset, committed_metadata=metadata
        )
        body = OffsetCommitRequest(
            group_id="g",
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            topics=[OffsetCommitRequestTopic(name=topic, partitions=[row])],
            **more,
        )
        return self.ask(body, version).topics[0].partitions[0].error_code

    def committed(self, topic="orders"):
        body = OffsetFetchRequest(
            group_id="g", topics=[OffsetFetchRequestTopic(name=topic, partition_indexes=[0])]
        )
        return self.ask(body, 7).topics[0].partitions[0].committed_offset

    def new_id(self):
        return self.replies[self.join()].member_id

    def single(self):
        """A stable group of one dynamic member: its id and generation."""
        member = self.new_id()
        generation = self.replies[self.join(member)].generation_id
        assert self.replies[self.sync(member, generation, {member: b"all"})].assignment == b"all"
        return member, generation

    @property
    def group(self):
        return self.shard.groups["g"]
