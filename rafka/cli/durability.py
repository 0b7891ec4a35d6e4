"""What an acknowledgement of a topic means, read from the settings that hold for it.

Rafka says it with `flush`: `fsync`, once the batch is on the disk, or `os`, once the system has it in its page cache.
A broker without that setting is Kafka, which syncs before it acknowledges only if every message is to be flushed.
"""

from rafka.cli.refusal import check
from rafka.cli.wire import Wire
from rafka.core.api.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from rafka.core.api.describe_configs_response import DescribeConfigsResponse
from rafka.core.config.resolve import TOPIC, syncs

TOPIC_RESOURCE = 2
KEYS = ["flush", "flush.messages", "flush.ms"]
MEANINGS = {
    "fsync": "acknowledged once on the disk: a loss of power costs nothing that was acknowledged",
    "os": "acknowledged once in the page cache: a crash of the process costs nothing, a loss of power may",
}


def durability_of(wire: Wire, topic: str) -> str:
    """Return "fsync" or "os", as what the topic's acknowledgements are worth. Raises RafkaError."""
    resource = DescribeConfigsResource(
        resource_type=TOPIC_RESOURCE, resource_name=topic, configuration_keys=KEYS
    )
    (found,) = wire.call(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse).results
    check(found.error_code, topic, found.error_message)
    values = {one.name: one.value or "" for one in found.configs}
    if "flush" not in values:
        return "fsync" if values.get("flush.messages") == "1" else "os"
    own = {one.name: one.value or "" for one in found.configs if one.config_source == TOPIC}
    return "fsync" if syncs(own, values) else "os"


def meaning_of(durability: str) -> str:
    """Say what survives."""
    return MEANINGS[durability]
