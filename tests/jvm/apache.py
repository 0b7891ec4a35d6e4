"""Apache Kafka itself, one broker that is its own controller, on a directory of the test's."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaException

from tests.clients.support import admin_of, until
from tests.jvm.support import FLAGS, LOGGING, jars, run

CLUSTER = "cmFma2FfdGVzdHNfMDAwMQ"
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
log.cleaner.enable=false
"""


@contextlib.contextmanager
def kafka(directory: Path) -> Iterator[str]:
    """Run Apache Kafka on directory/data until the block ends; its address. The data stays for the next run."""
    port, controller = free_ports(2)
    data = directory / "data"
    properties = directory / "server.properties"
    properties.write_text(PROPERTIES.format(port=port, controller=controller, data=data))
    java = ["java", *FLAGS, LOGGING, "-cp", f"{jars('server')}/*"]
    if not data.exists():
        words = ["format", "-t", CLUSTER, "-c", str(properties), "--standalone"]
        done = run([*java, "kafka.tools.StorageTool", *words])
        assert done.returncode == 0, done.stdout + done.stderr
    journal = directory / "journal"
    with journal.open("wb") as output:
        command = [*java, "kafka.Kafka", str(properties)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"127.0.0.1:{port}"
        until(lambda: serves(address) or process.poll() is not None, "Kafka serves, or has given up", 60)
        assert process.poll() is None, journal.read_text()
        yield address
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def serves(address: str) -> bool:
    """Whether somebody listens there and knows of a broker."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
        return bool(admin_of(address).list_topics(timeout=5).brokers)
    except (OSError, KafkaException):
        return False


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
