"""Kafka's requests and responses, one module each, and the table of APIs.

Importing this package imports no message: `APIS[key].request` and `.response` do, when asked. The modules are
written by tools/generate_messages.py; their versions are what Kafka 4.4 serves, not what this broker does.
Header versions: a request of a flexible version has header 2, others 1; its response has header 1, others 0,
except that ApiVersions is always answered with header 0, because a client that does not yet know what we
speak has to understand it (KIP-511).
"""

from __future__ import annotations

from typing import Final

from rafka.core.api.table import ROWS
from rafka.core.errors import RemoteProtocolError
from rafka.core.message.base import Message
from rafka.core.message.lazy import load

_API_VERSIONS: Final = 18


class Api:
    """One API: its key, the name it has in Kafka's definitions and its versions.

    first_version..last_version: what Kafka 4.4 still serves; flexible_from: the first with compact lengths
    and tagged fields; listeners: "broker", "controller" or both; latest_version_unstable: the last
    version is a draft that a broker advertises only when told to.
    """

    __slots__ = (
        "first_version",
        "flexible_from",
        "key",
        "last_version",
        "latest_version_unstable",
        "listeners",
        "name",
    )

    def __init__(self, row: tuple[int, str, int, int, int, tuple[str, ...], bool]) -> None:
        self.key, self.name, self.first_version, self.last_version = row[:4]
        self.flexible_from, self.listeners, self.latest_version_unstable = row[4:]

    @property
    def last_stable_version(self) -> int:
        """The last version that is not a draft."""
        return self.last_version - self.latest_version_unstable

    @property
    def request(self) -> type[Message]:
        """The class of its request; imported at the first call."""
        return load(__name__, self.name + "Request")

    @property
    def response(self) -> type[Message]:
        """The class of its response; imported at the first call."""
        return load(__name__, self.name + "Response")

    def __repr__(self) -> str:
        return f"Api({self.key}, {self.name}, {self.first_version}-{self.last_version})"


APIS: Final[dict[int, Api]] = {row[0]: Api(row) for row in ROWS}
"""Every API by its key."""


def request_header_version(api_key: int, version: int) -> int:
    """Return the version of RequestHeader that precedes a request; the request's version may be unknown.

    Raises: RemoteProtocolError if there is no such API.
    """
    return 2 if version >= _api(api_key).flexible_from else 1


def response_header_version(api_key: int, version: int) -> int:
    """Return the version of ResponseHeader that precedes the response to a request of that version.

    Raises: RemoteProtocolError if there is no such API.
    """
    return 1 if version >= _api(api_key).flexible_from and api_key != _API_VERSIONS else 0


def _api(api_key: int) -> Api:
    api = APIS.get(api_key)
    if api is None:
        raise RemoteProtocolError(f"there is no API with key {api_key}")
    return api
