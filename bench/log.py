"""The log's own share of a Produce: CPU for each appended batch, without a disk.

    python bench/log.py [--batches 200000] [--record 100] [--per-turn 32]

A log is appended to and flushed as a node does it, `per-turn` batches a turn; every effect is answered at once by a
loop that performs nothing. So the figure is append, flush, completions, indexes, links and marks, and no input or
output. The batch is built once and its bytes are used again: who checks it, and its CRC, are not in the figure.
"""

import argparse
import time

from rafka.core.config import LogConfig
from rafka.core.effects import Note, Sync, Write
from rafka.core.events import Done, Synced, Written
from rafka.core.log.log import Log
from rafka.core.machine import Outbox
from rafka.core.record.batch import split
from rafka.core.record.builder import Record, build_batch
from rafka.core.types import File, MonoNs, Now, Uuid, WallMs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=200_000)
    parser.add_argument("--record", type=int, default=100, help="bytes in the one record of a batch")
    parser.add_argument("--per-turn", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    best = min(measure(args.batches, args.record, args.per_turn) for _ in range(args.runs))
    what = f"{args.record}-byte records, {args.per_turn} batches a turn"
    print(f"{what}: {best:.2f} us of CPU a batch (best of {args.runs})")


def measure(batches: int, record_bytes: int, per_turn: int) -> float:
    """Return microseconds of CPU for each batch."""
    out = Outbox()
    log = Log(File("bench-0"), out, LogConfig(), (Uuid(bytes(16)), 0))
    batch = memoryview(bytearray(build_batch([Record(None, bytes(record_bytes))], timestamp=1)))
    row = split(batch)
    begin = time.process_time_ns()
    for turn in range(batches // per_turn):
        now = Now(MonoNs(turn * 1_000_000), WallMs(1))
        for _ in range(per_turn):
            log.append(row, 0, now)
        log.flush(now)
        while effects := out.drain():
            for effect in effects:
                if not isinstance(effect, Note) and effect.token:
                    out.route(answer(effect), now)
        out.moved.clear()
    spent = time.process_time_ns() - begin
    assert log.durable_offset == log.log_end_offset
    return spent / batches / 1000


def answer(effect):
    """Say that it is done."""
    if isinstance(effect, Write):
        return Written(effect.file, effect.token)
    return (Synced if isinstance(effect, Sync) else Done)(effect.file, effect.token)


if __name__ == "__main__":
    main()
