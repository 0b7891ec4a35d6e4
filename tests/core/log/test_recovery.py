"""What a start makes of damage that no checksum covers."""

import pytest

from rafka.core.errors import CorruptRecord
from rafka.core.events import Loaded
from rafka.core.log.recovery import scan
from rafka.core.log.segment import Segment
from rafka.core.record.builder import Record, build_batch


@pytest.mark.parametrize("offset", [1 << 31, 1 << 40, (1 << 62) + 5])
def test_an_offset_that_no_segment_can_hold_is_damage(offset) -> None:
    batch = bytearray(build_batch([Record(None, b"value")], timestamp=0))
    batch[:8] = offset.to_bytes(8, "big")
    taken = []
    script = scan(Segment("t-0", 0), len(batch), 0, lambda *batch: taken.append(batch), again=False)
    read = next(script)
    with pytest.raises(StopIteration) as end:
        script.send(Loaded(read.file, read.token, bytes(batch)))
    assert isinstance(end.value.value, CorruptRecord)
    assert str(offset) in end.value.value.reason
    assert taken == []
