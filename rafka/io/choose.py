"""Which driver runs the machine: io_uring where a ring really works, trio everywhere else.

Neither driver is imported before it is chosen: trio alone costs more of the start-up budget than all of the core.
"""

from collections.abc import Callable

from rafka.core.errors import ConfigError
from rafka.core.shape import value
from rafka.io.driver import Driver
from rafka.io.journal import Journal

NAMES = ("auto", "uring", "trio")


@value
class Choice:
    """A driver, and why this one. driver: makes it, given where its notes go."""

    name: str
    reason: str
    driver: Callable[[Journal], Driver]


def choose(name: str = "auto") -> Choice:
    """Choose by name: "auto", "uring" or "trio".

    Raises: ConfigError for another name, or for "uring" where no ring works; the error says why.
    """
    if name not in NAMES:
        raise ConfigError("io.driver", name, "no such driver", "auto, uring or trio")
    if name == "trio":
        return Choice("trio", "asked for", _portable)
    problem = _probe()
    if problem is None:
        return Choice("uring", "asked for" if name == "uring" else "a probe ring works", _uring)
    if name == "uring":
        raise ConfigError("io.driver", name, problem, "io.driver=auto falls back to trio")
    return Choice("trio", problem, _portable)


def _probe() -> str | None:
    """Say what is wrong with io_uring here; None if a ring works."""
    try:
        from rafka.io.ring import probe
    except (ImportError, OSError) as error:  # no ctypes, no mmap flags: not a Linux we know
        return f"io_uring cannot be reached: {error}"
    return probe()


def _portable(notes: Journal) -> Driver:
    from rafka.io.portable import PortableDriver

    return PortableDriver(notes)


def _uring(notes: Journal) -> Driver:
    from rafka.io.uring import UringDriver

    return UringDriver(notes)
