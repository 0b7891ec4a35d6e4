"""How records are printed: as the bytes they are, one a line, or as JSON objects.

On a line stand, when asked for and separated by tabs: partition:offset, timestamp, headers, key; then always
the value. Null is empty there; JSON tells the difference. Bytes that are no UTF-8 are backslash escapes in
JSON; base64 keeps everything exactly, in both forms, and cannot contain a tab or the end of a line.
"""

import json
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime

from rafka.core.record.builder import Record


class Printer:
    """Turns records into what is printed.

    places, timestamps, headers, keys: what is shown besides values; is_json: show everything, as JSON.
    """

    def __init__(
        self, *, is_json: bool, is_base64: bool, places: bool, timestamps: bool, headers: bool, keys: bool
    ) -> None:
        self.is_json = is_json
        self.is_base64 = is_base64
        self.places = places
        self.timestamps = timestamps
        self.headers = headers
        self.keys = keys

    def lines(self, partition: int, records: Iterable[Record]) -> bytes:
        """Return the lines of some records of a partition."""
        line = self.as_json if self.is_json else self.as_line
        return b"".join(line(partition, record) + b"\n" for record in records)

    def as_line(self, partition: int, record: Record) -> bytes:
        """Return a record as a line, without its end."""
        columns: list[bytes] = []
        if self.places:
            columns.append(b"%d:%d" % (partition, record.offset))
        if self.timestamps:
            columns.append(iso(record.timestamp).encode())
        if self.headers:
            pairs = (name.encode() + b"=" + self.raw(value) for name, value in record.headers)
            columns.append(b",".join(pairs))
        if self.keys:
            columns.append(self.raw(record.key))
        columns.append(self.raw(record.value))
        return b"\t".join(columns)

    def as_json(self, partition: int, record: Record) -> bytes:
        """Return a record as a JSON object, on one line."""
        fields = {
            "partition": partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": self.text(record.key),
            "value": self.text(record.value),
            "headers": [[name, self.text(value)] for name, value in record.headers],
        }
        return json.dumps(fields).encode()

    def raw(self, data: bytes | None) -> bytes:
        """Return bytes for a line."""
        return b64encode(data or b"") if self.is_base64 else data or b""

    def text(self, data: bytes | None) -> str | None:
        """Return bytes as text for JSON; null stays null."""
        if data is None:
            return None
        return b64encode(data).decode() if self.is_base64 else data.decode("utf-8", "backslashreplace")


def iso(timestamp: int | None) -> str:
    """Write ms since 1970 as an ISO 8601 time in UTC; what no calendar has, as the number."""
    if timestamp is None:
        return ""
    try:
        moment = datetime.fromtimestamp(timestamp // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp % 1000:03d}Z"
