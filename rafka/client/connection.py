"""The client's side of one connection: requests to bytes, bytes to responses, without a socket.

A connection opens with `greet`, an ApiVersions request of version 0, which every broker understands; its
answer tells which versions `send` may choose. Responses come in the order of the requests, each with its
request's correlation id: one that does not match means that the two sides have lost each other.
Sources: the Kafka protocol guide, KIP-35, KIP-511.
"""

from collections import deque
from typing import Final

from rafka.core.api import APIS, Api, request_header_version, response_header_version
from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.core.api.api_versions_response import ApiVersionsResponse
from rafka.core.api.request_header import RequestHeader
from rafka.core.api.response_header import ResponseHeader
from rafka.core.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from rafka.core.message import Message, codec, decode, encode
from rafka.net.frame import Frames, frame_of

RESPONSE_BYTES_MAX: Final = 128 << 20
GREETING_VERSION: Final = 0

_BY_REQUEST: Final = {f"{api.name}Request": api for api in APIS.values()}


class Connection:
    """One conversation with a broker. Any error raised by `receive` ends it.

    client_id: what the broker calls us in its logs and quotas.
    """

    __slots__ = ("_awaited", "_client_id", "_frames", "_next_correlation_id", "_served")

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._frames = Frames(RESPONSE_BYTES_MAX)
        self._next_correlation_id = 0
        self._awaited: deque[tuple[int, Api, int]] = deque()
        """Correlation id, API and version of each request that has no answer yet."""
        self._served: dict[int, range] | None = None
        """The versions the broker serves, by API key; None until it has answered the greeting."""

    @property
    def is_ready(self) -> bool:
        """Whether the broker has said what it serves."""
        return self._served is not None

    def greet(self) -> bytes:
        """Return the bytes of the first request."""
        return self._request(ApiVersionsRequest(), _BY_REQUEST["ApiVersionsRequest"], GREETING_VERSION)

    def send(self, request: Message, *, wants_answer: bool = True) -> bytes:
        """Return the bytes of a request, in the newest version that both sides speak.

        wants_answer: False for a produce with acks=0, the one request that is never answered.
        Raises: LocalProtocolError if the greeting is not answered yet, the message is no request, the broker
        serves no version of it, or the version cannot say what it says.
        """
        api = _BY_REQUEST.get(type(request).__name__)
        if api is None:
            raise LocalProtocolError(f"{type(request).__name__} is not a request")
        return self._request(request, api, self._version(api), wants_answer=wants_answer)

    def receive(self, data: memoryview) -> list[Message]:
        """Take what came; return the responses that became whole, in the order of their requests.

        Raises: RemoteProtocolError if it is malformed, or answers what was not asked.
        """
        return [self._response(frame) for frame in self._frames.receive(data)]

    def _version(self, api: Api) -> int:
        if self._served is None:
            raise LocalProtocolError("the broker has not said yet what it serves")
        served = self._served.get(api.key, range(0))
        version = min(served.stop - 1, api.last_stable_version)
        if version < max(served.start, api.first_version):
            raise LocalProtocolError(f"the broker serves no version of {api.name} that we speak")
        return version

    def _request(self, request: Message, api: Api, version: int, *, wants_answer: bool = True) -> bytes:
        header = RequestHeader(
            request_api_key=api.key,
            request_api_version=version,
            correlation_id=self._next_correlation_id,
            client_id=self._client_id,
        )
        payload = encode(header, request_header_version(api.key, version)) + encode(request, version)
        if wants_answer:
            self._awaited.append((self._next_correlation_id, api, version))
        self._next_correlation_id = (self._next_correlation_id + 1) & 0x7FFF_FFFF
        return frame_of(payload)

    def _response(self, frame: memoryview) -> Message:
        if not self._awaited:
            raise RemoteProtocolError("the broker answered, but nothing was asked")
        correlation_id, api, version = self._awaited.popleft()
        header, end = codec(ResponseHeader, response_header_version(api.key, version)).decode(frame, 0)
        if header.correlation_id != correlation_id:
            raise RemoteProtocolError(
                f"the broker answered request {header.correlation_id}, but {correlation_id} was next"
            )
        response = decode(api.response, version, frame[end:])
        if isinstance(response, ApiVersionsResponse):
            self._learn(response)
        return response

    def _learn(self, response: ApiVersionsResponse) -> None:
        if response.error_code != ErrorCode.NONE:
            raise RemoteProtocolError(f"the broker refused the greeting with error {response.error_code}")
        self._served = {k.api_key: range(k.min_version, k.max_version + 1) for k in response.api_keys}
