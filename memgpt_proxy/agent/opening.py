"""The opening of a turn: what is new in the request, and the main context it leads to."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, takewhile

from memgpt_proxy.agent import instructions
from memgpt_proxy.agent.main_context import Head, MainContext
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.agent.window import Room
from memgpt_proxy.errors import UnknownCall
from memgpt_proxy.memory import alerts
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.branching import Branching, Left
from memgpt_proxy.memory.calls import open_calls
from memgpt_proxy.memory.intake import Branch, Intake, take_in
from memgpt_proxy.memory.names import names
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.reconcile import (
    Named,
    NewMessage,
    Place,
    Reconciler,
    Transcript,
    history,
    said_on,
)
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message, chain, content_id
from memgpt_proxy.memory.working_context import Author, changes
from memgpt_proxy.stores.protocols import Store, StoreAway
from memgpt_proxy.stores.records import (
    NO_TURN,
    ROOT,
    Conversation,
    Counts,
    Fork,
    Namespace,
    Node,
    NodeId,
    QueueState,
    Role,
    TurnId,
    TurnState,
    WorkingContext,
)

_NO_RESULT = "(No result: the user went on without it.)"
_MANY = 1000
"""Messages beyond which naming them leaves the event loop: some 2 ms of work."""


@dataclass(slots=True)
class Opening:
    """A turn about to begin.

    Attributes:
        author: The turn, and the newest message of the client: what it answers.
        depth: Number of messages before that one.
        key: What the reply will be found by is made from this; empty where that is its id.
        intake: The new messages, not stored yet.
        context: The main context of the first step.
        context_version: Version of the working context that the model has seen.
        fork: What the turn leaves behind, or takes up again.
        undone: Turns that were undone for it: to be done again where it comes to nothing.
        named: The conversation that the client has named, and whether it sends its history.
        remembers: Memory could be read; else all messages stand in the intake, known or not.
    """

    author: Author
    depth: int
    key: NodeId
    intake: Intake
    context: MainContext
    context_version: int
    fork: Fork | None = None
    undone: Sequence[TurnId] = ()
    named: Named | None = None
    remembers: bool = True

    @property
    def parent(self) -> NodeId:
        """The last message that was known before."""
        return self.intake.nodes[0].parent if self.intake.nodes else self.author.node

    @property
    def finds_nothing(self) -> bool:
        """Whether memory was read, and there is nothing in it."""
        new = self.intake.nodes
        begins = self.remembers and bool(new) and new[0].depth == 0
        return begins and self.context.queue.state.counts == Counts(0, 0)

    def conversation(self, tip: NodeId) -> Conversation | None:
        """Return the named conversation as it is once it has come to ``tip``."""
        return Conversation(self.named.root, tip, self.named.resends) if self.named else None


class Opener:
    """Reconciles a client's transcript with the stored tree and composes the main context.

    Args:
        live: Show the working context as it is now instead of the queue's snapshot.
    """

    def __init__(
        self,
        store: Store,
        branching: Branching,
        counter: TokenCounter,
        beginnings: Beginnings,
        *,
        live: bool,
    ) -> None:
        self._store = store
        self._reconciler = Reconciler(store)
        self._branching = branching
        self._counter = counter
        self._beginnings = beginnings
        self._live = live
        # The operating system's own randomness costs more than the rest of a turn's name.
        self._process, self._turns = secrets.token_hex(8), count()

    async def open(self, request: TurnRequest, told: str, now: datetime, room: Room) -> Opening:
        """Return the opening of a turn at the time ``now``.

        Args:
            told: The MemGPT system instructions of this turn.
            room: What the turn may put into its prompt.

        Raises:
            StoreError: The store is away.
            UnknownCall: The result of a tool comes that nobody has called.
            UnknownReply: The reply to go on from is not there.
        """
        sent, place = await self._placed(request, now)
        _check_results(place)
        left = await self._branching.leave(request.namespace, place, writes=request.writes)
        place = _answered(sent, left.place)
        events = await self._events(request, place, now)
        queue = await self._queue(place, _end_of_history(sent, place), request.namespace)
        seen = place.state.context.version if place.begins or events else _seen(place.state)
        branch = Branch(
            parent=place.parent,
            hashed=place.hashed,
            depth=place.last.depth + 1 if place.last else 0,
            queue=queue.state.node,
            context_version=seen,
        )
        intake = await take_in(
            place.new,
            branch,
            namespace=request.namespace,
            events=events if place.new else (),
            now=now,
            counter=self._counter,
            largest=room.message if request.writes else sys.maxsize,
        )
        queue.nodes += intake.nodes
        live = place.state.context if self._live else None
        context = MainContext(
            Head(told, request.application, room.context, live), queue, self._counter
        )
        for event in events if not place.new else ():
            context.add(event)
        return _opening(self._next_turn(), queue.nodes[-1], intake, context, seen, left, sent.named)

    async def _queue(self, place: Place, at: NodeId, namespace: Namespace) -> Queue:
        """Return the branch's queue; a conversation that begins sees memory as it is now.

        Args:
            at: Where a new state is to hang. One without a node is to hang on the turn's reply:
                what others say after the same opening is not to find it.
        """
        state = place.state
        known, nodes = state.queue, list(state.nodes)
        if known is not None and not place.begins:
            return Queue(known, nodes)
        start, summary = (known.start, known.summary) if known is not None else (0, "")
        counts = state.counts or await self._store.counts(namespace)
        fresh = QueueState(at, start, summary, state.context, counts)
        return Queue(fresh, nodes, changed=True)

    def _next_turn(self) -> TurnId:
        return TurnId(f"{self._process}{next(self._turns):x}")

    async def open_without_memory(self, request: TurnRequest, now: datetime) -> Opening:
        """Return the opening of a turn that knows only what the client has sent.

        Its messages have the names that they have for a client which sends all it knows.
        """
        root = request.conversation.root if request.conversation else ROOT
        nothing = QueueState(ROOT, 0, "", WorkingContext(0, ""), Counts(0, 0))
        new = [NewMessage(message, content_id(message), ROOT) for message in request.messages]
        intake = await take_in(
            new,
            Branch(parent=root, hashed=root, depth=0, queue=ROOT, context_version=0),
            namespace=request.namespace,
            events=(),
            now=now,
            counter=self._counter,
            largest=sys.maxsize,
        )
        head = Head(instructions.without_functions(), request.application, limit=0)
        context = MainContext(head, Queue(nothing, list(intake.nodes)), self._counter)
        tip = intake.nodes[-1]
        author = Author(tip.id, NO_TURN)
        return Opening(author, tip.depth, ROOT, intake, context, 0, remembers=False)

    async def _placed(self, request: TurnRequest, now: datetime) -> tuple[Transcript, Place]:
        """Return what was sent and its place; the next that begins like it is recognised."""
        if request.stops or len(request.messages) <= _MANY:
            sent = _transcript(request, now)
        else:
            sent = await asyncio.to_thread(_transcript, request, now)
        place = await self._reconciler.place(sent)
        self._beginnings.keep(sent.namespace, sent.messages, sent.keys, request.stops)
        return sent, place

    async def _events(self, request: TurnRequest, place: Place, now: datetime) -> list[Message]:
        """Return what has happened since this branch was last continued."""
        if not _user_speaks(request.messages):
            return []
        last, state = place.last, place.state
        events = []
        users = (node for node in reversed(state.nodes) if node.role is Role.USER)
        spoke = next(users, None)  # a reply may have ended on the next day, and told nobody
        if spoke is None or said_on(spoke, now) != now.date():
            events.append(alerts.today(now.date()))
        seen = _seen(state)
        if not place.begins and not self._live and last and seen != state.context.version:
            with suppress(StoreAway):  # then it is told when the store is back
                before = await self._store.context_at(request.namespace, seen)
                if changed := changes(before.content, state.context.content):
                    events.append(alerts.working_context_changed(changed))
        return events


def _transcript(request: TurnRequest, now: datetime) -> Transcript:
    asked = request.conversation
    named = Named(asked.root, asked.resends) if asked else None
    contents, keys = names(request.namespace, request.messages, request.root, request.stops)
    return Transcript(
        namespace=request.namespace,
        messages=request.messages,
        contents=contents,
        keys=keys,
        named=named,
        is_retry=request.is_retry,
        now=now,
        history=history(request.messages),
        after=request.after,
    )


def _opening(
    turn: TurnId,
    tip: Node,
    intake: Intake,
    context: MainContext,
    seen: int,
    left: Left,
    named: Named | None,
) -> Opening:
    return Opening(
        author=Author(tip.id, turn),
        depth=tip.depth,
        key=tip.key if tip.key != tip.id else ROOT,
        intake=intake,
        context=context,
        context_version=seen,
        fork=left.fork,
        undone=left.undone,
        named=Named(named.root, left.place.resends) if named else None,
    )


def _end_of_history(sent: Transcript, place: Place) -> NodeId:
    """Return the last message of a history that we have not replied to before, if it is one.

    All that is said after it, by however many programs, goes on with one queue.
    """
    if place.begins or not sent.history:
        return ROOT
    new = place.new[: max(0, sent.history - len(sent.messages) + len(place.new))]
    contents = [message.content for message in new]
    return chain(sent.namespace, contents, place.hashed)[-1] if contents else place.parent


def _user_speaks(messages: Sequence[Message]) -> bool:
    """Return whether the newest words are a user's; instructions may stand behind them."""
    roles = (message["role"] for message in reversed(messages))
    return next((role for role in roles if role not in ("system", "developer")), "") == "user"


def _answered(sent: Transcript, place: Place) -> Place:
    """Answer the calls that a client has left behind, who sends its newest messages only.

    Backends refuse calls without results, and this client could not mend its history.
    """
    newest_only = sent.after is not None or (sent.named is not None and not sent.history)
    if not newest_only or place.last is None or not place.new:
        return place
    results = _results(place)
    given = {new.message["tool_call_id"] for new in results}
    missing = [name for name in open_calls(_newest_group(place.state.nodes)) if name not in given]
    if not missing:
        return place
    messages = ({"role": "tool", "tool_call_id": name, "content": _NO_RESULT} for name in missing)
    made = [NewMessage(message, content_id(message), ROOT) for message in messages]
    return replace(place, new=[*results, *made, *place.new[len(results) :]])


def _newest_group(nodes: Sequence[Node]) -> Sequence[Node]:
    """Return the last message with the results of tools that follow it."""
    results = sum(1 for _ in takewhile(lambda node: node.role is Role.TOOL, reversed(nodes)))
    return nodes[-results - 1 :]


def _results(place: Place) -> Sequence[NewMessage]:
    """Return the results of tools that come first among the new messages."""
    return list(takewhile(lambda new: new.message["role"] == "tool", place.new))


def _check_results(place: Place) -> None:
    """The results of a tool follow the reply that has called it."""
    if place.last and place.last.role is Role.TOOL:
        return
    called = frozenset(open_calls([place.last])) if place.last else frozenset()
    for result in _results(place):
        if (call := result.message["tool_call_id"]) not in called:
            raise UnknownCall(call)


def _seen(state: TurnState) -> int:
    """Return the version that a branch has seen; a later one than there is was erased since."""
    newest = state.context.version
    return min(state.nodes[-1].context_version, newest) if state.nodes else newest
