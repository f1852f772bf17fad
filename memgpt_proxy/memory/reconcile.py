"""Reconciling a client's transcript with the stored tree: what is new, and where it hangs.

A client may send all of its history, or only the end of it, or its newest message in a
conversation that it names; it may have edited a message, deleted some, or written our
replies otherwise. What it sends is history up to the last reply, and
events after it: only events are new utterances, history that we have is never said twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import chain as chain_iterables
from itertools import pairwise, repeat, takewhile

from memgpt_proxy.errors import UnknownReply
from memgpt_proxy.memory.elsewhere import Elsewhere, Found, Unknown
from memgpt_proxy.memory.likeness import child_like, child_that_says
from memgpt_proxy.memory.transcript import Message, chain
from memgpt_proxy.stores.protocols import TranscriptStore
from memgpt_proxy.stores.records import (
    ROOT,
    ContentId,
    Conversation,
    Namespace,
    Node,
    NodeId,
    Role,
    TurnState,
)
from memgpt_proxy.values import dataclass

_ANY = tuple(Role)
_REPLIES = (Role.ASSISTANT,)
_NOT_USERS = tuple(role for role in Role if role is not Role.USER)
_RETRY_SECONDS = 1200.0
"""How long after a message its client may send it again: OpenAI's SDKs wait ten minutes, twice."""


@dataclass(frozen=True, slots=True)
class Named:
    """The name that a client gives its conversation.

    Attributes:
        root: Hash of it.
        resends: Clients of this kind send their history along.
    """

    root: NodeId
    resends: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a client has sent.

    Attributes:
        messages: Without its leading instructions.
        contents: What each says by itself.
        keys: What each would be found by as the client writes it.
        named: The conversation's name, if it has one.
        is_retry: The client says that it repeats a request.
        now: The time, in the time zone of whoever sends it.
        history: How many messages there are up to the last one that we may have sent.
        after: The reply that they go on from, where the client names it.
    """

    namespace: Namespace
    messages: Sequence[Message]
    contents: Sequence[ContentId]
    keys: Sequence[NodeId]
    named: Named | None
    is_retry: bool
    now: datetime
    history: int
    after: NodeId | None = None

    @property
    def root(self) -> NodeId:
        """What the first message of the conversation hangs on."""
        return self.named.root if self.named else ROOT


def history(messages: Sequence[Message]) -> int:
    """Return how many messages there are up to the last one that we may have sent ourselves."""
    for index in range(len(messages), 0, -1):
        if messages[index - 1]["role"] == "assistant":
            return index
    return 0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored.

    Attributes:
        key: What a resend will be found by; empty where that is its id.
        original: The message of another branch that it says again.
    """

    message: Message
    content: ContentId
    key: NodeId
    original: Node | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transcript stands in the tree.

    Attributes:
        state: As of the last known message, if any is known.
        new: The messages after it.
        parent: What the new messages hang on.
        hashed: What the first new id is made from: the parent, or what tells a conversation
            from an older one that opens with its words.
        begins: The conversation begins here, or begins again.
        conversation: The named conversation so far.
        resends: The client was seen to send its history along.
        by_name: The client has named the message that it goes on from.
    """

    state: TurnState
    new: Sequence[NewMessage]
    parent: NodeId
    hashed: NodeId
    begins: bool
    conversation: Conversation | None = None
    resends: bool = False
    by_name: bool = False

    @property
    def last(self) -> Node | None:
        """The last known message."""
        return self.state.nodes[-1] if self.state.nodes else None

    @property
    def left(self) -> list[Node]:
        """What was said instead after the last known message, and is left behind now.

        Another reply to the same message always is. Another message of the user is an edited
        one where it follows a reply of ours or its conversation has a name; else it may be
        one of many that a program sends after the same beginning, which stand side by side.
        So do all that are said after a message which the client names.
        """
        edits = bool(self.conversation or (self.last and self.last.turn))
        again = self.last is not None and self.last.abandoned  # by then all below it are, too
        roles = _REPLIES if self.by_name else _ANY if edits else _NOT_USERS
        return [
            node
            for node in self.state.after
            if node.role in roles and node.parent == self.parent and (again or not node.abandoned)
        ]


class Reconciler:
    """Finds the place of transcripts."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._elsewhere = Elsewhere(store)

    async def place(self, sent: Transcript) -> Place:
        """Return where ``sent`` stands. Raises StoreError, UnknownReply."""
        if sent.after is not None:
            return await self._continued(sent, sent.after)
        conversation = await self._conversation(sent)
        if conversation and not sent.history and not _resends(sent, conversation):
            return await self._gone_on(sent, conversation)
        keys = sent.keys
        state = await self._store.read_turn(sent.namespace, keys, enough=sent.history)
        if state.known < sent.history:
            return await self._aligned(sent, keys, state, conversation)
        if not sent.named and not sent.history and _is_old(state, sent):
            return _begun_again(sent, keys, state)
        if conversation and not state.known:
            after = await self._store.after(sent.namespace, sent.root)
            state = replace(state, after=after)
        return _place(sent, keys, state, state.known, conversation)

    async def _continued(self, sent: Transcript, after: NodeId) -> Place:
        """Place what goes on from a message that the client names; some may be sent again."""
        state = await self._store.read_turn(sent.namespace, [after, *sent.keys], enough=1)
        if not state.known:
            raise UnknownReply
        known, last = state.known - 1, state.nodes[-1]
        keys = chain(sent.namespace, sent.contents[known:], last.key)
        new = [
            NewMessage(sent.messages[at], sent.contents[at], key)
            for at, key in enumerate(keys, start=known)
        ]
        conversation = await self._conversation(sent)
        return Place(state, new, last.id, last.id, False, conversation, by_name=True)

    async def _conversation(self, sent: Transcript) -> Conversation | None:
        if sent.named is None:
            return None
        return await self._store.conversation(sent.namespace, sent.named.root)

    async def _gone_on(self, sent: Transcript, conversation: Conversation) -> Place:
        """Place the newest messages of a client that sends nothing else."""
        before = await self._repeated(sent, conversation)
        tip = before.id if before else conversation.tip
        state = await self._store.read_turn(sent.namespace, [tip], enough=1)
        return _place(sent, None, state, len(sent.messages) if before else 0, conversation)

    async def _repeated(self, sent: Transcript, conversation: Conversation) -> Node | None:
        """Return the last of these messages if the conversation has just come to them.

        The same words may well be meant as new ones: they repeat a request only where the
        client says so, or where it never got all of its reply.
        """
        length = len(sent.messages)
        path = await self._store.path(sent.namespace, conversation.tip, length + 1)
        replied = path and path[-1].role is Role.ASSISTANT
        if replied and path[-1].complete and not sent.is_retry:
            return None
        said = path[:-1] if replied else path
        contents = [node.content for node in said[-length:]]
        return said[-1] if contents == list(sent.contents) else None

    async def _aligned(
        self,
        sent: Transcript,
        keys: Sequence[NodeId],
        state: TurnState,
        conversation: Conversation | None,
    ) -> Place:
        """Place a transcript of which some history is not known as it is written."""
        walk = _Walk(sent, state)
        walk.through_rewritten()
        rest: Found = []
        if walk.at < sent.history:
            rest = walk.along(await self._elsewhere.find(walk.unknown(conversation)))
        state = await self._as_of(walk.last, state, sent)
        if not rest:
            walk.after = state.after
            walk.through_rewritten()
            walk.through_events()
            state = await self._as_of(walk.last, state, sent)
        complete = walk.top is None or walk.top.parent == sent.root
        return _place(sent, keys if complete else None, state, walk.at, conversation, rest)

    async def _as_of(self, last: Node | None, state: TurnState, sent: Transcript) -> TurnState:
        """Return the state as of ``last``, which the walk has come to."""
        before = _last(state)
        if last is None or (before and before.id == last.id):
            return state
        return await self._store.read_turn(sent.namespace, [last.id], enough=1)


class _Walk:
    """The way through a transcript, along messages that are known.

    Attributes:
        at: How many messages are known.
        last: The last of them.
        after: What is known to follow it.
        top: The first message of a run that is not anchored at the beginning.
    """

    def __init__(self, sent: Transcript, state: TurnState) -> None:
        self.sent = sent
        self.at = state.known
        self.last = _last(state)
        self.after = state.after
        self.top: Node | None = None

    def through_rewritten(self) -> None:
        """Go on along replies that the client writes otherwise, and what it says after them."""
        while self.last and self.at < self.sent.history:
            content, message = self.sent.contents[self.at], self.sent.messages[self.at]
            child = child_that_says(content, self.last, self.after)
            child = child or child_like(message, self.last, self.after)
            if child is None:
                return
            self._go(child)

    def through_events(self) -> None:
        """Go on along events that were sent before, once all history is known."""
        while self.last and self.sent.history <= self.at < len(self.sent.messages):
            child = child_that_says(self.sent.contents[self.at], self.last, self.after)
            if child is None:
                return
            self._go(child)

    def unknown(self, conversation: Conversation | None) -> Unknown:
        """Return the history from here on."""
        sent = self.sent
        return Unknown(
            namespace=sent.namespace,
            messages=sent.messages[self.at : sent.history],
            contents=sent.contents[self.at : sent.history],
            last=self.last,
            after=self.after,
            tip=conversation.tip if conversation else None,
        )

    def along(self, found: Found) -> Found:
        """Go on along what was found, where it follows; return the rest.

        A run that does not begin where we stand is gone along if nothing is known before it
        and it is all of the history: the client has dropped what came before.
        """
        run = list(takewhile(lambda node: node is not None, found))
        if self.last is None and _is_run(run) and not any(found[len(run) :]):
            self.top = run[0]
            self.last, self.at = run[-1], self.at + len(run)
            return []
        parent = self.last.id if self.last else self.sent.root
        rest = list(found)
        while rest and (node := rest[0]) and node.parent == parent:
            self._go(node)
            parent = node.id
            rest.pop(0)
        return rest

    def _go(self, node: Node) -> None:
        self.last = node
        self.at += 1


def said_on(node: Node, now: datetime) -> date:
    """Return the day on which a message was said, in the time zone of ``now``."""
    return datetime.fromtimestamp(node.created, now.tzinfo).date()


def _place(
    sent: Transcript,
    keys: Sequence[NodeId] | None,
    state: TurnState,
    known: int,
    conversation: Conversation | None,
    originals: Sequence[Node | None] = (),
) -> Place:
    parent = state.nodes[-1].id if state.nodes else sent.root
    return Place(
        state=state,
        new=_new(sent, keys, known, originals),
        parent=parent,
        hashed=parent,
        begins=not sent.history and not (conversation and keys is None and state.nodes),
        conversation=conversation,
        resends=conversation is not None and bool((sent.history and keys) or conversation.resends),
    )


def _begun_again(sent: Transcript, keys: Sequence[NodeId], state: TurnState) -> Place:
    """Place a conversation that opens with the very words of one of another day."""
    fresh = TurnState(0, (), None, state.context, state.counts)
    new = _new(sent, keys, 0, ())
    return Place(fresh, new, sent.root, NodeId(sent.now.date().isoformat()), begins=True)


def _new(
    sent: Transcript,
    keys: Sequence[NodeId] | None,
    known: int,
    originals: Sequence[Node | None],
) -> list[NewMessage]:
    rest = range(known, len(sent.messages))
    found = chain_iterables(originals, repeat(None))
    return [
        NewMessage(sent.messages[at], sent.contents[at], keys[at] if keys else ROOT, original)
        for at, original in zip(rest, found, strict=False)
    ]


def _resends(sent: Transcript, conversation: Conversation) -> bool:
    return conversation.resends or (sent.named is not None and sent.named.resends)


def _is_old(state: TurnState, sent: Transcript) -> bool:
    """Return whether all of an opening was said before, on another day: a retry is no new one."""
    if state.known < len(sent.messages):
        return False
    last = state.nodes[-1]
    if sent.is_retry and sent.now.timestamp() - last.created < _RETRY_SECONDS:
        return False
    return said_on(last, sent.now) != sent.now.date()


def _is_run(found: Sequence[Node | None]) -> bool:
    """Return whether each message follows the one before."""
    if not found or found[0] is None:
        return False
    return all(b is not None and a is not None and b.parent == a.id for a, b in pairwise(found))


def _last(state: TurnState) -> Node | None:
    return state.nodes[-1] if state.nodes else None
