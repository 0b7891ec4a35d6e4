"""The least node there can be: one partition, Produce with acks=all and Fetch, enough to try the world with.

`early=True` is the mutant that every world must catch: it acknowledges what is appended and not yet durable.
"""

from rafka.core.api.api_versions_response import ApiVersion, ApiVersionsResponse
from rafka.core.api.fetch_response import FetchableTopicResponse, FetchResponse, PartitionData
from rafka.core.api.produce_response import (
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from rafka.core.config import LogConfig
from rafka.core.effects import List, Listen, Reply, Stop
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested, Terminated
from rafka.core.log.log import Log
from rafka.core.log.producers import Duplicate
from rafka.core.log.segment import Place
from rafka.core.machine import OffsetWaiters, Outbox
from rafka.core.record.batch import split
from rafka.core.script import Running, run
from rafka.core.types import File, Token, Uuid
from rafka.net.kafka.fetch import encode_response
from rafka.net.kafka.session import Protocol
from rafka.net.server import Server

SERVED = {0: (3, 9), 1: (4, 12), 18: (0, 4)}
TOPIC = "t"
SEGMENT_BYTES = 2000


class ToyNode:
    def __init__(self, *, fsync=True, early=False):
        self.out = Outbox()
        self.early = early
        config = LogConfig(flush_fsync=fsync, segment_bytes=SEGMENT_BYTES, index_interval_bytes=200)
        self.log = Log(File("t-0"), self.out, config, (Uuid(bytes(16)), 0))
        self.waiters = OffsetWaiters()
        self.parked = {}
        self.stopping = False
        # A first List makes the data directory's own existence known; then the log opens itself.
        run(self._open(), self.out, "open")

    def _open(self):
        yield List(File(""))
        yield from self.log.recover()

    def handle(self, event, now):
        match event:
            case Requested():
                self._requested(event, now)
            case Terminated():
                self.stopping = True
            case _ if hasattr(event, "token"):
                self.out.route(event, now)

    def tick(self, now):
        for log in self.out.alarms.pop_due(now.mono):
            log.maintain(now)
        self.log.flush(now)
        moved, self.out.moved = self.out.moved, []
        for machine in moved:
            if isinstance(machine, Running):
                self._ran(machine)
        for ticket in self.waiters.reach(self.log.durable_offset):
            self.out.effects.append(self.parked.pop(ticket))
        if self.stopping and self.log.durable_offset == self.log.log_end_offset:
            self.out.effects.append(Stop(0))

    def drain(self):
        return self.out.drain()

    def deadline(self):
        return self.out.alarms.next()

    def check(self):
        self.log.check()

    def _ran(self, running):
        if running.purpose == "open":
            self.out.effects.append(Listen("127.0.0.1", 0, Token(0)))
        else:
            self._fetched(running.purpose, running.result)

    def _requested(self, event, now):
        match event.api_key:
            case 0:
                self._produce(event, now)
            case 1:
                self._fetch(event)
            case 18:
                keys = [ApiVersion(api_key=k, min_version=a, max_version=b) for k, (a, b) in SERVED.items()]
                self._reply(event, ApiVersionsResponse(api_keys=keys))

    def _reply(self, event, body):
        self.out.effects.append(Reply(event.conn, event.correlation, body))

    def _produce(self, event, now):
        (partition,) = event.body.topic_data[0].partition_data
        batches = split(partition.records)
        (_, header) = batches[0]
        verdict = self.log.producers.check(header)
        if isinstance(verdict, ErrorCode):
            self._reply(event, produced(verdict, -1))
            return
        base = verdict.base_offset if isinstance(verdict, Duplicate) else self.log.append(batches, 0, now)
        reply = Reply(event.conn, event.correlation, produced(0, base))
        if self.early:
            self.out.effects.append(reply)
            return
        ticket = (event.conn, event.correlation)
        self.parked[ticket] = reply
        # A repeat waits for all before it too: later than need be, and the queue stays in order.
        self.waiters.wait(self.log.log_end_offset, ticket)

    def _fetch(self, event):
        offset = event.body.topics[0].partitions[0].fetch_offset
        if offset >= self.log.durable_offset:
            self._reply(event, self.fetched(0, []))
            return
        place = self.log.find(offset)
        if place is not None:
            self._fetched(event, place)
        else:
            run(self.log.lookup(offset), self.out, event)

    def _fetched(self, event, place):
        if not isinstance(place, Place):
            self._reply(event, self.fetched(place, []))
            return
        slices = self.log.slices(place, 300, self.log.durable_offset, at_least_one=True)
        self._reply(event, self.fetched(0, slices))

    def fetched(self, code, records):
        partition = PartitionData(
            partition_index=0, error_code=code, high_watermark=self.log.durable_offset, records=records
        )
        return FetchResponse(responses=[FetchableTopicResponse(topic=TOPIC, partitions=[partition])])


def produced(code, base_offset):
    partition = PartitionProduceResponse(index=0, error_code=code, base_offset=base_offset)
    return ProduceResponse(responses=[TopicProduceResponse(name=TOPIC, partition_responses=[partition])])


def toy(**settings):
    """What World boots."""
    protocol = Protocol(SERVED, encoders={1: encode_response})
    return lambda _entropy, _now: ToyServer(ToyNode(**settings), protocol)


class ToyServer(Server):
    def check(self):
        super().check()
        self.node.check()
