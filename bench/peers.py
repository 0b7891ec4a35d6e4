"""Rafka and Apache Kafka side by side on this machine, under the same load: a table of ratios.

    make bench                                    # the tools in ../shared/peers, or PEERS=…
    python bench/peers.py --peers DIR [--flush os|fsync] [--measures small:32,raw:b,…] [--rounds 2] [--only rafka]

Both brokers are started fresh, on loopback, with the same durability: `flush=os` beside Kafka's default (no fsync),
or `--flush fsync` beside Kafka's `log.flush.interval.messages=1`. Rounds alternate between the two, so that noise
of the machine falls on both; the best round of each counts, and the spread is printed beside it. CPU is the
server process's own, from the kernel's accounts. `others` is what the rest of the machine used meanwhile, in per
cent of it: distrust a row where that is large. Runs with `--only rafka` need no Java.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEASURES = {
    "os": "small:32,raw:b,raw:c,rdperf:b,kgo:b,e2e:1000",
    "fsync": "small:64,small:1",
}
COLUMNS = {
    "requests_per_s": ("requests/s", 0, True),
    "records_per_s": ("records/s", 0, True),
    "MB_per_s": ("MB/s", 1, True),
    "server_cpu_us_per_request": ("CPU us/request", 1, False),
    "server_cpu_s_per_GB": ("CPU s/GB", 2, False),
    "e2e_p50_ms": ("p50 ms", 2, False),
    "e2e_p99_ms": ("p99 ms", 2, False),
    "ready_ms": ("start to first ack ms", 0, False),
    "server_rss_mib": ("RSS MiB", 0, False),
}
"""Of the load's JSON lines: title, digits, and whether more is better."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, default=ROOT.parent / "shared" / "peers")
    parser.add_argument("--flush", choices=["os", "fsync"], default="os")
    parser.add_argument(
        "--measures", help="comma-separated, as kafka-load lists them; raw:b means both directions"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--only", choices=["rafka", "kafka"])
    parser.add_argument("--json", type=Path, help="write every line of the load to this file")
    args = parser.parse_args()
    load = args.peers / "load" / "kafka-load"
    if not load.exists():
        print(
            f"no load generator at {load}: name the folder of the peers with PEERS=… or --peers",
            file=sys.stderr,
        )
        return 2
    measures = expanded(args.measures or MEASURES[args.flush])
    with tempfile.TemporaryDirectory(prefix="rafka-bench-") as temp:
        brokers = {}
        try:
            if args.only != "kafka":
                brokers["rafka"] = Rafka(Path(temp), args.flush, args.driver)
            if args.only != "rafka":
                brokers["kafka"] = Kafka(args.peers, args.flush)
            lines = measure(load, brokers, measures, args.rounds, args.scale)
        finally:
            for broker in brokers.values():
                broker.stop()
    if args.json:
        args.json.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(table(lines, args))
    return 1 if any("error" in line for line in lines) else 0


def expanded(text: str) -> list[str]:
    found = []
    for name in text.split(","):
        both = name.count(":") == 1 and not name.startswith(("small", "e2e"))
        found += [f"{name}:produce", f"{name}:consume"] if both else [name]
    return found


class Rafka:
    def __init__(self, temp: Path, flush: str, driver: str) -> None:
        ready = temp / "ready"
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
        command += [
            "--ready-file",
            str(ready),
            "--set",
            f"flush={flush}",
            "--driver",
            driver,
            "--log-level",
            "warning",
        ]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the broker did not start")
            time.sleep(0.005)
        self.bootstrap = ready.read_text().strip()
        self.pids = str(self.process.pid)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Kafka:
    def __init__(self, peers: Path, flush: str) -> None:
        self.peers = peers
        port = free_ports(2)
        self.name = f"kafka-bench-{port}"
        command = [str(peers / "kafka-start"), "--port", str(port), "--name", self.name]
        if flush == "fsync":
            command += ["--set", "log.flush.interval.messages=1"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        facts = dict(word.split("=", 1) for word in said if "=" in word)
        self.bootstrap, self.pids = facts["bootstrap"], facts["pids"]

    def stop(self) -> None:
        subprocess.run(
            [str(self.peers / "kafka-stop"), "--name", self.name], check=False, capture_output=True
        )
        for pid in self.pids.split(","):
            try:
                os.kill(int(pid), signal.SIGTERM)
            except OSError:
                continue


def free_ports(count: int) -> int:
    """Find a port after which `count - 1` more are free."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for more in range(1, count):
                    with socket.socket() as other:
                        other.bind(("127.0.0.1", port + more))
            except OSError:
                continue
            return port


def measure(load: Path, brokers: dict, measures: list[str], rounds: int, scale: float) -> list[dict]:
    lines: list[dict] = []
    if not shutil.which("go") and not (load.parents[2] / "lab").exists():
        print("the load generator may have to be built, and there is no Go here", file=sys.stderr)
    for name, broker in brokers.items():  # warm what compiles itself
        run(load, broker, ["warmup"], name, scale)
    groups = grouped(measures)
    for number in range(rounds):
        for group in groups:
            for name, broker in brokers.items():
                for line in run(load, broker, group, name, scale):
                    line["round"] = number
                    lines.append(line)
                    print(json.dumps(line), file=sys.stderr, flush=True)
    return lines


def grouped(measures: list[str]) -> list[list[str]]:
    """A consume reads what its produce made: they belong into one command."""
    groups: list[list[str]] = []
    for name in measures:
        if name.endswith(":consume") and groups:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def run(load: Path, broker, measures: list[str], label: str, scale: float) -> list[dict]:
    command = [sys.executable, str(load), *measures, "--bootstrap", broker.bootstrap, "--pids", broker.pids]
    done = subprocess.run(
        [*command, "--label", label, "--scale", str(scale)], capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for line in lines:
        if "error" in line:
            print(f"{label} {line['name']}: {line['error']}", file=sys.stderr)
    return lines


def table(lines: list[dict], args: argparse.Namespace) -> str:
    kafkas = "no fsync" if args.flush == "os" else "log.flush.interval.messages=1"
    out = [
        f"flush={args.flush} beside Kafka's {kafkas}; best of {args.rounds} rounds, spread in brackets",
        "",
    ]
    out += ["| measure | figure | Rafka | Kafka | Rafka : Kafka | others % |", "|---|---|--:|--:|--:|--:|"]
    for measure_name in dict.fromkeys(line["name"] for line in lines):
        of_measure = [line for line in lines if line["name"] == measure_name and "error" not in line]
        for key, (title, digits, more_is_better) in COLUMNS.items():
            rafka = values(of_measure, "rafka", key)
            kafka = values(of_measure, "kafka", key)
            if not rafka and not kafka:
                continue
            best = max if more_is_better else min
            ratio = f"{best(rafka) / best(kafka):.2f}" if rafka and kafka and best(kafka) else ""
            cells = [shown(rafka, digits, best), shown(kafka, digits, best), ratio, noise(of_measure)]
            out.append(f"| {measure_name} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def values(lines: list[dict], label: str, key: str) -> list[float]:
    return [line[key] for line in lines if line["label"] == label and isinstance(line.get(key), int | float)]


def shown(found: list[float], digits: int, best) -> str:
    if not found:
        return ""
    spread = f" [{min(found):,.{digits}f}–{max(found):,.{digits}f}]" if len(found) > 1 else ""
    return f"{best(found):,.{digits}f}{spread}"


def noise(lines: list[dict]) -> str:
    shares = []
    for line in lines:
        wall = line.get("wall_s") or line.get("secs")
        if wall and "others_cpu_s" in line:
            shares.append(100 * line["others_cpu_s"] / wall / (os.cpu_count() or 1))
    return f"{max(shares):.0f}" if shares else ""


if __name__ == "__main__":
    sys.exit(main())
