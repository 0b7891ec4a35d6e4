import pytest

from tests.recording.support import record


@pytest.fixture(scope="session")
def calm(tmp_path_factory):
    """A recording of two lives without faults."""
    directory = tmp_path_factory.mktemp("calm")
    record(directory)
    return directory


@pytest.fixture(scope="session")
def segmented(tmp_path_factory):
    """The same, longer, in short segments; and its recorders."""
    directory = tmp_path_factory.mktemp("segmented")
    recorders, notes = record(directory, segment_bytes=50_000, time_ms=3000)
    assert notes == []
    return directory, recorders
