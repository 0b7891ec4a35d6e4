"""Retention and compaction over all partitions of a node, from the moment it serves until it is asked to end.

Every log.retention.check.interval.ms each log is asked what it need not keep, and producers that have long been silent
are forgotten (producer.id.expiration.ms). The cleaner works at one log at a time, the dirtiest; when nothing is due it
looks again after log.cleaner.backoff.ms. A log in which it finds damage, or that the disk refuses, is noted and left
alone until the next start; one for which there is no space is tried again. What happens to one log keeps nobody
from the others.

Sources: Kafka's `LogManager.cleanupLogs`, `LogCleaner.CleanerThread`, `LogCleanerManager.grabFilthiestCompactedLog`.
"""

from errno import EDQUOT, ENOSPC

import attrs

from rafka.core.errors import StorageError
from rafka.core.log.cleaner import Cleaned, Uncleanable, clean, dirtiest, survey
from rafka.core.log.log import Log
from rafka.core.log.retention import expired
from rafka.core.machine import Outbox
from rafka.core.node.partitions import Partitions
from rafka.core.node.pool import Pool
from rafka.core.record.compression import Codecs
from rafka.core.script import Running, run
from rafka.core.types import MonoNs, Now

ALARM = "housekeeping"
RETENTION = (ALARM, "retention")
CLEANING = (ALARM, "cleaning")
FIRST_MS = 30_000
"""Retention is first looked at so long after a start, as in Kafka, or after the interval if that is shorter."""
LOGS_AT_ONCE = 8
"""How many logs retention works at; each costs two syncs."""
MS = 1_000_000


@attrs.define(eq=False)
class Housekeeping:
    """Begins with `begin`. map_bytes: log.cleaner.dedupe.buffer.size; the rest as the settings of these names."""

    out: Outbox
    partitions: Partitions
    codecs: Codecs
    retention_check_interval_ms: int
    cleaner_backoff_ms: int
    map_bytes: int
    producer_id_expiration_ms: int
    uncleanable: dict[Log, str] = attrs.field(factory=dict)
    """Logs that are left alone, and why."""
    cleanings: int = 0
    """How many have ended well since the start."""
    _pool: Pool[int] = attrs.field(init=False)
    _cleaning: Running[Cleaned | Uncleanable | None] | None = None
    _has_begun: bool = False
    _has_ended: bool = False

    def __attrs_post_init__(self) -> None:
        self._pool = Pool(self.out, LOGS_AT_ONCE)

    def begin(self, now: Now) -> None:
        """Begin to keep house: the node serves."""
        if not self._has_begun and not self._has_ended:
            self._has_begun = True
            self._later(RETENTION, min(FIRST_MS, self.retention_check_interval_ms), now)
            self._later(CLEANING, self.cleaner_backoff_ms, now)

    def end(self) -> None:
        """Begin nothing more: the node stops. A cleaning goes no further than it must."""
        self._has_ended = True
        self.out.alarms.clear(RETENTION)
        self.out.alarms.clear(CLEANING)
        cleaning = self._cleaning
        if cleaning is not None and not cleaning.finished:  # else it is about to be taken note of
            log = cleaning.purpose
            assert isinstance(log, Log)
            if not log.is_swapping:
                cleaning.cancel()
                self._cleaning = None

    def on_alarm(self, key: object, now: Now) -> None:
        """Do what has fallen due."""
        if key == RETENTION:
            self._retain(now)
        else:
            assert key == CLEANING, f"nobody set {key!r}"
            self._clean(now)

    def finished(self, running: Running[object], now: Now) -> bool:
        """Take the end of a script; False if it is none of ours."""
        if running is self._cleaning:
            self._cleaned(self._cleaning, now)
            return True
        return self._pool.finished(running)

    # ---- retention ---------------------------------------------------------------------------------

    def _retain(self, now: Now) -> None:
        self._later(RETENTION, self.retention_check_interval_ms, now)
        for partition in self.partitions:
            log = partition.log
            log.producers.expire(now.wall - self.producer_id_expiration_ms)
            watermark = partition.high_watermark
            if expired(log.segments, watermark, log.log_end_offset, log.config, now.wall):
                self._pool.add(log.retain(watermark, now), log)

    # ---- compaction --------------------------------------------------------------------------------

    def _clean(self, now: Now) -> None:
        if self._cleaning is not None or self._has_ended:
            return
        surveys = (
            survey(partition.log, partition.last_stable_offset, now.wall)
            for partition in self.partitions
            if partition.log.config.cleanup_compact
            and not partition.log.is_offline
            and partition.log not in self.uncleanable
        )
        found = dirtiest(surveys)
        if found is None:
            self._later(CLEANING, self.cleaner_backoff_ms, now)
        else:
            script = clean(found, self.map_bytes, self.codecs, now.wall)
            self._cleaning = run(script, self.out, found.log)

    def _cleaned(self, running: Running[Cleaned | Uncleanable | None], now: Now) -> None:
        self._cleaning = None
        log, result = running.purpose, running.result
        assert isinstance(log, Log)
        rest_ms = 0
        if isinstance(result, Cleaned):
            self.cleanings += 1
            before, after = result.bytes_before, result.bytes_after
            self.out.note("info", "log cleaned", log=log.directory, bytes_before=before, bytes_after=after)
        else:
            rest_ms = self.cleaner_backoff_ms
            if isinstance(result, Uncleanable):
                self._give_up(log, result)
        if not self._has_ended:
            self._later(CLEANING, rest_ms, now)

    def _give_up(self, log: Log, result: Uncleanable) -> None:
        error = result.error
        self.out.note("error", "log cannot be cleaned", log=log.directory, reason=str(error))
        is_full = isinstance(error, StorageError) and error.errno in (ENOSPC, EDQUOT)
        if not is_full:
            self.uncleanable = {one: why for one, why in self.uncleanable.items() if not one.is_offline}
            self.uncleanable[log] = str(error)

    def _later(self, key: tuple[str, str], delay_ms: int, now: Now) -> None:
        self.out.alarms.set(key, MonoNs(now.mono + delay_ms * MS))
