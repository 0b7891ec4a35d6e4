"""The metadata log has room beyond its end, and nothing of it shows."""

import os
import sys

import pytest

from rafka.io.files import Files
from rafka.io.reserve import NEVER, RESERVED_BYTES, RETRY_BYTES, first_room_at, reserve

BLOCK_BYTES = 512  # what st_blocks counts in


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fallocate")
def test_room_is_taken_and_the_file_is_as_long_as_what_was_written(tmp_path):
    files = Files(str(tmp_path))
    (tmp_path / "__cluster_metadata-0").mkdir()
    opened = files.created("__cluster_metadata-0/00000000000000000000.log")
    os.pwrite(opened.fd, b"records", 0)
    assert reserve(opened.fd, 7) == 7 + RESERVED_BYTES // 2
    found = os.fstat(opened.fd)
    assert found.st_size == 7
    assert found.st_blocks * BLOCK_BYTES >= RESERVED_BYTES
    files.close()


def test_where_nothing_can_be_reserved_it_is_tried_again_later(tmp_path):
    reading, writing = os.pipe()
    assert reserve(writing, 5) == 5 + RETRY_BYTES
    os.close(reading)
    os.close(writing)


def test_it_is_for_the_records_of_the_metadata_log_alone():
    assert first_room_at("__cluster_metadata-0/00000000000000000000.log") == 0
    for name in ("orders-0/00000000000000000000.log", "__cluster_metadata-0/00000000000000000000.index"):
        assert first_room_at(name) == NEVER
