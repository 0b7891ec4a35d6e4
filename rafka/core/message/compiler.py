"""Turns a message's table of fields into straight-line Python, for each class and version when first used.

For a class and a version two functions are written as source text and executed:

    decode(buf, pos) -> (message, pos)      encode(m, out) -> None

Fixed-width fields that follow each other become one struct call, and so does the first byte of the length
(or of the tagged section's count) that ends such a run: most requests need two or three calls in all. A
length byte above 127 is the start of a longer varint and is read again as such. A struct inside a message gets
functions of its own. Tagged sections are nearly always empty, so their code is a function that is called only
when they are not.

Names in the source: m the message, n a length, t the tag count, dN/eN the codec of a struct, uN/pN the
unpacker and packer of a format, kN a class, cN a constant.

Reading never allocates more than in proportion to the bytes at hand: an array's length is held against the
bytes that its elements need at least, before the first of them is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from rafka.core.errors import LocalProtocolError, RemoteProtocolError
from rafka.core.message import wire
from rafka.core.message.base import Message, Records
from rafka.core.message.field import FORMATS, Field, fields_of, size_min, tagged_of
from rafka.core.types import ZERO_UUID, Buffer, FileSlice

M = TypeVar("M", bound=Message)

_FEW: Final = 8
"""Arrays of fewer fixed-width elements, such as replicas, have a ready-made struct for each length."""


# Caches of pure functions; a key's class says what its codec is a codec of, which dict cannot express.
_CODECS: dict[tuple[type[Message], int], Codec[Any]] = {}
_DECODERS: dict[tuple[type[Message], int], object] = {}
_ENCODERS: dict[tuple[type[Message], int], object] = {}


class Codec(Generic[M]):
    """The compiled codec of one class at one version.

    decode(buf, pos): the message that starts at pos and the position after it; records stay views of buf.
    encode(message, out): append the message to out.
    Raises: RemoteProtocolError from decode, LocalProtocolError from encode.
    """

    __slots__ = ("decode", "encode")

    def __init__(
        self,
        decode: Callable[[Buffer, int], tuple[M, int]],
        encode: Callable[[M, bytearray], None],
    ) -> None:
        self.decode = decode
        self.encode = encode


def codec(cls: type[M], version: int) -> Codec[M]:
    """Return the codec of cls at version, compiled at the first call.

    Raises: LocalProtocolError if cls has no such version.
    """
    found: Codec[M] | None = _CODECS.get((cls, version))
    if found is None:
        if version not in cls.VERSIONS:
            raise LocalProtocolError(f"{cls.__name__} has no version {version}")
        found = _CODECS[cls, version] = Codec(_guarded_decode(cls, version), _guarded_encode(cls, version))
    return found


def decode(cls: type[M], version: int, data: Buffer) -> M:
    """Return the message of class cls and the given version that data is, whole.

    Raises: RemoteProtocolError if it is malformed, of an unknown version, or followed by more bytes.
    """
    if version not in cls.VERSIONS:
        raise RemoteProtocolError(f"{cls.__name__} has no version {version}")
    message, pos = codec(cls, version).decode(data, 0)
    if pos != len(data):
        raise RemoteProtocolError(f"{len(data) - pos} bytes after the end of {cls.__name__} v{version}")
    return message


def decode_prefix(cls: type[M], version: int, data: Buffer) -> M:
    """Return the message that data begins with; what follows it is ignored.

    A broker reads requests so, as Kafka's does: librdkafka 2.x ends its Metadata requests of version 13 with three
    bytes too many.
    Raises: RemoteProtocolError if it is malformed or of an unknown version.
    """
    if version not in cls.VERSIONS:
        raise RemoteProtocolError(f"{cls.__name__} has no version {version}")
    return codec(cls, version).decode(data, 0)[0]


def encode(message: Message, version: int) -> bytes:
    """Return the message in the given version's encoding.

    Raises: LocalProtocolError if the version cannot say what the message says, or there is no such version.
    """
    out = bytearray()
    codec(message.__class__, version).encode(message, out)
    return bytes(out)


def _guarded_decode(cls: type[M], version: int) -> Callable[[Buffer, int], tuple[M, int]]:
    raw = cast("Callable[[Buffer, int], tuple[M, int]]", _decoder(cls, version))

    def guarded(buf: Buffer, pos: int) -> tuple[M, int]:
        try:
            return raw(buf, pos)
        except (struct.error, IndexError) as error:
            raise RemoteProtocolError(f"{cls.__name__} v{version} ends too early") from error
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(f"{cls.__name__} v{version} has a string that is not UTF-8") from error

    return guarded


def _guarded_encode(cls: type[M], version: int) -> Callable[[M, bytearray], None]:
    raw = cast("Callable[[M, bytearray], None]", _encoder(cls, version))

    def guarded(message: M, out: bytearray) -> None:
        try:
            raw(message, out)
        except (struct.error, OverflowError, UnicodeEncodeError) as error:
            raise LocalProtocolError(f"{cls.__name__} v{version}: {error}") from error

    return guarded


# Executed source has no static type; what the two functions below return is what the names in it promise.
def _decoder(cls: type[Message], version: int) -> object:
    found = _DECODERS.get((cls, version))
    if found is None:
        found = _DECODERS[cls, version] = _DecodeSource(cls, version).compile()
    return found


def _encoder(cls: type[Message], version: int) -> object:
    found = _ENCODERS.get((cls, version))
    if found is None:
        found = _ENCODERS[cls, version] = _EncodeSource(cls, version).compile()
    return found


def _joined(records: Records) -> Buffer:
    """The record batches as one buffer; a copy unless they are one already."""
    if isinstance(records, (bytes, bytearray, memoryview)):
        return records
    if any(isinstance(piece, FileSlice) for piece in records):
        raise LocalProtocolError("records on disk have no bytes to encode")
    return b"".join(cast("Sequence[Buffer]", records))


class _Source:
    """Lines of a function being written, and the names that they refer to."""

    def __init__(self, cls: type[Message], version: int) -> None:
        self.cls = cls
        self.version = version
        self.flexible = version >= cls.FLEXIBLE_FROM
        self.fields = fields_of(cls, version)
        self.lines: list[str] = []
        self.indent = 1
        self.run: list[tuple[str, str]] = []
        self.names: dict[str, object] = {
            "pack": struct.pack,
            "unpack_from": struct.unpack_from,
            "uvarint": wire.read_uvarint,
            "put_uvarint": wire.put_uvarint,
            "skip_tags": wire.skip_tags,
            "tag_count": wire.read_tag_count,
            "truncated": wire.truncated,
            "bad_length": wire.bad_length,
            "ZERO_UUID": ZERO_UUID,
        }

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def block(self, head: str) -> None:
        self.line(head)
        self.indent += 1

    def end(self) -> None:
        self.indent -= 1

    def bind(self, letter: str, value: object) -> str:
        """Return a name for the value in the source."""
        name = f"{letter}{len(self.names)}"
        self.names[name] = value
        return name

    def execute(self, function: str) -> object:
        """Run what is written and return the function of that name."""
        label = f"<{self.cls.__name__} v{self.version}>"
        exec(compile("\n".join(self.lines), label, "exec"), self.names)  # noqa: S102  # our own text, see above
        return self.names[function]

    def literal(self, field: Field) -> str:
        """A fresh default of the field, as source."""
        if field.default != ():
            return "ZERO_UUID" if field.kind == "uuid" else repr(field.default)
        return "[]" if field.is_array else f"{self.bind('k', field.struct)}()"


class _DecodeSource(_Source):
    """Writes decode(buf, pos), and tags(m, buf, pos, t) where the version has tagged fields."""

    def compile(self) -> object:
        tagged = tagged_of(self.fields)
        if tagged:
            self.tags(tagged)
        self.names["new"] = object.__new__
        self.names["cls"] = self.cls
        self.indent = 0
        self.block("def decode(buf, pos):")
        self.line("size = len(buf)")
        self.line("m = new(cls)")
        for field in self.fields:
            if field.present and field.tag < 0:
                self.field(field)
            else:
                self.line(f"m.{field.name} = {self.literal(field)}")
        if self.flexible:
            self.fixed("B", "t")
            self.flush()
            rest = "tags(m, buf, pos, t)" if tagged else "skip_tags(buf, pos, t)"
            self.line(f"if t: pos = {rest}")
        self.flush()
        self.line("return m, pos")
        return self.execute("decode")

    def tags(self, tagged: list[Field]) -> None:
        self.indent = 0
        self.block("def tags(m, buf, pos, t):")
        self.line("size = len(buf)")
        self.line("t, pos = tag_count(buf, pos, t)")
        self.block("for _ in range(t):")
        self.line("tag, pos = uvarint(buf, pos)")
        self.line("end, pos = uvarint(buf, pos)")
        self.line("end += pos")
        self.line("if end > size: raise truncated()")
        self.line("stop = end")
        for field in tagged:
            self.block(f"if tag == {field.tag}:")
            self.field(field)
            self.flush()
            self.line("if pos != stop: raise bad_length(stop - pos)")
            self.end()
        self.line("pos = stop")
        self.end()
        self.line("return pos")

    def fixed(self, form: str, target: str) -> None:
        """Add a fixed-width value to the run."""
        self.run.append((form, target))

    def flush(self) -> None:
        """Read the run with one struct call."""
        if not self.run:
            return
        form = ">" + "".join(f for f, _ in self.run)
        targets = "".join(f"{target}, " for _, target in self.run)
        self.run.clear()
        if form == ">B":
            self.line(f"{targets[:-2]} = buf[pos]")
            self.line("pos += 1")
            return
        packed = struct.Struct(form)
        self.line(f"{targets}= {self.bind('u', packed.unpack_from)}(buf, pos)")
        self.line(f"pos += {packed.size}")

    def field(self, field: Field) -> None:
        target = f"m.{field.name}"
        if field.kind in FORMATS:
            self.fixed(FORMATS[field.kind], target)
        elif field.kind == "struct":
            self.struct(field, target)
        else:
            self.length(field)
            self.block("if n >= 0:")
            if field.is_array:
                self.array(field, target)
            else:
                self.slice(field.kind, target)
            self.end()
            if field.nullable:
                self.line(f"elif n == -1: {target} = None")
            self.line("else: raise bad_length(n)")

    def length(self, field: Field) -> None:
        """Read the length of what follows into n; -1 is null."""
        if field.compact:
            self.fixed("B", "n")
            self.flush()
            self.line("if n > 127: n, pos = uvarint(buf, pos - 1)")
            self.line("n -= 1")
        else:
            self.fixed("h" if field.kind in ("string", "legacy_string") else "i", "n")
            self.flush()

    def slice(self, kind: str, target: str) -> None:
        """Read n bytes as a string, bytes or records."""
        self.line("end = pos + n")
        self.line("if end > size: raise truncated()")
        if kind == "bytes":
            self.line(f"{target} = bytes(buf[pos:end])")
        elif kind == "records":
            self.names["memoryview"] = memoryview
            self.line(f"{target} = memoryview(buf)[pos:end]")
        else:
            self.line(f"{target} = str(buf[pos:end], 'utf-8')")
        self.line("pos = end")

    def struct(self, field: Field, target: str) -> None:
        assert field.struct is not None
        decode_struct = self.bind("d", _decoder(field.struct, self.version))
        if not field.nullable:
            self.flush()
            self.line(f"{target}, pos = {decode_struct}(buf, pos)")
            return
        self.fixed("b", "n")
        self.flush()
        self.line(f"if n > {field.null}: {target}, pos = {decode_struct}(buf, pos)")
        self.line(f"elif n == {field.null}: {target} = None")
        self.line("else: raise bad_length(n)")

    def array(self, field: Field, target: str) -> None:
        """Read n elements."""
        element = field.kind.removeprefix("[]")
        need = self.element_size_min(field, element)
        self.line(f"if n > {wire.ARRAY_LENGTH_MAX}: raise bad_length(n)")
        self.line(f"if n * {need} > size - pos: raise truncated()")
        if element == "uuid":
            self.line("end = pos + 16 * n")
            self.line(f"{target} = [bytes(buf[i:i + 16]) for i in range(pos, end, 16)]")
            self.line("pos = end")
        elif element in FORMATS:
            form = FORMATS[element]
            few = self.bind("f", tuple(struct.Struct(f">{n}{form}").unpack_from for n in range(_FEW)))
            self.line(f"if n < {_FEW}: {target} = list({few}[n](buf, pos))")
            self.line(f"else: {target} = list(unpack_from(f'>{{n}}{form}', buf, pos))")
            self.line(f"pos += n * {need}")
        elif element == "struct":
            decode_struct = self.bind("d", _decoder(cast("type[Message]", field.struct), self.version))
            self.line(f"{target} = items = []")
            self.block("for _ in range(n):")
            self.line(f"item, pos = {decode_struct}(buf, pos)")
            self.line("items.append(item)")
            self.end()
        else:
            self.array_of_slices(field, element, target)

    def array_of_slices(self, field: Field, element: str, target: str) -> None:
        self.line(f"{target} = items = []")
        self.block("for _ in range(n):")
        one = Field(("item", element, None, "0+", "", "", 0, False), self.version, flexible=field.compact)
        self.length(one)
        self.line("if n < 0: raise bad_length(n)")
        self.slice(element, "item")
        self.line("items.append(item)")
        self.end()

    def element_size_min(self, field: Field, element: str) -> int:
        if field.struct is not None:
            return size_min(field.struct, self.version)
        if element in FORMATS:
            return struct.calcsize(">" + FORMATS[element])
        return 1 if field.compact else 2


class _EncodeSource(_Source):
    """Writes encode(m, out), and tags(m, out) where the version has tagged fields."""

    def compile(self) -> object:
        tagged = tagged_of(self.fields)
        if tagged:
            self.tags(tagged)
        self.names["LocalProtocolError"] = LocalProtocolError
        self.indent = 0
        self.block("def encode(m, out):")
        self.line("pass")
        for field in self.fields:
            if not field.present:
                self.absent(field)
        for field in self.fields:
            if field.present and field.tag < 0:
                self.field(field, f"m.{field.name}")
        if self.flexible and tagged:
            self.flush()
            some = " or ".join(self.differs(f) for f in tagged)
            self.line(f"if {some}: tags(m, out)")
            self.line("else: out.append(0)")
        elif self.flexible:
            self.run.append(("x", ""))
        self.flush()
        return self.execute("encode")

    def differs(self, field: Field) -> str:
        """Whether the field is not its default, as source."""
        if field.default is None:
            return f"m.{field.name} is not None"
        if field.default == () and not field.is_array:
            return self.struct_differs(field, f"m.{field.name}")
        return f"m.{field.name} != {self.literal(field)}"

    def struct_differs(self, field: Field, value: str) -> str:
        """Whether a struct is not all defaults, as source; far cheaper than comparing with one that is."""
        assert field.struct is not None
        tests = [f"{value} is None"]
        for inner in fields_of(field.struct, self.version):
            name = f"{value}.{inner.name}"
            if inner.kind == "struct" and inner.default == ():
                tests.append(self.struct_differs(inner, name))
            else:
                tests.append(f"{name} != {self.literal(inner)}")
        return f"({' or '.join(tests)})"

    def absent(self, field: Field) -> None:
        """Refuse what this version cannot say."""
        if field.ignorable:
            return
        self.block(f"if {self.differs(field)}:")
        self.fail(f"{field.name} does not exist in version {self.version}")
        self.end()

    def fail(self, why: str) -> None:
        self.line(f"raise LocalProtocolError({f'{self.cls.__name__}: {why}'!r})")

    def tags(self, tagged: list[Field]) -> None:
        self.indent = 0
        self.names["bytearray"] = bytearray
        self.block("def tags(m, target):")
        conditions = [self.differs(field) for field in tagged]
        self.line(f"put_uvarint(target, {' + '.join(f'({c})' for c in conditions)})")
        for field, condition in zip(tagged, conditions, strict=True):
            self.block(f"if {condition}:")
            self.line("out = bytearray()")
            self.field(field, f"m.{field.name}")
            self.flush()
            self.line(f"put_uvarint(target, {field.tag})")
            self.line("put_uvarint(target, len(out))")
            self.line("target += out")
            self.end()

    def flush(self) -> None:
        """Write the run with one struct call; "x" is a zero byte."""
        if not self.run:
            return
        form = "".join(f for f, _ in self.run)
        values = ", ".join(value for f, value in self.run if f != "x")
        self.run.clear()
        if form == "x":
            self.line("out.append(0)")
            return
        self.line(f"out += {self.bind('p', struct.Struct('>' + form).pack)}({values})")

    def field(self, field: Field, value: str) -> None:
        if field.kind in FORMATS:
            if field.kind == "uuid":
                self.check_uuid(value)
            self.run.append((FORMATS[field.kind], value))
        elif field.kind == "struct":
            self.struct(field, value)
        elif field.is_array:
            self.array(field, value)
        else:
            self.slice(field, value)

    def check_uuid(self, value: str) -> None:
        self.block(f"if len({value}) != 16:")
        self.fail(f"{value} is not 16 bytes")
        self.end()

    def slice(self, field: Field, value: str) -> None:
        """Write a string, bytes or records."""
        content = value
        if "string" in field.kind:
            content = f"{value}.encode()"
        elif field.kind == "records":
            self.names["joined"] = _joined
            content = f"joined({value})"
        v = f"v{len(self.names)}_{len(self.lines)}"
        if field.nullable:
            self.line(f"{v} = b'' if {value} is None else {content}")
            length = f"-1 if {value} is None else len({v})"
        else:
            self.refuse_null(value)
            self.line(f"{v} = {content}")
            length = f"len({v})"
        self.length(field, length)
        self.line(f"out += {v}")

    def refuse_null(self, value: str) -> None:
        self.block(f"if {value} is None:")
        self.fail(f"{value} may not be null in version {self.version}")
        self.end()

    def length(self, field: Field, length: str) -> None:
        """Write the run and then the length of what follows."""
        if not field.compact:
            self.run.append(("h" if "string" in field.kind and not field.is_array else "i", length))
            self.flush()
            return
        self.flush()
        self.line(f"n = ({length}) + 1")
        self.line("if n < 128: out.append(n)")
        self.line("else: put_uvarint(out, n)")

    def struct(self, field: Field, value: str) -> None:
        assert field.struct is not None
        encode_struct = self.bind("e", _encoder(field.struct, self.version))
        if not field.nullable:
            self.refuse_null(value)
            self.flush()
            self.line(f"{encode_struct}({value}, out)")
            return
        self.flush()
        self.line(f"if {value} is None: out.append({field.null & 255})")
        self.block("else:")
        self.line("out.append(1)")
        self.line(f"{encode_struct}({value}, out)")
        self.end()

    def array(self, field: Field, value: str) -> None:
        element = field.kind.removeprefix("[]")
        if field.nullable:
            self.length(field, f"-1 if {value} is None else len({value})")
            items = f"({value} or ())"
        else:
            self.refuse_null(value)
            self.length(field, f"len({value})")
            items = value
        if element in FORMATS and element != "uuid":
            form = FORMATS[element]
            few = self.bind("f", tuple(struct.Struct(f">{n}{form}").pack for n in range(_FEW)))
            self.line(f"v = {items}")
            self.line("n = len(v)")
            self.line(f"if n < {_FEW}: out += {few}[n](*v)")
            self.line(f"else: out += pack(f'>{{n}}{form}', *v)")
            return
        one = Field(
            ("item", element, field.struct, "0+", "", "", 0, False), self.version, flexible=field.compact
        )
        self.block(f"for item in {items}:")
        self.field(one, "item")
        self.flush()
        self.end()
