"""Ports that a server can leave and find free again.

The system gives a client that connects any free port of its ephemeral range (32768 and up on Linux, 49152 and up
elsewhere). A client that tries again and again to reach a server that is down may get the server's own port, and even
connect to itself; then the server cannot come back. Ports below that range are given to nobody unasked.
"""

import os
import random
import socket

LOWEST, HIGHEST = 16_384, 32_767
ATTEMPTS = 200


def steady_port(host: str = "127.0.0.1") -> int:
    """Return a port below the ephemeral range at which nobody listens now. Raises OSError if there is none."""
    draws = random.Random(os.urandom(8))  # noqa: S311 – no secret: processes must not draw the same
    for attempt in range(ATTEMPTS):
        port = draws.randint(LOWEST, HIGHEST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            return port
    raise AssertionError("the last attempt raises")
