"""Every other broker setting of Kafka 4.4: refused with a reason, or accepted with a warning that it does nothing.

Refused is what promises something that this broker would not keep: safety, limits, other places on disk. Its default
is accepted, because it promises nothing. Harmless is what tunes machinery that is built differently here or absent.
A name that ends in a dot stands for all that begin with it. Nothing here is imported before a key is not found among
the settings that are obeyed.

Source: `KafkaConfig.configDef` of Kafka 4.4, internal settings included.
"""

from rafka.core.shape import value


@value
class Unserved:
    """Why a setting does nothing. harmless: it is accepted; default: the value that is accepted anyway."""

    reason: str
    harmless: bool
    default: str | None


# Names, refused; after an equals sign the default.
_REFUSED = {
    "this broker does not speak TLS": """
    ssl. security.providers=
    """,
    "this broker does not authenticate clients": """
    sasl. delegation.token. connection.failed.authentication.delay.ms=100 connections.max.reauth.ms=0
    principal.builder.class security.inter.broker.protocol=PLAINTEXT
    """,
    "this broker does not authorize requests": """
    super.users= authorizer.class.name=
    """,
    "this broker has no tiered storage": """
    remote. follower.fetch.last.tiered.offset.enable=false remote.log.storage.system.enable=false
    """,
    "this broker loads no classes": """
    alter.config.policy.class.name= client.quota.callback.class= config.providers=
    create.topic.policy.class.name= group.streams.topology.description.plugin.class= replica.selector.class=
    """,
    "this broker bounds what each connection may hold, not what all may hold together": """
    queued.max.request.bytes=-1
    """,
    "this broker has no quotas on connections": """
    max.connection.creation.rate=2147483647 max.connections.per.ip.overrides=
    """,
    "this broker keeps all data in one directory, --data-dir": """
    metadata.log.dir=
    """,
    "this broker serves no drafts of the protocol": """
    unstable.api.versions.enable=false unstable.feature.versions.enable=false
    """,
    "compaction is always on; set cleanup.policy=delete on a topic to keep it out": """
    log.cleaner.enable=true
    """,
    "this broker does not slow compaction down": """
    log.cleaner.io.max.bytes.per.second=1.7976931348623157E308
    """,
    "offsets are stored uncompressed": """
    offsets.topic.compression.codec=0
    """,
    "this broker has no transactions": """
    transaction.two.phase.commit.enable=false
    """,
}

_HARMLESS = {
    "one thread does this work here": """
    background.threads group.coordinator.background.threads group.coordinator.threads log.cleaner.threads
    num.io.threads num.network.threads num.recovery.threads.per.data.dir num.replica.alter.log.dirs.threads
    num.replica.fetchers share.coordinator.threads
    """,
    "this broker has no transactions": """
    add.partitions.to.txn.retry.backoff.max.ms add.partitions.to.txn.retry.backoff.ms
    transaction.abort.timed.out.transaction.cleanup.interval.ms transaction.max.timeout.ms
    transaction.partition.verification.enable transaction.remove.expired.transaction.cleanup.interval.ms
    transaction.state.log.load.buffer.size transaction.state.log.min.isr
    transaction.state.log.num.partitions transaction.state.log.replication.factor
    transaction.state.log.segment.bytes transactional.id.expiration.ms
    """,
    "this broker has no share groups": """
    errors.deadletterqueue.auto.create.topics.enable errors.deadletterqueue.topic.name.prefix
    group.share.assignment.interval.ms group.share.assignor.offload.enable group.share.assignors
    group.share.delivery.count.limit group.share.dlq.manager.class.name group.share.heartbeat.interval.ms
    group.share.initialize.retry.interval.ms group.share.max.assignment.interval.ms
    group.share.max.delivery.count.limit group.share.max.heartbeat.interval.ms
    group.share.max.partition.max.record.locks group.share.max.record.lock.duration.ms
    group.share.max.session.timeout.ms group.share.max.share.sessions group.share.max.size
    group.share.min.assignment.interval.ms group.share.min.delivery.count.limit
    group.share.min.heartbeat.interval.ms group.share.min.partition.max.record.locks
    group.share.min.record.lock.duration.ms group.share.min.session.timeout.ms
    group.share.partition.max.record.locks group.share.persister.class.name
    group.share.record.lock.duration.ms group.share.session.timeout.ms share.coordinator.append.linger.ms
    share.coordinator.cached.buffer.max.bytes share.coordinator.cold.partition.snapshot.interval.ms
    share.coordinator.load.buffer.size share.coordinator.snapshot.update.records.per.snapshot
    share.coordinator.state.topic.compression.codec share.coordinator.state.topic.min.isr
    share.coordinator.state.topic.num.partitions share.coordinator.state.topic.prune.interval.ms
    share.coordinator.state.topic.replication.factor share.coordinator.state.topic.segment.bytes
    share.coordinator.write.timeout.ms share.fetch.purgatory.purge.interval.requests
    """,
    "this broker has no streams groups": """
    group.streams.acceptable.recovery.lag group.streams.assignment.interval.ms
    group.streams.assignor.offload.enable group.streams.assignors group.streams.heartbeat.interval.ms
    group.streams.initial.rebalance.delay.ms group.streams.max.assignment.interval.ms
    group.streams.max.heartbeat.interval.ms group.streams.max.session.timeout.ms group.streams.max.size
    group.streams.max.standby.replicas group.streams.max.warmup.replicas
    group.streams.min.assignment.interval.ms group.streams.min.heartbeat.interval.ms
    group.streams.min.session.timeout.ms group.streams.min.task.offset.interval.ms
    group.streams.num.standby.replicas group.streams.num.warmup.replicas
    group.streams.rack.aware.assignment.tags group.streams.session.timeout.ms
    group.streams.task.offset.interval.ms
    """,
    "this broker serves the classic group protocol only": """
    group.consumer.assignment.interval.ms group.consumer.assignor.offload.enable group.consumer.assignors
    group.consumer.heartbeat.interval.ms group.consumer.max.assignment.interval.ms
    group.consumer.max.heartbeat.interval.ms group.consumer.max.session.timeout.ms group.consumer.max.size
    group.consumer.migration.policy group.consumer.min.assignment.interval.ms
    group.consumer.min.heartbeat.interval.ms group.consumer.min.session.timeout.ms
    group.consumer.regex.refresh.interval.ms group.consumer.session.timeout.ms
    group.coordinator.append.linger.ms group.coordinator.cached.buffer.max.bytes
    group.coordinator.rebalance.protocols
    """,
    "one node is its own quorum, controller and replica set": """
    alter.log.dirs.replication.quota.window.num alter.log.dirs.replication.quota.window.size.seconds
    auto.leader.rebalance.enable broker.heartbeat.interval.ms broker.session.timeout.ms
    controlled.shutdown.enable controller.listener.names controller.performance.always.log.threshold.ms
    controller.performance.sample.period.ms controller.quorum.append.linger.ms
    controller.quorum.auto.join.enable controller.quorum.bootstrap.servers
    controller.quorum.election.backoff.max.ms controller.quorum.election.timeout.ms
    controller.quorum.fetch.max.bytes controller.quorum.fetch.snapshot.max.bytes
    controller.quorum.fetch.timeout.ms controller.quorum.request.timeout.ms
    controller.quorum.retry.backoff.ms controller.quorum.voters controller.quota.window.num
    controller.quota.window.size.seconds controller.socket.timeout.ms early.start.listeners
    initial.broker.registration.timeout.ms inter.broker.listener.name internal.metadata.delete.delay.millis
    internal.metadata.log.segment.bytes internal.metadata.max.batch.size.in.bytes
    leader.imbalance.check.interval.seconds metadata.log.max.record.bytes.between.snapshots
    metadata.log.max.snapshot.interval.ms metadata.log.segment.bytes metadata.log.segment.ms
    metadata.max.idle.interval.ms metadata.max.retention.bytes metadata.max.retention.ms process.roles
    replica.fetch.backoff.ms replica.fetch.max.bytes replica.fetch.min.bytes
    replica.fetch.response.max.bytes replica.fetch.wait.max.ms replica.high.watermark.checkpoint.interval.ms
    replica.lag.time.max.ms replica.socket.receive.buffer.bytes replica.socket.timeout.ms
    replication.quota.window.num replication.quota.window.size.seconds request.timeout.ms
    server.max.startup.time.ms socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms
    unclean.leader.election.interval.ms
    """,
    "metrics are not kept that way here": """
    kafka.metrics.polling.interval.secs kafka.metrics.reporters metric.reporters metrics.num.samples
    metrics.recording.level metrics.sample.window.ms quota.window.num quota.window.size.seconds
    telemetry.max.bytes
    """,
    "buffers, queues and checkpoints are managed by the broker itself": """
    delete.records.purgatory.purge.interval.requests fetch.purgatory.purge.interval.requests
    log.cleaner.io.buffer.load.factor log.cleaner.io.buffer.size
    log.dir.failure.timeout.ms log.flush.offset.checkpoint.interval.ms log.flush.scheduler.interval.ms
    log.flush.start.offset.checkpoint.interval.ms log.initial.task.delay.ms offsets.commit.timeout.ms
    offsets.load.buffer.size producer.id.expiration.check.interval.ms
    producer.purgatory.purge.interval.requests queued.max.requests socket.listen.backlog.size
    socket.receive.buffer.bytes socket.send.buffer.bytes
    """,
}


def unserved(name: str) -> Unserved | None:
    """Return why a broker setting does nothing here; None if Kafka has no such setting."""
    prefixed: Unserved | None = None
    for known, found in _all().items():
        if known == name:
            return found
        if known.endswith(".") and name.startswith(known):
            prefixed = found
    if prefixed is None and name.startswith("listener.name."):
        prefixed = Unserved("this broker has no settings of single listeners", harmless=False, default=None)
    return prefixed


def unserved_names() -> list[str]:
    """Return the names of all of them, without those that stand for many."""
    return [name for name in _all() if not name.endswith(".")]


def _all() -> dict[str, Unserved]:
    found: dict[str, Unserved] = {}
    for reason, text in _REFUSED.items():
        for word in text.split():
            name, equals, default = word.partition("=")
            found[name] = Unserved(reason, harmless=False, default=default if equals else None)
    for reason, text in _HARMLESS.items():
        for name in text.split():
            found[name] = Unserved(reason, harmless=True, default=None)
    return found
