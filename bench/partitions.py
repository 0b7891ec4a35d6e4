"""Many partitions: what a broker that has them holds in memory, and how long it takes to stop and to start again.

    python bench/partitions.py [--partitions 10000] [--driver auto] [--keep DIR]

A real `rafka run` gets topics of 1,000 partitions, and one record of 100 bytes in every partition. Then it is stopped
(SIGTERM) and started again; stopped and started with nothing done in between; filled once more, killed (SIGKILL) and
started. Resident memory and CPU seconds are the broker's own, from /proc; ready is when the ready file is there.
"""

import argparse
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from start import ROOT, VERSIONS, ask, cpu_seconds, rss_mib

from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreateTopicsResponse
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.record.builder import Record, build_batch

VERSIONS[CreateTopicsRequest] = (19, 5)
PER_TOPIC = 1000
PER_REQUEST = 250


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--keep", help="leave the data in this directory")
    args = parser.parse_args()
    topics = {
        f"many-{n}": min(PER_TOPIC, args.partitions - n * PER_TOPIC)
        for n in range(-(-args.partitions // PER_TOPIC))
    }
    place = nullcontext(args.keep) if args.keep else tempfile.TemporaryDirectory(prefix="rafka-many-")
    with place as temp:
        Path(temp).mkdir(exist_ok=True)
        broker = Broker(Path(temp), args.driver)
        print(f"{args.partitions} partitions of 1 record, driver {args.driver}")
        broker.say("fresh", broker.start())
        broker.say("created", broker.timed(lambda: create(broker.address, topics)))
        broker.say("filled", broker.timed(lambda: fill(broker.address, topics)))
        broker.say("stop", broker.stop(signal.SIGTERM))
        broker.say("start", broker.start())
        broker.say("stop, idle", broker.stop(signal.SIGTERM))
        broker.say("start", broker.start())
        broker.say("filled", broker.timed(lambda: fill(broker.address, topics)))
        broker.say("kill", broker.stop(signal.SIGKILL))
        broker.say("start", broker.start())
        broker.say("stop", broker.stop(signal.SIGTERM))


class Broker:
    """One `rafka run` after the other on one data directory."""

    def __init__(self, temp: Path, driver: str) -> None:
        self.ready = temp / "ready"
        words = [sys.executable, "-m", "rafka", "run", "--data-dir", str(temp / "data"), "--driver", driver]
        words += ["--listen", "127.0.0.1:0", "--ready-file", str(self.ready), "--log-level", "warning"]
        self.command = shlex.join(words)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.ready.read_text().strip().rpartition(":")
        return host, int(port)

    def start(self) -> float:
        self.ready.unlink(missing_ok=True)
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {self.command}"], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        while not self.ready.exists():
            assert self.process.poll() is None, "the broker did not start"
            time.sleep(0.001)
        return time.perf_counter() - begin

    def stop(self, how: signal.Signals) -> float:
        assert self.process is not None
        begin = time.perf_counter()
        self.process.send_signal(how)
        self.process.wait(60)
        self.process = None
        return time.perf_counter() - begin

    def timed(self, action) -> float:
        begin = time.perf_counter()
        action()
        return time.perf_counter() - begin

    def say(self, what: str, seconds: float) -> None:
        held = ""
        if self.process is not None:
            pid = self.process.pid
            held = f"   so far {cpu_seconds(pid):6.2f} CPU s, {rss_mib(pid):6.1f} MiB"
        print(f"{what:12}{seconds:8.2f} s{held}", flush=True)


def create(address: tuple[str, int], topics: dict[str, int]) -> None:
    with socket.create_connection(address, 60) as wire:
        for name, partitions in topics.items():
            topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
            request = CreateTopicsRequest(topics=[topic], timeout_ms=60_000)
            (result,) = ask(wire, request, CreateTopicsResponse).topics
            assert result.error_code == 0, result


def fill(address: tuple[str, int], topics: dict[str, int]) -> None:
    now_ms = time.time_ns() // 1_000_000  # an older record would soon be over
    batch = bytes(build_batch([Record(key=None, value=b"x" * 100)], timestamp=now_ms))
    with socket.create_connection(address, 60) as wire:
        for name, partitions in topics.items():
            for first in range(0, partitions, PER_REQUEST):
                indexes = range(first, min(first + PER_REQUEST, partitions))
                data = [PartitionProduceData(index=index, records=batch) for index in indexes]
                request = ProduceRequest(
                    acks=-1, timeout_ms=60_000, topic_data=[TopicProduceData(name=name, partition_data=data)]
                )
                answer = ask(wire, request, ProduceResponse)
                codes = {p.error_code for p in answer.responses[0].partition_responses}
                assert codes == {0}, codes


if __name__ == "__main__":
    main()
