"""Machines as the faces of the client make them: from keywords, with the system's clock, chance and codecs."""

from collections.abc import Mapping, Sequence

from rafka.client.admin import Admin
from rafka.client.consumer import Consumer
from rafka.client.producer import Producer
from rafka.client.settings import (
    ClientSettings,
    ConsumerOptions,
    ConsumerSettings,
    ProducerOptions,
    ProducerSettings,
    settings_from,
)
from rafka.client.world import Chance
from rafka.net.compression import Compression


def make_producer(bootstrap: str | Sequence[str], options: Mapping[str, object]) -> Producer:
    """Make a producer's machine. Raises ConfigError."""
    names = ProducerOptions.__annotations__
    settings, producing = settings_from(ProducerSettings, names, bootstrap, options)
    return Producer(settings, producing, Chance(), Compression())


def make_consumer(bootstrap: str | Sequence[str], options: Mapping[str, object]) -> Consumer:
    """Make a consumer's machine. Raises ConfigError."""
    names = ConsumerOptions.__annotations__
    settings, consuming = settings_from(ConsumerSettings, names, bootstrap, options)
    return Consumer(settings, consuming, Chance(), Compression())


def make_admin(bootstrap: str | Sequence[str], options: Mapping[str, object]) -> Admin:
    """Make an admin's machine. Raises ConfigError."""
    settings, _ = settings_from(dict, (), bootstrap, options)
    assert isinstance(settings, ClientSettings)
    return Admin(settings, Chance())
