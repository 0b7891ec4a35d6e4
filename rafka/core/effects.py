"""All that the core may ask of the world: imperative verbs, as data.

The driver (rafka.io) and the simulator (rafka.sim) perform them; `events.py` holds the answers. The laws:

1. A token is answered exactly once, or the process dies. `NO_ANSWER` (0) asks for no answer, but a failure of
   such an operation still comes back as `Failed` with token 0 and the file's name.
2. Operations on one file are performed in the order given. A `Sync` covers every earlier `Write` and
   `Truncate` of its file; syncs of one file complete in order. Different files have no order.
3. A `Sync` makes a file's bytes and length durable, not its name: a new, renamed or unlinked name is durable
   only after `SyncDir` of its directory. A crash before that leaves a renamed file the old name, the new, or both.
4. `Send`s on one connection keep their order. Nothing else does.
5. No effect waits silently for another. If B may happen only once A is durable, the core keeps B until
   the answer to A.
6. A buffer belongs to whoever received it last; nobody writes to it after handing it over.
7. A driver stops reading from a connection while more than its send limit waits unsent, so a slow reader
   costs bounded memory.

Paths are relative to the data directory, with forward slashes; they never begin with "/" or contain "..".
"""

from collections.abc import Sequence

from rafka.core.plain import Acknowledge
from rafka.core.shape import value
from rafka.core.types import NO_ANSWER, Buffer, ConnId, File, Piece, Token

# ---- files -------------------------------------------------------------------------------------


@value
class Write:
    """Write `buffers`, one after the other, at `position`; the file is created if it is not there.

    Answered by Written once the bytes are in the file (not yet durable). Its directory must exist.
    """

    file: File
    position: int
    buffers: Sequence[Buffer]
    token: Token = NO_ANSWER


@value
class Sync:
    """Make every earlier Write and Truncate of `file` durable. Answered by Synced."""

    file: File
    token: Token


@value
class Read:
    """Read `length` bytes at `position`.

    Answered by Loaded: shorter at the end of the file, empty past it.
    """

    file: File
    position: int
    length: int
    token: Token = NO_ANSWER


@value
class Truncate:
    """Cut (or zero-extend) `file` to `length` bytes. Answered by Done."""

    file: File
    length: int
    token: Token = NO_ANSWER


@value
class Rename:
    """Give `file` the name `to`, replacing what has it. Works for directories too. Answered by Done."""

    file: File
    to: File
    token: Token = NO_ANSWER


@value
class Unlink:
    """Remove a file, or an empty directory. Removing what is not there is Done. Answered by Done."""

    file: File
    token: Token = NO_ANSWER


@value
class MakeDir:
    """Make a directory (its parent must exist); one that is there already is Done. Answered by Done."""

    file: File
    token: Token = NO_ANSWER


@value
class SyncDir:
    """Make the names in a directory durable; "" is the data directory itself. Answered by Done."""

    file: File
    token: Token = NO_ANSWER


@value
class List:
    """List a directory; "" is the data directory itself. Answered by Listed, sorted by name."""

    file: File
    token: Token = NO_ANSWER


@value
class Measure:
    """Say how much room the volume of `file` has; "" is the data directory itself. Answered by Measured."""

    file: File
    token: Token = NO_ANSWER


# ---- connections -------------------------------------------------------------------------------


@value
class Listen:
    """Accept connections on host and port (0: any free one). Answered by Listening or Failed."""

    host: str
    port: int
    token: Token


@value
class Send:
    """Send the pieces, in order, after all that was sent on `conn` before. A closed conn drops them."""

    conn: ConnId
    pieces: Sequence[Piece]


@value
class Fill:
    """Receive the next bytes of `conn` straight into `buffer` until it is full, then report Filled.

    Until then no Received comes for `conn`. For frames larger than one receive: they are never copied.
    """

    conn: ConnId
    buffer: memoryview


@value
class Pause:
    """Stop reading from `conn` (at most one Received already on its way may still come)."""

    conn: ConnId


@value
class Resume:
    """Read from `conn` again."""

    conn: ConnId


@value
class Close:
    """Close `conn` once everything sent before is out. Answered by Disconnected, like every end."""

    conn: ConnId
    reason: str


# ---- the node and its sessions -------------------------------------------------------------------


@value
class Reply:
    """The answer to a Requested; the session of `conn` encodes it and keeps request order. None: no bytes."""

    conn: ConnId
    correlation: int
    body: object


# ---- all else ----------------------------------------------------------------------------------


@value
class Note:
    """A transition worth a log line.

    level: "debug", "info", "warning" or "error"; name: a short fixed phrase.
    """

    level: str
    name: str
    fields: dict[str, object]


@value
class Stop:
    """Leave the loop once earlier effects are done. code: the process's exit code."""

    code: int


DiskEffect = Write | Sync | Read | Truncate | Rename | Unlink | MakeDir | SyncDir | List | Measure
NetEffect = Listen | Send | Fill | Pause | Resume | Close
Effect = DiskEffect | NetEffect | Reply | Acknowledge | Note | Stop
