"""What a ring costs from Python: submissions with their completions, beside direct calls and beside other bindings.

    python bench/ring.py [--batch 64] [--rounds 2000]

CPU per operation, the best of five runs. The bindings are compared when they can be imported.
"""

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rafka.io.ring import NOP, READ, Ring, address_of

SIZE = 4096


def ours(fd: int, batch: int, opcode: int) -> Callable[[], None]:
    ring = Ring(256)
    buffers = [memoryview(bytearray(SIZE)) for _ in range(batch)]

    def once() -> None:
        for number, buffer in enumerate(buffers):
            if opcode == NOP:
                ring.push(NOP, -1, number)
            else:
                ring.push(READ, fd, number, address=address_of(buffer), length=SIZE)
        left = batch
        while left:
            ring.enter(None)
            for user_data, result, _ in ring.completions():
                assert result in (0, SIZE)
                assert buffers[user_data]
                left -= 1

    return once


def uring_api(fd: int, batch: int) -> Callable[[], None]:
    module = importlib.import_module("uring_api")
    flags = module.IORING_SETUP_SINGLE_ISSUER | module.IORING_SETUP_DEFER_TASKRUN
    ring = module.Ring(256, flags, False)
    buffers = [bytearray(SIZE) for _ in range(batch)]

    def once() -> None:
        for number, buffer in enumerate(buffers):
            ring.prepare_read(fd, buffer, 0, number)
        ring.submit()
        left = batch
        while left:
            for completion in ring.wait():
                assert completion.res == SIZE
                assert buffers[completion.user_data]
                left -= 1

    return once


def liburing(fd: int, batch: int, opcode: int) -> Callable[[], None]:
    lib = importlib.import_module("liburing")
    ring, cqe = lib.Ring(), lib.Cqe()
    lib.io_uring_queue_init(256, ring, lib.IORING_SETUP_SINGLE_ISSUER | lib.IORING_SETUP_DEFER_TASKRUN)
    buffers = [bytearray(SIZE) for _ in range(batch)]

    def once() -> None:
        for number, buffer in enumerate(buffers):
            sqe = lib.io_uring_get_sqe(ring)
            if opcode == NOP:
                lib.io_uring_prep_nop(sqe)
            else:
                lib.io_uring_prep_read(sqe, fd, buffer)
            sqe.user_data = number + 1
        lib.io_uring_submit_and_wait(ring, batch)
        for _ in range(batch):
            lib.io_uring_wait_cqe(ring, cqe)
            entry = cqe[0]
            assert entry.res in (0, SIZE)
            assert buffers[entry.user_data - 1]
            lib.io_uring_cqe_seen(ring, entry)

    return once


def direct_read(fd: int, batch: int) -> Callable[[], None]:
    buffers = [memoryview(bytearray(SIZE)) for _ in range(batch)]

    def once() -> None:
        for buffer in buffers:
            assert os.preadv(fd, [buffer], 0) == SIZE

    return once


def direct_write(fd: int, batch: int) -> Callable[[], None]:
    data = bytes(512)

    def once() -> None:
        for number in range(batch):
            os.pwrite(fd, data, 512 * number)

    return once


def measure(name: str, make: Callable[[], Callable[[], None]], batch: int, rounds: int) -> None:
    """Measure in a process of its own: a binding may take it down."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        print(f"{name:34} {measured(make, batch, rounds)}", flush=True)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(f"{name:34} ended by {signal.Signals(-status).name if status < 0 else status}")


def measured(make: Callable[[], Callable[[], None]], batch: int, rounds: int) -> str:
    try:
        once = make()
        once()
    except Exception as error:
        return f"not here: {error}"
    best = 1e9
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            once()
        best = min(best, time.process_time() - began)
    return f"{best / rounds / batch * 1e6:6.2f} us CPU"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--rounds", type=int, default=2000)
    given, _ = options.parse_known_args()
    batch, rounds = given.batch, given.rounds
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        os.pwrite(fd, bytes(1 << 20), 0)
        measure("no operation: this ring", lambda: ours(fd, batch, NOP), batch, rounds)
        measure("no operation: liburing", lambda: liburing(fd, batch, NOP), batch, rounds)
        measure("read 4 KiB: this ring", lambda: ours(fd, batch, READ), batch, rounds)
        measure("read 4 KiB: uring-api", lambda: uring_api(fd, batch), batch, rounds)
        measure("read 4 KiB: liburing", lambda: liburing(fd, batch, READ), batch, rounds)
        measure("read 4 KiB: preadv", lambda: direct_read(fd, batch), batch, rounds)
        measure("write 512 B: pwrite", lambda: direct_write(fd, batch), batch, rounds)
        measure("one at a time: this ring", lambda: ours(fd, 1, NOP), 1, rounds)


if __name__ == "__main__":
    main()
