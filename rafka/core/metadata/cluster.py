"""Who is in the cluster: the brokers as clients are told, DescribeCluster, FindCoordinator and ElectLeaders.

This node's address is the one that the client in question can dial; the others' are what they registered. There is
one coordinator of a group: the leader of its partition of `__consumer_offsets`.

Source: `KafkaApis`, `AuthHelper.computeDescribeClusterResponse` and `ReplicationControlManager` of Kafka 4.4.
"""

from rafka.core.api.describe_cluster_request import DescribeClusterRequest
from rafka.core.api.describe_cluster_response import DescribeClusterBroker, DescribeClusterResponse
from rafka.core.errors import ErrorCode
from rafka.core.metadata.ask import INT32_MIN, Answer, Ask, Refusal
from rafka.core.metadata.image import BrokerImage
from rafka.core.metadata.operations import ON_CLUSTER
from rafka.core.shape import value

_BROKERS, _CONTROLLERS = 1, 2
"""Endpoint types."""


@value
class Address:
    """A broker as clients are told."""

    node_id: int
    host: str
    port: int
    rack: str | None
    fenced: bool


def addresses(ask: Ask, *, fenced: bool = False) -> list[Address]:
    """Return the brokers that clients may dial, or with `fenced` all of them, by node id."""
    brokers = sorted(ask.image.brokers.values(), key=lambda broker: broker.node_id)
    found = [_address(broker, ask) for broker in brokers if fenced or not broker.fenced]
    return [address for address in found if address is not None]


def address_of(node_id: int, ask: Ask) -> Address | None:
    """Return one broker's address; None while it is fenced or unknown."""
    broker = ask.image.brokers.get(node_id)
    return None if broker is None or broker.fenced else _address(broker, ask)


def _address(broker: BrokerImage, ask: Ask) -> Address | None:
    if broker.node_id == ask.node_id:
        return Address(broker.node_id, ask.host, ask.port, broker.rack, broker.fenced)
    if not broker.endpoints:
        return None
    endpoint = broker.endpoints[0]
    return Address(broker.node_id, endpoint.host, endpoint.port, broker.rack, broker.fenced)


def describe_cluster(request: DescribeClusterRequest, ask: Ask) -> Answer:
    """Answer a DescribeCluster: brokers, never controllers, because no listener is a controller's."""
    if request.endpoint_type != _BROKERS:
        refusal = _wrong_endpoint(request.endpoint_type)
        return Answer(DescribeClusterResponse(error_code=refusal.code, error_message=refusal.message), [])
    brokers = [
        DescribeClusterBroker(
            broker_id=one.node_id, host=one.host, port=one.port, rack=one.rack, is_fenced=one.fenced
        )
        for one in addresses(ask, fenced=request.include_fenced_brokers)
    ]
    return Answer(
        DescribeClusterResponse(
            cluster_id=ask.cluster_id,
            controller_id=ask.node_id,
            brokers=brokers,
            cluster_authorized_operations=(
                ON_CLUSTER if request.include_cluster_authorized_operations else INT32_MIN
            ),
        ),
        [],
    )


def _wrong_endpoint(endpoint_type: int) -> Refusal:
    if endpoint_type == _CONTROLLERS:
        return Refusal(
            ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
        )
    return Refusal(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {endpoint_type}")
