"""A log of keyed records over the simulated disk, and what must hold of it whatever is cleaned when."""

from random import Random

from rafka.core.config import LogConfig
from rafka.core.effects import Note
from rafka.core.log.cleaner import clean, survey
from rafka.core.log.log import Log
from rafka.core.log.segment import Place
from rafka.core.machine import Outbox
from rafka.core.record.batch import check, split
from rafka.core.record.builder import Record, build_batch, records_of
from rafka.core.script import run
from rafka.core.types import File, MonoNs, Now, Uuid, WallMs
from rafka.net.compression import Compression
from rafka.sim.disk import Disk

CODECS = Compression()
DIRECTORY = "orders-0"
WALL = 1_700_000_000_000
ROOM = 1 << 20


def small(**kwargs):
    kwargs = {"cleanup_compact": True, "min_cleanable_dirty_ratio": 0.0, **kwargs}
    return LogConfig(segment_bytes=400, index_interval_bytes=100, **kwargs)


class Keyed:
    """A disk, a log on it, and a loop that performs one effect after the other. `sent`: what was appended, in order."""

    def __init__(self, config=None, disk=None, power=None):
        self.disk = disk or Disk()
        if power is not None:
            self.disk.crash(Random(power))
        self.config = config or small()
        self.mono = 0
        self.wall = WALL
        self.sent = []
        self.notes = []
        self.reopen()

    @property
    def now(self):
        return Now(MonoNs(self.mono), WallMs(self.wall))

    def reopen(self):
        self.effects = []
        self.out = Outbox()
        self.log = Log(File(DIRECTORY), self.out, self.config, (Uuid(bytes(16)), 0))
        self.script(self.log.recover())

    def crash(self, seed=None):
        """Kill the process, or, with a seed, lose power."""
        if seed is not None:
            self.disk.crash(Random(seed))
        self.reopen()

    def start(self, script):
        running = run(script, self.out, None)
        self.collect()
        return running

    def script(self, script):
        running = self.start(script)
        self.settle()
        assert running.finished
        return running.result

    def append(self, *pairs, wall=None, **kwargs):
        records = [Record(key, value) for key, value in pairs]
        timestamp = self.wall if wall is None else wall
        batch = build_batch(records, timestamp=timestamp, codecs=CODECS, **kwargs)
        offset = self.log.append(split(memoryview(batch)), 0, self.now)
        self.sent += [(offset + n, key, value) for n, (key, value) in enumerate(pairs)]
        self.log.flush(self.now)
        return offset

    def beside(self, script):
        """Run a script to its end, while whatever else is under way goes on only as far as it must."""
        running = self.start(script)
        while not running.finished:
            assert self.step()
        return running.result

    def step(self):
        """Perform one effect and hand back its answer; False: there is none."""
        self.collect()
        if not self.effects:
            return False
        self.out.route(self.disk.perform(self.effects.pop(0)), self.now)
        self.collect()
        return True

    def collect(self):
        for effect in self.out.drain():
            (self.notes if isinstance(effect, Note) else self.effects).append(effect)

    def settle(self):
        while self.step():
            pass
        self.log.check()

    def elapse(self, ms):
        self.mono += ms * 1_000_000
        self.wall += ms
        for key in self.out.alarms.pop_due(MonoNs(self.mono)):
            assert key is self.log
            self.log.maintain(self.now)
        self.settle()

    # ---- cleaning ----------------------------------------------------------------------------------

    def survey(self):
        return survey(self.log, self.log.durable_offset, self.wall)

    def cleaning(self, room=ROOM):
        return clean(self.survey(), room, CODECS, WallMs(self.wall))

    def clean(self, room=ROOM):
        return self.script(self.cleaning(room))

    # ---- looking -----------------------------------------------------------------------------------

    def read(self, start=None):
        """Read the log as a consumer does: (offset, key, value) of every record."""
        offset = self.log.log_start_offset if start is None else start
        found = []
        while offset < self.log.durable_offset:
            place = self.log.find(offset) or self.beside(self.log.lookup(offset))
            assert isinstance(place, Place), place
            (piece,) = self.log.slices(place, 1, self.log.durable_offset, at_least_one=True)
            data = self.disk.files[piece.file].data[piece.position : piece.position + piece.length]
            header = check(memoryview(data))
            assert header.size_bytes == len(data)
            assert header.last_offset >= offset, "it is the batch that was asked for"
            found += [
                (r.offset, r.key, r.value) for r in records_of(bytes(data), CODECS) if r.offset >= offset
            ]
            offset = header.last_offset + 1
        return found

    def files(self):
        prefix = DIRECTORY + "/"
        return sorted(name[len(prefix) :] for name in self.disk.files if name.startswith(prefix))


def last_per_key(records):
    return {key: (offset, value) for offset, key, value in records}


def holds(read, sent, *, start=0, end=1 << 62, expired=False):
    """LO6: what is read was sent, in order, nothing moved; of every key the last value is there.

    start, end: what was read; expired: whether tombstones may be gone.
    """
    assert read == sorted(read)
    assert set(read) <= set(sent), "what is read was sent, where it was sent"
    there = last_per_key(read)
    wanted = last_per_key([record for record in sent if record[0] < end])
    missing = [pair for key, pair in wanted.items() if pair[0] >= start and there.get(key) != pair]
    assert all(value is None and expired for _, value in missing), missing
