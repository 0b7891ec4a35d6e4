"""What a flight recording costs: two brokers side by side, one recorded and one not, in turn under the same produces.

    python bench/recorder.py [--connections 32] [--sizes 100,16384] [--requests 1000] [--slices 30] [--flush os]
                             [--pipelined 1] [--driver auto]

A slice is so many requests of one record to the one broker and then to the other, first one, then the other of them
first. CPU is the broker processes' own, from the kernel's accounts: of all threads, and of the one that serves, which
bounds throughput where another core can do the recorder's writing. Throughput is requests a second. What counts is
the median of the slices' ratios, since the two halves of a slice are within a second of each other, and noise of the
machine falls on both; the quartiles say how much of it is left.
"""

import argparse
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.record.builder import Record, build_batch
from rafka.net.kafka.session import request_bytes

ROOT = Path(__file__).resolve().parent.parent


class Broker:
    def __init__(self, temp: Path, args: argparse.Namespace, *, recorded: bool) -> None:
        ready = temp / "ready"
        ready.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "rafka",
            "run",
            "--data-dir",
            str(temp / "data"),
            "--listen",
            "127.0.0.1:0",
        ]
        command += ["--ready-file", str(ready), "--set", f"flush={args.flush}", "--log-level", "warning"]
        command += ["--driver", args.driver]
        if recorded:
            command += ["--record", str(temp / "flight"), "--record-bytes", str(args.record_bytes)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the broker did not start")
            time.sleep(0.005)
        host, _, port = ready.read_text().strip().rpartition(":")
        self.address = host, int(port)

    @property
    def cpu_us(self) -> tuple[float, float]:
        """Time of all its threads, and of the one that serves."""
        tasks = list(Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"))
        spent = {task.parent.name: int(task.read_text().split()[0]) / 1e3 for task in tasks}
        return sum(spent.values()), spent[str(self.process.pid)]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--pipelined", type=int, default=1)
    parser.add_argument("--sizes", default="100,16384")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--slices", type=int, default=30)
    parser.add_argument("--flush", default="os")
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--record-bytes", type=int, default=1 << 30)
    args = parser.parse_args()
    print(f"{args.connections} connections x {args.pipelined} in flight, flush={args.flush}")
    print(
        "record | us CPU, all threads | us CPU, the serving thread | requests/s; plain -> recorded, ratio (quartiles)"
    )
    for size in map(int, args.sizes.split(",")):
        compare(args, size)
    return 0


def compare(args: argparse.Namespace, size: int) -> None:
    with tempfile.TemporaryDirectory(prefix="rafka-bench-") as temp:
        sides = [Side(Path(temp) / str(number), args, size, recorded=number == 1) for number in range(2)]
        try:
            for side in sides:
                side.load(5 * args.requests)
            found = []
            for number in range(args.slices):
                order = sides if number % 2 else sides[::-1]
                measured = {side: side.measure(args.requests) for side in order}
                found.append([measured[side] for side in sides])
        finally:
            for side in sides:
                side.close()
    columns = []
    for index in range(3):
        low, middle, high = statistics.quantiles([r[index] / p[index] for p, r in found], n=4)
        two = " -> ".join(f"{statistics.median(each[side][index] for each in found):.1f}" for side in (0, 1))
        columns.append(f"{two}, ratio {middle:.3f} ({low:.2f}-{high:.2f})")
    print(f"{size:6} B | " + " | ".join(columns), flush=True)


class Side:
    """A broker, and connections to it that each send the same request over and over."""

    def __init__(self, temp: Path, args: argparse.Namespace, size: int, *, recorded: bool) -> None:
        temp.mkdir()
        self.pipelined = args.pipelined
        self.broker = Broker(temp, args, recorded=recorded)
        batch = bytes(build_batch([Record(None, b"v" * size)], timestamp=time.time_ns() // 1_000_000))
        part = PartitionProduceData(index=0, records=batch)
        topics = [TopicProduceData(name="bench", partition_data=[part])]
        produce = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=topics)
        self.frame = request_bytes(produce, api_key=0, version=8, correlation_id=7, client_id="bench")
        self.socks = [socket.create_connection(self.broker.address) for _ in range(args.connections)]
        create = CreateTopicsRequest(
            topics=[CreatableTopic(name="bench", num_partitions=1, replication_factor=1)], timeout_ms=1000
        )
        self.socks[0].sendall(request_bytes(create, api_key=19, version=5, correlation_id=1, client_id="b"))
        answer(self.socks[0])

    def load(self, requests: int) -> None:
        load(self.socks, self.frame, requests, self.pipelined)

    def measure(self, requests: int) -> tuple[float, float, float]:
        """CPU of all threads and of the serving one in us a request, requests a second."""
        before, began = self.broker.cpu_us, time.monotonic()
        self.load(requests)
        took = time.monotonic() - began
        # What is still to be written is part of the cost: a buffer is at most 50 ms old.
        time.sleep(0.06)
        spent = [(b - a) / requests for a, b in zip(before, self.broker.cpu_us, strict=True)]
        return spent[0], spent[1], requests / took

    def close(self) -> None:
        for sock in self.socks:
            sock.close()
        self.broker.stop()


def load(socks: list[socket.socket], frame: bytes, requests: int, pipelined: int) -> None:
    """Keep `pipelined` requests of each connection in flight until so many are answered."""
    epoll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in socks}
    for sock in socks:
        epoll.register(sock.fileno(), select.EPOLLIN)
    sent = answered = 0
    for sock in socks:
        sock.sendall(frame * pipelined)
        sent += pipelined
    size = 0
    while answered < sent:
        for fd, _ in epoll.poll():
            data = by_fd[fd].recv(1 << 16)
            size = size or 4 + int.from_bytes(data[:4])  # all answers are of one length
            count = max(1, len(data) // size)
            answered += count
            more = min(count, requests - sent)
            if more > 0:
                by_fd[fd].sendall(frame * more)
                sent += more
    epoll.close()


def answer(sock: socket.socket) -> None:
    size = int.from_bytes(sock.recv(4, socket.MSG_WAITALL))
    sock.recv(size, socket.MSG_WAITALL)


if __name__ == "__main__":
    sys.exit(main())
