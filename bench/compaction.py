"""What compaction costs: CPU for each megabyte of log, and how long one step keeps everybody else waiting.

    python bench/compaction.py

A log on the simulated disk, in memory: so only the work of the cleaner counts, not the device. For each size of
record and codec: megabytes a second of process time, microseconds a record, the median and the longest step (what
happens between two answers of the disk), and what of the log was left. Best of three.
"""

from __future__ import annotations

import gc
import statistics
import time
from random import Random

from rafka.core.config import LogConfig
from rafka.core.log.cleaner import Cleaned, clean, survey
from rafka.core.log.log import Log
from rafka.core.machine import Outbox
from rafka.core.record.batch import Header
from rafka.core.record.builder import Record, build_batch
from rafka.core.script import run
from rafka.core.types import File, MonoNs, Now, Uuid, WallMs
from rafka.net.compression import Compression
from rafka.sim.disk import Disk

LOG_BYTES = 16 << 20
BATCH_BYTES = 16 << 10
COPIES = 8
"""How often every key is written."""
NOW = Now(MonoNs(0), WallMs(1_700_000_000_000))
CODECS = Compression()
NAMES = {0: "none", 3: "lz4", 4: "zstd"}


def perform(log: Log, out: Outbox, disk: Disk) -> list[float]:
    """Perform effects until there are none; the process time of each step of the core, in seconds."""
    steps = []
    effects = out.drain()
    while effects:
        event = disk.perform(effects.pop(0))  # type: ignore[arg-type]  # notes are taken out
        begun = time.process_time()
        out.route(event, NOW)
        steps.append(time.process_time() - begun)
        effects += [effect for effect in out.drain() if hasattr(effect, "token")]
    assert not log.is_offline
    return steps


def filled(value_bytes: int, codec: int) -> tuple[Log, Outbox, Disk, int]:
    """Make a log of LOG_BYTES before compression; the last number: its records."""
    out, disk = Outbox(), Disk()
    config = LogConfig(segment_bytes=1 << 20, cleanup_compact=True, min_cleanable_dirty_ratio=0.0)
    log = Log(File("orders-0"), out, config, (Uuid(bytes(16)), 0))
    number, random = 0, Random(1)
    keys = LOG_BYTES // (value_bytes + 16) // COPIES
    per_batch = max(1, BATCH_BYTES // (value_bytes + 16))
    while number * (value_bytes + 16) < LOG_BYTES:
        records = []
        for _ in range(per_batch):
            key = b"key-%08d" % (number * 7919 % keys)
            half = random.randbytes(value_bytes // 2)
            records.append(Record(key, half + bytes(value_bytes - len(half))))
            number += 1
        batch = memoryview(build_batch(records, timestamp=NOW.wall, codec=codec, codecs=CODECS))
        log.append([(batch, Header(batch))], 0, NOW)
        log.flush(NOW)
        perform(log, out, disk)
    return log, out, disk, number


def measured(value_bytes: int, codec: int) -> str:
    """Clean one log and say what it cost."""
    log, out, disk, records = filled(value_bytes, codec)
    found = survey(log, log.durable_offset, NOW.wall)
    gc.collect()
    gc.disable()
    running = run(clean(found, 128 << 20, CODECS, NOW.wall), out, None)
    steps = perform(log, out, disk)
    gc.enable()
    result = running.result
    assert isinstance(result, Cleaned)
    seconds, megabytes = sum(steps), result.bytes_before / 1e6
    share = result.bytes_after / result.bytes_before
    worst, usual = max(steps) * 1e3, statistics.median(steps) * 1e3
    per_record = seconds / (
        records * result.bytes_before / (result.bytes_before + log.segments[-1].size_bytes)
    )
    return (
        f"{value_bytes:6} {NAMES[codec]:>5} {megabytes:8.1f} {megabytes / seconds:9.1f}"
        f" {seconds / megabytes * 1e3:8.1f} {per_record * 1e6:9.2f} {usual:8.2f} {worst:8.2f} {share:7.0%}"
    )


def main() -> None:
    """Print the table."""
    print(" value codec       MB    MB/s    ms/MB us/record  step ms  max ms    left")
    for codec in (0, 3, 4):
        for value_bytes in (100, 1000, 8000):
            print(
                min((measured(value_bytes, codec) for _ in range(3)), key=lambda row: float(row.split()[4]))
            )


if __name__ == "__main__":
    main()
