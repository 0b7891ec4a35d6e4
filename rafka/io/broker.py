"""One broker as a process: settings, data directory, node, sessions and driver put together, and run.

Everything that can be refused is refused before anything is touched: settings, then addresses, then the directory.
The only words on standard output are the line that says where clients connect.
"""

import contextlib
import os
import platform
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from rafka.core.config.cordoned import ALL, CORDONED, wrong_with_cordon
from rafka.core.config.setting import entries
from rafka.core.config.settings import Settings
from rafka.core.effects import Note
from rafka.core.errors import ConfigError, RafkaError
from rafka.core.machine import Machine
from rafka.core.node.node import Identity, Node
from rafka.core.node.startup import CANNOT_START, SERVING
from rafka.core.shape import value
from rafka.io.choose import Choice, choose
from rafka.io.codecs import MeasuredCodecs
from rafka.io.datadir import open_data_dir
from rafka.io.driver import Driver
from rafka.io.entropy import SystemEntropy
from rafka.io.journal import Journal, journal
from rafka.net.server import Server
from rafka.net.serving import limits_of, protocol_of

DEFAULT_LISTEN = "127.0.0.1:9092"
DEFAULT_DATA_DIR = "./data"
CODECS = ("cramjam", "zstandard")


def run(  # noqa: PLR0913 – one keyword for each option of the command
    *,
    settings: Mapping[str, str],
    data_dir: str,
    listen: str,
    advertise: str | None,
    node_id: int | None,
    driver: str,
    ready_file: str | None,
    log_level: str,
    log_format: str,
    record: str | None = None,
    record_bytes: int = 1 << 30,
    about: Mapping[str, str] | None = None,
) -> int:
    """Serve until told to stop; return the exit code.

    settings: Kafka's names and their text; the other arguments are the options of `rafka run`. record: a directory
    for a flight recording of at most `record_bytes`; about: the versions that it names (`recorder.begin`).
    Raises: RafkaError, in one sentence, when it cannot start; nothing was touched then.
    """
    obeyed = _settings(settings, data_dir, listen, advertise, node_id)
    notes = journal(log_level, log_format)
    choice = choose(driver)
    for warning in obeyed.warnings:
        notes(Note("warning", "setting", {"what": warning}))
    _check_codecs()
    _check_cordon(obeyed, os.path.abspath(obeyed.log_dirs or data_dir))
    _check_addresses(obeyed)
    given_id = obeyed.node_id if "node.id" in obeyed.given else None
    _check_ready_file(ready_file)
    directory = open_data_dir(obeyed.log_dirs or data_dir, given_id)
    try:
        _forget(ready_file)  # of a broker that was killed: whoever waits must not dial its address
        identity = Identity(
            directory.node_id, directory.cluster_id, directory.directory_id, os.path.abspath(directory.path)
        )
        reception = Reception(notes, ready_file)
        notes(
            Note("info", "starting", {"driver": choice.name, "why": choice.reason, "data": identity.data_dir})
        )
        recorded = None if record is None else Record(record, record_bytes, dict(about or {}))
        code = _serve(choice, obeyed, identity, reception, recorded)
        if reception.trouble is not None:
            raise RafkaError(reception.trouble)
        return code
    finally:
        directory.close()
        _forget(ready_file)


@value
class Record:
    """Where a flight recording goes, how many bytes of it are kept, and which versions it names."""

    directory: str
    bytes_max: int
    about: dict[str, str]


def _serve(
    choice: Choice, settings: Settings, identity: Identity, reception: "Reception", record: Record | None
) -> int:
    """Run a node, recorded or not, until it stops."""
    driver = choice.driver(reception)
    codecs = MeasuredCodecs(settings.metrics_topics_max)
    if record is None:
        node = Node(settings, identity, SystemEntropy(), codecs)
        server = serving(node, settings)
        return driver.run(_observed(server, server, driver, choice.name), identity.data_dir)
    from rafka.io.recorder import begin

    recorder = begin(
        record.directory, record.bytes_max, record.about, settings, identity, SystemEntropy(), reception
    )
    try:
        node = Node(settings, identity, recorder.entropy, codecs)
        server = serving(node, settings)
        machine = recorder.around(server)
        return driver.run(_observed(machine, server, driver, choice.name), identity.data_dir)
    finally:
        recorder.close()


def _observed(machine: Machine, server: Server, driver: Driver, driver_name: str) -> Machine:
    """Put the pages around a broker's machine, if there are to be any. server: what it serves clients with."""
    node = server.node
    assert isinstance(node, Node)
    address = _metrics_address(node.settings)
    if address is None:
        return machine
    from rafka.io.observed import Observed
    from rafka.observe.pages import Pages

    codecs = node.produces.codecs
    assert isinstance(codecs, MeasuredCodecs)
    build = (_version(), platform.python_version(), driver_name)
    pages = Pages(node, server, driver.tally, codecs.work, build, node.settings.metrics_topics_max)
    return Observed(machine, server.protocol, pages, address)


def _version() -> str:
    """Return Rafka's version; "unknown" where it runs without having been installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rafka")
    except PackageNotFoundError:
        return "unknown"


def _metrics_address(settings: Settings) -> tuple[str, int] | None:
    """Return where pages are served; None: nowhere."""
    if settings.metrics_listen is None:
        return None
    host, _, port = settings.metrics_listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def serving(node: Node, settings: Settings) -> Server:
    """Put Kafka sessions around a node, within the limits of its settings."""
    return Server(node, protocol_of(node.served), limits_of(settings))


class Reception:
    """The journal of a broker: passes notes on, and tells the world when it serves.

    trouble: why it could not start, in one sentence.
    """

    def __init__(self, notes: Journal, ready_file: str | None) -> None:
        self._notes = notes
        self._ready_file = ready_file
        self.trouble: str | None = None

    def __call__(self, note: Note) -> None:
        """Take a note; never raises."""
        if note.name == CANNOT_START:
            self.trouble = str(note.fields["reason"])
            return
        self._notes(note)
        if note.name == SERVING:
            self._open(f"{_dialled(str(note.fields['host']))}:{note.fields['port']}")

    def _open(self, address: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody may be there to read it
            sys.stdout.write(f"Rafka is ready: bootstrap.servers={address}\n")
            sys.stdout.flush()
        if self._ready_file is None:
            return
        try:
            with open(self._ready_file + ".tmp", "w", encoding="utf-8") as file:
                file.write(address + "\n")
            os.replace(self._ready_file + ".tmp", self._ready_file)
        except OSError as error:
            self._notes(
                Note("error", "ready file not written", {"file": self._ready_file, "why": str(error)})
            )


def _settings(
    pairs: Mapping[str, str], data_dir: str, listen: str, advertise: str | None, node_id: int | None
) -> Settings:
    """Read the settings together with the options that stand for some of them."""
    given = dict(pairs)
    options = {
        "listeners": None if listen == DEFAULT_LISTEN else _listener(listen),
        "advertised.listeners": None if advertise is None else _listener(advertise),
        "node.id": None if node_id is None else str(node_id),
        "log.dirs": None if data_dir == DEFAULT_DATA_DIR else data_dir,
    }
    for name, text in options.items():
        if text is None:
            continue
        if given.get(name, text) != text:
            raise ConfigError(name, given[name], "contradicts an option of the command", f"which says {text}")
        given[name] = text
    given.setdefault("listeners", _listener(listen))
    if (
        CORDONED in given
    ):  # a path may be written from where the operator stands; what is compared later is whole
        paths = (one if one == ALL else os.path.abspath(one) for one in entries(given[CORDONED]))
        given[CORDONED] = ",".join(paths)
    return Settings.from_pairs(given)


def _check_codecs() -> None:
    """Raise RafkaError if a library is missing that compressed batches need: better now than at the first of them."""
    missing = [name for name in CODECS if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        raise RafkaError(f"compression needs {names}, not installed here: pip install {' '.join(missing)}")


def _check_cordon(settings: Settings, data_dir: str) -> None:
    """Raise ConfigError if what is to be cordoned is not the data directory. data_dir: its whole path."""
    text = settings.given.get(CORDONED, "")
    wrong = wrong_with_cordon(text, (data_dir,))
    if wrong is not None:
        raise ConfigError(CORDONED, text, wrong)


def _listener(address: str) -> str:
    return f"PLAINTEXT://{address}"


def _dialled(host: str) -> str:
    """Return what this machine's own clients dial for a listener's host."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 – compared, not bound to
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check_addresses(settings: Settings) -> None:
    """Raise RafkaError if an address cannot be listened at, before the data directory is opened."""
    addresses = [(listener.host, listener.port, "--listen") for listener in settings.listeners]
    metrics = _metrics_address(settings)
    if metrics is not None:
        if metrics[1] and any(metrics[1] == port for _, port, _ in addresses):
            why = "is the port of a listener of clients"
            raise ConfigError("metrics.listen", str(settings.metrics_listen), why, "choose another")
        addresses.append((*metrics, "--metrics-listen"))
    for host, port, option in addresses:
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            where = f"{host or '*'}:{port}"
            why = error.strerror or str(error)
            raise RafkaError(f"cannot listen at {where}: {why}; choose another with {option}") from error


def _check_ready_file(path: str | None) -> None:
    """Raise RafkaError if it could not be written later: somebody would wait for it for ever."""
    if path is None:
        return
    parent = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.access(parent, os.W_OK | os.X_OK):
        raise RafkaError(f"cannot write the ready file {path}; choose another with --ready-file")


def _forget(ready_file: str | None) -> None:
    if ready_file is not None:
        with contextlib.suppress(OSError):
            os.unlink(ready_file)
