"""DescribeConfigs and ListConfigResources: every setting, the value that holds, and where it comes from.

A topic shows its whole table, a broker the settings that it obeys; the broker named "" shows what was altered for
all brokers. Groups and client metrics exist as resources and have no settings here. Nothing is sensitive: this
broker has no setting that is a secret.

Source: `ConfigHelper` and `KafkaApis.handleListConfigResources` of Kafka 4.4; KIP-133, KIP-226, KIP-569, KIP-1142.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from rafka.core.api.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from rafka.core.api.describe_configs_response import (
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)
from rafka.core.api.list_config_resources_request import ListConfigResourcesRequest
from rafka.core.api.list_config_resources_response import ConfigResource, ListConfigResourcesResponse
from rafka.core.config.broker import BROKER_SETTINGS
from rafka.core.config.resolve import (
    DEFAULT,
    DYNAMIC_ALL_BROKERS,
    Origin,
    broker_origins,
    topic_origins,
    topic_value,
)
from rafka.core.config.setting import Setting
from rafka.core.config.topic import TOPIC_SETTINGS
from rafka.core.errors import ErrorCode
from rafka.core.metadata.ask import Answer, Ask, Refusal
from rafka.core.metadata.image import BROKER, TOPIC
from rafka.core.metadata.names import wrong_with

BROKER_LOGGER: Final = 8
CLIENT_METRICS: Final = 16
GROUP: Final = 32
LISTED: Final = (TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP)
"""Resource types that ListConfigResources knows, in `ConfigResource.Type`'s numbers."""


def describe_configs(request: DescribeConfigsRequest, ask: Ask) -> Answer:
    """Answer a DescribeConfigs; each resource has its own outcome."""
    return Answer(
        DescribeConfigsResponse(results=[_described(r, request, ask) for r in request.resources]), []
    )


def _described(
    resource: DescribeConfigsResource, request: DescribeConfigsRequest, ask: Ask
) -> DescribeConfigsResult:
    result = DescribeConfigsResult(
        error_message=None, resource_type=resource.resource_type, resource_name=resource.resource_name
    )
    refusal = _refusal(resource, ask)
    if refusal is not None:
        result.error_code, result.error_message = refusal.code, refusal.message
        return result
    keys = resource.configuration_keys
    for setting, value, origins in _values(resource, ask):
        if not keys or setting.name in keys:
            result.configs.append(_entry(setting, value, origins, resource.resource_type, request))
    return result


def _refusal(resource: DescribeConfigsResource, ask: Ask) -> Refusal | None:
    name = resource.resource_name
    match resource.resource_type:
        case 2:  # TOPIC
            wrong = wrong_with(name)
            if wrong is not None:
                return Refusal(ErrorCode.INVALID_TOPIC_EXCEPTION, wrong)
            known = ask.image.topic(name) is not None
            return None if known else Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        case 4:  # BROKER
            return refusal_of_broker(name, ask)
        case 16:
            return None if name else _bad("Client metrics subscription name must not be empty")
        case 32:
            return None if name else _bad("Group name must not be empty")
        case 8:
            return _bad("This broker has no loggers whose level can be changed while it runs.")
        case other:
            return _bad(f"Unexpected resource type {other} for resource {name}")


def refusal_of_broker(name: str, ask: Ask) -> Refusal | None:
    """Say what is wrong with the name of a broker's settings: this node's id, or "" for all brokers."""
    if name == "":
        return None
    digits = name[1:] if name[:1] in ("-", "+") else name
    if not (digits.isascii() and digits.isdecimal()):
        return _bad(f"Node id must be an integer, but it is: {name}")
    if int(name) != ask.node_id:
        return _bad(f"Unexpected broker id, expected {ask.node_id}, but received {name}")
    return None


def _bad(message: str) -> Refusal:
    return Refusal(ErrorCode.INVALID_REQUEST, message)


def _values(
    resource: DescribeConfigsResource, ask: Ask
) -> Iterator[tuple[Setting, str | None, list[Origin]]]:
    """Yield the settings of a resource, each with the value that holds and all values it would have."""
    layers = ask.image.layers()
    if resource.resource_type == TOPIC:
        own = ask.image.own_config(resource.resource_name)
        for setting in TOPIC_SETTINGS.values():
            yield setting, topic_value(setting, own, layers)[0], topic_origins(setting, own, layers)
    elif resource.resource_type == BROKER and resource.resource_name:
        for setting in BROKER_SETTINGS.values():
            origins = broker_origins(setting, layers)
            yield setting, origins[0].value if origins else None, origins
    elif resource.resource_type == BROKER:
        for name, value in layers.all_brokers.items():
            yield BROKER_SETTINGS[name], value, [Origin(name, value, DYNAMIC_ALL_BROKERS)]


def _entry(
    setting: Setting,
    value: str | None,
    origins: list[Origin],
    resource_type: int,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResourceResult:
    synonyms = [DescribeConfigsSynonym(name=o.name, value=o.value, source=o.source) for o in origins]
    return DescribeConfigsResourceResult(
        name=setting.name,
        value=value,
        read_only=resource_type == BROKER and not setting.dynamic,
        config_source=origins[0].source if origins else DEFAULT,
        synonyms=synonyms if request.include_synonyms else [],
        config_type=setting.kind,
        documentation=setting.text if request.include_documentation else None,
    )


def list_config_resources(request: ListConfigResourcesRequest, ask: Ask) -> Answer:
    """Answer a ListConfigResources; version 0 lists client metrics, of which there are none."""
    wanted = (request.resource_types or LISTED) if ask.version >= 1 else (CLIENT_METRICS,)
    if any(kind not in LISTED for kind in wanted):
        return Answer(ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION), [])
    resources = [
        ConfigResource(resource_name=name, resource_type=kind)
        for kind in dict.fromkeys(wanted)
        for name in _names(kind, ask)
    ]
    return Answer(ListConfigResourcesResponse(config_resources=resources), [])


def _names(kind: int, ask: Ask) -> Iterable[str]:
    if kind == TOPIC:
        return ask.image.topics
    if kind in (BROKER, BROKER_LOGGER):
        return [str(node_id) for node_id in sorted(ask.image.brokers)]
    return ()
