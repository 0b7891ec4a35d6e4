"""A whole broker in a process of its own, for tests that hurt it."""

import contextlib
import itertools
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from confluent_kafka import Producer

from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.net.kafka.session import request_bytes
from tests.clients.support import PATIENCE, until

SETTINGS = {"offsets.topic.num.partitions": "1"}


class Broker:
    """`rafka run`; its data, its journal and, with faults, the file that rules its disk are in `directory`."""

    def __init__(
        self,
        directory: Path,
        driver: str,
        *,
        data: Path | None = None,
        descriptors: int = 0,
        prefix: Sequence[str] = (),
        settings: dict[str, str] | None = None,
    ) -> None:
        self.data = data or directory / "data"
        self.control = directory / "control"
        self._clients: list[socket.socket] = []
        self._ready = directory / "ready"
        self._journal = directory / "journal"
        module = (
            ["rafka"] if descriptors else ["tests.io.faulty", str(self.control)]
        )  # which needs one of its own
        command = [*prefix, sys.executable, "-m", *module, "run"]
        command += ["--data-dir", str(self.data), "--listen", "127.0.0.1:0", "--driver", driver]
        command += ["--ready-file", str(self._ready)]
        for name, text in (SETTINGS | (settings or {})).items():
            command += ["--set", f"{name}={text}"]

        def lower() -> None:
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with self._journal.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, preexec_fn=lower, cwd=Path(__file__).parents[2]
            )
        until(lambda: self._ready.exists() or self.process.poll() is not None, "the broker serves")
        assert self.process.poll() is None, self.journal
        self.address = self._ready.read_text().strip()
        host, _, port = self.address.rpartition(":")
        self.host, self.port = host, int(port)

    @property
    def journal(self) -> str:
        return self._journal.read_text()

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize()

    def stop(self) -> None:
        """Ask it to end; it must do so with success."""
        assert self.process.poll() is None, f"it ended by itself:\n{self.journal}"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.hang_up()

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        """Connect; closed with the broker at the latest."""
        sock = socket.socket()
        self._clients.append(sock)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect((self.host, self.port))
        return sock

    def hang_up(self) -> None:
        """Close what `connect` gave."""
        for sock in self._clients:
            sock.close()
        self._clients.clear()

    def break_disk(self, *rules: str) -> None:
        """Let operations fail from now on: "OP ERRNO PART-OF-THE-PATH" each."""
        new = self.control.with_suffix(".new")
        new.write_text("".join(rule + "\n" for rule in rules))
        new.replace(self.control)

    def mend_disk(self) -> None:
        self.control.unlink()


class Sender:
    """A producer that never tries again by itself, so each send is acknowledged or refused once.

    acknowledged: topic to values in the order of their offsets.
    """

    def __init__(self, address: str) -> None:
        self.acknowledged: dict[str, list[bytes]] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": address,
                "acks": "all",
                "retries": 0,
                "retry.backoff.ms": 20,
                "retry.backoff.max.ms": 50,
                "topic.metadata.refresh.fast.interval.ms": 20,
                "linger.ms": 0,
                "message.timeout.ms": int(PATIENCE * 1000),
                "log_level": 0,
                "error_cb": lambda _error: None,
            }
        )
        self._count = 0

    def send(self, topic: str, count: int = 1, size: int = 100) -> list[str]:
        """Send so many values and wait; the names of the errors, "" for each that was acknowledged."""
        found: list[tuple[int, str, bytes]] = []

        def reported(error, message):
            found.append((message.offset(), "" if error is None else error.name(), message.value()))

        for _ in range(count):
            self._count += 1
            value = b"%08d" % self._count + bytes(size - 8)
            self._producer.produce(topic, value, partition=0, on_delivery=reported)
        assert self._producer.flush(PATIENCE) == 0
        kept = self.acknowledged.setdefault(topic, [])
        kept += [value for _, value in sorted((offset, value) for offset, error, value in found if not error)]
        return [error for _, error, _ in found]


def api_versions(correlation: int) -> bytes:
    """The smallest request there is."""
    return request_bytes(
        ApiVersionsRequest(), api_key=18, version=0, correlation_id=correlation, client_id="test"
    )


def asks(sock: socket.socket, correlation: int = 1) -> bool:
    """Whether the broker answers on this connection."""
    try:
        sock.sendall(api_versions(correlation))
        return frame(sock)[:4] == struct.pack(">i", correlation)
    except (ConnectionError, EOFError):
        return False


def frame(sock: socket.socket) -> bytes:
    """Receive one answer. Raises EOFError."""
    (size,) = struct.unpack(">i", exactly(sock, 4))
    return exactly(sock, size)


def exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Go away without a word: the broker gets ECONNRESET."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Ballast:
    """A small file system that can be full; `how` says what it really is. inodes: how many there are; 0: plenty."""

    def __init__(self, directory: Path, *, mebibytes: int = 4, inodes: int = 0) -> None:
        self.directory = directory
        self.is_mounted = False
        self.prefix: list[str] = []
        self.how = f"a tmpfs of {mebibytes} MiB"
        directory.mkdir()
        size = f"size={mebibytes}m" + (f",nr_inodes={inodes}" if inodes else "")
        options = ["-t", "tmpfs", "-o", size, "rafka-test", str(directory)]
        if subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0:
            self.is_mounted = True
            return
        shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
        script = f'mount {" ".join(options)} && exec "$@"'
        tried = subprocess.run([*shell, script, "sh", "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            self.prefix = [*shell, script, "sh"]
            self.how += " in a namespace of the broker's"
            return
        self.how = "an error injected below the driver, since nothing can be mounted here"

    def fill(self, broker: Broker) -> None:
        """Take all the room there is."""
        where = self._where(broker)
        if where is None:
            broker.break_disk("write 28 /")
            return
        with (where / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def take_inodes(self, broker: Broker) -> None:
        """Let no further file be made; what is there may grow."""
        where = self._where(broker)
        assert where is not None, self.how
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (where / f"ballast-{number}").touch()

    def empty(self, broker: Broker) -> None:
        """Give it back."""
        where = self._where(broker)
        if where is None:
            broker.mend_disk()
        else:
            for file in where.glob("ballast*"):
                file.unlink()

    @property
    def is_real(self) -> bool:
        """Whether there is a file system; else errors are injected."""
        return self.is_mounted or bool(self.prefix)

    def _where(self, broker: Broker) -> Path | None:
        if self.is_mounted:
            return self.directory
        if self.prefix:
            return Path(f"/proc/{broker.process.pid}/root{self.directory}")
        return None

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
