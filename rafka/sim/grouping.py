"""Members of consumer groups in the simulated world: join, share, read, commit, and join again when told to.

A member trusts its group only as far as it may: it goes on reading until it hears of a rebalance, commits with the
generation it believes in, and the ledger says whether what it is given and what it finds committed can be.
"""

from collections.abc import Generator
from typing import Any

from rafka.client.membership import (
    PROTOCOL_TYPE,
    RANGE,
    assignment_of,
    read_assignment,
    read_subscription,
    share_by_range,
    subscription_of,
)
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from rafka.core.api.join_group_response import JoinGroupResponse
from rafka.core.api.leave_group_request import LeaveGroupRequest, MemberIdentity
from rafka.core.api.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from rafka.core.api.offset_commit_response import OffsetCommitResponse
from rafka.core.api.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from rafka.core.api.offset_fetch_response import OffsetFetchResponse
from rafka.core.api.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from rafka.core.api.sync_group_response import SyncGroupResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.sim.chance import Chance
from rafka.sim.consuming import Place, Reader, Steps
from rafka.sim.ledger import Commit
from rafka.sim.scene import Scene
from rafka.sim.talk import Lost, Script, Step, Wait

ROUNDS_AFTER = 12
"""So many polls a member makes after the run is over, so that the group has time to settle."""


class Member:
    """One member of one group; it reads with a Reader of its own."""

    def __init__(self, name: str, group: str, scene: Scene, chance: Chance) -> None:
        self.name = name
        self.group = group
        self.scene = scene
        self.chance = chance
        self.reader = Reader(name, scene, chance)
        self.member_id = ""
        self.generation = -1
        self._rounds_after = 0
        self._has_settled = False
        self._is_found = False

    def script(self) -> Script:
        """Be a member until the run is over, then once more as one of a group that works; then leave."""
        while not (self.scene.is_over and self._has_settled):
            self._has_settled = False
            if not self._is_found:
                answer = yield from self._call(FindCoordinatorRequest(coordinator_keys=[self.group]))
                self._is_found = answer is not None and not answer.coordinators[0].error_code
            given = yield from self._join()
            if given is None:
                yield Wait(10 + self.chance.draw() * 40)
                continue
            if (yield from self._begin(given)):
                yield from self._read_on()
        yield from self._leave()

    # ---- membership ----------------------------------------------------------------------------------

    def _call(self, request: Message) -> Generator[Step, list[Message], Any]:
        """Ask once; None if the connection is lost."""
        try:
            (answer,) = yield [request]
        except Lost:
            self.scene.ledger.count("connections lost")
            yield Wait(5 + self.chance.draw() * 30)
            return None
        return answer

    def _join(self) -> Generator[Step, list[Message], list[Place] | None]:
        knobs = self.scene.knobs
        names = sorted(name for name in self.scene.topics if name.startswith("t"))
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=knobs.session_ms,
            rebalance_timeout_ms=knobs.session_ms,
            member_id=self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(name=RANGE, metadata=subscription_of(names))],
        )
        self.scene.ledger.released(self.name)
        self.scene.on_moment("rebalance")
        joined = yield from self._call(request)
        if not isinstance(joined, JoinGroupResponse):
            return None
        if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = joined.member_id
            return None
        if joined.error_code:
            self._heard(joined.error_code)
            return None
        self.member_id, self.generation = joined.member_id, joined.generation_id
        synced = yield from self._call(self._sync(joined))
        if not isinstance(synced, SyncGroupResponse):
            return None
        if synced.error_code:
            self._heard(synced.error_code)
            return None
        shares = read_assignment(synced.assignment)
        places = [(topic, index) for topic in sorted(shares) for index in shares[topic]]
        keys = [f"{topic}-{index}" for topic, index in places]
        self.scene.ledger.assigned(self.group, self.generation, self.name, keys)
        return places

    def _sync(self, joined: JoinGroupResponse) -> SyncGroupRequest:
        assignments: list[SyncGroupRequestAssignment] = []
        if joined.leader == joined.member_id and not joined.skip_assignment:
            subscriptions = {m.member_id: read_subscription(m.metadata) for m in joined.members}
            partitions = {topic.name: topic.partitions for topic in self.scene.topics.values()}
            shares = share_by_range(subscriptions, partitions)
            assignments = [
                SyncGroupRequestAssignment(member_id=member, assignment=assignment_of(share))
                for member, share in shares.items()
            ]
        return SyncGroupRequest(
            group_id=self.group,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=RANGE,
            assignments=assignments,
        )

    def _heard(self, code: int) -> None:
        """Take an error of the group's."""
        self.scene.ledger.count(f"group refused: {ErrorCode(code).name}")
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            self.member_id = ""
        if code in (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR):
            self._is_found = False

    # ---- reading -------------------------------------------------------------------------------------

    def _begin(self, given: list[Place]) -> Generator[Step, list[Message], bool]:
        """Start where the group left off; False if that cannot be known."""
        offsets = yield from self._committed(given)
        if offsets is None:
            return False
        self.reader.positions = {}
        self.reader.assign(given)
        for place, offset in offsets.items():
            self.reader.seek(place, max(offset, 0))
        return True

    def _committed(self, given: list[Place]) -> Generator[Step, list[Message], dict[Place, int] | None]:
        topics: dict[str, list[int]] = {}
        for topic, index in given:
            topics.setdefault(topic, []).append(index)
        wanted = [
            OffsetFetchRequestTopics(
                name=name, topic_id=self.scene.topics[name].topic_id, partition_indexes=indexes
            )
            for name, indexes in topics.items()
        ]
        since = self.scene.ledger.instant()
        asked = OffsetFetchRequestGroup(group_id=self.group, topics=wanted)
        self.scene.note(self.reader.process, "invoke", "committed", {"group": self.group})
        answer = yield from self._call(OffsetFetchRequest(groups=[asked]))
        if not isinstance(answer, OffsetFetchResponse) or answer.groups[0].error_code:
            self.scene.note(self.reader.process, "info", "committed")
            return None
        found: dict[Place, int] = {}
        for told_of in answer.groups[0].topics:
            known = self.scene.named(told_of.topic_id)
            name = told_of.name or (known.name if known is not None else "")
            for partition in told_of.partitions:
                if partition.error_code:
                    self.scene.note(self.reader.process, "info", "committed")
                    return None
                offset = partition.committed_offset
                found[name, partition.partition_index] = offset
                key = f"{name}-{partition.partition_index}"
                self.scene.ledger.fetched(self.group, key, offset, since)
        told = {f"{t}-{i}": None if offset < 0 else offset for (t, i), offset in found.items()}
        self.scene.note(self.reader.process, "ok", "committed", {"group": self.group, "offsets": told})
        return found

    def _read_on(self) -> Steps:
        """Read and commit until the group changes, or there was enough of it."""
        knobs, chance = self.scene.knobs, self.chance
        beat_ns = self.scene.clock.time_ns
        while True:
            if self.scene.is_over:
                self._rounds_after += 1
                if self._rounds_after > ROUNDS_AFTER:
                    self._has_settled = True
                    return
            if self.reader.positions:
                yield from self.reader.poll()
            yield Wait(chance.draw() * knobs.think_ms)
            if chance.happens(0.3) and self.reader.positions:
                code = yield from self._commit()
                if code:
                    return
            if self.scene.clock.time_ns - beat_ns > knobs.session_ms * 300_000 or chance.happens(0.05):
                beat_ns = self.scene.clock.time_ns
                request = HeartbeatRequest(
                    group_id=self.group, generation_id=self.generation, member_id=self.member_id
                )
                answer = yield from self._call(request)
                if answer is not None and answer.error_code:
                    self._heard(answer.error_code)
                    return
            if chance.happens(0.004) and not self.scene.is_over:
                yield from self._leave()
                return

    def _leave(self) -> Steps:
        self.scene.ledger.released(self.name)
        identity = MemberIdentity(member_id=self.member_id)
        yield from self._call(LeaveGroupRequest(group_id=self.group, members=[identity]))
        self.member_id = ""

    def _commit(self) -> Generator[Step, list[Message], int]:
        """Commit all positions; return the first error, 0 if there is none or nobody knows."""
        topics: dict[str, OffsetCommitRequestTopic] = {}
        offsets: dict[str, int] = {}
        for (name, index), offset in self.reader.positions.items():
            topic = topics.get(name)
            if topic is None:
                topic_id = self.scene.topics[name].topic_id
                topic = topics[name] = OffsetCommitRequestTopic(name=name, topic_id=topic_id)
            topic.partitions.append(
                OffsetCommitRequestPartition(partition_index=index, committed_offset=offset)
            )
            offsets[f"{name}-{index}"] = offset
        attempts = self.scene.ledger.commits(self.group, offsets)
        content = {"group": self.group, "offsets": offsets}
        self.scene.note(self.reader.process, "invoke", "commit", content)
        request = OffsetCommitRequest(
            group_id=self.group,
            generation_id_or_member_epoch=self.generation,
            member_id=self.member_id,
            topics=list(topics.values()),
        )
        answer = yield from self._call(request)
        if not isinstance(answer, OffsetCommitResponse):
            self.scene.note(self.reader.process, "info", "commit")
            return 0
        codes = [partition.error_code for topic in answer.topics for partition in topic.partitions]
        self._settle(dict(zip(offsets, zip(attempts, codes, strict=True), strict=True)))
        bad = next((code for code in codes if code), 0)
        if bad:
            self.scene.note(self.reader.process, "info", "commit")
            self._heard(bad)
        else:
            self.scene.note(self.reader.process, "ok", "commit", content)
        return bad

    def _settle(self, results: dict[str, tuple[Commit, int]]) -> None:
        done = []
        for key, (attempt, code) in results.items():
            if code == 0:
                done.append(attempt)
            elif code in REFUSALS:
                self.scene.ledger.uncommitted(self.group, key, attempt)
        self.scene.ledger.committed(done)


REFUSALS = frozenset(
    (
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    )
)
"""Nothing was committed. NOT_COORDINATOR is none of them: it is also what a broken log answers, and may be mended."""
