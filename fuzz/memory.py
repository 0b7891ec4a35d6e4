"""Hold a piece of code to a bound on the memory that it takes."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bounded(limit_bytes: int, what: str) -> Iterator[None]:
    """Assert that what Python allocates in here never exceeds what there was by more than this."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= limit_bytes, f"{what}: {peak - before:,} bytes taken, {limit_bytes:,} allowed"
