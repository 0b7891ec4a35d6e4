"""`rafka consume --group`: one member of a classic consumer group, which shares partitions by the range assignor.

The member joins (and gives out the partitions of all members, when the coordinator makes it the leader), reads
what it was given, and says between fetches that it lives. When the group changes, it commits and joins again.
What has been printed is committed every few seconds and at the end, Ctrl-C included; what has not been printed
never is, so records are printed at least once.
Sources: KIP-62, KIP-394, Kafka's `AbstractCoordinator` and `ConsumerCoordinator`.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from rafka.cli.cluster import Cluster
from rafka.cli.coordinator import NO_GENERATION, GroupCoordinator
from rafka.cli.offsets import EARLIEST, list_offsets
from rafka.cli.patience import until_ready
from rafka.cli.reading import Reading
from rafka.cli.refusal import check
from rafka.cli.start import Start, start_of
from rafka.cli.wire import Wire
from rafka.client.membership import (
    PROTOCOL_TYPE,
    RANGE,
    assignment_of,
    read_assignment,
    read_subscription,
    share_by_range,
    subscription_of,
)
from rafka.core.api.heartbeat_request import HeartbeatRequest
from rafka.core.api.heartbeat_response import HeartbeatResponse
from rafka.core.api.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from rafka.core.api.join_group_response import JoinGroupResponse
from rafka.core.api.leave_group_request import LeaveGroupRequest, MemberIdentity
from rafka.core.api.leave_group_response import LeaveGroupResponse
from rafka.core.api.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from rafka.core.api.sync_group_response import SyncGroupResponse
from rafka.core.errors import ErrorCode, RafkaError

SESSION_MS = 10_000
REBALANCE_MS = 30_000
"""How long the others wait for us in a rebalance; a join is answered within this."""
HEARTBEAT_S = 3.0
COMMIT_S = 5.0
LOST = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION, ErrorCode.REBALANCE_IN_PROGRESS)
"""What says that the group has moved on: join again."""


def read_in_group(reading: Reading, group: str, start: Start) -> None:
    """Read as a member until the reading ends. start: where, when nothing is committed. Raises RafkaError."""
    coordinator = GroupCoordinator(reading.cluster, group)
    member = Member(coordinator, reading.topic.name)
    try:
        is_more = True
        while is_more:
            given = member.join()
            reading.begin(start_in_group(reading, coordinator, given, start))
            member.mark(reading.positions)
            while is_more and member.lives():
                is_more = reading.round()
                member.commit_when_due(reading.positions)
            if is_more:  # the group changes: what was printed stays printed
                member.commit(reading.positions)
        member.commit(reading.positions)
        member.leave(coordinator.wire)
    except (KeyboardInterrupt, BrokenPipeError):
        # The answer to what was interrupted may still be on its way: part on a connection of its own.
        with suppress(RafkaError), Wire(coordinator.address) as wire:
            coordinator.wire = wire
            member.commit(reading.positions)
            member.leave(wire)
        raise


def start_in_group(
    reading: Reading, coordinator: GroupCoordinator, given: Sequence[int], start: Start
) -> dict[int, int]:
    """Return the positions of the partitions: committed, or the start; never before the oldest record."""
    cluster, topic = reading.cluster, reading.topic.name
    committed = coordinator.committed()
    earliest = list_offsets(cluster, {(topic, p): EARLIEST for p in given})
    fresh = start_of(cluster, topic, [p for p in given if (topic, p) not in committed], start)
    return {p: fresh.get(p, max(committed.get((topic, p), 0), earliest[topic, p])) for p in given}


class Member:
    """One membership: who we are in the group, and what of our reading is committed."""

    def __init__(self, coordinator: GroupCoordinator, topic: str) -> None:
        self.coordinator = coordinator
        self.group = coordinator.group
        self.topic = topic
        self.member_id = ""
        self.generation = NO_GENERATION
        self._committed: dict[int, int] = {}
        self._beat_s = 0.0
        self._commit_s = 0.0

    def join(self) -> list[int]:
        """Join, or join again, and return the partitions of the topic that we were given. Raises RafkaError."""
        while True:
            joined = until_ready(self._join, lambda answer: answer.error_code)
            if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                self.member_id = joined.member_id
            elif not self._is_lost(joined.error_code):
                self.member_id, self.generation = joined.member_id, joined.generation_id
                synced = self._sync(joined)
                if not self._is_lost(synced.error_code):
                    self._beat_s = time.monotonic()
                    return sorted(read_assignment(synced.assignment).get(self.topic, []))

    def mark(self, positions: dict[int, int]) -> None:
        """Remember where reading starts: there is nothing to commit before it moves on."""
        self._committed = dict(positions)
        self._commit_s = time.monotonic()

    def lives(self) -> bool:
        """Say that we are there, when it is time to; return whether the group is as it was. Raises RafkaError."""
        now = time.monotonic()
        if now - self._beat_s < HEARTBEAT_S:
            return True
        self._beat_s = now
        request = HeartbeatRequest(
            group_id=self.group, generation_id=self.generation, member_id=self.member_id
        )
        answer = self.coordinator.wire.call(request, HeartbeatResponse)
        return not self._is_lost(answer.error_code)

    def commit_when_due(self, positions: dict[int, int]) -> None:
        """Commit, unless that was just done."""
        if time.monotonic() - self._commit_s >= COMMIT_S:
            self.commit(positions)

    def commit(self, positions: dict[int, int]) -> None:
        """Commit the positions that have moved; a group that moved on without us takes them no more."""
        self._commit_s = time.monotonic()
        moved = {p: offset for p, offset in positions.items() if self._committed.get(p) != offset}
        offsets = {(self.topic, p): offset for p, offset in moved.items()}
        code = self.coordinator.commit(offsets, self.member_id, self.generation)
        if code == ErrorCode.NONE:
            self._committed |= moved
        elif self._is_lost(code):
            self._beat_s = 0.0  # ask now what has become of us

    def leave(self, wire: Wire) -> None:
        """Leave, so that the others need not wait until our session times out."""
        if self.member_id:
            identity = MemberIdentity(member_id=self.member_id, reason="rafka consume ends")
            request = LeaveGroupRequest(group_id=self.group, members=[identity])
            wire.call(request, LeaveGroupResponse)

    def _join(self) -> JoinGroupResponse:
        protocol = JoinGroupRequestProtocol(name=RANGE, metadata=subscription_of([self.topic]))
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[protocol],
        )
        return self.coordinator.wire.call(request, JoinGroupResponse)

    def _sync(self, joined: JoinGroupResponse) -> SyncGroupResponse:
        is_leader = joined.leader == joined.member_id and not joined.skip_assignment
        request = SyncGroupRequest(
            group_id=self.group,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=RANGE,
            assignments=shares(self.coordinator.cluster, joined) if is_leader else [],
        )
        return self.coordinator.wire.call(request, SyncGroupResponse)

    def _is_lost(self, code: int) -> bool:
        """Whether the group has moved on without us. Raises RafkaError for any other trouble."""
        if code not in LOST:
            check(code, self.group, None)
            return False
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            self.member_id = ""
        return True


def shares(cluster: Cluster, joined: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
    """Give out the partitions of all that the members subscribe to. Raises RafkaError."""
    if joined.protocol_name != RANGE:
        raise RafkaError(f"the group shares partitions by {joined.protocol_name}, not by {RANGE}")
    subscriptions = {member.member_id: read_subscription(member.metadata) for member in joined.members}
    names = sorted({topic for topics in subscriptions.values() for topic in topics})
    given = share_by_range(subscriptions, cluster.partitions(names))
    return [
        SyncGroupRequestAssignment(member_id=member, assignment=assignment_of(share))
        for member, share in given.items()
    ]
