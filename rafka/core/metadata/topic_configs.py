"""A topic's own settings: checked as a whole, and told as CreateTopics tells them (KIP-525)."""

from collections.abc import Mapping

from rafka.core.api.create_topics_response import CreatableTopicConfigs
from rafka.core.config.resolve import Layers, effective, topic_value
from rafka.core.config.topic import TOPIC_SETTINGS, check_together
from rafka.core.errors import ConfigError, ErrorCode
from rafka.core.metadata.ask import Refusal


def checked(given: Mapping[str, str], layers: Layers) -> dict[str, str] | Refusal:
    """Return canonical values of everything that a topic is to set itself."""
    own: dict[str, str] = {}
    try:
        for name, text in given.items():
            if name not in TOPIC_SETTINGS:
                return Refusal(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {name}")
            own[name] = TOPIC_SETTINGS[name].parse(text)
        check_together(own, effective(own, layers))
    except ConfigError as error:
        return refused(error)
    return own


def refused(error: ConfigError) -> Refusal:
    """Say what is wrong with a value in the words of Kafka."""
    return Refusal(
        ErrorCode.INVALID_CONFIG, f"Invalid value {error.value} for configuration {error.key}: {error.why}"
    )


def created_configs(own: Mapping[str, str], layers: Layers) -> list[CreatableTopicConfigs]:
    """Return every setting of a new topic with the value that holds and where it comes from."""
    configs: list[CreatableTopicConfigs] = []
    for name, setting in TOPIC_SETTINGS.items():
        text, source = topic_value(setting, own, layers)
        configs.append(CreatableTopicConfigs(name=name, value=text, config_source=source))
    return configs
