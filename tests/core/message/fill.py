"""Random messages from a class's own table of fields, and the list of all message classes."""

from __future__ import annotations

import pkgutil
from random import Random

import rafka.core.api
import rafka.core.stored
from rafka.core.message import Message
from rafka.core.message.lazy import load

INTS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
CHARACTERS = "abcz-._ \x00éÜ€漢🐈"


def classes() -> list[type[Message]]:
    """Every message class, by name."""
    found = []
    for package in (rafka.core.api, rafka.core.stored):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name != "table":
                name = "".join(word.capitalize() for word in module.name.split("_"))
                found.append(load(package.__name__, name))
    return sorted(found, key=lambda cls: cls.__name__)


def within(version: int, versions: str) -> bool:
    if versions in ("", "none"):
        return False
    first, _, last = versions.removesuffix("+").partition("-")
    return int(first) <= version <= (1000 if versions.endswith("+") else int(last or first))


def integer(random: Random, bits: int) -> int:
    """An int of so many bits, often a small or an extreme one."""
    top = 1 << bits - 1
    return random.choice((-1, 0, 1, -top, top - 1, random.randrange(-top, top)))


def text(random: Random) -> str:
    length = random.choice((0, 1, 5, 20, 50, 130))
    return "".join(random.choice(CHARACTERS) for _ in range(length))


def value(kind: str, random: Random) -> object:
    """A value of a primitive type."""
    if kind in INTS:
        return integer(random, INTS[kind])
    if kind == "uint16":
        return random.choice((0, 1, 65535, 9092))
    if kind == "bool":
        return random.random() < 0.5
    if kind == "float64":
        return random.choice((0.0, 1.5, -1e300, 5e-324))
    if kind == "uuid":
        return random.choice((bytes(16), random.randbytes(16)))
    if kind in ("bytes", "records"):
        return random.randbytes(random.choice((0, 1, 30, 126, 127, 128, 300)))
    return text(random)


def message(cls: type[Message], version: int, random: Random, depth: int = 0) -> Message:
    """A message that the version can say whole: what the version lacks stays at its default."""
    flexible = version >= cls.FLEXIBLE_FROM
    fields: dict[str, object] = {}
    for name, kind, struct, versions, nullable, tagged, _, _ in cls.SCHEMA:
        is_tagged = flexible and within(version, tagged.partition(":")[2])
        if not within(version, versions) and not is_tagged:
            continue
        if is_tagged and random.random() < 0.5:
            continue
        if within(version, nullable) and random.random() < 0.25:
            fields[name] = None
            continue
        count = random.choice((0, 1, 2, 9)) if depth < 2 else random.choice((0, 1, 2))
        element = kind.removeprefix("[]")

        def one(element: str = element, struct: type[Message] | None = struct) -> object:
            if struct is None:
                return value(element, random)
            return message(struct, version, random, depth + 1)

        fields[name] = [one() for _ in range(count)] if kind.startswith("[]") else one()
    return cls(**fields)


def damaged(data: bytes, random: Random) -> bytes:
    """The bytes as a fault or an attacker might leave them: cut, lengthened, changed, with parts doubled."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(out) + 1)
        match random.randrange(5):
            case 0:
                del out[place:]
            case 1:
                out[place:place] = random.randbytes(random.randrange(1, 9))
            case 2:
                out[place : place + 4] = random.choice(
                    (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00", b"\x80\x80")
                )
            case 3:
                out[place : place + 1] = random.randbytes(1)
            case _:
                out += out[place:]
    return bytes(out)
