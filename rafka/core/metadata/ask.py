"""What every decision of the controller is made from, and what it comes to."""

from collections.abc import Callable, Mapping

from rafka.core.config.settings import Settings
from rafka.core.errors import ErrorCode
from rafka.core.machine import Entropy
from rafka.core.message import Message
from rafka.core.metadata.image import Image
from rafka.core.shape import value
from rafka.core.types import NodeId

INT32_MIN = -(1 << 31)
"""The answer about authorized operations to who did not ask."""


@value
class Ask:
    """The circumstances of one request. Nothing in it is changed by deciding.

    version: of the request; host, port: what this client is told to dial for this node; served: lowest and highest
    version by API key; group_partition: from a group's id and the number of partitions of `__consumer_offsets` to
    the partition that keeps the group.
    """

    image: Image
    settings: Settings
    entropy: Entropy
    node_id: NodeId
    cluster_id: str
    served: Mapping[int, tuple[int, int]]
    group_partition: Callable[[str, int], int]
    version: int
    host: str
    port: int


@value
class Answer:
    """A response, and the records that must be committed before it is true."""

    body: Message
    records: list[Message]


@value
class Refusal:
    """Why something is not done. message: for people; None: the code says it all."""

    code: ErrorCode
    message: str | None = None
