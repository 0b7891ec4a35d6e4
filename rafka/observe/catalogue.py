"""Every metric that a node gives: its name, kind, labels and meaning; docs/metrics.md says the same, and more.

Names follow Prometheus's rules: base units (seconds, bytes), the unit last, `_total` for what only grows. Labels
have few values: APIs, error codes, codecs and states are fixed lists; topics and groups are bounded (`labelled.py`).
Sources: prometheus.io, "Metric and label naming" and "Exposition formats"; OpenMetrics 1.0.
"""

from rafka.core.shape import value

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


@value
class Metric:
    """One family. name: of a counter with `_total`; labels: in the order in which they are written."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()


BUILD = Metric(
    "rafka_build_info", GAUGE, "Always 1; what runs is in the labels.", ("version", "python", "driver")
)
READY = Metric("rafka_ready", GAUGE, "1 if every partition led here can take a produce, else 0.")

CONNECTIONS = Metric("rafka_connections", GAUGE, "Clients connected now.")
ACCEPTED = Metric("rafka_connections_accepted_total", COUNTER, "Clients that connected.")
REFUSED = Metric(
    "rafka_connections_refused_total", COUNTER, "Clients turned away: max.connections, or no descriptor left."
)
RECEIVED = Metric("rafka_received_bytes_total", COUNTER, "Bytes received from clients.")
SENT = Metric("rafka_sent_bytes_total", COUNTER, "Bytes sent to clients.")
TURNS = Metric(
    "rafka_turn_duration_seconds",
    HISTOGRAM,
    "How long the turns of the loop took, without the waits between them.",
)

REQUESTS = Metric(
    "rafka_request_duration_seconds",
    HISTOGRAM,
    "From the turn that received a request to the end of the turn that answered it, waits included.",
    ("api",),
)
ERRORS = Metric(
    "rafka_request_errors_total", COUNTER, "Error codes in answers, one for each topic, partition or group.",
    ("api", "error"),
)  # fmt: skip

SYNCS = Metric("rafka_sync_duration_seconds", HISTOGRAM, "How long fsync and fdatasync took.", ("kind",))
SYNC_FAILURES = Metric("rafka_sync_failures_total", COUNTER, "Syncs that failed.", ("kind",))

TOPICS = Metric("rafka_topics", GAUGE, "Topics, internal ones included.")
PARTITIONS = Metric("rafka_partitions", GAUGE, "Partitions led here.")
OFFLINE = Metric(
    "rafka_partitions_offline", GAUGE, "Partitions whose disk failed: they take no more records."
)
UNNAMED = Metric("rafka_topics_without_name", GAUGE, "Topics that share the label (other).")

PRODUCED_BYTES = Metric(
    "rafka_topic_produced_bytes_total", COUNTER, "Bytes of batches appended, as stored.", ("topic",)
)
PRODUCED_RECORDS = Metric("rafka_topic_produced_records_total", COUNTER, "Records appended.", ("topic",))
FETCHED_BYTES = Metric(
    "rafka_topic_fetched_bytes_total", COUNTER, "Bytes of batches given to fetches.", ("topic",)
)
BATCH_BYTES = Metric(
    "rafka_topic_batch_bytes", HISTOGRAM, "Size of the batches appended, as stored.", ("topic",)
)
BATCH_RECORDS = Metric("rafka_topic_batch_records", HISTOGRAM, "Records in the batches appended.", ("topic",))
TOPIC_PARTITIONS = Metric("rafka_topic_partitions", GAUGE, "Partitions of the topic led here.", ("topic",))
TOPIC_BYTES = Metric("rafka_topic_size_bytes", GAUGE, "Size of the topic's segments on disk.", ("topic",))
TOPIC_RECORDS = Metric(
    "rafka_topic_offsets", GAUGE, "Offsets between log start and log end, over all partitions.", ("topic",)
)

CODEC_SECONDS = Metric(
    "rafka_codec_cpu_seconds_total", COUNTER, "CPU spent in codecs.", ("topic", "codec", "operation")
)
CODEC_PLAIN = Metric(
    "rafka_codec_uncompressed_bytes_total", COUNTER, "Bytes that went into compression or came out of decompression.",
    ("topic", "codec", "operation"),
)  # fmt: skip
CODEC_PACKED = Metric(
    "rafka_codec_compressed_bytes_total", COUNTER, "Bytes that came out of compression or went into decompression.",
    ("topic", "codec", "operation"),
)  # fmt: skip

GROUPS = Metric("rafka_groups", GAUGE, "Consumer groups by state.", ("state",))
LAG = Metric(
    "rafka_group_lag_records", GAUGE, "Offsets between what a group committed and the high watermark.",
    ("group", "topic"),
)  # fmt: skip

CPU = Metric("process_cpu_seconds_total", COUNTER, "User and system CPU time.")
MEMORY = Metric("process_resident_memory_bytes", GAUGE, "Resident memory.")
VIRTUAL = Metric("process_virtual_memory_bytes", GAUGE, "Virtual memory.")
OPEN_FILES = Metric("process_open_fds", GAUGE, "Open file descriptors.")
FILES_MAX = Metric("process_max_fds", GAUGE, "How many file descriptors may be open.")
STARTED = Metric("process_start_time_seconds", GAUGE, "When the process started, in seconds since 1970.")

CATALOGUE: tuple[Metric, ...] = (
    BUILD, READY,
    CONNECTIONS, ACCEPTED, REFUSED, RECEIVED, SENT, TURNS,
    REQUESTS, ERRORS,
    SYNCS, SYNC_FAILURES,
    TOPICS, PARTITIONS, OFFLINE, UNNAMED,
    PRODUCED_BYTES, PRODUCED_RECORDS, FETCHED_BYTES, BATCH_BYTES, BATCH_RECORDS,
    TOPIC_PARTITIONS, TOPIC_BYTES, TOPIC_RECORDS,
    CODEC_SECONDS, CODEC_PLAIN, CODEC_PACKED,
    GROUPS, LAG,
    CPU, MEMORY, VIRTUAL, OPEN_FILES, FILES_MAX, STARTED,
)  # fmt: skip
