"""Java from the tests: Kafka's jars, fetched once; the driver of the Java clients; Kafka's own tools as processes.

Everything fetched or compiled lies under .peers/jvm in the checkout, named by what it was made from.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".peers" / "jvm"
SOURCES = HERE / "java"
# What makes a JVM of one second small: no second compiler, one collector thread, the shared archive of classes.
FLAGS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m", "-Xlog:disable"]
LOGGING = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
TOOLS = "org.apache.kafka.tools."
# The first to need jars waits for them to come over the network.
MARKS = [pytest.mark.jvm, pytest.mark.timeout(600)]
MISSING = [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]


@contextmanager
def made(name: str, *made_from: Path, cache: Path = CACHE) -> Iterator[tuple[Path, bool]]:
    """A directory of the cache and whether it has yet to be filled; one process fills, the others wait."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in made_from)).hexdigest()[:16]
    directory = cache / f"{name}-{digest}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = directory / ".done"
        yield directory, not done.exists()
        done.touch()


def jars(kind: str) -> Path:
    """The directory of what `kind`.xml depends on, fetched from Maven Central if it is not here yet."""
    pom = HERE / f"{kind}.xml"
    with made(kind, pom) as (directory, empty):
        if empty:
            goal = [
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={directory}",
            ]
            done = run(["mvn", "-q", "-B", "-f", str(pom), *goal], seconds=500)
            assert done.returncode == 0, done.stdout + done.stderr
        assert any(directory.glob("kafka-clients-*.jar")), directory
    return directory


def driver() -> str:
    """The class path of the driver of the Java clients, compiled if it changed."""
    sources = sorted(SOURCES.glob("*.java"))
    libraries = f"{jars('server')}/*"
    with made("driver", *sources, HERE / "server.xml") as (directory, empty):
        if empty:
            done = run(["javac", "-d", str(directory), "-cp", libraries, *map(str, sources)])
            assert done.returncode == 0, done.stdout + done.stderr
    return os.pathsep.join([str(directory), libraries])


def facts(bootstrap: str, suite: str, prefix: str) -> dict[str, dict[str, Any]]:
    """Run a suite of the driver: what each check saw. A check that raised fails here, with all that was printed."""
    done = run(["java", *FLAGS, LOGGING, "-cp", driver(), "Driver", bootstrap, suite, prefix])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    raised = [f"{line['check']}: {line['raised']} {line['facts']}" for line in lines if "raised" in line]
    assert (done.returncode, raised) == (0, []), "\n".join([*raised, done.stderr])
    return {line["check"]: line["facts"] for line in lines}


def tool(name: str, *arguments: str, given: str = "", expect: int = 0) -> str:
    """Run one of Kafka's console tools by its class; what it printed. Its exit code must be `expect`."""
    full = name if name.startswith("kafka.") else TOOLS + name
    libraries = jars("tools")
    with archived(libraries / "classes.jsa") as option:
        command = ["java", *FLAGS, option, LOGGING, "-cp", f"{libraries}/*", full, *arguments]
        done = run(command, given=given)
    assert done.returncode == expect, f"{name} {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if expect else "")


@contextmanager
def archived(archive: Path) -> Iterator[str]:
    """The option by which a JVM maps the classes that the first one loaded and left, at half the CPU of a start."""
    if archive.exists():
        yield f"-XX:SharedArchiveFile={archive}"
        return
    fresh = archive.with_suffix(f".{os.getpid()}")
    yield f"-XX:ArchiveClassesAtExit={fresh}"
    if fresh.exists():
        fresh.replace(archive)


def run(command: list[str], *, given: str = "", seconds: int = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=False)
