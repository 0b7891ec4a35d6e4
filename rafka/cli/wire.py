"""A blocking conversation with a broker: the sans-IO client connection over one socket.

Commands ask one question at a time and wait for the answer. Whatever the socket does wrong becomes one
sentence that names the address.
"""

import socket
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

import click

from rafka.cli.address import split_address
from rafka.client.connection import Connection
from rafka.core.errors import RafkaError
from rafka.core.message import Message

R = TypeVar("R", bound=Message)

RECEIVE_BYTES = 64 << 10
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0


class Wire:
    """One connection, greeted and ready. Use it in a `with` statement. address: whose, as it was given."""

    def __init__(self, bootstrap: str, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Connect to the first of the comma-separated addresses that answers.

        Raises RafkaError when none can be reached, or what answers does not speak the protocol.
        """
        self._socket, self.address = connect(bootstrap)
        self._socket.settimeout(answer_timeout_s)
        self._connection = Connection("rafka-cli")
        try:
            self._exchange(self._connection.greet())
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, request: Message, answer: type[R]) -> R:
        """Send a request and wait for its answer, of the class that goes with it. Raises RafkaError."""
        response = self._exchange(self._connection.send(request))
        assert isinstance(response, answer), "the request decides the class of its answer"
        return response

    def _exchange(self, request: bytes) -> Message:
        try:
            self._socket.sendall(request)
            while True:
                data = self._socket.recv(RECEIVE_BYTES)
                if not data:
                    raise RafkaError(f"{self.address} closed the connection")
                responses = self._connection.receive(memoryview(data))
                if responses:
                    return responses[0]
        except TimeoutError as error:
            raise RafkaError(f"{self.address} does not answer") from error
        except OSError as error:
            raise RafkaError(f"the connection to {self.address} broke: {error.strerror}") from error


def connect(bootstrap: str) -> tuple[socket.socket, str]:
    """Return a socket to the first address that accepts, and that address; a usage error if it is none."""
    for text in bootstrap.split(","):
        try:
            address = split_address(text.strip())
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--bootstrap") from error
        with suppress(OSError):
            return socket.create_connection(address, CONNECT_TIMEOUT_S), text.strip()
    raise RafkaError(f"cannot connect to {bootstrap}: is a broker running there?")
