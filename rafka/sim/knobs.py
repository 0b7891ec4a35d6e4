"""The settings of one run: how small things are, who the clients are, and what the broker is told.

Always drawn, in every profile but `calm`: most bugs need a segment of three batches, a fetch of one byte, or a
sequence about to wrap, long before they need a fault.
"""

import attrs

from rafka.core.record.compression import GZIP, LZ4, NONE, SNAPPY, ZSTD
from rafka.core.shape import value
from rafka.sim.chance import Chance

SEQUENCES = 1 << 31
WEEK_MS = 604_800_000


@value
class Knobs:
    """Sizes in bytes, times in ms, probabilities in [0, 1]."""

    flush_os: bool = False
    segment_bytes: int = 20_000
    index_interval_bytes: int = 4096
    file_delete_delay_ms: int = 1000
    topics: int = 2
    partitions: int = 2
    offsets_partitions: int = 1
    producers: int = 3
    plain_share: float = 0.3
    """Of producers that are not idempotent."""
    readers: int = 2
    groups: int = 1
    members: int = 2
    has_admin: bool = True
    in_flight: int = 3
    batch_records: int = 3
    value_bytes: int = 20
    codec: int = NONE
    first_sequence: int = 0
    think_ms: int = 60
    """How long clients rest between requests, on average half of it."""
    fetch_bytes: int = 1 << 20
    partition_fetch_bytes: int = 1 << 20
    fetch_wait_ms: int = 20
    client_timeout_ms: int = 1500
    session_ms: int = 1200
    rebalance_delay_ms: int = 0
    retention_ms: int = -1
    retention_bytes: int = -1
    deletes_records: bool = False
    cleaner_backoff_ms: int = 15_000
    offsets_retention_minutes: int = 10_080
    offsets_check_ms: int = 600_000
    static_share: float = 0.0
    """Of members that are static (KIP-345): they come back under their instance id."""
    has_sessions: bool = False
    """Whether readers fetch incrementally (KIP-227)."""
    library_share: float = 0.3
    """Of producers, readers, groups and administrators that are rafka.client's own, instead of scripts."""
    compacts: bool = False
    """Whether there is a compacted topic, with a writer and a reader of its own."""
    silent_share: float = 0.2
    """Of the library's producers that ask for no acknowledgement (acks=0)."""
    roll_ms: int = WEEK_MS
    """The age at which segments end."""
    requests_max: int = 128
    """How many requests of one connection may wait for answers before it is not read."""

    def settings(self) -> dict[str, str]:
        """Return what the broker's operator would say."""
        return {
            "flush": "os" if self.flush_os else "fsync",
            "listeners": "PLAINTEXT://127.0.0.1:9092",
            "log.index.interval.bytes": str(self.index_interval_bytes),
            "log.segment.delete.delay.ms": str(self.file_delete_delay_ms),
            "offsets.topic.num.partitions": str(self.offsets_partitions),
            "offsets.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": str(self.rebalance_delay_ms),
            "group.min.session.timeout.ms": "100",
            "auto.create.topics.enable": "false",
            "log.retention.check.interval.ms": "500",
            # Clocks are off by days here, and producers do not mind.
            "log.message.timestamp.after.max.ms": str((1 << 63) - 1),
            "log.retention.ms": str(self.retention_ms),
            "log.retention.bytes": str(self.retention_bytes),
            "producer.id.expiration.ms": str((1 << 31) - 1),
            "log.roll.ms": str(
                self.roll_ms
            ),  # committed offsets have large segments whatever an operator says
            "log.cleaner.backoff.ms": str(self.cleaner_backoff_ms),
            "offsets.retention.minutes": str(self.offsets_retention_minutes),
            "offsets.retention.check.interval.ms": str(self.offsets_check_ms),
        }

    def beyond(self) -> dict[str, str]:
        """Return what no operator may say, but what brings out more in less time."""
        return {"log.segment.bytes": str(self.segment_bytes)}

    @property
    def deletes(self) -> bool:
        """Whether records are removed at the start of logs."""
        return self.deletes_records or self.retention_ms >= 0 or self.retention_bytes >= 0


def drawn(chance: Chance, *, flush_os: float = 0.15) -> Knobs:
    """Draw the knobs of a seed. flush_os: the share of runs that acknowledge what is only written."""
    one_of = chance.one_of
    return Knobs(
        flush_os=chance.happens(flush_os),
        segment_bytes=one_of(250, 500, 1000, 4000, 20_000, 1 << 20),
        index_interval_bytes=one_of(0, 60, 400, 4096),
        file_delete_delay_ms=one_of(0, 10, 1000),
        topics=one_of(1, 2, 3),
        partitions=one_of(1, 2, 3),
        offsets_partitions=one_of(1, 1, 3),
        producers=one_of(1, 2, 3, 4),
        plain_share=one_of(0.0, 0.3, 0.6),
        readers=one_of(1, 2),
        groups=one_of(0, 1, 1, 2),
        members=one_of(1, 2, 3),
        has_admin=chance.happens(0.6),
        in_flight=one_of(1, 2, 5),
        batch_records=one_of(1, 3, 10),
        value_bytes=one_of(1, 20, 300, 3000),
        codec=one_of(NONE, NONE, NONE, NONE, GZIP, SNAPPY, LZ4, ZSTD),
        first_sequence=one_of(0, 0, 0, SEQUENCES - 7, SEQUENCES - 1),
        think_ms=one_of(50, 150, 500),
        fetch_bytes=one_of(1, 300, 5000, 1 << 20),
        partition_fetch_bytes=one_of(1, 100, 3000, 1 << 20),
        fetch_wait_ms=one_of(0, 20, 400),
        client_timeout_ms=one_of(300, 1500, 5000),
        session_ms=one_of(400, 1200, 5000),
        rebalance_delay_ms=one_of(0, 0, 100, 1000),
        retention_ms=one_of(-1, -1, -1, 1500),
        retention_bytes=one_of(-1, -1, -1, 3000),
        deletes_records=chance.happens(0.25),
        cleaner_backoff_ms=one_of(100, 1000, 15_000),
        offsets_retention_minutes=one_of(10_080, 1),
        static_share=one_of(0.0, 0.0, 0.5),
        has_sessions=chance.happens(0.4),
        requests_max=one_of(2, 4, 128, 128),
        compacts=chance.happens(0.25),
        library_share=one_of(0.0, 0.0, 0.3, 0.7),
        silent_share=one_of(0.0, 0.0, 0.4),
        roll_ms=one_of(WEEK_MS, WEEK_MS, 150),
        offsets_check_ms=one_of(600_000, 600_000, 300),
    )


def as_dict(knobs: Knobs) -> dict[str, object]:
    """Return the knobs by name."""
    return attrs.asdict(knobs)  # type: ignore[arg-type]  # a value is an attrs class, whatever mypy sees
