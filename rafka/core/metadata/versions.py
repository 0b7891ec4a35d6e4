"""ApiVersions: what this broker speaks, and which features are finalized in the cluster.

The table is the one that sessions obey, with one exception that Kafka makes too: Produce is advertised from version
0, because librdkafka switches compression off for brokers that say otherwise; versions below the table's are still
refused.

Features are those that this broker really has a level of: metadata.version, the level of the records it writes.
What it does not have it does not name, which is level 0.

A client of version 5 may say whom it believes to be talking to; if it is somebody else it is told to start again
from its bootstrap servers (KIP-1242).

Source: `ApiVersionsRequest.isValid`, `KafkaApis.handleApiVersionsRequest`, `ApiVersionManager` of Kafka 4.4; KIP-511.
"""

from typing import Final

from rafka.core.api.api_versions_request import ApiVersionsRequest
from rafka.core.api.api_versions_response import (
    ApiVersion,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)
from rafka.core.errors import ErrorCode
from rafka.core.metadata.ask import Answer, Ask
from rafka.core.metadata.records import METADATA_VERSION

FEATURE: Final = "metadata.version"
_PRODUCE: Final = 0
_ALPHANUMERIC: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_INNER: Final = _ALPHANUMERIC | frozenset("-.")


def api_versions(request: ApiVersionsRequest, ask: Ask) -> Answer:
    """Answer an ApiVersions."""
    code = _refusal(request, ask)
    if code is not ErrorCode.NONE:
        return Answer(ApiVersionsResponse(error_code=code), [])
    keys = [
        ApiVersion(api_key=key, min_version=0 if key == _PRODUCE else low, max_version=high)
        for key, (low, high) in sorted(ask.served.items())
    ]
    levels = sorted(ask.image.features.items())
    return Answer(
        ApiVersionsResponse(
            api_keys=keys,
            supported_features=[
                SupportedFeatureKey(name=FEATURE, min_version=METADATA_VERSION, max_version=METADATA_VERSION)
            ],
            finalized_features_epoch=ask.image.applied,
            finalized_features=[
                FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
                for name, level in levels
            ],
        ),
        [],
    )


def _refusal(request: ApiVersionsRequest, ask: Ask) -> ErrorCode:
    if ask.version >= 3 and not (
        _is_software(request.client_software_name) and _is_software(request.client_software_version)
    ):
        return ErrorCode.INVALID_REQUEST
    if (request.cluster_id is None) != (request.node_id == -1):
        return ErrorCode.INVALID_REQUEST
    if request.cluster_id is not None and (request.cluster_id, request.node_id) != (
        ask.cluster_id,
        ask.node_id,
    ):
        return ErrorCode.REBOOTSTRAP_REQUIRED
    return ErrorCode.NONE


def _is_software(text: str) -> bool:
    """Whether a client's name or version is made of letters, digits, and between them dots and dashes."""
    return text != "" and text[0] in _ALPHANUMERIC and text[-1] in _ALPHANUMERIC and _INNER.issuperset(text)
