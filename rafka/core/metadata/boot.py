"""What a node appends to the metadata log before it serves: the cluster's first records, and its own registration.

A fresh log gets the level of metadata.version and the registration of this broker, not fenced: with one node, whoever
can write the record is alive. A log that has records gets a new registration only if the broker is no longer what it
registered as: other listeners, rack, directory or features.

Sources: `BootstrapMetadata`, `ActivationRecordsGenerator` and `ClusterControlManager.registerBroker` of Kafka 4.4.
"""

from collections.abc import Sequence

from rafka.core.config.settings import Listener, Settings
from rafka.core.errors import RafkaError
from rafka.core.machine import Entropy
from rafka.core.message import Message
from rafka.core.metadata.image import BrokerImage, Endpoint, Image
from rafka.core.metadata.records import METADATA_VERSION
from rafka.core.metadata.versions import FEATURE
from rafka.core.stored.feature_level_record import FeatureLevelRecord
from rafka.core.stored.register_broker_record import BrokerEndpoint, BrokerFeature, RegisterBrokerRecord
from rafka.core.types import ZERO_UUID, Uuid


def boot_records(
    image: Image, settings: Settings, entropy: Entropy, directory: Uuid, listeners: Sequence[Listener]
) -> list[Message]:
    """Return the records to append, possibly none; listeners: as clients and brokers can dial them.

    Raises: RafkaError if the log is of a metadata.version that this broker does not know.
    """
    records: list[Message] = []
    level = image.features.get(FEATURE)
    if level is None:
        records.append(FeatureLevelRecord(name=FEATURE, feature_level=METADATA_VERSION))
    elif level > METADATA_VERSION:
        raise RafkaError(
            f"the metadata log is at {FEATURE} {level}, and this broker knows {METADATA_VERSION}: "
            "start the version that wrote it"
        )
    wanted = _registration(image, settings, entropy, directory, listeners)
    current = image.brokers.get(image.node_id)
    if current is None or not _is_same(current, wanted):
        wanted.broker_epoch = image.applied + len(records)
        records.append(wanted)
    return records


def _registration(
    image: Image, settings: Settings, entropy: Entropy, directory: Uuid, listeners: Sequence[Listener]
) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=image.node_id,
        incarnation_id=Uuid(entropy.bytes(16)),
        end_points=[BrokerEndpoint(name=one.name, host=one.host, port=one.port) for one in listeners],
        features=[
            BrokerFeature(
                name=FEATURE, min_supported_version=METADATA_VERSION, max_supported_version=METADATA_VERSION
            )
        ],
        rack=settings.broker_rack,
        fenced=False,
        log_dirs=[] if directory == ZERO_UUID else [directory],
    )


def _is_same(current: BrokerImage, wanted: RegisterBrokerRecord) -> bool:
    endpoints = tuple(Endpoint(e.name, e.host, e.port, e.security_protocol) for e in wanted.end_points)
    features = {f.name: (f.min_supported_version, f.max_supported_version) for f in wanted.features}
    mine = (current.endpoints, current.rack, current.directories, current.features, current.fenced)
    return mine == (endpoints, wanted.rack, tuple(wanted.log_dirs), features, False)
