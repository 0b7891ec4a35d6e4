"""`rafka log dump|verify|repair`: a log's files on their own, without a broker.

Paths are directories of partitions (`data/orders-0`), segment files in one, or a whole data directory. Dumping and
verifying read only, so they work on a copy, on somebody else's files, and on Kafka's. Repairing wants the directory
for itself: it refuses while a broker holds it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rafka.cli.show import show_json, show_table
from rafka.core.errors import RafkaError

if TYPE_CHECKING:
    from rafka.core.log.inspection import Finding, Report
    from rafka.core.record.batch import Header

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PATH = click.argument("path", type=click.Path(exists=True, path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


@click.group()
def log() -> None:
    """Look at a log's files, and repair them, without a broker."""


@log.command()
@PATH
@click.option("--records", "with_records", is_flag=True, help="Show each record, not only each batch.")
@click.option("--from", "start", type=click.IntRange(min=0), default=0, help="The first offset to show.")
@click.option("--limit", type=click.IntRange(min=1), help="How many batches to show at most.")
@JSON
def dump(path: Path, *, with_records: bool, start: int, limit: int | None, as_json: bool) -> None:
    """Show the batches of a partition's directory, or of one segment file."""
    from rafka.core.record.builder import records_of
    from rafka.net.compression import Compression

    directory, only = (path, None) if path.is_dir() else (path.parent, path.name)
    if only is not None and not only.endswith(".log"):
        raise click.BadParameter(f"{path} is neither a directory nor a .log file", param_hint="PATH")
    codecs = Compression()
    shown = 0
    rows: list[list[object]] = []

    def see(file: str, position: int, header: "Header", batch: memoryview) -> None:
        nonlocal shown
        if only not in (None, file) or header.last_offset < start or (limit is not None and shown >= limit):
            return
        shown += 1
        facts = facts_of(file, position, header)
        if with_records and not header.is_control:
            records = [r for r in records_of(batch, codecs) if r.offset >= start]
            facts["records"] = [record_of(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]
        if as_json:
            show_json(facts)
            return
        records_shown = facts.pop("records", [])
        rows.append(list(facts.values()))
        blank = [""] * 5
        rows.extend(["", "", r["offset"], *blank, r["timestamp"], r["text"]] for r in records_shown)

    report = inspected(directory, see)
    if not as_json:
        columns = [
            "FILE",
            "POSITION",
            "BASE",
            "LAST",
            "COUNT",
            "BYTES",
            "CODEC",
            "EPOCH",
            "TIMESTAMP",
            "PRODUCER",
        ]
        show_table(columns, rows)
    tell(report.findings)
    click.get_current_context().exit(1 if report.is_damaged else 0)


@log.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--deep", is_flag=True, help="Unpack every batch and read its records, too.")
@JSON
def verify(paths: tuple[Path, ...], *, deep: bool, as_json: bool) -> None:
    """Check every batch, and what stands beside the segments. Exit code 1: something is damaged."""
    from rafka.net.compression import Compression

    codecs = Compression() if deep else None
    reports = [inspected(directory, codecs=codecs) for path in paths for directory in logs_in(path)]
    if as_json:
        for report in reports:
            show_json(told(report))
    else:
        columns = ["LOG", "SEGMENTS", "OFFSETS", "BATCHES", "RECORDS", "BYTES", "STATE"]
        show_table(columns, [summary(report) for report in reports])
        for report in reports:
            tell(report.findings)
    click.get_current_context().exit(1 if any(report.is_damaged for report in reports) else 0)


@log.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--cut", is_flag=True, help="Give up everything from the first damage on.")
@click.option(
    "--keep-in",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --cut: copy the files here as they were, before anything is changed.",
)
def repair(path: Path, *, cut: bool, keep_in: Path | None) -> None:
    """Do what the broker does when it opens a partition's directory: cut a torn tail, make lost files anew.

    Damage in what was promised is repaired only by --cut, which loses every record from there on.
    """
    if cut and keep_in is None:
        raise click.UsageError("--cut needs --keep-in DIR: what is cut off must be somewhere")
    with held(path.parent):
        report = inspected(path)
        if report.is_damaged:
            if not cut:
                tell(report.findings)
                raise RafkaError(
                    f"{path} is damaged in what was promised: restore it from a replica or a backup, or give up "
                    "what lies behind the damage with --cut --keep-in DIR"
                )
            assert keep_in is not None
            shutil.copytree(path, keep_in / path.name)
            cut_at_damage(path, report)
        reopen(path)
    click.echo(f"{path} can be opened")


# ---- where the logs are ----------------------------------------------------------------------------


def logs_in(path: Path) -> list[Path]:
    """Return a partition's directory, or every one in a data directory. Raises RafkaError if there is none."""
    if is_log(path):
        return [path]
    found = sorted(entry for entry in path.iterdir() if entry.is_dir() and is_log(entry))
    if not found:
        raise RafkaError(f"{path} is neither a partition's directory nor has any in it")
    return found


def is_log(path: Path) -> bool:
    """Whether a directory's name ends in a partition's number."""
    topic, dash, number = path.resolve().name.rpartition("-")
    return bool(topic and dash) and number.isdecimal()


def inspected(directory: Path, see: Any = None, codecs: Any = None) -> "Report":
    """Inspect a partition's directory. Raises RafkaError."""
    from rafka.core.log.inspection import inspect
    from rafka.core.types import File
    from rafka.io.offline import Reading

    real = directory.resolve()
    if not is_log(real):
        raise RafkaError(f"{directory} is no partition's directory: its name would be topic-number")
    report = Reading(str(real.parent)).run(inspect(File(real.name), partition_of(real), see, codecs))
    if report is None:
        raise RafkaError(f"{directory} is not there")
    return report


def partition_of(directory: Path) -> int:
    """Return the number of the partition whose directory this is."""
    return int(directory.name.rpartition("-")[2])


# ---- repairing -------------------------------------------------------------------------------------


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold a data directory, if it is one, so that no broker uses it meanwhile. Raises RafkaError."""
    from rafka.io.datadir import META, open_data_dir

    directory = open_data_dir(str(data_dir), None) if (data_dir / META).exists() else None
    try:
        yield
    finally:
        if directory is not None:
            directory.close()


def cut_at_damage(path: Path, report: "Report") -> None:
    """Take away everything from the first damage on: the rest of that file, and every later one."""
    from rafka.core.log.inspection import DAMAGE

    damaged = {Path(finding.file).name.split(".")[0] for finding in report.findings if finding.kind == DAMAGE}
    doomed = False
    for segment in report.segments:
        stem = segment.file.split(".")[0]
        positions = [
            f.position for f in report.findings if f.kind == DAMAGE and Path(f.file).name.startswith(stem)
        ]
        if doomed:
            (path / segment.file).unlink()
        elif stem in damaged:
            doomed = True
            os.truncate(path / segment.file, max(0, min(positions)))
        if doomed:
            for name in path.glob(f"{stem}.*"):
                if name.suffix != ".log":
                    name.unlink()
    for name in path.glob("*.snapshot"):
        name.unlink()
    (path / "leader-epoch-checkpoint").unlink(missing_ok=True)


def reopen(path: Path) -> None:
    """Open a log as the broker does, and close it. Raises RafkaError if that cannot be done."""
    from rafka.core.config import LogConfig
    from rafka.core.effects import Note
    from rafka.core.log.directory import IDENTITY, topic_id_in
    from rafka.core.log.log import Log
    from rafka.core.machine import Outbox
    from rafka.core.types import ZERO_UUID, File
    from rafka.io.offline import Writing

    real = path.resolve()
    identity = real / IDENTITY
    topic_id = topic_id_in(identity.read_bytes()) if identity.exists() else None
    out = Outbox()
    opened = Log(File(real.name), out, LogConfig(), (topic_id or ZERO_UUID, partition_of(real)))
    files = Writing(str(real.parent))
    files.run(opened.recover())
    if not opened.is_offline:
        files.run(opened.close())
    for effect in out.drain():
        if isinstance(effect, Note):
            words = " ".join(f"{name}={value}" for name, value in effect.fields.items())
            click.echo(f"{effect.name}: {words}", err=True)
    if opened.is_offline:
        raise RafkaError(f"{path} cannot be opened: the line above says why")


# ---- how it is told --------------------------------------------------------------------------------


def facts_of(file: str, position: int, header: "Header") -> dict[str, Any]:
    """Return what is shown of a batch."""
    producer = None
    if header.producer_id >= 0:
        producer = f"{header.producer_id}/{header.producer_epoch}/{header.base_sequence}"
    return {
        "file": file,
        "position": position,
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "count": header.count,
        "size_bytes": header.size_bytes,
        "codec": CODECS[header.codec] if header.codec < len(CODECS) else str(header.codec),
        "leader_epoch": header.leader_epoch,
        "max_timestamp": header.max_timestamp,
        "producer": "control" if header.is_control else producer,
    }


def record_of(
    offset: int, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Any
) -> dict[str, Any]:
    """Return what is shown of a record; bytes that are no text are shown with escapes."""
    named = {name: text_of(content) for name, content in headers}
    text = f"{text_of(key)} = {text_of(value)}" if key is not None else text_of(value)
    shown = {"offset": offset, "timestamp": timestamp, "key": text_of(key), "value": text_of(value)}
    return {**shown, "headers": named, "text": text}


def text_of(data: bytes | None) -> str | None:
    """Return bytes as text."""
    return None if data is None else data.decode("utf-8", "backslashreplace")


def summary(report: "Report") -> list[object]:
    """Return a report as a row."""
    first, last = (report.segments[0], report.segments[-1]) if report.segments else (None, None)
    offsets = f"{first.base_offset}..{last.end_offset}" if first is not None and last is not None else "-"
    notices = sum(not is_damage(finding) for finding in report.findings)
    state = "damaged" if report.is_damaged else f"good, {notices} notices" if notices else "good"
    return [
        report.directory,
        len(report.segments),
        offsets,
        sum(segment.batches for segment in report.segments),
        sum(segment.records for segment in report.segments),
        sum(segment.size_bytes for segment in report.segments),
        state,
    ]


def told(report: "Report") -> dict[str, Any]:
    """Return a report for JSON."""
    segments = [
        {"file": s.file, "base_offset": s.base_offset, "end_offset": s.end_offset, "batches": s.batches}
        | {"records": s.records, "size_bytes": s.size_bytes, "whole_bytes": s.whole_bytes}
        for s in report.segments
    ]
    findings = [
        {"kind": f.kind, "file": f.file, "position": f.position, "what": f.what} for f in report.findings
    ]
    topic_id = None if report.topic_id is None else report.topic_id.hex()
    facts: dict[str, Any] = {"log": report.directory, "topic_id": topic_id, "is_damaged": report.is_damaged}
    return facts | {"segments": segments, "findings": findings}


def is_damage(finding: "Finding") -> bool:
    """Whether a finding is more than a notice."""
    return finding.kind == "damage"


def tell(findings: "list[Finding]") -> None:
    """Print findings to standard error, a line each."""
    for finding in findings:
        where = finding.file if finding.position < 0 else f"{finding.file} at byte {finding.position}"
        click.echo(f"{finding.kind}: {where}: {finding.what}", err=True)
