"""A tap on the way to a broker: it passes bytes on, and notes which version of which API was asked for.

The broker advertises the tap's address, so that all connections of a client lead through it; while the broker is away,
a connection to the tap ends at once.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Tap:
    """Notes the requests of clients that call themselves CLIENT; others, such as the test's own, are only passed on."""

    CLIENT = b"matrix"

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.broker = ""  # host:port; to be set before the first client comes
        self.asked: set[tuple[int, int]] = set()  # API key and version

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed: the test has ended
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pair, args=(client,), daemon=True).start()

    def _pair(self, client: socket.socket) -> None:
        host, port = self.broker.rsplit(":", 1)
        with client, contextlib.suppress(OSError), socket.create_connection((host, int(port)), 10) as broker:
            broker.settimeout(None)
            back = threading.Thread(target=self._answers, args=(broker, client), daemon=True)
            back.start()
            try:
                self._requests(client, broker)
            finally:
                hang_up(broker)
                back.join()

    def _requests(self, client: socket.socket, broker: socket.socket) -> None:
        """Pass requests on, frame by frame."""
        stream = client.makefile("rb")
        while len(size := stream.read(4)) == 4:
            frame = stream.read(int.from_bytes(size, "big"))
            if frame[10 : 10 + int.from_bytes(frame[8:10], "big")] == self.CLIENT:  # after the correlation id
                self.asked.add((int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")))
            broker.sendall(size + frame)

    def _answers(self, broker: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := broker.recv(1 << 16):
                client.sendall(some)
        hang_up(client)


def hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def tapped() -> Iterator[Tap]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tap = Tap(listener)
        thread = threading.Thread(target=tap.serve, daemon=True)
        thread.start()
        yield tap
        hang_up(listener)
        thread.join(5)
