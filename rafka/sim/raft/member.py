"""One node of the Raft world: its replica while it lives, its disk, its clock, its state machine: a chain of hashes."""

from struct import Struct

from rafka.core.raft.batch import DATA, LEADER_CHANGE, VOTERS, Batch
from rafka.core.raft.raft import Raft
from rafka.core.raft.roles import NEVER
from rafka.core.raft.voters import ReplicaKey
from rafka.sim.raft.disk import Disk

MASK = (1 << 64) - 1
_state = Struct(">QQ")


def step(chain: int, batch: Batch) -> int:
    """Chain one batch to everything before it: the same chain means the same log."""
    kind, content = batch.kind, batch.content
    number = 0
    if kind == DATA:
        number = content
    elif kind == LEADER_CHANGE:
        number = content.leader_id
    elif kind == VOTERS:
        number = sum((key.id * 251 + key.directory_id[0]) << 3 * at for at, key in enumerate(content.keys))
    mixed = chain * 1_000_003 ^ batch.end_offset << 34 ^ batch.epoch << 14 ^ kind << 10 ^ number
    return (mixed ^ mixed >> 29) & MASK


def encode(end_offset: int, chain: int, size: int) -> bytes:
    """Make a snapshot's bytes."""
    return _state.pack(end_offset, chain).ljust(size, b".")


def decode(data: bytes) -> tuple[int, int]:
    """Read a snapshot's bytes: end offset and chain."""
    end_offset, chain = _state.unpack_from(data)
    return end_offset, chain


class Member:
    """A node. raft: None while it is down. Clock: its own nanoseconds are now * rate + offset."""

    __slots__ = (
        "applied_chain",
        "applied_offset",
        "chains",
        "directories",
        "disk",
        "epoch",
        "high_watermark",
        "id",
        "key",
        "led_since",
        "life",
        "offset_ns",
        "paused_until",
        "promised",
        "raft",
        "rate",
        "role",
        "snapshot_offset",
        "timer_at",
    )

    def __init__(self, member_id: int, disk: Disk, rate: float) -> None:
        self.id = member_id
        self.disk = disk
        self.rate = rate
        self.offset_ns = 0
        self.raft: Raft | None = None
        self.directories = 0
        """How many disks it has had before."""
        self.key = self._key()
        self.life = 0
        self.led_since = 0
        """When it became leader, or has last changed the voters, by its own clock."""
        self.timer_at = NEVER
        self.paused_until = 0
        self.applied_offset = 0
        self.applied_chain = 0
        self.snapshot_offset = 0
        self.chains: dict[int, int] = {0: 0}
        """The chain of its log at each end of a batch."""
        self.role = "(start)"
        self.epoch = 0
        self.high_watermark = 0
        self.promised = 0
        """The highest epoch it has spoken of, with this disk."""

    def _key(self) -> ReplicaKey:
        return ReplicaKey(self.id, bytes([self.directories + 1, self.id]) * 8)

    def replace_disk(self, disk: Disk) -> None:
        """Have another disk, with another directory id."""
        self.directories += 1
        self.key = self._key()
        self.disk = disk
        self.promised = 0

    def local(self, now: int) -> int:
        """Return what its clock says."""
        return int(now * self.rate) + self.offset_ns

    def when(self, local: int) -> int:
        """Return when its clock will say that, or a moment later."""
        return int((local - self.offset_ns) / self.rate) + 1
