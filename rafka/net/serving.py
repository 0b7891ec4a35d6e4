"""What the sessions of a broker are made of, whoever runs it: hand-written codecs, limits from its settings."""

from collections.abc import Mapping

from rafka.core.config.settings import Settings
from rafka.net.kafka import fetch, produce
from rafka.net.kafka.session import Protocol
from rafka.net.server import Limits

PRODUCE = 0
FETCH = 1


def protocol_of(served: Mapping[int, tuple[int, int]], *, has_plain: bool = True) -> Protocol:
    """Speak what a node serves. has_plain: whether it takes plain produces (`core/plain.py`)."""
    return Protocol(
        served,
        decoders={PRODUCE: produce.decode_request, FETCH: fetch.decode_request},
        encoders={PRODUCE: produce.encode_response, FETCH: fetch.encode_response},  # type: ignore[dict-item]
        has_plain=has_plain,
    )


def limits_of(settings: Settings) -> Limits:
    """Return the limits that an operator has set."""
    return Limits(
        connections_max=settings.max_connections,
        connections_per_ip_max=settings.max_connections_per_ip,
        frame_bytes_max=settings.socket_request_max_bytes,
        idle_ms_max=settings.connections_max_idle_ms,
    )
