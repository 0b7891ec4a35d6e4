"""A node's own numbers on a page: requests, topics, codecs, groups. Reads the machines, changes nothing.

Cost: a line a sample, in one go, inside the broker's loop. What grows with topics and groups is bounded by
`topics_max`; what grows with partitions is one addition for each.
"""

from collections.abc import Iterable, Mapping

from rafka.core.api import APIS
from rafka.core.coordinator.group.classic import State
from rafka.core.errors import ErrorCode
from rafka.core.log.traffic import Traffic
from rafka.core.node.node import Node
from rafka.core.record.compression import CODEC_NAMES
from rafka.core.types import Uuid
from rafka.net.kafka.meter import Meter
from rafka.observe import catalogue as of
from rafka.observe.labelled import OTHER, Labels
from rafka.observe.page import Page
from rafka.observe.tally import Work

NS = 1_000_000_000
TIMES = tuple((index, repr((1 << index) / NS)) for index in range(14, 37))
"""Buckets of durations: 2^14 ns to 2^36 ns, which is 16 µs to 69 s."""
SIZES = tuple((index, repr(float((1 << index) - 1))) for index in range(7, 25))
"""Buckets of batch sizes: below 128 bytes to below 16 MiB, so up to 127, 255, … bytes."""
COUNTS = tuple((index, repr(float((1 << index) - 1))) for index in range(1, 18))
"""Buckets of records in a batch: 1, up to 3, up to 7, … 131,071."""
LAGS_PER_TOPIC = 5
"""Lags have labels for so many pairs of group and topic for each topic that may have one."""

TopicNumbers = tuple[int, int, int]
"""Partitions, bytes and offsets of one topic."""


def put_requests(page: Page, meters: Mapping[int, Meter], node: Node) -> None:
    """Add how long each API took and which errors it gave; APIs that nobody has used have no samples."""
    used = [(APIS[key].name, meter) for key, meter in sorted(meters.items())]
    page.begin(of.REQUESTS)
    for name, meter in used:
        if meter.durations.counts:
            page.histogram(meter.durations.counts, meter.durations.total / NS, TIMES, name)
    page.begin(of.ERRORS)
    own = {"Produce": node.produces.errors, "Fetch": node.fetches.errors}
    for name, meter in used:
        for code, count in sorted(own.get(name, meter.errors).items()):
            page.sample(count, name, _error_name(code))


def _error_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)


def put_topics(page: Page, node: Node, labels: Labels) -> None:
    """Add what came and went by topic, and how large topics are."""
    traffics, numbers, offline = _topics(node)
    labels.look(traffics)
    page.one(of.TOPICS, len(traffics))
    page.one(of.PARTITIONS, len(node.partitions))
    page.one(of.OFFLINE, offline + node.control.partition.log.is_offline)
    page.one(of.UNNAMED, labels.others)

    shown: dict[str, Traffic] = {}
    sized: dict[str, TopicNumbers] = {}
    if labels.others or labels.gone.batch_bytes.total or labels.gone.fetched_bytes:
        shown[OTHER] = rest = Traffic()
        rest.merge(labels.gone)
        sized[OTHER] = (0, 0, 0)
    for topic_id, (_, traffic) in traffics.items():
        label = labels.label_of(topic_id)
        partitions, size_bytes, offsets = numbers[topic_id]
        if label == OTHER:
            shown[OTHER].merge(traffic)
            before = sized[OTHER]
            sized[OTHER] = before[0] + partitions, before[1] + size_bytes, before[2] + offsets
        else:
            shown[label] = traffic
            sized[label] = numbers[topic_id]
    _put_traffic(page, shown)
    for at, metric in enumerate((of.TOPIC_PARTITIONS, of.TOPIC_BYTES, of.TOPIC_RECORDS)):
        page.begin(metric)
        for label, row in sized.items():
            page.sample(row[at], label)


def _topics(node: Node) -> tuple[dict[Uuid, tuple[str, Traffic]], dict[Uuid, TopicNumbers], int]:
    """Add up the partitions of each topic; the last number is of those that are offline."""
    traffics: dict[Uuid, tuple[str, Traffic]] = {}
    numbers: dict[Uuid, TopicNumbers] = {}
    offline = 0
    for partition in node.partitions:
        log = partition.log
        topic_id = partition.topic_id
        traffics[topic_id] = partition.topic, log.traffic
        count, size_bytes, offsets = numbers.get(topic_id, (0, 0, 0))
        offsets += log.log_end_offset - log.log_start_offset
        numbers[topic_id] = count + 1, size_bytes + log.size_bytes, offsets
        offline += log.is_offline
    return traffics, numbers, offline


def _put_traffic(page: Page, shown: Mapping[str, Traffic]) -> None:
    page.begin(of.PRODUCED_BYTES)
    for label, traffic in shown.items():
        page.sample(traffic.batch_bytes.total, label)
    page.begin(of.PRODUCED_RECORDS)
    for label, traffic in shown.items():
        page.sample(traffic.batch_records.total, label)
    page.begin(of.FETCHED_BYTES)
    for label, traffic in shown.items():
        page.sample(traffic.fetched_bytes, label)
    page.begin(of.BATCH_BYTES)
    for label, traffic in shown.items():
        page.histogram(traffic.batch_bytes.counts, traffic.batch_bytes.total, SIZES, label)
    page.begin(of.BATCH_RECORDS)
    for label, traffic in shown.items():
        page.histogram(traffic.batch_records.counts, traffic.batch_records.total, COUNTS, label)


def put_codecs(page: Page, work: Mapping[tuple[str, int, str], Work]) -> None:
    """Add what codecs did. work: by label of the topic ("" for none in particular), codec and operation."""
    done = {(topic, CODEC_NAMES[codec], operation): one for (topic, codec, operation), one in work.items()}
    page.begin(of.CODEC_SECONDS)
    for texts, one in done.items():
        page.sample(one.cpu_ns / NS, *texts)
    page.begin(of.CODEC_PLAIN)
    for texts, one in done.items():
        page.sample(one.plain_bytes, *texts)
    page.begin(of.CODEC_PACKED)
    for texts, one in done.items():
        page.sample(one.packed_bytes, *texts)


def put_groups(page: Page, node: Node, pairs_max: int) -> None:
    """Add how many groups are in which state, and how far behind they are."""
    states = dict.fromkeys(State, 0)
    for shard in node.groups.shards.values():
        for group in shard.groups.values():
            states[group.state] += 1
    page.begin(of.GROUPS)
    for state, count in states.items():
        page.sample(count, state.value)
    lags: dict[tuple[str, str], int] = {}
    for pair, lag in _lags(node):
        named = pair if pair in lags or len(lags) < pairs_max else (OTHER, OTHER)
        lags[named] = lags.get(named, 0) + lag
    page.begin(of.LAG)
    for pair, lag in lags.items():
        page.sample(lag, *pair)


def _lags(node: Node) -> Iterable[tuple[tuple[str, str], int]]:
    """Yield group and topic with the lag of each partition that the group has committed in, and that is led here."""
    for shard in node.groups.shards.values():
        for group, committed in shard.offsets.of.items():
            for (topic, index), value in committed.items():
                partition = node.partitions.find(topic, index)
                if partition is not None:
                    yield (group, topic), max(0, partition.high_watermark - value.offset)
