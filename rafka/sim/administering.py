"""Administration in the simulated world: topics that come, grow and go, records deleted, settings altered."""

from collections.abc import Generator, Sequence
from typing import Any

from rafka.core.api.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from rafka.core.api.create_topics_request import CreatableTopic, CreateTopicsRequest
from rafka.core.api.create_topics_response import CreateTopicsResponse
from rafka.core.api.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from rafka.core.api.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from rafka.core.api.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.sim.chance import Chance
from rafka.sim.scene import Scene, ask_for, learn
from rafka.sim.talk import Lost, Script, Step, Wait

TIMEOUT_MS = 1000
TOPIC_RESOURCE = 2
SET = 0
SCRATCH = ("s0", "s1")
"""Topics that are made and removed; nobody reads or writes them."""
PARTITIONS_MAX = 5


def set_up(scene: Scene, others: Sequence[CreatableTopic] = ()) -> Script:
    """Create the topics that clients use. others: some that not everybody is to know of."""
    names = [f"t{scene.prefix}{number}" for number in range(scene.knobs.topics)]
    while True:
        topics = [
            CreatableTopic(name=name, num_partitions=scene.knobs.partitions, replication_factor=1)
            for name in names
        ]
        try:
            (made,) = yield [CreateTopicsRequest(topics=[*topics, *others], timeout_ms=TIMEOUT_MS)]
            (known,) = yield ask_for(names)
        except Lost:
            yield Wait(20)
            continue
        assert isinstance(made, CreateTopicsResponse)
        learn(scene, known)
        if len(scene.topics) == len(names):
            return
        yield Wait(20)


class Admin:
    """One administrator with restless hands."""

    def __init__(self, scene: Scene, chance: Chance) -> None:
        self.scene = scene
        self.chance = chance

    def script(self) -> Script:
        """Do something now and then until the run is over."""
        acts = [self._create, self._delete, self._grow, self._alter]
        if self.scene.knobs.deletes_records:
            acts += [self._delete_records] * 3
        while not self.scene.is_over:
            yield Wait(20 + self.chance.draw() * 400)
            act = acts[self.chance.below(len(acts))]
            yield from act()

    def _call(self, request: Message) -> Generator[Step, list[Message], Any]:
        self.scene.ledger.count("administration")
        try:
            (answer,) = yield [request]
        except Lost:
            self.scene.ledger.count("connections lost")
            return None
        return answer

    def _create(self) -> Generator[Step, list[Message], None]:
        name = self.chance.one_of(*SCRATCH) + self.scene.prefix
        topic = CreatableTopic(name=name, num_partitions=1 + self.chance.below(3), replication_factor=1)
        yield from self._call(CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS))

    def _delete(self) -> Generator[Step, list[Message], None]:
        name = self.chance.one_of(*SCRATCH) + self.scene.prefix
        yield from self._call(
            DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=TIMEOUT_MS)
        )

    def _grow(self) -> Generator[Step, list[Message], None]:
        name = self.chance.one_of(*self.scene.topics)
        count = self.scene.topics[name].partitions + 1
        if count > PARTITIONS_MAX:
            return
        topic = CreatePartitionsTopic(name=name, count=count, assignments=None)
        granted = yield from self._call(CreatePartitionsRequest(topics=[topic], timeout_ms=TIMEOUT_MS))
        if granted is not None and not granted.results[0].error_code:
            self.scene.ledger.grown[name] = count
        try:
            (answer,) = yield ask_for([name])
        except Lost:
            return
        learn(self.scene, answer)

    def _alter(self) -> Generator[Step, list[Message], None]:
        name = self.chance.one_of(*self.scene.topics)
        interval = str(self.chance.one_of(0, 100, 4096))
        config = AlterableConfig(name="index.interval.bytes", config_operation=SET, value=interval)
        resource = AlterConfigsResource(resource_type=TOPIC_RESOURCE, resource_name=name, configs=[config])
        yield from self._call(IncrementalAlterConfigsRequest(resources=[resource]))

    def _delete_records(self) -> Generator[Step, list[Message], None]:
        name = self.chance.one_of(*self.scene.topics)
        index = self.chance.below(self.scene.topics[name].partitions)
        book = self.scene.ledger.book(f"{name}-{index}")
        share = self.chance.draw()
        if not book.acked_end:
            return
        offset = 1 + int(share * book.acked_end)
        book.may_delete = max(book.may_delete, offset)
        partition = DeleteRecordsPartition(partition_index=index, offset=offset)
        topic = DeleteRecordsTopic(name=name, partitions=[partition])
        answer = yield from self._call(DeleteRecordsRequest(topics=[topic], timeout_ms=TIMEOUT_MS))
        if answer is not None:
            code = answer.topics[0].partitions[0].error_code
            if code:
                self.scene.ledger.count(f"delete records refused: {ErrorCode(code).name}")
