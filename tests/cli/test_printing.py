import json

import pytest

from rafka.cli.printing import Printer, iso
from rafka.core.record.builder import Record

SHOWN = {
    "is_json": False,
    "is_base64": False,
    "places": False,
    "timestamps": False,
    "headers": False,
    "keys": False,
}
FULL = Record(key=b"k", value=b"v", headers=(("a", b"1"), ("b", None)), timestamp=1_500, offset=7)


def printed(record, **shown):
    return Printer(**SHOWN | shown).lines(3, [record])


def test_a_line_is_the_value_unless_more_is_asked_for():
    assert printed(FULL) == b"v\n"
    everything = dict.fromkeys(("places", "timestamps", "headers", "keys"), True)
    assert printed(FULL, **everything) == b"3:7\t1970-01-01T00:00:01.500Z\ta=1,b=\tk\tv\n"


def test_bytes_that_are_no_text_come_out_as_they_are_or_as_base64():
    raw = Record(key=None, value=b"\xff\n", timestamp=0)
    assert printed(raw) == b"\xff\n\n"
    assert printed(raw, is_base64=True) == b"/wo=\n"
    assert json.loads(printed(raw, is_json=True))["value"] == "\\xff\n"
    assert json.loads(printed(raw, is_json=True, is_base64=True))["value"] == "/wo="


def test_json_tells_null_from_empty():
    values = [
        json.loads(printed(Record(key=None, value=value, timestamp=0), is_json=True))["value"]
        for value in (None, b"")
    ]
    assert values == [None, ""]


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        (None, ""),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1 << 62, str(1 << 62)),
    ],
)
def test_a_timestamp_is_a_time_in_utc_or_what_no_calendar_has(timestamp, text):
    assert iso(timestamp) == text
