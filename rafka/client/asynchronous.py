"""Producer, Consumer and Admin as asynchronous context managers, the same over asyncio and over trio.

Nothing here knows a loop: what waits, waits in the driver. `rafka.client.aio` and `rafka.client.on_trio` give it.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

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
from rafka.client.offsets import OffsetAndTimestamp, TopicPartition
from rafka.client.outputs import Pending
from rafka.client.producer import Headers
from rafka.client.reading import ConsumerRecord
from rafka.client.settings import EARLIEST, LATEST
from rafka.client.world import now

T = TypeVar("T")
M = TypeVar("M", bound=ClientMachine)
CLOSE_S = 30.0
BREATHER = 64
"""So many records are enqueued before others get a turn."""

Offsets = Mapping[TopicPartition, int]


class AsyncDriver(Protocol):
    """What a loop is asked for."""

    async def start(self) -> None:
        """Begin to drive."""

    async def stop(self) -> None:
        """End every link, and drive no more."""

    async def wait(self, pending: Pending[object], timeout_s: float | None = None) -> bool:
        """Wait until a result is there, or for so long; say whether it is."""

    async def wait_shielded(self, pending: Pending[object], timeout_s: float) -> bool:
        """Wait for so long even while the task is being cancelled."""

    async def breathe(self) -> None:
        """Let others go on."""

    def poke(self) -> None:
        """Take a turn soon if the machine wants one."""


class Client(Generic[M]):
    """What the three have in common. machine: the client itself; use it between the ends of an `async with`."""

    def __init__(self, machine: M, driver: AsyncDriver) -> None:
        self.machine = machine
        self._driver = driver

    async def __aenter__(self) -> Self:
        await self._driver.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.machine.is_closed:
                await self._driver.wait_shielded(self._ending(is_well=error is None), CLOSE_S)
        finally:
            await self._driver.stop()

    def _ending(self, *, is_well: bool) -> Pending[object]:
        raise NotImplementedError

    async def _result(self, pending: Pending[T]) -> T:
        await self._driver.wait(pending)  # type: ignore[arg-type]  # it does not look at the result
        return pending.result()


class Producer(Client[producer.Producer]):
    """Sends records. `async with` flushes at the end."""

    async def send(
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
        delivery = await self.enqueue(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )
        return await self.confirmed(delivery)

    async def enqueue(
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
        if self.machine.taken % BREATHER == 0:
            await self._driver.breathe()
        while True:
            try:
                delivery = self.machine.send(
                    topic, value, now(), key=key, headers=headers, partition=partition, timestamp=timestamp
                )
            except BufferFull as full:
                await self._result(self.machine.room(full.size_bytes))
                continue
            self._driver.poke()
            return delivery

    async def confirmed(self, delivery: Delivery) -> Delivery:
        """Wait until a record is acknowledged, and return it with its offset. Raises ClientError if it is not."""
        await self._result(delivery)
        return delivery

    async def flush(self) -> None:
        """Send what lingers, and wait until all that was enqueued is acknowledged, or has failed."""
        await self._result(self.machine.flush())

    def _ending(self, *, is_well: bool) -> Pending[object]:  # noqa: ARG002 – what was enqueued is sent anyway
        return self.machine.close()  # type: ignore[return-value]  # nobody looks at the result


class Consumer(Client[consumer.Consumer]):
    """Reads records: `async for record in consumer`, or `poll`."""

    def __init__(self, machine: consumer.Consumer, driver: AsyncDriver, topics: tuple[str, ...]) -> None:
        super().__init__(machine, driver)
        self._first_topics = topics

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._first_topics and self.machine.consuming.group_id is not None:
            self.subscribe(self._first_topics)
        elif self._first_topics:
            places = [place for topic in self._first_topics for place in await self.partitions_for(topic)]
            self.assign(places)
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConsumerRecord:
        """Return the next record; it counts as processed once the one after it is asked for."""
        while True:
            records = await self.poll(None, max_records=1)
            if records:
                return records[0]

    async def poll(
        self, timeout_s: float | None = None, max_records: int | None = None
    ) -> list[ConsumerRecord]:
        """Return records, waiting for the first so long (None: for ever); what was returned before is processed."""
        records = self.machine.poll(now(), max_records)
        if not records:
            readable = self.machine.readable(now())
            try:
                await self._driver.wait(readable, timeout_s)  # type: ignore[arg-type]
            finally:
                self.machine.stop_waiting(readable)
            records = self.machine.poll(now(), max_records)
        self._driver.poke()
        return records

    def subscribe(self, topics: Iterable[str]) -> None:
        """Share these topics with the other members of the group; none: leave it."""
        self.machine.subscribe(topics, now())
        self._driver.poke()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, and no others."""
        self.machine.assign(partitions)
        self._driver.poke()

    def assignment(self) -> list[TopicPartition]:
        """Return the partitions that are read."""
        return self.machine.assignment()

    def notices(self) -> list[Notice]:
        """Return, once each, what the group has done with this member's partitions."""
        return self.machine.notices()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Return no records of these until they are resumed."""
        self.machine.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Return records of these again."""
        self.machine.resume(partitions)
        self._driver.poke()

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Go on from an offset."""
        self.machine.seek(place, offset)
        self._driver.poke()

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Go on from where these partitions begin; without any: where all do."""
        self.machine.seek_to(partitions or self.assignment(), EARLIEST)

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Go on from where these partitions end; without any: where all do."""
        self.machine.seek_to(partitions or self.assignment(), LATEST)

    async def position(self, place: TopicPartition) -> int:
        """Return the offset of the next record that `poll` returns."""
        return await self._result(self.machine.position(place, now()))

    async def commit(self, offsets: Offsets | None = None) -> None:
        """Commit offsets of next records; None: of all that was polled. Raises CommitFailed."""
        await self._result(self.machine.commit(now(), offsets))

    async def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what the group has committed; partitions of which it has nothing are left out."""
        return await self._result(self.machine.committed(partitions, now()))

    async def offsets_for_times(self, times: Offsets) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Return the first offset whose record's time is this or later, ms; -1 if there is none."""
        return await self._result(self.machine.offsets_for(times, now()))

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions begin."""
        return await self._bounds(partitions, EARLIEST)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions end: the offsets of the records to come."""
        return await self._bounds(partitions, LATEST)

    async def partitions_for(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic. Raises BrokerError if there is no such topic."""
        return await self._result(self.machine.partitions_for(topic, now()))

    async def _bounds(self, partitions: Iterable[TopicPartition], time: int) -> dict[TopicPartition, int]:
        found = await self.offsets_for_times(dict.fromkeys(partitions, time))
        return {place: told.offset for place, told in found.items()}

    def _ending(self, *, is_well: bool) -> Pending[object]:
        return self.machine.close(now(), is_processed=is_well)  # type: ignore[return-value]


class Admin(Client[admin.Admin]):
    """Looks after topics, groups and settings. What cannot be done raises ClientError."""

    async def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        """Make a topic; -1: as the broker's settings say."""
        made = self.machine.create_topic(
            name, now(), partitions=partitions, replication_factor=replication_factor, configs=configs
        )
        await self._result(made)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records."""
        await self._result(self.machine.delete_topic(name, now()))

    async def create_partitions(self, name: str, count: int) -> None:
        """Let a topic have so many partitions in all."""
        await self._result(self.machine.create_partitions(name, count, now()))

    async def list_topics(self, *, internal: bool = False) -> list[str]:
        """Return the names of all topics. internal: those that Kafka keeps for itself, too."""
        return await self._result(self.machine.list_topics(now(), internal=internal))

    async def describe_topic(self, name: str) -> TopicDescription:
        """Return a topic's id and partitions."""
        return await self._result(self.machine.describe_topic(name, now()))

    async def describe_configs(self, name: str, kind: int = admin.TOPIC) -> dict[str, ConfigEntry]:
        """Return the configs of a topic, or (kind=BROKER) of the broker with this id."""
        return await self._result(self.machine.describe_configs(name, now(), kind=kind))

    async def alter_configs(
        self, name: str, changes: Mapping[str, str | None], kind: int = admin.TOPIC
    ) -> None:
        """Set configs, all or none; None: to what holds without them."""
        await self._result(self.machine.alter_configs(name, changes, now(), kind=kind))

    async def delete_records(self, before: Offsets) -> dict[TopicPartition, int]:
        """Delete the records before these offsets (-1: all); return where each partition begins now."""
        return await self._result(self.machine.delete_records(before, now()))

    async def list_offsets(self, times: Offsets) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Return the first offset whose record's time is this or later, ms, EARLIEST or LATEST."""
        return await self._result(self.machine.list_offsets(times, now()))

    async def list_groups(self) -> list[GroupListing]:
        """Return all groups of all brokers."""
        return await self._result(self.machine.list_groups(now()))

    async def describe_group(self, group_id: str) -> GroupDescription:
        """Return a group's state and members."""
        return await self._result(self.machine.describe_group(group_id, now()))

    async def delete_group(self, group_id: str) -> None:
        """Delete a group without members, and its offsets."""
        await self._result(self.machine.delete_group(group_id, now()))

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        """Return all that a group has committed."""
        return await self._result(self.machine.group_offsets(group_id, now()))

    async def alter_group_offsets(self, group_id: str, offsets: Offsets) -> None:
        """Commit offsets for a group without members."""
        await self._result(self.machine.alter_group_offsets(group_id, offsets, now()))

    async def describe_cluster(self) -> ClusterDescription:
        """Return the cluster's id and brokers."""
        return await self._result(self.machine.describe_cluster(now()))

    def _ending(self, *, is_well: bool) -> Pending[object]:  # noqa: ARG002 – there is nothing to finish
        return self.machine.close()  # type: ignore[return-value]
