"""The three faces under one form, so that one test is run against each: asynchronous, whether or not there is a loop."""

import asyncio

import trio

from rafka.client import aio, blocking, on_trio

PLAIN = {
    "subscribe",
    "assign",
    "assignment",
    "notices",
    "pause",
    "resume",
    "seek",
    "seek_to_beginning",
    "seek_to_end",
}
"""The methods that do not wait in any face."""


class Awaitable:
    """A blocking client whose methods can be awaited; they are done by then."""

    def __init__(self, client):
        self._client = client

    async def __aenter__(self):
        self._client.__enter__()
        return self

    async def __aexit__(self, *trouble):
        self._client.__exit__(*trouble)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return next(self._client)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if name in PLAIN or not callable(method):
            return method

        async def awaited(*args, **named):
            return method(*args, **named)

        return awaited


class Face:
    """name: of the face; Producer, Consumer, Admin: its classes; run: runs a coroutine function to its end."""

    def __init__(self, name):
        self.name = name
        module = {"asyncio": aio, "trio": on_trio, "blocking": blocking}[name]
        for kind in ("Producer", "Consumer", "Admin"):
            made = getattr(module, kind)
            if name == "blocking":
                made = self.wrapped(made)
            setattr(self, kind, made)

    @staticmethod
    def wrapped(kind):
        return lambda *args, **named: Awaitable(kind(*args, **named))

    def run(self, steps):
        if self.name == "asyncio":
            return asyncio.run(steps())
        if self.name == "trio":
            return trio.run(steps)
        try:
            steps().send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("a blocking client has nothing to await")
