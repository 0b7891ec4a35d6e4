"""A broker that answers as its script says: one real socket, real frames, and no broker behind it."""

import socket
import threading
from contextlib import suppress

import pytest

from rafka.core.api import APIS, request_header_version, response_header_version
from rafka.core.api.api_versions_response import ApiVersion, ApiVersionsResponse
from rafka.core.api.request_header import RequestHeader
from rafka.core.api.response_header import ResponseHeader
from rafka.core.message import codec, decode, encode
from rafka.net.frame import Frames, frame_of


class ScriptedBroker:
    """answers: what to say to each request, by the name of its class; None closes the connection."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.bootstrap = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection:
                    self.converse(connection)

    def converse(self, connection):
        frames = Frames(1 << 20)
        while data := connection.recv(65536):
            for frame in frames.receive(memoryview(data)):
                answer = self.answer(bytes(frame))
                if answer is None:
                    return
                connection.sendall(answer)

    def answer(self, frame):
        key, version = int.from_bytes(frame[:2]), int.from_bytes(frame[2:4])
        header, end = codec(RequestHeader, request_header_version(key, version)).decode(frame, 0)
        request = decode(APIS[key].request, version, frame[end:])
        if key == 18:
            versions = [
                ApiVersion(api_key=a.key, min_version=a.first_version, max_version=a.last_version)
                for a in APIS.values()
            ]
            response = ApiVersionsResponse(api_keys=versions)
        else:
            self.asked.append(request)
            response = self.answers.get(type(request).__name__)
            response = response(request) if callable(response) else response
        if response is None:
            return None
        prefix = encode(
            ResponseHeader(correlation_id=header.correlation_id), response_header_version(key, version)
        )
        return frame_of(prefix + encode(response, version))

    def close(self):
        # shutdown wakes the accept; close alone would leave the thread in it
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


@pytest.fixture
def scripted():
    broker = ScriptedBroker()
    yield broker
    broker.close()
