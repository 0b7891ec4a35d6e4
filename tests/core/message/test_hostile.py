"""Requests that promise more than they are: in every version of every API an error, and no memory worth speaking of."""

import tracemalloc

import pytest

from rafka.core.api import APIS
from rafka.core.errors import RemoteProtocolError
from rafka.core.message import decode, wire

PROMISES = {
    "an array of 2^31 - 1": bytes.fromhex("7fffffff") * 256,
    "a compact array of 2^31 - 1": bytes.fromhex("ffffffff07") * 256,
    "a compact array of 2^32 - 1": bytes.fromhex("ffffffff0f") * 256,
    "a million elements and one": (wire.ARRAY_LENGTH_MAX + 1).to_bytes(4, "big") * 256,
    "10,001 tags": bytes.fromhex("914e") * 512,
    "a varint that never ends": b"\xff" * 1024,
    "nothing at all": b"",
}
MEMORY_MAX = 1 << 20
"""Bytes. All promises are a kibibyte at most."""


@pytest.mark.parametrize("key", APIS)
def test_what_is_only_promised_costs_nothing(key: int) -> None:
    cls = APIS[key].request
    for version in cls.VERSIONS:
        for what, body in PROMISES.items():
            for start in range(3):  # whatever comes first is taken for something else each time
                tracemalloc.start()
                try:
                    decode(cls, version, memoryview(body)[start:])
                except RemoteProtocolError:
                    pass
                finally:
                    _, peak = tracemalloc.get_traced_memory()
                    tracemalloc.stop()
                assert peak < MEMORY_MAX, (version, what)
