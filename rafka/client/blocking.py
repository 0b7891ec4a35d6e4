"""The client without an event loop: methods block, and may be called from any thread.

    with Producer("127.0.0.1:9092") as producer:
        producer.send("greetings", b"hello")
    with Consumer("127.0.0.1:9092", "greetings", auto_offset_reset="earliest") as consumer:
        for record in consumer:
            ...

Each client has one thread, in `selecting.py`, which owns its connections. A lock guards its machine.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

from rafka.client import admin, consumer, producer
from rafka.client.batches import Delivery
from rafka.client.consumer import Notice
from rafka.client.described import (
    ClusterDescription,
    ConfigEntry,
    GroupDescription,
    GroupListing,
    TopicDescription,
)
from rafka.client.errors import BufferFull
from rafka.client.machine import ClientMachine
from rafka.client.making import make_admin, make_consumer, make_producer
from rafka.client.offsets import OffsetAndTimestamp, TopicPartition
from rafka.client.outputs import Pending
from rafka.client.producer import Headers
from rafka.client.reading import ConsumerRecord
from rafka.client.selecting import SelectingDriver
from rafka.client.settings import EARLIEST, LATEST, ClientOptions, ConsumerOptions, ProducerOptions
from rafka.client.world import now

T = TypeVar("T")
M = TypeVar("M", bound=ClientMachine)
CLOSE_S = 30.0

Offsets = Mapping[TopicPartition, int]


class Client(Generic[M]):
    """What the three have in common. machine: the client itself, to be touched under the driver's lock only."""

    def __init__(self, machine: M) -> None:
        self.machine = machine
        self._driver = SelectingDriver(machine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(is_well=error is None)

    def close(self) -> None:
        """End as the end of a `with` does. Closing again does nothing."""
        self._close(is_well=True)

    def _close(self, *, is_well: bool) -> None:
        try:
            if not self.machine.is_closed:
                self._driver.wait(self._do(lambda: self._ending(is_well=is_well)), CLOSE_S)
        finally:
            self._driver.stop()

    def _ending(self, *, is_well: bool) -> Pending[None]:
        raise NotImplementedError

    def _do(self, operation: Callable[[], T]) -> T:
        """Do something to the machine, and let it take a turn."""
        with self._driver.lock:
            try:
                return operation()
            finally:
                self._driver.poke()

    def _wait(self, operation: Callable[[], Pending[T]]) -> T:
        """Ask something of the machine, and wait for the result."""
        pending = self._do(operation)
        self._driver.wait(pending)
        return pending.result()


class Producer(Client[producer.Producer]):
    """Sends records. `with` flushes at the end. bootstrap: host:port, or several; options: see `settings`."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Unpack[ProducerOptions]) -> None:
        super().__init__(make_producer(bootstrap, options))

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> Delivery:
        """Send a record and wait until it is acknowledged. Raises ClientError if it is not.

        To send many at once, `enqueue` each, then `flush`. timestamp: ms; None for now.
        """
        delivery = self.enqueue(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )
        return self.confirmed(delivery)

    def enqueue(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> Delivery:
        """Take a record to be sent; wait only while the buffer is full. What became of it: see `confirmed`."""
        while True:
            try:
                with self._driver.lock:
                    delivery = self.machine.send(
                        topic,
                        value,
                        now(),
                        key=key,
                        headers=headers,
                        partition=partition,
                        timestamp=timestamp,
                    )
                    self._driver.poke()
            except BufferFull as full:
                size_bytes = full.size_bytes
            else:
                return delivery
            self._wait(partial(self.machine.room, size_bytes))

    def confirmed(self, delivery: Delivery) -> Delivery:
        """Wait until a record is acknowledged, and return it with its offset. Raises ClientError if it is not."""
        self._wait(lambda: delivery)
        return delivery

    def flush(self) -> None:
        """Send what lingers, and wait until all that was enqueued is acknowledged, or has failed."""
        self._wait(self.machine.flush)

    def _ending(self, *, is_well: bool) -> Pending[None]:  # noqa: ARG002 – what was enqueued is sent anyway
        return self.machine.close()


class Consumer(Client[consumer.Consumer]):
    """Reads records: `for record in consumer`, or `poll`.

    topics: shared with the group of `group_id`; without one, all their partitions are read. options: see `settings`.
    """

    def __init__(
        self, bootstrap: str | Sequence[str], *topics: str, **options: Unpack[ConsumerOptions]
    ) -> None:
        super().__init__(make_consumer(bootstrap, options))
        try:
            if topics and self.machine.consuming.group_id is not None:
                self.subscribe(topics)
            elif topics:
                self.assign([place for topic in topics for place in self.partitions_for(topic)])
        except BaseException:
            self._driver.stop()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ConsumerRecord:
        """Return the next record; it counts as processed once the one after it is asked for."""
        while True:
            records = self.poll(None, max_records=1)
            if records:
                return records[0]

    def poll(self, timeout_s: float | None = None, max_records: int | None = None) -> list[ConsumerRecord]:
        """Return records, waiting for the first so long (None: for ever); what was returned before is processed."""
        machine = self.machine
        records = self._do(lambda: machine.poll(now(), max_records))
        if not records:
            readable = self._do(lambda: machine.readable(now()))
            try:
                self._driver.wait(readable, timeout_s)
            finally:
                self._do(lambda: machine.stop_waiting(readable))
            records = self._do(lambda: machine.poll(now(), max_records))
        return records

    def subscribe(self, topics: Iterable[str]) -> None:
        """Share these topics with the other members of the group; none: leave it."""
        self._do(lambda: self.machine.subscribe(topics, now()))

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, and no others."""
        self._do(lambda: self.machine.assign(partitions))

    def assignment(self) -> list[TopicPartition]:
        """Return the partitions that are read."""
        return self._do(self.machine.assignment)

    def notices(self) -> list[Notice]:
        """Return, once each, what the group has done with this member's partitions."""
        return self._do(self.machine.notices)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Return no records of these until they are resumed."""
        self._do(lambda: self.machine.pause(partitions))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Return records of these again."""
        self._do(lambda: self.machine.resume(partitions))

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Go on from an offset."""
        self._do(lambda: self.machine.seek(place, offset))

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Go on from where these partitions begin; without any: where all do."""
        self._do(lambda: self.machine.seek_to(partitions or self.machine.assignment(), EARLIEST))

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Go on from where these partitions end; without any: where all do."""
        self._do(lambda: self.machine.seek_to(partitions or self.machine.assignment(), LATEST))

    def position(self, place: TopicPartition) -> int:
        """Return the offset of the next record that `poll` returns."""
        return self._wait(lambda: self.machine.position(place, now()))

    def commit(self, offsets: Offsets | None = None) -> None:
        """Commit offsets of next records; None: of all that was polled. Raises CommitFailed."""
        self._wait(lambda: self.machine.commit(now(), offsets))

    def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what the group has committed; partitions of which it has nothing are left out."""
        return self._wait(lambda: self.machine.committed(partitions, now()))

    def offsets_for_times(self, times: Offsets) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Return the first offset whose record's time is this or later, ms; -1 if there is none."""
        return self._wait(lambda: self.machine.offsets_for(times, now()))

    def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions begin."""
        return self._bounds(partitions, EARLIEST)

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions end: the offsets of the records to come."""
        return self._bounds(partitions, LATEST)

    def partitions_for(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic. Raises BrokerError if there is no such topic."""
        return self._wait(lambda: self.machine.partitions_for(topic, now()))

    def _bounds(self, partitions: Iterable[TopicPartition], time: int) -> dict[TopicPartition, int]:
        found = self.offsets_for_times(dict.fromkeys(partitions, time))
        return {place: told.offset for place, told in found.items()}

    def _ending(self, *, is_well: bool) -> Pending[None]:
        return self.machine.close(now(), is_processed=is_well)


class Admin(Client[admin.Admin]):
    """Looks after topics, groups and settings. What cannot be done raises ClientError. options: see `settings`."""

    def __init__(self, bootstrap: str | Sequence[str], **options: Unpack[ClientOptions]) -> None:
        super().__init__(make_admin(bootstrap, options))

    def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        """Make a topic; -1: as the broker's settings say."""
        self._wait(
            lambda: self.machine.create_topic(
                name, now(), partitions=partitions, replication_factor=replication_factor, configs=configs
            )
        )

    def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records."""
        self._wait(lambda: self.machine.delete_topic(name, now()))

    def create_partitions(self, name: str, count: int) -> None:
        """Let a topic have so many partitions in all."""
        self._wait(lambda: self.machine.create_partitions(name, count, now()))

    def list_topics(self, *, internal: bool = False) -> list[str]:
        """Return the names of all topics. internal: those that Kafka keeps for itself, too."""
        return self._wait(lambda: self.machine.list_topics(now(), internal=internal))

    def describe_topic(self, name: str) -> TopicDescription:
        """Return a topic's id and partitions."""
        return self._wait(lambda: self.machine.describe_topic(name, now()))

    def describe_configs(self, name: str, kind: int = admin.TOPIC) -> dict[str, ConfigEntry]:
        """Return the configs of a topic, or (kind=BROKER) of the broker with this id."""
        return self._wait(lambda: self.machine.describe_configs(name, now(), kind=kind))

    def alter_configs(self, name: str, changes: Mapping[str, str | None], kind: int = admin.TOPIC) -> None:
        """Set configs, all or none; None: to what holds without them."""
        self._wait(lambda: self.machine.alter_configs(name, changes, now(), kind=kind))

    def delete_records(self, before: Offsets) -> dict[TopicPartition, int]:
        """Delete the records before these offsets (-1: all); return where each partition begins now."""
        return self._wait(lambda: self.machine.delete_records(before, now()))

    def list_offsets(self, times: Offsets) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Return the first offset whose record's time is this or later, ms, EARLIEST or LATEST."""
        return self._wait(lambda: self.machine.list_offsets(times, now()))

    def list_groups(self) -> list[GroupListing]:
        """Return all groups of all brokers."""
        return self._wait(lambda: self.machine.list_groups(now()))

    def describe_group(self, group_id: str) -> GroupDescription:
        """Return a group's state and members."""
        return self._wait(lambda: self.machine.describe_group(group_id, now()))

    def delete_group(self, group_id: str) -> None:
        """Delete a group without members, and its offsets."""
        self._wait(lambda: self.machine.delete_group(group_id, now()))

    def group_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        """Return all that a group has committed."""
        return self._wait(lambda: self.machine.group_offsets(group_id, now()))

    def alter_group_offsets(self, group_id: str, offsets: Offsets) -> None:
        """Commit offsets for a group without members."""
        self._wait(lambda: self.machine.alter_group_offsets(group_id, offsets, now()))

    def describe_cluster(self) -> ClusterDescription:
        """Return the cluster's id and brokers."""
        return self._wait(lambda: self.machine.describe_cluster(now()))

    def _ending(self, *, is_well: bool) -> Pending[None]:  # noqa: ARG002 – there is nothing to finish
        return self.machine.close()
