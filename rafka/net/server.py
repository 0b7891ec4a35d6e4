"""A node with protocol sessions around it: bytes and completions in, bytes and file operations out.

This is the machine that a driver or the simulator runs. It owns what every connection needs, whoever it belongs
to: sessions, back-pressure, limits and idleness. Requests go to the node inside as `Requested`; its `Reply`s come
back here and leave as `Send`s, one a turn and connection. All else passes through in both directions.

Limits, and what happens at them (each a Kafka broker setting where Kafka has one):

- `connections_max` (max.connections), `connections_per_ip_max` (max.connections.per.ip): one more is closed at
  once, with a note.
- `unanswered_max`: requests of one connection that wait for answers; then it is not read until half are out.
- `frame_bytes_max` (socket.request.max.bytes): a larger frame ends its connection.
- `idle_ms_max` (connections.max.idle.ms): without a byte from the client and without an open request for so
  long, a connection is closed. A frame that has begun must be whole in that time too, however slowly it drips.

Requests of one connection are worked at in the order that `order.py` tells.

A client's violation ends its own connection and nothing else.
"""

from collections.abc import Iterable, Sequence

import attrs

from rafka.core.effects import Close, Effect, Fill, Note, Pause, Reply, Resume, Send
from rafka.core.errors import LocalProtocolError, RemoteProtocolError
from rafka.core.events import Connected, Disconnected, Event, Filled, Received, Requested
from rafka.core.machine import Machine
from rafka.core.plain import Acknowledge, PlainProduce
from rafka.core.shape import value
from rafka.core.types import ConnId, MonoNs, Now
from rafka.net.kafka.session import Protocol, Session
from rafka.net.order import Order

MS = 1_000_000


@value
class Limits:
    """What one server allows; the defaults are Kafka's where Kafka has the setting."""

    connections_max: int = 10_000
    connections_per_ip_max: int = (1 << 31) - 1
    unanswered_max: int = 128
    frame_bytes_max: int = 100 << 20
    idle_ms_max: int = 600_000


@attrs.define(eq=False)
class _Connection:
    session: Session
    ip: str
    active: MonoNs
    """When the client last sent a byte that moved something: begun a frame, or made one whole."""
    order: Order = attrs.field(factory=Order)
    is_paused: bool = False
    is_closing: bool = False


@attrs.define(eq=False)
class Server:
    """Drives `node`, a Machine that takes Requested and Disconnected and gives Reply, through Kafka's protocol."""

    node: Machine
    protocol: Protocol
    limits: Limits = attrs.field(factory=Limits)
    _connections: dict[ConnId, _Connection] = attrs.field(factory=dict)
    _effects: list[Effect] = attrs.field(factory=list)
    _per_ip: dict[str, int] = attrs.field(factory=dict)
    """How many connections each address has; none with 0."""
    _sendable: dict[ConnId, _Connection] = attrs.field(factory=dict)
    """Connections whose session may have answers to send, in the order they got them."""
    _released: list[Requested | PlainProduce] = attrs.field(factory=list)
    """Requests that were held back and may be worked at in the next turn."""
    _sweep_at: MonoNs | None = None
    accepted: int = 0
    """How many connections were served so far, and how many refused."""
    refused: int = 0

    def handle(self, event: Event, now: Now) -> None:
        """Take one event; what is about connections stays here, the rest is the node's."""
        match event:
            case Received():
                self._received(event, now)
            case Filled():
                self._filled(event, now)
            case Connected():
                self._connected(event, now)
            case Disconnected():
                self._sendable.pop(event.conn, None)
                connection = self._connections.pop(event.conn, None)
                if connection is not None:
                    self._count(connection.ip, -1)
                    self.node.handle(event, now)
            case _:
                self.node.handle(event, now)

    def tick(self, now: Now) -> None:
        """Let the node do what is due, and close who has been silent for too long."""
        if self.protocol.left:  # nobody has told when the last turn ended
            self.protocol.settle(now.mono)
        self._go_on(now)
        self.node.tick(now)
        if self._sweep_at is not None and self._sweep_at <= now.mono:
            self._sweep(now)

    def drain(self) -> list[Effect]:
        """Give up the turn's effects: the node's own, then the answers, one Send a connection."""
        for effect in self.node.drain():
            if isinstance(effect, Acknowledge):
                self._acknowledge(effect.produces)
            elif isinstance(effect, Reply):
                self._answer(effect)
            else:
                self._effects.append(effect)
        for conn, connection in self._sendable.items():
            if connection.is_closing:
                continue
            pieces = connection.session.drain()
            if pieces:
                self._effects.append(Send(conn, pieces))
            if connection.is_paused:
                self._resume(conn, connection)
        self._sendable.clear()
        effects, self._effects = self._effects, []
        return effects

    def deadline(self) -> MonoNs | None:
        """Say when the node, or the next look for idle connections, is due."""
        if self._released:
            return MonoNs(0)
        node_at = self.node.deadline()
        if node_at is None or self._sweep_at is None:
            return self._sweep_at if node_at is None else node_at
        return min(node_at, self._sweep_at)

    @property
    def connections(self) -> int:
        """How many connections are served now."""
        return len(self._connections)

    def check(self) -> None:
        """Assert what must hold between turns."""
        assert not self._effects
        assert not self._sendable
        assert len(self._connections) <= self.limits.connections_max
        assert sum(self._per_ip.values()) == len(self._connections)
        assert all(0 < count <= self.limits.connections_per_ip_max for count in self._per_ip.values())
        assert (self._sweep_at is not None) >= bool(self._connections)

    def _connected(self, event: Connected, now: Now) -> None:
        ip = event.peer.rpartition(":")[0]
        if len(self._connections) >= self.limits.connections_max:
            self._refuse(event, "max.connections", self.limits.connections_max)
            return
        if self._per_ip.get(ip, 0) >= self.limits.connections_per_ip_max:
            self._refuse(event, "max.connections.per.ip", self.limits.connections_per_ip_max)
            return
        self.accepted += 1
        session = Session(event.conn, self.protocol, self.limits.frame_bytes_max)
        self._connections[event.conn] = _Connection(session, ip, now.mono)
        self._count(ip, 1)
        if self._sweep_at is None:
            self._sweep_at = self._next_sweep(now)
        self.node.handle(event, now)

    def _refuse(self, event: Connected, setting: str, limit: int) -> None:
        self.refused += 1
        self._effects.append(Close(event.conn, f"{setting} is reached"))
        self._note("warning", "connection refused", peer=event.peer, setting=setting, limit=limit)

    def _count(self, ip: str, change: int) -> None:
        count = self._per_ip.get(ip, 0) + change
        if count:
            self._per_ip[ip] = count
        else:
            del self._per_ip[ip]

    def _received(self, event: Received, now: Now) -> None:
        connection = self._connections.get(event.conn)
        if connection is None or connection.is_closing:
            return  # bytes that were on their way when we closed
        session = connection.session
        was_mid_frame = session.frames.is_mid_frame
        session.now = now.mono
        try:
            requests = session.receive(event.data)
        except RemoteProtocolError as error:
            self._violated(event.conn, connection, error)
            return
        if requests or not was_mid_frame:
            connection.active = now.mono
        self._pass_on(event.conn, connection, requests, now)

    def _filled(self, event: Filled, now: Now) -> None:
        connection = self._connections.get(event.conn)
        if connection is None or connection.is_closing:
            return
        connection.session.now = now.mono
        try:
            requests = connection.session.filled()
        except RemoteProtocolError as error:
            self._violated(event.conn, connection, error)
            return
        connection.active = now.mono
        self._pass_on(event.conn, connection, requests, now)

    def _pass_on(
        self, conn: ConnId, connection: _Connection, requests: Iterable[Requested | PlainProduce], now: Now
    ) -> None:
        if self._released:
            self._go_on(now)  # what was held back is before what comes now
        admits = connection.order.admits
        for request in requests:
            if admits(request):
                self.node.handle(request, now)
        session = connection.session
        if session.frames.is_mid_frame:
            buffer = session.frames.wanted()
            if buffer is not None:
                self._effects.append(Fill(conn, buffer))
        if session.unanswered >= self.limits.unanswered_max and not connection.is_paused:
            connection.is_paused = True
            self._effects.append(Pause(conn))
        if session.has_answers:  # it has answered by itself
            self._sendable[conn] = connection

    def _go_on(self, now: Now) -> None:
        """Hand on what was held back until the last turn's answers."""
        released, self._released = self._released, []
        for request in released:
            connection = self._connections.get(request.conn)
            if connection is not None and not connection.is_closing:
                self.node.handle(request, now)

    def _answer(self, reply: Reply) -> None:
        connection = self._connections.get(reply.conn)
        if connection is None:
            return  # it went away before its answer came
        try:
            api_key = connection.session.answer(reply.correlation, reply.body)
        except LocalProtocolError as error:  # our own mistake: it costs one client its connection
            self._note("error", "answer cannot be said", conn=reply.conn, reason=str(error))
            self._close(reply.conn, connection, f"answer cannot be said: {error}")
            return
        released = connection.order.answered(api_key)
        if released:
            self._released += released
        self._sendable[reply.conn] = connection

    def _acknowledge(self, produces: Sequence[PlainProduce]) -> None:
        connections = self._connections
        for produce in produces:
            conn = produce.conn
            connection = connections.get(conn)
            if connection is None:
                continue  # it went away before its answer came
            connection.session.acknowledge(produce)
            order = connection.order
            order.produces -= 1
            if order.held:
                self._released += order.released()
            self._sendable[conn] = connection

    def _resume(self, conn: ConnId, connection: _Connection) -> None:
        if connection.session.unanswered <= self.limits.unanswered_max // 2:
            connection.is_paused = False
            self._effects.append(Resume(conn))

    def _violated(self, conn: ConnId, connection: _Connection, error: RemoteProtocolError) -> None:
        self._note("warning", "protocol violation", conn=conn, reason=str(error))
        self._close(conn, connection, f"protocol violation: {error}")

    def _close(self, conn: ConnId, connection: _Connection, reason: str) -> None:
        connection.is_closing = True
        self._effects.append(Close(conn, reason))

    def _sweep(self, now: Now) -> None:
        silent_since = now.mono - self.limits.idle_ms_max * MS
        for conn, connection in self._connections.items():
            session = connection.session
            is_waiting_for_us = session.unanswered > 0 and not session.frames.is_mid_frame
            if connection.active <= silent_since and not is_waiting_for_us and not connection.is_closing:
                self._close(conn, connection, "idle for connections.max.idle.ms")
        self._sweep_at = self._next_sweep(now) if self._connections else None

    def _next_sweep(self, now: Now) -> MonoNs:
        """Look ten times per idle limit: a connection lives at most a tenth longer than allowed."""
        return MonoNs(now.mono + max(1, self.limits.idle_ms_max // 10) * MS)

    def _note(self, level: str, name: str, **fields: object) -> None:
        self._effects.append(Note(level, name, fields))
