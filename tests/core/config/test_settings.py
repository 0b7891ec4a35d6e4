"""What an operator may write: read, checked as a whole, and every name of Kafka's obeyed, refused or warned about."""

import pytest

from rafka.core.config.broker import BROKER_SETTINGS
from rafka.core.config.setting import INT32_MAX, INT64_MAX, Kind, Setting
from rafka.core.config.settings import Listener, Settings
from rafka.core.config.topic import TOPIC_SETTINGS
from rafka.core.config.unserved import unserved
from rafka.core.errors import ConfigError

OF_KAFKA = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
]
"""The topic settings on Kafka's documentation page."""


def refused(**pairs):
    with pytest.raises(ConfigError) as error:
        Settings.from_pairs({name.replace("_", "."): text for name, text in pairs.items()})
    return error.value


# ---- one setting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "canonical", "typed"),
    [
        (Kind.INT, " +007 ", "7", 7),
        (Kind.LONG, "-9223372036854775808", "-9223372036854775808", -INT64_MAX - 1),
        (Kind.SHORT, "32767", "32767", 32767),
        (Kind.DOUBLE, " .5", "0.5", 0.5),
        (Kind.BOOLEAN, "TRUE", "true", True),
        (Kind.STRING, " text ", "text", "text"),
        (Kind.LIST, "a, b,,a", "a,b", ("a", "b")),
        (Kind.LIST, "", "", ()),
    ],
)
def test_text_is_read_to_one_canonical_form(kind, text, canonical, typed):
    setting = Setting("s", kind, None, "")
    assert setting.parse(text) == canonical
    assert setting.parse(canonical) == canonical
    assert setting.typed(canonical) == typed


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.INT, ""), (Kind.INT, "1.0"), (Kind.INT, "1_0"), (Kind.INT, "٣"), (Kind.INT, str(INT32_MAX + 1)),
        (Kind.SHORT, "32768"), (Kind.LONG, str(INT64_MAX + 1)), (Kind.LONG, "9" * 40), (Kind.DOUBLE, "nan"),
        (Kind.DOUBLE, "inf"), (Kind.DOUBLE, "1_0"), (Kind.BOOLEAN, "yes"), (Kind.BOOLEAN, ""),
    ],
)  # fmt: skip
def test_text_of_another_kind_is_refused(kind, text):
    with pytest.raises(ConfigError):
        Setting("s", kind, None, "").parse(text)


def test_bounds_include_their_ends():
    setting = Setting("s", Kind.INT, "1", "", low=1, high=3)
    assert [setting.parse(text) for text in "123"] == ["1", "2", "3"]
    for text in "04":
        with pytest.raises(ConfigError):
            setting.parse(text)


def test_a_fixed_setting_takes_its_default_and_says_why_it_takes_no_other():
    setting = Setting("s", Kind.BOOLEAN, "false", "", fixed="there is no such thing here")
    assert setting.parse("FALSE") == "false"
    with pytest.raises(ConfigError) as error:
        setting.parse("true")
    assert error.value.why == "there is no such thing here"


# ---- the tables --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_KAFKA)
def test_every_topic_setting_that_kafka_documents_is_in_the_table(name):
    setting = TOPIC_SETTINGS[name]
    assert setting.text
    assert setting.parse(setting.default) == setting.default


@pytest.mark.parametrize("name", [*TOPIC_SETTINGS, *BROKER_SETTINGS])
def test_every_default_is_canonical_and_within_its_bounds(name):
    for table in (TOPIC_SETTINGS, BROKER_SETTINGS):
        setting = table.get(name)
        if setting is not None and setting.default is not None:
            assert setting.parse(setting.default) == setting.default


def test_a_topics_synonyms_are_broker_settings():
    for setting in TOPIC_SETTINGS.values():
        assert all(name in BROKER_SETTINGS for name in setting.synonyms)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("cleanup.policy", "burn"),
        ("compression.type", "brotli"),
        ("compression.gzip.level", "0"),
        ("compression.gzip.level", "10"),
        ("compression.lz4.level", "18"),
        ("compression.zstd.level", "23"),
        ("message.timestamp.type", "logappendtime"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.insync.replicas", "0"),
        ("retention.ms", "-2"),
        ("segment.bytes", "1000"),
        ("flush", "never"),
        ("preallocate", "true"),
        ("remote.storage.enable", "true"),
    ],
)
def test_topic_values_that_cannot_be(name, bad):
    with pytest.raises(ConfigError):
        TOPIC_SETTINGS[name].parse(bad)


# ---- all together ------------------------------------------------------------------------------


def test_what_is_not_written_is_the_default():
    settings = Settings.from_pairs({})
    assert settings.listeners == (Listener("PLAINTEXT", "127.0.0.1", 9092),)
    assert (settings.num_partitions, settings.flush, settings.given) == (1, "fsync", {})
    assert settings.log_config().flush_fsync


def test_written_settings_become_typed_fields_and_given_text():
    settings = Settings.from_pairs({"num.partitions": " 3", "broker.id": "7", "log.retention.hours": "2"})
    assert (settings.num_partitions, settings.node_id) == (3, 7)
    assert settings.given == {"num.partitions": "3", "node.id": "7", "log.retention.hours": "2"}
    assert settings.log_config().retention_ms == 2 * 3_600_000


def test_an_unknown_name_suggests_the_nearest():
    assert refused(num_partition="1").hint == "did you mean num.partitions?"
    assert "log.retention.ms" in refused(retention_ms="1").hint
    assert refused(xyzzy="1").hint == ""


def test_what_kafka_has_and_this_broker_has_not_is_refused_or_does_nothing():
    assert "TLS" in refused(ssl_keystore_location="/k").why
    assert "remove" in refused(queued_max_request_bytes="5").hint
    assert Settings.from_pairs({"queued.max.request.bytes": "-1"}).warnings == ()
    (warning,) = Settings.from_pairs({"num.io.threads": "8"}).warnings
    assert warning.startswith("num.io.threads does nothing")


def test_no_setting_is_both_obeyed_and_not():
    assert [name for name in BROKER_SETTINGS if unserved(name) is not None] == []


@pytest.mark.parametrize(
    "pairs",
    [
        {"listeners": "9092"},
        {"listeners": ""},
        {"listeners": "PLAINTEXT://h:99999"},
        {"listeners": "SSL://h:1"},
        {"listeners": "A://h:1"},
        {"listeners": "PLAINTEXT://h:1,PLAINTEXT://h:2"},
        {"listeners": "PLAINTEXT://::1:9092"},
        {"advertised.listeners": "OTHER://h:1"},
        {"advertised.listeners": "PLAINTEXT://0.0.0.0:1"},
        {"log.dirs": "/a,/b"},
        {"node.id": "1", "broker.id": "2"},
        {"flush": "os", "log.flush.interval.messages": "1"},
    ],
)
def test_what_does_not_fit_together_is_refused(pairs):
    with pytest.raises(ConfigError):
        Settings.from_pairs(pairs)


def test_listeners_have_names_and_brackets():
    settings = Settings.from_pairs(
        {
            "listeners": "in://[::1]:0,PLAINTEXT://:9092",
            "listener.security.protocol.map": "IN:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        }
    )
    assert settings.listeners == (Listener("IN", "::1", 0), Listener("PLAINTEXT", "", 9092))
