"""`rafka doctor`: what this machine offers a broker, measured rather than assumed, and what Rafka would choose.

The driver is chosen by the code that chooses it at start, which puts one operation through a ring. The sync latency
is the median of writes of 4 KiB, each followed by fdatasync, in the directory the broker would use: the floor under
every acknowledgement with `flush=fsync`. Nothing is left behind, and a missing data directory is not made.
"""

import json
import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import click

from rafka.cli.show import show_table

BLOCK = bytes(4096)
SYNCS = 20
FILES_MIN = 4096
"""With fewer, a thousand partitions and their clients are too many: a partition holds a few files open."""
SYNC_SLOW_MS = 20.0
FULL_BYTES = 1 << 20
"""With less a broker does not start."""
FEW_BYTES = 1 << 30
"""What one segment may take by default."""

Fact = str | int | float | None
Report = dict[str, Fact]


@click.command(short_help="Show what this machine offers a broker.")
@click.option("--data-dir", default="./data", show_default=True, help="Where the broker would keep its data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(data_dir: str, as_json: bool) -> None:
    """Show what this machine offers (io_uring, open files, the disk), and what Rafka would choose."""
    report = examine(Path(data_dir))
    if as_json:
        click.echo(json.dumps(report))
    else:
        show_table(
            ["fact", "found", "means"], [(name, fact, meaning(report, name)) for name, fact in report.items()]
        )


def examine(data_dir: Path) -> Report:
    """Probe the machine; of a data directory that is not there, the nearest parent is measured."""
    from rafka.io.choose import choose

    choice = choose("auto")
    soft, hard = open_files()
    place = nearest_existing(data_dir.absolute())
    latency, trouble = sync_latency_ms(place)
    return {
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "driver": choice.name,
        "driver_reason": choice.reason,
        "open_files_soft": soft,
        "open_files_hard": hard,
        "measured_dir": str(place),
        "free_bytes": free_bytes(place),
        "sync_latency_ms": latency,
        "disk_trouble": trouble,
    }


def meaning(report: Report, name: str) -> str:
    """Say what a fact means for a broker; "" when it speaks for itself."""
    fact = report[name]
    match name, fact:
        case "driver", "uring":
            return "io_uring works here: Rafka uses it"
        case "driver", _:
            return "Rafka falls back to trio: it works, at more CPU per request"
        case "open_files_soft", _ if fact != report["open_files_hard"]:
            return "Rafka raises it to the hard limit"
        case "open_files_hard", int() if 0 <= fact < FILES_MIN:
            return f"low: raise it to {FILES_MIN} or more (ulimit -Hn, LimitNOFILE=)"
        case "free_bytes", int() if fact < FULL_BYTES:
            return "as good as full: a broker would refuse to start here"
        case "free_bytes", int() if fact < FEW_BYTES:
            return "little: less than one segment of a partition may take (segment.bytes)"
        case "sync_latency_ms", float() if fact > SYNC_SLOW_MS:
            return "slow: flush=fsync waits at least so long for every acknowledgement"
        case "sync_latency_ms", float():
            return "the least that an acknowledgement takes with flush=fsync"
        case "disk_trouble", str():
            return "a broker would refuse to start here"
        case _:
            return ""


def open_files() -> tuple[int | None, int | None]:
    """Return the soft and the hard limit of open files; None where there is none to ask for."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None, None
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def nearest_existing(path: Path) -> Path:
    """Return the path itself, or its nearest parent that is a directory."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def free_bytes(place: Path) -> int | None:
    """Return what this user may still write; None if that cannot be known."""
    try:
        room = os.statvfs(place)
    except (OSError, AttributeError):  # not a Unix
        return None
    return room.f_bavail * room.f_frsize


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
