"""The pages of a node: /metrics, /healthz, /readyz. What each says, made when it is asked for."""

from collections.abc import Mapping, Sequence

from rafka.core.node.node import Node
from rafka.core.types import Now
from rafka.net.http import HttpAnswer, HttpRequest
from rafka.net.server import Server
from rafka.observe import catalogue as of
from rafka.observe.catalogue import Metric
from rafka.observe.labelled import Labels
from rafka.observe.node import (
    LAGS_PER_TOPIC,
    NS,
    TIMES,
    put_codecs,
    put_groups,
    put_requests,
    put_topics,
)
from rafka.observe.page import Page, wants_openmetrics
from rafka.observe.readiness import unready
from rafka.observe.tally import Tally, Work

Process = Sequence[tuple[Metric, float]]
"""What the system says of the process: a number for each metric that it knows."""
CodecWork = Mapping[tuple[str, int, str], Work]
INDEX = b"""/metrics  what Prometheus scrapes
/healthz  200: the broker's loop turns
/readyz   200: every partition led here can take a produce; else 503, and which cannot
"""
KINDS = ("file", "directory")
"""Of syncs."""


class Pages:
    """Answers requests for pages about one node. build: version, Python's version and the driver's name."""

    def __init__(
        self,
        node: Node,
        server: Server,
        tally: Tally,
        work: CodecWork,
        build: tuple[str, str, str],
        topics_max: int,
    ) -> None:
        self._node = node
        self._server = server
        self._tally = tally
        self._work = work
        self._build = build
        self._labels = Labels(topics_max)
        self._pairs_max = LAGS_PER_TOPIC * topics_max

    def answer(self, request: HttpRequest, now: Now, process: Process) -> HttpAnswer:
        """Return the page that is asked for."""
        match request.path:
            case "/metrics":
                page = self.metrics(now, process, openmetrics=wants_openmetrics(request.accept))
                return HttpAnswer(200, page.text(), page.content_type)
            case "/readyz":
                reasons = unready(self._node, now)
                text = "\n".join(reasons or ["ready"]) + "\n"
                return HttpAnswer(503 if reasons else 200, text.encode("utf-8", "replace"))
            case "/healthz":
                return HttpAnswer(200, b"alive\n")
            case "/":
                return HttpAnswer(200, INDEX)
            case _:
                return HttpAnswer(404, b"no such page; there are:\n" + INDEX)

    def metrics(self, now: Now, process: Process, *, openmetrics: bool) -> Page:
        """Write all metrics down, as they are now."""
        page = Page(openmetrics=openmetrics)
        page.begin(of.BUILD)
        page.sample(1, *self._build)
        page.one(of.READY, int(not unready(self._node, now)))
        self._put_driver(page)
        put_requests(page, self._server.protocol.meters, self._node)
        put_topics(page, self._node, self._labels)
        put_codecs(page, self._work)
        put_groups(page, self._node, self._pairs_max)
        for metric, number in process:
            page.one(metric, number)
        return page

    def _put_driver(self, page: Page) -> None:
        server, tally = self._server, self._tally
        page.one(of.CONNECTIONS, server.connections)
        page.one(of.ACCEPTED, server.accepted)
        page.one(of.REFUSED, server.refused + tally.turned_away)
        page.one(of.RECEIVED, tally.received_bytes)
        page.one(of.SENT, tally.sent_bytes)
        page.begin(of.TURNS)
        page.histogram(tally.turns.counts, tally.turns.total / NS, TIMES)
        page.begin(of.SYNCS)
        for kind, syncs in zip(KINDS, tally.syncs, strict=True):
            page.histogram(syncs.counts, syncs.total / NS, TIMES, kind)
        page.begin(of.SYNC_FAILURES)
        for kind, failures in zip(KINDS, tally.sync_failures, strict=True):
            page.sample(failures, kind)
