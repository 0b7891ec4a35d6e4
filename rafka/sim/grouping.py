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
from rafka.sim.ledger import Commit, Violation
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
        entity = name.rpartition(".")[0]
        is_static = scene.chance.fork(f"static {entity}").happens(scene.knobs.static_share)
        self.instance_id = entity if is_static else None
        self.since = 0
        """The instant from which on it has been a member without a break."""
        self._doubts: list[str] = []
        """Commits that have expired though it was a member, as far as it knows."""
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
            if self.reader.positions and self.chance.happens(0.2):
                yield from self._commit(self.generation - 1)  # sent before it joined, and late
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
            group_instance_id=self.instance_id,
        )
        ledger = self.scene.ledger
        ledger.released(self.name)
        if self.instance_id is not None:
            ledger.joins(self.group, self.instance_id)
        self.scene.on_moment("rebalance")
        joined = yield from self._call(request)
        if not isinstance(joined, JoinGroupResponse):
            return None
        if self.instance_id is not None:
            ledger.joined(self.group, self.instance_id)
        if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = joined.member_id
            return None
        if joined.error_code:
            self._heard(joined.error_code)
            return None
        if not self.since:
            self.since = ledger.instant()
        self.member_id, self.generation = joined.member_id, joined.generation_id
        if self.chance.happens(0.1):
            yield from self._sync_late(joined)
        synced = yield from self._call(self._sync(joined))
        if not isinstance(synced, SyncGroupResponse):
            return None
        if synced.error_code:
            self._heard(synced.error_code)
            return None
        shares = read_assignment(synced.assignment)
        places = [(topic, index) for topic in sorted(shares) for index in shares[topic]]
        keys = [f"{topic}-{index}" for topic, index in places]
        ledger.assigned(self.group, self.generation, self.name, keys)
        if self.instance_id is not None:
            ledger.joined(self.group, self.instance_id, self.member_id)
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
            group_instance_id=self.instance_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=RANGE,
            assignments=assignments,
        )

    def _sync_late(self, joined: JoinGroupResponse) -> Steps:
        """Ask for the assignment of the generation before: nobody may be told of any."""
        request = self._sync(joined)
        request.generation_id -= 1
        request.assignments = []
        answer = yield from self._call(request)
        if answer is not None and not answer.error_code:
            words = f"{self.group} generation {request.generation_id} is over, and its assignment was given"
            raise Violation("GR1", words)

    def _heard(self, code: int) -> None:
        """Take an error of the group's."""
        self.scene.ledger.count(f"group refused: {ErrorCode(code).name}")
        if code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            self._forget_self()
        if code in (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR):
            self._is_found = False

    def _forget_self(self) -> None:
        self.member_id = ""
        self.since = 0
        self._doubts.clear()

    def _is_confirmed(self) -> None:
        """Take note that the group knows this member: so it was one all the time, and nothing may have expired."""
        if self._doubts:
            raise Violation("GR4", f"{self.group}: {self._doubts[0]} has expired, and {self.name} was there")

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

    def _fetch_of(self, places: list[Place]) -> OffsetFetchRequest:
        topics: dict[str, list[int]] = {}
        for topic, index in places:
            topics.setdefault(topic, []).append(index)
        wanted = [
            OffsetFetchRequestTopics(
                name=name, topic_id=self.scene.topics[name].topic_id, partition_indexes=indexes
            )
            for name, indexes in topics.items()
        ]
        return OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=self.group, topics=wanted)])

    def _committed(self, given: list[Place]) -> Generator[Step, list[Message], dict[Place, int] | None]:
        since = self.scene.ledger.instant()
        self.scene.note(self.reader.process, "invoke", "committed", {"group": self.group})
        answer = yield from self._call(self._fetch_of(given))
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
                if self.scene.ledger.fetched(self.group, key, offset, since) > self.since > 0:
                    self._doubts.append(key)
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
                    group_id=self.group,
                    generation_id=self.generation,
                    member_id=self.member_id,
                    group_instance_id=self.instance_id,
                )
                answer = yield from self._call(request)
                if answer is not None and answer.error_code:
                    self._heard(answer.error_code)
                    return
                if answer is not None:
                    self._is_confirmed()
            if self.instance_id is not None and chance.happens(0.02) and not self.scene.is_over:
                self._forget_self()  # it starts again, and has its instance id and nothing else
                return
            if chance.happens(0.004) and not self.scene.is_over:
                yield from self._leave()
                return

    def _leave(self) -> Steps:
        self.scene.ledger.released(self.name)
        identity = MemberIdentity(member_id=self.member_id, group_instance_id=self.instance_id)
        yield from self._call(LeaveGroupRequest(group_id=self.group, members=[identity]))
        self._forget_self()

    def _commit(self, generation: int = -1) -> Generator[Step, list[Message], int]:
        """Commit all positions; return the first error, 0 if there is none or nobody knows.

        generation: an older one; -1: its own.
        """
        generation = self.generation if generation < 0 else generation
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
        attempts = self.scene.ledger.commits(self.group, offsets, generation)
        content = {"group": self.group, "offsets": offsets}
        self.scene.note(self.reader.process, "invoke", "commit", content)
        request = OffsetCommitRequest(
            group_id=self.group,
            generation_id_or_member_epoch=generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            topics=list(topics.values()),
        )
        both: list[Message] = [request]
        if self.chance.happens(0.2):  # a fetch right behind the commit, on the same connection, must see it
            both.append(self._fetch_of(list(self.reader.positions)))
        try:
            answers = yield both
        except Lost:
            self.scene.ledger.count("connections lost")
            self.scene.note(self.reader.process, "info", "commit")
            yield Wait(5 + self.chance.draw() * 30)
            return 0
        answer = answers[0]
        assert isinstance(answer, OffsetCommitResponse)
        codes = [partition.error_code for topic in answer.topics for partition in topic.partitions]
        self._settle(dict(zip(offsets, zip(attempts, codes, strict=True), strict=True)))
        bad = next((code for code in codes if code), 0)
        if bad:
            self.scene.note(self.reader.process, "info", "commit")
            self._heard(bad)
        else:
            self.scene.note(self.reader.process, "ok", "commit", content)
            self._is_confirmed()
            if len(answers) > 1:
                self._check_behind(answers[1])
        return bad

    def _check_behind(self, answer: Message) -> None:
        """Hold what a fetch behind a commit has found against the commit."""
        assert isinstance(answer, OffsetFetchResponse)
        since = self.scene.ledger.instant()
        for told_of in answer.groups[0].topics:
            known = self.scene.named(told_of.topic_id)
            name = told_of.name or (known.name if known is not None else "")
            for partition in told_of.partitions:
                if not partition.error_code:
                    key = f"{name}-{partition.partition_index}"
                    self.scene.ledger.fetched(self.group, key, partition.committed_offset, since)

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
