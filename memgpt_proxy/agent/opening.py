"""The opening of a turn: what is new in the request, and the main context it leads to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memgpt_proxy.agent import instructions
from memgpt_proxy.agent.main_context import Head, MainContext
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.agent.window import Room
from memgpt_proxy.memory import alerts
from memgpt_proxy.memory.intake import Branch, Intake, take_in
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message, chain
from memgpt_proxy.memory.working_context import changes
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import (
    ROOT,
    Counts,
    NodeId,
    QueueState,
    TurnState,
    WorkingContext,
)


@dataclass(slots=True)
class Opening:
    """A turn about to begin.

    Attributes:
        tip: The newest message of the client: what the turn answers.
        intake: The new messages, not stored yet.
        context: The main context of the first step.
        context_version: Version of the working context that the model has seen.
    """

    tip: NodeId
    intake: Intake
    context: MainContext
    context_version: int


class Opener:
    """Reconciles a client's transcript with the stored tree and composes the main context.

    Args:
        live: Show the working context as it is now instead of the queue's snapshot.
    """

    def __init__(self, store: Store, counter: TokenCounter, *, live: bool) -> None:
        self._store = store
        self._counter = counter
        self._live = live

    async def open(self, request: TurnRequest, told: str, now: datetime, room: Room) -> Opening:
        """Return the opening of a turn at the time ``now``.

        Args:
            told: The MemGPT system instructions of this turn.
            room: What the turn may put into its prompt.

        Raises:
            StoreError: The store is away.
        """
        messages = request.messages
        ids = chain(request.namespace, messages)
        state = await self._store.read_turn(request.namespace, ids, enough=_replied_until(messages))
        begins = not any(message["role"] == "assistant" for message in messages)
        events = await self._events(request, state, begins=begins, now=now)
        queue = _queue(state, ids, begins=begins)
        seen = state.context.version if begins or events else _seen(state)
        branch = Branch(
            parent=ids[state.known - 1] if state.known else ROOT,
            depth=state.known,
            queue=queue.state.node,
            context_version=seen,
        )
        new = messages[state.known :]
        intake = await take_in(
            new,
            ids[state.known :],
            branch,
            events=events if new else (),
            now=now,
            counter=self._counter,
            largest=room.message,
        )
        queue.nodes += intake.nodes
        live = state.context if self._live else None
        head = Head(told, request.application, room.context, live)
        context = MainContext(head, queue, self._counter)
        for event in events if not new else ():
            context.add(event)
        return Opening(ids[-1], intake, context, seen)

    async def open_without_memory(self, request: TurnRequest, now: datetime) -> Opening:
        """Return the opening of a turn that knows only what the client has sent."""
        ids = chain(request.namespace, request.messages)
        nothing = QueueState(ids[0], 0, "", WorkingContext(0, ""), Counts(0, 0))
        branch = Branch(parent=ROOT, depth=0, queue=ids[0], context_version=0)
        intake = await take_in(
            request.messages,
            ids,
            branch,
            events=(),
            now=now,
            counter=self._counter,
            largest=sys.maxsize,
        )
        head = Head(instructions.without_functions(), request.application, limit=0)
        context = MainContext(head, Queue(nothing, intake.nodes), self._counter)
        return Opening(ids[-1], intake, context, 0)

    async def _events(
        self, request: TurnRequest, state: TurnState, *, begins: bool, now: datetime
    ) -> list[Message]:
        """Return what has happened since this branch was last continued."""
        if request.messages[-1]["role"] != "user":
            return []
        last = state.nodes[-1] if state.nodes else None
        events = []
        if last is None or _day(last.created, now) != now.date():
            events.append(alerts.today(now.date()))
        seen = _seen(state)
        if not begins and not self._live and last and seen != state.context.version:
            before = await self._store.context_at(request.namespace, seen)
            events.append(
                alerts.working_context_changed(changes(before.content, state.context.content))
            )
        return events


def _queue(state: TurnState, ids: Sequence[NodeId], *, begins: bool) -> Queue:
    """Return the branch's queue; a conversation that begins sees memory as it is now."""
    known = state.queue
    if known is not None and not begins:
        return Queue(known, list(state.nodes))
    start, summary = (known.start, known.summary) if known is not None else (0, "")
    at = ids[-1] if begins else ids[0]
    fresh = QueueState(at, start, summary, state.context, state.counts)
    return Queue(fresh, list(state.nodes), changed=True)


def _replied_until(messages: Sequence[Message]) -> int:
    """Return how many messages there are up to the last one that we may have sent ourselves."""
    for index in range(len(messages), 0, -1):
        if messages[index - 1]["role"] == "assistant":
            return index
    return 0


def _seen(state: TurnState) -> int:
    return state.nodes[-1].context_version if state.nodes else state.context.version


def _day(created: float, now: datetime) -> object:
    return datetime.fromtimestamp(created, now.tzinfo).date()
