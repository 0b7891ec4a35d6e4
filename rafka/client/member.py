"""A member of a consumer group, by the classic protocol: join, sync, beat, leave; partitions shared by range.

Every rebalance is eager: a member gives up its partitions, joins, and gets others. The member that the coordinator
makes the leader shares the partitions out, and joins anew when their number changes.
Sources: the Kafka protocol guide; KIP-62 (rebalance timeout), KIP-345 (static members), KIP-394 (member ids).
"""

from collections.abc import Sequence

from rafka.client.cluster import MS, Cluster
from rafka.client.errors import BrokerError, ClientError, Fenced, Unanswered, check, is_retriable
from rafka.client.group import GROUP_LANE, Group
from rafka.client.membership import (
    PROTOCOL_TYPE,
    RANGE,
    Assignment,
    assignment_of,
    read_assignment,
    read_subscription,
    share_by_range,
    subscription_of,
)
from rafka.client.outputs import Pending
from rafka.client.script import Scripts, Sleep, Steps, call
from rafka.client.settings import ConsumerSettings
from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.heartbeat_response import HeartbeatResponse
from rafka.core.api.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from rafka.core.api.join_group_response import JoinGroupResponse
from rafka.core.api.leave_group_request import LeaveGroupRequest, MemberIdentity
from rafka.core.api.leave_group_response import LeaveGroupResponse
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.api.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from rafka.core.api.sync_group_response import SyncGroupResponse
from rafka.core.errors import ErrorCode
from rafka.core.types import MonoNs, Now

JOIN_GRACE_MS = 5_000
"""How much longer than the rebalance may take an answer to a join is waited for."""
LOST = frozenset((ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION))
"""The group went on without us: what we had belongs to others."""


class Member(Group):
    """One member. is_in: whether it has an assignment; must_rejoin: whether the group wants it to join again.

    is_lost: whether its partitions are another's by now; error: why it can never be a member again.
    """

    def __init__(self, cluster: Cluster, consuming: ConsumerSettings, scripts: Scripts) -> None:
        assert consuming.group_id is not None
        super().__init__(cluster, consuming.group_id, consuming.group_instance_id)
        self.consuming = consuming
        self.is_in = False
        self.must_rejoin = False
        self.is_lost = False
        self.error: ClientError | None = None
        self._scripts = scripts
        self._beat: Pending[int] | None = None
        self._beat_due = MonoNs(0)
        self._beat_failures = 0
        self._counts: dict[str, int] | None = None
        """As the leader: how many partitions topics had when they were shared out."""
        self._names: list[str] = []
        """As the leader: the topics that members subscribe to, there or not."""
        self._seen = 0

    # ---- joining -------------------------------------------------------------------------------------

    def join(self, topics: Sequence[str]) -> Steps[Assignment]:
        """Join and get an assignment, however often it takes. Raises ClientError when it will never succeed."""
        self.is_in = False
        self._stop_beating()
        failures = 0
        while True:
            try:
                assigned = yield from self.once(lambda: self._join_once(topics))
            except ClientError as error:
                if not self._may_try_again(error):
                    raise
                if _is_part_of_joining(error):
                    continue
                failures += 1
                yield Sleep(None, failures, error)
                continue
            self.is_in = True
            self.must_rejoin = self.is_lost = False
            return assigned

    def _join_once(self, topics: Sequence[str]) -> Steps[Assignment]:
        node = yield from self.coordinator()
        consuming = self.consuming
        request = JoinGroupRequest(
            group_id=self.group_id,
            session_timeout_ms=consuming.session_timeout_ms,
            rebalance_timeout_ms=consuming.max_poll_interval_ms,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(name=RANGE, metadata=subscription_of(topics))],
        )
        patience_ms = consuming.max_poll_interval_ms + JOIN_GRACE_MS
        joined = yield from call(
            request, JoinGroupResponse, node=node, lane=GROUP_LANE, timeout_ms=patience_ms
        )
        if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = joined.member_id
        check(joined.error_code, f"joining group {self.group_id}")
        self.member_id = joined.member_id
        self.generation = joined.generation_id
        shares: list[SyncGroupRequestAssignment] = []
        self._counts = None
        if joined.leader == joined.member_id and not joined.skip_assignment:
            shares = yield from self._share(joined)
        return (yield from self._sync(node, shares, patience_ms))

    def _sync(
        self, node: int, shares: list[SyncGroupRequestAssignment], patience_ms: int
    ) -> Steps[Assignment]:
        request = SyncGroupRequest(
            group_id=self.group_id,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=RANGE,
            assignments=shares,
        )
        answer = yield from call(
            request, SyncGroupResponse, node=node, lane=GROUP_LANE, timeout_ms=patience_ms
        )
        check(answer.error_code, f"the assignment of group {self.group_id}")
        return read_assignment(answer.assignment)

    def _share(self, joined: JoinGroupResponse) -> Steps[list[SyncGroupRequestAssignment]]:
        """As the leader, give out the partitions of all that the members subscribe to."""
        subscriptions = {member.member_id: read_subscription(member.metadata) for member in joined.members}
        names = sorted({topic for topics in subscriptions.values() for topic in topics})
        asked = [MetadataRequestTopic(name=name) for name in names]
        request = MetadataRequest(topics=asked, allow_auto_topic_creation=False)
        answer = yield from call(request, MetadataResponse)
        check(answer.error_code, "metadata")
        topology = self.cluster.topology
        topology.learn(answer)
        self.cluster.want(names)
        self._names = names
        self._counts = topology.counts(names)
        self._seen = topology.version
        given = share_by_range(subscriptions, self._counts)
        return [
            SyncGroupRequestAssignment(member_id=member, assignment=assignment_of(share))
            for member, share in given.items()
        ]

    def _may_try_again(self, error: ClientError) -> bool:
        if not isinstance(error, BrokerError):
            return is_retriable(error)
        if error.code in LOST:
            self._forget_us()
        return _is_part_of_joining(error) or is_retriable(error)

    # ---- staying -------------------------------------------------------------------------------------

    def begin(self, now: Now) -> None:
        """Begin to beat, once the assignment is there."""
        self._beat_due = MonoNs(now.mono + self.consuming.heartbeat_interval_ms * MS)
        self._beat_failures = 0

    def tick(self, now: Now) -> None:
        """Beat when it is time, and hear what came of the last beat."""
        if self._beat is not None and self._beat.is_done:
            beat, self._beat = self._beat, None
            self._take_beat(beat, now)
        if not self.is_in:
            return
        if self._beat is None and self._beat_due <= now.mono:
            self._beat_due = MonoNs(now.mono + self.consuming.heartbeat_interval_ms * MS)
            limit = self.consuming.session_timeout_ms
            self._beat = self._scripts.run(self.once(self._beat_once), now, "a heartbeat", limit)
        topology = self.cluster.topology
        if self._counts is not None and self._seen != topology.version:
            self._seen = topology.version
            self.must_rejoin |= topology.counts(self._names) != self._counts

    def deadline(self) -> MonoNs | None:
        """Say when the next tick is due."""
        return self._beat_due if self.is_in and self._beat is None else None

    def leave(self) -> Steps[None]:
        """Leave, so that the others need not wait until the session times out; a static member stays."""
        self.is_in = False
        self._stop_beating()
        member_id = self.member_id
        self._forget_us()  # at once: another join may begin before the answer comes
        if member_id and self.instance_id is None:
            identity = MemberIdentity(member_id=member_id, reason="the consumer stops reading")
            request = LeaveGroupRequest(group_id=self.group_id, members=[identity])
            yield from self.persist(lambda: self._leave_once(request))

    def _leave_once(self, request: LeaveGroupRequest) -> Steps[None]:
        node = yield from self.coordinator()
        # Not on the lane of joins: an answer to one that waits would have to come first.
        answer = yield from call(request, LeaveGroupResponse, node=node)
        check(answer.error_code, f"leaving group {self.group_id}")

    def _beat_once(self) -> Steps[int]:
        node = yield from self.coordinator()
        request = HeartbeatRequest(
            group_id=self.group_id,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
        )
        answer = yield from call(
            request,
            HeartbeatResponse,
            node=node,
            lane=GROUP_LANE,
            timeout_ms=self.consuming.session_timeout_ms,
        )
        check(answer.error_code, f"group {self.group_id}")
        return answer.error_code

    def _take_beat(self, beat: Pending[int], now: Now) -> None:
        error = beat.error
        if error is None:
            self._beat_failures = 0
            return
        code = error.code if isinstance(error, BrokerError) else None
        if code == ErrorCode.REBALANCE_IN_PROGRESS:
            self.must_rejoin = True
        elif code in LOST:
            self.lose()
        elif code == ErrorCode.FENCED_INSTANCE_ID:
            self.lose()
            self.error = Fenced(ErrorCode.FENCED_INSTANCE_ID, f"member {self.instance_id}")
        elif is_retriable(error) or code is None:
            self._beat_failures += 1
            self._beat_due = MonoNs(now.mono + self.cluster.backoff_ns(self._beat_failures))
        else:
            self.lose()
            self.error = error

    def lose(self) -> None:
        """Stop being a member without a word: the group has gone on without us."""
        self.is_in = False
        self.must_rejoin = self.is_lost = True
        self._stop_beating()
        self._forget_us()

    def _stop_beating(self) -> None:
        if self._beat is not None:
            self._scripts.stop(self._beat, Unanswered("not a member any more"))
            self._beat = None

    def _forget_us(self) -> None:
        self.member_id = ""
        self.generation = -1


def _is_part_of_joining(error: ClientError) -> bool:
    """Whether a refusal only means: join again, at once."""
    return isinstance(error, BrokerError) and error.code in (
        ErrorCode.MEMBER_ID_REQUIRED,
        ErrorCode.REBALANCE_IN_PROGRESS,
        *LOST,
    )
