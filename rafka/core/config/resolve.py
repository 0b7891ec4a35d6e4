"""Where a value comes from: the topic, the running broker, all brokers, the file the broker started with, or nobody.

    1 topic, 2 this broker while running, 3 all brokers while running, 4 static (file, command line), 5 default

For a topic setting with several broker synonyms the order of the synonyms comes before the order of the layers:
log.retention.ms from any layer wins over log.retention.hours from any.

Sources: `ConfigEntry.ConfigSource`, `ConfigHelper` and `ServerTopicConfigSynonyms` of Kafka 4.4.
"""

from collections.abc import Mapping

from rafka.core.config.broker import BROKER_SETTINGS
from rafka.core.config.log import LogConfig
from rafka.core.config.setting import Setting
from rafka.core.config.topic import NEVER, TOPIC_SETTINGS, policies
from rafka.core.shape import value

TOPIC = 1
DYNAMIC_BROKER = 2
DYNAMIC_ALL_BROKERS = 3
STATIC = 4
DEFAULT = 5

_MS_PER_UNIT = {
    "log.retention.minutes": 60_000,
    "log.retention.hours": 3_600_000,
    "log.roll.hours": 3_600_000,
}


@value
class Layers:
    """The broker's settings by layer; all values canonical."""

    this_broker: Mapping[str, str]
    all_brokers: Mapping[str, str]
    static: Mapping[str, str]


@value
class Origin:
    """One value that a setting would have by one layer. name: of the setting there; source: the layer's number."""

    name: str
    value: str
    source: int


def broker_origins(setting: Setting, layers: Layers) -> list[Origin]:
    """Return every value of a broker setting, the one that holds first."""
    name = setting.name
    found = [
        Origin(name, layer[name], source)
        for source, layer in (
            (DYNAMIC_BROKER, layers.this_broker),
            (DYNAMIC_ALL_BROKERS, layers.all_brokers),
            (STATIC, layers.static),
        )
        if name in layer
    ]
    if setting.default is not None:
        found.append(Origin(name, setting.default, DEFAULT))
    return found


def topic_origins(setting: Setting, own: Mapping[str, str], layers: Layers) -> list[Origin]:
    """Return every value of a topic setting, the one that holds first; own: what the topic sets itself."""
    found = [Origin(setting.name, own[setting.name], TOPIC)] if setting.name in own else []
    defaults: list[Origin] = []
    for synonym in setting.synonyms:
        for origin in broker_origins(BROKER_SETTINGS[synonym], layers):
            (defaults if origin.source == DEFAULT else found).append(origin)
    return found + defaults[:1]


def in_topic_units(origin: Origin) -> str:
    """Return an origin's value in the unit of the topic setting: hours and minutes as milliseconds."""
    factor = _MS_PER_UNIT.get(origin.name)
    return origin.value if factor is None else str(max(int(origin.value) * factor, -1))


def topic_value(setting: Setting, own: Mapping[str, str], layers: Layers) -> tuple[str, int]:
    """Return the value of a topic setting that holds, and its source."""
    origins = topic_origins(setting, own, layers)
    if origins and origins[0].source != DEFAULT:
        return in_topic_units(origins[0]), origins[0].source
    assert setting.default is not None, "a topic setting always has a value"
    return setting.default, DEFAULT


def effective(own: Mapping[str, str], layers: Layers) -> dict[str, str]:
    """Return the values of all topic settings that hold for a topic."""
    return {name: topic_value(setting, own, layers)[0] for name, setting in TOPIC_SETTINGS.items()}


def syncs(own: Mapping[str, str], values: Mapping[str, str]) -> bool:
    """Whether a batch must be synced before it is acknowledged; see `topic.py` for the rule."""
    if "flush" in own:
        return own["flush"] == "fsync"
    bounded = values["flush.messages"] != NEVER or values["flush.ms"] != NEVER
    return bounded or values["flush"] == "fsync"


def log_config(own: Mapping[str, str], layers: Layers) -> LogConfig:
    """Return what a topic's logs obey; own: what the topic sets itself."""
    values = effective(own, layers)
    deletes, compacts = policies(values["cleanup.policy"])

    def number(name: str) -> int:
        return int(values[name])

    return LogConfig(
        flush_fsync=syncs(own, values),
        segment_bytes=number("segment.bytes"),
        segment_ms=number("segment.ms"),
        segment_index_bytes=number("segment.index.bytes"),
        index_interval_bytes=number("index.interval.bytes"),
        retention_ms=number("retention.ms"),
        retention_bytes=max(number("retention.bytes"), -1),
        cleanup_delete=deletes,
        cleanup_compact=compacts,
        delete_retention_ms=number("delete.retention.ms"),
        min_compaction_lag_ms=number("min.compaction.lag.ms"),
        max_compaction_lag_ms=number("max.compaction.lag.ms"),
        min_cleanable_dirty_ratio=float(values["min.cleanable.dirty.ratio"]),
        file_delete_delay_ms=number("file.delete.delay.ms"),
        max_message_bytes=number("max.message.bytes"),
        compression_type=values["compression.type"],
        compression_gzip_level=number("compression.gzip.level"),
        compression_lz4_level=number("compression.lz4.level"),
        compression_zstd_level=number("compression.zstd.level"),
        message_timestamp_type=values["message.timestamp.type"],
        message_timestamp_before_max_ms=number("message.timestamp.before.max.ms"),
        message_timestamp_after_max_ms=number("message.timestamp.after.max.ms"),
        min_insync_replicas=number("min.insync.replicas"),
    )
