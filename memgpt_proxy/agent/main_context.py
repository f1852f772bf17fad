"""The main context: the prompt of one step, composed so that its beginning stays the same.

One system message (instructions, the client's own system prompt, working context, what
external context holds), then the FIFO queue, its summary first. From one step to the
next it changes only at its end, except after a flush.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import orjson

from memgpt_proxy.agent import shortening
from memgpt_proxy.agent.shortening import LENGTHS, MediaCutter, TextCutter
from memgpt_proxy.memory.alerts import conversation_summary
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.tokens import PER_PART, TokenCounter
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.memory.working_context import grouped
from memgpt_proxy.stores.records import Counts, Node, QueueState, Role, WorkingContext
from memgpt_proxy.values import dataclass
from memgpt_proxy.wire.reasoning import without_reasoning

_MEMORY_LONGER = 4
"""Where texts are cut, summary and working context keep so many times as much."""

_SHORTEST_BESIDE_MEDIA = 128
"""Tokens that texts keep as long as there are images that could go instead."""

_REASONING = '"reasoning'
"""Begins the name of each field that holds some."""

Shorten = Callable[[Message], Message | None]
"""Returns a message shorter, as it was, or None where it goes."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the queue.

    Attributes:
        instructions: The MemGPT system instructions.
        application: The client's own system prompt; may be empty.
        limit: Size of the working context, in characters.
        live: The working context as it is now, where that is to be shown, not the snapshot.
    """

    instructions: str
    application: str
    limit: int
    live: WorkingContext | None = None


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The prompt up to the first message of the queue, as it is from flush to flush."""

    state: QueueState
    text: str
    tokens: int


class MainContext:
    """One turn's prompt: head, queue, and what the turn itself has added so far.

    Attributes:
        queue: The FIFO queue of the branch.
        added: Alerts, steps and results of this turn, in order.
    """

    def __init__(self, head: Head, queue: Queue, counter: TokenCounter) -> None:
        self.queue = queue
        self.added: list[Message] = []
        self._head = head
        self._counter = counter
        self._counted = 0
        self._added_tokens = 0
        self._beginning: _Beginning | None = None
        self._memory: TextCutter | None = None

    def add(self, message: Message) -> None:
        """Put an alert, a step or a result behind everything else."""
        self.added.append(message)

    def forget_reasoning(self) -> None:
        """Take the model's reasoning out of what the turn has added."""
        kept = [*map(without_reasoning, self.added)]
        if kept != self.added:
            self.added[:] = kept
            self._counted = self._added_tokens = 0

    def fit(self, room: int) -> bool:
        """Shorten what this prompt holds until it takes ``room`` tokens at most; whether it had to.

        For what cannot be evicted: the newest messages and what this turn has added. The model's
        reasoning goes first, then results of its own calls; then all texts are cut to one length,
        halved until they fit; before they are too short to understand, images go, oldest first; at
        last the oldest calls with their results. What is stored of earlier messages stays whole.
        Nothing is shortened where that would not help, for the instructions alone are too long.

        Args:
            room: Tokens of the prompt, without those of function declarations.
        """
        if self.tokens <= room or self._instructions() >= room:
            return False
        self._evict_reasoning()
        self._evict_results(room)
        for most in LENGTHS:
            if self.tokens <= room:
                return True
            self._shorten(TextCutter(most, self._counter).message, longer_than=most)
            self._cut_memory(most * _MEMORY_LONGER)
            if most == _SHORTEST_BESIDE_MEDIA:
                self._leave_out_media(room)
        self._drop_calls(room)
        return True

    def _evict_reasoning(self) -> None:
        for place, node in enumerate(self.queue.nodes):
            if _REASONING in node.entries:
                self.queue.nodes[place] = self._shorter(node, without_reasoning)
        self.forget_reasoning()

    def _evict_results(self, room: int) -> None:
        """Empty results of the model's own calls, oldest first, the last step's never.

        A model that reads page after page in one turn fills the window by itself.
        """
        surplus = self.tokens - room
        for place, node in enumerate(self.queue.nodes):
            if surplus > 0 and node.role is Role.ASSISTANT:
                emptied = self._shorter(node, shortening.without_result)
                surplus -= node.tokens - emptied.tokens
                self.queue.nodes[place] = emptied
        last = max((i for i, m in enumerate(self.added) if m["role"] == "assistant"), default=0)
        for place, message in enumerate(self.added[:last]):
            if surplus > 0 and message["role"] == "tool":
                empty = shortening.without_result(message)
                surplus -= self._saved(message, empty)
                self.added[place] = empty
                self._counted = self._added_tokens = 0

    def _saved(self, before: Message, after: Message) -> int:
        """Return what a message surely saves; counted among others it may be a token less."""
        return self._counter.messages([before]) - self._counter.messages([after]) - 1

    def _shorten(self, shorten: Shorten, longer_than: int = 0) -> None:
        """Shorten all messages, those excepted whose tokens say that they are short."""
        nodes = self.queue.nodes
        nodes[:] = [self._shorter(n, shorten) if n.tokens > longer_than else n for n in nodes]
        if self.added_tokens > longer_than:
            self.added[:] = _each(self.added, shorten)
            self._counted = self._added_tokens = 0

    def _shorter(self, node: Node, shorten: Shorten) -> Node:
        before: list[Message] = orjson.loads(node.entries)
        entries = _each(before, shorten)
        if entries == before:
            return node
        tokens = self._counter.messages(entries)
        return replace(node, entries=orjson.dumps(entries).decode(), tokens=tokens)

    def _cut_memory(self, most: int) -> None:
        self._memory = TextCutter(most, self._counter)
        self._beginning = None

    def _leave_out_media(self, room: int) -> None:
        while (surplus := self.tokens - room) > 0:
            cutter = MediaCutter(surplus // PER_PART + 1)
            self._shorten(cutter.message)
            if not cutter.found:
                return

    def _drop_calls(self, room: int) -> None:
        """Leave out calls with their results, the older half of them each time."""
        entries = [orjson.loads(node.entries) for node in self.queue.nodes]
        messages = [message for each in [*entries, self.added] for message in each]
        ids = [name for message in messages for name in shortening.call_ids(message)]
        while self.tokens > room and ids:
            oldest = {ids.pop(0) for _ in range((len(ids) + 1) // 2)}
            self._shorten(partial(shortening.without_calls, ids=oldest))

    @property
    def added_tokens(self) -> int:
        """Tokens of what the turn has added."""
        if self._counted < len(self.added):
            self._added_tokens += self._counter.messages(self.added[self._counted :])
            self._counted = len(self.added)
        return self._added_tokens

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt without tools, uncalibrated."""
        return self._begin().tokens + self.queue.tokens + self.added_tokens

    def messages(self) -> orjson.Fragment:
        """Return the prompt as the JSON array of its messages."""
        parts = [self._begin().text]
        parts += [entries for node in self.queue.nodes if (entries := node.entries[1:-1])]
        if self.added:
            parts.append(orjson.dumps(self.added)[1:-1].decode())
        return orjson.Fragment(f"[{','.join(parts)}]")

    def _begin(self) -> _Beginning:
        """Return the system message and the summary; written anew only after a flush."""
        state = self.queue.state
        if self._beginning is None or self._beginning.state is not state:
            messages = self._first_messages(state)
            tokens = sum(self._counter.remembered(each["content"]) for each in messages)
            self._beginning = _Beginning(state, orjson.dumps(messages)[1:-1].decode(), tokens)
        return self._beginning

    def _first_messages(self, state: QueueState) -> list[Message]:
        context, summary = (self._head.live or state.context).content, state.summary
        if self._memory is not None:
            context, summary = self._memory.text(context), self._memory.text(summary)
        system = "\n\n".join(
            [
                _told(self._head),
                _working_context(context, self._head.limit),
                _external_context(state.counts),
            ]
        )
        first: list[Message] = [{"role": "system", "content": system}]
        return [*first, conversation_summary(summary)] if summary else first

    def _instructions(self) -> int:
        """Return the tokens of what no shortening touches."""
        return self._counter.remembered(_told(self._head))


def _each(messages: Sequence[Message], shorten: Shorten) -> list[Message]:
    return [shorter for message in messages if (shorter := shorten(message)) is not None]


def _told(head: Head) -> str:
    """Return what the operator and the client tell the model."""
    if not head.application:
        return head.instructions
    return f"{head.instructions}\n\n# Application\n{head.application}"


def application_prompt(instructions: Sequence[str]) -> str:
    """Return a client's leading system and developer messages as one text."""
    return "\n\n".join(text for text in instructions if text)


def _working_context(content: str, limit: int) -> str:
    use = f"{grouped(len(content))} / {grouped(limit)} characters"
    if len(content) > limit:  # written for a larger window
        content = f"{content[:limit]}…"
    return f"# Working context ({use})\n{content}".rstrip("\n")


def _external_context(counts: Counts) -> str:
    return (
        "# External context\n"
        f"Recall storage holds {_number(counts.messages, 'message')}. "
        f"Archival storage holds {_number(counts.passages, 'passage')}."
    )


def _number(count: int, what: str) -> str:
    return f"{grouped(count)} {what}" if count == 1 else f"{grouped(count)} {what}s"
