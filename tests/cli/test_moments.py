import time

import click
import pytest

from rafka.cli.moments import read_moment


def read(text):
    return read_moment(None, None, text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (None, None),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T01:00:01.5+01:00", 1500),
        ("1970-01-02", 86_400_000),
    ],
)
def test_a_time_without_a_zone_is_utc(text, ms):
    assert read(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"), [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("7d", 604_800_000)]
)
def test_an_age_is_so_long_before_now(text, ms):
    before = time.time_ns() // 1_000_000
    moment = read(text)
    assert before - ms <= moment <= time.time_ns() // 1_000_000 - ms


@pytest.mark.parametrize("text", ["", "yesterday", "15", "m", "-1h", "15 m", "1.5h", "\u0661m", "2026-13-01"])
def test_anything_else_is_a_usage_error(text):
    with pytest.raises(click.BadParameter, match="neither a time"):
        read(text)
