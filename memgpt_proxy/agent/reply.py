"""The reply of a turn: what of the model's output the client sees, while it arrives.

Inner thoughts, memory calls and their results stay here; the text of ``send_message``
is decoded out of its streaming arguments, the client's own tool calls go through.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from memgpt_proxy.agent.functions import SEND_MESSAGE
from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.wire.arguments import parse_arguments
from memgpt_proxy.wire.chat import Choice, Chunk
from memgpt_proxy.wire.content import ContentGate
from memgpt_proxy.wire.step import CallInProgress, Progress, StepReader
from memgpt_proxy.wire.string_field import StringFieldDecoder

_BETWEEN_MESSAGES = "\n\n"


@dataclass(slots=True)
class Text:
    """Text of the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of a call of the client's own tool; ``id`` and ``name`` come with the first."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Raw:
    """A chunk of a clean step, which goes to the client as it came."""

    chunk: Chunk


Delta = Text | CallPart | Raw


@dataclass(frozen=True, slots=True)
class Offer:
    """Whose functions the model may call in a turn, by name."""

    ours: Collection[str]
    theirs: Collection[str]
    clean: bool = False
    """No function of ours is offered, so that every call is for the client."""

    def is_theirs(self, name: str) -> bool:
        """Return whether a call of ``name`` is for the client to run."""
        return self.clean or name in self.theirs


@dataclass(slots=True)
class ClientCall:
    """A call of the client's own tool; ``index`` is its place among them in the turn."""

    index: int
    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Reply:
    """What was said to the client in a turn so far."""

    limit: TextLimit
    calls: list[ClientCall] = field(default_factory=list)
    by_function: bool = False
    """Whether a ``send_message`` was among it."""
    messages: list[str] = field(default_factory=list)
    """The messages said, each whole once the next begins."""
    _between: bool = True

    @property
    def text(self) -> str:
        """All text so far, as the client has it."""
        return self.text_from(0)

    def text_from(self, message: int) -> str:
        """Return the text of this message and those after it."""
        return _BETWEEN_MESSAGES.join(self.messages[message:])

    def message(self) -> Message:
        """Return the reply as the client will send it back in its history."""
        silence = None if self.calls else ""
        message: Message = {"role": "assistant", "content": self.text or silence}
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.calls
            ]
        return message

    def say(self, text: str) -> list[Delta]:
        """Add text; return what of it goes to the client."""
        return self._seen(self.limit.feed(text)) if text else []

    def call(self, call: ClientCall) -> list[Delta]:
        """Add a call of the client's tool, whole or as far as it is known."""
        self.calls.append(call)
        return [CallPart(call.index, call.id, call.name, call.arguments)]

    def end_message(self) -> list[Delta]:
        """Return what was held back for a stop text that never came; a new message may begin."""
        rest = self._seen(self.limit.close())
        self._between = True
        return rest

    def _seen(self, text: str) -> list[Delta]:
        if not text:
            return []
        if not self._between:
            self.messages[-1] += text
            return [Text(text)]
        self._between = False
        self.messages.append(text)
        return [Text(_BETWEEN_MESSAGES + text if len(self.messages) > 1 else text)]


@dataclass(frozen=True, slots=True)
class StepCall:
    """One function call of a finished step."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step, as the turn looks at it.

    Attributes:
        content: Its plain content, whatever that was.
        calls: The functions called, in order.
        finish_reason: As the backend gave it.
    """

    content: str
    calls: tuple[StepCall, ...]
    finish_reason: str | None


class StepListener:
    """Listens to one step and says at each chunk what the client may see of it.

    Args:
        reply: The turn's reply, which grows.
        offer: The functions of this turn.
        habit: What plain content of this model is.
    """

    def __init__(self, reply: Reply, offer: Offer, habit: Habit) -> None:
        self._reply = reply
        self._offer = offer
        self._gate = ContentGate([*offer.ours, *offer.theirs])
        self._content_is_reply = habit is not Habit.FUNCTION and not reply.by_function
        self._streams = habit is Habit.CONTENT and self._content_is_reply
        self._content: list[str] = []
        self._decoders: dict[int, StringFieldDecoder] = {}
        self._forwarded: dict[int, ClientCall] = {}

    def hear(self, chunk: Chunk, progress: Progress) -> list[Delta]:
        """Take a chunk and what it added; return what goes to the client now."""
        deltas = self._hear_content(self._gate.feed(progress.content)) if progress.content else []
        for call, arguments in progress.calls:
            if arguments:
                deltas += self._hear_call(call, arguments)
        return deltas

    def close(self, reader: StepReader) -> tuple[list[Delta], Step]:
        """Return what is left for the client, and the step."""
        rest, found = self._gate.close()
        deltas = self._hear_content(rest)
        calls = [StepCall(c.id or f"call_{c.index}", c.name, c.arguments) for c in reader.calls]
        calls += [StepCall(f"call_text_{n}", c.name, c.text) for n, c in enumerate(found)]
        content = "".join(self._content)
        if self._content_is_reply and not self._streams and not calls:
            deltas += self._reply.say(content)
        if not content and not calls:
            deltas += self._reply.say(reader.refusal)
        decoded = (index for index, decoder in self._decoders.items() if decoder.found)
        heard = {*decoded, *self._forwarded}
        unheard = [call for at, call in enumerate(calls) if self._index(reader, at) not in heard]
        for call in unheard:
            deltas += self._say_whole(call)
        deltas += self._reply.end_message()
        return deltas, Step(content, tuple(calls), reader.finish_reason)

    def _hear_content(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._content.append(text)
        return self._reply.say(text) if self._streams else []

    def _hear_call(self, call: CallInProgress, arguments: str) -> list[Delta]:
        if self._offer.is_theirs(call.name):
            return self._forward(call, arguments)
        if call.name == SEND_MESSAGE and self._says_at_once(call.index):
            return self._say_part(call.index, arguments)
        return []

    def _says_at_once(self, index: int) -> bool:
        """A second message may repeat the first: it is heard whole before it is said."""
        first = not self._decoders and not self._reply.messages
        return SEND_MESSAGE in self._offer.ours and (first or index in self._decoders)

    def _say_part(self, index: int, arguments: str) -> list[Delta]:
        before: list[Delta] = []
        decoder = self._decoders.get(index)
        if decoder is None:
            decoder = self._decoders[index] = StringFieldDecoder("message")
            before = self._reply.end_message()
            self._reply.by_function = True
        return before + self._reply.say(decoder.feed(arguments))

    def _forward(self, call: CallInProgress, arguments: str) -> list[Delta]:
        known = self._forwarded.get(call.index)
        if known is None:
            known = self._client_call(call.id or f"call_{call.index}", call.name, arguments)
            self._forwarded[call.index] = known
            return self._reply.call(known)
        known.arguments += arguments
        return [CallPart(known.index, None, None, arguments)]

    def _say_whole(self, call: StepCall) -> list[Delta]:
        if self._offer.is_theirs(call.name):
            return self._reply.call(self._client_call(call.id, call.name, call.arguments or "{}"))
        if call.name != SEND_MESSAGE or SEND_MESSAGE not in self._offer.ours:
            return []
        before = self._reply.end_message()
        message = (parse_arguments(call.arguments) or {}).get("message")
        if not isinstance(message, str) or message in self._reply.messages:
            return before
        self._reply.by_function = True
        return before + self._reply.say(message)

    def _client_call(self, call_id: str, name: str, arguments: str) -> ClientCall:
        return ClientCall(len(self._reply.calls), call_id, name, arguments)

    @staticmethod
    def _index(reader: StepReader, at: int) -> int:
        return reader.calls[at].index if at < len(reader.calls) else -1


class CleanListener:
    """Listens to a clean step: the client sees its chunks as they come, all choices."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def hear(self, chunk: Chunk, progress: Progress) -> list[Delta]:
        """Return the chunk itself; one that only tells the usage is not for the client."""
        choices = chunk.get("choices")
        for choice in choices or ():
            _without_reasoning(choice)
        return [Raw(chunk)] if choices else []

    def close(self, reader: StepReader) -> tuple[list[Delta], Step]:
        """Return nothing more, and the step: its first choice is what is remembered."""
        self._reply.messages.append(reader.content)
        calls = tuple(StepCall(call.id, call.name, call.arguments) for call in reader.calls)
        for index, call in enumerate(calls):
            self._reply.call(ClientCall(index, call.id, call.name, call.arguments))
        return [], Step(reader.content, calls, reader.finish_reason)


def _without_reasoning(choice: Choice) -> None:
    """Inner thoughts stay here, in whichever field a backend puts them."""
    delta = choice.get("delta") or {}
    delta.pop("reasoning_content", None)
    delta.pop("reasoning", None)
