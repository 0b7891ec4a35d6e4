"""Which role may follow which: the only table of it. The machine asserts it, and docs/raft.md shows it.

"same" and "higher" say what becomes of the epoch. An epoch never falls. A leader that has resigned, or has crashed, is
nothing in its epoch but Resigned, because a second leadership of it could give an offset and an epoch two contents
(KAFKA-10527, KAFKA-18379). Source: Kafka's `QuorumState`; KIP-595, KIP-996.
"""

from rafka.core.shape import value

SAME, HIGHER = "same", "higher"


@value
class Transition:
    """One row. epoch: SAME or HIGHER; cause: when it happens."""

    old: str
    new: str
    epoch: str
    cause: str


START = "(start)"

TABLE: tuple[Transition, ...] = (
    Transition(START, "unattached", SAME, "the election file names no vote and no leader of the epoch"),
    Transition(START, "voted", SAME, "it names a vote, also one for this replica itself"),
    Transition(START, "follower", SAME, "it names a leader"),
    Transition(START, "resigned", SAME, "it names this replica as the leader"),
    Transition("unattached", "unattached", HIGHER, "somebody knows a higher epoch"),
    Transition("unattached", "voted", SAME, "it grants a vote"),
    Transition("unattached", "follower", SAME, "it learns who leads the epoch"),
    Transition("unattached", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("unattached", "prospective", SAME, "the election timeout is over"),
    Transition("voted", "unattached", HIGHER, "somebody knows a higher epoch"),
    Transition("voted", "follower", SAME, "it learns who leads the epoch"),
    Transition("voted", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("voted", "prospective", SAME, "the election timeout is over"),
    Transition("prospective", "unattached", HIGHER, "somebody knows a higher epoch"),
    Transition("prospective", "unattached", SAME, "a majority would not elect it, or nobody answers"),
    Transition("prospective", "voted", SAME, "the same, and it has voted; or it grants a vote"),
    Transition("prospective", "follower", SAME, "the same, and it knows the leader; or it learns who leads"),
    Transition("prospective", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("prospective", "candidate", HIGHER, "a majority would elect it"),
    Transition("candidate", "unattached", HIGHER, "somebody knows a higher epoch"),
    Transition("candidate", "follower", SAME, "another has won the epoch"),
    Transition("candidate", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("candidate", "prospective", SAME, "it lost and has waited, or the election timeout is over"),
    Transition("candidate", "leader", SAME, "a majority has voted for it"),
    Transition("leader", "unattached", HIGHER, "somebody knows a higher epoch"),
    Transition("leader", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("leader", "resigned", SAME, "it is asked to, no majority fetches, or it is no voter any more"),
    Transition(
        "resigned", "unattached", HIGHER, "somebody knows a higher epoch, or the election timeout is over"
    ),
    Transition("resigned", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("follower", "unattached", HIGHER, "somebody knows a higher epoch"),
    Transition("follower", "follower", HIGHER, "it learns who leads a higher epoch"),
    Transition("follower", "prospective", SAME, "the leader does not answer, or said that it is going"),
)

LEGAL = {(row.old, row.new, row.epoch) for row in TABLE}


def is_legal(old: str, new: str, *, old_epoch: int, new_epoch: int) -> bool:
    """Whether a replica in role `old` of one epoch may take role `new` in another."""
    if new_epoch < old_epoch:
        return False
    return (old, new, SAME if new_epoch == old_epoch else HIGHER) in LEGAL


def markdown() -> str:
    """Return the table as the documentation shows it."""
    lines = ["| from | to | epoch | when |", "|---|---|---|---|"]
    lines += [f"| {row.old} | {row.new} | {row.epoch} | {row.cause} |" for row in TABLE]
    return "\n".join(lines)
