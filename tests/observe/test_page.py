"""A page of metrics: what Prometheus's own parsers make of it, and the rules for names."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from rafka.observe.catalogue import CATALOGUE, COUNTER, GAUGE, HISTOGRAM, Metric
from rafka.observe.page import OPENMETRICS, PROMETHEUS, Page, wants_openmetrics

COUNT = Metric("a_b_total", COUNTER, "What \\ is\ncounted.", ("topic", "codec"))
SIZES = Metric("sizes_bytes", HISTOGRAM, "How large.", ("topic",))
LEVEL = Metric("level", GAUGE, "How high.")
READERS = {False: read_prometheus, True: read_openmetrics}


def page(*, openmetrics, label="x"):
    made = Page(openmetrics=openmetrics)
    made.begin(COUNT)
    made.sample(3, label, "gzip")
    made.one(LEVEL, 0.5)
    made.begin(SIZES)
    made.histogram(Counter({0: 1, 3: 2, 9: 1}), 200, [(2, "3.0"), (3, "7.0"), (8, "255.0")], label)
    return made


@pytest.mark.parametrize("openmetrics", [False, True])
def test_prometheus_reads_what_was_written(openmetrics):
    count, level, sizes = READERS[openmetrics](page(openmetrics=openmetrics).text().decode())
    assert (count.name, count.type, count.documentation) == ("a_b", "counter", "What \\ is\ncounted.")
    assert [(s.name, s.labels, s.value) for s in count.samples] == [
        ("a_b_total", {"topic": "x", "codec": "gzip"}, 3)
    ]
    assert [(s.name, s.value) for s in level.samples] == [("level", 0.5)]
    buckets = {s.labels["le"]: s.value for s in sizes.samples if s.name == "sizes_bytes_bucket"}
    assert buckets == {"3.0": 1, "7.0": 3, "255.0": 3, "+Inf": 4}
    assert {s.name: s.value for s in sizes.samples if s.name != "sizes_bytes_bucket"} == {
        "sizes_bytes_sum": 200,
        "sizes_bytes_count": 4,
    }


@pytest.mark.parametrize("openmetrics", [False, True])
@given(label=st.text())
def test_any_text_can_be_a_label(openmetrics, label):
    text = page(openmetrics=openmetrics, label=label).text().decode()
    count = next(iter(READERS[openmetrics](text)))
    told = count.samples[0].labels["topic"]
    assert told == label.encode("utf-8", "replace").decode()


def test_openmetrics_is_said_to_who_asks_for_it():
    prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    assert wants_openmetrics(prometheus)
    assert wants_openmetrics("application/openmetrics-text")
    for accept in ("", "*/*", "text/plain", "application/openmetrics-text; version=0.0.1"):
        assert not wants_openmetrics(accept)
    assert not wants_openmetrics("application/openmetrics-text; q=0, text/plain")
    assert (page(openmetrics=True).content_type, page(openmetrics=False).content_type) == (
        OPENMETRICS,
        PROMETHEUS,
    )


UNITS = ("seconds", "bytes", "records", "offsets", "info", "fds", "ready")
"""What a name may end in, `_total` taken off; or it is a plain plural of what is counted."""
BANNED = re.compile(r"(milli|micro|nano)|(_ms|_us|_ns|_kb|_mb|_count|_sum|_bucket)$")
LABELS = {
    "version", "python", "driver", "api", "error", "kind", "topic", "codec", "operation", "state", "group",
}  # fmt: skip
"""Each has a bounded number of values: a new one needs its bound, and a word in docs/metrics.md."""


def test_names_follow_the_rules_of_prometheus():
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        assert re.fullmatch(r"(rafka|process)_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == COUNTER), metric.name
        assert not BANNED.search(metric.name), metric.name
        assert metric.kind in (COUNTER, GAUGE, HISTOGRAM)
        base = metric.name.removesuffix("_total")
        is_plural = re.search(r"(s|(connections|topics|partitions)_[a-z_]+)$", base)
        assert base.endswith(UNITS) or is_plural, metric.name
        if metric.kind == HISTOGRAM:
            assert base.endswith(("seconds", "bytes", "records")), metric.name
        assert set(metric.labels) <= LABELS
        assert metric.text.endswith(".")
