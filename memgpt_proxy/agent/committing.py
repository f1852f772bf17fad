"""What one turn stores: long messages beforehand, and what was said at its end, in a commit."""

from __future__ import annotations

import asyncio
import logging

import orjson

from memgpt_proxy.agent.faculties import Faculties
from memgpt_proxy.agent.healing import Prepared
from memgpt_proxy.agent.main_context import MainContext
from memgpt_proxy.agent.remains import placed, unplaced
from memgpt_proxy.agent.reply import Reply
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.memory.reconcile import history
from memgpt_proxy.memory.transcript import content_id, node_id
from memgpt_proxy.stores.protocols import StoreError, StoreFull, StoreUnavailable
from memgpt_proxy.stores.records import (
    ROOT,
    Node,
    NodeId,
    QueueState,
    Role,
    TurnRecord,
    WorkingContext,
)
from memgpt_proxy.stores.storable import composed

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""How long a turn waits for the store before it ends without it."""


class Commit:
    """What a turn leaves behind. Nothing of it comes back once its memory was erased.

    Attributes:
        degraded: The turn runs without memory, or could not be stored, or not yet.
        reply: The node of the turn's reply, once it is stored.
    """

    def __init__(
        self, faculties: Faculties, request: TurnRequest, reply: Reply, prepared: Prepared
    ) -> None:
        self._can = faculties
        self._request = request
        self._said = reply
        self._storable = True
        self.reply: NodeId | None = None
        self.begin(prepared)

    def begin(self, prepared: Prepared) -> None:
        """Be about what is prepared, where the turn begins anew with it."""
        self._opening = prepared.opening
        self._erasures = prepared.erasures
        self._seen = prepared.opening.context_version
        self.degraded = prepared.degraded

    def is_erased(self) -> bool:
        """Whether the memory that the turn began with was erased since, or is being erased."""
        times = self._can.eraser.times(self._request.namespace)
        return times is None or times != self._erasures

    def wrote(self, context: WorkingContext) -> None:
        """The turn wrote the working context; what others wrote in between is yet to be told."""
        if context.version == self._seen + 1:
            self._seen += 1

    async def take_in(self) -> None:
        """Store whose the memory is, and the passages of messages too long for the queue."""
        await self._note_user()
        passages = self._opening.intake.passages
        if not passages or self.is_erased():
            return
        # Until all are in, nothing of the turn may be stored: its resend will be new.
        marked, self.degraded, self._storable = self.degraded, True, False
        try:
            await self._can.store.insert_passages(self._request.namespace, passages)
            self.degraded, self._storable = marked, True
        except StoreError as error:
            log.exception("a long message could not be moved to archival storage")
            self._can.telemetry.turn_not_stored(_why(error))

    async def _note_user(self) -> None:
        register = self._request.register
        if register is not None and self._request.writes and not self.is_erased():
            anew = self._opening.finds_nothing
            await self._can.users.note(register, self._request.namespace, anew=anew)

    async def store(self, context: MainContext, *, complete: bool) -> bool:
        """Store the new messages and what was said; return whether they are stored.

        Args:
            context: The main context, with all that the turn added.
            complete: The turn has come to its end.
        """
        if not self._storable or not self._request.writes or self.is_erased():
            return False
        reply = self._node(context, complete=complete)
        try:
            async with asyncio.timeout(_SECONDS):
                for record in self._records(context, reply):
                    if self.is_erased():
                        return False
                    await self._can.store.commit(self._request.namespace, record)
                if reply is None:
                    await self._take_back()
        except (StoreError, TimeoutError) as error:
            # Nobody needs to know where in the code a disk was found full, turn after turn.
            trace = None if isinstance(error, StoreFull) else error
            why = str(error) or "the store has not answered in time, and may store it yet"
            log.error("a turn could not be stored: %s", why, exc_info=trace)
            self._can.telemetry.turn_not_stored(_why(error))
            self.degraded = True
            return False
        self.reply = reply.id if reply else None
        self.degraded = self.degraded or self._can.store.degraded
        return True

    async def put_back(self) -> None:
        """Do again what was undone for the turn: no other reply is there in its place."""
        if not (undone := self._opening.undone):
            return
        author = self._opening.author
        try:
            async with asyncio.timeout(_SECONDS):
                await self._can.undo.do_again(self._request.namespace, undone, author.node)
        except (StoreError, TimeoutError):
            log.exception("what a discarded reply wrote could not be put back")

    async def store_flushed(self, state: QueueState) -> None:
        """Store the queue as it is after a flush that followed the reply; raises StoreError."""
        if not self.is_erased():
            record = TurnRecord(queues=(state,), created=self._now())
            await self._can.store.commit(self._request.namespace, record)

    async def _take_back(self) -> None:
        """Undo what a turn wrote of which nobody has heard."""
        author = self._opening.author
        await self._can.undo.take_back(self._request.namespace, [author.turn], author.node)

    def _records(self, context: MainContext, reply: Node | None) -> list[TurnRecord]:
        if self._opening.remembers:
            return [placed(self._opening, context.queue, reply, self._now())]
        known = history(self._request.messages)
        return unplaced(self._opening.intake.nodes, known, reply, self._now())

    def _node(self, context: MainContext, *, complete: bool) -> Node | None:
        """Return the reply as a node, or None where nothing was said."""
        said = self._said
        if not said.words and not said.calls:
            return None
        opening, namespace = self._opening, self._request.namespace
        content = content_id(said.message())
        name = node_id(namespace, opening.author.node, content)
        key = node_id(namespace, opening.key, content) if opening.key else name
        name = self._request.reply or name
        return Node(
            id=name,
            key=key,
            content=content,
            parent=opening.author.node,
            depth=opening.depth + 1,
            role=Role.ASSISTANT,
            text=composed(said.words),
            entries=orjson.dumps(context.added).decode(),
            tokens=context.added_tokens,
            created=self._now(),
            queue=context.queue.state.node or name if opening.remembers else ROOT,
            context_version=self._seen,
            turn=opening.author.turn,
            complete=complete,
        )

    def _now(self) -> float:
        return self._can.clock().timestamp()


def _why(error: StoreError | TimeoutError) -> str:
    """Return why a turn is not stored, as metrics tell it."""
    match error:
        case StoreFull():
            return "full"
        case StoreUnavailable():
            return "unavailable"
        case StoreError():
            return "refused"
        case TimeoutError():
            return "late"
