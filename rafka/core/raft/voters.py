"""Who votes: replica keys, voter sets, and the history of voter sets that the log holds (KIP-853).

A voter is an id and the id of the directory it votes from: a node that comes back with a new disk has a new directory
id, is no voter any more, and so cannot vote a second time for what its former disk has forgotten.

A voter set is a control record in the log. The newest one counts from the moment it is appended, before it is committed
(Raft dissertation §4.1), so the history follows the log: it grows with it and is cut with it. Two sets that follow
one another differ in one voter, so their majorities meet.
Source: KIP-853; Kafka's `ReplicaKey`, `VoterSet`, `VoterSetHistory`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import attrs

from rafka.core.shape import value

NO_OFFSET = -1
"""Where the voter set of a formatted directory stands: before the log."""


class ReplicaKey(NamedTuple):
    """A replica: its node id, and the id of its log directory (16 bytes)."""

    id: int
    directory_id: bytes


@value
class Endpoint:
    """Where a voter listens: the listener's name, host and port."""

    name: str
    host: str
    port: int


@value
class Voter:
    """One voter, where it listens, and which levels of kraft.version it knows (min and max, inclusive)."""

    key: ReplicaKey
    endpoints: tuple[Endpoint, ...] = ()
    kraft_version_min: int = 0
    kraft_version_max: int = 1


class VoterSet:
    """Voters by id, in the order of their ids; never changed, only replaced by another set."""

    __slots__ = ("keys", "majority", "voters")

    def __init__(self, voters: Iterable[Voter]) -> None:
        self.voters = {voter.key.id: voter for voter in sorted(voters, key=_key)}
        self.keys = [voter.key for voter in self.voters.values()]
        self.majority = len(self.voters) // 2 + 1
        """How many voters decide."""

    def __len__(self) -> int:
        return len(self.voters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VoterSet) and self.voters == other.voters

    __hash__ = None  # type: ignore[assignment]  # compared by content

    def __repr__(self) -> str:
        return f"VoterSet({', '.join(str(voter_id) for voter_id in self.voters)})"

    def has(self, key: ReplicaKey) -> bool:
        """Whether this replica, with this directory, is one of the voters."""
        voter = self.voters.get(key.id)
        return voter is not None and voter.key == key

    def key_of(self, voter_id: int) -> ReplicaKey | None:
        """Return the key of the voter with this id."""
        voter = self.voters.get(voter_id)
        return None if voter is None else voter.key

    def adding(self, voter: Voter) -> "VoterSet":
        """Return the set with one more voter, whose id no other has."""
        assert voter.key.id not in self.voters, "an id votes once"
        return VoterSet([*self.voters.values(), voter])

    def removing(self, key: ReplicaKey) -> "VoterSet":
        """Return the set without one of its voters."""
        assert self.has(key)
        return VoterSet(voter for voter in self.voters.values() if voter.key != key)

    def updating(self, voter: Voter) -> "VoterSet":
        """Return the set in which one of its voters is described anew."""
        assert self.has(voter.key)
        return VoterSet(voter if one.key == voter.key else one for one in self.voters.values())

    def overlaps(self, other: "VoterSet") -> bool:
        """Whether every majority of this set shares a voter with every majority of the other."""
        both = sum(other.has(key) for key in self.keys)
        # Two majorities, placed to avoid each other, first take all that only one of the sets has.
        here = self.majority - (len(self) - both)
        there = other.majority - (len(other) - both)
        return max(here, 0) + max(there, 0) > both


def _key(voter: Voter) -> ReplicaKey:
    return voter.key


def majority_offset(offsets: list[int]) -> int:
    """Return the largest offset that a majority of these has reached; there is at least one."""
    return sorted(offsets, reverse=True)[len(offsets) // 2]


NOBODY = VoterSet(())


@attrs.define(eq=False)
class VoterHistory:
    """The voter sets of the log, each at the offset of its record; the first may come from before the log."""

    entries: list[tuple[int, VoterSet]] = attrs.field(factory=lambda: [(NO_OFFSET, NOBODY)])

    @property
    def latest(self) -> VoterSet:
        """Return the set that counts."""
        return self.entries[-1][1]

    @property
    def latest_offset(self) -> int:
        """Return the offset of the record that set it; NO_OFFSET before any."""
        return self.entries[-1][0]

    def at(self, end_offset: int) -> VoterSet:
        """Return the set that counts for a log that ends there."""
        return next(voters for offset, voters in reversed(self.entries) if offset < end_offset)

    def add(self, offset: int, voters: VoterSet) -> None:
        """Take the voter set of the record at `offset`, the newest."""
        assert offset > self.latest_offset
        self.entries.append((offset, voters))

    def cut(self, end_offset: int) -> None:
        """Forget the sets of records from `end_offset` on; what was before the log stays."""
        while len(self.entries) > 1 and self.entries[-1][0] >= end_offset:
            self.entries.pop()

    def begin(self, start_offset: int) -> None:
        """Forget the sets that only a log before `start_offset` needs."""
        while len(self.entries) > 1 and self.entries[1][0] < start_offset:
            del self.entries[0]

    def restart(self, voters: VoterSet) -> None:
        """Begin anew with what a snapshot holds."""
        self.entries[:] = [(NO_OFFSET, voters)]
