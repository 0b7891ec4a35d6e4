"""One connection's side of HTTP/1.1, for pages that are only read: bytes in, requests out; answers in, bytes out.

h11 does the parsing and knows the states; here are the bounds, and the answer to whoever breaks the rules:

    head of a request     16 KiB; over it 431, and the end (`HEAD_BYTES_MAX`)
    body of a request     thrown away; over 64 KiB 413, and the end (`BODY_BYTES_MAX`)
    requests sent ahead   none: who does not wait for an answer gets that one, and the end
    garbage               400, or what h11 says, and the end

How long a request may take to come whole is the driver's affair: `is_idle` says whether one is under way. GET and
HEAD are all there is: no path changes anything. Sources: RFC 9110, RFC 9112; h11's documentation.
"""

from http import HTTPStatus

import h11

from rafka.core.shape import value
from rafka.core.types import Buffer

HEAD_BYTES_MAX = 16 << 10
BODY_BYTES_MAX = 64 << 10
ALLOWED = ("GET", "HEAD")


@value
class HttpRequest:
    """What somebody asks for. path: without the query; accept: the Accept header, "" if there is none."""

    method: str
    path: str
    accept: str


@value
class HttpAnswer:
    """What is said to it. status: 200 to 599; body: of the content type given, as UTF-8 where it is text."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class HttpSession:
    """`receive` takes bytes, `next_request` gives a request, `answer` answers it, `drain` gives bytes to send.

    has_ended: nothing more is read, and the connection is to be closed once what was drained is out.
    """

    __slots__ = ("_body_bytes", "_connection", "_out", "_request", "has_ended")

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._out: list[bytes] = []
        self._request: HttpRequest | None = None
        self._body_bytes = 0
        self.has_ended = False

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a request has come that is not answered."""
        return self._connection.their_state is h11.IDLE and not self._connection.trailing_data[0]

    def receive(self, data: Buffer) -> None:
        """Take bytes that came."""
        if not self.has_ended:
            self._connection.receive_data(bytes(data))

    def next_request(self) -> HttpRequest | None:
        """Give the next request that is whole; None: more bytes must come first. Answer it before asking again."""
        while not self.has_ended:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return None
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes > BODY_BYTES_MAX:
                    self._refuse(413, f"a body of more than {BODY_BYTES_MAX} bytes")
            elif isinstance(event, h11.EndOfMessage):
                if (request := self._whole()) is not None:
                    return request
            elif isinstance(event, h11.ConnectionClosed):
                self.has_ended = True
            else:
                return None  # NEED_DATA, or PAUSED after a request that asked for the end
        return None

    def answer(self, answer: HttpAnswer) -> None:
        """Answer the request that was given last."""
        assert self._request is not None, "each request is answered once"
        request, self._request = self._request, None
        did_wait = not self._connection.trailing_data[0]
        self._say(answer, with_body=request.method != "HEAD", ends=not did_wait)
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
        else:
            self.has_ended = True

    def drain(self) -> bytes:
        """Give up what is to be sent."""
        out, self._out = b"".join(self._out), []
        return out

    def _begin(self, event: h11.Request) -> None:
        accept = b", ".join(text for name, text in event.headers if name == b"accept")
        path = event.target.decode("latin-1").partition("?")[0]
        self._request = HttpRequest(event.method.decode("ascii"), path, accept.decode("latin-1"))
        self._body_bytes = 0
        if self._connection.they_are_waiting_for_100_continue:
            self._out.append(self._sent(h11.InformationalResponse(status_code=100, headers=[])))

    def _whole(self) -> HttpRequest | None:
        """Return the request that has ended, unless it asks for what nobody does here."""
        request = self._request
        assert request is not None
        if request.method in ALLOWED:
            return request
        self.answer(HttpAnswer(405, b"these pages are only read: GET or HEAD\n"))
        return None

    def _refuse(self, status: int, why: str) -> None:
        """Say what was wrong, if it can be said still, and end."""
        self.has_ended = True
        self._request = None
        if self._connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._say(HttpAnswer(status, f"{why}\n".encode()), with_body=True, ends=True)

    def _say(self, answer: HttpAnswer, *, with_body: bool, ends: bool) -> None:
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", "no-store"),
        ]
        if answer.status == 405:
            headers.append(("Allow", ", ".join(ALLOWED)))
        if ends:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(answer.status).phrase
        self._out.append(self._sent(h11.Response(status_code=answer.status, headers=headers, reason=reason)))
        if with_body and answer.body:
            self._out.append(self._sent(h11.Data(data=answer.body)))
        self._out.append(self._sent(h11.EndOfMessage()))

    def _sent(self, event: "h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage") -> bytes:
        data = self._connection.send(event)
        assert data is not None, "only ConnectionClosed has no bytes"
        return data
