"""IncrementalAlterConfigs (KIP-339) and AlterConfigs: settings of topics, of this broker, and of all brokers.

Each resource is altered whole or not at all; what is altered is written in one batch. AlterConfigs says everything
that a resource is to set, and takes the rest away. A broker's settings can be altered if they are `dynamic`: those
that give topics their defaults, which every log obeys from the next batch on, and the directories that are cordoned.

A broker's setting that cannot be is answered with INVALID_REQUEST, a topic's with INVALID_CONFIG, as Kafka does.

Source: `ConfigAdminManager`, `ConfigurationControlManager` and `ControllerConfigurationValidator` of Kafka 4.4.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, cast

from rafka.core.api.alter_configs_request import AlterConfigsRequest
from rafka.core.api.alter_configs_response import AlterConfigsResourceResponse as LegacyResult
from rafka.core.api.alter_configs_response import AlterConfigsResponse
from rafka.core.api.incremental_alter_configs_request import AlterableConfig, IncrementalAlterConfigsRequest
from rafka.core.api.incremental_alter_configs_response import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
)
from rafka.core.config.broker import BROKER_SETTINGS, PER_BROKER
from rafka.core.config.cordoned import CORDONED, wrong_with_cordon
from rafka.core.config.resolve import Layers, effective, topic_value
from rafka.core.config.setting import Kind, Setting, entries
from rafka.core.config.settings import check_flush
from rafka.core.config.topic import TOPIC_SETTINGS, check_together
from rafka.core.errors import ConfigError, ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import Answer, Ask, Refusal
from rafka.core.metadata.describe_configs import CLIENT_METRICS, GROUP, refusal_of_broker
from rafka.core.metadata.image import BROKER, TOPIC
from rafka.core.metadata.names import wrong_with
from rafka.core.metadata.topic_configs import checked, refused
from rafka.core.stored.config_record import ConfigRecord

_NAMELESS: Final = {CLIENT_METRICS: "client metrics", GROUP: "group"}


class Operation(IntEnum):
    """What becomes of one setting (Kafka's `AlterConfigOp.OpType`)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


Resource = tuple[int, str]
"""Type and name."""


def incremental_alter_configs(request: IncrementalAlterConfigsRequest, ask: Ask) -> Answer:
    """Answer an IncrementalAlterConfigs."""
    resources: list[Resource] = [(r.resource_type, r.resource_name) for r in request.resources]
    records: list[Message] = []
    results: list[AlterConfigsResourceResponse] = []
    for resource, asked in zip(resources, request.resources, strict=True):
        outcome = _refusal_of_form(resource, resources, asked.configs) or _altered(
            resource, asked.configs, ask
        )
        code, message = _told(outcome, records)
        results.append(
            AlterConfigsResourceResponse(
                error_code=code, error_message=message, resource_type=resource[0], resource_name=resource[1]
            )
        )
    answer = IncrementalAlterConfigsResponse(responses=results)
    return Answer(answer, [] if request.validate_only else records)


def alter_configs(request: AlterConfigsRequest, ask: Ask) -> Answer:
    """Answer an AlterConfigs: as an incremental one that sets what is named and deletes what is not."""
    resources: list[Resource] = [(r.resource_type, r.resource_name) for r in request.resources]
    records: list[Message] = []
    results: list[LegacyResult] = []
    for resource, asked in zip(resources, request.resources, strict=True):
        steps = [AlterableConfig(name=c.name, config_operation=0, value=c.value) for c in asked.configs]
        left = [name for name in _own(resource, ask) if all(step.name != name for step in steps)]
        deletions = [AlterableConfig(name=name, config_operation=1, value=None) for name in left]
        outcome = _refusal_of_form(resource, resources, steps) or _altered(
            resource, [*steps, *deletions], ask
        )
        code, message = _told(outcome, records)
        results.append(
            LegacyResult(
                error_code=code, error_message=message, resource_type=resource[0], resource_name=resource[1]
            )
        )
    return Answer(AlterConfigsResponse(responses=results), [] if request.validate_only else records)


def _told(outcome: list[Message] | Refusal, records: list[Message]) -> tuple[ErrorCode, str | None]:
    """Return what a resource is answered; the records of one that can be altered are added to `records`."""
    if isinstance(outcome, Refusal):
        return outcome.code, outcome.message
    records += outcome
    return ErrorCode.NONE, None


# ---- what is wrong before any value is looked at -----------------------------------------------


def _refusal_of_form(
    resource: Resource, resources: Sequence[Resource], steps: Sequence[AlterableConfig]
) -> Refusal | None:
    names = [step.name for step in steps]
    nulls = [s.name for s in steps if s.value is None and s.config_operation != Operation.DELETE]
    if resources.count(resource) > 1:
        return _bad("Each resource must appear at most once.")
    if len(dict.fromkeys(names)) != len(names):
        return _bad("Error due to duplicate config keys")
    if nulls:
        return _bad(f"Null value not supported for : {', '.join(nulls)}")
    strange = [s.config_operation for s in steps if not 0 <= s.config_operation <= Operation.SUBTRACT]
    return _bad(f"Unknown operations type {strange[0]}") if strange else None


def _bad(message: str) -> Refusal:
    return Refusal(ErrorCode.INVALID_REQUEST, message)


# ---- one resource ------------------------------------------------------------------------------


def _own(resource: Resource, ask: Ask) -> Mapping[str, str]:
    """Return what a resource sets now."""
    kind, name = resource
    if kind == TOPIC:
        return ask.image.own_config(name)
    return ask.image.broker_configs.get(_broker_key(name), {}) if kind == BROKER else {}


def _broker_key(name: str) -> str:
    """Return a node id without leading zeros or sign."""
    return str(int(name)) if name.lstrip("+-").isdecimal() else name


def _altered(resource: Resource, steps: Sequence[AlterableConfig], ask: Ask) -> list[Message] | Refusal:
    """Return the records that alter one resource."""
    kind, name = resource
    if kind in (TOPIC, BROKER):
        refusal = refusal_of_broker(name, ask) if kind == BROKER else _refusal_of_topic_name(name)
        if refusal is not None:
            return refusal
        wanted = _wanted(resource, steps, ask)
        if isinstance(wanted, Refusal):
            return wanted
        own = _own(resource, ask)
        checked_ = (
            _topic_checked(wanted, ask) if kind == TOPIC else _broker_checked(resource, wanted, own, ask)
        )
        if isinstance(checked_, Refusal):
            return checked_
        if kind == TOPIC and ask.image.topic(name) is None:
            return Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
        return _records(kind, _broker_key(name) if kind == BROKER else name, own, checked_)
    if kind not in _NAMELESS:
        return _bad(f"Unknown resource type {kind}")
    unknown = next((s.name for s in steps if s.config_operation != Operation.DELETE), None)
    if unknown is None:
        return []
    return Refusal(ErrorCode.INVALID_CONFIG, f"Unknown {_NAMELESS[kind]} config name: {unknown}")


def _refusal_of_topic_name(name: str) -> Refusal | None:
    if name == "":
        return _bad("Default topic resources are not allowed.")
    wrong = wrong_with(name)
    return None if wrong is None else Refusal(ErrorCode.INVALID_TOPIC_EXCEPTION, wrong)


def _wanted(resource: Resource, steps: Sequence[AlterableConfig], ask: Ask) -> dict[str, str] | Refusal:
    """Return everything that the resource is to set, as given."""
    settings = TOPIC_SETTINGS if resource[0] == TOPIC else BROKER_SETTINGS
    wanted = dict(_own(resource, ask))
    for step in steps:
        match Operation(step.config_operation):
            case Operation.SET:
                wanted[step.name] = cast("str", step.value)
            case Operation.DELETE:
                wanted.pop(step.name, None)
            case Operation.APPEND | Operation.SUBTRACT as operation:
                setting = settings.get(step.name)
                if setting is None or setting.kind is not Kind.LIST:
                    why = f"Can't {operation.name} to key {step.name} because its type is not LIST."
                    return Refusal(ErrorCode.INVALID_CONFIG, why)
                before = wanted.get(step.name, _default(resource, setting, ask))
                wanted[step.name] = _combined(before, operation, cast("str", step.value))
    return wanted


def _default(resource: Resource, setting: Setting, ask: Ask) -> str:
    """Return the value that a list has while the resource does not set it."""
    if resource[0] == TOPIC:
        return topic_value(setting, {}, ask.image.layers())[0]
    return ask.settings.given.get(setting.name, setting.default or "")


def _combined(before: str, operation: Operation, text: str) -> str:
    given = entries(text)
    if operation is Operation.APPEND:
        return ",".join(dict.fromkeys((*entries(before), *given)))
    return ",".join(entry for entry in entries(before) if entry not in given)


# ---- values ------------------------------------------------------------------------------------


def _topic_checked(wanted: Mapping[str, str], ask: Ask) -> dict[str, str] | Refusal:
    return checked(wanted, ask.image.layers())


def _broker_checked(
    resource: Resource, wanted: Mapping[str, str], own: Mapping[str, str], ask: Ask
) -> dict[str, str] | Refusal:
    """Return canonical values of all that a broker's layer is to say."""
    fixed = [n for n in wanted if n not in own and not (n in BROKER_SETTINGS and BROKER_SETTINGS[n].dynamic)]
    if fixed:
        return _bad(f"Cannot update these configs dynamically: {', '.join(fixed)}")
    if not resource[1] and (own_only := [name for name in PER_BROKER if name in wanted]):
        what = ", ".join(own_only)
        return _bad(
            f"Cannot update these configs at default cluster level, broker id must be specified: {what}"
        )
    layers = ask.image.layers()
    try:
        layer = {name: BROKER_SETTINGS[name].parse(text) for name, text in wanted.items()}
        after = (
            Layers(layer, layers.all_brokers, layers.static)
            if resource[1]
            else Layers(layers.this_broker, layer, layers.static)
        )
        check_flush({**after.static, **after.all_brokers, **after.this_broker})
        check_together({}, effective({}, after))
        if layer.get(CORDONED) != own.get(CORDONED):  # a directory that has moved since is nobody's fault now
            _check_cordon(layer.get(CORDONED, ""), ask)
    except ConfigError as error:
        return _bad(refused(error).message or "")
    return layer


def _check_cordon(text: str, ask: Ask) -> None:
    wrong = wrong_with_cordon(text, ask.image.data_dir_names())
    if wrong is not None:
        raise ConfigError(CORDONED, text, wrong)


def _records(kind: int, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Message]:
    """Return what turns one layer into the other, in the order of the names."""
    return [
        ConfigRecord(resource_type=kind, resource_name=name, name=key, value=after.get(key))
        for key in sorted({**before, **after})
        if before.get(key) != after.get(key)
    ]
