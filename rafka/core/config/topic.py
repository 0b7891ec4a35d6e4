"""Every topic setting that Kafka 4.4 documents, and Rafka's own `flush`: obeyed, or refused by name with a reason.

A topic's own value wins; without one the broker's settings under `synonyms` decide, then the default.

`flush` says when a batch may be acknowledged: `fsync`, once it is synced, or `os`, once it is written. Kafka's
flush.messages and flush.ms set a bound on how much may lie unsynced, in records or in time. Rafka obeys any such
bound by syncing before it acknowledges: every bound but "none" (2^63 - 1) makes the topic `fsync`. Together with an
explicit `flush=os` on the same topic it is a contradiction, and refused.

Sources: `TopicConfig`, `LogConfig` and `ServerTopicConfigSynonyms` of Kafka 4.4.
"""

from collections.abc import Mapping

from rafka.core.config.setting import INT32_MAX, INT64_MAX, Kind, Setting, entries, table
from rafka.core.errors import ConfigError

NEVER = str(INT64_MAX)
_TIERED = "this broker has no tiered storage"
_THROTTLE = "this broker does not throttle replication"
CODECS = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")


def _gzip_level(text: str) -> str | None:
    return "Value must be between 1 and 9, or -1" if text == "0" else None


TOPIC_SETTINGS: dict[str, Setting] = table(
    Setting(
        "cleanup.policy",
        Kind.LIST,
        "delete",
        "What happens to old segments: delete them, compact them by key, both, or (empty) neither.",
        choices=("compact", "delete"),
        synonyms=("log.cleanup.policy",),
    ),
    Setting(
        "compression.gzip.level",
        Kind.INT,
        "-1",
        "The level of gzip when compression.type is gzip: 1 to 9, -1 for its default.",
        low=-1,
        high=9,
        check=_gzip_level,
        synonyms=("compression.gzip.level",),
    ),
    Setting(
        "compression.lz4.level",
        Kind.INT,
        "9",
        "The level of lz4 when compression.type is lz4.",
        low=1,
        high=17,
        synonyms=("compression.lz4.level",),
    ),
    Setting(
        "compression.type",
        Kind.STRING,
        "producer",
        "The codec that batches are stored with; `producer` keeps what the producer chose.",
        choices=CODECS,
        synonyms=("compression.type",),
    ),
    Setting(
        "compression.zstd.level",
        Kind.INT,
        "3",
        "The level of zstd when compression.type is zstd.",
        low=-131072,
        high=22,
        synonyms=("compression.zstd.level",),
    ),
    Setting(
        "delete.retention.ms",
        Kind.LONG,
        "86400000",
        "How long compaction keeps a tombstone, so that readers behind still see the deletion.",
        low=0,
        synonyms=("log.cleaner.delete.retention.ms",),
    ),
    Setting(
        "errors.deadletterqueue.group.enable",
        Kind.BOOLEAN,
        "false",
        "Whether share groups may use this topic for records they gave up on.",
        fixed="this broker has no share groups",
    ),
    Setting(
        "file.delete.delay.ms",
        Kind.LONG,
        "60000",
        "How long the files of a deleted segment stay on disk.",
        low=0,
        synonyms=("log.segment.delete.delay.ms",),
    ),
    Setting(
        "flush",
        Kind.STRING,
        "fsync",
        "When a batch may be acknowledged: once synced (fsync) or once written to the page cache (os). Rafka's own.",
        choices=("fsync", "os"),
        synonyms=("flush",),
    ),
    Setting(
        "flush.messages",
        Kind.LONG,
        NEVER,
        "At most so many records may lie unsynced; any bound is obeyed as flush=fsync.",
        low=1,
        synonyms=("log.flush.interval.messages",),
    ),
    Setting(
        "flush.ms",
        Kind.LONG,
        NEVER,
        "Records may lie unsynced at most so long; any bound is obeyed as flush=fsync.",
        low=0,
        synonyms=("log.flush.interval.ms",),
    ),
    Setting(
        "follower.replication.throttled.replicas",
        Kind.LIST,
        "",
        "Which replicas copy under a quota.",
        fixed=_THROTTLE,
    ),
    Setting(
        "index.interval.bytes",
        Kind.INT,
        "4096",
        "How many bytes of log lie between two entries of an index.",
        low=0,
        synonyms=("log.index.interval.bytes",),
    ),
    Setting(
        "leader.replication.throttled.replicas",
        Kind.LIST,
        "",
        "Which replicas are copied from under a quota.",
        fixed=_THROTTLE,
    ),
    Setting(
        "local.retention.bytes",
        Kind.LONG,
        "-2",
        "How much of a tiered log stays on local disks.",
        low=-2,
        synonyms=("log.local.retention.bytes",),
        fixed=_TIERED,
    ),
    Setting(
        "local.retention.ms",
        Kind.LONG,
        "-2",
        "How long a tiered log stays on local disks.",
        low=-2,
        synonyms=("log.local.retention.ms",),
        fixed=_TIERED,
    ),
    Setting(
        "max.compaction.lag.ms",
        Kind.LONG,
        NEVER,
        "A record is compacted at the latest after so long.",
        low=1,
        synonyms=("log.cleaner.max.compaction.lag.ms",),
    ),
    Setting(
        "max.decompressed.message.bytes",
        Kind.INT,
        "2147483639",
        "What a compressed batch may unpack to.",
        low=1,
        high=2147483639,
        synonyms=("max.decompressed.message.bytes",),
        fixed="this broker's bound on unpacking is its own",
    ),
    Setting(
        "max.message.bytes",
        Kind.INT,
        "1048588",
        "The largest batch, as stored, in bytes.",
        low=0,
        synonyms=("message.max.bytes",),
    ),
    Setting(
        "message.timestamp.after.max.ms",
        Kind.LONG,
        "3600000",
        "How far a record's own timestamp may lie after the broker's clock.",
        low=0,
        synonyms=("log.message.timestamp.after.max.ms",),
    ),
    Setting(
        "message.timestamp.before.max.ms",
        Kind.LONG,
        NEVER,
        "How far a record's own timestamp may lie before the broker's clock.",
        low=0,
        synonyms=("log.message.timestamp.before.max.ms",),
    ),
    Setting(
        "message.timestamp.type",
        Kind.STRING,
        "CreateTime",
        "Whose timestamp a record has: the producer's (CreateTime) or the broker's (LogAppendTime).",
        choices=("CreateTime", "LogAppendTime"),
        synonyms=("log.message.timestamp.type",),
    ),
    Setting(
        "min.cleanable.dirty.ratio",
        Kind.DOUBLE,
        "0.5",
        "The part of a log that must be uncompacted before compaction starts.",
        low=0,
        high=1,
        synonyms=("log.cleaner.min.cleanable.ratio",),
    ),
    Setting(
        "min.compaction.lag.ms",
        Kind.LONG,
        "0",
        "A record is not compacted before so long.",
        low=0,
        synonyms=("log.cleaner.min.compaction.lag.ms",),
    ),
    Setting(
        "min.insync.replicas",
        Kind.INT,
        "1",
        "How many replicas must be in sync for an acks=all produce to be taken.",
        low=1,
        synonyms=("min.insync.replicas",),
    ),
    Setting(
        "preallocate",
        Kind.BOOLEAN,
        "false",
        "Whether a segment's file has its full size from the start.",
        synonyms=("log.preallocate",),
        fixed="this broker grows its segments as they fill",
    ),
    Setting(
        "remote.copy.lag.bytes",
        Kind.LONG,
        "-1",
        "How much of a log may be missing in tiered storage.",
        low=-1,
        synonyms=("log.remote.copy.lag.bytes",),
        fixed=_TIERED,
    ),
    Setting(
        "remote.copy.lag.ms",
        Kind.LONG,
        "0",
        "How long a segment waits before it is copied to tiered storage.",
        low=-1,
        synonyms=("log.remote.copy.lag.ms",),
        fixed=_TIERED,
    ),
    Setting(
        "remote.log.copy.disable",
        Kind.BOOLEAN,
        "false",
        "Whether tiered data becomes read-only.",
        fixed=_TIERED,
    ),
    Setting(
        "remote.log.delete.on.disable",
        Kind.BOOLEAN,
        "false",
        "Whether tiered data is deleted when tiering is switched off.",
        fixed=_TIERED,
    ),
    Setting(
        "remote.storage.enable",
        Kind.BOOLEAN,
        "false",
        "Whether old segments move to tiered storage.",
        fixed=_TIERED,
    ),
    Setting(
        "retention.bytes",
        Kind.LONG,
        "-1",
        "The size above which a partition's oldest segments are deleted; negative: no bound.",
        synonyms=("log.retention.bytes",),
    ),
    Setting(
        "retention.ms",
        Kind.LONG,
        "604800000",
        "The age above which segments are deleted; -1: no bound.",
        low=-1,
        synonyms=("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    ),
    Setting(
        "segment.bytes",
        Kind.INT,
        "1073741824",
        "The size at which a log starts its next segment.",
        low=1 << 20,
        high=INT32_MAX,
        synonyms=("log.segment.bytes",),
    ),
    Setting(
        "segment.index.bytes",
        Kind.INT,
        "10485760",
        "The largest an index may grow; a full one starts the next segment.",
        low=4,
        synonyms=("log.index.size.max.bytes",),
    ),
    Setting(
        "segment.jitter.ms",
        Kind.LONG,
        "0",
        "By how much segment.ms is shortened at random.",
        low=0,
        synonyms=("log.roll.jitter.ms", "log.roll.jitter.hours"),
        fixed="this broker starts segments without jitter",
    ),
    Setting(
        "segment.ms",
        Kind.LONG,
        "604800000",
        "The age at which a log starts its next segment, even if it is not full.",
        low=1,
        synonyms=("log.roll.ms", "log.roll.hours"),
    ),
    Setting(
        "unclean.leader.election.enable",
        Kind.BOOLEAN,
        "false",
        "Whether a replica that is not in sync may lead when no other can; with one replica there is no other.",
        synonyms=("unclean.leader.election.enable",),
    ),
)


def check_together(own: Mapping[str, str], effective: Mapping[str, str]) -> None:
    """Check settings that depend on each other.

    own: what the topic itself sets; effective: that and all defaults. Both canonical.
    Raises: ConfigError for what cannot hold together.
    """
    least, most = effective["min.compaction.lag.ms"], effective["max.compaction.lag.ms"]
    if int(least) > int(most):
        why = (
            f"conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )
        raise ConfigError("min.compaction.lag.ms", least, why)
    for name in ("flush.messages", "flush.ms"):
        if own.get("flush") == "os" and own.get(name, NEVER) != NEVER:
            why = f"flush=os leaves records unsynced without bound; remove {name}, or set flush=fsync"
            raise ConfigError(name, own[name], why)


def policies(text: str) -> tuple[bool, bool]:
    """Return (deletes, compacts) of a cleanup.policy."""
    parts = entries(text)
    return "delete" in parts, "compact" in parts
