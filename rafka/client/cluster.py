"""The client's side of a cluster: links to brokers, requests on their way, and what is known of topics.

Nothing blocks and nothing is called back but the owner of a call. Bytes and time go in (`connected`, `received`,
`lost`, `tick`), outputs come out of the shared outbox (Dial, Transmit, HangUp). The rules:

- One link for each broker and lane, dialled when first needed. A lane is a connection of its own: a broker answers
  in order, so a heartbeat on the lane of a fetch would wait as long as the fetch does.
- A call whose answer does not come in time ends its link, because all answers behind it would be late too. What was
  in flight on a link that ends is answered with Unanswered: it may or may not have been done.
- A call to a node that cannot be reached fails; its owner looks up who to ask now. A call to any node is tried on
  one broker after the other until its time is up.
- Links are dialled again after a delay that doubles with each failure, up to a bound, ±20 % so that many clients of
  a broker that restarts do not come in step.
- Metadata is asked for again when it is old, when an owner says so (`refresh`), and while a topic that is wanted
  is not there or has no leader.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from rafka.client.connection import Connection
from rafka.client.errors import Unanswered, Unsupported
from rafka.client.link import Asker, Call, Link, State
from rafka.client.outputs import Dial, HangUp, Outbox, Transmit
from rafka.client.settings import ClientSettings, addresses_of
from rafka.client.topology import Topology
from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic
from rafka.core.api.metadata_response import MetadataResponse
from rafka.core.errors import LocalProtocolError, ProtocolError
from rafka.core.machine import Entropy
from rafka.core.message import Message
from rafka.core.types import MonoNs, Now

MS: Final = 1_000_000
GENERAL: Final = ""
"""The lane of what has no lane of its own."""


class Cluster:
    """See the file's header. topology: what is known; may_create: whether asking for a topic may make it."""

    def __init__(
        self, settings: ClientSettings, entropy: Entropy, out: Outbox, *, may_create: bool = False
    ) -> None:
        self.topology = Topology()
        self.settings = settings
        self.entropy = entropy
        self._out = out
        self._may_create = may_create
        self._bootstrap = {-2 - n: pair for n, pair in enumerate(addresses_of(settings.bootstrap_servers))}
        """Addresses given, under numbers that no broker has."""
        self._links: dict[int, Link] = {}
        self._by_node: dict[tuple[int, str], Link] = {}
        self._last_link = 0
        self._failures: dict[int, int] = {}
        self._dial_after: dict[int, MonoNs] = {}
        self._anywhere: deque[Call] = deque()
        self._failed: deque[Call] = deque()
        """Calls that are over, and whose owners are told at the next tick."""
        self._wanted: dict[str, None] = {}
        self._asked_for: set[str] = set()
        self._metadata: Call | None = None
        self._metadata_after = MonoNs(0)
        """Metadata is not asked for before, unless for topics never asked for."""
        self._metadata_old = MonoNs(0)
        """It is asked for then in any case, if a topic is wanted."""
        self._metadata_failures = 0
        self._is_stale = False

    # ---- what owners ask -----------------------------------------------------------------------------

    def ask(
        self,
        request: Message,
        owner: Asker,
        now: Now,
        *,
        node: int | None = None,
        lane: str = GENERAL,
        timeout_ms: int | None = None,
        wants_answer: bool = True,
    ) -> Call:
        """Send a request to a node, or to any; its owner is told once what came of it.

        timeout_ms: None for the setting's. wants_answer: False for what is never answered: it is over once sent.
        """
        limit = self.settings.request_timeout_ms if timeout_ms is None else timeout_ms
        call = Call(request, owner, node, lane, MonoNs(now.mono + limit * MS), wants_answer)
        if node is None:
            self._anywhere.append(call)
            self._serve_anywhere(now)
            return call
        if node not in self.topology.addresses:
            self._fail(call, Unanswered(f"node {node} is unknown"))
            self.refresh()
            return call
        link = self._by_node.get((node, lane)) or self._new_link(node, lane, now)
        link.waiting.append(call)
        self._send_waiting(link)
        return call

    def cancel(self, call: Call) -> None:
        """Forget a call: its owner is told nothing. What was sent stays sent."""
        call.is_cancelled = True

    def withdraw(self, call: Call) -> bool:
        """Forget a call that was not sent yet; say whether it was so."""
        for link in self._links.values():
            if call in link.waiting:
                link.waiting.remove(call)
                return True
        return False

    def want(self, names: Iterable[str]) -> list[str]:
        """Keep these topics in the metadata from now on; return those that were not in it."""
        new = [name for name in dict.fromkeys(names) if name not in self._wanted]
        for name in new:
            self._wanted[name] = None
            self._is_stale = True
        return new

    def forget(self, name: str) -> None:
        """Keep a topic no more."""
        self._wanted.pop(name, None)

    def refresh(self) -> None:
        """Ask for metadata again, soon: it may have led astray."""
        self._is_stale = True

    def backoff_ns(self, failures: int) -> int:
        """Return how long to wait after so many failures in a row, at least one."""
        base = self.settings.backoff_ms << min(max(failures, 1) - 1, 16)
        bounded = min(base, self.settings.backoff_max_ms) * MS
        return bounded * 4 // 5 + self.entropy.below(bounded * 2 // 5 + 1)

    # ---- what the world says -------------------------------------------------------------------------

    def connected(self, number: int, now: Now) -> None:
        """Learn that a link stands."""
        link = self._links.get(number)
        if link is not None and link.state is State.DIALLING:
            link.state = State.GREETING
            link.due = MonoNs(now.mono + self.settings.request_timeout_ms * MS)
            link.unsent.append(link.connection.greet())

    def received(self, number: int, data: memoryview, now: Now) -> None:
        """Take bytes from a link; the link ends if they cannot be what a broker says."""
        link = self._links.get(number)
        if link is None or link.state in (State.WAITING, State.DIALLING):
            return  # it was hung up meanwhile
        try:
            answers = link.connection.receive(data)
        except ProtocolError as error:
            self._end(link, str(error), now, must_hang_up=True)
            return
        if link.state is State.GREETING and link.connection.is_ready:
            answers = answers[1:]
            link.state = State.READY
            self._failures.pop(link.node, None)
            self._send_waiting(link)
            self._serve_anywhere(now)
        for answer in answers:
            call = link.in_flight.popleft()
            call.answer = answer
            self._tell(call, now)

    def lost(self, number: int, now: Now, reason: str = "the connection ended") -> None:
        """Learn that a link could not be made, or has ended."""
        link = self._links.get(number)
        if link is not None:
            self._end(link, reason, now, must_hang_up=False)

    def tick(self, now: Now) -> None:
        """Do what is due: dial, give up, ask for metadata, tell owners of failures."""
        for link in list(self._links.values()):
            self._tick_link(link, now)
        self._tick_anywhere(now)
        self._tick_metadata(now)
        while self._failed:
            self._tell(self._failed.popleft(), now)

    def deadline(self) -> MonoNs | None:
        """Say when the next tick is due."""
        if self._failed or any(link.unsent for link in self._links.values()):
            return MonoNs(0)
        dues = [due for link in self._links.values() if (due := link.next_due()) is not None]
        dues += [call.due for call in self._anywhere]
        if self._anywhere and not self._has_general_link():
            dues.append(min(self._dial_after.get(node, MonoNs(0)) for node in self._candidates()))
        if self._metadata is None and (self._is_stale or self._wanted):
            dues.append(self._metadata_after if self._is_stale else self._metadata_old)
        return min(dues) if dues else None

    def flush(self) -> None:
        """Put what is to be transmitted into the outbox: one output for each link."""
        for link in self._links.values():
            if link.unsent:
                data = link.unsent[0] if len(link.unsent) == 1 else b"".join(link.unsent)
                self._out.outputs.append(Transmit(link.number, data))
                link.unsent.clear()

    def hang_up(self) -> None:
        """End every link; calls are forgotten."""
        self.flush()
        for link in self._links.values():
            if link.state is not State.WAITING:
                self._out.outputs.append(HangUp(link.number))
        self._links.clear()
        self._by_node.clear()
        self._anywhere.clear()
        self._failed.clear()
        self._wanted.clear()
        self._is_stale = False

    # ---- links -----------------------------------------------------------------------------------------

    def _new_link(self, node: int, lane: str, now: Now) -> Link:
        self._last_link += 1
        due = max(self._dial_after.get(node, MonoNs(0)), now.mono)
        link = Link(self._last_link, node, lane, MonoNs(due), Connection(self.settings.client_id))
        self._links[link.number] = self._by_node[node, lane] = link
        self._tick_link(link, now)
        return link

    def _tick_link(self, link: Link, now: Now) -> None:
        if link.state is State.WAITING and link.due <= now.mono:
            address = self.topology.addresses.get(link.node) or self._bootstrap.get(link.node)
            if address is None:
                self._end(link, f"node {link.node} is gone", now, must_hang_up=False)
                return
            link.state = State.DIALLING
            link.due = MonoNs(now.mono + self.settings.connect_timeout_ms * MS)
            self._out.outputs.append(Dial(link.number, *address))
        elif link.state in (State.DIALLING, State.GREETING) and link.due <= now.mono:
            self._end(link, "the broker does not answer", now, must_hang_up=True)
            return
        if any(call.due <= now.mono for call in link.in_flight):
            self._end(link, "the answer did not come in time", now, must_hang_up=True)
            return
        for call in [call for call in link.waiting if call.due <= now.mono]:
            link.waiting.remove(call)
            self._fail(call, Unanswered(f"node {link.node} could not be reached in time"))

    def _end(self, link: Link, reason: str, now: Now, *, must_hang_up: bool) -> None:
        """Forget a link, and fail its calls or send them elsewhere."""
        if must_hang_up:
            self._out.outputs.append(HangUp(link.number))
        del self._links[link.number]
        del self._by_node[link.node, link.lane]
        if link.state is not State.READY:
            self._failures[link.node] = self._failures.get(link.node, 0) + 1
        pause = self.backoff_ns(self._failures.get(link.node, 0))
        self._dial_after[link.node] = MonoNs(now.mono + pause)
        for call in link.in_flight:
            self._fail(call, Unanswered(f"node {link.node}: {reason}"))
        for call in link.waiting:
            if call.node is None:
                self._anywhere.append(call)
            else:
                self._fail(call, Unanswered(f"node {link.node}: {reason}"))
        if self._wanted:
            self.refresh()
        self._serve_anywhere(now)

    def _send_waiting(self, link: Link) -> None:
        while link.state is State.READY and link.waiting:
            call = link.waiting.popleft()
            if call.is_cancelled:
                continue
            try:
                link.unsent.append(link.connection.send(call.request, wants_answer=call.wants_answer))
            except LocalProtocolError as error:
                call.error = Unsupported(str(error))
                self._failed.append(call)
                continue
            if call.wants_answer:
                link.in_flight.append(call)
            else:
                self._failed.append(call)  # over, without an answer and without an error

    # ---- any broker --------------------------------------------------------------------------------

    def _has_general_link(self) -> bool:
        return any(link.lane == GENERAL for link in self._links.values())

    def _candidates(self) -> list[int]:
        return [*self.topology.addresses, *self._bootstrap]

    def _serve_anywhere(self, now: Now) -> None:
        """Give the calls to any broker to the least busy of those that are ready, or dial one."""
        if not self._anywhere:
            return
        general = [link for link in self._links.values() if link.lane == GENERAL]
        ready = [link for link in general if link.state is State.READY]
        if ready:
            link = min(ready, key=lambda link: len(link.in_flight))
            link.waiting += self._anywhere
            self._anywhere.clear()
            self._send_waiting(link)
        elif not general:
            after = {node: self._dial_after.get(node, MonoNs(0)) for node in self._candidates()}
            first = min(after.values())
            if first <= now.mono:
                nodes = [node for node, at in after.items() if at == first]
                self._new_link(nodes[self.entropy.below(len(nodes))], GENERAL, now)

    def _tick_anywhere(self, now: Now) -> None:
        for call in [call for call in self._anywhere if call.due <= now.mono]:
            self._anywhere.remove(call)
            self._fail(call, Unanswered("no broker could be reached in time"))
        self._serve_anywhere(now)

    # ---- metadata ----------------------------------------------------------------------------------

    def _tick_metadata(self, now: Now) -> None:
        if self._metadata is not None:
            return
        is_old = bool(self._wanted) and self._metadata_old <= now.mono
        is_new = self._is_stale and any(name not in self._asked_for for name in self._wanted)
        if is_old or is_new or (self._is_stale and self._metadata_after <= now.mono):
            self._is_stale = False
            self._asked_for = set(self._wanted)
            topics = [MetadataRequestTopic(name=name) for name in self._wanted]
            request = MetadataRequest(topics=topics, allow_auto_topic_creation=self._may_create)
            self._metadata = self.ask(request, self, now)

    def answered(self, call: Call, now: Now) -> None:
        """Take metadata."""
        self._metadata = None
        answer = call.answer
        if not isinstance(answer, MetadataResponse) or answer.error_code:
            self._metadata_failures += 1
            self._is_stale = True
            self._metadata_after = MonoNs(now.mono + self.backoff_ns(self._metadata_failures))
            return
        self.topology.learn(answer)
        self._adopt()
        topics = self.topology.topics
        if all(name in topics and topics[name].is_settled for name in self._wanted):
            self._metadata_failures = 0
            self._metadata_old = MonoNs(now.mono + self.settings.metadata_max_age_ms * MS)
        else:
            self._metadata_failures += 1
            self._metadata_old = MonoNs(now.mono + self.backoff_ns(self._metadata_failures))
        self._metadata_after = MonoNs(now.mono + self.backoff_ns(1))

    def _adopt(self) -> None:
        """Let a link to an address that was given be the one to the node which says that it is there."""
        for link in list(self._links.values()):
            if link.node in self._bootstrap:
                address = self._bootstrap[link.node]
                for node, told in self.topology.addresses.items():
                    if told == address and (node, link.lane) not in self._by_node:
                        del self._by_node[link.node, link.lane]
                        self._by_node[node, link.lane] = link
                        link.node = node
                        break

    # ---- owners ------------------------------------------------------------------------------------

    def _fail(self, call: Call, error: Unanswered) -> None:
        call.error = error
        self._failed.append(call)

    def _tell(self, call: Call, now: Now) -> None:
        if not call.is_cancelled:
            call.owner.answered(call, now)
