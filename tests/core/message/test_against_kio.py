"""Our codecs against kio's, an independent implementation, for every message and version that kio has.

A random kio entity is written by kio. Its bytes, read by us, must be the message that the entity says; written by
us, they must be the same bytes; and kio must read the entity back from them.
"""

from __future__ import annotations

import io
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pkgutil import resolve_name
from random import Random
from types import NoneType, UnionType
from typing import Any, get_args, get_origin
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from kio.schema.index import schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import Records

from rafka.core.message import Message, decode, encode
from tests.core.message import fill

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What Kafka 4.4 calls what kio, one release behind, calls otherwise: (class, kio's name) -> ours.
RENAMED = {
    ("TxnOffsetCommitRequest", "generation_id"): "generation_id_or_member_epoch",
    ("StreamsGroupHeartbeatResponse", "acceptable_recovery_lag"): "acceptable_recovery_lag_legacy",
}

# kio's entities by the name of our class: version -> path of the entity
ENTITIES: dict[str, dict[int, str]] = {}
for _versions in schema_name_map.values():
    for _version, _kinds in _versions.items():
        for _path in _kinds.values():
            ENTITIES.setdefault(_path.partition(":")[2], {})[int(_version)] = _path
OURS = {cls.__name__: cls for cls in fill.classes()}


@cache
def entity_class(path: str) -> Any:
    return resolve_name(path)


@cache
def shape(entity: Any) -> tuple[tuple[str, Any, str, bool], ...]:
    """Name, type, Kafka type and whether it may be left out, of each field of an entity."""
    return tuple(
        (f.name, f.type, f.metadata.get("kafka_type", ""), "tag" in f.metadata and f.default is not MISSING)
        for f in fields(entity)
    )


def entity(cls: Any, random: Random, depth: int = 0) -> Any:
    """A random entity; a tagged field with a default is left at it half the time."""
    return cls(
        **{
            name: of_type(kind, kafka, random, depth)
            for name, kind, kafka, optional in shape(cls)
            if not (optional and random.random() < 0.5)
        }
    )


def of_type(kind: Any, kafka: str, random: Random, depth: int) -> Any:
    if get_origin(kind) is UnionType:
        some = next(arg for arg in get_args(kind) if arg is not NoneType)
        return None if random.random() < 0.25 else of_type(some, kafka, random, depth)
    if get_origin(kind) is tuple:
        count = random.choice((0, 1, 2, 9)) if depth < 2 else random.choice((0, 1, 2))
        return tuple(of_type(get_args(kind)[0], kafka, random, depth) for _ in range(count))
    if is_dataclass(kind):
        return entity(kind, random, depth + 1)
    if kafka == "error_code":
        return random.choice(list(ErrorCode))
    if kafka == "timedelta_i32":
        return timedelta(milliseconds=fill.integer(random, 32))
    if kafka == "timedelta_i64":
        return timedelta(milliseconds=fill.integer(random, 40))
    if kafka == "datetime_i64":
        return EPOCH + timedelta(seconds=random.choice((0, 1, 1_700_000_000)))
    if kafka == "uuid":
        return UUID(bytes=random.randbytes(16))
    if kafka == "records":
        return Records(fill.value("records", random))
    return fill.value(kafka, random)


def plain(value: Any, kind: str) -> Any:
    """A kio primitive as ours."""
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, ErrorCode):
        return value.value
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if value is None and kind == "uuid":
        return bytes(16)
    if value is None and kind == "int64":
        return -1
    return value


def ours(cls: type[Message], theirs: Any) -> Message:
    """What an entity says, as our message."""
    said = {
        RENAMED.get((cls.__name__, name), name).rstrip("_"): getattr(theirs, name)
        for name, *_ in shape(type(theirs))
    }
    values: dict[str, object] = {}
    for name, kind, struct, *_ in cls.SCHEMA:
        theirs_name = next((n for n in (name.rstrip("_"), name.removesuffix("_ms")) if n in said), None)
        if theirs_name is None:
            continue
        value = said.pop(theirs_name)

        def one(item: Any, kind: str = kind, struct: type[Message] | None = struct) -> Any:
            return plain(item, kind) if struct is None or item is None else ours(struct, item)

        values[name] = (
            [one(item, kind.removeprefix("[]")) for item in value] if isinstance(value, tuple) else one(value)
        )
    assert not said, f"fields that {cls.__name__} lacks: {sorted(said)}"
    return cls(**values)


def write(theirs: Any) -> bytes:
    buffer = io.BytesIO()
    entity_writer(type(theirs))(buffer, theirs)
    return buffer.getvalue()


def test_kio_has_no_message_that_we_lack() -> None:
    assert sorted(set(ENTITIES) - set(OURS)) == []
    assert {
        n: sorted(set(v) - set(OURS[n].VERSIONS))
        for n, v in ENTITIES.items()
        if set(v) - set(OURS[n].VERSIONS)
    } == {}


@pytest.mark.parametrize("name", sorted(ENTITIES))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_every_version_says_the_same_bytes_as_kio(name: str, seed: int) -> None:
    random = Random(seed)
    for version, path in ENTITIES[name].items():
        theirs = entity(entity_class(path), random)
        data = write(theirs)
        message = ours(OURS[name], theirs)
        assert decode(OURS[name], version, data) == message
        assert decode(OURS[name], version, memoryview(data)) == message
        assert encode(message, version) == data
        back, size = entity_reader(type(theirs))(data, 0)
        assert (back, size) == (theirs, len(data))
