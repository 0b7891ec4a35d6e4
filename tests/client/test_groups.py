"""Members of one group against a real broker that drops, closes and restarts, and members whose task is cancelled."""

import asyncio
from random import Random

import pytest
import trio

import rafka.testing
from rafka.client import aio, on_trio

QUICK = {"backoff_ms": 5, "backoff_max_ms": 50}
GROUP = {
    "group_id": "g",
    "heartbeat_interval_ms": 20,
    "fetch_max_wait_ms": 20,
    "auto_offset_reset": "earliest",
    **QUICK,
}
SETTINGS = {"group.min.session.timeout.ms": 100, "group.max.session.timeout.ms": 60_000}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_record_is_processed_whatever_happens_to_the_group(seed):
    random = Random(seed)
    records = 600
    seen = set()

    async def produce(bootstrap):
        async with aio.Producer(bootstrap, **QUICK) as producer:
            for n in range(records):
                await producer.enqueue("t", b"%d" % n)
                if n % 20 == 0:
                    await asyncio.sleep(0.005)

    async def consume(bootstrap, is_over, patience):
        """Be one member after the other, until all is processed."""
        while not is_over.is_set():
            stays = patience
            async with aio.Consumer(
                bootstrap, "t", session_timeout_ms=1_000, auto_commit_interval_ms=30, **GROUP
            ) as consumer:
                while not is_over.is_set() and stays:
                    stays -= 1
                    batch = await consumer.poll(0.05, max_records=17)
                    await asyncio.sleep(0.001)
                    seen.update(int(record.value) for record in batch)
                    if len(seen) == records:
                        is_over.set()

    async def trouble(b, is_over):
        while not is_over.is_set():
            b.heal()  # what has met nobody yet would add up to a storm that nobody survives
            api = random.choice(
                ["JoinGroup", "SyncGroup", "Heartbeat", "OffsetCommit", "OffsetFetch", "Fetch", "Produce"]
            )
            random.choice([b.close, b.drop_acks])(api, times=1)
            await asyncio.sleep(random.random() * 0.05)
        b.heal()

    async def main():
        is_over = asyncio.Event()
        async with asyncio.timeout(60):
            await asyncio.gather(
                produce(b.bootstrap),
                trouble(b, is_over),
                *(consume(b.bootstrap, is_over, patience) for patience in (20, 35, 10_000)),
            )
        async with aio.Admin(b.bootstrap) as admin:
            assert (await admin.describe_group("g")).members == []

    with rafka.testing.broker(topics={"t": 5}, settings=SETTINGS) as b:
        asyncio.run(main())
        written = [value for partition in range(5) for _, value in b.records("t", partition)]
    assert seen == set(range(records))
    assert sorted(map(int, written)) == list(range(records)), "each was written once"


def test_a_member_that_trio_cancels_leaves_its_group():
    async def main():
        with trio.move_on_after(0.3) as scope:
            async with on_trio.Consumer(b.bootstrap, "t", **GROUP) as consumer:
                async for _ in consumer:
                    pass
        assert scope.cancelled_caught
        async with on_trio.Admin(b.bootstrap) as admin:
            assert (await admin.describe_group("g")).members == []

    with rafka.testing.broker(topics={"t": 1}) as b:
        trio.run(main)


def test_a_member_whose_asyncio_task_is_cancelled_leaves_its_group():
    async def read(joined):
        async with aio.Consumer(b.bootstrap, "t", **GROUP) as consumer:
            while True:
                await consumer.poll(0.01)
                if consumer.assignment():
                    joined.set()

    async def main():
        joined = asyncio.Event()
        task = asyncio.create_task(read(joined))
        await joined.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with aio.Admin(b.bootstrap) as admin:
            assert (await admin.describe_group("g")).members == []

    with rafka.testing.broker(topics={"t": 1}) as b:
        asyncio.run(main())


def test_what_a_trio_user_raises_is_raised_as_it_is():
    async def main():
        async with on_trio.Producer(b.bootstrap) as producer:
            await producer.enqueue("t", b"kept")
            raise ZeroDivisionError

    with rafka.testing.broker(topics={"t": 1}) as b:
        with pytest.raises(ZeroDivisionError):
            trio.run(main)
        assert b.records("t") == [(None, b"kept")]
