"""Topics that appear because somebody asked for them: a client's first Metadata, a group's first FindCoordinator.

Source: `AutoTopicCreationManager` of Kafka 4.4. It answers at once that the topic is unknown and creates it later;
here the answer waits for the records and says what is then true.
"""

from rafka.core.api.create_topics_request import CreatableTopic, CreatableTopicConfig
from rafka.core.errors import ErrorCode
from rafka.core.metadata.ask import Ask, Refusal
from rafka.core.metadata.names import CLUSTER_METADATA, CONSUMER_OFFSETS, OTHER_INTERNAL, wrong_with
from rafka.core.metadata.plan import TopicPlan, plan_topic


def plan_automatic(name: str, ask: Ask) -> TopicPlan | Refusal:
    """Plan a topic that nobody described."""
    if name == CLUSTER_METADATA or name in OTHER_INTERNAL:
        return Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return plan_topic(_offsets(ask) if name == CONSUMER_OFFSETS else _plain(name, ask), ask)


def absent(name: str) -> Refusal:
    """Say that a topic is not there, or could not be."""
    if wrong_with(name) is not None:
        return Refusal(ErrorCode.INVALID_TOPIC_EXCEPTION)
    return Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def _plain(name: str, ask: Ask) -> CreatableTopic:
    return CreatableTopic(
        name=name,
        num_partitions=ask.settings.num_partitions,
        replication_factor=ask.settings.default_replication_factor,
    )


def _offsets(ask: Ask) -> CreatableTopic:
    """Describe `__consumer_offsets`: the last value of a key is what counts."""
    configs = {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": str(ask.settings.offsets_topic_segment_bytes),
    }
    return CreatableTopic(
        name=CONSUMER_OFFSETS,
        num_partitions=ask.settings.offsets_topic_num_partitions,
        replication_factor=ask.settings.offsets_topic_replication_factor,
        configs=[CreatableTopicConfig(name=name, value=text) for name, text in configs.items()],
    )
