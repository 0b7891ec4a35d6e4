"""Which layer's value holds, for a topic and for its log."""

import pytest

from rafka.core.config.resolve import (
    DEFAULT,
    DYNAMIC_ALL_BROKERS,
    DYNAMIC_BROKER,
    STATIC,
    TOPIC,
    Layers,
    log_config,
    topic_origins,
    topic_value,
)
from rafka.core.config.topic import NEVER, TOPIC_SETTINGS, check_together, policies
from rafka.core.errors import ConfigError

RETENTION = TOPIC_SETTINGS["retention.ms"]


def layers(this_broker=None, all_brokers=None, static=None):
    return Layers(this_broker or {}, all_brokers or {}, static or {})


def test_the_nearest_layer_holds():
    name = "log.retention.ms"
    every = {"this_broker": {name: "2"}, "all_brokers": {name: "3"}, "static": {name: "4"}}
    assert topic_value(RETENTION, {"retention.ms": "1"}, layers(**every)) == ("1", TOPIC)
    expected = [("2", DYNAMIC_BROKER), ("3", DYNAMIC_ALL_BROKERS), ("4", STATIC)]
    for layer, value in zip(list(every), expected, strict=True):
        assert topic_value(RETENTION, {}, layers(**every)) == value
        del every[layer]
    assert topic_value(RETENTION, {}, layers()) == ("604800000", DEFAULT)


def test_milliseconds_go_before_minutes_before_hours_whatever_the_layer():
    both = layers(this_broker={"log.retention.hours": "1"}, static={"log.retention.minutes": "5"})
    assert topic_value(RETENTION, {}, both) == ("300000", STATIC)
    assert topic_value(RETENTION, {}, layers(static={"log.retention.hours": "-1"})) == ("-1", STATIC)


def test_every_layers_value_is_a_synonym_the_one_that_holds_first():
    found = topic_origins(
        RETENTION, {"retention.ms": "1"}, layers(static={"log.retention.hours": "2", "log.retention.ms": "3"})
    )
    assert [(o.name, o.value, o.source) for o in found] == [
        ("retention.ms", "1", TOPIC),
        ("log.retention.ms", "3", STATIC),
        ("log.retention.hours", "2", STATIC),
        ("log.retention.hours", "168", DEFAULT),
    ]


@pytest.mark.parametrize(
    ("own", "static", "syncs"),
    [
        ({}, {}, True),
        ({}, {"flush": "os"}, False),
        ({"flush": "fsync"}, {"flush": "os"}, True),
        ({"flush": "os"}, {}, False),
        ({"flush": "os"}, {"log.flush.interval.messages": "1"}, False),
        ({"flush.messages": "1000"}, {"flush": "os"}, True),
        ({"flush.ms": "5"}, {"flush": "os"}, True),
        ({"flush.ms": NEVER}, {"flush": "os"}, False),
    ],
)
def test_any_bound_on_what_lies_unsynced_is_kept_by_syncing(own, static, syncs):
    assert log_config(own, layers(static=static)).flush_fsync is syncs


def test_a_log_obeys_what_its_topic_says():
    own = {"cleanup.policy": "compact,delete", "segment.bytes": "2097152", "retention.bytes": "-7"}
    config = log_config(own, layers())
    assert (config.cleanup_compact, config.cleanup_delete) == (True, True)
    assert (config.segment_bytes, config.retention_bytes) == (2097152, -1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delete", (True, False)),
        ("compact", (False, True)),
        ("compact,delete", (True, True)),
        ("", (False, False)),
    ],
)
def test_policies(text, expected):
    assert policies(text) == expected


def test_settings_that_contradict_each_other():
    effective = {"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4"}
    with pytest.raises(ConfigError):
        check_together({}, effective)
    fine = effective | {"max.compaction.lag.ms": "5"}
    check_together({"flush": "os"}, fine)
    with pytest.raises(ConfigError):
        check_together({"flush": "os", "flush.ms": "1"}, fine)
