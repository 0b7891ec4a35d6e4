"""Every bug of the zoo, by id, in the order of its families; and those that one node cannot have, with the reason."""

from rafka.sim.zoo import files, groups, producers, protocol, storage
from rafka.sim.zoo.registry import Bug, Bugs

FAMILIES: tuple[Bugs, ...] = (storage.BUGS, files.BUGS, producers.BUGS, groups.BUGS, protocol.BUGS)
BUGS: dict[str, Bug] = {name: bug for bugs in FAMILIES for name, bug in bugs.items()}
ABSENT: dict[str, str] = {
    "L04": "there is no transaction index whose failure could hold up the log end.",
    "L10": "misdirected batches: the format binds no identity to a batch. What binds it, the chain, is checked at "
    "links; a batch beyond the last link that lies in another partition's file cannot be told from its own.",
    "L14, L24": "nothing is truncated while a single node serves; what is replaced under a reader is a compacted log, "
    "and the simulated readers read none.",
    "L16, L18": "no transactions are served: there are no markers to compact, and nothing is aborted.",
    "L19, L20": "no Raft: there is no snapshot to skip and no applied index beside the log.",
    "T03": "no transaction is ever aborted.",
    "T06–T25": "no transactions.",
    "G01": "a coordinator is never moved: nothing is unloaded. G17 and G19 are what loading can do wrong.",
    "G04, G07": "the assignor is the client's, and its epochs (KIP-848) are not served.",
    "V01": "no elections.",
    "V03": "retries are the clients' business, and the simulated ones draw their waits.",
    "V04": "nobody lags behind whose data could be freed too early.",
    "V05, V06": "there is one version of every record and file so far.",
}
OPEN: dict[str, str] = {
    "S11": "what is read past the high watermark is synced moments later; a power loss must come between. Tried: heavy "
    "power losses, slow disks, kills between effects. S10, which is worse, is found at once.",
    "L23": "in a run in which an index rots, its log does too, and damage in a directory excuses all of it. Tried: "
    "heavy rot, an index entry for every batch, small segments.",
    "G20": "a request must come in the very turn in which a write to the group's log fails for want of room. Tried: "
    "heavy full disks, slow turns, one partition for all groups. Seed 20255 of the default profile met it once.",
}
"""Bugs that are not found yet: why, and what was tried."""
