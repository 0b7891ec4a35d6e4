"""The fixtures that pytest finds by itself once Rafka is installed.

    def test_orders(rafka_broker): ...             a broker of the test's own, empty, with faults to switch on
    def test_more(rafka_broker_of_session): ...    one for the whole run, for tests that name their own topics

`rafka_settings`, a fixture to override, gives the broker's settings by Kafka's names. Nothing is imported before
a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rafka.testing import Broker


@pytest.fixture(scope="session")
def rafka_settings() -> dict[str, object]:
    """Settings of the brokers that the other fixtures make."""
    return {}


@pytest.fixture
def rafka_broker(rafka_settings: dict[str, object]) -> Iterator[Broker]:
    """Give a running broker of the test's own."""
    from rafka.testing import broker

    with broker(settings=rafka_settings) as running:
        yield running


@pytest.fixture(scope="session")
def rafka_broker_of_session(rafka_settings: dict[str, object]) -> Iterator[Broker]:
    """Give a running broker that all tests of the session share."""
    from rafka.testing import broker

    with broker(settings=rafka_settings) as running:
        yield running
