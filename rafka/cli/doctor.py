"""`rafka doctor`: what this machine offers a broker, measured rather than assumed.

io_uring is probed by its set-up call (number 425 on every architecture that has it): kernels too old answer
ENOSYS, containers that forbid it EPERM. The sync latency is the median of writes of 4 KiB, each followed by
fdatasync, in the directory the broker would use: the floor under every acknowledgement with `flush=fsync`.
"""

import ctypes
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import click

IO_URING_SETUP = 425
IO_URING_PARAMS_BYTES = 120
BLOCK = bytes(4096)
SYNCS = 20

Report = dict[str, str | int | float | None]


@click.command(short_help="Show what this machine offers a broker.")
@click.option("--data-dir", default="./data", show_default=True, help="Where the broker would keep its data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(data_dir: str, as_json: bool) -> None:
    """Show what this machine offers: io_uring, the limit of open files, the disk's sync latency."""
    report = examine(Path(data_dir))
    if as_json:
        click.echo(json.dumps(report))
        return
    for name, fact in report.items():
        click.echo(f"{name:<20} {'-' if fact is None else fact}")


def examine(data_dir: Path) -> Report:
    """Probe the machine; the data directory is not created, its nearest existing parent is measured."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    place = nearest_existing(data_dir.absolute())
    latency, trouble = sync_latency_ms(place)
    return {
        "platform": sys.platform,
        "cpus": os.cpu_count(),
        "io_uring": probe_io_uring(),
        "open_files_soft": soft,
        "open_files_hard": hard,
        "measured_dir": str(place),
        "sync_latency_ms": latency,
        "disk_trouble": trouble,
    }


def nearest_existing(path: Path) -> Path:
    """Return the path itself, or its nearest parent that is a directory."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def sync_latency_ms(place: Path) -> tuple[float | None, str | None]:
    """Return the median time of a 4 KiB write and fdatasync in ms, or None and what stood in the way."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            return round(median(timed_sync(file.fileno()) for _ in range(SYNCS)), 3), None
    except OSError as error:
        return None, f"{place}: {error.strerror}"


def timed_sync(fd: int) -> float:
    """Append a block and sync it; return the milliseconds that took."""
    start = time.perf_counter()
    os.write(fd, BLOCK)
    # macOS has no fdatasync in Python
    getattr(os, "fdatasync", os.fsync)(fd)
    return (time.perf_counter() - start) * 1000


def probe_io_uring() -> str:
    """Return "available", or why not."""
    if sys.platform != "linux":
        return "not on this system"
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(IO_URING_PARAMS_BYTES))
    if ring < 0:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    with suppress(OSError):
        os.close(ring)
    return "available"
