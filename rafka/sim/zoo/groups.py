"""Bugs of consumer groups: SIMULATION 3.5, for the classic groups of a coordinator that never moves."""

from typing import Any

from rafka.core.coordinator.group import join, shard
from rafka.core.coordinator.group.classic import Group, State
from rafka.core.coordinator.group.rebalance import Rounds
from rafka.core.coordinator.group.shard import GroupShard
from rafka.core.errors import ErrorCode
from rafka.core.machine import Decision, OffsetWaiters
from rafka.core.node.groups import Groups
from rafka.core.types import Now
from rafka.net.order import Order
from rafka.sim.zoo.registry import Plant, family

BUGS, bug = family("groups")

BUSY = {"groups": 2, "members": 3, "has_admin": False}
"""Knobs under which groups are what a run is about."""


@bug(
    "G02",
    "KAFKA-13636",
    "offsets expire while their group rebalances",
    "GR4",
    **BUSY,
    offsets_retention_minutes=1,
    offsets_check_ms=300,
)
def _expires_unstable(plant: Plant) -> None:
    def expired(original: Any, group: Any, offsets: Any, settings: Any, wall_ms: int) -> Any:
        if group.state in (State.EMPTY, State.STABLE):
            return original(group, offsets, settings, wall_ms)
        due = [p for p, c in offsets.of.get(group.group_id, {}).items() if c.commit_timestamp + 60 <= wall_ms]
        if due:
            plant.hit()
        return due

    plant.patch(shard, "expired", expired)


@bug(
    "G02b",
    "KAFKA-8069",
    "a commit without an expiry of its own is loaded as one that has long expired",
    "GR3",
    "GR4",
    offsets_check_ms=300,
)
def _default_expiry(plant: Plant) -> None:
    def expired(original: Any, group: Any, offsets: Any, settings: Any, wall_ms: int) -> Any:
        due = original(group, offsets, settings, wall_ms)
        if group.state is State.EMPTY and not due:
            due = [p for p, c in offsets.of.get(group.group_id, {}).items() if c.expire_timestamp <= wall_ms]
            if due:
                plant.hit()
        return due

    plant.patch(shard, "expired", expired)


@bug("G03", "KAFKA-20634 class", "a commit is confirmed although the disk did not take it", "GR3")
def _confirms_lost(plant: Plant) -> None:
    def lost(original: Any, groups: Any, decided: Any, code: ErrorCode, now: Now) -> None:
        del original, code
        plant.hit()
        groups.committed(decided, now)

    plant.patch(Groups, "lost", lost)


@bug("G05", "textbook", "a commit of a generation that is over is accepted", "GR3", **BUSY)
def _old_generation(plant: Plant) -> None:
    def refusal(original: Any, group: Any, request: Any, version: int) -> ErrorCode:
        code: ErrorCode = original(group, request, version)
        if code in (ErrorCode.ILLEGAL_GENERATION, ErrorCode.REBALANCE_IN_PROGRESS) and group is not None:
            plant.hit()
            return ErrorCode.NONE
        return code

    plant.patch(shard, "refusal_of_commit", refusal)


@bug("G05b", "textbook", "a commit is accepted from somebody who is no member any more", "GR3", **BUSY)
def _no_member(plant: Plant) -> None:
    def refusal(original: Any, group: Any, request: Any, version: int) -> ErrorCode:
        code: ErrorCode = original(group, request, version)
        if code is ErrorCode.UNKNOWN_MEMBER_ID:
            plant.hit()
            return ErrorCode.NONE
        return code

    plant.patch(shard, "refusal_of_commit", refusal)


@bug(
    "G06",
    "KAFKA-10284",
    "the new id of a static member that came back is not logged",
    "GR1",
    **BUSY,
    static_share=1.0,
)
def _static_not_logged(plant: Plant) -> None:
    def keep(original: Any, rounds: Any, one: Any, member: Any, old_leader: str, turn: Any) -> None:
        count = len(turn.rows)
        original(rounds, one, member, old_leader, turn)
        plant.hit()
        del turn.rows[count:]

    plant.patch(join, "_keep_place", keep)


@bug(
    "G08",
    "KAFKA-7610",
    "an id that was given out and never came back is waited for for ever",
    "assertion",
    "LV",
    **BUSY,
)
def _pending_for_ever(plant: Plant) -> None:
    def joins(original: Any, rounds: Any, one: Any, turn: Any) -> None:
        known = set(one.group.pending)
        original(rounds, one, turn)
        for member_id in one.group.pending:
            if member_id not in known:
                plant.hit()
                rounds.alarms.clear(("pending", one.group.group_id, member_id))

    plant.patch(shard, "on_join", joins)


@bug("G09", "KAFKA-16973 class", "a commit is answered before its record is committed", "GR3")
def _answers_early(plant: Plant) -> None:
    def append(
        original: Any, groups: Any, index: int, one: Any, partition: Any, decision: Any, now: Now
    ) -> None:
        plant.hit()
        groups._reply(decision.replies)
        original(groups, index, one, partition, Decision(decision.records, []), now)

    plant.patch(Groups, "_append", append)


@bug(
    "G10",
    "textbook",
    "after a start no session runs: who does not come back is a member for ever",
    "assertion",
    "LV",
)
def _no_sessions(plant: Plant) -> None:
    def fold(original: Any, one: Any, group_id: str, stored: Any, now: Now) -> None:
        original(one, group_id, stored, now)
        for member_id in one.groups[group_id].members if group_id in one.groups else ():
            plant.hit()
            one.rounds.alarms.clear(("session", group_id, member_id))

    plant.patch(GroupShard, "_fold_group", fold)


@bug(
    "G11",
    "here",
    "a removed member keeps its place in a round that waits for it",
    "assertion",
    "LV",
    "GR1",
    **BUSY,
)
def _ghosts(plant: Plant) -> None:
    def session_over(original: Any, rounds: Any, group: Any, member_id: str, turn: Any) -> None:
        del original, rounds, turn
        if member_id in group.members:
            plant.hit()

    plant.patch(Rounds, "session_over", session_over)


@bug("G12", "here", "two members of one generation are told the same assignment", "GR1", **BUSY)
def _same_assignment(plant: Plant) -> None:
    def assign(original: Any, rounds: Any, group: Any, assignments: dict[str, bytes], turn: Any) -> None:
        if len(assignments) > 1:
            plant.hit()
            assignments = dict.fromkeys(assignments, next(iter(assignments.values())))
        original(rounds, group, assignments, turn)

    plant.patch(Rounds, "assign", assign)


@bug(
    "G13",
    "here",
    "a sync of an older generation gets the assignment of the newest",
    "GR1",
    "assertion",
    **BUSY,
)
def _sync_of_any(plant: Plant) -> None:
    from rafka.core.coordinator.group import sync

    def refusal(original: Any, group: Any, request: Any) -> ErrorCode:
        code: ErrorCode = original(group, request)
        if code is ErrorCode.ILLEGAL_GENERATION:
            plant.hit()
            request.generation_id = group.generation
            return ErrorCode(original(group, request))
        return code

    plant.patch(sync, "_refusal_of_sync", refusal)


@bug("G14", "here", "a group that is loaded forgets its generation", "GR3", "GR1", "LV", **BUSY)
def _generation_lost(plant: Plant) -> None:
    def restored(original: Any, group_id: str, stored: Any) -> Group:
        group: Group = original(group_id, stored)
        if group.generation > 1:
            plant.hit()
            group.generation = 1
        return group

    plant.patch(shard, "restored", restored)


@bug("G15", "here", "of several partitions in one commit only the first is kept", "GR3")
def _first_only(plant: Plant) -> None:
    def commit(original: Any, *args: Any) -> Any:
        turn = args[-1]
        count = len(turn.rows)
        answer = original(*args)
        if len(turn.rows) > count + 1:
            plant.hit()
            del turn.rows[count + 1 :]
        return answer

    plant.patch(shard, "commit", commit)


@bug(
    "G17",
    "KAFKA-10614 class",
    "the records of a group are folded in another order than the log's",
    "GR3",
    "GR1",
)
def _load_order(plant: Plant) -> None:
    def replay(original: Any, log: Any, codecs: Any, take: Any) -> Any:
        records: list[Any] = []
        broken = yield from original(log, codecs, records.append)
        if len(records) > 1:
            plant.hit()
        for record in reversed(records):
            take(record)
        return broken

    from rafka.core.node import groups

    plant.patch(groups, "replay", replay)


@bug("G18", "here", "a fetch of offsets does not wait for the commit ahead of it on its connection", "GR3")
def _fetch_overtakes(plant: Plant) -> None:
    def starts(original: Any, order: Any, api_key: int) -> bool:
        if original(order, api_key):
            return True
        if api_key == 9:
            plant.hit()
            return True
        return False

    plant.patch(Order, "_starts", starts)


@bug("G19", "here", "a shard serves before its records are loaded", "GR1", "GR3", "LV", "assertion", "crash")
def _serves_unloaded(plant: Plant) -> None:
    def load(original: Any, groups: Any, partition: Any, now: Now) -> Any:
        one = yield from original(groups, partition, now)
        if one is not None and one.offsets.of:
            plant.hit()
            one.offsets.of.clear()
            one.groups.clear()
            one.rounds.alarms._due.clear()
        return one

    plant.patch(Groups, "load", load)


@bug(
    "G20",
    "here",
    "who asks in the turn in which records are lost waits for less than they did",
    "assertion",
    "GR3",
    "LV",
    **BUSY,
    faults=("disk.full", "proc.slow-cpu", "client.hang-up"),
    offsets_partitions=1,
    session_ms=400,
)
def _waits_for_less(plant: Plant) -> None:
    def wait(original: Any, waiters: Any, reached: int, waiter: Any) -> None:
        del original
        if waiters._queue and waiters._queue[-1][0] > reached:
            plant.hit()
        waiters.wait(reached, waiter)

    plant.patch(OffsetWaiters, "wait_with_the_last", wait)
