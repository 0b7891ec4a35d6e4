"""The settings of clients, with Kafka's names in Python's spelling and, but where it says so, Kafka's defaults."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypedDict, TypeVar

from rafka.core.errors import ConfigError
from rafka.core.record.compression import CODEC_NAMES
from rafka.core.shape import value

EARLIEST: Final = -2
LATEST: Final = -1
RESETS: Final = {"earliest": EARLIEST, "latest": LATEST, "none": None}
ACKS: Final = {"all": -1, "-1": -1, "0": 0, "1": 1}
CODECS: Final = {"none": 0, **{name: number for number, name in enumerate(CODEC_NAMES) if number}}


@value
class ClientSettings:
    """What every client is told. Times in ms."""

    bootstrap_servers: str | Sequence[str]
    """host:port, several separated by commas or in a list."""
    client_id: str = "rafka"
    request_timeout_ms: int = 30_000
    """How long to wait for an answer before the connection counts as dead."""
    connect_timeout_ms: int = 10_000
    backoff_ms: int = 50
    """Before the first retry, and before dialling again; doubled each time up to the next, ±20 %."""
    backoff_max_ms: int = 1_000
    metadata_max_age_ms: int = 300_000
    operation_timeout_ms: int = 60_000
    """How long commits, look-ups and an admin's operations are tried."""


@value
class ProducerSettings:
    """What a producer is told besides. Times in ms."""

    acks: str | int = "all"
    enable_idempotence: bool = True
    """Each record is written once and in order, whatever is lost on the way. Needs acks="all"."""
    linger_ms: int = 5
    batch_size: int = 64 << 10
    """Bytes of records, before compression, at which a batch is sent at once (Kafka: 16 KiB)."""
    compression_type: str = "none"
    compression_level: int | None = None
    max_request_size: int = 1 << 20
    max_in_flight: int = 5
    """Requests under way on one connection, 1 to 5: what a broker remembers of an idempotent producer."""
    delivery_timeout_ms: int = 120_000
    topic_timeout_ms: int = 30_000
    """How long a record waits for a topic that is not there."""
    buffer_memory: int = 32 << 20
    allow_auto_create_topics: bool = True


@value
class ConsumerSettings:
    """What a consumer is told besides. Times in ms."""

    group_id: str | None = None
    group_instance_id: str | None = None
    """A static member's name (KIP-345): it may restart without a rebalance."""
    auto_offset_reset: str = "latest"
    enable_auto_commit: bool = True
    auto_commit_interval_ms: int = 5_000
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 3_000
    max_poll_interval_ms: int = 300_000
    max_poll_records: int = 500
    fetch_min_bytes: int = 1
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = 50 << 20
    max_partition_fetch_bytes: int = 1 << 20
    allow_auto_create_topics: bool = False
    """Kafka: true; a consumer that makes the topics it misspells helps nobody."""


def addresses_of(bootstrap: str | Sequence[str]) -> list[tuple[str, int]]:
    """Read host:port pairs, IPv6 hosts in brackets. Raises ConfigError."""
    parts = bootstrap.split(",") if isinstance(bootstrap, str) else list(bootstrap)
    found: list[tuple[str, int]] = []
    for part in parts:
        host, colon, port = part.strip().rpartition(":")
        if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16 or not host.strip("[]"):
            raise ConfigError("bootstrap_servers", part.strip(), "not an address", "host:port")
        found.append((host.strip("[]"), int(port)))
    if not found:
        raise ConfigError("bootstrap_servers", "", "nowhere to begin", "host:port")
    return found


def acks_of(settings: ProducerSettings) -> int:
    """Return the number of `acks`. Raises ConfigError if there is none, or idempotence needs another."""
    acks = ACKS.get(str(settings.acks))
    if acks is None:
        raise ConfigError("acks", str(settings.acks), "not a number of acknowledgements", "0, 1 or all")
    if settings.enable_idempotence and acks != -1:
        raise ConfigError("acks", str(settings.acks), "idempotence needs all", "or enable_idempotence=False")
    return acks


def codec_of(settings: ProducerSettings) -> int:
    """Return the number of `compression_type`. Raises ConfigError."""
    codec = CODECS.get(settings.compression_type)
    if codec is None:
        raise ConfigError("compression_type", settings.compression_type, "no such codec", ", ".join(CODECS))
    return codec


def check_producer(settings: ProducerSettings) -> None:
    """Refuse what cannot work. Raises ConfigError."""
    acks_of(settings)
    codec_of(settings)
    if not 1 <= settings.max_in_flight <= 5:
        raise ConfigError("max_in_flight", str(settings.max_in_flight), "a broker remembers five", "1 to 5")


def check_consumer(settings: ConsumerSettings) -> None:
    """Refuse what cannot work. Raises ConfigError."""
    if settings.auto_offset_reset not in RESETS:
        raise ConfigError("auto_offset_reset", settings.auto_offset_reset, "no such place", ", ".join(RESETS))
    if settings.heartbeat_interval_ms >= settings.session_timeout_ms:
        raise ConfigError(
            "heartbeat_interval_ms",
            str(settings.heartbeat_interval_ms),
            "must be less than session_timeout_ms",
        )
    if settings.group_instance_id is not None and settings.group_id is None:
        raise ConfigError(
            "group_instance_id", settings.group_instance_id, "a member needs a group", "group_id"
        )


class ClientOptions(TypedDict, total=False):
    """The fields of ClientSettings, as keywords."""

    client_id: str
    request_timeout_ms: int
    connect_timeout_ms: int
    backoff_ms: int
    backoff_max_ms: int
    metadata_max_age_ms: int
    operation_timeout_ms: int


class ProducerOptions(ClientOptions, total=False):
    """The fields of ProducerSettings and ClientSettings, as keywords."""

    acks: str | int
    enable_idempotence: bool
    linger_ms: int
    batch_size: int
    compression_type: str
    compression_level: int | None
    max_request_size: int
    max_in_flight: int
    delivery_timeout_ms: int
    topic_timeout_ms: int
    buffer_memory: int
    allow_auto_create_topics: bool


class ConsumerOptions(ClientOptions, total=False):
    """The fields of ConsumerSettings and ClientSettings, as keywords."""

    group_id: str | None
    group_instance_id: str | None
    auto_offset_reset: str
    enable_auto_commit: bool
    auto_commit_interval_ms: int
    session_timeout_ms: int
    heartbeat_interval_ms: int
    max_poll_interval_ms: int
    max_poll_records: int
    fetch_min_bytes: int
    fetch_max_wait_ms: int
    fetch_max_bytes: int
    max_partition_fetch_bytes: int
    allow_auto_create_topics: bool


S = TypeVar("S")


def settings_from(
    kind: Callable[..., S],
    names: Collection[str],
    bootstrap: str | Sequence[str],
    options: Mapping[str, object],
) -> tuple[ClientSettings, S]:
    """Divide keywords into every client's settings and those of this kind, whose names are given.

    Raises ConfigError for a name that is neither's.
    """
    general = ClientOptions.__annotations__
    for name, given in options.items():
        if name not in general and name not in names:
            raise ConfigError(name, str(given), "no such setting", ", ".join(sorted({*general, *names})))
    ours = {name: given for name, given in options.items() if name in general}
    theirs = {name: given for name, given in options.items() if name not in general}
    return ClientSettings(bootstrap, **ours), kind(**theirs)  # type: ignore[arg-type]  # as the TypedDicts say
