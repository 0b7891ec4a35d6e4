"""A real broker inside a test: any Kafka client, a free port, faults on demand, gone when the test is over.

    with rafka.testing.broker(topics={"orders": 3}) as b:
        producer = Producer({"bootstrap.servers": b.bootstrap})
        b.slow("Produce", ms=200)
        b.fail("Fetch", "NOT_LEADER_OR_FOLLOWER", times=2)

It is the broker of `rafka run`, the same machine and sessions and the same drivers, in a thread of the test's
process, with its data in a directory of its own that is removed at the end. `flush=os` unless set otherwise: a
test's records need not survive a power loss. With pytest installed, the fixtures `rafka_broker` (one a test) and
`rafka_broker_of_session` are there without an import: see plugin.py.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from rafka.core.errors import ConfigError, RafkaError

if TYPE_CHECKING:
    from types import TracebackType

    from rafka.core.effects import Note
    from rafka.testing.faults import Fault, Faulty

__all__ = ["Broker", "broker"]

MEMORY = "/dev/shm"  # noqa: S108 – a directory of our own is made in it
START_S = 30.0
DEFAULTS = {
    "flush": "os",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
}
"""What suits a test better than what suits an operator; the settings given win."""


def broker(
    *,
    topics: Mapping[str, int] | None = None,
    settings: Mapping[str, object] | None = None,
    port: int = 0,
    data_dir: str | None = None,
    driver: str = "auto",
) -> Broker:
    """Make a broker that starts when entered as a context, or by `start`.

    topics: names and numbers of partitions, made before it is handed over. settings: Kafka's names. port: 0 for
    a free one. data_dir: kept at the end if given. driver: as `rafka run --driver`.
    """
    return Broker(topics or {}, settings or {}, port, data_dir, driver)


class Broker:
    """A running broker. bootstrap: "127.0.0.1:port" for clients; notes: what it had to say, newest last."""

    def __init__(
        self,
        topics: Mapping[str, int],
        settings: Mapping[str, object],
        port: int,
        data_dir: str | None,
        driver: str,
    ) -> None:
        self.bootstrap = ""
        self.port = port
        self.notes: list[Note] = []
        self._topics = dict(topics)
        self._settings = {**DEFAULTS, **{name: _text(value) for name, value in settings.items()}}
        self._given_dir = data_dir
        self._data_dir = data_dir
        self._driver_name = driver
        self._faults: list[Fault] = []
        self._faulty: Faulty | None = None
        self._thread: threading.Thread | None = None
        self._serving = threading.Event()
        self._trouble: BaseException | str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()
        if self._given_dir is None and self._data_dir is not None:
            shutil.rmtree(self._data_dir, ignore_errors=True)

    # ---- its life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, and return once clients can connect. Starting again after `stop` finds the same data and port.

        Raises: RafkaError, in one sentence, when it cannot start.
        """
        assert self._thread is None, "it runs already"
        if self._data_dir is None:
            where = MEMORY if os.access(MEMORY, os.W_OK) else None
            self._data_dir = tempfile.mkdtemp(prefix="rafka-test-", dir=where)
        if self.port == 0:
            from rafka.testing.ports import steady_port

            self.port = steady_port()
        self._serving.clear()
        self._trouble = None
        run = self._composed(self._data_dir)
        self._thread = threading.Thread(target=self._run, args=(run,), name="rafka", daemon=True)
        self._thread.start()
        if not self._serving.wait(START_S):
            self._trouble = f"it did not serve within {START_S:.0f} s"
            self._driver.terminate()
        if self._trouble is not None:
            self._join()
            raise RafkaError(f"the test broker did not start: {self._trouble}")
        for name, partitions in self._topics.items():
            self.create_topic(name, partitions)

    def stop(self) -> None:
        """Stop as SIGTERM does: finish, sync, close. Raises what the broker's thread raised."""
        if self._thread is None:
            return
        self._driver.terminate()
        self._join()
        if isinstance(self._trouble, BaseException):
            raise self._trouble

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def create_topic(self, name: str, partitions: int = 1, **configs: object) -> None:
        """Make a topic; nothing happens if it is there. configs: a topic's settings, with underscores for dots."""
        from rafka.testing.client import create_topic

        pairs = {key.replace("_", "."): _text(value) for key, value in configs.items()}
        create_topic(self.port, name, partitions, pairs)

    def records(self, topic: str, partition: int = 0) -> list[tuple[bytes | None, bytes | None]]:
        """Return key and value of every record of a partition that consumers can see."""
        from rafka.testing.client import read_all

        return read_all(self.port, topic, partition)

    # ---- what goes wrong ---------------------------------------------------------------------------

    def slow(self, api: str | None = None, *, ms: int, times: int | None = None) -> Fault:
        """Let answers come `ms` later than they would. api: "Produce", "Fetch", …; None: every API."""
        return self._add("slow", api, times, ms=ms)

    def drop_acks(self, api: str | None = "Produce", *, times: int | None = None) -> Fault:
        """Do what is asked, lose the answer, and close the connection: the client cannot know."""
        return self._add("drop acks", api, times)

    def close(self, api: str | None = None, *, times: int | None = None) -> Fault:
        """Close the connection on which a request comes; what it asked is not done."""
        return self._add("close", api, times)

    def fail(self, api: str, error: str, *, times: int | None = None) -> Fault:
        """Answer with an error, by its name in Kafka, about everything asked; nothing is done."""
        from rafka.core.errors import ErrorCode

        try:
            code = ErrorCode[error]
        except KeyError:
            raise ConfigError("error", error, "no such error", "a name of Kafka's Errors") from None
        return self._add("fail", api, times, code=code)

    def heal(self) -> None:
        """Let nothing go wrong any more. Answers that are late already stay late."""
        self._faults.clear()

    def _add(self, kind: str, api: str | None, times: int | None, **how: object) -> Fault:
        from rafka.testing.faults import ALWAYS, Fault

        fault = Fault(kind, _key_of(api), ALWAYS if times is None else times, **how)  # type: ignore[arg-type]
        self._faults.append(fault)
        return fault

    # ---- inside ------------------------------------------------------------------------------------

    def _composed(self, data_dir: str) -> object:
        """Put settings, directory, node, faults, sessions and driver together; nothing runs yet."""
        from rafka.core.config.settings import Settings
        from rafka.core.node.node import Identity, Node
        from rafka.io.broker import serving
        from rafka.io.choose import choose
        from rafka.io.datadir import open_data_dir
        from rafka.io.entropy import SystemEntropy
        from rafka.net.compression import Compression
        from rafka.testing.faults import Faulty

        obeyed = Settings.from_pairs({"listeners": f"PLAINTEXT://127.0.0.1:{self.port}", **self._settings})
        directory = open_data_dir(data_dir, None)
        identity = Identity(directory.node_id, directory.cluster_id, directory.directory_id, directory.path)
        node = Node(obeyed, identity, SystemEntropy(), Compression())
        server = serving(node, obeyed)
        server.protocol.has_plain = False  # faults look into every request
        server.node = Faulty(node, self._faults)
        self._driver = choose(self._driver_name).driver(self._note)

        def run() -> None:
            try:
                self._driver.run(server, identity.data_dir)
            finally:
                directory.close()

        return run

    def _run(self, run: object) -> None:
        assert callable(run)
        try:
            run()
        except BaseException as error:  # noqa: BLE001 – raised again where the test sees it
            self._trouble = error
        self._serving.set()

    def _note(self, note: Note) -> None:
        self.notes.append(note)
        if note.name == "serving":
            self.port = int(str(note.fields["port"]))
            self.bootstrap = f"127.0.0.1:{self.port}"
            self._serving.set()
        elif note.name == "cannot start":
            self._trouble = str(note.fields["reason"])

    def _join(self) -> None:
        assert self._thread is not None
        self._thread.join()
        self._thread = None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_of(api: str | None) -> int | None:
    from rafka.core.api import APIS

    if api is None:
        return None
    for key, known in APIS.items():
        if known.name == api:
            return key
    raise ConfigError("api", api, "no such API", "a name such as Produce, Fetch or OffsetCommit")
