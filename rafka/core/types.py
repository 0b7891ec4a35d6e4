"""Names for numbers and bytes: what an int means is part of its type.

offset = a record's number; position = a byte in a file; index = a place in a list. NewTypes are free at
rest and cost 36 ns a call, so they are called at the edges, never in a loop over batches.
"""

from typing import NewType

from rafka.core.shape import value

NodeId = NewType("NodeId", int)
Offset = NewType("Offset", int)
"""The number of a record in its partition, 0 and up."""
Epoch = NewType("Epoch", int)
"""A leader epoch (Raft's term), 0 and up; -1 is unknown."""
ConnId = NewType("ConnId", int)
"""One accepted connection; never used twice by one process."""
Token = NewType("Token", int)
"""Names one asked-for operation until it is answered; 0 asks for no answer unless it fails."""
File = NewType("File", str)
"""A file or directory, relative to the data directory, with forward slashes: `orders-0/0….log`."""
Ticket = NewType("Ticket", int)
"""Names one parked request."""
MonoNs = NewType("MonoNs", int)
"""Nanoseconds of a clock that never goes back; its zero means nothing."""
WallMs = NewType("WallMs", int)
"""Milliseconds since 1970-01-01 UTC; may jump either way."""
Uuid = NewType("Uuid", bytes)
"""Sixteen raw bytes, as Kafka's topic ids and directory ids."""

ZERO_UUID = Uuid(bytes(16))
NO_ANSWER = Token(0)


@value
class Now:
    """The time of one turn: the same for every event handled in it."""

    mono: MonoNs
    """For deadlines."""
    wall: WallMs
    """For record timestamps and retention."""


class FileSlice:
    """Bytes that stay on disk; the driver moves them into a socket (sendfile) without the core seeing them.

    file: where they are; position: the first byte; length: how many, > 0.
    """

    __slots__ = ("file", "length", "position")

    def __init__(self, file: File, position: int, length: int) -> None:
        self.file = file
        self.position = position
        self.length = length

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileSlice):
            return NotImplemented
        return (self.file, self.position, self.length) == (other.file, other.position, other.length)

    __hash__ = None  # type: ignore[assignment]  # a value with mutable slots is no key

    def __repr__(self) -> str:
        return f"FileSlice({self.file!r}, position={self.position}, length={self.length})"


Buffer = bytes | bytearray | memoryview
Piece = Buffer | FileSlice
"""A part of what goes out on a connection."""
