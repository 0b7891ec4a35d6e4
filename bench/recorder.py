"""What a flight recording costs: one broker after the other, recorded and not, under the same produces.

    python bench/recorder.py [--connections 32] [--sizes 100,16384] [--requests 30000] [--rounds 5] [--flush os]
                             [--pipelined 1] [--driver auto]

Each round runs both brokers, in an order that alternates, each with so many requests of one record. CPU is the broker
process's own, from the kernel's accounts: of all its threads, and of the one that serves, which bounds throughput where
another core can do the recorder's writing. The median of the rounds' ratios counts, since the two of a round are
near each other in time, and noise of the machine falls on both.
"""

import argparse
import select
import shutil
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
    parser.add_argument("--requests", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flush", default="os")
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--record-bytes", type=int, default=1 << 30)
    args = parser.parse_args()
    print(f"{args.connections} connections x {args.pipelined} in flight, flush={args.flush}")
    print(
        "record | us CPU, all threads | us CPU, the serving thread | requests/s; each plain -> recorded, ratio of pairs"
    )
    for size in map(int, args.sizes.split(",")):
        compare(args, size)
    return 0


def compare(args: argparse.Namespace, size: int) -> None:
    plain, recorded = [], []
    for number in range(args.rounds):
        for is_recorded in ((False, True), (True, False))[number % 2]:
            with tempfile.TemporaryDirectory(prefix="rafka-bench-") as temp:
                found = measure(Path(temp), args, size, recorded=is_recorded)
            (recorded if is_recorded else plain).append(found)
    median = statistics.median
    columns = []
    for index in range(3):
        ratios = [r[index] / p[index] for p, r in zip(plain, recorded, strict=True)]
        two = f"{median(p[index] for p in plain):.1f} -> {median(r[index] for r in recorded):.1f}"
        columns.append(f"{two}, ratio {median(ratios):.3f} ({', '.join(f'{one:.2f}' for one in ratios)})")
    print(f"{size:6} B | " + " | ".join(columns), flush=True)


def measure(temp: Path, args: argparse.Namespace, size: int, *, recorded: bool) -> tuple[float, float, float]:
    """CPU of all threads and of the serving one in us a request, requests a second."""
    broker = Broker(temp, args, recorded=recorded)
    try:
        batch = bytes(build_batch([Record(None, b"v" * size)], timestamp=time.time_ns() // 1_000_000))
        part = PartitionProduceData(index=0, records=batch)
        topics = [TopicProduceData(name="bench", partition_data=[part])]
        produce = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=topics)
        frame = request_bytes(produce, api_key=0, version=8, correlation_id=7, client_id="bench")
        socks = [socket.create_connection(broker.address) for _ in range(args.connections)]
        create = CreateTopicsRequest(
            topics=[CreatableTopic(name="bench", num_partitions=1, replication_factor=1)], timeout_ms=1000
        )
        socks[0].sendall(request_bytes(create, api_key=19, version=5, correlation_id=1, client_id="b"))
        answer(socks[0])
        load(socks, frame, args.requests // 10, args.pipelined)
        before, began = broker.cpu_us, time.monotonic()
        load(socks, frame, args.requests, args.pipelined)
        after, took = broker.cpu_us, time.monotonic() - began
        spent = [(b - a) / args.requests for a, b in zip(before, after, strict=True)]
        for sock in socks:
            sock.close()
        return spent[0], spent[1], args.requests / took
    finally:
        broker.stop()
        shutil.rmtree(temp / "flight", ignore_errors=True)


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
