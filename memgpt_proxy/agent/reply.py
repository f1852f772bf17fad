"""The reply of a turn: what of the model's output the client sees, while it arrives.

Inner thoughts, memory calls and their results stay here; the text of ``send_message``
is decoded out of its streaming arguments, the client's own tool calls go through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from functools import cached_property
from secrets import token_hex
from typing import Any

from memgpt_proxy.agent.functions import FUNCTIONS, HEARTBEAT, SEND_MESSAGE
from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.spoken import SpokenMessage, message_of
from memgpt_proxy.memory.alerts import BEGINNINGS
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.values import dataclass
from memgpt_proxy.wire.arguments import is_json, parse_json
from memgpt_proxy.wire.chat import Choice, Chunk
from memgpt_proxy.wire.content import ContentGate
from memgpt_proxy.wire.step import CallInProgress, Progress, StepReader
from memgpt_proxy.wire.thinking import Beginning

_BETWEEN_MESSAGES = "\n\n"
_SEVERAL = "multi_tool_use.parallel"
"""What OpenAI's older models call by mistake, with other calls in its arguments."""
_NO_ARGUMENTS = "{}"
CUT_SHORT = frozenset({"length", "content_filter"})
"""Reasons for an end that came too early."""


@dataclass(slots=True)
class Text:
    """Text of the reply."""

    text: str


class Kind(StrEnum):
    """The kind of a call, as OpenAI tells it."""

    FUNCTION = "function"
    CUSTOM = "custom"
    """Its arguments are any text."""
    LEGACY = "function_call"
    """Of the deprecated ``functions``: one in a message, without an id."""


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of a call of the client's own tool; ``id`` and ``name`` come with the first."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    kind: Kind = Kind.FUNCTION


@dataclass(frozen=True, slots=True)
class Beside:
    """What a message has beside its text: a piece of its refusal, or annotations."""

    field: str
    value: str | list[Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """What of a chunk of a clean step goes to the client: its choices, and ``more`` fields."""

    choices: list[Choice]
    more: Mapping[str, Any]


Delta = Text | CallPart | Beside | Raw


@dataclass(frozen=True)
class Offer:
    """Whose functions the model may call in a turn, by name."""

    ours: Collection[str]
    theirs: Collection[str]
    clean: bool = False
    """The answer is the backend's own."""
    must_call: bool = False
    """The client wants one of its tools to be called."""
    legacy: bool = False
    """Theirs are the deprecated ``functions``."""
    unnamed: bool = False
    """Among theirs are tools of a kind whose names are not known here."""
    apart: bool = False
    """Memory has nothing to do with it: no function is ours, whatever its name."""

    @cached_property
    def own(self) -> frozenset[str]:
        """All functions of ours: a model may know more of them than it is offered now."""
        return frozenset() if self.apart else frozenset(FUNCTIONS).difference(self.theirs)

    @cached_property
    def known(self) -> frozenset[str]:
        """All functions that a call may be of."""
        return self.own.union(self.theirs)

    @property
    def awaits_client(self) -> bool:
        """Return whether the turn ends with what the client has asked for and nothing else."""
        return self.clean or self.must_call

    @cached_property
    def hears(self) -> bool:
        """Whether a ``send_message`` is heard: by habit some models call it unasked, too."""
        unasked = not self.awaits_client and SEND_MESSAGE not in self.theirs
        return SEND_MESSAGE in self.ours or unasked

    def is_theirs(self, name: str) -> bool:
        """Return whether a call of ``name`` is for the client to run."""
        if name in self.theirs or self.apart:
            return True
        return self.unnamed and name not in self.own and name != _SEVERAL


@dataclass(slots=True)
class ClientCall:
    """A call of the client's own tool; ``index`` is its place among them in the turn."""

    index: int
    id: str
    name: str
    arguments: str = ""
    kind: Kind = Kind.FUNCTION


@dataclass(frozen=True, slots=True)
class Audio:
    """A spoken reply: by what the backend knows it, and its words."""

    id: str
    transcript: str


@dataclass(slots=True)
class Reply:
    """What was said to the client in a turn so far."""

    limit: TextLimit
    calls: list[ClientCall] = field(default_factory=list)
    by_function: bool = False
    """Whether a ``send_message`` was among it."""
    messages: list[str] = field(default_factory=list)
    """The messages said, each whole once the next begins."""
    refusal: str = ""
    audio: Audio | None = None
    annotations: list[Any] = field(default_factory=list)
    _between: bool = True

    @property
    def text(self) -> str:
        """All text so far, as the client has it."""
        return self.text_from(0)

    def text_from(self, message: int) -> str:
        """Return the text of this message and those after it."""
        return _BETWEEN_MESSAGES.join(self.messages[message:])

    @property
    def answered(self) -> bool:
        """Whether anything was said."""
        return bool(self.messages or self.refusal or self.audio)

    @property
    def words(self) -> str:
        """What was said, for recall: spoken words and refusals, too."""
        return self.text or self.refusal or (self.audio.transcript if self.audio else "")

    def message(self) -> Message:
        """Return the reply as the client will send it back in its history."""
        return said_message(self.text, self.calls, self.refusal, self.audio)

    def say(self, text: str) -> list[Delta]:
        """Add text; return what of it goes to the client."""
        return self._seen(self.limit.feed(text)) if text else []

    def call(self, call: ClientCall) -> list[Delta]:
        """Add a call of the client's tool, whole or as far as it is known."""
        self.calls.append(call)
        return [CallPart(call.index, call.id, call.name, call.arguments, call.kind)]

    def refuse(self, text: str) -> list[Delta]:
        """Add to the refusal, which the client gets apart from the text."""
        self.refusal += text
        return [Beside("refusal", text)]

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
    """One function call of a finished step; ``extra`` goes back to the backend with it.

    ``cut``: the answer was cut short inside of it.
    """

    id: str
    name: str
    arguments: str
    kind: Kind = Kind.FUNCTION
    extra: Any = None
    cut: bool = False


def said_message(
    text: str,
    calls: Sequence[ClientCall | StepCall],
    refusal: str = "",
    audio: Audio | None = None,
) -> Message:
    """Return an assistant's message that says all this."""
    silence = None if calls or refusal or audio else ""
    message: Message = {"role": "assistant", "content": text or silence}
    if refusal:
        message["refusal"] = refusal
    if audio:
        message["audio"] = {"id": audio.id}
    if calls and calls[0].kind is Kind.LEGACY:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        message["tool_calls"] = [_tool_call(call) for call in calls]
    return message


def _tool_call(call: ClientCall | StepCall) -> dict[str, Any]:
    if call.kind is Kind.CUSTOM:
        custom = {"name": call.name, "input": call.arguments}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    told = {"id": call.id, "type": "function", "function": function}
    if isinstance(call, StepCall) and call.extra:
        told["extra_content"] = call.extra
    return told


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step, as the turn looks at it.

    Attributes:
        content: Its plain content, whatever that was.
        calls: The functions called, in order.
        finish_reason: As the backend gave it.
        reasoning: Fields of a message, for the backend only.
    """

    content: str
    calls: tuple[StepCall, ...]
    finish_reason: str | None
    refusal: str = ""
    audio: Audio | None = None
    reasoning: Mapping[str, Any] = field(default_factory=dict)


class StepListener:
    """Listens to one step and says at each chunk what the client may see of it.

    Args:
        reply: The turn's reply, which grows.
        offer: The functions of this turn.
        habit: What plain content of this model is.
        beginning: Where its content begins.
    """

    def __init__(
        self, reply: Reply, offer: Offer, habit: Habit, beginning: Beginning = Beginning.OUTSIDE
    ) -> None:
        self._reply = reply
        self._offer = offer
        self._content_is_reply = habit is not Habit.FUNCTION and not reply.by_function
        self._streams = habit is Habit.CONTENT and self._content_is_reply
        if not self._streams and beginning is Beginning.OUTSIDE:
            beginning = Beginning.UNKNOWN  # to wait for a closing tag costs nothing then
        self._gate = ContentGate(
            sorted(offer.known), beginning, own=sorted(offer.own), aside=BEGINNINGS
        )
        self._content: list[str] = []
        self._spoken: dict[int, SpokenMessage] = {}
        self._forwarded: dict[int, ClientCall] = {}
        self._silent: dict[int, CallInProgress] = {}  # the client's, without arguments so far

    @property
    def is_open(self) -> bool:
        """Whether more has to come: of one choice, its finish reason says that."""
        return False

    def hear(self, chunk: Chunk, progress: Progress) -> list[Delta]:
        """Take a chunk and what it added; return what goes to the client now."""
        deltas: list[Delta] = []
        if progress.reasoned:
            deltas += self._hear_content(self._gate.reasoned(waits=not self._streams))
        if progress.content:
            deltas += self._hear_content(self._gate.feed(progress.content))
        if progress.refusal:
            deltas += self._reply.refuse(progress.refusal)
        for call, arguments in progress.calls:
            if arguments:
                deltas += self._in_order(call) + self._hear_call(call, arguments)
            elif call.index not in self._forwarded and self._offer.is_theirs(call.name):
                self._silent[call.index] = call
        return deltas

    def close(self, reader: StepReader) -> tuple[list[Delta], Step]:
        """Return what is left for the client, and the step."""
        rest, found = self._gate.close(cut=reader.finish_reason in CUT_SHORT)
        deltas = self._hear_content(rest if self._content or not rest.isspace() else "")
        calls = step_calls(reader)
        calls += [StepCall(new_call_id(), call.name, call.text, cut=call.cut) for call in found]
        content = "".join(self._content)
        if not calls and not self._streams and _is_for_function(content):
            content, calls = "", [StepCall(new_call_id(), "", content)]
        if self._content_is_reply and not self._streams and not calls:
            deltas += self._reply.say(content)
        if content and self._content_is_reply and not calls:
            deltas += self._annotate(reader.annotations)
        for spoken in self._spoken.values():
            deltas += self._say_by_function(spoken.close())
        deltas += self._end_silent()
        decoded = (index for index, spoken in self._spoken.items() if spoken.found)
        heard = {*decoded, *self._forwarded}
        unheard = [call for at, call in enumerate(calls) if self._index(reader, at) not in heard]
        for call in unheard:
            deltas += self._say_whole(call)
        deltas += self._reply.end_message()
        reason, refusal, reasoning = reader.finish_reason, reader.refusal, reader.reasoning
        return deltas, Step(content, tuple(calls), reason, refusal, reasoning=reasoning)

    def note(self) -> None:
        """The reply says at any time what was shown."""

    def _annotate(self, annotations: list[Any]) -> list[Delta]:
        """Take the sources of a reply in content: they name places in its very text."""
        self._reply.annotations += annotations
        return [Beside("annotations", annotations)] if annotations else []

    def _hear_content(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._content.append(text)
        return self._reply.say(text) if self._streams else []

    def _hear_call(self, call: CallInProgress, arguments: str) -> list[Delta]:
        if (spoken := self._spoken.get(call.index)) is not None:
            return self._say_by_function(spoken.feed(arguments))
        if self._offer.is_theirs(call.name):
            return self._forward(call, arguments)
        if call.name == SEND_MESSAGE and self._says_at_once:
            return self._begin_to_say(call)
        return []

    @property
    def _says_at_once(self) -> bool:
        """A second message may repeat the first: it is heard whole before it is said."""
        return self._offer.hears and not self._spoken and not self._reply.messages

    def _begin_to_say(self, call: CallInProgress) -> list[Delta]:
        spoken = self._spoken[call.index] = SpokenMessage()
        before = self._reply.end_message()
        return before + self._say_by_function(spoken.feed(call.arguments))  # some came unnamed

    def _say_by_function(self, text: str) -> list[Delta]:
        """Say more of a message: a call that says nothing leaves content to be the reply."""
        self._reply.by_function |= bool(text)
        return self._reply.say(text)

    def _forward(self, call: CallInProgress, arguments: str) -> list[Delta]:
        known = self._forwarded.get(call.index)
        if known is None:
            return self._forward_begun(call)
        known.arguments += arguments
        return [CallPart(known.index, None, None, arguments, known.kind)]

    def _forward_begun(self, call: CallInProgress) -> list[Delta]:
        """Forward a call as it stands: its arguments may have begun before its name came."""
        known = self._forwarded[call.index] = self._client_call(step_call(call))
        return self._reply.call(known)

    def _in_order(self, call: CallInProgress) -> list[Delta]:
        """Forward calls that began before this one, and have no arguments so far."""
        deltas: list[Delta] = []
        if self._silent:
            self._silent.pop(call.index, None)
            for silent in self._silent.values():
                deltas += self._forward_begun(silent)
            self._silent.clear()
        return deltas

    def _end_silent(self) -> list[Delta]:
        """Give those forwarded calls their arguments that have got none."""
        deltas: list[Delta] = []
        for known in self._forwarded.values():
            if not known.arguments and known.kind is not Kind.CUSTOM:
                known.arguments = _NO_ARGUMENTS
                deltas.append(CallPart(known.index, None, None, _NO_ARGUMENTS, known.kind))
        return deltas

    def _say_whole(self, call: StepCall) -> list[Delta]:
        if self._offer.is_theirs(call.name):
            silent = "" if call.kind is Kind.CUSTOM else _NO_ARGUMENTS
            whole = replace(call, arguments=call.arguments or silent)
            return self._reply.call(self._client_call(whole))
        if call.name != SEND_MESSAGE or not self._offer.hears:
            return []
        before = self._reply.end_message()
        message = message_of(call.arguments)
        if message is None or message in self._reply.messages:
            return before
        self._reply.by_function = True
        return before + self._reply.say(message)

    def _client_call(self, call: StepCall) -> ClientCall:
        place = len(self._reply.calls)
        return ClientCall(place, call.id, call.name, call.arguments, call.kind)

    @staticmethod
    def _index(reader: StepReader, at: int) -> int:
        return reader.calls[at].index if at < len(reader.calls) else -1


def _is_for_function(content: str) -> bool:
    """Return whether content is the bare arguments of a function of ours, which is not named."""
    value = parse_json(content) if HEARTBEAT in content else None
    return isinstance(value, dict) and HEARTBEAT in value


def step_call(call: CallInProgress) -> StepCall:
    """Return a call as it stands; one without an id gets one, and keeps it."""
    kind = Kind.CUSTOM if call.custom else Kind.FUNCTION
    call.id = call.id or new_call_id()
    return StepCall(call.id, call.name, call.arguments, kind, call.extra)


def step_calls(reader: StepReader) -> list[StepCall]:
    """Return the calls of an answer as they stand; only the last can be cut short."""
    calls = [step_call(call) for call in reader.calls]
    if calls and reader.finish_reason in CUT_SHORT and not is_json(calls[-1].arguments):
        calls[-1] = replace(calls[-1], cut=True)
    return calls


def new_call_id() -> str:
    """Return a name for a call, as OpenAI's are: no other call of a conversation has it."""
    return f"call_{token_hex(12)}"
