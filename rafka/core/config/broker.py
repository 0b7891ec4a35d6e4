"""Every broker setting that this broker obeys, under Kafka's name.

Those that only give topics their defaults are made from the topic's own rows, so kind and bounds stand once. The
defaults are Kafka's but where one node is meant: the offsets topic has one replica, and a new group does not
wait three seconds for members that will not come.

Sources: `SocketServerConfigs`, `ServerLogConfigs`, `CleanerConfig` and `GroupCoordinatorConfig` of Kafka 4.4.
"""

from rafka.core.config.cordoned import CORDONED
from rafka.core.config.setting import INT32_MAX, Kind, Setting, table
from rafka.core.config.topic import TOPIC_SETTINGS

PER_BROKER = (CORDONED,)
"""What can be altered for one broker, and not for all of them."""

_HOURS = "in hours; the setting in ms goes first"
_OWN_DEFAULTS: dict[str, tuple[Kind, str | None, int | None, str]] = {
    "log.retention.ms": (Kind.LONG, None, -1, "How long topics keep records that do not say so themselves."),
    "log.retention.minutes": (Kind.INT, None, -1, "The same in minutes; the setting in ms goes first."),
    "log.retention.hours": (Kind.INT, "168", -1, f"The same {_HOURS}."),
    "log.roll.ms": (Kind.LONG, None, 1, "The age at which a log starts its next segment."),
    "log.roll.hours": (Kind.INT, "168", 1, f"The same {_HOURS}."),
    "log.roll.jitter.ms": (Kind.LONG, None, 0, "By how much log.roll.ms is shortened at random."),
    "log.roll.jitter.hours": (Kind.INT, "0", 0, f"The same {_HOURS}."),
    "log.flush.interval.ms": (
        Kind.LONG,
        None,
        0,
        "Records may lie unsynced at most so long; obeyed as flush=fsync.",
    ),
}
_STATIC = ("log.retention.minutes", "log.retention.hours", "log.roll.hours", "log.roll.jitter.hours")


def _address(text: str) -> str | None:
    host, colon, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and int(port) < 1 << 16
    is_whole = colon and host and (":" not in host or (host.startswith("[") and host.endswith("]")))
    return None if is_port and is_whole else "is not host:port"


def _topic_default(topic: Setting, name: str) -> Setting:
    kind, default, low, text = _OWN_DEFAULTS.get(name, (topic.kind, topic.default, topic.low, topic.text))
    # A fixed row is compared with its default; where that is unset, zero is what happens anyway.
    return Setting(
        name,
        kind,
        "0" if topic.fixed and default is None else default,
        text,
        low=low,
        high=topic.high,
        choices=topic.choices,
        check=topic.check,
        fixed=topic.fixed,
        dynamic=name not in _STATIC,
    )


BROKER_SETTINGS: dict[str, Setting] = table(
    *(_topic_default(topic, name) for topic in TOPIC_SETTINGS.values() for name in topic.synonyms),
    Setting("node.id", Kind.INT, "1", "This node's number in the cluster.", low=0, high=INT32_MAX),
    Setting("broker.rack", Kind.STRING, None, "Where this broker stands; told to clients."),
    Setting(
        "listeners",
        Kind.LIST,
        "PLAINTEXT://127.0.0.1:9092",
        "Where connections are accepted; port 0: a free one.",
    ),
    Setting(
        "advertised.listeners",
        Kind.LIST,
        None,
        "What clients are told to dial; unset: the address that the client dialled already.",
    ),
    Setting(
        "listener.security.protocol.map",
        Kind.STRING,
        "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        "Which protocol a listener's name stands for.",
    ),
    Setting("log.dirs", Kind.LIST, None, "The data directory."),
    Setting(
        CORDONED,
        Kind.LIST,
        "",
        "The data directories that get no new partitions, or * for all; what is in them goes on.",
        dynamic=True,
    ),
    Setting("num.partitions", Kind.INT, "1", "How many partitions a topic gets that does not say.", low=1),
    Setting("auto.create.topics.enable", Kind.BOOLEAN, "true", "Whether naming a missing topic creates it."),
    Setting(
        "default.replication.factor",
        Kind.INT,
        "1",
        "How many replicas a topic gets that does not say.",
        low=1,
    ),
    Setting("delete.topic.enable", Kind.BOOLEAN, "true", "Whether topics can be deleted."),
    Setting("fetch.max.bytes", Kind.INT, "57671680", "The most one fetch is answered with.", low=1024),
    Setting(
        "max.incremental.fetch.session.cache.slots",
        Kind.INT,
        "1000",
        "How many fetch sessions are kept.",
        low=0,
    ),
    Setting(
        "max.request.partition.size.limit",
        Kind.INT,
        "2000",
        "How many partitions one answer to DescribeTopicPartitions holds.",
        low=1,
    ),
    Setting("socket.request.max.bytes", Kind.INT, "104857600", "The largest request that is read.", low=1),
    Setting("max.connections", Kind.INT, str(INT32_MAX), "How many connections are served at once.", low=0),
    Setting(
        "max.connections.per.ip", Kind.INT, str(INT32_MAX), "How many of them one address may have.", low=0
    ),
    Setting(
        "connections.max.idle.ms",
        Kind.LONG,
        "600000",
        "A connection is closed after so long without a request.",
    ),
    Setting(
        "log.retention.check.interval.ms", Kind.LONG, "300000", "How often retention is looked at.", low=1
    ),
    Setting(
        "log.cleaner.backoff.ms",
        Kind.LONG,
        "15000",
        "How long compaction rests when nothing is dirty.",
        low=0,
    ),
    Setting(
        "log.cleaner.dedupe.buffer.size",
        Kind.LONG,
        "134217728",
        "What compaction may hold in memory of the keys of one log, in bytes; the rest is left to the next round.",
        low=1 << 20,
    ),
    Setting("producer.id.expiration.ms", Kind.INT, "86400000", "When an idle producer is forgotten.", low=1),
    Setting("offset.metadata.max.bytes", Kind.INT, "4096", "The largest text a committed offset may carry."),
    Setting(
        "offsets.retention.minutes", Kind.INT, "10080", "How long an empty group's offsets are kept.", low=1
    ),
    Setting(
        "offsets.retention.check.interval.ms",
        Kind.LONG,
        "600000",
        "How often offsets are looked at for that.",
        low=1,
    ),
    Setting("offsets.topic.num.partitions", Kind.INT, "50", "The partitions of __consumer_offsets.", low=1),
    Setting(
        "offsets.topic.replication.factor", Kind.SHORT, "1", "The replicas of __consumer_offsets.", low=1
    ),
    Setting(
        "offsets.topic.segment.bytes",
        Kind.INT,
        "104857600",
        "The segment size of __consumer_offsets.",
        low=1 << 20,
    ),
    Setting(
        "group.initial.rebalance.delay.ms",
        Kind.INT,
        "0",
        "How long a new group waits for further members.",
        low=0,
    ),
    Setting(
        "group.min.session.timeout.ms", Kind.INT, "6000", "The shortest session a member may ask for.", low=0
    ),
    Setting(
        "group.max.session.timeout.ms",
        Kind.INT,
        "1800000",
        "The longest session a member may ask for.",
        low=0,
    ),
    Setting(
        "metrics.listen",
        Kind.STRING,
        None,
        "Where metrics and health are served over HTTP, as host:port; unset: nowhere. Rafka's own.",
        check=_address,
    ),
    Setting(
        "metrics.topics.max",
        Kind.INT,
        "200",
        "How many topics have metrics of their own; all others share those labelled (other). Rafka's own.",
        low=0,
        high=10_000,
    ),
    Setting("group.max.size", Kind.INT, str(INT32_MAX), "The most members a group may have.", low=1),
)
"""By name; a topic's defaults first."""
