"""From a data directory to a node that serves: a chain of stages, each begun when the one before has ended.

    OPENING     list the directory, open the metadata log, fold it into the image
    BOOTING     append what this start adds to it, and wait until that is committed
    RECOVERING  open the log of every partition of the image whose directory is there, some at a time
    LOADING     fold each partition of __consumer_offsets into its shard
    LISTENING   accept connections
    SERVING

A directory that no topic of the image owns is left alone, with a warning: it may be all that is left of something
that somebody wants. What a deletion began and a crash cut short is finished.
"""

from enum import Enum

import attrs

from rafka.core.config.cordoned import CORDONED
from rafka.core.coordinator.group.routing import OFFSETS_TOPIC
from rafka.core.coordinator.group.shard import GroupShard
from rafka.core.effects import List, Listen, Stop, SyncDir, Unlink
from rafka.core.errors import ErrorCode, RafkaError
from rafka.core.events import Entry, Failed, Listed, Listening
from rafka.core.machine import Outbox
from rafka.core.node.control import DIRECTORY as METADATA_DIRECTORY
from rafka.core.node.control import Control
from rafka.core.node.groups import Groups
from rafka.core.node.partitions import Partitions, directory_of
from rafka.core.node.pool import Pool
from rafka.core.replication.partition import Partition
from rafka.core.script import Running, Script, run
from rafka.core.types import File, Now

LOGS_AT_ONCE = 64
KAFKAS_WORD = (".kafka_cleanshutdown", "recovery-point-offset-checkpoint")
"""What Kafka says of the logs in a directory that it has left; once we have appended, it is no longer true."""
FATAL = 1
SERVING = "serving"
"""The name of the note that says so, with host and port."""
CANNOT_START = "cannot start"
"""The name of the note that says why, as reason."""


class Stage(Enum):
    """How far a start has come."""

    OPENING = 0
    BOOTING = 1
    RECOVERING = 2
    LOADING = 3
    LISTENING = 4
    SERVING = 5
    FAILED = 6


@attrs.define(eq=False)
class Startup:
    """Takes a node to SERVING, or stops it with a note that says why.

    listeners: host and port of each, port 0 for any free one; ports: what they became.
    """

    out: Outbox
    control: Control
    partitions: Partitions
    groups: Groups
    listeners: list[tuple[str, int]]
    stage: Stage = Stage.OPENING
    ports: list[int] = attrs.field(factory=list)
    _opening: Running[str | list[Entry]] = attrs.field(init=False)
    _pool: Pool[GroupShard | None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = Pool(self.out, LOGS_AT_ONCE)
        self._opening = run(self._open(), self.out, self)

    def finished(self, running: Running[object], now: Now) -> bool:
        """Take the end of a script; False if it is none of ours."""
        if running is self._opening:
            self._opened(self._opening.result, now)
            return True
        if not self._pool.finished(running):
            return False
        if self.stage is Stage.LOADING and isinstance(running.result, GroupShard):
            assert isinstance(running.purpose, Partition)
            self.groups.serve(running.purpose.index, running.result, now)
        return True

    def advance(self, now: Now) -> None:
        """Begin the next stage if the present one is done; once a turn."""
        if self.stage is Stage.BOOTING and self.control.is_settled:
            self._recover(self._opening.result)
        if self.stage is Stage.RECOVERING and self._pool.is_idle:
            self._load(now)
        if self.stage is Stage.LOADING and self._pool.is_idle:
            self._listen()

    def listening(self, event: Listening) -> None:
        """Take note of one more listener; the last makes the node serve."""
        self.ports.append(event.port)
        if len(self.ports) == len(self.listeners):
            self.stage = Stage.SERVING
            host = self.listeners[0][0]
            self.out.note("info", SERVING, host=host, port=self.ports[0], partitions=len(self.partitions))
            image = self.control.image
            if image.is_cordoned(image.node_id):
                self.out.note("warning", "the data directory is cordoned", setting=CORDONED)

    def failed(self, event: Failed) -> None:
        """Stop: an address cannot be listened at."""
        host, port = self.listeners[len(self.ports)]
        self.give_up(f"cannot listen at {host}:{port}: {event.text}")

    def lost(self, code: ErrorCode) -> None:
        """Stop if the records of a start did not reach the disk; what a client asked for was refused instead."""
        if self.stage is Stage.BOOTING:
            self.give_up(f"the metadata log cannot be written: {code.name}")

    def give_up(self, reason: str) -> None:
        """Stop the node with a note that says why."""
        self.stage = Stage.FAILED
        self.out.note("error", CANNOT_START, reason=reason)
        self.out.effects.append(Stop(FATAL))

    # ---- stages ------------------------------------------------------------------------------------

    def _open(self) -> Script[str | list[Entry]]:
        listed = yield List(File(""))
        if not isinstance(listed, Listed):
            assert isinstance(listed, Failed)
            return f"the data directory cannot be listed: {listed.text}"
        words = [File(entry.name) for entry in listed.entries if entry.name in KAFKAS_WORD]
        for file in words:
            yield Unlink(file)
        if words and isinstance((yield SyncDir(File(""))), Failed):
            return f"{words[0]} cannot be removed"
        reason = yield from self.control.load()
        return listed.entries if reason is None else reason

    def _opened(self, result: str | list[Entry] | None, now: Now) -> None:
        if isinstance(result, str):
            self.give_up(result)
            return
        self.control.image.changes.clear()
        self.stage = Stage.BOOTING
        try:
            self.control.boot(now)
        except RafkaError as error:  # a log that a newer version has written
            self.give_up(str(error))

    def _recover(self, found: str | list[Entry] | None) -> None:
        assert isinstance(found, list)
        self.stage = Stage.RECOVERING
        directories = {entry.name: None for entry in found if entry.is_dir}
        directories.pop(METADATA_DIRECTORY, None)
        image = self.control.image
        for topic in image.topics.values():
            config = image.log_config(topic.name)
            for index in range(len(topic.partitions)):
                partition = self.partitions.create(topic.name, topic.topic_id, index, config)
                self.partitions.open(partition)
                directory = directory_of(topic.name, index)
                if directory in directories:
                    del directories[directory]
                    self._pool.add(_nothing(partition.log.recover()), partition)
        image.changes.clear()
        for name in directories:
            self.out.note("warning", "directory of no topic", directory=name)

    def _load(self, now: Now) -> None:
        self.stage = Stage.LOADING
        for partition in (self.partitions.by_name(OFFSETS_TOPIC) or {}).values():
            if partition.log.log_end_offset == partition.log.log_start_offset:
                if not partition.log.is_offline:
                    self.groups.serve_empty(partition.index, now)
            elif not partition.log.is_offline:
                self._pool.add(self.groups.load(partition, now), partition)

    def _listen(self) -> None:
        self.stage = Stage.LISTENING
        for host, port in self.listeners:
            self.out.effects.append(Listen(host, port, self.out.token(self)))

    def completed(self, event: object, now: Now) -> None:
        """Take the failure of a Listen."""
        del now
        assert isinstance(event, Failed)
        self.failed(event)


def _nothing(script: Script[None]) -> Script[GroupShard | None]:
    """Give a recovery the type of what else the pool runs."""
    yield from script
    return None
