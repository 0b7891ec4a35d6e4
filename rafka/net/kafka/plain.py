"""Plain produces (core/plain.py) as bytes: known by what they repeat.

All that precedes the batch in a producer's request, but for the correlation id, is the same each time. So those bytes
are looked up whole: whoever finds them in the table need not read them, and the answer is a pattern with three numbers
to fill in. Only what the general codec has read, and would write as the same bytes again, gets into the table; what a
prefix says does not depend on what follows it, so a request that begins like one of those is one of those.

      size i32 | api key i16, version i16 | correlation id i32 | client id, …, partition index | records
                                                                 └──────── the prefix ───────┘
"""

from struct import Struct
from struct import error as StructError  # noqa: N812  # an exception by its usual spelling

from rafka.core.api import response_header_version
from rafka.core.api.produce_request import ProduceRequest
from rafka.core.api.produce_response import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from rafka.core.message import Message, encode
from rafka.core.plain import PLAIN_FROM, PRODUCE, PlainHead
from rafka.net.kafka.produce import FLEXIBLE_FROM, IDS_FROM, encode_response, records_before_tags

CLIENT_ID_AT = 8
"""Where a request's header has what follows the correlation id."""
FORMS_MAX = 4096
"""So many prefixes are kept, of at most PREFIX_BYTES_MAX; then all are forgotten, and learnt again."""
PREFIX_BYTES_MAX = 512
_MARK = 0x5EED_0FF5_E700_0000
"""An offset that no answer has: it shows where the offset goes."""

_short = Struct(">h").unpack_from
_int = Struct(">i").unpack_from


class Form:
    """What requests of one prefix share: what it says, and their answers but for the numbers."""

    __slots__ = ("_middle", "_pack", "_size", "_tail", "head")

    def __init__(self, head: PlainHead) -> None:
        self.head = head
        result = PartitionProduceResponse(index=head.index, base_offset=_MARK)
        topic = TopicProduceResponse(name=head.topic, topic_id=head.topic_id, partition_responses=[result])
        body = encode_response(head.api_version, ProduceResponse(responses=[topic]))[0]
        assert isinstance(body, bytes)
        at = body.rindex(_MARK.to_bytes(8, "big"))
        tags = bytes(response_header_version(PRODUCE, head.api_version))
        self._middle, self._tail = tags + body[:at], body[at + 24 :]  # three offsets lie in between
        answer = Struct(f">ii{len(self._middle)}sqqq{len(self._tail)}s")
        self._pack = answer.pack
        self._size = answer.size - 4

    def answer(self, correlation_id: int, base_offset: int, log_start_offset: int) -> bytes:
        """Say, whole, that a batch is committed; its timestamps are the producer's (-1 for the broker's)."""
        return self._pack(
            self._size, correlation_id, self._middle, base_offset, -1, log_start_offset, self._tail
        )


class Plains:
    """What producers say in one version of Produce."""

    __slots__ = ("_forms", "_version")

    def __init__(self, version: int) -> None:
        assert version >= PLAIN_FROM
        self._version = version
        self._forms: dict[bytes, Form] = {}

    def read(self, frame: memoryview, id_length: int) -> tuple[Form, memoryview] | None:
        """Return what a request says, and its records, if its prefix is known. id_length: as the header says.

        Where a prefix would end is reckoned from lengths that nobody has checked: in a wrong place none is found.
        """
        version = self._version
        records = None
        try:
            if version < FLEXIBLE_FROM:
                end = id_length + _short(frame, id_length + 22)[0] + 32
                form = self._forms.get(bytes(frame[CLIENT_ID_AT:end]))
                if form is not None and _int(frame, end)[0] == len(frame) - end - 4:
                    records = frame[end + 4 :]
            else:
                end = id_length + (40 if version >= IDS_FROM else frame[id_length + 19] + 24)
                form = self._forms.get(bytes(frame[CLIENT_ID_AT:end]))
                if form is not None:
                    records = records_before_tags(frame, end + 1, frame[end])
        except (StructError, IndexError):
            return None
        return None if form is None or records is None else (form, records)

    def learn(self, frame: memoryview, position: int, client_id: str | None, body: Message) -> bool:
        """Take note of a request that the general codec has read; say whether it is a plain one.

        position: where its body begins in the frame.
        """
        version = self._version
        head = _head(version, client_id, body)
        if head is None or client_id is None:
            return False
        is_flexible = version >= FLEXIBLE_FROM
        if position != CLIENT_ID_AT + 2 + len(client_id.encode()) + is_flexible:  # tags are not plain
            return False
        name_bytes = 16 if version >= IDS_FROM else len(head.topic.encode())
        end = position + name_bytes + _bytes_around_name(version)
        if end > PREFIX_BYTES_MAX or name_bytes >= 0x7F:
            return False
        if encode(body, version) != frame[position:]:
            return False
        if len(self._forms) >= FORMS_MAX:
            self._forms.clear()
        self._forms[bytes(frame[CLIENT_ID_AT:end])] = Form(head)
        return True


def _bytes_around_name(version: int) -> int:
    """Return how much of a plain request's body precedes its records, but for the topic's name or id."""
    if version < FLEXIBLE_FROM:
        return 22  # transactional id 2, acks 2, timeout 4, topics 4, name's length 2; partitions 4, index 4
    return 13 if version >= IDS_FROM else 14  # 1, 2, 4, 1, and 1 of a name; 1, 4


def _head(version: int, client_id: str | None, body: Message) -> PlainHead | None:
    """Return what a request says beside its batch; None if it is not plain."""
    if not isinstance(body, ProduceRequest) or body.acks not in (1, -1) or body.transactional_id is not None:
        return None
    if len(body.topic_data) != 1 or len(body.topic_data[0].partition_data) != 1:
        return None
    topic = body.topic_data[0]
    data = topic.partition_data[0]
    if data.records is None:
        return None
    return PlainHead(version, client_id, body.acks, body.timeout_ms, topic.name, topic.topic_id, data.index)
