"""What one partition's log obeys, as numbers and booleans ready for use; `resolve.py` makes it from settings."""

from rafka.core.shape import value

INT64_MAX = (1 << 63) - 1


@value
class LogConfig:
    """What one partition's log obeys: topic settings, resolved against the broker's defaults.

    Names are Kafka's topic settings with underscores; times in ms, sizes in bytes, -1 = without limit.
    """

    flush_fsync: bool = True
    """Rafka's `flush=fsync|os`: acknowledged means synced, or means written to the page cache."""
    segment_bytes: int = 1 << 30
    segment_ms: int = 7 * 24 * 3600 * 1000
    segment_index_bytes: int = 10 << 20
    index_interval_bytes: int = 4096
    retention_ms: int = 7 * 24 * 3600 * 1000
    retention_bytes: int = -1
    cleanup_delete: bool = True
    cleanup_compact: bool = False
    delete_retention_ms: int = 24 * 3600 * 1000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = INT64_MAX
    min_cleanable_dirty_ratio: float = 0.5
    file_delete_delay_ms: int = 60_000
    max_message_bytes: int = 1_048_588
    compression_type: str = "producer"
    """producer, uncompressed, gzip, snappy, lz4 or zstd."""
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_zstd_level: int = 3
    message_timestamp_type: str = "CreateTime"
    message_timestamp_before_max_ms: int = INT64_MAX
    message_timestamp_after_max_ms: int = 3_600_000
    min_insync_replicas: int = 1
    """With fewer replicas in sync an acks=all produce is refused with NOT_ENOUGH_REPLICAS."""
