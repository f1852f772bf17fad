"""One backend response, gathered from its chunks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from memgpt_proxy.wire.call_names import true_name
from memgpt_proxy.wire.chat import (
    Choice,
    Chunk,
    CustomDelta,
    Delta,
    FunctionCallDelta,
    ToolCallDelta,
    Usage,
    counted,
)
from memgpt_proxy.wire.reasoning import Reasoning
from memgpt_proxy.wire.shape import MalformedChunk, is_chunk

MORE = frozenset({"moderation", "metadata", "citations", "search_results", "provider"})
_GOES_ON = 2
"""Fields of a piece that only goes on with a call, as nearly all do: its index and the function."""
_FAILED = "error"
"""OpenRouter's reason to finish where whoever it asks has failed amid an answer."""
_DESCRIPTION = ("id", "created", "model", "system_fingerprint", "service_tier")


class CallInProgress:
    """A function call of the model while it arrives; `id` and `name` are "" until known."""

    __slots__ = ("_arguments", "custom", "extra", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.custom = False
        """Of a custom tool, whose arguments are any text."""
        self.extra: Any = None
        """What Gemini adds to a call and demands to get back with it: its thought's signature."""
        self._arguments: list[str] = []

    @property
    def arguments(self) -> str:
        """The text of the arguments so far."""
        return _joined(self._arguments)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments so far are a whole object, behind which nothing can come."""
        if self.custom or not self.arguments.rstrip().endswith("}"):
            return False
        try:
            return isinstance(orjson.loads(self.arguments), dict)
        except orjson.JSONDecodeError:
            return False

    def add(self, function: FunctionCallDelta) -> str:
        """Take a piece of the call; return what it adds to the arguments' text."""
        if not self.name and (name := function.get("name")):
            self.name = "" + name  # a TypeError for what is no text
        arguments = function.get("arguments")
        if not arguments and arguments != {}:
            return ""
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        self._arguments.append(text)
        return text


@dataclass(slots=True)
class Progress:
    """What one chunk added: text, and for each call it touched the new arguments' text."""

    content: str = ""
    refusal: str = ""
    reasoned: bool = False
    """It had reasoning, apart from the content."""
    calls: Sequence[tuple[CallInProgress, str]] = ()


class StepReader:
    """Gathers the chunks of one backend response; of several choices, the one at index 0.

    `finish_reason`, `usage` and `error` are None until a chunk says them. `error` is the object
    that some backends send as an event in the middle of a stream.

    Args:
        known: Functions that calls may be of, for names that are written otherwise.
        alone: There is one choice only, whatever its index: some count Claude's blocks by it.
    """

    def __init__(self, known: Collection[str] = (), *, alone: bool = False) -> None:
        self._known = known
        self._alone = alone
        self.id: str | None = None
        self.created: int | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.service_tier: str | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.error: dict[str, Any] | None = None
        self.calls: list[CallInProgress] = []
        self.annotations: list[Any] = []
        """Sources of the content."""
        self.more: dict[str, Any] = {}
        """What the chunks say of the whole answer beside all this."""
        self.reasoned = False
        """Whether there was reasoning apart from the content."""
        self._call_at: dict[int | None, CallInProgress] = {}  # by the index that the backend gave
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._reasoning = Reasoning()

    @property
    def content(self) -> str:
        """The content so far."""
        return _joined(self._content)

    @property
    def refusal(self) -> str:
        """The refusal so far."""
        return _joined(self._refusal)

    @property
    def reasoning(self) -> dict[str, Any]:
        """The reasoning so far that came apart from the content, as fields of a message."""
        return self._reasoning.fields()

    def add(self, chunk: Chunk) -> Progress:
        """Take the next chunk; return what it added. Raises MalformedChunk for what is none."""
        try:
            return self._read(chunk)
        except (AttributeError, TypeError) as error:
            if is_chunk(chunk):
                raise
            raise MalformedChunk("no chunk of a chat completion") from error

    def _read(self, chunk: Chunk) -> Progress:
        if self.id is None:
            self._describe(cast("dict[str, Any]", chunk))
        if usage := chunk.get("usage"):
            self.usage = counted(usage)
        if error := chunk.get("error"):
            self.error = _told(error)
        if not MORE.isdisjoint(chunk):
            self.more |= more_of(chunk)
        progress = Progress()
        for choice in chunk.get("choices") or ():
            if self._alone or not choice.get("index"):
                self._add_choice(choice, progress)
        return progress

    def _describe(self, chunk: dict[str, Any]) -> None:
        """Take what the first chunk with an id says of the whole response."""
        for name in _DESCRIPTION:
            if getattr(self, name) is None:
                setattr(self, name, chunk.get(name))

    def _add_choice(self, choice: Choice, progress: Progress) -> None:
        if finish_reason := choice.get("finish_reason"):
            self.finish_reason = finish_reason
            if finish_reason == _FAILED and self.error is None:
                self.error = _told(cast("dict[str, Any]", choice).get("error"))
        delta = choice.get("delta")
        if not delta:
            return
        calls: Sequence[ToolCallDelta] | None = delta.get("tool_calls")
        if not calls or len(delta) > 1:
            self._add_words(delta, progress)
            calls = _call_deltas(delta)
        if calls:
            progress.calls = _told_once([self._add_call(call) for call in calls])

    def _add_words(self, delta: Delta, progress: Progress) -> None:
        """Take all of a delta but its calls."""
        if content := delta.get("content"):
            progress.content = text_of(content)
            self._content.append(progress.content)
        if (refusal := delta.get("refusal")) and isinstance(refusal, str):
            progress.refusal = refusal
            self._refusal.append(refusal)
        if isinstance(annotations := delta.get("annotations"), list):
            self.annotations += annotations
        if self._reasoning.add(delta):
            self.reasoned = progress.reasoned = True

    def _add_call(self, delta: ToolCallDelta) -> tuple[CallInProgress, str]:
        function = delta.get("function") or _of_custom(delta.get("custom"))
        if len(delta) == _GOES_ON and len(function) == 1 and "arguments" in function:
            call = self._call_at.get(delta.get("index"))
            if call is not None:
                return call, call.add(function)
        function = self._named(function)
        call = self._call_of(delta, function)
        call.id = call.id or delta.get("id") or ""
        call.custom = call.custom or "custom" in delta
        call.extra = call.extra or delta.get("extra_content")
        return call, call.add(function)

    def _named(self, function: FunctionCallDelta) -> FunctionCallDelta:
        """Return a piece of a call with the name of the known function that is meant."""
        name = function.get("name")
        true = true_name(name, self._known) if name else name
        return function if true == name else {**function, "name": true}

    def _call_of(self, delta: ToolCallDelta, function: FunctionCallDelta) -> CallInProgress:
        index, call_id, name = delta.get("index"), delta.get("id"), function.get("name")
        if index is None:
            call = self._call_without_index(call_id, name)
        else:
            call = self._call_at.get(index)
            # Some backends give index 0 to all their calls, others a new id to each piece of one.
            if call and name and call_id and call.id not in ("", call_id):
                call = None
        if call and name and not call_id and _begins_object(function) and call.is_whole:
            call = None
        return call or self._open_call(index)

    def _call_without_index(self, call_id: str | None, name: str | None) -> CallInProgress | None:
        if call_id:
            return next((call for call in self.calls if call.id == call_id), None)
        last = self.calls[-1] if self.calls else None
        return None if last and name and last.name not in ("", name) else last

    def _open_call(self, index: int | None) -> CallInProgress:
        if index is None or index in self._call_at:
            call = CallInProgress(max((call.index for call in self.calls), default=-1) + 1)
        else:
            call = CallInProgress(index)
        self._call_at[call.index if index is None else index] = call
        self.calls.append(call)
        return call


def _told_once(
    pieces: list[tuple[CallInProgress, str]],
) -> list[tuple[CallInProgress, str]]:
    """Return pieces of calls, all that a chunk adds to one of them at the first of its pieces.

    Who hears that takes the call as it stands, and would take what follows twice.
    """
    if len(pieces) == 1:
        return pieces
    texts: dict[int, str] = {}
    for call, text in pieces:
        texts[id(call)] = texts.get(id(call), "") + text
    return [(call, texts.pop(id(call), "")) for call, _ in pieces]


def more_of(chunk: Chunk) -> dict[str, Any]:
    """Return what a chunk says of the whole answer that a client is to see and we do not read.

    Nothing else is shown that a backend adds: some repeat the prompt there.
    """
    fields = cast("dict[str, Any]", chunk)
    return {name: fields[name] for name in MORE if fields.get(name) is not None}


def _begins_object(function: FunctionCallDelta) -> bool:
    arguments = function.get("arguments")
    return isinstance(arguments, dict) or (arguments or "").lstrip().startswith("{")


def _told(error: object) -> dict[str, Any]:
    """Return an error as an object; some servers tell it in a word, or not at all."""
    if not error:
        return {}
    return error if isinstance(error, dict) else {"message": error}


def _of_custom(custom: CustomDelta | None) -> FunctionCallDelta:
    """Return a piece of a custom tool's call like that of a function."""
    return {"name": custom.get("name"), "arguments": custom.get("input")} if custom else {}


def _call_deltas(delta: Delta) -> Sequence[ToolCallDelta]:
    """The pieces of calls in a delta, a legacy `function_call` as the call at index 0.

    Servers that know both ways, such as llama-cpp-python, tell the same call in both.
    """
    calls = delta.get("tool_calls") or ()
    if (function := delta.get("function_call")) and not calls:
        return [{"index": 0, "function": function}]
    return calls


def text_of(content: str | list[dict[str, Any]]) -> str:
    """Return the text of a content, which some backends give in parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content if part.get("type") == "text")


def _joined(parts: list[str]) -> str:
    """Join the parts in place, so that asking again costs nothing."""
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""
