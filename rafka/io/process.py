"""What the system says of this process: CPU, memory, descriptors. Linux tells all of it, others what they can.

The names are those that every client of Prometheus gives. Source: proc(5).
"""

import os

from rafka.observe import catalogue as of
from rafka.observe.catalogue import Metric
from rafka.observe.pages import Process

START_AT, VIRTUAL_AT, RESIDENT_AT = 19, 20, 21
"""Fields of /proc/self/stat, counted from the one after the command's name."""


def process() -> Process:
    """Ask the system; what it does not tell is left out."""
    times = os.times()
    found: list[tuple[Metric, float]] = [(of.CPU, times.user + times.system)]
    try:
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        found.append((of.FILES_MAX, float("inf") if soft == resource.RLIM_INFINITY else soft))
    except ImportError:  # not a Unix
        pass
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        found += [
            (of.VIRTUAL, int(fields[VIRTUAL_AT])),
            (of.MEMORY, int(fields[RESIDENT_AT]) * os.sysconf("SC_PAGE_SIZE")),
            (of.STARTED, _booted_s() + int(fields[START_AT]) / os.sysconf("SC_CLK_TCK")),
            (of.OPEN_FILES, len(os.listdir("/proc/self/fd")) - 1),  # but for the one that lists them
        ]
    except (OSError, ValueError, IndexError):  # no Linux, or one that does not let us look
        pass
    return found


def _booted_s() -> int:
    """Say when the system started, in seconds since 1970."""
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return int(line.split()[1])
    raise ValueError("no btime")
