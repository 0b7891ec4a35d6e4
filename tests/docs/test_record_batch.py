"""The page of the record batch is true: its bytes are a batch, and every line says what the reader finds there."""

from pathlib import Path

from rafka.core.record.batch import HEADER_BYTES, Header, check
from rafka.core.record.builder import Record, records_of
from rafka.core.record.varint import read_varint

PAGE = Path(__file__).parents[2] / "docs" / "protocol" / "record-batch.md"
TEXTS = ("key", "value", "header_key")


def lines() -> list[tuple[bytes, str, str]]:
    """Bytes, field and value of each line of the annotated block."""
    block = PAGE.read_text("utf-8").split("```text\n")[1].split("```")[0]
    found = []
    for line in block.splitlines():
        *digits, field, shown = line.split()
        found.append((bytes.fromhex("".join(digits)), field, shown))
    return found


def test_the_bytes_are_a_batch_that_the_reader_takes() -> None:
    batch = b"".join(part for part, _, _ in lines())
    header = check(memoryview(batch))
    assert header.size_bytes == len(batch)
    first, second = records_of(batch)
    assert first == Record(b"k", b"hello", (("h", b"\x01"),), 1_700_000_000_000, 41)
    assert second == Record(None, None, (), 1_700_000_000_000, 42)


def test_every_line_of_the_header_says_what_is_read_there() -> None:
    annotated = lines()
    header = Header(b"".join(part for part, _, _ in annotated))
    at = 0
    for part, field, shown in annotated:
        if at == HEADER_BYTES:
            break
        assert getattr(header, field) == int(shown), field
        at += len(part)
    assert at == HEADER_BYTES


def test_every_line_of_the_records_says_what_is_read_there() -> None:
    at = 0
    for part, field, shown in lines():
        at += len(part)
        if at <= HEADER_BYTES:
            continue
        if field in TEXTS:
            assert part == shown.encode()
        elif field == "header_value":
            assert part[0] == int(shown, 16)
        elif field == "record_attributes":
            assert part[0] == int(shown)
        else:
            assert read_varint(part, 0) == (int(shown), len(part)), field


def test_the_table_places_every_field() -> None:
    rows = [
        line.split("|")
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| ") and "int" in line
    ]
    at = 0
    for row in rows:
        place, field, kind = (cell.strip() for cell in row[1:4])
        if not place.isdigit():
            continue
        assert int(place) == at, field
        assert hasattr(Header(bytes(HEADER_BYTES)), field)
        at += int(kind.removeprefix("u").removeprefix("int")) // 8
    assert at == HEADER_BYTES
