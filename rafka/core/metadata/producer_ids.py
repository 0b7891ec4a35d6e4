"""InitProducerId: a number for each idempotent producer, never given twice in the life of a cluster.

Ids are taken from blocks of 1000. A ProducerIdsRecord says where the next block begins; the rest of a block is given
away from memory, and what a node that stops has left of its block is lost. The first id of a block is given by the
decision that writes the record, so nobody has an id of a block that is not committed.

Sources: `ProducerIdControlManager`, `RPCProducerIdManager` and `TransactionCoordinator.handleInitProducerId` of
Kafka 4.4.
"""

from typing import Final

import attrs

from rafka.core.api.init_producer_id_request import InitProducerIdRequest
from rafka.core.api.init_producer_id_response import InitProducerIdResponse
from rafka.core.errors import ErrorCode
from rafka.core.message import Message
from rafka.core.metadata.ask import Answer, Ask
from rafka.core.stored.producer_ids_record import ProducerIdsRecord

BLOCK: Final = 1000
INT64_MAX: Final = (1 << 63) - 1


@attrs.define(eq=False)
class ProducerIds:
    """The block that this node gives ids from: `next` up to `end`, exclusive."""

    next: int = 0
    end: int = 0
    _asked: int = -1
    """The start of the block that was decided on last; ours once the image has gone past it."""

    def handle(self, request: InitProducerIdRequest, ask: Ask) -> Answer:
        """Answer an InitProducerId. Changes nothing but what is left of the block."""
        code = _refusal(request)
        if code is not ErrorCode.NONE:
            return Answer(InitProducerIdResponse(error_code=code, producer_epoch=-1), [])
        self._claim(ask.image.next_producer_id)
        if self.next < self.end:
            given = self.next
            self.next += 1
            return Answer(InitProducerIdResponse(producer_id=given), [])
        return self._next_block(ask)

    def _claim(self, unassigned: int) -> None:
        """Take the block that was asked for, if its record has been committed since; its first id is given."""
        if self._asked >= 0 and unassigned == self._asked + BLOCK:
            self.next, self.end = self._asked + 1, self._asked + BLOCK
            self._asked = -1

    def _next_block(self, ask: Ask) -> Answer:
        start = ask.image.next_producer_id
        if start > INT64_MAX - BLOCK:
            return Answer(
                InitProducerIdResponse(error_code=ErrorCode.UNKNOWN_SERVER_ERROR, producer_epoch=-1), []
            )
        self._asked = start
        broker = ask.image.brokers.get(ask.node_id)
        records: list[Message] = [
            ProducerIdsRecord(
                broker_id=ask.node_id,
                broker_epoch=-1 if broker is None else broker.epoch,
                next_producer_id=start + BLOCK,
            )
        ]
        return Answer(InitProducerIdResponse(producer_id=start), records)


def _refusal(request: InitProducerIdRequest) -> ErrorCode:
    if request.transactional_id == "" or (request.producer_id == -1) != (request.producer_epoch == -1):
        return ErrorCode.INVALID_REQUEST
    if request.transactional_id is not None:
        return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED  # this broker has no transactions
    return ErrorCode.NONE
