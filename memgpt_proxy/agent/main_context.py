"""The main context: the prompt of one step, composed so that its beginning stays the same.

One system message (instructions, the client's own system prompt, working context, what
external context holds), then the FIFO queue, its summary first. From one step to the
next it changes only at its end, except after a flush (DESIGN, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from memgpt_proxy.memory.alerts import conversation_summary
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.memory.working_context import grouped
from memgpt_proxy.stores.records import Counts, QueueState, WorkingContext

_EVICTED = "(This result was evicted from the queue. Make the call again if you need it.)"


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

    def add(self, message: Message) -> None:
        """Put an alert, a step or a result behind everything else."""
        self.added.append(message)

    def evict_results(self, surplus: int) -> None:
        """Empty the oldest results of this turn's own calls, the last step's excepted.

        A model that reads page after page in one turn fills the window by itself.

        Args:
            surplus: Tokens to make room for.
        """
        self._counted = self._added_tokens = 0
        target = max(0, self.added_tokens - surplus)
        last = max((i for i, m in enumerate(self.added) if m["role"] == "assistant"), default=0)
        for message in self.added[:last]:
            if self.added_tokens <= target:
                return
            if message["role"] == "tool":
                message["content"] = _EVICTED
                self._counted = self._added_tokens = 0

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
            system = _system(self._head, state)
            messages: list[Message] = [{"role": "system", "content": system}]
            tokens = self._counter.remembered(system)
            if state.summary:
                messages.append(conversation_summary(state.summary))
                tokens += self._counter.remembered(state.summary)
            self._beginning = _Beginning(state, orjson.dumps(messages)[1:-1].decode(), tokens)
        return self._beginning


def _system(head: Head, state: QueueState) -> str:
    sections = [head.instructions]
    if head.application:
        sections.append(f"# Application\n{head.application}")
    sections.append(_working_context(head.live or state.context, head.limit))
    sections.append(_external_context(state.counts))
    return "\n\n".join(sections)


def application_prompt(instructions: Sequence[str]) -> str:
    """Return a client's leading system and developer messages as one text."""
    return "\n\n".join(text for text in instructions if text)


def _working_context(context: WorkingContext, limit: int) -> str:
    use = f"{grouped(len(context.content))} / {grouped(limit)} characters"
    return f"# Working context ({use})\n{context.content}".rstrip("\n")


def _external_context(counts: Counts) -> str:
    return (
        "# External context\n"
        f"Recall storage holds {_number(counts.messages, 'message')}. "
        f"Archival storage holds {_number(counts.passages, 'passage')}."
    )


def _number(count: int, what: str) -> str:
    return f"{grouped(count)} {what}" if count == 1 else f"{grouped(count)} {what}s"
