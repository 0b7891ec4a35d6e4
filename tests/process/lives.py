"""A broker that lives many times on one data directory and one port, and dies as the test says."""

import signal
import subprocess
import sys
from pathlib import Path

from rafka.testing.ports import steady_port
from tests.clients.support import until


class Lives:
    """The lives of one broker, one after the other; each life's journal is kept in its own file.

    Every life uses the same data directory and the same port, so clients find it again.
    """

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.directory = directory
        self.count = 0
        self.address = f"127.0.0.1:{steady_port()}"
        self._words = [word for name, text in settings.items() for word in ("--set", f"{name}={text}")]
        self._ready = directory / "ready"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def journal(self) -> Path:
        return self.directory / f"journal-{self.count}"

    def spawn(self, driver: str) -> None:
        """Start the next life; it may not serve yet."""
        assert self._process is None
        self.count += 1
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "rafka", "run", "--data-dir", str(self.directory / "data")]
        command += ["--listen", self.address, "--ready-file", str(self._ready), "--driver", driver]
        with self.journal.open("wb") as output:
            self._process = subprocess.Popen(command + self._words, stdout=output, stderr=subprocess.STDOUT)

    def serve(self, driver: str) -> str:
        """Start the next life and wait until it serves; the address."""
        self.spawn(driver)
        process = self._process
        assert process is not None
        until(
            lambda: self._ready.exists() or process.poll() is not None, "the broker serves, or has given up"
        )
        self.still_alive()
        self.address = self._ready.read_text().strip()
        return self.address

    def still_alive(self) -> None:
        """Fail, with the journal, if the broker ended by itself or noted an error."""
        assert self._process is not None
        assert self._process.poll() is None, f"life {self.count} ended:\n{self.journal.read_text()}"
        text = self.journal.read_text()
        assert "Traceback" not in text, text
        assert " error " not in text, text

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End this life at once, as SIGKILL does. It must have been alive until now."""
        self.still_alive()
        self.end()

    def stop(self) -> None:
        """Ask this life to stop; it must, with success."""
        self.still_alive()
        self.signal(signal.SIGTERM)
        assert self._process is not None
        assert self._process.wait(20) == 0, self.journal.read_text()
        self._process = None

    def end(self) -> None:
        """End this life, if there is one, without a question."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
