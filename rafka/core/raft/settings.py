"""How the quorum behaves: times in nanoseconds, as the machine counts them; Kafka's names and defaults.

Source: Kafka's `QuorumConfig` (controller.quorum.*) and `MetadataLogConfig`.
"""

from rafka.core.shape import value

MS = 1_000_000


@value
class Settings:
    """The numbers that one replica goes by. They may differ between replicas."""

    election_timeout_ns: int = 1000 * MS
    """How long without a leader until a voter stands; as much again at most is drawn on top."""
    fetch_timeout_ns: int = 2000 * MS
    """How long without an answer from the leader until a follower stands, and how long a leader holds out
    without fetches of a majority, halved once more on top (KAFKA-15489)."""
    election_backoff_max_ns: int = 1000 * MS
    """How long one that lost an election waits, at most, before it stands again."""
    request_timeout_ns: int = 2000 * MS
    """After how long a request that was not answered is sent again."""
    retry_backoff_ns: int = 20 * MS
    """How long a request waits that was refused."""
    fetch_wait_ns: int = 500 * MS
    """How long a leader may hold a fetch that there is nothing to answer to."""
    fetch_batches_max: int = 64
    """How many batches an answer to a fetch has at most."""
    snapshot_bytes_max: int = 1 << 20
    """How many bytes of a snapshot are fetched at once."""
    caught_up_ns: int = 3600 * 1000 * MS
    """How recently a replica must have been at the log's end to become a voter."""
    observer_session_ns: int = 300 * 1000 * MS
    """After how long without a fetch a leader forgets an observer."""
    waiting_max: int = 10_000
    """How many proposals and reads a leader keeps waiting; more are refused."""
