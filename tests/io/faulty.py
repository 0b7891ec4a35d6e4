"""A disk that fails on demand, under the real drivers: `python -m tests.io.faulty CONTROL run …` is a `rafka run`
whose operations fail as CONTROL says, a file of lines `OP ERRNO PART`, read at every operation: "sync 5 /orders-0/".

The system calls below `rafka.io.disk` and `rafka.io.sockets` are replaced, so all of the drivers' own code runs:
a write puts half of its bytes down before it fails; a sync and a read fail in the background, some turns later.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from rafka.io import disk, files, sockets
from rafka.io.portable import PortableDriver
from rafka.io.uring import UringDriver

Judge = Callable[[str, str], int]
"""What is wrong with an operation on a path: an error number, or 0."""


class Broken:
    """An operation in the background that will fail, whatever comes of it."""

    def __init__(self, operation, number):
        self.operation = operation
        self.number = number
        self.fd = operation.fd

    def finish(self, result):
        del result
        self.operation.finish(-self.number)


def replacements(judge: Judge) -> list[tuple[object, str, object]]:
    """What is to be replaced, where, and by what."""

    def problem(op: str, fd: int) -> int:
        return judge(op, str(Path(f"/proc/self/fd/{fd}").readlink()))

    def write_all(fd, position, buffers):
        number = problem("write", fd)
        if number:
            data = b"".join(buffers)
            os.pwrite(fd, data[: len(data) // 2], position)
            raise OSError(number, os.strerror(number))
        files.write_all(fd, position, buffers)

    def read_some(fd, length, position):
        number = problem("send", fd)
        if number:
            raise OSError(number, os.strerror(number))
        return files.read_some(fd, length, position)

    real_sendfile = os.sendfile

    def sendfile(to, fd, offset, count):
        number = problem("send", fd)
        if number:
            raise OSError(number, os.strerror(number))
        return real_sendfile(to, fd, offset, count)

    def sync_of(real):
        def sync(self, operation, *, is_dir):
            number = (
                0 if isinstance(operation, Broken) else problem("syncdir" if is_dir else "sync", operation.fd)
            )
            real(self, Broken(operation, number) if number else operation, is_dir=is_dir)

        return sync

    def read_of(real, sync):
        def read(self, operation):
            number = problem("read", operation.fd)
            if number:
                sync(self, Broken(operation, number), is_dir=False)
            else:
                real(self, operation)

        return read

    found = [(disk, "write_all", write_all), (sockets, "read_some", read_some), (os, "sendfile", sendfile)]
    for driver in (PortableDriver, UringDriver):
        found.append((driver, "sync", sync_of(driver.sync)))
        found.append((driver, "read", read_of(driver.read, driver.sync)))
    return found


def judge_by(control: Path) -> Judge:
    """Do as a file says, which may change at any time."""

    def judge(op: str, path: str) -> int:
        try:
            lines = control.read_text().splitlines()
        except FileNotFoundError:
            return 0
        for line in lines:
            what, number, part = line.split(" ", 2)
            if what == op and part in path:
                return int(number)
        return 0

    return judge


def main() -> None:
    for where, name, what in replacements(judge_by(Path(sys.argv[1]))):
        setattr(where, name, what)
    from rafka.cli.main import main as rafka

    sys.argv[:] = ["rafka", *sys.argv[2:]]
    rafka()


if __name__ == "__main__":
    main()
