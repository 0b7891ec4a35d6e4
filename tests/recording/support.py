"""Recordings made by the simulator: a whole broker under faults, recorded as `rafka run --record` would."""

from rafka.core.config.settings import Settings
from rafka.core.node.node import Node
from rafka.io.broker import serving
from rafka.io.recorder import Recorder, begin
from rafka.net.compression import Compression
from rafka.sim.broker import IDENTITY
from rafka.sim.knobs import Knobs
from rafka.sim.profile import profile_of
from rafka.sim.replaying import Replay
from rafka.sim.run import Run

ABOUT = {"rafka": "0", "source": "here", "python": "3", "codecs": "none"}


class Recorded(Recorder):
    """A recorder that the simulator can ask for invariants."""

    def check(self):
        self._machine.check()


def record(directory, seed=1, *, profile="calm", time_ms=1500, segment_bytes=0, bytes_max=64 << 20):
    """Run a seed with a recorder around every life of its broker; the recorders."""
    recorders, notes = [], []
    pairs = Knobs().settings() | {"log.segment.bytes": "1048576"}

    def boot(entropy, now):
        if recorders:
            leave(recorders[-1])
        recorder = begin(
            str(directory), bytes_max, ABOUT, Settings.from_pairs(pairs), IDENTITY, entropy, notes.append
        )
        recorder.__class__ = Recorded
        recorder._files.bytes_max = bytes_max
        if segment_bytes:
            recorder._span = recorder._try_at = recorder._files.segment_bytes = segment_bytes
        recorders.append(recorder)
        settings = Settings.from_pairs(pairs)
        recorder.around(serving(Node(settings, IDENTITY, recorder.entropy, Compression()), settings))
        return recorder

    outcome = Run(seed, profile_of(profile), None, time_ms, None, False, False, lambda _: boot).outcome()
    assert outcome.violation == ""
    recorders[-1].close()
    return recorders, notes


def leave(recorder):
    """What is left of a recording whose process was killed: what it had written, without an end."""
    recorder._flush()
    recorder._is_on = False
    recorder.close()


def replayed(chain, **bounds):
    """Replay to the end; the replay."""
    run = Replay(chain)
    for _ in run.turns(**bounds):
        pass
    return run
