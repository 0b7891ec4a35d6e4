"""What the metadata log is made of, as the Raft machine sees it: batches, of which it reads only control records."""

from typing import Any, TypeAlias

from rafka.core.shape import value

DATA, LEADER_CHANGE, VOTERS, NO_OP = range(4)
KINDS = ("data", "leader-change", "voters", "no-op")


@value
class LeaderChange:
    """The first record of an epoch: who leads it, by whose votes (KIP-595, LeaderChangeMessage)."""

    leader_id: int
    voters: tuple[int, ...]
    granting: tuple[int, ...]


Content: TypeAlias = Any
"""What a batch holds: LEADER_CHANGE a LeaderChange, VOTERS a VoterSet, NO_OP nothing, DATA the state machine's."""


@value
class Batch:
    """Records that are appended together. end_offset: base_offset plus their number, at least 1.

    epoch: of the leader that appended it. Offset and epoch together name one content, in every log, for ever.
    """

    base_offset: int
    end_offset: int
    epoch: int
    kind: int
    content: Content
