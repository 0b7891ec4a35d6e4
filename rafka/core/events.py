"""All that the world may tell the core: past participles, as data. The other half of `effects.py`."""

from rafka.core.plain import PlainProduce
from rafka.core.shape import value
from rafka.core.types import ConnId, File, Token


@value
class Written:
    """A Write is in its file (visible to every later Read and slice), not yet durable."""

    file: File
    token: Token


@value
class Synced:
    """Every Write and Truncate of `file` issued before that Sync is durable."""

    file: File
    token: Token


@value
class Loaded:
    """What a Read found. data: owned by the receiver."""

    file: File
    token: Token
    data: bytes


@value
class Done:
    """A Truncate, Rename, Unlink, MakeDir or SyncDir succeeded."""

    file: File
    token: Token


@value
class Entry:
    """One name in a directory. size: bytes; 0 for a directory."""

    name: str
    size: int
    is_dir: bool
    modified_ms: int
    """Wall-clock milliseconds of the last write."""


@value
class Listed:
    """The entries of a directory, sorted by name."""

    file: File
    token: Token
    entries: list[Entry]


@value
class Measured:
    """The size of a volume, and how much of it this process may still use, in bytes."""

    file: File
    token: Token
    total_bytes: int
    usable_bytes: int


@value
class Failed:
    """An operation failed. op: "write", "sync", "read", …; errno: the system's number (ENOSPC, EIO, …).

    After a failed write or sync nothing is known about the bytes since the last Synced.
    """

    file: File
    token: Token
    op: str
    errno: int
    text: str


@value
class Listening:
    """A Listen succeeded; port is the real one."""

    token: Token
    host: str
    port: int


@value
class Connected:
    """A client was accepted. peer: "host:port"; local_host, local_port: the address it dialled."""

    conn: ConnId
    peer: str
    local_host: str
    local_port: int


@value
class Received:
    """Bytes came. data: whole, ours from now on, writable where the driver could make it so."""

    conn: ConnId
    data: memoryview


@value
class Filled:
    """The buffer of a Fill is full."""

    conn: ConnId


@value
class Disconnected:
    """A connection has ended, whoever ended it. The last event of a conn, and always delivered."""

    conn: ConnId
    reason: str


@value
class Requested:
    """A session cut a request out of its bytes. body: a request of rafka.core.api."""

    conn: ConnId
    correlation: int
    api_key: int
    api_version: int
    client_id: str | None
    body: object


@value
class Terminated:
    """The operator asked the process to end (SIGTERM, SIGINT): finish, sync, Stop."""

    signal: str


DiskEvent = Written | Synced | Loaded | Done | Listed | Measured | Failed
NetEvent = Listening | Connected | Received | Filled | Disconnected
Event = DiskEvent | NetEvent | Requested | PlainProduce | Terminated
