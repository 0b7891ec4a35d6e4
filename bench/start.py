"""Starting: from the shell's exec of `rafka run` to the first acknowledged record, and what an idle broker holds.

    python bench/start.py [--runs 10] [--driver auto] [--imports]

The clock starts before a shell is asked to `exec rafka run` on an empty data directory. The client is raw, so that
nothing of it is measured: it polls the ready file each millisecond, then asks Metadata (which creates the topic) until
a leader is there and sends one Produce with acks=1. CPU seconds and resident memory are the broker's own, from /proc.

`fresh` starts have no data, `again` starts have what the fresh one left. --imports lists what the imports cost.
"""

import argparse
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.api.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from rafka.core.api.produce_response import ProduceResponse
from rafka.core.api.request_header import RequestHeader
from rafka.core.message import decode, encode
from rafka.core.record.builder import Record, build_batch

ROOT = Path(__file__).parents[1]
VERSIONS = {MetadataRequest: (3, 9), ProduceRequest: (0, 9)}
PATIENCE_S = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--imports", action="store_true", help="list the 40 dearest imports instead")
    args = parser.parse_args()
    if args.imports:
        print(imports())
        return
    print(
        f"{'':8}{'ready ms':>10}{'acked ms':>10}{'cpu ms':>8}{'rss MiB':>9}   (best of {args.runs}, then median)"
    )
    rows: dict[str, list[tuple[float, ...]]] = {"fresh": [], "again": []}
    for _ in range(args.runs):
        with tempfile.TemporaryDirectory(prefix="rafka-start-") as temp:
            for found in rows.values():
                found.append(start(Path(temp), args.driver, args.set))
    for kind, found in rows.items():
        for name, pick in (("best", min), ("median", lambda column: sorted(column)[len(column) // 2])):
            ready, acked, cpu, rss = (pick(column) for column in zip(*found, strict=True))
            print(f"{kind:6}{name[:1]:>2}{ready:10.0f}{acked:10.0f}{cpu:8.0f}{rss:9.1f}")


def start(temp: Path, driver: str, settings: list[str]) -> tuple[float, float, float, float]:
    """Start a broker and stop it; return ms to ready, ms to acknowledged, CPU ms by then, and MiB when idle."""
    ready = temp / "ready"
    words = [
        sys.executable,
        "-m",
        "rafka",
        "run",
        "--data-dir",
        str(temp / "data"),
        "--listen",
        "127.0.0.1:0",
    ]
    words += ["--ready-file", str(ready), "--driver", driver, "--log-level", "warning"]
    words += [word for setting in settings for word in ("--set", setting)]
    begin = time.perf_counter()
    process = subprocess.Popen(["sh", "-c", f"exec {shlex.join(words)}"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not ready.exists():
            assert process.poll() is None, "the broker did not start"
            time.sleep(0.001)
        at_ready = time.perf_counter()
        host, _, port = ready.read_text().strip().rpartition(":")
        acknowledge(host, int(port))
        at_ack = time.perf_counter()
        cpu_ms = cpu_seconds(process.pid) * 1000
        time.sleep(0.3)
        return (at_ready - begin) * 1000, (at_ack - begin) * 1000, cpu_ms, rss_mib(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def acknowledge(host: str, port: int) -> None:
    """Produce one record to a topic that may not exist yet, and wait until it is acknowledged."""
    deadline = time.monotonic() + PATIENCE_S
    with socket.create_connection((host, port), PATIENCE_S) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        topics = [MetadataRequestTopic(name="first")]
        while True:
            answer = ask(
                wire, MetadataRequest(topics=topics, allow_auto_topic_creation=True), MetadataResponse
            )
            (topic,) = answer.topics
            if topic.error_code == 0 and all(p.leader_id >= 0 for p in topic.partitions):
                break
            assert time.monotonic() < deadline, f"no leader: {topic}"
            time.sleep(0.001)
        batch = bytes(build_batch([Record(key=None, value=b"x" * 100)], timestamp=0))
        data = [TopicProduceData(name="first", partition_data=[PartitionProduceData(index=0, records=batch)])]
        while True:
            answer = ask(wire, ProduceRequest(acks=1, timeout_ms=1000, topic_data=data), ProduceResponse)
            if answer.responses[0].partition_responses[0].error_code == 0:
                return
            assert time.monotonic() < deadline, f"not acknowledged: {answer}"


def ask(wire: socket.socket, request, answer_class):
    key, version = VERSIONS[type(request)]
    header = encode(RequestHeader(request_api_key=key, request_api_version=version, client_id="bench"), 2)
    body = header + encode(request, version)
    wire.sendall(struct.pack(">i", len(body)) + body)
    (size,) = struct.unpack(">i", receive(wire, 4))
    frame = receive(wire, size)
    return decode(answer_class, version, frame[5:])  # after correlation id and no tagged fields


def receive(wire: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = wire.recv(count - len(data))
        assert more, "the broker hung up"
        data += more
    return data


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def imports() -> str:
    program = "import rafka.cli.main, rafka.cli.run, rafka.io.broker, rafka.io.uring"
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [
        line for line in run.stderr.splitlines() if line.startswith("import time:") and "self" not in line
    ]
    return "\n".join(sorted(lines, key=lambda line: int(line.split(":")[1].split("|")[0]))[-40:])


if __name__ == "__main__":
    main()
