"""The broker that the client suites talk to.

Every test is a function of a bootstrap address, so the same test can be run against Apache Kafka to check the test itself:
`RAFKA_TEST_BOOTSTRAP=host:port python -m pytest tests/clients`. Without that variable it is a broker of our own, one per module.
"""

import os
from importlib.util import find_spec

import pytest

from tests.clients.support import unique

# The suites are here before the broker is. Until rafka.io.broker exists they run only against a given bootstrap address.
collect_ignore_glob = (
    [] if find_spec("rafka.io.broker") or os.environ.get("RAFKA_TEST_BOOTSTRAP") else ["test_*.py"]
)


@pytest.fixture(scope="module")
def bootstrap(request: pytest.FixtureRequest) -> str:
    foreign = os.environ.get("RAFKA_TEST_BOOTSTRAP")
    return foreign or request.getfixturevalue("broker").bootstrap


@pytest.fixture
def name() -> str:
    """A name no other test uses, for a topic or a group."""
    return unique("t")
