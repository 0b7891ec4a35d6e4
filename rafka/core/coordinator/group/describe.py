"""ListGroups, DescribeGroups and DeleteGroups: what an administrator sees. Sources: KIP-518, KIP-848, KIP-1043."""

from typing import Final

from rafka.core.api.delete_groups_request import DeleteGroupsRequest
from rafka.core.api.delete_groups_response import DeletableGroupResult, DeleteGroupsResponse
from rafka.core.api.describe_groups_request import DescribeGroupsRequest
from rafka.core.api.describe_groups_response import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsResponse,
)
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.list_groups_response import ListedGroup, ListGroupsResponse
from rafka.core.coordinator.group.classic import Group, Member, State
from rafka.core.coordinator.group.offsets import Offsets, all_tombstones
from rafka.core.coordinator.group.rebalance import Turn
from rafka.core.coordinator.group.records import group_row
from rafka.core.errors import ErrorCode

CLASSIC: Final = "classic"
EVERYTHING: Final = sum(1 << operation for operation in (3, 6, 8, 10, 11))
"""Read, delete, describe, describe and alter settings (Kafka's `AclOperation`): whoever is connected may do it all."""


def list_groups(request: ListGroupsRequest, groups: dict[str, Group]) -> ListGroupsResponse:
    """Answer with the groups whose state and type are asked for, in any case; an empty filter asks for all."""
    states = [state.lower() for state in request.states_filter]
    types = [kind.lower() for kind in request.types_filter]
    return ListGroupsResponse(
        groups=[
            ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type or "",
                group_state=group.state.value,
                group_type=CLASSIC,
            )
            for group in groups.values()
            if (not states or group.state.value.lower() in states) and (not types or CLASSIC in types)
        ]
    )


def describe_groups(
    request: DescribeGroupsRequest, version: int, groups: dict[str, Group]
) -> DescribeGroupsResponse:
    """Describe each group; one that is not there is Dead, and from version 6 on an error too."""
    described = [_described(group_id, groups.get(group_id), version) for group_id in request.groups]
    if request.include_authorized_operations:
        for group in described:
            if group.error_code == ErrorCode.NONE:
                group.authorized_operations = EVERYTHING
    return DescribeGroupsResponse(groups=described)


def _described(group_id: str, group: Group | None, version: int) -> DescribedGroup:
    if group is None:
        absent = DescribedGroup(group_id=group_id, group_state=State.DEAD.value)
        if version >= 6:
            absent.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            absent.error_message = f"Group {group_id} not found."
        return absent
    is_stable = group.state is State.STABLE
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol or "") if is_stable else "",
        members=[_described_member(m, group.protocol, is_stable) for m in group.members.values()],
    )


def _described_member(member: Member, protocol: str | None, is_stable: bool) -> DescribedGroupMember:
    return DescribedGroupMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=member.metadata(protocol) if is_stable else b"",
        member_assignment=member.assignment if is_stable else b"",
    )


def delete_groups(
    request: DeleteGroupsRequest, groups: dict[str, Group], offsets: Offsets, turn: Turn
) -> DeleteGroupsResponse:
    """Decide to remove groups without members, with all their offsets."""
    results = []
    for group_id in dict.fromkeys(request.groups_names):
        group = groups.get(group_id)
        code = ErrorCode.NONE
        if group is None:
            code = ErrorCode.GROUP_ID_NOT_FOUND
        elif group.state is not State.EMPTY:
            code = ErrorCode.NON_EMPTY_GROUP
        else:
            turn.rows += all_tombstones(group_id, offsets)
            turn.rows.append(group_row(group_id, None))
        results.append(DeletableGroupResult(group_id=group_id, error_code=code))
    return DeleteGroupsResponse(results=results)
