"""The settings of one node: what the operator wrote, checked as a whole before anything is touched.

Text comes in under Kafka's names and leaves as a `Settings` value. A name that Kafka does not have is an error that
suggests the nearest one; a name that this broker does not obey is an error with the reason, or, when nothing is
lost by it, a warning. Nothing is silently ignored.

A listener is `NAME://host:port`; its name stands for a protocol (listener.security.protocol.map), which must be
PLAINTEXT. An empty host, like 0.0.0.0, means every address.
"""

from collections.abc import Mapping
from typing import Any, cast

from rafka.core.config.broker import BROKER_SETTINGS
from rafka.core.config.log import LogConfig
from rafka.core.config.resolve import Layers, log_config
from rafka.core.config.setting import Typed, entries
from rafka.core.config.topic import NEVER
from rafka.core.errors import ConfigError
from rafka.core.shape import value

_ALIASES = {"broker.id": "node.id", "log.dir": "log.dirs"}


@value
class Listener:
    """One address. name: upper case; host: without brackets, "" for all addresses; port: 0 to 65535."""

    name: str
    host: str
    port: int


@value
class Settings:
    """What a node obeys. Fields have Kafka's names with underscores, and Kafka's units; None: unset.

    given: every value that was set, canonical, by Kafka's name; warnings: one sentence for each that does nothing.
    Topic defaults are not fields: `log_config()` and `rafka.core.config.resolve` read them from `given`.
    """

    given: dict[str, str]
    warnings: tuple[str, ...]
    node_id: int
    broker_rack: str | None
    listeners: tuple[Listener, ...]
    advertised_listeners: tuple[Listener, ...]
    """Empty: clients are told the address that they dialled."""
    log_dirs: str | None
    num_partitions: int
    auto_create_topics_enable: bool
    default_replication_factor: int
    delete_topic_enable: bool
    flush: str
    message_max_bytes: int
    fetch_max_bytes: int
    max_incremental_fetch_session_cache_slots: int
    max_request_partition_size_limit: int
    socket_request_max_bytes: int
    max_connections: int
    max_connections_per_ip: int
    connections_max_idle_ms: int
    log_retention_check_interval_ms: int
    log_cleaner_backoff_ms: int
    log_cleaner_dedupe_buffer_size: int
    producer_id_expiration_ms: int
    offset_metadata_max_bytes: int
    offsets_retention_minutes: int
    offsets_retention_check_interval_ms: int
    offsets_topic_num_partitions: int
    offsets_topic_replication_factor: int
    offsets_topic_segment_bytes: int
    group_initial_rebalance_delay_ms: int
    group_min_session_timeout_ms: int
    group_max_session_timeout_ms: int
    group_max_size: int
    metrics_listen: str | None
    metrics_topics_max: int

    @classmethod
    def from_pairs(cls, pairs: Mapping[str, str]) -> "Settings":
        """Read settings from Kafka's names and their text. Raises: ConfigError naming the setting."""
        given, warnings = _parse(pairs)
        check_flush(given)
        typed = {name: _typed(name, given) for name in BROKER_SETTINGS}
        listeners = _listeners("listeners", given)
        advertised = _listeners("advertised.listeners", given)
        _check_advertised(listeners, advertised)
        # The kinds of the table are the types of the fields; a test holds them together.
        fields: dict[str, Any] = {field: typed[name] for field, name in _PLAIN_FIELDS.items()}
        return cls(
            given=given,
            warnings=warnings,
            listeners=listeners,
            advertised_listeners=advertised,
            log_dirs=_one_directory(given),
            **fields,
        )

    def layers(self) -> Layers:
        """Return the settings as the static layer, with nothing altered while running."""
        return Layers({}, {}, self.given)

    def log_config(self) -> LogConfig:
        """Return what the log of a topic without settings of its own obeys."""
        return log_config({}, self.layers())


_SPECIAL = ("given", "warnings", "listeners", "advertised_listeners", "log_dirs")
_PLAIN_FIELDS = {
    field: name
    for name in BROKER_SETTINGS
    if (field := name.replace(".", "_")) in Settings.__annotations__ and field not in _SPECIAL
}


def _parse(pairs: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    given: dict[str, str] = {}
    warnings: list[str] = []
    for key, text in pairs.items():
        setting = BROKER_SETTINGS.get(_ALIASES.get(key, key))
        if setting is not None:
            canonical = setting.parse(text)
            if given.get(setting.name, canonical) != canonical:
                raise ConfigError(key, text, f"contradicts {setting.name}={given[setting.name]}")
            given[setting.name] = canonical
        elif (warning := _judge(key, text)) is not None:
            warnings.append(warning)
    return given, tuple(warnings)


def _judge(key: str, text: str) -> str | None:
    """Return the warning that a setting deserves that is not obeyed. Raises: ConfigError if it is refused."""
    from rafka.core.config.unserved import unserved

    found = unserved(key)
    if found is None:
        raise ConfigError(key, text, "there is no such setting", _nearest(key))
    if not found.harmless and text.strip() != found.default:
        raise ConfigError(key, text, found.reason, "remove it")
    return f"{key} does nothing: {found.reason}" if found.harmless else None


def _nearest(key: str) -> str:
    """Return a hint with the nearest name, if one is near."""
    from difflib import get_close_matches

    from rafka.core.config.topic import TOPIC_SETTINGS
    from rafka.core.config.unserved import unserved_names

    if key in TOPIC_SETTINGS and TOPIC_SETTINGS[key].synonyms:
        return f"that is a topic's; the broker's is {TOPIC_SETTINGS[key].synonyms[0]}"
    for names in (list(BROKER_SETTINGS), unserved_names()):
        near = get_close_matches(key.replace("_", "."), names, n=1, cutoff=0.75)
        if near:
            return f"did you mean {near[0]}?"
    return ""


def _typed(name: str, given: Mapping[str, str]) -> Typed | None:
    setting = BROKER_SETTINGS[name]
    canonical = given.get(name, setting.default)
    return None if canonical is None else setting.typed(canonical)


def check_flush(given: Mapping[str, str]) -> None:
    """Check that broker settings do not both bound what lies unsynced and leave it unbounded. Raises: ConfigError."""
    for name in ("log.flush.interval.messages", "log.flush.interval.ms"):
        if given.get("flush") == "os" and given.get(name, NEVER) != NEVER:
            why = "flush=os leaves records unsynced without bound"
            raise ConfigError(name, given[name], why, "remove it, or set flush=fsync")


def _listeners(key: str, given: Mapping[str, str]) -> tuple[Listener, ...]:
    text = given.get(key, BROKER_SETTINGS[key].default) or ""
    protocols = dict(
        entry.upper().split(":", 1)
        for entry in entries(cast("str", _typed("listener.security.protocol.map", given)))
        if ":" in entry
    )
    listeners = tuple(_listener(key, entry, protocols) for entry in entries(text))
    names = [listener.name for listener in listeners]
    if len(dict.fromkeys(names)) != len(names):
        raise ConfigError(key, text, "every listener needs a name of its own")
    return listeners


def _listener(key: str, text: str, protocols: Mapping[str, str]) -> Listener:
    name, slashes, address = text.partition("://")
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    well_formed = name and slashes and colon and port.isascii() and port.isdecimal() and len(port) <= 5
    if not well_formed or int(port) > 65535 or (":" in host and not bracketed):
        raise ConfigError(key, text, "is not NAME://host:port")
    protocol = protocols.get(name.upper())
    if protocol is None:
        raise ConfigError(
            key, text, f"{name} is not in listener.security.protocol.map", f"add {name}:PLAINTEXT"
        )
    if protocol != "PLAINTEXT":
        raise ConfigError(key, text, f"this broker does not speak {protocol}", "use PLAINTEXT")
    return Listener(name.upper(), host[1:-1] if bracketed else host, int(port))


def _check_advertised(listeners: tuple[Listener, ...], advertised: tuple[Listener, ...]) -> None:
    if not listeners:
        raise ConfigError("listeners", "", "a broker needs at least one")
    names = [listener.name for listener in listeners]
    for one in advertised:
        text = f"{one.name}://{one.host}:{one.port}"
        if one.name not in names:
            raise ConfigError("advertised.listeners", text, f"no listener is named {one.name}")
        if one.host in ("", "0.0.0.0", "::"):  # noqa: S104 – refused here, not bound to
            raise ConfigError("advertised.listeners", text, "is an address that nobody can dial")


def _one_directory(given: Mapping[str, str]) -> str | None:
    text = given.get("log.dirs")
    if text is not None and len(entries(text)) != 1:
        raise ConfigError("log.dirs", text, "this broker keeps all data in one directory")
    return text
