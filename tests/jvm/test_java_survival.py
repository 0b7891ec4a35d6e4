"""The Java producer and a Java group member go on over the deaths of their broker: each record is written once, in order,
and read without a gap, never from before a commit."""

import json
import random
import subprocess
import time
from pathlib import Path

from tests.jvm.conftest import SETTINGS
from tests.jvm.support import FLAGS, LOGGING, MARKS, driver
from tests.process.lives import Lives

pytestmark = MARKS


def test_java_clients_survive_a_broker_that_is_killed(java: None, tmp_path: Path) -> None:
    chance = random.Random(7)
    lives = Lives(tmp_path, SETTINGS)
    errors = (tmp_path / "errors").open("w+")
    try:
        bootstrap = lives.serve("auto")
        command = ["java", *FLAGS, LOGGING, "-cp", driver(), "Driver", bootstrap, "surviving", "s-"]
        client = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert client.stdout is not None
            assert "sending" in client.stdout.readline()
            for kill in range(6):
                time.sleep(chance.uniform(0.2, 0.8))
                lives.kill()
                lives.serve(["trio", "auto"][kill % 2])
            output, _ = client.communicate(timeout=100)  # closes its standard input: it is to end
        finally:
            client.kill()
            client.wait()
        lives.stop()
    finally:
        lives.end()
        errors.close()
    line = json.loads(output)
    assert "raised" not in line, line
    assert line["facts"].pop("sent") > 100
    line["facts"].pop("repeated")  # what was read but not committed when the broker died may come again
    assert line["facts"] == {
        "raised": "null",
        "acknowledged in order": [True, True, True],
        "reader is done": True,
        "gaps": 0,
        "before a commit": 0,
        "read to the end": True,
    }
