"""Every message of Kafka 4.4 in every version, against the classes that Kafka's own clients and broker use.

Random messages of ours are read by Kafka's class and written again: the bytes must be the same. This covers what no
Python library has, and the records of the internal topics. And keys go to the partitions that Java sends them to.
"""

import json
from pathlib import Path
from random import Random

from rafka.client.partitioner import murmur2
from rafka.core.message import encode
from tests.core.message import fill
from tests.jvm.support import FLAGS, LOGGING, MARKS, driver, run

pytestmark = MARKS

EXAMPLES = 5
KEYS = 100_000


def test_javas_classes_say_the_same_bytes(java: None, tmp_path: Path) -> None:
    random = Random(44)
    lines = [
        f"message {cls.__name__} {version} {encode(fill.message(cls, version, random), version).hex()}"
        for cls in fill.classes()
        for version in cls.VERSIONS
        for _ in range(EXAMPLES)
    ]
    keys = [random.randbytes(random.randrange(40)) for _ in range(KEYS)]
    file = tmp_path / "messages"
    file.write_text("\n".join(lines + [f"key {key.hex()}" for key in keys]))
    done = run(["java", *FLAGS, LOGGING, "-cp", driver(), "Messages", str(file)])
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["wrong"][:20] == []
    assert (seen["unknown"], seen["checked"]) == ([], len(lines))
    assert [found % 2**32 for found in seen["hashes"]] == [murmur2(key) for key in keys]
