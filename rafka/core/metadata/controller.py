"""The controller: decides every request about the cluster from the image, and changes nothing.

A decision is records and a reply. Its owner appends the records as one batch, applies them to the image once they are
committed, and then sends the reply; one decision with records at a time. If another was decided meanwhile it is
dropped and the request handled again, so there is no speculative state to undo. Only the block of producer ids is
kept here, and losing it costs numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from rafka.core.api import APIS as KAFKA_APIS
from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.config.settings import Listener, Settings
from rafka.core.effects import Reply
from rafka.core.errors import ErrorCode
from rafka.core.events import Requested
from rafka.core.machine import Decision, Entropy
from rafka.core.message import Message
from rafka.core.metadata.alter_configs import alter_configs, incremental_alter_configs
from rafka.core.metadata.ask import Answer, Ask
from rafka.core.metadata.boot import boot_records
from rafka.core.metadata.cluster import describe_cluster
from rafka.core.metadata.coordinators import find_coordinator
from rafka.core.metadata.describe import describe_topic_partitions, metadata
from rafka.core.metadata.describe_configs import describe_configs, list_config_resources
from rafka.core.metadata.elections import elect_leaders, list_partition_reassignments
from rafka.core.metadata.image import Image
from rafka.core.metadata.producer_ids import ProducerIds
from rafka.core.metadata.refusal import refused
from rafka.core.metadata.topics import create_partitions, create_topics, delete_topics
from rafka.core.metadata.versions import api_versions
from rafka.core.types import ZERO_UUID, NodeId, Now, Uuid

_INIT_PRODUCER_ID: Final = 22
# Each takes the request of its key; the key says which, which a dict's type cannot.
_HANDLERS: Final[dict[int, Callable[[Any, Ask], Answer]]] = {
    3: metadata,
    10: find_coordinator,
    18: api_versions,
    19: create_topics,
    20: delete_topics,
    32: describe_configs,
    33: alter_configs,
    37: create_partitions,
    43: elect_leaders,
    44: incremental_alter_configs,
    46: list_partition_reassignments,
    60: describe_cluster,
    74: list_config_resources,
    75: describe_topic_partitions,
}

APIS: Final[dict[int, tuple[int, int]]] = {
    key: (KAFKA_APIS[key].first_version, KAFKA_APIS[key].last_stable_version)
    for key in sorted((*_HANDLERS, _INIT_PRODUCER_ID))
}
"""The lowest and highest version of each API key that `Controller.handle` takes."""


@attrs.define(eq=False)
class Controller:
    """Decides for one node.

    image: what is committed; only read here. served: what ApiVersions tells, of the whole broker; group_partition:
    from a group's id and the number of partitions of `__consumer_offsets` to the group's partition; directory: the
    id of the data directory, ZERO_UUID if it has none.
    """

    image: Image
    settings: Settings
    entropy: Entropy
    node_id: NodeId
    cluster_id: str
    served: Mapping[int, tuple[int, int]]
    group_partition: Callable[[str, int], int]
    directory: Uuid = ZERO_UUID
    _producer_ids: ProducerIds = attrs.field(factory=ProducerIds)

    def __attrs_post_init__(self) -> None:
        assert self.image.node_id == self.node_id, "an image is one node's"

    def boot(self, now: Now, listeners: Sequence[Listener] = ()) -> Decision[Message]:  # noqa: ARG002
        """Decide what is appended before this node serves; nothing on a usual restart.

        listeners: the real ones, when the settings leave the port open.
        Raises: RafkaError if the log was written by a version that this one does not understand.
        """
        advertised = listeners or self.settings.advertised_listeners or self.settings.listeners
        return Decision(boot_records(self.image, self.settings, self.entropy, self.directory, advertised), [])

    def handle(self, event: Requested, now: Now, endpoint: tuple[str, int]) -> Decision[Message]:  # noqa: ARG002
        """Decide one request of `APIS`. endpoint: host and port by which this client knows this node."""
        ask = Ask(
            image=self.image,
            settings=self.settings,
            entropy=self.entropy,
            node_id=self.node_id,
            cluster_id=self.cluster_id,
            served=self.served,
            group_partition=self.group_partition,
            version=event.api_version,
            host=endpoint[0],
            port=endpoint[1],
        )
        answer = self._decide(event, ask)
        return Decision(answer.records, [Reply(event.conn, event.correlation, answer.body)])

    def refused(self, decision: Decision[Message], code: ErrorCode) -> list[Reply]:
        """Return the replies of a decision whose records could not be written."""
        return [
            Reply(reply.conn, reply.correlation, refused(reply.body, decision.records, code))
            for reply in decision.replies
        ]

    def _decide(self, event: Requested, ask: Ask) -> Answer:
        if isinstance(event.body, InitProducerIdRequest):
            return self._producer_ids.handle(event.body, ask)
        return _HANDLERS[event.api_key](event.body, ask)
