"""`rafka` as an operator starts it: real processes, each ended by the test that started it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0  # a test that waits this long has failed
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def until(condition, what):
    """Ask again until the answer is true; the answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.01)
    return answer


def rafka(*words, **how):
    """Run a command to its end. how: as for subprocess.run."""
    command = [sys.executable, "-m", "rafka", *map(str, words)]
    defaults = {"env": ENVIRONMENT, "capture_output": True, "timeout": 60, "check": False}
    return subprocess.run(command, **{"text": True} | defaults | how)


class Running:
    """A broker. bootstrap: where it listens; stop, kill: end it; out: what it printed, once it ended."""

    def __init__(self, data_dir, *words, cwd=None):
        self.ready = Path(f"{data_dir}.ready")
        self.ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "rafka", "run", "--data-dir", data_dir, "--listen", "127.0.0.1:0"]
        command += ["--ready-file", self.ready, *words]
        self.process = subprocess.Popen(
            [str(word) for word in command],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        until(lambda: self.ready.exists() or self.process.poll() is not None, "the broker serves or gives up")
        assert self.process.poll() is None, self.process.communicate()[1]
        self.bootstrap = self.ready.read_text("utf-8").strip()

    def stop(self, number=signal.SIGTERM):
        """Ask it to end; the exit code."""
        self.process.send_signal(number)
        self.out, self.err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextmanager
def running(data_dir, *words, cwd=None):
    """A broker for as long as the block lasts, whatever the block does to it."""
    broker = Running(data_dir, *words, cwd=cwd)
    try:
        yield broker
    finally:
        broker.kill()
